"""Decisions: plain functions and objects that return what to do, without await, sockets or aiohttp."""

"""Choices: plain functions that return what to do; no await, no sockets, no aiohttp."""

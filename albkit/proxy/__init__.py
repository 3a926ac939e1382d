"""Sockets live here and only here."""

"""Reads a target in small parts while its client is slow."""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ("SMALL_READ", "SmallReadProtocol")

SMALL_READ: Final = 32 * 1024
"""Bytes that are read at a time. uvloop itself takes 256,000, all of which would wait for the client in memory; a quick one is better
served by that."""


class SmallReadProtocol(asyncio.BufferedProtocol):
    """Stands in for a target's connection as the protocol of its transport.

    Args:
        connection: Gets all that is read, and is told all that the loop tells.
        buffer: Of `SIP` bytes; may be shared, for it is empty again whenever the loop goes on.
    """

    __slots__ = ("_buffer", "connection_lost", "data_received", "eof_received", "pause_writing", "resume_writing")

    def __init__(self, connection: asyncio.Protocol, buffer: memoryview) -> None:
        self._buffer = buffer
        self.data_received = connection.data_received
        self.eof_received = connection.eof_received  # type: ignore[method-assign]
        self.connection_lost = connection.connection_lost  # type: ignore[method-assign]
        self.pause_writing = connection.pause_writing  # type: ignore[method-assign]
        self.resume_writing = connection.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._buffer[:nbytes]))

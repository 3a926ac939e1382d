"""Reads from a target in small parts while its client is slow."""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ("SMALL_READ", "SmallReadProtocol")

SMALL_READ: Final = 32 * 1024
"""Bytes per read. uvloop reads up to 256,000 bytes at a time, which is best for a quick client; for a slow one they would all wait in
memory."""


class SmallReadProtocol(asyncio.BufferedProtocol):
    """Takes the place of a target connection as the protocol of its transport.

    Args:
        connection: Gets the data, and all other calls of the event loop.
        buffer: `SMALL_READ` bytes. Connections can share it, because it is empty again before the event loop does anything else.
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

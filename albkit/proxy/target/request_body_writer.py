"""A request on its way to a target while its body is still coming."""

from __future__ import annotations

from typing import Final

from albkit.model.message import RequestHead
from albkit.policy.failover import IDEMPOTENT
from albkit.proxy.target.http1_connection import Http1TargetConnection
from albkit.wire.http1.framing import encode_chunk, encode_last_chunk

__all__ = ("LARGEST_WHOLE", "RequestBodyWriter")

LARGEST_WHOLE: Final = 64 * 1024
"""Bytes of a body that are kept for a second try."""


class RequestBodyWriter:
    """Writes a body to a target as it comes, framed for it.

    The beginning of an idempotent request's body is kept, so that it can be sent again should the target die before it answers.
    """

    __slots__ = ("_chunked", "_connection", "_kept", "_size", "_unsent", "repeatable")

    def __init__(self, request: RequestHead) -> None:
        self._chunked = request.chunked
        self._connection: Http1TargetConnection | None = None
        self._kept: list[bytes] | None = [] if request.method in IDEMPOTENT else None
        self._size = 0
        self._unsent: list[bytes] = []
        """What leaves in one write with the first of the body that comes."""
        self.repeatable = True
        """Whether all that was sent so far could be sent again."""

    def begin(self, connection: Http1TargetConnection, head: bytes) -> None:
        """Send to this connection from now on. The head waits until something is fed, or `flush`."""
        self._connection = connection
        self._unsent = [head, *(self._kept or ())]

    def feed(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        """The next pieces of the body, and whether they are the last."""
        if self._chunked:
            pieces = encode_chunk(pieces) if pieces else []
            if over:
                pieces.append(encode_last_chunk(trailers))
        if not pieces:
            return
        self._size += sum(map(len, pieces))
        if self._kept is not None and self._size <= LARGEST_WHOLE:
            self._kept += pieces
        else:
            self._kept = None
            self.repeatable = False
        if self._unsent:
            pieces = self._unsent + pieces
            self._unsent = []
        if self._connection is not None:
            self._connection.write_pieces(pieces)

    def flush(self) -> None:
        """Send what has waited for the body."""
        if self._unsent and self._connection is not None:
            self._connection.write_pieces(self._unsent)
            self._unsent = []

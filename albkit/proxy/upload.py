"""A request body on its way to a target."""

from __future__ import annotations

from albkit.model.message import RequestHead
from albkit.policy.failover import IDEMPOTENT
from albkit.proxy.target_connection import TargetConnection
from albkit.wire.framing import encode_chunk, encode_last_chunk

__all__ = ("Upload",)

_MOST_KEPT = 64 * 1024
"""Bytes of a body kept for a second try."""


class Upload:
    """Writes a body to a target as it comes, framed for it.

    The beginning of an idempotent request's body is kept, so that it can be sent again should the target die before it answers.
    """

    __slots__ = ("_chunked", "_connection", "_kept", "_size", "repeatable")

    def __init__(self, request: RequestHead) -> None:
        self._chunked = request.chunked
        self._connection: TargetConnection | None = None
        self._kept: list[bytes] | None = [] if request.method in IDEMPOTENT else None
        self._size = 0
        self.repeatable = True
        """Whether all that was sent so far could be sent again."""

    def begin(self, connection: TargetConnection) -> bytes:
        """Send to this connection from now on; what has to go first."""
        self._connection = connection
        return b"".join(self._kept) if self._kept else b""

    def feed(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        """The next pieces of the body, and whether they are the last."""
        if self._chunked:
            pieces = encode_chunk(pieces) if pieces else []
            if over:
                pieces.append(encode_last_chunk(trailers))
        if not pieces:
            return
        data = b"".join(pieces) if len(pieces) > 1 else pieces[0]
        self._size += len(data)
        if self._kept is not None and self._size <= _MOST_KEPT:
            self._kept.append(data)
        else:
            self._kept = None
            self.repeatable = False
        if self._connection is not None:
            self._connection.write(data)

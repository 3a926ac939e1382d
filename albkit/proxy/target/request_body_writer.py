"""Sends a request body to a target while it is still coming from the client."""

from __future__ import annotations

from typing import Final

from albkit.model.message import RequestHead
from albkit.policy.failover import IDEMPOTENT
from albkit.proxy.upstream import UpstreamExchange

__all__ = ("LARGEST_WHOLE", "RequestBodyWriter")

LARGEST_WHOLE: Final = 64 * 1024
"""Bytes of a request body that are kept for a second attempt."""


class RequestBodyWriter:
    """Passes a request body on as it comes.

    The beginning of the body is kept if it can be sent again when the target fails before it answers: if the request is idempotent, or if
    the target can refuse a request that it has not processed.

    Args:
        request: The request.
        may_be_refused: Whether the target uses HTTP/2 (RFC 9113 section 8.7).
    """

    __slots__ = ("_kept", "_over", "_resends", "_size", "_trailers", "_upstream", "repeatable")

    def __init__(self, request: RequestHead, *, may_be_refused: bool = False) -> None:
        self._upstream: UpstreamExchange | None = None
        self._kept: list[bytes] | None = [] if may_be_refused or request.method in IDEMPOTENT else None
        self._size = 0
        self._over = False
        self._trailers: list[bytes] = []
        self._resends = False
        """Whether an earlier attempt has sent what is kept, and this one has not yet."""
        self.repeatable = True
        """Whether everything that was sent so far can be sent again."""

    def begin(self, upstream: UpstreamExchange) -> None:
        """Send to this target from now on. What is kept leaves with the next `feed`, or with `flush`."""
        self._upstream = upstream
        self._resends = bool(self._kept) or self._over

    def feed(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        """Send the next pieces of the body; `over` says that they are the last."""
        # A read that ended in the middle of a chunk's size brings no data.
        if not pieces and not over:
            return
        self._over = over
        self._trailers = trailers
        unsent = self._take_unsent()
        self._size += sum(map(len, pieces))
        if self._kept is not None and self._size <= LARGEST_WHOLE:
            self._kept += pieces
        else:
            # Once a byte was sent and not kept, no later attempt could send the same body.
            self._kept = None
            self.repeatable = False
        if self._upstream is not None:
            self._upstream.write_body(unsent + pieces if unsent else pieces, over, trailers)

    def flush(self) -> None:
        """Send what has waited for more of the body: what is kept, or the head alone."""
        if self._upstream is None:
            return
        if self._resends:
            self._upstream.write_body(self._take_unsent(), self._over, self._trailers)
        self._upstream.flush()

    def _take_unsent(self) -> list[bytes]:
        if not self._resends:
            return []
        self._resends = False
        return list(self._kept or ())

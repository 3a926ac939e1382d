"""A request body that a hook has read, kept so that it can still be forwarded."""

from __future__ import annotations

import asyncio

__all__ = ("BufferedBody",)


class BufferedBody:
    """Collects a body while it arrives."""

    __slots__ = ("arrived", "over", "pieces", "size", "trailers")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0
        self.over = False
        self.trailers: list[bytes] = []
        self.arrived: asyncio.Future[object] | None = None
        """The future to resolve when more has arrived; set by the reader."""

    def feed(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        """Add the next pieces. `over` says whether they are the last."""
        self.pieces += pieces
        self.size += sum(map(len, pieces))
        self.over = over
        self.trailers = trailers
        if self.arrived is not None and not self.arrived.done():
            self.arrived.set_result(None)

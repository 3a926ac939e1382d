"""A request body that a hook of the program's own has asked for, kept so that it can be forwarded all the same."""

from __future__ import annotations

import asyncio

__all__ = ("BufferedBody",)


class BufferedBody:
    """Takes a body as it comes."""

    __slots__ = ("arrived", "over", "pieces", "size", "trailers")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0
        self.over = False
        self.trailers: list[bytes] = []
        self.arrived: asyncio.Future[object] | None = None
        """Done when more has come."""

    def feed(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        """The next pieces, and whether they are the last."""
        self.pieces += pieces
        self.size += sum(map(len, pieces))
        self.over = over
        self.trailers = trailers
        if self.arrived is not None and not self.arrived.done():
            self.arrived.set_result(None)

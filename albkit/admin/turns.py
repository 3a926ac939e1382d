"""Gives turns of the event loop back during long work."""

from __future__ import annotations

import asyncio
from time import perf_counter

__all__ = ("Turns",)

_LONGEST = 0.001
"""Seconds of work in one turn of the event loop."""


class Turns:
    """Long work in steps: call `rest` after each step, which must be short."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = perf_counter() + _LONGEST

    @property
    def is_over(self) -> bool:
        """Whether to call `rest`."""
        return perf_counter() >= self._until

    async def rest(self) -> None:
        """Let the event loop do everything else that is due, if this turn has been long enough."""
        if self.is_over:
            await asyncio.sleep(0)
            self._until = perf_counter() + _LONGEST

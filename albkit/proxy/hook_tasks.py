"""Asks coroutines of the program's own, each in a task of its own: whoever asks need not wait for one that does not end."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, Final

from albkit.errors import name_of

__all__ = ("HookTasks",)

_log = logging.getLogger("albkit")

_PATIENCE: Final = 0.25
"""Seconds that a stop leaves at least to hooks that it has just cancelled."""


class HookTasks:
    """Keeps the tasks of hooks until they are over, however long they take to be cancelled."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asked: dict[asyncio.Task[Any], object] = {}
        """What is being asked, and which hook that is."""
        self._given_up: set[asyncio.Task[Any]] = set()

    def ask(self, question: Coroutine[Any, Any, Any], hook: object, context: Context | None = None) -> asyncio.Task[Any]:
        """Run a coroutine that asks this hook. Whoever wants the answer no more is to call `give_up`."""
        task = self._loop.create_task(question, context=context)
        self._asked[task] = hook
        task.add_done_callback(self._forget)
        return task

    def give_up(self, task: asyncio.Task[Any]) -> None:
        """Cancel it, and wait for nothing: it may give back what it holds in its own time."""
        if task in self._asked and task not in self._given_up:
            self._given_up.add(task)
            task.cancel()

    async def end(self, until: float) -> None:
        """Cancel what was not given up yet, and wait until all is over, or the loop's clock has come to `until`, or a little longer."""
        for task in tuple(self._asked):
            self.give_up(task)
        if self._asked:
            await asyncio.wait(tuple(self._asked), timeout=max(until - self._loop.time(), _PATIENCE))
        for name, count in Counter(map(name_of, self._asked.values())).items():
            _log.warning("%s was cancelled and does not end (%d calls); the load balancer has stopped without it", name, count)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        hook = self._asked.pop(task)
        error = None if task.cancelled() else task.exception()
        if task in self._given_up:
            self._given_up.discard(task)
            if error is not None:
                _log.error("%s failed after it was cancelled", name_of(hook), exc_info=error)

"""Runs coroutines of the program, each in its own task, so that the load balancer never has to wait for one that does not end."""

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

_MIN_CANCEL_TIME: Final = 0.25
"""Seconds that `shutdown` always leaves to hooks it has just cancelled, even if its deadline has passed."""


class HookTasks:
    """Holds the tasks of hooks until they end. A hook may ignore its cancellation for any time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # Strong references: the event loop keeps only weak ones, so a task that nothing waits for could be garbage collected.
        self._running: dict[asyncio.Task[Any], object] = {}
        """The hook that each task runs."""
        self._cancelled: set[asyncio.Task[Any]] = set()
        """Those of the running tasks that were cancelled here."""

    def start(self, coroutine: Coroutine[Any, Any, Any], hook: object, context: Context | None = None) -> asyncio.Task[Any]:
        """Run a coroutine in a new task. Call `cancel` as soon as its result is no longer needed.

        Args:
            coroutine: The call of the hook.
            hook: The hook, for the log.
            context: The context to run in; a copy of the current one by default.
        """
        task = self._loop.create_task(coroutine, context=context)
        self._running[task] = hook
        task.add_done_callback(self._discard)
        return task

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task without waiting for it. It may take its time to clean up. Does nothing if the task has ended."""
        # Once only: a second cancellation would interrupt the hook in its cleanup.
        # A task that has ended stays in `_running` until the next turn of the event loop.
        if task in self._running and task not in self._cancelled and not task.done():
            self._cancelled.add(task)
            task.cancel()

    async def shutdown(self, deadline: float) -> None:
        """Cancel all tasks and wait for them. Tasks that do not end in time are logged and left running.

        Args:
            deadline: When to stop waiting, by the clock of the loop. At least 0.25 s from now are granted.
        """
        for task in tuple(self._running):
            self.cancel(task)
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=max(deadline - self._loop.time(), _MIN_CANCEL_TIME))
        for name, count in Counter(map(name_of, self._running.values())).items():
            words = "%s did not end after it was cancelled (%d calls); the load balancer stops without waiting longer"
            _log.warning(words, name, count, extra={"albkit_event": "hook_stuck", "albkit_hook": name, "albkit_count": count})

    def _discard(self, task: asyncio.Task[Any]) -> None:
        hook = self._running.pop(task)
        # Reading the exception also keeps asyncio from logging that it was never retrieved.
        error = None if task.cancelled() else task.exception()
        if task in self._cancelled:
            self._cancelled.discard(task)
            # The caller that cancelled the task no longer looks at its result, so an error would be lost.
            if error is not None:
                name = name_of(hook)
                fields = {"albkit_event": "hook_failed", "albkit_hook": name}
                _log.error("%s failed after it was cancelled", name, exc_info=error, extra=fields)

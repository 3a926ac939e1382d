"""Asks the program from time to time whether a tunnel may stay open (`TunnelPolicy.recheck`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from albkit.errors import told
from albkit.proxy.runtime import Runtime

__all__ = ("Recheck",)

_log = logging.getLogger("albkit")


class Recheck:
    """Calls the hook in a task of its own, so that the tunnel does not wait for it. One call at a time.

    Args:
        tunnel: Passed to the hook.
        hook: Returns whether the tunnel may stay open.
        every: Seconds between two calls.
        runtime: Of the load balancer.
        refused: Called if the hook returned a false value.
        failed: Called with the reason if the hook raised, was cancelled or took too long.
    """

    __slots__ = ("_due", "_every", "_failed", "_hook", "_refused", "_runtime", "_task", "_timer", "_tunnel")

    def __init__(
        self,
        tunnel: object,
        hook: Callable[[Any], Awaitable[object]],
        every: float,
        runtime: Runtime,
        refused: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        self._tunnel = tunnel
        self._hook = hook
        self._every = every
        self._runtime = runtime
        self._refused = refused
        self._failed = failed
        # The first call comes after half to all of the interval, so that tunnels opened together are not checked together.
        self._due = runtime.clock.monotonic() + every * (1 + runtime.clock.random()) / 2
        self._task: asyncio.Task[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def sweep(self, now: float) -> None:
        """Call the hook if it is time, and no call is going on."""
        if now < self._due or self._task is not None:
            return
        self._due = now + self._every
        runtime = self._runtime
        self._task = task = runtime.hook_tasks.start(self._ask(), self._hook)
        task.add_done_callback(self._answered)
        self._timer = runtime.loop.call_later(runtime.settings.limits.hook_timeout, self.give_up, "it took too long")

    async def _ask(self) -> bool:
        return bool(await self._hook(self._tunnel))

    def _answered(self, task: asyncio.Task[bool]) -> None:
        if task is not self._task:
            return  # `give_up` was called.
        self._task = None
        if self._timer is not None:
            self._timer.cancel()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            fields = {"albkit_event": "hook_failed", "albkit_hook": "recheck"}
            _log.error("the recheck of %r failed", self._tunnel, exc_info=error, extra=fields)
            self._failed(told(error))
        elif task.cancelled():
            # The load balancer did not cancel it: something that the hook waited for was cancelled. What cannot be checked is not allowed.
            self._failed("cancelled")
        elif not task.result():
            self._refused()

    def give_up(self, why: str = "") -> None:
        """Ignore the answer of a call that is going on, and cancel the call.

        Args:
            why: Why the check counts as failed; empty if the tunnel is over and the answer does not matter.
        """
        task, self._task = self._task, None
        if self._timer is not None:
            self._timer.cancel()
        if task is not None:
            self._runtime.hook_tasks.cancel(task)
            if why:
                self._failed(why)

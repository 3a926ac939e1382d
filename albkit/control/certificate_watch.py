"""Takes up certificates, keys, trust stores and revocation lists whose files have changed: nobody restarts anything to renew one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from math import inf

from albkit.errors import ConfigurationError
from albkit.model.events import CertificatesRead, Event
from albkit.proxy.accept.listener import RunningListener
from albkit.proxy.runtime import Runtime
from albkit.proxy.tls.loading import Loaded, Stamp, files_of, load, stamp_of

__all__ = ("CertificateWatch",)

_log = logging.getLogger("albkit")
_DAY = 86400.0
"""How often it is told again that a certificate is about to expire, in seconds."""


class CertificateWatch:
    """Looks at the files of one load balancer, where there are any.

    Args:
        runtime: Of the load balancer.
        running: Its listeners.
        loaded: What was read for them.
        tell: Takes events.
    """

    def __init__(self, runtime: Runtime, running: Sequence[RunningListener], loaded: Loaded, tell: Callable[[Event], None]) -> None:
        self._runtime = runtime
        self._tell = tell
        self._task: asyncio.Task[None] | None = None
        self.look_after(running, loaded)
        self._begin()

    def look_after(self, running: Sequence[RunningListener], loaded: Loaded) -> None:
        """These are the listeners, and this is what was read for them; to be called while it is paused."""
        self._running = tuple(running)
        self.loaded = loaded
        self._warn()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Take nothing up meanwhile."""
        try:
            await self.stop()
            yield
        finally:
            self._begin()

    def _begin(self) -> None:
        if files_of(self._runtime.settings) or self.loaded.valid_until < inf:
            self._task = self._runtime.loop.create_task(self._watch(self.loaded.stamp))

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _watch(self, stamp: Stamp) -> None:
        runtime = self._runtime
        told = runtime.clock.time()
        due = self.loaded.valid_until
        while True:
            await asyncio.sleep(runtime.settings.certificate_check_interval)
            now = runtime.clock.time()
            changed = await runtime.loop.run_in_executor(None, stamp_of, files_of(runtime.settings))
            if changed != stamp or now >= due:
                taken_up = await self._take_up()
                # What cannot be used is not tried again, and told again, until a file changes.
                stamp, due = (self.loaded.stamp, self.loaded.valid_until) if taken_up else (changed, inf)
                told = now
            elif now - told >= _DAY:
                told = now
                self._warn()

    async def _take_up(self) -> bool:
        """Read what has changed; whether it can be used. What cannot leaves everything as it is."""
        runtime = self._runtime
        try:
            loaded = await load(runtime.settings, runtime.clock, self.loaded)
        except ConfigurationError as error:
            for fault in error.faults:
                _log.warning("a file has changed, and cannot be used; what was read before stays in force: %s", fault)
            return False
        except Exception:  # noqa: BLE001 - whatever it is, it must not end the watch
            _log.exception("files for TLS could not be read anew; what was read before stays in force")
            return False
        self.loaded = loaded
        runtime.connections.contexts.update(loaded.contexts)
        for listener, termination in zip(self._running, loaded.terminations, strict=True):
            if termination is not None and termination is not listener.listener_runtime.termination:
                listener.reconfigure(listener.listener, termination)
        _log.info("files for TLS have changed, and are in force for new connections")
        self._warn()
        self._tell(CertificatesRead(files_of(runtime.settings)))
        return True

    def _warn(self) -> None:
        for words in self.loaded.warnings(self._runtime.clock.time()):
            _log.warning("%s", words)

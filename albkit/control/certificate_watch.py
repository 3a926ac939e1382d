"""Reloads certificates, keys, trust stores and revocation lists whose files have changed, so that renewing one needs no restart."""

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
"""Seconds after which the warning about a certificate that will expire soon is repeated."""


class CertificateWatch:
    """Watches the TLS files of one load balancer, if it has any.

    Args:
        runtime: The runtime of the load balancer.
        running: Its listeners.
        loaded: What was read for them.
        publish: Publishes an event.
    """

    def __init__(self, runtime: Runtime, running: Sequence[RunningListener], loaded: Loaded, publish: Callable[[Event], None]) -> None:
        self._runtime = runtime
        self._publish = publish
        self._task: asyncio.Task[None] | None = None
        self.set_listeners(running, loaded)
        self._begin()

    def set_listeners(self, running: Sequence[RunningListener], loaded: Loaded) -> None:
        """Replace the listeners, and what was read for them. Call it while the watch is paused."""
        self._running = tuple(running)
        self.loaded = loaded
        self._warn()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Reload nothing until the context is left."""
        try:
            await self.stop()
            yield
        finally:
            self._begin()

    def _begin(self) -> None:
        if files_of(self._runtime.settings) or self.loaded.valid_until < inf:
            self._task = self._runtime.loop.create_task(self._watch(self.loaded.stamp))

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _watch(self, stamp: Stamp) -> None:
        runtime = self._runtime
        warned_at = runtime.clock.time()
        due = self.loaded.valid_until
        while True:
            await asyncio.sleep(runtime.settings.certificate_check_interval)
            now = runtime.clock.time()
            # In a thread, because stat() may block on a network file system.
            changed = await runtime.loop.run_in_executor(None, stamp_of, files_of(runtime.settings))
            if changed != stamp or now >= due:
                reloaded = await self._reload()
                # Files that cannot be used are not tried again, and reported again, until one of them changes.
                stamp, due = (self.loaded.stamp, self.loaded.valid_until) if reloaded else (changed, inf)
                warned_at = now
            elif now - warned_at >= _DAY:
                warned_at = now
                self._warn()

    async def _reload(self) -> bool:
        """Read what has changed; return whether it can be used. If it cannot, everything stays as it is."""
        runtime = self._runtime
        try:
            loaded = await load(runtime.settings, runtime.clock, self.loaded)
        except ConfigurationError as error:
            for fault in error.faults:
                fields = {"albkit_event": "certificates_unusable", "albkit_detail": fault}
                _log.warning("a changed TLS file cannot be used, and the previous one stays in use: %s", fault, extra=fields)
            return False
        except Exception:  # noqa: BLE001 - no error may end the watch
            fields = {"albkit_event": "internal_error"}
            _log.exception("TLS files could not be reloaded; the previous ones stay in use", extra=fields)
            return False
        self.loaded = loaded
        runtime.connections.contexts.update(loaded.contexts)
        for listener, termination in zip(self._running, loaded.terminations, strict=True):
            # `load` reuses a termination whose files have not changed, so that clients can resume their sessions.
            if termination is not None and termination is not listener.listener_runtime.termination:
                listener.reconfigure(listener.listener, termination)
        self._publish(CertificatesRead(files_of(runtime.settings)))
        self._warn()
        return True

    def _warn(self) -> None:
        for words in self.loaded.warnings(self._runtime.clock.time()):
            _log.warning("%s", words, extra={"albkit_event": "certificate_warning", "albkit_detail": words})

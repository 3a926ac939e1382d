"""Which logs are open: from the start to the stop of a load balancer, over each `apply`. A log that stays the same is not reopened."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakSet

from albkit.clock import Clock
from albkit.errors import ConfigurationError
from albkit.model.access_log import AccessLog
from albkit.model.connection_log import ConnectionLog
from albkit.model.listener_settings import ListenerSettings
from albkit.model.log_destination import LogDestination
from albkit.model.settings import Settings
from albkit.proxy.runtime import Runtime
from albkit.report.access_log import access_log_for
from albkit.report.connection_log import connection_log_for
from albkit.report.health_check_log import health_check_log_for
from albkit.report.log_file import advice_for
from albkit.report.log_writer import LogWriter
from albkit.state.connection_record import ConnectionRecord
from albkit.state.counters import Counters
from albkit.state.health_check_record import HealthCheckRecord
from albkit.state.record import ExchangeRecord

__all__ = ("LogFiles",)

_CLOSE_TIMEOUT: Final = 2.0
"""Seconds that a log has to write its last lines, when the load balancer stops or a configuration no longer has it."""

Key = object
"""What makes two destinations the same: the path of a file, or the function, and how it is written."""


class LogFiles:
    """The logs of one load balancer and run.

    Args:
        settings: The settings; `changing` replaces them.
        loop: The event loop.
        clock: The source of time.
        counters: Count lines that are dropped.
    """

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop, clock: Clock, counters: Counters) -> None:
        self._settings = settings
        self._loop = loop
        self._clock = clock
        self._counters = counters
        self._writers: dict[Key, LogWriter] = {}
        # An exchange or a tunnel may outlive the configuration of its listener. The writer lives as long as its record.
        self._former: WeakSet[LogWriter] = WeakSet()

    # For the runtime.

    def access_log(self, listener: ListenerSettings, port: int) -> Callable[[ExchangeRecord], None] | None:
        """Return the function that logs what ends on a listener; `None` if it has no access log."""
        log = self._settings.access_log if listener.access_log is None else listener.access_log
        if not isinstance(log, AccessLog):
            return None
        return access_log_for(log.format, self.writer(log).write, self._settings.name, listener, port, self._clock)

    def connection_log(self, listener: ListenerSettings, port: int) -> Callable[[ConnectionRecord], None] | None:
        """Return the function that logs the connections of a listener; `None` if it has no connection log."""
        log = self._settings.connection_log if listener.connection_log is None else listener.connection_log
        if not isinstance(log, ConnectionLog):
            return None
        return connection_log_for(log.format, self.writer(log).write, self._settings.name, listener, port)

    def health_check_log(self) -> Callable[[HealthCheckRecord], None] | None:
        """Return the function that logs the results of health checks; `None` if there is no health check log."""
        log = self._settings.health_check_log
        return health_check_log_for(log.format, self.writer(log).write, self._settings.name) if log is not None else None

    def attach(self, runtime: Runtime) -> None:
        """Let a runtime use these logs, which are open."""
        runtime.access_log = self.access_log
        runtime.connection_log = self.connection_log
        runtime.health_check_log = self.health_check_log()

    def writer(self, destination: LogDestination) -> LogWriter:
        """Return the writer of a destination of the settings in force."""
        return self._writers[_key(destination)]

    # For the load balancer.

    async def open(self) -> None:
        """Open every log.

        Raises:
            ConfigurationError: lists every file that cannot be opened. No log is open then.
        """
        await self._open(self._settings)

    @asynccontextmanager
    async def changing(self, settings: Settings) -> AsyncIterator[None]:
        """Open what new settings need. Then, after the body, close what they no longer need; or, if the body fails, what was opened.

        Raises:
            ConfigurationError: as for `open`; the logs are as before.
        """
        before = self._settings
        new = await self._open(settings)
        self._settings = settings
        try:
            yield
        except BaseException:
            self._settings = before
            await self._close([self._writers.pop(key) for key in new])
            raise
        wanted = {_key(destination) for _, destination in settings.logs}
        left = [self._writers.pop(key) for key in list(self._writers) if key not in wanted]
        self._former.update(left)
        await self._close(left)

    def reopen(self) -> None:
        """Open every file again, at once, in the threads of the logs."""
        for writer in self._writers.values():
            writer.reopen()

    async def stop(self) -> None:
        """Write what waits and close every log. A log that takes too long is given up; its lines are lost and counted."""
        writers = [*self._writers.values(), *self._former]
        self._writers = {}
        await self._close(writers)

    # The parts of these.

    async def _open(self, settings: Settings) -> list[Key]:
        """Open the destinations of settings that are not open yet, and return them."""
        new: dict[Key, LogWriter] = {}
        paths: dict[Key, str] = {}
        for path, destination in settings.logs:
            key = _key(destination)
            if key not in self._writers and key not in new:
                new[key] = LogWriter(destination, self._counters.lines_dropped, self._loop.call_soon_threadsafe, self._clock.time)
                paths[key] = path
        if not new:
            return []
        opening = {key: asyncio.wrap_future(writer.open(), loop=self._loop) for key, writer in new.items()}
        try:
            await asyncio.wait(opening.values())
        except BaseException:
            for future in opening.values():
                # An error that nobody awaits would be reported by the loop.
                future.add_done_callback(lambda done: done.cancelled() or done.exception())
            await self._close([*new.values()])
            raise
        faults = [f"{paths[key]}: {_fault(new[key], error)}" for key, future in opening.items() if (error := future.exception())]
        if faults:
            await self._close([writer for key, writer in new.items() if opening[key].exception() is None])
            raise ConfigurationError("LoadBalancer", faults)
        self._writers.update(new)
        return list(new)

    async def _close(self, writers: list[LogWriter]) -> None:
        """Close logs, within a bounded time."""
        if not writers:
            return
        closing = {writer: asyncio.wrap_future(writer.close(), loop=self._loop) for writer in writers}
        try:
            await asyncio.wait(closing.values(), timeout=_CLOSE_TIMEOUT)
        finally:
            # Also if the caller is cancelled: then nothing waits for the logs any more.
            for writer, future in closing.items():
                if not future.done():
                    writer.give_up()


def _key(destination: LogDestination) -> Key:
    # Without a look at the file system, which could block.
    where = os.path.normpath(destination.path) if destination.path is not None else destination.destination
    # A file that is to be rotated in another way is opened anew.
    return where, destination.way_of_writing


def _fault(writer: LogWriter, error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"{writer.name!r} cannot be opened: {error.strerror or error}; {advice_for(error)}"
    return f"{writer.name!r} cannot be opened: {error!r}"

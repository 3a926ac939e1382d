"""Writes the lines of a log in a thread of its own, so that a slow disk or a function that hangs delays no request."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

from albkit.model.log_destination import LogDestination
from albkit.report.log_file import LogFile, advice_for
from albkit.report.log_throttle import LogThrottle

__all__ = ("LogWriter",)

_log = logging.getLogger("albkit")

_DELAY: Final = 0.1
"""Seconds for which the thread collects lines before it writes them together."""
_HURRY: Final = 256 * 1024
"""It writes at once if this many bytes wait, or a quarter of the buffer."""
_BATCH: Final = 1000
"""Lines per write. Joining them holds the interpreter's lock, during which the event loop stands still."""
_RETRY: Final = (0.1, 1.0)
"""Seconds between two attempts to write, after the first failure, and at most."""
_SLOW_PIPE: Final = 0.02
"""Seconds until the next write to a named pipe that is full."""
_QUIET: Final = 10.0
"""Seconds between two warnings about failures, for a disk that is full again and again."""


class LogWriter:
    """The lines of one log that wait to be written, and the thread that writes them.

    The event loop's thread calls every method. Lines are handed over through a deque, without a lock: the event loop appends and adds to
    `_put`, the thread removes and adds to `_taken`.

    Args:
        destination: The settings of the log.
        count_lost: Called in the event loop with a number of lines that were dropped.
        post: Calls a function in the event loop, from any thread (`loop.call_soon_threadsafe`).
        now: The time in seconds since 1970.
    """

    def __init__(
        self,
        destination: LogDestination,
        count_lost: Callable[[int], None],
        post: Callable[..., object],
        now: Callable[[], float] = time.time,
    ) -> None:
        path = destination.path
        self._name = path if path is not None else f"of {destination.destination!r}"
        self._function: Callable[[str], object] | None = None
        self._file: LogFile | None = None
        if path is not None:
            self._file = LogFile(path, destination.rotate_size, destination.rotate_interval, destination.keep, now, self._warn)
        elif callable(destination.destination):
            self._function = destination.destination
        self._count_lost = count_lost
        self._post = post
        self._limit = destination.buffer_size
        self._hurry = min(_HURRY, self._limit // 4)
        self._lines: deque[str] = deque()
        self._put = 0
        self._taken = 0
        # One comparison per line covers everything unusual: -1 if the thread sleeps or lines are dropped, so that it is always true.
        self._alert = -1
        """`write` needs attention if more bytes than this wait."""
        self._lock = threading.Lock()
        """Protects `_thread` when the thread ends or is started."""
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._opened: Future[None] | None = None
        self._closed: Future[None] | None = None
        self._closing = False
        self._gave_up = False
        self._is_dropping = False
        self._dropped = 0
        self._outage_is_told = False
        self._outage_since: float | None = None
        self._quiet_until = 0.0
        self._warned_until = 0.0
        self._throttle = LogThrottle()

    def __repr__(self) -> str:
        return f"<LogWriter {self._name} waiting={self.waiting}>"

    @property
    def name(self) -> str:
        """The path of the file, or the function in words."""
        return self._name

    @property
    def waiting(self) -> int:
        """Bytes of lines that are not written yet."""
        return self._put - self._taken

    def open(self) -> Future[None]:
        """Start the thread, which opens the file. The future ends when that has succeeded, or with its OSError; nothing is left then.

        A named pipe that nobody reads yet is no error.
        """
        self._opened = Future()
        self._opened.set_running_or_notify_cancel()
        opened = self._opened
        with self._lock:
            self._start_thread()
        return opened

    def write(self, line: str) -> None:
        """Write a line of ASCII, without its line end. Never blocks and never raises; if the line is dropped, it is counted.

        After `close`, a line is still written: a thread is started for it.
        """
        self._lines.append(line)
        self._put += len(line) + 1
        if self._put - self._taken > self._alert:
            self._attend(line)

    def reopen(self) -> None:
        """Open the file again, after another program has renamed it. Lines that wait are written to either file, whole and in order."""
        if self._file is not None and self._thread is not None:
            self._file.reopen()
            self._lines_wait()

    def close(self) -> Future[None]:
        """Write what waits, and close the file. The future ends when that is done. If that takes too long, call `give_up`."""
        with self._lock:
            closed = self._closed
            if closed is None:
                closed = Future()
                closed.set_running_or_notify_cancel()
            self._closing = True
            if self._thread is None:
                closed.set_result(None)
            else:
                self._closed = closed
                self._wake.set()
        return closed

    def give_up(self) -> None:
        """Drop all lines, now and from now on. The thread ends as soon as it can: it may be inside a function that does not return."""
        self._gave_up = True
        count = len(self._lines)
        self._lines.clear()
        self._count_lost(count)
        words = "the log %s did not take its last lines in time; %d or more of them are lost"
        _log.warning(words, self._name, count, extra=self._fields("log_lines_lost"))
        self._limit = 0
        self._alert = -1
        self._is_dropping = True
        self._wake.set()

    # In the event loop.

    def _attend(self, line: str) -> None:
        """Wake the thread for a line that was appended, or drop the line."""
        waiting = self._put - self._taken
        # Lines are accepted again when half of the buffer is free, so that the log has few long gaps instead of many short ones.
        if waiting > (self._limit // 2 if self._is_dropping else self._limit):
            self._drop(line)
            return
        if self._is_dropping:
            self._is_dropping = False
            words = "the log %s has caught up; %d lines were dropped"
            _log.warning(words, self._name, self._dropped, extra=self._fields("log_recovered"))
            self._dropped = 0
        self._lines_wait()

    def _drop(self, line: str) -> None:
        try:
            # Nothing else is appended in the meantime: this is the last one, unless the thread has just taken it.
            self._lines.pop()
        except IndexError:
            return
        self._put -= len(line) + 1
        self._dropped += 1
        self._count_lost(1)
        if not self._is_dropping:
            self._is_dropping = True
            self._alert = -1
            _log.warning(
                "the log %s does not take lines as fast as they come: %d bytes wait, and further lines are dropped until half of them are "
                "written",
                *(self._name, self.waiting),
                extra=self._fields("log_lines_lost"),
            )

    def _lines_wait(self) -> None:
        if self._alert < 0 and not self._is_dropping:
            self._alert = self._hurry
            with self._lock:
                if self._thread is None:
                    self._start_thread()
        elif self._alert >= self._hurry:
            # Once is enough, until the thread has woken up.
            self._alert = self._limit
        self._wake.set()

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"albkit log {self._name}", daemon=True)
        self._thread.start()

    # In the thread.

    def _run(self) -> None:
        if self._opened is not None and not self._open_first():
            return
        wake = self._wake
        while True:
            wake.clear()
            if self._lines and not self._closing:
                # Lines that come within a moment are written together.
                wake.wait(_DELAY)
            self._drain()
            # In this order: a line that is appended after the check finds the alert set, and wakes the thread.
            self._alert = -1
            if self._lines and not self._gave_up:
                if not self._is_dropping:
                    self._alert = self._hurry
                continue
            with self._lock:
                if self._closing and (not self._lines or self._gave_up):
                    self._end()
                    return
            wake.wait()

    def _open_first(self) -> bool:
        """Open the file, and report the outcome. Return whether to go on."""
        opened, self._opened = self._opened, None
        error: OSError | None = None
        try:
            if self._file is not None:
                self._file.open()
        except OSError as caught:
            if self._file is not None and self._file.is_pipe_without_reader:
                self._failed(caught)
            else:
                error = caught
        if error is not None:
            with self._lock:
                self._thread = None
        if opened is not None:
            if error is not None:
                opened.set_exception(error)
            else:
                opened.set_result(None)
        return error is None

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
        self._thread = None
        closed, self._closed = self._closed, None
        if closed is not None:
            closed.set_result(None)

    def _drain(self) -> None:
        """Write what waits. At the end nothing waits but lines that came meanwhile, or lines that are given up."""
        lines = self._lines
        if self._file is not None and self._file.is_asked_to_reopen and not lines:
            self._deliver(b"")
        while lines and not self._gave_up:
            batch: list[str] = []
            # `give_up` may clear the lines meanwhile.
            with suppress(IndexError):
                while len(batch) < (_BATCH if self._function is None else 1):
                    batch.append(lines.popleft())
            if self._function is not None:
                for line in batch:
                    self._call(self._function, line)
            elif batch:
                text = "\n".join(batch) + "\n"
                # Formats escape what is not ASCII. A line of any other origin must not raise either.
                self._deliver(text.encode("ascii", "backslashreplace"))
                self._taken += len(text)

    def _call(self, function: Callable[[str], object], line: str) -> None:
        try:
            function(line)
        except BaseException:  # noqa: BLE001 - the thread must survive whatever the function raises
            self._post_lost(1)
            if self._throttle.may_say():
                words = "the function of the log %s failed, and the line is lost%s"
                _log.exception(words, self._name, self._throttle.also(), extra=self._fields("log_lines_lost"))
        self._taken += len(line) + 1

    def _deliver(self, data: bytes) -> None:
        """Write lines to the file, however long it takes. If the log is closing, give up after one more attempt."""
        file = self._file
        if file is None:
            return
        write: Callable[..., Any] = file.write
        arguments: tuple[bytes, ...] = (data,)
        pause, longest = _RETRY
        last_attempt = False
        while not self._gave_up:
            try:
                write(*arguments)
            except BlockingIOError:
                self._wake.wait(_SLOW_PIPE)
            except OSError as error:
                self._failed(error)
                if last_attempt or not data:
                    self._post_lost(data.count(b"\n"))
                    return
                self._wake.wait(pause)
                pause = min(2 * pause, longest)
                last_attempt = self._closing
            else:
                self._succeeded()
                return
            self._wake.clear()
            write, arguments = file.resume, ()

    def _failed(self, error: OSError) -> None:
        """Report the first failure of an outage."""
        if self._outage_since is not None:
            return
        now = self._outage_since = time.monotonic()
        self._outage_is_told = now >= self._quiet_until
        if self._outage_is_told:
            self._quiet_until = now + _QUIET
            reason = error.strerror or str(error)
            words = "the log %s cannot be written: %s; %s. Lines wait in memory, up to %d bytes"
            _log.warning(words, self._name, reason, advice_for(error), self._limit, extra=self._fields("log_failed"))

    def _succeeded(self) -> None:
        if self._outage_since is None:
            return
        lasted, self._outage_since = time.monotonic() - self._outage_since, None
        if self._outage_is_told:
            _log.warning("the log %s is written again, after %.1f s", self._name, lasted, extra=self._fields("log_recovered"))

    def _warn(self, what: str) -> None:
        now = time.monotonic()
        if now >= self._warned_until:
            self._warned_until = now + _QUIET
            _log.warning("the log %s: %s", self._name, what, extra=self._fields("log_failed"))

    def _fields(self, event: str) -> dict[str, object]:
        """The fields of a line in the application log."""
        return {"albkit_event": event, "albkit_name": self._name}

    def _post_lost(self, count: int) -> None:
        if count:
            # The loop may be closed already, if nobody has awaited the end of the load balancer.
            with suppress(RuntimeError):
                self._post(self._count_lost, count)

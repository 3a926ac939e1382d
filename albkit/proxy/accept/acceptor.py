"""Accepts connections on asyncio's own loops."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Protocol

from albkit.report.failure_log import log_out_of_sockets

__all__ = ("Acceptor", "Admission", "Server")

_AT_ONCE = 32
"""Connections that are accepted in one turn of the loop."""
_PAUSE = 1.0
"""Seconds for which nothing is accepted where there was no descriptor for it."""
_OUT_OF_SOCKETS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_LOST = (errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH)
"""The connection that is next was lost on its way, or a firewall forbids it (accept(2)): there may be others behind it."""


class Admission(Protocol):
    """Knows how many may come in."""

    def reserve_slot(self, descriptor: int) -> bool:
        """Whether there is room for a connection that has just been accepted. It counts until it is admitted or released."""

    def release_slot(self, descriptor: int) -> None:
        """A connection that was expected will not come."""


class Server(Protocol):
    """What a listener needs of an `asyncio.Server`."""

    @property
    def sockets(self) -> tuple[socket.socket, ...]: ...
    async def start_serving(self) -> None: ...
    def close(self) -> None: ...


class Acceptor:
    """Accepts on one socket, which it owns.

    asyncio's own server takes all that wait in one turn, thousands, before anybody is asked whether there is room for them; and where
    there is no descriptor left it says so each time that it tries, which is thousands of times a second.

    Args:
        sock: Bound, and non-blocking.
        loop: One of asyncio's own, with selectors.
        protocol: Makes what a connection begins with.
        doorman: Who is asked whether there is room.
        backlog: How many may wait.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        protocol: Callable[[], asyncio.BaseProtocol],
        doorman: Admission,
        backlog: int,
    ) -> None:
        self._socket = sock
        self._loop = loop
        self._protocol = protocol
        self._doorman = doorman
        self._backlog = backlog
        self._tasks: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The one that it listens on."""
        return (self._socket,)

    async def start_serving(self) -> None:
        """Listen and accept."""
        self._socket.listen(self._backlog)
        self._go_on()

    def close(self) -> None:
        """Listen no more. What was accepted goes on."""
        if self._pause is not None:
            self._pause.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _LOST:
                    continue
                if error.errno not in _OUT_OF_SOCKETS:
                    raise
                log_out_of_sockets("no connection can be accepted for a second: %s", error.strerror)
                self._loop.remove_reader(self._socket)
                self._pause = self._loop.call_later(_PAUSE, self._go_on)
                return
            if not self._doorman.reserve_slot(connection.fileno()):
                connection.close()
                continue
            connection.setblocking(False)
            task = self._loop.create_task(self._hand_over(connection, connection.fileno()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _hand_over(self, connection: socket.socket, descriptor: int) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except BaseException:
            self._doorman.release_slot(descriptor)
            connection.close()
            raise

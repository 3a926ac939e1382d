"""Accepts connections on asyncio's own event loops."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Protocol

from albkit.report.failure_log import log_out_of_sockets

__all__ = ("Acceptor", "Admission", "Server")

_AT_ONCE = 32
"""Connections to accept per iteration of the loop."""
_PAUSE = 1.0
"""Seconds without accepting after file descriptors have run out."""
_OUT_OF_SOCKETS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_LOST = (errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH)
"""The next connection in the queue was lost, or a firewall forbids it (accept(2)); there may be others behind it."""


class Admission(Protocol):
    """Decides whether an accepted connection is admitted."""

    def reserve_slot(self, descriptor: int, peer: object) -> bool:
        """Whether there is room for a connection that was just accepted. It is counted from now on, until it is admitted or
        `release_slot` is called. `peer` is the client's socket name."""

    def release_slot(self, descriptor: int) -> None:
        """Uncount a connection whose protocol was never created."""


class Server(Protocol):
    """What a listener needs of an `asyncio.Server`."""

    @property
    def sockets(self) -> tuple[socket.socket, ...]: ...
    async def start_serving(self) -> None: ...
    def close(self) -> None: ...


class Acceptor:
    """Accepts connections on one socket, which it owns.

    It replaces asyncio's own server, which accepts all waiting connections, up to the backlog, in one iteration of the loop, before
    anything can check a limit; and which logs an error each time that it finds no file descriptor, thousands of times per second.

    Args:
        sock: A bound, non-blocking socket.
        loop: One of asyncio's own selector loops.
        protocol: Creates the first protocol of a connection.
        admission: Decides whether a connection is admitted.
        backlog: How many connections may wait to be accepted.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        protocol: Callable[[], asyncio.BaseProtocol],
        admission: Admission,
        backlog: int,
    ) -> None:
        self._socket = sock
        self._loop = loop
        self._protocol = protocol
        self._admission = admission
        self._backlog = backlog
        self._tasks: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening socket."""
        return (self._socket,)

    async def start_serving(self) -> None:
        """Listen and accept."""
        self._socket.listen(self._backlog)
        self._resume()

    def close(self) -> None:
        """Stop listening. Accepted connections stay open."""
        if self._pause is not None:
            self._pause.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                # The listening socket is non-blocking; several processes may compete for the same connection.
                connection, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _LOST:
                    continue
                # Without a pause, the socket would stay readable and the loop would call this again at once, for ever.
                if error.errno not in _OUT_OF_SOCKETS:
                    raise
                log_out_of_sockets("no connection can be accepted for a second: %s", error.strerror)
                self._loop.remove_reader(self._socket)
                self._pause = self._loop.call_later(_PAUSE, self._resume)
                return
            # Asked before the task is created: between accept() and connection_made() the loop may accept many more.
            if not self._admission.reserve_slot(connection.fileno(), peer):
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
            self._admission.release_slot(descriptor)
            connection.close()
            raise

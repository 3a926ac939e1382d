"""The connections of the admin API's clients: how many, and for how long."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any, cast

from aiohttp import web

from albkit.errors import escaped
from albkit.report.log_throttle import LogThrottle

__all__ = ("HEADERS", "Connection", "Connections")

_log = logging.getLogger("albkit")

MOST_CONNECTIONS = 256
"""Further ones are closed at once."""
HEAD_TIMEOUT = 10.0
"""Seconds for a request to arrive after the connection was opened, or after the request before."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "albkit",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer."""
_USER_TIMEOUT = 30_000
"""Milliseconds for which sent bytes may stay unacknowledged (TCP_USER_TIMEOUT, tcp(7))."""
_INTERVAL = 2.0


class Connection(web.RequestHandler):
    """One connection, as an asyncio protocol. aiohttp has no deadline for the head of a request, and no limit on connections."""

    __slots__ = ("_all", "_transport", "busy", "has_begun", "idle_since")

    def __init__(self, manager: web.Server, connections: Connections, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._all = connections
        self._transport: asyncio.Transport | None = None
        self.busy = 0
        """Requests that a handler works on."""
        self.has_begun = False
        """Whether a part of the answer to the present request is sent."""
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        super().connection_made(transport)
        self._all.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._all.discard(self)
        super().connection_lost(exc)

    def abort(self) -> None:
        """Cut it."""
        if self._transport is not None:
            self._transport.abort()

    def bound_silence(self) -> None:
        """Let the kernel give up a peer that does not acknowledge for a while, which has vanished."""
        sock: socket.socket | None = self._transport.get_extra_info("socket") if self._transport is not None else None
        if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Make the answer to a request that aiohttp cannot read."""
        response = super().handle_error(request, status, exc, message)
        response.headers.update(HEADERS)
        return response

    def log_exception(self, *arguments: Any, **more: Any) -> None:
        """Log an error that aiohttp has met. It would write a traceback with bytes of the client, as often as the client likes."""
        del arguments
        throttle = self._all.throttle
        if throttle.may_say():
            fields = {"albkit_event": "admin_connection_failed"}
            _log.warning("admin API: a request could not be read: %s%s", escaped(str(more.get("exc_info"))), throttle.also(), extra=fields)

    def begin(self) -> None:
        """A handler works on a request."""
        self.busy += 1
        self.has_begun = False

    def end(self) -> None:
        """The handler is done."""
        self.busy -= 1
        self.idle_since = asyncio.get_running_loop().time()


class Connections:
    """All connections of one admin API."""

    def __init__(self) -> None:
        self.rejected = 0
        self.throttle = LogThrottle()
        self._open: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: Connection) -> None:
        """Let a new connection in, or cut it."""
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        if len(self._open) >= MOST_CONNECTIONS:
            self.rejected += 1
            connection.abort()
            return
        self._open.add(connection)
        connection.bound_silence()
        if self._timer is None:
            self._timer = loop.call_later(_INTERVAL, self._sweep)

    def discard(self, connection: Connection) -> None:
        """A connection is closed."""
        self._open.discard(connection)

    def _sweep(self) -> None:
        """Cut connections that have waited for a request for too long. There is no timer while none is open."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in tuple(self._open):
            if not connection.busy and now - connection.idle_since >= HEAD_TIMEOUT:
                connection.abort()
        self._timer = loop.call_later(_INTERVAL, self._sweep) if self._open else None

    def close(self) -> None:
        """Cut what is left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in tuple(self._open):
            connection.abort()

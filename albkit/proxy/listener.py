"""Opens the doors: listening sockets, and a protocol for each client that comes in."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from albkit.model.listener import Listener
from albkit.proxy.client_connection import ClientConnection
from albkit.proxy.exchange import serve
from albkit.proxy.gateway import Entrance, Gateway

__all__ = ("BACKLOG", "RunningListener")

BACKLOG = 4096
_WATCHED = 4
"""How often uvloop watches each socket: it accepts one connection each time that it looks, and looks once in a pass for each."""


class RunningListener:
    """A listener whose port is open."""

    entrance: Entrance
    """How its requests are read, and where its rules send them; there once it is open."""

    def __init__(self, listener: Listener, gateway: Gateway) -> None:
        self.listener = listener
        self.port = listener.port
        """The port that is open, also where the listener asked for any."""
        self._gateway = gateway
        self._servers: list[asyncio.Server] = []

    @property
    def url(self) -> str:
        """Where a client on this machine reaches it."""
        host = self.listener.host
        if host in (None, "0.0.0.0", "::"):  # noqa: S104 - this compares, it does not bind
            host = "127.0.0.1"
        return f"http://[{host}]:{self.port}" if ":" in str(host) else f"http://{host}:{self.port}"

    async def open(self) -> None:
        """Listen.

        Raises:
            OSError: the port is in use or may not be used, or the host is no address of this machine; the text says which.
        """
        loop = self._gateway.loop
        sockets = await self._bind(loop)
        self.port = sockets[0].getsockname()[1]
        entrance = self.entrance = Entrance(self._gateway, self.listener, self.port)
        for sock in sockets:
            for watched in _as_often_as_watched(sock, loop):
                self._servers.append(await loop.create_server(lambda: ClientConnection(entrance, serve), sock=watched, backlog=BACKLOG))

    def take(self, listener: Listener) -> None:
        """Decide by this description from the next request on."""
        self.listener = listener
        self.entrance.take(listener)

    def end_connections(self) -> None:
        """End the connections that came in here: idle ones now, others behind their exchange. Tunnels stay."""
        for client in tuple(self._gateway.clients):
            if client.entrance is self.entrance:
                client.stop()

    async def close(self) -> None:
        """Listen no more. Connections that are open stay."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        # The sockets are closed in the loop's next pass; after it the ports are free.
        await asyncio.sleep(0)

    async def _bind(self, loop: asyncio.AbstractEventLoop) -> list[socket.socket]:
        host, port = self.listener.host, self.listener.port
        try:
            if host is None:
                return [_bind_everywhere(port)]
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            return _bind_each(list(dict.fromkeys((int(family), tuple(address)) for family, _, _, _, address in found)), port)
        except OSError as error:
            raise _explained(error, host, port) from None


def _as_often_as_watched(sock: socket.socket, loop: asyncio.AbstractEventLoop) -> list[socket.socket]:
    """The socket and its copies. asyncio's own loops accept all that wait, and need none."""
    copies = 0 if isinstance(loop, asyncio.BaseEventLoop) else _WATCHED - 1
    return [sock, *(sock.dup() for _ in range(copies))]


def _bind_everywhere(port: int) -> socket.socket:
    """One socket for IPv4 and IPv6, so that a free port is the same for both; IPv4 alone where there is no IPv6."""
    if socket.has_dualstack_ipv6():
        with suppress(_NoSuchFamily):
            return _bound(socket.AF_INET6, ("::", port), dual=True)
    return _bound(socket.AF_INET, ("0.0.0.0", port))  # noqa: S104 - all interfaces is what was asked for


def _bind_each(addresses: Sequence[tuple[int, tuple[Any, ...]]], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            chosen = sockets[0].getsockname()[1] if sockets else port
            with suppress(_NoSuchFamily):
                sockets.append(_bound(family, (address[0], chosen, *address[2:])))
        if not sockets:
            raise OSError(errno.EADDRNOTAVAIL, "none of its addresses can be used")
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


class _NoSuchFamily(Exception):
    """The machine does not speak this address family."""


def _bound(family: int, address: tuple[Any, ...], *, dual: bool = False) -> socket.socket:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _NoSuchFamily from error
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.setblocking(False)
        sock.bind(address)
    except OSError as error:
        sock.close()
        if family == socket.AF_INET6 and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise _NoSuchFamily from error
        raise
    return sock


def _explained(error: OSError, host: str | None, port: int) -> OSError:
    where = f"{host or '*'}:{port}"
    advice = {
        errno.EADDRINUSE: "the port is in use; stop the program that listens there, or choose another port (0 takes a free one)",
        errno.EACCES: "not permitted; ports below 1024 need privileges",
        errno.EADDRNOTAVAIL: "the host is no address of this machine",
    }.get(error.errno or 0, str(error))
    return OSError(error.errno, f"cannot listen on {where}: {advice}")

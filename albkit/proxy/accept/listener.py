"""Opens the doors: a protocol for each client that comes in by the sockets of a listener."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack

from albkit.model.listener import Listener
from albkit.model.redirect_loops import doubts_about_redirects
from albkit.policy.route_plan import RoutePlan
from albkit.policy.rule_table import RuleTable
from albkit.proxy.accept.acceptor import Server
from albkit.proxy.accept.connection_preface import ConnectionPreface, Receive
from albkit.proxy.accept.listener_runtime import ListenerRuntime, compile_rules
from albkit.proxy.accept.sockets import SocketFile, change_backlog, open_sockets, reached_at, release, serve_on, told_port
from albkit.proxy.runtime import Runtime
from albkit.proxy.tls.termination import Termination

__all__ = ("RunningListener", "close_all")

_log = logging.getLogger("albkit")
_WATCHED = 4
"""How often uvloop watches each socket: it accepts one connection each time that it looks, and looks once in a pass for each."""


class RunningListener:
    """A listener whose port is open.

    Args:
        listener: Its description.
        runtime: Of the load balancer.
        receive: Makes the protocol that reads a connection, once any PROXY header and TLS handshake are over.
    """

    listener_runtime: ListenerRuntime
    """How its requests are read, and where its rules send them; there once it is open."""

    def __init__(self, listener: Listener, runtime: Runtime, receive: Receive) -> None:
        self.listener = listener
        self._receive = receive
        self.port = listener.port
        """The port that is open, also where the listener asked for any; of a unix or inherited socket the one that targets are told."""
        self._runtime = runtime
        self._servers: list[Server] = []
        self._file: SocketFile | None = None
        self._reached_at = ""

    @property
    def url(self) -> str:
        """Where a client on this machine reaches it; `unix:` and the path of a unix socket."""
        if self._reached_at.startswith("unix:"):
            return self._reached_at
        return f"{self.listener.protocol.lower()}://{self._reached_at}"

    async def open(self, termination: Termination | None) -> None:
        """Listen.

        Args:
            termination: How TLS is spoken with clients; `None` where it is not.

        Where it fails or is cancelled, `close` is still to be called.

        Raises:
            OSError: what it listens on is in use or may not be used, is not of this machine, or was not inherited; the text says which.
        """
        loop = self._runtime.loop
        rules = await compile_rules(self.listener, self._runtime)
        bound = await open_sockets(self.listener, loop)
        self._file = bound.file
        self.port = told_port(self.listener, bound.sockets[0])
        self._reached_at = reached_at(self.listener, bound.sockets[0])
        listener_runtime = self.listener_runtime = ListenerRuntime(self._runtime, self.listener, self.port, termination, rules)
        for sock in bound.sockets:
            for watched in _as_often_as_watched(sock, loop):
                server = await serve_on(watched, loop, lambda: self._begin(listener_runtime), self._runtime, self.listener.backlog)
                self._servers.append(server)
        for server in self._servers:
            await server.start_serving()
        self._warn()

    def reconfigure(self, listener: Listener, termination: Termination | None, rules: RuleTable[RoutePlan] | None = None) -> None:
        """Decide by this description from the next connection and request on, and let as many connections wait as it says.

        Args:
            listener: The description.
            termination: How TLS is spoken with clients; `None` where it is not.
            rules: Those of the description, compiled; `None` where they are the same as before.
        """
        if listener.backlog != self.listener.backlog:
            for server in self._servers:
                change_backlog(server, listener.backlog)
        is_another = listener != self.listener
        self.listener = listener
        self.listener_runtime.reconfigure(listener, termination, rules if rules is not None else self.listener_runtime.rules)
        if is_another:
            self._warn()

    def _begin(self, listener_runtime: ListenerRuntime) -> asyncio.Protocol:
        """The protocol that a new connection begins with."""
        if listener_runtime.has_preface:
            return ConnectionPreface(listener_runtime, self._receive)
        return self._receive(listener_runtime, None)

    def _warn(self) -> None:
        """Tell what of its description is taken, and hardly meant so."""
        for path, words in doubts_about_redirects(self.listener, self.listener.default_actions, self.listener.rules):
            _log.warning("the redirect of listener %s, %s: it %s", self.listener.name or self.url, path, words)

    def end_connections(self) -> None:
        """End the connections that came in here: idle ones now, others behind their exchange. Tunnels stay."""
        for client in tuple(self._runtime.clients):
            if client.listener is self.listener_runtime:
                client.stop()

    async def close(self) -> None:
        """Listen no more. Connections that are open stay."""
        file, self._file = self._file, None
        try:
            await release(file, self._runtime.loop)
        finally:
            for server in self._servers:
                server.close()
            self._servers.clear()
        # The sockets are closed in the loop's next pass; after it the ports are free.
        await asyncio.sleep(0)


async def close_all(listeners: Sequence[RunningListener]) -> None:
    """Close listeners: all of them, also where whoever waits for that is cancelled."""
    async with AsyncExitStack() as stack:
        for listener in reversed(listeners):
            stack.push_async_callback(listener.close)


def _as_often_as_watched(sock: socket.socket, loop: asyncio.AbstractEventLoop) -> list[socket.socket]:
    """The socket and its copies. asyncio's own loops accept all that wait, and need none."""
    copies = 0 if isinstance(loop, asyncio.BaseEventLoop) else _WATCHED - 1
    return [sock, *(sock.dup() for _ in range(copies))]

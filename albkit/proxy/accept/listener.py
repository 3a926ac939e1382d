"""A running listener: its sockets, and the protocol of each accepted connection."""

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
from albkit.proxy.accept.sockets import SocketFile, change_backlog, forwarded_port, open_sockets, reached_at, release, serve_on
from albkit.proxy.runtime import Runtime
from albkit.proxy.tls.termination import Termination

__all__ = ("RunningListener", "close_all")

_log = logging.getLogger("albkit")
_COPIES = 4
"""How many copies of each socket uvloop watches. It accepts one connection per watched socket and iteration of the loop, so copies
accept faster."""


class RunningListener:
    """A listener whose port is open.

    Args:
        listener: Its configuration.
        runtime: The runtime of the load balancer.
        receive: Creates the protocol of a connection, after any PROXY header and TLS handshake.
    """

    listener_runtime: ListenerRuntime
    """What its connections share: limits, request parsing and rules. Set once the listener is open."""

    def __init__(self, listener: Listener, runtime: Runtime, receive: Receive) -> None:
        self.listener = listener
        self._receive = receive
        self.port = listener.port
        """The open port, also if the configuration asks for a free one; for a unix or inherited socket, the port that targets are told."""
        self._runtime = runtime
        self._servers: list[Server] = []
        self._has_runtime = False
        """Whether `listener_runtime` is set."""
        self._file: SocketFile | None = None
        self._reached_at = ""

    @property
    def url(self) -> str:
        """Where a client on this machine reaches it; `unix:` and the path for a unix socket."""
        if self._reached_at.startswith("unix:"):
            return self._reached_at
        return f"{self.listener.protocol.lower()}://{self._reached_at}"

    async def open(self, termination: Termination | None) -> None:
        """Bind and listen.

        Args:
            termination: TLS with clients; `None` for plain connections.

        After a failure or a cancellation, call `close`.

        Raises:
            OSError: the address is in use, not permitted, not of this machine, or was not inherited; the text says which.
        """
        loop = self._runtime.loop
        rules = await compile_rules(self.listener, self._runtime)
        bound = await open_sockets(self.listener, loop)
        self._file = bound.file
        self.port = forwarded_port(self.listener, bound.sockets[0])
        self._reached_at = reached_at(self.listener, bound.sockets[0])
        listener_runtime = self.listener_runtime = ListenerRuntime(self._runtime, self.listener, self.port, termination, rules)
        self._has_runtime = True
        for sock in bound.sockets:
            for watched in _watched_copies(sock, loop):
                server = await serve_on(watched, loop, lambda: self._begin(listener_runtime), listener_runtime, self.listener.backlog)
                self._servers.append(server)
        for server in self._servers:
            # After all servers exist: if one cannot be created, none has accepted a connection yet.
            await server.start_serving()
        self._warn()

    def reconfigure(self, listener: Listener, termination: Termination | None, rules: RuleTable[RoutePlan] | None = None) -> None:
        """Use a new configuration for further connections and requests, and for the backlog.

        Args:
            listener: The configuration.
            termination: TLS with clients; `None` for plain connections.
            rules: Its compiled rules; `None` if they have not changed.
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
        """Create the first protocol of a new connection."""
        if listener_runtime.has_preface:
            return ConnectionPreface(listener_runtime, self._receive)
        return self._receive(listener_runtime, None)

    def _warn(self) -> None:
        """Log settings that are valid, but probably not intended."""
        for path, words in doubts_about_redirects(self.listener, self.listener.default_actions, self.listener.rules):
            name = self.listener.name or self.url
            fields = {"albkit_event": "configuration_doubt", "albkit_listener": name, "albkit_detail": words}
            _log.warning("the redirect of listener %s, %s: it %s", name, path, words, extra=fields)

    def end_connections(self) -> None:
        """Close the connections of this listener: idle ones now, others after their exchange. Tunnels stay open."""
        for client in tuple(self._runtime.clients):
            # The runtime's clients are those of all listeners.
            if client.listener is self.listener_runtime:
                client.stop()

    async def close(self) -> None:
        """Stop listening. Open connections stay open."""
        file, self._file = self._file, None
        try:
            # Before the sockets are closed; see `release`.
            await release(file, self._runtime.loop)
        finally:
            for server in self._servers:
                server.close()
            self._servers.clear()
            if self._has_runtime:
                self.listener_runtime.parked.close()
        # uvloop closes the sockets in the next iteration of the loop. After it, the ports are free.
        await asyncio.sleep(0)


async def close_all(listeners: Sequence[RunningListener]) -> None:
    """Close all listeners, even if the caller is cancelled meanwhile."""
    async with AsyncExitStack() as stack:
        for listener in reversed(listeners):
            stack.push_async_callback(listener.close)


def _watched_copies(sock: socket.socket, loop: asyncio.AbstractEventLoop) -> list[socket.socket]:
    """The socket and its copies. asyncio's own loops accept all waiting connections with one, so they need no copies."""
    copies = 0 if isinstance(loop, asyncio.BaseEventLoop) else _COPIES - 1
    return [sock, *(sock.dup() for _ in range(copies))]

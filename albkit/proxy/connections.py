"""Open and idle connections to targets."""

from __future__ import annotations

import asyncio
import errno
import ssl
from typing import TYPE_CHECKING

from albkit.errors import Failure, FailureKind
from albkit.model.health import TargetHealthState
from albkit.model.limits import Limits
from albkit.model.target import Target
from albkit.model.target_group import TargetGroup
from albkit.proxy.sips import SIP
from albkit.proxy.sweep import Sweep
from albkit.proxy.target_connection import TargetConnection
from albkit.proxy.transports import peer_has_left
from albkit.state.counters import Counters
from albkit.state.target import TargetState

if TYPE_CHECKING:
    from albkit.proxy.client import Client

__all__ = ("OUT_OF_SOCKETS", "Connections", "tls_context")

_TLS_TIMEOUT = 10.0
"""Seconds for a handshake with a target (alb-reference 2.9)."""
OUT_OF_SOCKETS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))


class Connections:
    """Connects to targets, and keeps connections that can serve another request."""

    def __init__(self, loop: asyncio.AbstractEventLoop, counters: Counters, sweep: Sweep, limits: Limits) -> None:
        self._loop = loop
        self._counters = counters
        self._sweep = sweep
        self._limits = limits
        self.sip = memoryview(bytearray(SIP))
        """What slow clients' responses are read through, one read at a time."""
        self._idle: dict[TargetState, list[TargetConnection]] = {}
        self._open: set[TargetConnection] = set()
        self._closed: asyncio.Event | None = None
        self._contexts: dict[bool | str, ssl.SSLContext] = {}

    @property
    def count(self) -> int:
        """Open connections, idle ones among them."""
        return len(self._open)

    def idle(self, member: TargetState) -> int:
        """Idle connections to one target."""
        return len(self._idle.get(member, ()))

    def take(self, member: TargetState, *, careful: bool) -> TargetConnection | None:
        """The idle connection used last, `None` where there is none to be trusted.

        Args:
            member: The target.
            careful: Whether to make sure that the target has not closed it just now: for a request that may not be sent twice.
        """
        idle = self._idle.get(member)
        while idle:
            connection = idle.pop()
            transport = connection.transport
            if transport is not None and not transport.is_closing() and not (careful and peer_has_left(transport)):
                return connection
            connection.abort()
        return None

    def keep(self, connection: TargetConnection, timeout: float | None) -> None:
        """Keep a connection for later.

        Args:
            connection: With nothing going on.
            timeout: Seconds that the target keeps it, where it has told; half a second less is trusted.
        """
        if self._closed is not None or (connection.member.state is TargetHealthState.DRAINING and not connection.member.keeps_sessions):
            connection.abort()
            return
        idle = self._idle.get(connection.member)
        if idle is None:
            idle = self._idle[connection.member] = []
        most = self._limits.target_keep_alive
        connection.idle_limit = most if timeout is None else min(most, max(0.0, timeout - 0.5))
        if len(idle) >= self._limits.idle_target_connections or connection.idle_limit == 0:
            self._counters.idle_connections_closed += 1
            connection.abort()
        else:
            idle.append(connection)

    def drop_idle(self, member: TargetState) -> None:
        """Close the idle connections to a target that gets no more requests."""
        for connection in tuple(self._idle.pop(member, ())):
            connection.abort()

    def bound_to(self, member: TargetState) -> list[Client]:
        """The clients whose exchanges are with this target now."""
        return [connection.client for connection in self._open if connection.member is member and connection.client is not None]

    def forget(self, connection: TargetConnection) -> None:
        """A connection has ended or belongs to a tunnel now."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        self._sweep.discard(connection)
        self._counters.active_connections -= 1
        idle = self._idle.get(connection.member)
        if idle and connection in idle:
            idle.remove(connection)
        if self._closed is not None and not self._open:
            self._closed.set()

    async def connect(self, member: TargetState, group: TargetGroup, client: Client) -> TargetConnection:
        """A new connection, unless the client's failure comes first.

        Raises:
            Failure: the target refused, cannot be reached or took too long; or the client left.
        """
        waiter = client.wait()
        task = self._loop.create_task(self._connect(member, self._tls(member, group)))
        task.add_done_callback(lambda done: _hand_over(done, waiter))
        try:
            await waiter
        except BaseException:
            task.cancel()
            raise
        connection = task.result()
        if connection.transport is None:
            # It ended before this task was woken, and will not say so again.
            raise Failure(FailureKind.TARGET_UNREACHABLE, "closed as soon as it was connected")
        self._open.add(connection)
        self._sweep.add(connection)
        self._counters.active_connections += 1
        self._counters.new_connections += 1
        return connection

    def trust(self, group: TargetGroup) -> None:
        """Read the CA certificates that a group's targets are verified with, so that a bad file shows before the first request.

        Raises:
            OSError: the file cannot be read or holds no certificates; the text says which.
        """
        if isinstance(group.verify, str) and group.verify not in self._contexts:
            try:
                self._contexts[group.verify] = tls_context(group.verify)
            except OSError as error:  # ssl.SSLError is one.
                text = f"target group {group.name}: cannot read CA certificates from {group.verify!r}: {error}"
                raise OSError(error.errno, text) from None

    def _tls(self, member: TargetState, group: TargetGroup) -> ssl.SSLContext | None:
        if group.protocol_of(member.target) != "HTTPS":
            return None
        context = self._contexts.get(group.verify)
        if context is None:
            context = self._contexts[group.verify] = tls_context(group.verify)
        return context

    async def _connect(self, member: TargetState, tls: ssl.SSLContext | None) -> TargetConnection:
        target = member.target

        def make() -> TargetConnection:
            return TargetConnection(member, self, self._counters, self._limits)

        try:
            async with asyncio.timeout(self._limits.connect_timeout):
                if target.port is None:
                    _, connection = await self._loop.create_unix_connection(make, target.path)
                else:
                    _, connection = await self._loop.create_connection(
                        make,
                        target.host,
                        target.port,
                        ssl=tls,
                        server_hostname=(target.server_name or target.host) if tls is not None else None,
                        ssl_handshake_timeout=_TLS_TIMEOUT if tls is not None else None,
                    )
        except ssl.SSLError as error:
            raise Failure(FailureKind.TARGET_TLS_FAILED, f"{target}: {error}") from None
        except ConnectionAbortedError as error:
            kind = FailureKind.TARGET_TLS_TIMEOUT if tls is not None else FailureKind.TARGET_UNREACHABLE
            raise Failure(kind, f"{target}: {error}") from None
        except OSError as error:
            raise _connect_failure(error, target, self._limits.connect_timeout) from None
        return connection

    def abort(self) -> None:
        """Close every connection, and keep none from now on."""
        if self._closed is None:
            self._closed = asyncio.Event()
        for connection in tuple(self._open):
            connection.abort()

    async def close(self) -> None:
        """The same, and wait until all are gone."""
        self.abort()
        if self._open and self._closed is not None:
            await self._closed.wait()


def tls_context(verify: bool | str) -> ssl.SSLContext:
    """How TLS is spoken with targets: as ALB does without verifying, or with.

    Raises:
        OSError: the file of CA certificates cannot be read.
    """
    if verify is False:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _hand_over(task: asyncio.Task[TargetConnection], waiter: asyncio.Future[object]) -> None:
    """Tell the exchange how connecting went; where it does not wait any more, leave nothing behind."""
    if task.cancelled():
        if not waiter.done():
            waiter.cancel()
        return
    error = task.exception()
    if not waiter.done():
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
    elif error is None:
        task.result().abort()


def _connect_failure(error: OSError, target: Target, timeout: float) -> Failure:
    if isinstance(error, TimeoutError):
        return Failure(FailureKind.TARGET_CONNECT_TIMEOUT, f"{target}, {timeout:g} s")
    if isinstance(error, ConnectionRefusedError):
        return Failure(FailureKind.TARGET_CONNECTION_REFUSED, str(target))
    if error.errno in OUT_OF_SOCKETS:
        return Failure(FailureKind.OUT_OF_SOCKETS, str(error))
    return Failure(FailureKind.TARGET_UNREACHABLE, str(error))

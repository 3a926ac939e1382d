"""The connections to all targets: lends them to exchanges, and keeps idle ones for later requests (keep-alive)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import TypeVar

from albkit.errors import Failure, FailureKind
from albkit.model.health import TargetHealthState
from albkit.model.limits import Limits
from albkit.model.message import ClientAddress
from albkit.model.target_group import TargetGroup
from albkit.proxy.downstream import DownstreamExchange, Waiting
from albkit.proxy.sweep import Sweep
from albkit.proxy.target.connection import TargetConnection
from albkit.proxy.target.connector import Connector
from albkit.proxy.target.http1_connection import Http1TargetConnection
from albkit.proxy.target.raw_connection import RawConnection
from albkit.proxy.target.small_reads import SMALL_READ
from albkit.proxy.tls.targets import TargetContexts
from albkit.proxy.transports import peer_has_left
from albkit.proxy.upstream import UpstreamExchange
from albkit.state.counters import Counters
from albkit.state.target import TargetState

__all__ = ("ConnectionPool",)

_LEAST_KEPT = 1024
"""Idle connections per target that are always kept, unless `Limits.idle_target_connections` sets another number."""
_MINUTE = 60.0
_AT_ONCE = 64
"""Surplus connections that one round of the sweep closes per target, so that the end of a traffic peak does not block the event loop."""
_LEAST_SHED = 16
"""Connections that are closed at a time when file descriptors run short, so that not every new client costs a search of all targets."""

AnyConnection = TypeVar("AnyConnection", bound=TargetConnection)


def _nothing(_: int) -> None:
    """There is room."""


class _PerTarget:
    """The connections to one target. It exists while there is one."""

    __slots__ = ("_most", "_most_before", "idle", "open")

    def __init__(self) -> None:
        self.open: set[TargetConnection] = set()
        self.idle: dict[Http1TargetConnection, None] = {}
        """The most recently used one comes last and is lent first. If there is less to do, the others stay unused until they time out."""
        self._most = self._most_before = 0
        """The most connections in use at a time, in this minute and in the one before; counted only if there are more than are always
        kept."""

    def is_full(self, most: int | None) -> bool:
        """Whether a connection that is about to become idle is one too many to keep.

        Args:
            most: `Limits.idle_target_connections`; `None` for as many as were in use at a time in the last minute.
        """
        if most is not None:
            return len(self.idle) >= most
        self._most = max(self._most, len(self.open) - len(self.idle))
        return len(self.idle) >= self._worth_keeping

    @property
    def _worth_keeping(self) -> int:
        return max(_LEAST_KEPT, self._most, self._most_before)

    def turn_minute(self) -> None:
        """Start counting a new minute."""
        self._most, self._most_before = len(self.open) - len(self.idle), self._most

    def surplus(self) -> list[Http1TargetConnection]:
        """Some of the idle connections that are too many by now, least recently used first."""
        return list(islice(self.idle, min(_AT_ONCE, max(0, len(self.idle) - self._worth_keeping))))


class ConnectionPool:
    """Lends connections to exchanges and tunnels.

    A lease is an `UpstreamExchange`. With HTTP/1.1 it is the connection itself, which comes back by `keep`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, counters: Counters, sweep: Sweep, limits: Limits) -> None:
        self._loop = loop
        self.soon = loop.call_soon
        """Used by connections that give up their turn of the event loop."""
        self._counters = counters
        self._sweep = sweep
        self._limits = limits
        self.small_read_buffer = memoryview(bytearray(SMALL_READ))
        """Used by connections whose client is slow, for the time of one read."""
        self._pools: dict[TargetState, _PerTarget] = {}
        self._owned: dict[ClientAddress, dict[TargetState, dict[Http1TargetConnection, None]]] = {}
        """The idle connections whose PROXY protocol header named a client, by that client and target."""
        self._open: set[TargetConnection] = set()
        self._closed: asyncio.Event | None = None
        """Set when the last connection is closed; `None` until `abort`."""
        self.contexts = TargetContexts()
        """The TLS settings of the target groups."""
        self._connector = Connector(loop, limits, self.contexts)
        self.make_room: Callable[[int], None] = _nothing
        """Called before that many file descriptors are taken, so that idle connections can be closed for them."""
        self._most_idle = limits.idle_target_connections
        self._minute_ends = 0.0
        sweep.add(self)

    @property
    def count(self) -> int:
        """Open connections, including idle ones."""
        return len(self._open)

    def idle(self, member: TargetState) -> int:
        """Idle connections to one target."""
        pool = self._pools.get(member)
        return len(pool.idle) if pool is not None else 0

    def bound_to(self, member: TargetState) -> list[DownstreamExchange]:
        """The clients whose exchanges are with this target now."""
        pool = self._pools.get(member)
        return [connection.client for connection in pool.open if connection.client is not None] if pool is not None else []

    # Leases.

    def take(self, member: TargetState, owner: ClientAddress | None, *, careful: bool) -> UpstreamExchange | None:
        """Lend an idle connection, the most recently used one first. `None` if there is none that can be trusted: then `lease` opens one.

        Args:
            member: The target.
            owner: The client that the connection must have been opened for, if the group uses the PROXY protocol; else `None`.
            careful: Whether to ask the kernel if the target has closed the connection just now: for requests that must not be sent twice.
        """
        pool = self._pools.get(member)
        if pool is None:
            return None
        # By object, not by value: `owner` is the address object of one client connection, whose end closes these connections too.
        idle = pool.idle if owner is None else self._owned.get(owner, {}).get(member)
        while idle:
            connection, _ = idle.popitem()
            if owner is not None:
                del pool.idle[connection]
            transport = connection.transport
            if transport is not None and not transport.is_closing() and not (careful and peer_has_left(transport)):
                return connection
            connection.abort()
        return None

    async def lease(self, member: TargetState, group: TargetGroup, client: Waiting) -> UpstreamExchange:
        """Open a connection for an exchange.

        Args:
            member: The target.
            group: Says whether to use TLS and the PROXY protocol.
            client: Waits for the connection. With the PROXY protocol, the connection will serve this client only.

        Raises:
            Failure: the target refused, cannot be reached or took too long; or the client left.
        """
        return await self._open_connection(member, group, client, Http1TargetConnection)

    async def connect_raw(self, member: TargetState, group: TargetGroup, client: Waiting) -> RawConnection:
        """Open a connection for a tunnel without an exchange. Arguments and failures are those of `lease`."""
        return await self._open_connection(member, group, client, RawConnection)

    async def _open_connection(
        self,
        member: TargetState,
        group: TargetGroup,
        client: Waiting,
        kind: Callable[[TargetState, ConnectionPool, Counters, Limits], AnyConnection],
    ) -> AnyConnection:
        self.make_room(1)

        def make() -> AnyConnection:
            return kind(member, self, self._counters, self._limits)

        # A task of its own, because a failure of the client ends the wait at once, but a connect in progress must be cleaned up.
        waiter = client.wait()
        task = self._loop.create_task(self._connector.connect(make, member.target, group, client))
        task.add_done_callback(lambda done: _hand_over(done, waiter))
        try:
            await waiter
        except BaseException:
            if not task.cancel() and not task.cancelled() and task.exception() is None:
                task.result().abort()
            raise
        connection = task.result()
        if connection.transport is None:
            # It was lost before this task ran again. `remove` did not know it then and will not be called again.
            raise Failure(FailureKind.TARGET_UNREACHABLE, "closed as soon as it was connected")
        self.add(connection)
        return connection

    def add(self, connection: TargetConnection) -> None:
        """Count an open connection, and remember it until `remove`."""
        self._open.add(connection)
        pool = self._pools.get(connection.member)
        if pool is None:
            pool = self._pools[connection.member] = _PerTarget()
        pool.open.add(connection)
        self._sweep.add(connection)
        self._counters.connection_opened()

    def remove(self, connection: TargetConnection) -> None:
        """Forget a connection that was closed, or handed over to a tunnel."""
        if connection not in self._open:
            return
        self._remove_idle(connection)
        pool = self._pools[connection.member]
        pool.open.discard(connection)
        if not pool.open:
            del self._pools[connection.member]
        self._open.discard(connection)
        self._sweep.discard(connection)
        self._counters.connection_closed()
        if self._closed is not None and not self._open:
            self._closed.set()

    # Idle connections.

    def keep(self, connection: Http1TargetConnection, timeout: float | None) -> None:
        """Take back a connection that can serve another exchange, or close it if it is one too many.

        Args:
            connection: Has no exchange on it.
            timeout: Seconds for which the target keeps the connection, if it sent `Keep-Alive: timeout=`. Half a second less is trusted,
                because the request takes time to arrive.
        """
        member = connection.member
        # A target that drains gets no more requests, unless sessions may still use it.
        if self._closed is not None or (member.state is TargetHealthState.DRAINING and not member.keeps_sessions):
            connection.abort()
            return
        longest = self._limits.target_keep_alive
        connection.idle_limit = longest if timeout is None else min(longest, max(0.0, timeout - 0.5))
        pool = self._pools[member]
        # With few open connections there cannot be too many idle ones: so most requests need not count them.
        most = self._most_idle
        if connection.idle_limit == 0 or (len(pool.open) > (_LEAST_KEPT if most is None else most) and pool.is_full(most)):
            self._counters.idle_connection_closed()
            connection.abort()
            return
        pool.idle[connection] = None
        owner = connection.owner
        if owner is not None:
            self._owned.setdefault(owner, {}).setdefault(member, {})[connection] = None

    def drop_idle(self, member: TargetState) -> None:
        """Close the idle connections to a target that gets no more requests."""
        pool = self._pools.get(member)
        for connection in tuple(pool.idle) if pool is not None else ():
            self._remove_idle(connection)
            connection.abort()

    def outdate(self, member: TargetState) -> None:
        """Let the open connections to a target serve no further request: new ones are opened in another way, as with new TLS settings."""
        self.drop_idle(member)
        pool = self._pools.get(member)
        for connection in pool.open if pool is not None else ():
            connection.is_last = True

    def drop_owned(self, owner: ClientAddress) -> None:
        """Close the idle connections that were opened for a client that has left."""
        for member, idle in self._owned.pop(owner, {}).items():
            for connection in idle:
                del self._pools[member].idle[connection]
                connection.abort()

    def sweep(self, now: float) -> None:
        """Close idle connections that are more than were in use at a time in the last minute."""
        turns = now >= self._minute_ends
        if turns:
            self._minute_ends = now + _MINUTE
        if self._most_idle is not None:
            return
        for pool in self._pools.values():
            self._close_surplus(pool.surplus())
            if turns:
                pool.turn_minute()

    def shed(self, count: int) -> None:
        """Close at least `count` idle connections, or all if there are fewer: first of the target with most, least recently used first."""
        left = max(count, _LEAST_SHED)
        for pool in sorted(self._pools.values(), key=lambda pool: len(pool.idle), reverse=True):
            closed = list(islice(pool.idle, left))
            self._close_surplus(closed)
            left -= len(closed)
            if left <= 0:
                break

    def _close_surplus(self, connections: list[Http1TargetConnection]) -> None:
        for connection in connections:
            self._counters.idle_connection_closed()
            self._remove_idle(connection)
            connection.abort()

    def _remove_idle(self, connection: TargetConnection) -> None:
        """Lend this connection no more, if it is idle."""
        pool = self._pools[connection.member]
        if not isinstance(connection, Http1TargetConnection) or connection not in pool.idle:
            return
        del pool.idle[connection]
        owner = connection.owner
        if owner is not None:
            mine = self._owned[owner]
            del mine[connection.member][connection]
            if not mine[connection.member]:
                del mine[connection.member]
            if not mine:
                del self._owned[owner]

    # The end.

    def abort(self) -> None:
        """Close every connection, and keep none from now on."""
        if self._closed is None:
            self._closed = asyncio.Event()
        for connection in tuple(self._open):
            connection.abort()

    async def close(self) -> None:
        """Close every connection, and wait until all are closed."""
        self.abort()
        if self._open and self._closed is not None:
            await self._closed.wait()


def _hand_over(task: asyncio.Task[AnyConnection], waiter: asyncio.Future[object]) -> None:
    """Wake the exchange that waits for a connection. If it does not wait any more, close the connection."""
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

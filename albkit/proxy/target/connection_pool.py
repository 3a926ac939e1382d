"""The connections to all targets: lends them to exchanges, and keeps idle ones for later requests (keep-alive)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from albkit.errors import Failure, FailureKind
from albkit.model.health import TargetHealthState
from albkit.model.limits import Limits
from albkit.model.message import ClientAddress
from albkit.model.target_group import TargetGroup
from albkit.proxy.downstream import DownstreamExchange, Waiting
from albkit.proxy.http2.buffer_budget import BufferBudget
from albkit.proxy.sweep import Sweep
from albkit.proxy.target.connector import Connector, uses_http2
from albkit.proxy.target.http1_connection import Http1TargetConnection
from albkit.proxy.target.http2_connection import Http2TargetConnection
from albkit.proxy.target.pooled_connection import PooledConnection
from albkit.proxy.target.raw_connection import RawConnection
from albkit.proxy.target.shared_connections import SharedConnections
from albkit.proxy.target.small_reads import SMALL_READ
from albkit.proxy.target.target_connections import LEAST_KEPT, TargetConnections
from albkit.proxy.tls.targets import TargetContexts
from albkit.proxy.transports import peer_has_left
from albkit.proxy.upstream import UpstreamExchange
from albkit.state.counters import Counters
from albkit.state.target import TargetState

__all__ = ("ConnectionPool",)

_MINUTE = 60.0
_LEAST_SHED = 16
"""Connections that are closed at a time when file descriptors run short, so that not every new client costs a search of all targets."""

AnyConnection = TypeVar("AnyConnection", bound=PooledConnection)


def _nothing(_: int) -> None:
    """There is room."""


class ConnectionPool:
    """Lends connections to exchanges and tunnels.

    A lease is an `UpstreamExchange`. With HTTP/1.1 it is the connection itself, which comes back by `keep`. With HTTP/2 it is a stream of a
    connection that many exchanges share; `SharedConnections` lends it.

    Args:
        loop: The event loop.
        counters: Of the load balancer.
        sweep: Closes connections that are idle for too long.
        limits: Of the load balancer.
        budget: Bounds what waits in all HTTP/2 connections.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, counters: Counters, sweep: Sweep, limits: Limits, budget: BufferBudget) -> None:
        self._loop = loop
        self.soon = loop.call_soon
        """Used by connections that give up their turn of the event loop."""
        self._counters = counters
        self._sweep = sweep
        self._limits = limits
        self._budget = budget
        self.small_read_buffer = memoryview(bytearray(SMALL_READ))
        """Used by connections whose client is slow, for the time of one read."""
        self._pools: dict[TargetState, TargetConnections] = {}
        self._owned: dict[ClientAddress, dict[TargetState, dict[Http1TargetConnection, None]]] = {}
        """The idle connections whose PROXY protocol header named a client, by that client and target."""
        self._rooms: dict[TargetState, dict[ClientAddress | None, SharedConnections]] = {}
        """The HTTP/2 connections by target and, with the PROXY protocol, by client; also while the first one is being opened."""
        self._rooms_of: dict[ClientAddress, set[SharedConnections]] = {}
        """Those that were opened for a client."""
        self._open: set[PooledConnection] = set()
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
        return pool.idle_count if pool is not None else 0

    def bound_to(self, member: TargetState) -> list[DownstreamExchange]:
        """The clients whose exchanges are with this target now."""
        pool = self._pools.get(member)
        return [client for connection in pool.open for client in connection.clients] if pool is not None else []

    # Leases.

    def take(self, member: TargetState, owner: ClientAddress | None, *, careful: bool) -> UpstreamExchange | None:
        """Lend an idle connection, the most recently used one first, or a stream of an open one. `None` if there is none that can be
        trusted: then `lease` opens one.

        Args:
            member: The target.
            owner: The client that the connection must have been opened for, if the group uses the PROXY protocol; else `None`.
            careful: Whether to ask the kernel if the target has closed the connection just now: for requests that must not be sent twice.
        """
        pool = self._pools.get(member)
        if pool is None:
            return None
        if pool.shared is not None:
            shared = pool.shared.get(owner)
            return shared.take(careful=careful) if shared is not None else None
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
        """Open a connection for an exchange. With HTTP/2, several requests may share it, and one that is open may be lent.

        Args:
            member: The target.
            group: Says whether to use TLS and the PROXY protocol.
            client: Waits for the connection. With the PROXY protocol, the connection will serve this client only.

        Raises:
            Failure: the target refused, cannot be reached or took too long; or the client left.
        """
        if uses_http2(group):
            return await self._room(member, group, client).lease(group, client)
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
        owner = client.locate() if group.proxy_protocol is not None else None
        waiter = client.wait()
        task = self._loop.create_task(self._connector.connect(make, member.target, group, owner))
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

    def add(self, connection: PooledConnection) -> None:
        """Count an open connection, and remember it until `remove`."""
        self._open.add(connection)
        pool = self._pools.get(connection.member)
        if pool is None:
            pool = self._pools[connection.member] = TargetConnections()
        pool.open.add(connection)
        self._sweep.add(connection)
        self._counters.connection_opened()

    def remove(self, connection: PooledConnection) -> None:
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
        if connection.idle_limit == 0 or (len(pool.open) > (LEAST_KEPT if most is None else most) and pool.is_full(most)):
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
        for connection in pool.oldest_idle(pool.idle_count) if pool is not None else ():
            self._remove_idle(connection)
            connection.close_idle()

    def outdate(self, member: TargetState) -> None:
        """Let the open connections to a target serve no further request: new ones are opened in another way, as with new TLS settings."""
        self.drop_idle(member)
        pool = self._pools.get(member)
        if pool is not None:
            pool.shared = None
            for connection in pool.open:
                connection.retire()
        for room in tuple(self._rooms.pop(member, {}).values()):
            room.retire()

    def drop_owned(self, owner: ClientAddress) -> None:
        """Close the idle connections that were opened for a client that has left."""
        for member, idle in self._owned.pop(owner, {}).items():
            for connection in idle:
                del self._pools[member].idle[connection]
                connection.abort()
        for room in tuple(self._rooms_of.get(owner, ())):
            room.retire()

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
        for pool in sorted(self._pools.values(), key=lambda pool: pool.idle_count, reverse=True):
            closed = pool.oldest_idle(left)
            self._close_surplus(closed)
            left -= len(closed)
            if left <= 0:
                break

    def _close_surplus(self, connections: list[PooledConnection]) -> None:
        for connection in connections:
            self._counters.idle_connection_closed()
            self._remove_idle(connection)
            connection.close_idle()

    def _remove_idle(self, connection: PooledConnection) -> None:
        """Lend this connection no more, if it is idle."""
        pool = self._pools[connection.member]
        if isinstance(connection, Http2TargetConnection):
            pool.idle_shared.pop(connection, None)
            return
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

    # HTTP/2.

    def _room(self, member: TargetState, group: TargetGroup, client: Waiting) -> SharedConnections:
        """What lends streams to this client."""
        owner = client.locate() if group.proxy_protocol is not None else None
        rooms = self._rooms.setdefault(member, {})
        room = rooms.get(owner)
        if room is None:
            room = rooms[owner] = SharedConnections(self, self._loop, member, owner, self._connect_shared)
            if owner is not None:
                self._rooms_of.setdefault(owner, set()).add(room)
                # A trusted proxy names the client of each request. A connection that was opened for one of them serves no other.
                room.is_outdated = owner is not client.address
        return room

    async def _connect_shared(self, room: SharedConnections, group: TargetGroup) -> Http2TargetConnection:
        """Open an HTTP/2 connection, and wait for the target's settings: no request is sent to a target that does not use HTTP/2."""
        self.make_room(1)
        member = room.member
        make = partial(Http2TargetConnection, member, room, self._loop, self._counters, self._limits, self._budget)
        connection = await self._connector.connect(make, member.target, group, room.owner)
        try:
            connection.start()
            async with asyncio.timeout(self._limits.connect_timeout):
                await connection.ready
        except TimeoutError:
            connection.abort()
            detail = f"{member.target}: no SETTINGS within {self._limits.connect_timeout:g} s"
            raise Failure(FailureKind.TARGET_CONNECT_TIMEOUT, detail) from None
        except BaseException:
            connection.abort()
            raise
        if connection.transport is None:
            raise Failure(FailureKind.TARGET_UNREACHABLE, "closed as soon as it was connected")
        self.add(connection)
        self._pools[member].shared = self._rooms.get(member)
        return connection

    def keep_shared(self, connection: Http2TargetConnection) -> None:
        """Keep a connection without streams for later requests, or close it."""
        member = connection.member
        pool = self._pools.get(member)
        if pool is None or connection not in pool.open:
            return  # It is lost.
        most = self._most_idle
        if self._closed is not None or (member.state is TargetHealthState.DRAINING and not member.keeps_sessions):
            connection.retire()
        elif self._limits.target_keep_alive == 0 or (len(pool.open) > (LEAST_KEPT if most is None else most) and pool.is_full(most)):
            self._counters.idle_connection_closed()
            connection.retire()
        else:
            pool.idle_shared[connection] = None

    def use_shared(self, connection: Http2TargetConnection) -> None:
        """A connection that was kept gets a stream."""
        self._pools[connection.member].idle_shared.pop(connection, None)

    def drop_room(self, room: SharedConnections) -> None:
        """Forget what lent streams: it has neither connections nor requests."""
        rooms = self._rooms.get(room.member)
        if rooms is not None and rooms.get(room.owner) is room:
            del rooms[room.owner]
            if not rooms:
                del self._rooms[room.member]
        if room.owner is not None:
            of_owner = self._rooms_of.get(room.owner, set())
            of_owner.discard(room)
            if not of_owner:
                self._rooms_of.pop(room.owner, None)

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

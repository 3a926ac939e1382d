"""The HTTP/2 connections to one target, and the requests that wait for a stream of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from albkit.errors import Failure
from albkit.model.message import ClientAddress
from albkit.model.target_group import TargetGroup
from albkit.proxy.downstream import Waiting
from albkit.proxy.target.http2_connection import STREAMS_BEFORE_SETTINGS, Http2TargetConnection
from albkit.proxy.target.http2_exchange import Http2TargetExchange
from albkit.proxy.target.pooled_connection import PooledConnection
from albkit.proxy.transports import peer_has_left
from albkit.state.target import TargetState

__all__ = ("SharedConnections", "SharingPool")

Connect = Callable[["SharedConnections", TargetGroup], Coroutine[Any, Any, Http2TargetConnection]]


class SharingPool(Protocol):
    """What this class needs of the pool."""

    def keep_shared(self, connection: Http2TargetConnection) -> None:
        """Keep a connection without streams, or close it."""

    def use_shared(self, connection: Http2TargetConnection) -> None:
        """A connection that was kept gets a stream."""

    def remove(self, connection: PooledConnection) -> None:
        """Forget a connection that was lost."""

    def drop_room(self, room: SharedConnections) -> None:
        """Forget this object: it has neither connections nor requests."""


class SharedConnections:
    """Lends streams of connections that many requests share.

    Requests that come while a connection is being opened wait for it. Every connection that opens serves at least one of those that wait,
    or fails some of them, so none waits for ever.

    Args:
        pool: Keeps the connections.
        loop: The event loop.
        member: The target.
        owner: The client that the connections are opened for, if the group uses the PROXY protocol; else `None`.
        connect: Opens one connection, adds it to the pool, and returns it when the target's settings have come.
    """

    __slots__ = (
        "_connect",
        "_connecting",
        "_free",
        "_group",
        "_loop",
        "_per_connection",
        "_pool",
        "_served",
        "_waiting",
        "connections",
        "is_outdated",
        "member",
        "owner",
    )

    def __init__(
        self, pool: SharingPool, loop: asyncio.AbstractEventLoop, member: TargetState, owner: ClientAddress | None, connect: Connect
    ) -> None:
        self.member = member
        self.owner = owner
        self.connections: set[Http2TargetConnection] = set()
        self.is_outdated = False
        """Whether the connections must serve nobody but the requests that wait already."""
        self._pool = pool
        self._loop = loop
        self._connect = connect
        self._group: TargetGroup | None = None
        self._free: dict[Http2TargetConnection, None] = {}
        """Connections with room for a stream. The last one is lent first, so that those that are not needed time out."""
        self._per_connection = STREAMS_BEFORE_SETTINGS
        """Streams that one more connection is expected to take: as many as the latest one."""
        self._waiting: dict[asyncio.Future[object], None] = {}
        """Requests that wait for a stream, the longest waiting one first."""
        self._served: dict[asyncio.Future[object], Http2TargetConnection] = {}
        """Requests that were promised a stream, and whose task has not run yet."""
        self._connecting: set[asyncio.Task[Http2TargetConnection]] = set()

    # Leases.

    def take(self, *, careful: bool) -> Http2TargetExchange | None:
        """Lend a stream of an open connection; `None` if none has room.

        Args:
            careful: Whether to ask the kernel if the target has closed the connection just now.
        """
        connection = self._find_room(careful=careful)
        if connection is None:
            return None
        self._promise(connection)
        return Http2TargetExchange(connection)

    async def lease(self, group: TargetGroup, client: Waiting) -> Http2TargetExchange:
        """Lend a stream. If no connection has room, open one, or wait for one that is being opened.

        Raises:
            Failure: the target refused, cannot be reached or took too long; or the client left.
        """
        exchange = self.take(careful=True)
        if exchange is not None:
            return exchange
        waiter = client.wait()
        if not waiter.done():
            self._group = group
            self._waiting[waiter] = None
            self._connect_as_needed()
        try:
            await waiter
        except BaseException:
            self._leave(waiter)
            raise
        connection = self._served.pop(waiter)
        if connection.is_going_away:
            connection.unpromise()
            raise connection.refusal()
        return Http2TargetExchange(connection)

    def _find_room(self, *, careful: bool) -> Http2TargetConnection | None:
        free = self._free
        while free:
            connection = next(reversed(free))
            transport = connection.transport
            if connection.has_room and transport is not None:
                if not careful or not peer_has_left(transport):
                    return connection
                connection.retire()
            free.pop(connection, None)
        return None

    def _promise(self, connection: Http2TargetConnection) -> None:
        if connection.is_unused:
            self._pool.use_shared(connection)
        connection.promise()
        if not connection.has_room:
            self._free.pop(connection, None)

    def _leave(self, waiter: asyncio.Future[object]) -> None:
        """A request does not wait any more: its client has left, or it failed."""
        connection = self._served.pop(waiter, None)
        if connection is not None:
            connection.unpromise()
        self._waiting.pop(waiter, None)
        if not self._waiting:
            for task in tuple(self._connecting):
                if task.cancel():
                    # At once, so that a request that comes now opens a connection of its own.
                    self._connecting.discard(task)
        self._end_if_unused()

    def _serve_waiting(self) -> None:
        """Give streams to those that wait, and open connections for those that remain."""
        while self._waiting:
            connection = self._find_room(careful=False)
            if connection is None:
                break
            waiter = next(iter(self._waiting))
            del self._waiting[waiter]
            # If it is done, its client has left, and its task has not run yet.
            if not waiter.done():
                self._promise(connection)
                self._served[waiter] = connection
                waiter.set_result(None)
        self._connect_as_needed()

    # Opening connections.

    def _connect_as_needed(self) -> None:
        while len(self._waiting) > self._per_connection * len(self._connecting) and self._group is not None:
            # A task of its own, because it serves many requests, each of which may leave.
            task = self._loop.create_task(self._connect(self, self._group))
            self._connecting.add(task)
            task.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[Http2TargetConnection]) -> None:
        """A connection was opened, or failed."""
        if task not in self._connecting:
            # Nobody waits for it: it was cancelled.
            if not task.cancelled():
                task.exception()
            return
        self._connecting.discard(task)
        if task.cancelled():
            self._fail_surplus(None)
            self._end_if_unused()
            return
        error = task.exception()
        if error is not None:
            self._fail_surplus(error)
            self._end_if_unused()
            return
        connection = task.result()
        if connection.has_room:
            self.connections.add(connection)
            self._per_connection = min(STREAMS_BEFORE_SETTINGS, connection.max_streams)
            self._free[connection] = None
            self._serve_waiting()
            if self.is_outdated:
                connection.retire()
            elif connection.is_unused:
                connection.is_active = True
                self._pool.keep_shared(connection)
            return
        # Without a failure, one connection after the other would be opened, to no avail.
        self._fail_surplus(connection.refusal())
        connection.retire()
        self._end_if_unused()

    def _fail_surplus(self, error: BaseException | None) -> None:
        """Fail the requests for which no connection is being opened any more. `None` means that the task was cancelled."""
        while len(self._waiting) > self._per_connection * len(self._connecting):
            waiter = next(iter(self._waiting))
            del self._waiting[waiter]
            if waiter.done():
                continue
            if error is None:
                waiter.cancel()
            else:
                # Each exchange gets an object of its own, and may change it.
                waiter.set_exception(Failure(error.kind, error.detail) if isinstance(error, Failure) else error)

    # What the connections report.

    def stream_ended(self, connection: Http2TargetConnection) -> None:
        if connection.is_unused:
            connection.is_active = True
            if connection.is_last:
                connection.close_soon()
            else:
                self._pool.keep_shared(connection)
        if connection not in self._free and connection.has_room and connection in self.connections:
            self._free[connection] = None
            if self._waiting:
                self._serve_waiting()

    def settings_changed(self, connection: Http2TargetConnection) -> None:
        if connection not in self.connections:
            return
        if not connection.has_room:
            self._free.pop(connection, None)
        elif connection not in self._free:
            self._free[connection] = None
            self._serve_waiting()

    def remove(self, connection: Http2TargetConnection) -> None:
        self._free.pop(connection, None)
        self.connections.discard(connection)
        self._pool.remove(connection)
        self._end_if_unused()

    # The end.

    def retire(self) -> None:
        """Let no further request use these connections. Those that are in progress continue."""
        self.is_outdated = True
        for connection in tuple(self.connections):
            connection.retire()

    def _end_if_unused(self) -> None:
        if not (self.connections or self._waiting or self._connecting or self._served):
            self._pool.drop_room(self)

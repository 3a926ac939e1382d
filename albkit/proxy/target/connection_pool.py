"""Open and idle connections to targets."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from albkit.errors import Failure, FailureKind
from albkit.model.health import TargetHealthState
from albkit.model.limits import Limits
from albkit.model.message import ClientAddress
from albkit.model.target import Target
from albkit.model.target_group import TargetGroup
from albkit.proxy.sweep import Sweep
from albkit.proxy.target.http1_connection import Http1TargetConnection
from albkit.proxy.target.small_reads import SMALL_READ
from albkit.proxy.tls.contexts import in_words
from albkit.proxy.tls.targets import TargetContexts
from albkit.proxy.tls.transport import TlsTransport
from albkit.proxy.transports import peer_has_left
from albkit.state.counters import Counters
from albkit.state.target import TargetState
from albkit.wire.proxy_protocol.writer import write_v1, write_v2

if TYPE_CHECKING:
    from albkit.proxy.downstream import DownstreamExchange, Waiting

__all__ = ("OUT_OF_SOCKETS", "ConnectionPool", "server_name")

OUT_OF_SOCKETS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))

_LEAST_KEPT = 1024
"""Idle connections that are kept per target without a question, unless `Limits.idle_target_connections` says another number."""
_MINUTE = 60.0
_AT_ONCE = 64
"""So many are closed in one round, so that a crowd that has gone costs no turn of the loop much."""


_LEAST_SHED = 16
"""So many are closed at a time where descriptors run short, so that not every client that comes costs a look at all targets."""


def _nothing(_: int) -> None:
    """There is room."""


class _Pool:
    """The connections to one target. What is kept of it goes with the last of them."""

    __slots__ = ("_most", "_most_before", "idle", "open")

    def __init__(self) -> None:
        self.open: set[Http1TargetConnection] = set()
        self.idle: dict[Http1TargetConnection, None] = {}
        """The one that was used last is the last one; so a target that has less to do leaves the first ones alone, until they time out."""
        self._most = self._most_before = 0
        """How many were in use at a time, since the last minute began and in the one before; counted where that matters."""

    def is_full(self, most: int | None) -> bool:
        """Whether one that is in use now is one too many to be kept: so many, or as many as were in use in the last minute."""
        if most is not None:
            return len(self.idle) >= most
        self._most = max(self._most, len(self.open) - len(self.idle))
        return len(self.idle) >= self._worth_keeping

    @property
    def _worth_keeping(self) -> int:
        return max(_LEAST_KEPT, self._most, self._most_before)

    def turn_minute(self) -> None:
        """A minute is over."""
        self._most, self._most_before = len(self.open) - len(self.idle), self._most

    def surplus(self) -> list[Http1TargetConnection]:
        """Some of those that are too many by now, the ones first that were not used for longest."""
        return list(islice(self.idle, min(_AT_ONCE, max(0, len(self.idle) - self._worth_keeping))))


class ConnectionPool:
    """Connects to targets, and keeps connections that can serve another request."""

    def __init__(self, loop: asyncio.AbstractEventLoop, counters: Counters, sweep: Sweep, limits: Limits) -> None:
        self._loop = loop
        self.soon = loop.call_soon
        """For a connection that goes on in the next turn of the loop."""
        self._counters = counters
        self._sweep = sweep
        self._limits = limits
        self.small_read_buffer = memoryview(bytearray(SMALL_READ))
        """What slow clients' responses are read through, one read at a time."""
        self._pools: dict[TargetState, _Pool] = {}
        """Of every target that there is a connection to."""
        self._owned: dict[ClientAddress, dict[TargetState, dict[Http1TargetConnection, None]]] = {}
        """The idle ones by client and target, where the target was told of the client."""
        self._open: set[Http1TargetConnection] = set()
        self._closed: asyncio.Event | None = None
        self.contexts = TargetContexts()
        """How TLS is spoken with targets."""
        self.make_room: Callable[[int], None] = _nothing
        """Called before so many descriptors are taken, so that idle connections can give way."""
        self._most_idle = limits.idle_target_connections
        self._minute_ends = 0.0
        sweep.add(self)

    @property
    def count(self) -> int:
        """Open connections, idle ones among them."""
        return len(self._open)

    def idle(self, member: TargetState) -> int:
        """Idle connections to one target."""
        pool = self._pools.get(member)
        return len(pool.idle) if pool is not None else 0

    def take(self, member: TargetState, owner: ClientAddress | None, *, careful: bool) -> Http1TargetConnection | None:
        """The idle connection used last, `None` where there is none to be trusted.

        Args:
            member: The target.
            owner: Whose connections alone will do, where the target was told of an address; else `None`.
            careful: Whether to make sure that the target has not closed it just now: for a request that may not be sent twice.
        """
        pool = self._pools.get(member)
        if pool is None:
            return None
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

    def keep(self, connection: Http1TargetConnection, timeout: float | None) -> None:
        """Keep a connection for later.

        Args:
            connection: With nothing going on.
            timeout: Seconds that the target keeps it, where it has told; half a second less is trusted.
        """
        member = connection.member
        if self._closed is not None or (member.state is TargetHealthState.DRAINING and not member.keeps_sessions):
            connection.abort()
            return
        longest = self._limits.target_keep_alive
        connection.idle_limit = longest if timeout is None else min(longest, max(0.0, timeout - 0.5))
        pool = self._pools[member]
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
            self._unfile(connection)
            connection.abort()

    def outdate(self, member: TargetState) -> None:
        """A target is connected to in another way from now on: what is open to it serves no further request."""
        self.drop_idle(member)
        pool = self._pools.get(member)
        for connection in pool.open if pool is not None else ():
            connection.is_last = True

    def drop_owned(self, owner: ClientAddress) -> None:
        """Close the idle connections whose targets were told of a client that has left."""
        for member, idle in self._owned.pop(owner, {}).items():
            for connection in idle:
                del self._pools[member].idle[connection]
                connection.abort()

    def bound_to(self, member: TargetState) -> list[DownstreamExchange]:
        """The clients whose exchanges are with this target now."""
        pool = self._pools.get(member)
        return [connection.client for connection in pool.open if connection.client is not None] if pool is not None else []

    def sweep(self, now: float) -> None:
        """Close what is more than the last minute has needed."""
        turns = now >= self._minute_ends
        if turns:
            self._minute_ends = now + _MINUTE
        if self._most_idle is not None:
            return
        for pool in self._pools.values():
            for connection in pool.surplus():
                self._counters.idle_connection_closed()
                self._unfile(connection)
                connection.abort()
            if turns:
                pool.turn_minute()

    def shed(self, count: int) -> None:
        """Close so many idle connections or some more, where there are as many: those that were not used for longest, of whom has most."""
        left = max(count, _LEAST_SHED)
        for pool in sorted(self._pools.values(), key=lambda pool: len(pool.idle), reverse=True):
            for connection in tuple(islice(pool.idle, left)):
                self._counters.idle_connection_closed()
                self._unfile(connection)
                connection.abort()
                left -= 1
            if left <= 0:
                break

    def _unfile(self, connection: Http1TargetConnection) -> None:
        """It is not to be taken any more, if it was."""
        pool = self._pools[connection.member]
        if connection not in pool.idle:
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

    def forget(self, connection: Http1TargetConnection) -> None:
        """A connection has ended or belongs to a tunnel now."""
        if connection not in self._open:
            return
        self._unfile(connection)
        pool = self._pools[connection.member]
        pool.open.discard(connection)
        if not pool.open:
            del self._pools[connection.member]
        self._open.discard(connection)
        self._sweep.discard(connection)
        self._counters.connection_closed()
        if self._closed is not None and not self._open:
            self._closed.set()

    async def connect(
        self, member: TargetState, group: TargetGroup, client: Waiting, kind: type[Http1TargetConnection] = Http1TargetConnection
    ) -> Http1TargetConnection:
        """A new connection, unless the client's failure comes first.

        Args:
            member: The target.
            group: Says what is spoken with it.
            client: Whom it is for, and for whom alone where the target is told of its address.
            kind: What is made of it.

        Raises:
            Failure: the target refused, cannot be reached or took too long; or the client left.
        """
        self.make_room(1)
        waiter = client.wait()
        task = self._loop.create_task(self._connect(member, group, client, kind))
        task.add_done_callback(lambda done: _hand_over(done, waiter))
        try:
            await waiter
        except BaseException:
            if not task.cancel() and not task.cancelled() and task.exception() is None:
                task.result().abort()
            raise
        connection = task.result()
        if connection.transport is None:
            # It ended before this task was woken, and will not say so again.
            raise Failure(FailureKind.TARGET_UNREACHABLE, "closed as soon as it was connected")
        self.enter(connection)
        return connection

    def enter(self, connection: Http1TargetConnection) -> None:
        """One more connection is open."""
        self._open.add(connection)
        pool = self._pools.get(connection.member)
        if pool is None:
            pool = self._pools[connection.member] = _Pool()
        pool.open.add(connection)
        self._sweep.add(connection)
        self._counters.connection_opened()

    async def _connect(
        self, member: TargetState, group: TargetGroup, client: Waiting, kind: type[Http1TargetConnection]
    ) -> Http1TargetConnection:
        target = member.target

        def make() -> Http1TargetConnection:
            return kind(member, self, self._counters, self._limits)

        try:
            async with asyncio.timeout(self._limits.connect_timeout):
                if target.port is None:
                    transport, connection = await self._loop.create_unix_connection(make, target.path)
                else:
                    transport, connection = await self._loop.create_connection(make, target.host, target.port)
        except OSError as error:
            raise _connect_failure(error, target, self._limits.connect_timeout) from None
        if group.proxy_protocol is not None:
            address = connection.owner = client.locate()
            transport.write(proxy_header(group.proxy_protocol, address))
        if group.is_secure(target):
            await self._secure(connection, transport, group)
        return connection

    async def _secure(self, connection: Http1TargetConnection, transport: asyncio.Transport, group: TargetGroup) -> None:
        target = connection.member.target
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        shaken: asyncio.Future[Exception | None] = self._loop.create_future()

        def over(error: Exception | None) -> None:
            if error is None:
                secured.begin(connection)
            if not shaken.done():
                shaken.set_result(error)

        try:
            session = self.contexts.of(group).wrap_bio(incoming, outgoing, server_hostname=server_name(target))
            secured = TlsTransport(transport, session, incoming, outgoing, self._loop, over)
            secured.begin_handshake()
            connection.hand_over_to(secured)
            if transport.is_closing():
                secured.connection_lost(None)
            async with asyncio.timeout(self._limits.target_handshake_timeout):
                error = await shaken
        except TimeoutError:
            transport.abort()
            raise Failure(FailureKind.TARGET_TLS_TIMEOUT, f"{target}: {self._limits.target_handshake_timeout:g} s") from None
        except BaseException:
            transport.abort()
            raise
        if error is not None:
            transport.abort()
            raise Failure(FailureKind.TARGET_TLS_FAILED, f"{target}: {in_words(error)}")

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


def server_name(target: Target) -> str:
    """Whose certificate a target is to show."""
    return target.server_name or (target.host if target.path is None else "localhost")


def proxy_header(version: str, client: ClientAddress) -> bytes:
    """What a target is told of a client before anything else."""
    source = (client.host, client.port)
    return write_v1(source, client.local) if version == "v1" else write_v2(source, client.local, client.tls)


def _hand_over(task: asyncio.Task[Http1TargetConnection], waiter: asyncio.Future[object]) -> None:
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

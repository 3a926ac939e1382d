"""Open and idle connections to targets."""

from __future__ import annotations

import asyncio
import errno
import ssl
from typing import TYPE_CHECKING

from albkit.errors import Failure, FailureKind
from albkit.model.health import TargetHealthState
from albkit.model.limits import Limits
from albkit.model.message import ClientAddress
from albkit.model.target import Target
from albkit.model.target_group import TargetGroup
from albkit.proxy.sips import SIP
from albkit.proxy.sweep import Sweep
from albkit.proxy.target_connection import TargetConnection
from albkit.proxy.tls.contexts import in_words
from albkit.proxy.tls.targets import TargetContexts
from albkit.proxy.tls.transport import TlsTransport
from albkit.proxy.transports import peer_has_left
from albkit.state.counters import Counters
from albkit.state.target import TargetState
from albkit.wire.proxy_header_out import write_v1, write_v2

if TYPE_CHECKING:
    from albkit.proxy.client import Client, Waiting

__all__ = ("OUT_OF_SOCKETS", "Connections", "server_name")

OUT_OF_SOCKETS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))


class Connections:
    """Connects to targets, and keeps connections that can serve another request."""

    def __init__(self, loop: asyncio.AbstractEventLoop, counters: Counters, sweep: Sweep, limits: Limits) -> None:
        self._loop = loop
        self.soon = loop.call_soon
        """For a connection that goes on in the next turn of the loop."""
        self._counters = counters
        self._sweep = sweep
        self._limits = limits
        self.sip = memoryview(bytearray(SIP))
        """What slow clients' responses are read through, one read at a time."""
        self._idle: dict[TargetState | ClientAddress, list[TargetConnection]] = {}
        """By target; where the target was told of the client, by the client."""
        self._open: set[TargetConnection] = set()
        self._closed: asyncio.Event | None = None
        self.contexts = TargetContexts()
        """How TLS is spoken with targets."""

    @property
    def count(self) -> int:
        """Open connections, idle ones among them."""
        return len(self._open)

    def idle(self, member: TargetState) -> int:
        """Idle connections to one target."""
        return len(self._idle.get(member, ()))

    def take(self, member: TargetState, owner: ClientAddress | None, *, careful: bool) -> TargetConnection | None:
        """The idle connection used last, `None` where there is none to be trusted.

        Args:
            member: The target.
            owner: Whose connections alone will do, where the target was told of an address; else `None`.
            careful: Whether to make sure that the target has not closed it just now: for a request that may not be sent twice.
        """
        idle = self._idle.get(owner or member)
        while idle:
            connection = idle.pop() if owner is None else _pop_one_to(member, idle)
            if connection is None:
                return None
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
        key = connection.owner or connection.member
        idle = self._idle.get(key)
        if idle is None:
            idle = self._idle[key] = []
        most = self._limits.target_keep_alive
        connection.idle_limit = most if timeout is None else min(most, max(0.0, timeout - 0.5))
        if len(idle) >= self._limits.idle_target_connections or connection.idle_limit == 0:
            self._counters.idle_connections_closed += 1
            connection.abort()
        else:
            idle.append(connection)

    def drop_idle(self, member: TargetState) -> None:
        """Close the idle connections to a target that gets no more requests."""
        dropped = list(self._idle.pop(member, ()))
        dropped += [connection for idle in self._idle.values() for connection in idle if connection.member is member]
        for connection in dropped:
            connection.abort()

    def outdate(self, member: TargetState) -> None:
        """A target is connected to in another way from now on: what is open to it serves no further request."""
        self.drop_idle(member)
        for connection in self._open:
            if connection.member is member:
                connection.is_last = True

    def drop_owned(self, owner: ClientAddress) -> None:
        """Close the idle connections whose targets were told of a client that has left."""
        for connection in tuple(self._idle.pop(owner, ())):
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
        idle = self._idle.get(connection.owner or connection.member)
        if idle and connection in idle:
            idle.remove(connection)
        if self._closed is not None and not self._open:
            self._closed.set()

    async def connect(
        self, member: TargetState, group: TargetGroup, client: Waiting, kind: type[TargetConnection] = TargetConnection
    ) -> TargetConnection:
        """A new connection, unless the client's failure comes first.

        Args:
            member: The target.
            group: Says what is spoken with it.
            client: Whom it is for, and for whom alone where the target is told of its address.
            kind: What is made of it.

        Raises:
            Failure: the target refused, cannot be reached or took too long; or the client left.
        """
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
        self._open.add(connection)
        self._sweep.add(connection)
        self._counters.active_connections += 1
        self._counters.new_connections += 1
        return connection

    async def _connect(self, member: TargetState, group: TargetGroup, client: Waiting, kind: type[TargetConnection]) -> TargetConnection:
        target = member.target

        def make() -> TargetConnection:
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

    async def _secure(self, connection: TargetConnection, transport: asyncio.Transport, group: TargetGroup) -> None:
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


def _pop_one_to(member: TargetState, idle: list[TargetConnection]) -> TargetConnection | None:
    for place in range(len(idle) - 1, -1, -1):
        if idle[place].member is member:
            return idle.pop(place)
    return None


def server_name(target: Target) -> str:
    """Whose certificate a target is to show."""
    return target.server_name or (target.host if target.path is None else "localhost")


def proxy_header(version: str, client: ClientAddress) -> bytes:
    """What a target is told of a client before anything else."""
    source = (client.host, client.port)
    return write_v1(source, client.local) if version == "v1" else write_v2(source, client.local, client.tls)


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

"""Requests that share HTTP/2 connections: what real connections show only by chance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from albkit.errors import Failure, FailureKind
from albkit.proxy.target.http2_exchange import Http2TargetExchange
from albkit.proxy.target.shared_connections import SharedConnections


class Connection:
    """Has room for so many streams."""

    def __init__(self, room: SharedConnections, most: int) -> None:
        self.room = room
        self.member = room.member
        self.max_streams = most
        self.used = 0
        self.is_last = False
        self.is_active = False
        self.is_going_away = False
        self.exchanges: set[object] = set()
        self.transport = object()
        self.closed = False

    @property
    def has_room(self) -> bool:
        return self.used < self.max_streams and not self.is_last and not self.is_going_away

    @property
    def is_unused(self) -> bool:
        return not self.used

    def promise(self) -> None:
        self.used += 1

    def unpromise(self) -> None:
        self.used -= 1
        self.room.stream_ended(self)  # type: ignore[arg-type]

    def retire(self) -> None:
        self.is_last = True
        self.room.settings_changed(self)  # type: ignore[arg-type]

    def close_soon(self) -> None:
        self.closed = True

    def refusal(self) -> Failure:
        return Failure(FailureKind.TARGET_REFUSED_STREAM)


class Client:
    """Waits for one thing. `woken` is called before its task runs again."""

    def __init__(self, woken: Callable[[], object] = lambda: None) -> None:
        self.woken = woken

    def wait(self) -> asyncio.Future[object]:
        waiter: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        waiter.add_done_callback(lambda _: self.woken())
        return waiter


class Room:
    """`SharedConnections` whose connects end when the test says so."""

    def __init__(self) -> None:
        self.connects: list[asyncio.Future[Any]] = []
        self.idle: set[Any] = set()
        self.is_dropped = False
        member: Any = object()
        self.shared = SharedConnections(self, asyncio.get_running_loop(), member, None, self._connect)  # type: ignore[arg-type]

    async def _connect(self, _: SharedConnections, __: Any) -> Any:
        ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.connects.append(ended)
        return await ended

    def keep_shared(self, connection: Any) -> None:
        self.idle.add(connection)

    def use_shared(self, connection: Any) -> None:
        self.idle.discard(connection)

    def drop_room(self, _: SharedConnections) -> None:
        self.is_dropped = True

    def remove(self, _: Any) -> None:
        raise AssertionError("no connection is lost here")

    def lease(self, client: Client | None = None) -> asyncio.Task[Http2TargetExchange]:
        group: Any = object()
        lent: Any = self.shared.lease(group, client or Client())  # type: ignore[arg-type]
        return asyncio.get_running_loop().create_task(lent)

    def connected(self, place: int = 0, most: int = 100) -> Connection:
        """End a connect with a connection for so many streams."""
        connection = Connection(self.shared, most)
        self.connects[place].set_result(connection)
        return connection


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_requests_that_wait_share_a_connect() -> None:
    """One for a hundred of them."""
    room = Room()
    leases = [room.lease() for _ in range(250)]
    await turns()
    assert len(room.connects) == 3
    connections = [room.connected(place) for place in range(3)]
    lent = await asyncio.gather(*leases)
    assert [connection.used for connection in connections] == [100, 100, 50]
    assert {exchange.connection for exchange in lent} == set(connections)
    assert len(room.connects) == 3
    assert not room.idle


async def test_connection_with_less_room_leads_to_further_connects() -> None:
    """As many as those that remain need with that room."""
    room = Room()
    leases = [room.lease() for _ in range(10)]
    await turns()
    room.connected(0, 3)
    await turns()
    assert len(room.connects) == 4
    for place in range(1, 4):
        room.connected(place, 3)
    await asyncio.gather(*leases)
    assert len(room.connects) == 4


async def test_stream_that_ends_serves_those_that_wait() -> None:
    """In their order."""
    room = Room()
    first = [room.lease() for _ in range(2)]
    await turns()
    connection = room.connected(0, 2)
    await asyncio.gather(*first)
    later = [room.lease() for _ in range(2)]
    await turns()
    connection.unpromise()
    await turns()
    assert [lease.done() for lease in later] == [True, False]
    later[1].cancel()
    await turns()


async def test_failed_connect_fails_those_for_which_none_is_left() -> None:
    """Each with a failure of its own."""
    room = Room()
    leases = [room.lease() for _ in range(150)]
    await turns()
    room.connects[0].set_exception(Failure(FailureKind.TARGET_CONNECTION_REFUSED, "here"))
    await turns()
    failed = [lease.exception() for lease in leases if lease.done()]
    assert len(failed) == 50
    assert len({id(error) for error in failed}) == 50
    room.connects[1].set_exception(Failure(FailureKind.TARGET_CONNECTION_REFUSED, "here"))
    await turns()
    assert all(lease.done() and isinstance(lease.exception(), Failure) for lease in leases)
    assert room.is_dropped


@pytest.mark.parametrize("flaw", ["no streams", "going away"])
async def test_connection_without_any_room_fails_those_that_wait(flaw: str) -> None:
    """Or else one connection after the other would be opened."""
    room = Room()
    lease = room.lease()
    await turns()
    connection = Connection(room.shared, 0 if flaw == "no streams" else 100)
    connection.is_going_away = flaw == "going away"
    room.connects[0].set_result(connection)
    with pytest.raises(Failure) as raised:
        await lease
    assert raised.value.kind is FailureKind.TARGET_REFUSED_STREAM
    assert connection.is_last
    assert len(room.connects) == 1


async def test_last_request_that_leaves_cancels_the_connect() -> None:
    """One that comes in the same turn gets a connect of its own."""
    room = Room()
    leases = [room.lease() for _ in range(2)]
    await turns()
    leases[0].cancel()
    await turns()
    assert not room.connects[0].done()
    leases[1].cancel()
    later = room.lease()
    await turns()
    assert room.connects[0].cancelled()
    room.connected(1)
    assert (await later).connection.max_streams == 100


async def test_request_that_leaves_as_it_is_served_gives_its_stream_back() -> None:
    """The next one that waits gets it."""
    room = Room()

    def leave() -> None:
        leases[0].cancel()

    leases = [room.lease(Client(leave)), room.lease()]
    await turns()
    connection = room.connected(0, 1)
    await turns()
    assert leases[0].cancelled()
    assert (await leases[1]).connection is connection
    assert connection.used == 1


async def test_connection_that_goes_away_before_its_request_runs_refuses_it() -> None:
    """GOAWAY may come between the promise and the request."""
    room = Room()
    lease = room.lease(Client(lambda: setattr(connection, "is_going_away", True)))
    await turns()
    connection = room.connected()
    with pytest.raises(Failure) as raised:
        await lease
    assert raised.value.kind is FailureKind.TARGET_REFUSED_STREAM
    assert not connection.used


async def test_outdated_connections_serve_only_those_that_wait_already() -> None:
    """They are closed after their streams."""
    room = Room()
    lease = room.lease()
    await turns()
    room.shared.retire()
    connection = room.connected()
    exchange = await lease
    assert connection.is_last
    assert room.shared.take(careful=False) is None
    exchange.abort()
    assert connection.closed
    assert not room.idle

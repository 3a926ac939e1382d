"""Accepting on asyncio's own loops: a few in each turn, nothing without room, one attempt a second without a descriptor."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import logging
import socket
from collections.abc import AsyncIterator

import pytest

from albkit.proxy.accept import acceptor
from albkit.proxy.accept.acceptor import Acceptor
from tests.support.peers import RawClient

pytestmark = pytest.mark.only_asyncio
"""uvloop accepts by itself."""


class Door:
    """Lets so many in, and keeps the books."""

    def __init__(self, room: int = 10**6) -> None:
        self.room = room
        self.expected: set[int] = set()
        self.asked = 0
        self.inside: list[Guest] = []

    def reserve_slot(self, descriptor: int, peer: object) -> bool:
        assert peer
        self.asked += 1
        if len(self.inside) + len(self.expected) >= self.room:
            return False
        self.expected.add(descriptor)
        return True

    def release_slot(self, descriptor: int) -> None:
        self.expected.discard(descriptor)


class Guest(asyncio.Protocol):
    def __init__(self, door: Door) -> None:
        self.door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.door.expected.discard(transport.get_extra_info("socket").fileno())
        self.door.inside.append(self)


@pytest.fixture
async def listening() -> AsyncIterator[socket.socket]:
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        yield sock


@contextlib.asynccontextmanager
async def accepting(sock: socket.socket, door: Door, make: object = None) -> object:  # type: ignore[misc]
    loop = asyncio.get_running_loop()
    server = Acceptor(sock, loop, make or (lambda: Guest(door)), door, 512)  # type: ignore[arg-type]
    await server.start_serving()
    try:
        yield server
    finally:
        server.close()
        server.close()
        for guest in door.inside:
            guest.transport.abort()
        await asyncio.sleep(0)


async def until(holds: object) -> None:
    async with asyncio.timeout(5):
        while not holds():  # type: ignore[operator]
            await asyncio.sleep(0)


async def test_many_that_wait_come_in_over_several_turns(listening: socket.socket) -> None:
    """No turn is spent on all of them."""
    door = Door()
    async with accepting(listening, door):
        clients = [socket.create_connection(listening.getsockname()) for _ in range(100)]
        seen = [0]
        while len(door.inside) < 100:
            await asyncio.sleep(0)
            seen.append(door.asked)
        assert max(later - before for before, later in itertools.pairwise(seen)) <= acceptor._AT_ONCE
        assert not door.expected
        for client in clients:
            client.close()


async def test_whoever_is_too_many_is_closed_before_a_turn_is_over(listening: socket.socket) -> None:
    """Those that were accepted and are not in yet count."""
    door = Door(room=3)
    async with accepting(listening, door):
        port = listening.getsockname()[1]
        clients = [await RawClient.connect(port) for _ in range(20)]
        await until(lambda: door.asked == 20)
        await until(lambda: len(door.inside) == 3)
        closed = [await client.is_closed(within=0.2) for client in clients[3:]]
        assert all(closed)
        for client in clients:
            await client.close()


async def test_want_of_descriptors_is_told_once_and_tried_again_later(
    listening: socket.socket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits comes in then."""
    monkeypatch.setattr(acceptor, "_PAUSE", 0.05)
    tries = 0

    class Poor(socket.socket):
        def accept(self) -> tuple[socket.socket, object]:
            nonlocal tries
            tries += 1
            if tries <= 3:
                raise OSError(errno.EMFILE, "Too many open files")
            if tries <= 6:
                raise OSError(errno.EPROTO, "Protocol error")
            return super().accept()

    door = Door()
    poor = Poor(fileno=listening.detach())
    poor.setblocking(False)
    with caplog.at_level(logging.WARNING, "albkit"):
        async with accepting(poor, door):
            client = await RawClient.connect(poor.getsockname()[1])
            await until(lambda: door.inside)
            assert tries in (7, 8)
            await client.close()
    assert [record.getMessage() for record in caplog.records] == [
        "out of file descriptors: no connection can be accepted for a second: Too many open files"
    ]


async def test_close_while_it_waits_for_descriptors_ends_the_waiting(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is accepted behind it."""
    monkeypatch.setattr(acceptor, "_PAUSE", 0.01)

    class Poor(socket.socket):
        def accept(self) -> tuple[socket.socket, object]:
            raise OSError(errno.ENFILE, "Too many open files in system")

    door = Door()
    poor = Poor(fileno=listening.detach())
    poor.setblocking(False)
    async with accepting(poor, door) as server:
        client = await RawClient.connect(poor.getsockname()[1])
        await until(lambda: server._pause is not None)  # type: ignore[attr-defined]
        server.close()  # type: ignore[attr-defined]
        await asyncio.sleep(0.03)
        assert poor.fileno() == -1
        await client.close()


async def test_connection_that_cannot_be_made_a_protocol_counts_no_more(listening: socket.socket) -> None:
    """And its socket is closed."""
    door = Door()

    def fail() -> asyncio.Protocol:
        raise MemoryError

    loop = asyncio.get_running_loop()
    told: list[object] = []
    loop.set_exception_handler(lambda _, context: told.append(context))
    async with accepting(listening, door, fail):
        client = await RawClient.connect(listening.getsockname()[1])
        assert await client.is_closed()
        assert not door.expected
        await client.close()

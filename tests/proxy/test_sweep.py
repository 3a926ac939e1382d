"""The one timer: when it looks, and when it lets a round pass."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import cast

import pytest

from albkit.proxy.sweep import Sweep, interval_for
from tests.support.clock import FakeClock


class Timer:
    def cancel(self) -> None:
        pass


class Loop:
    """As much of a loop as the sweep needs."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.soon: list[Callable[[], None]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        self.due.append((self.now + seconds, call))
        return Timer()

    def call_soon(self, call: Callable[..., None], *arguments: object) -> None:
        self.soon.append(lambda: call(*arguments))

    def turn(self) -> None:
        """What was to be called soon is."""
        soon, self.soon = self.soon, []
        for call in soon:
            call()

    def run_after(self, late: float) -> None:
        """The next timer, so much after its time."""
        ((at, call),) = self.due
        self.due.clear()
        self.now = at + late
        call()
        while self.soon:
            self.turn()


class Looked:
    """Counts the looks at it."""

    def __init__(self) -> None:
        self.times = 0

    def sweep(self, now: float) -> None:
        assert now
        self.times += 1


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def looked(loop: Loop) -> Looked:
    sweep = Sweep(cast("asyncio.AbstractEventLoop", loop), FakeClock(), 0.5)
    looked = Looked()
    sweep.add(looked)
    sweep.start()
    return looked


def test_each_round_looks(loop: Loop, looked: Looked) -> None:
    """A little late is not late."""
    for _ in range(5):
        loop.run_after(0.4)
    assert looked.times == 5


def test_round_behind_a_loop_that_stood_still_is_put_off_once(loop: Loop, looked: Looked) -> None:
    """What has come meanwhile is to be read first: nobody is silent just because nobody has listened."""
    loop.run_after(0)
    loop.run_after(30)
    assert looked.times == 1
    loop.run_after(0)
    assert looked.times == 2


def test_loop_that_is_always_late_still_looks(loop: Loop, looked: Looked) -> None:
    """Every other round: deadlines must hold under load as well."""
    for _ in range(10):
        loop.run_after(3)
    assert looked.times == 5


def test_sweep_that_was_stopped_looks_no_more(loop: Loop) -> None:
    """Also where a round had begun."""
    sweep = Sweep(cast("asyncio.AbstractEventLoop", loop), FakeClock(), 0.5)
    looked = Looked()
    sweep.add(looked)
    sweep.start()
    ((_, call),) = loop.due
    loop.due.clear()
    call()
    loop.turn()
    sweep.stop()
    while loop.soon:
        loop.turn()
    assert looked.times == 0


class Listening(asyncio.Protocol):
    """Notes what comes, and lets whoever waits for it know."""

    def __init__(self) -> None:
        self.heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.heard.set_result(data)


async def test_what_had_come_is_read_before_the_look() -> None:
    """By the loop, whose timers may go before its sockets, and by whoever waited for it."""
    loop = asyncio.get_running_loop()
    order: list[str] = []

    class Watching:
        def sweep(self, now: float) -> None:
            assert now
            order.append("looked")
            sweep.stop()

    async def hear() -> None:
        await protocol.heard
        order.append("heard")

    peer, ours = socket.socketpair()
    with peer:
        transport, protocol = await loop.create_unix_connection(Listening, sock=ours)
        task = asyncio.ensure_future(hear())
        await asyncio.sleep(0)
        sweep = Sweep(loop, FakeClock(), 0.01)
        sweep.add(Watching())
        sweep.start()
        peer.send(b"in the kernel")
        time.sleep(0.015)  # The loop stands still, for less than would put the round off.
        while "looked" not in order:
            await asyncio.sleep(0)
        await task
        transport.close()
    assert order == ["heard", "looked"]


@pytest.mark.parametrize(("shortest", "interval"), [(60, 1.0), (4, 1.0), (2, 0.51), (0.1, 0.0255), (0.001, 0.01)])
def test_interval_is_some_quarter_of_the_shortest_deadline_and_a_second_at_most(shortest: float, interval: float) -> None:
    """So that a deadline ends late by little; four rounds are never a hair less than the deadline."""
    assert interval_for(shortest) == pytest.approx(interval)

"""A side that has said Close or FIN is through: a RST behind that takes nothing back. One that has not has broken off."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

import albkit as alb
from albkit.proxy.transports import unacknowledged
from albkit.proxy.tunnel.leg import Leg
from tests.functional.test_tls_targets import secure
from tests.support.clock import FakeClock
from tests.support.frames import BINARY, closing, frame
from tests.support.gateway import Running, running
from tests.support.peers import Peer, request, target
from tests.support.secure import secured
from tests.support.tunnels import RAW_SWITCHED, SWITCHED, UPGRADE, gone, holding, switching

ROOMY = alb.Limits(in_flight=64 * 1024 * 1024)
"""So much that the sender is still read when it is through."""
NARROW = alb.Limits(in_flight=1024)
"""So little that it is not."""


class Sides:
    """A tunnel between one that sends and one that takes nothing for now."""

    def __init__(self, it: Running, clock: FakeClock, sender: Peer, receiver: Peer, *, client_sends: bool) -> None:
        self.it = it
        self.clock = clock
        self.sender = sender
        self.receiver = receiver
        self.masks = client_sends
        (self.tunnel,) = it.load_balancer.tunnels
        legs: list[Leg] = [self.tunnel.client_leg, self.tunnel.target_leg]  # type: ignore[attr-defined]
        self.leg, self.other = legs if client_sends else legs[::-1]
        self.sent = bytearray()
        receiver.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def send(self, data: bytes) -> None:
        self.sent += data
        self.sender.send(data)

    async def fill(self) -> None:
        """Send until much waits for the receiver, or the sender is not read any more."""
        block = frame(BINARY, bytes(30_000), mask=self.masks)
        async with asyncio.timeout(10):
            while self.other.transport.get_write_buffer_size() < 60_000 and not self.leg.reading_paused:
                self.send(block)
                await self.sender.drain()
                await asyncio.sleep(0)

    async def arrived(self) -> None:
        """Wait until all that was sent has been read, or at least has come to the load balancer's kernel."""
        transport: Any = self.sender.writer.transport
        async with asyncio.timeout(10):
            while transport.get_write_buffer_size() or unacknowledged(transport):
                await asyncio.sleep(0.001)  # It is the kernel that is waited for.
            while self.leg.received_bytes < len(self.sent) and not self.leg.reading_paused:
                await asyncio.sleep(0)

    async def say_that_it_is_through(self, word: str) -> None:
        if word == "close":
            self.send(closing(1000, "bye", mask=self.masks))
            await self.arrived()
        else:
            await self.arrived()
            self.sender.send_fin()
            async with asyncio.timeout(10):
                while not (self.leg.received_fin or self.leg.reading_paused):
                    await asyncio.sleep(0)

    def look(self, seconds: float = 0.0) -> None:
        """Time passes, and deadlines are looked at."""
        self.clock.advance(seconds)
        self.it.runtime.sweep.look(self.clock.now)

    async def lasts(self) -> int:
        """Let time pass, second by second, until nothing is left; how many it took."""
        seconds = 0
        async with asyncio.timeout(10):
            while self.it.runtime.tunnels:
                self.look(1)
                seconds += 1
                for _ in range(5):
                    await asyncio.sleep(0)
        return seconds

    async def reset_is_noticed(self) -> None:
        """By the loop, or by the sweep where the loop does not look."""
        async with asyncio.timeout(10):
            while not self.leg.lost:
                self.look()
                await asyncio.sleep(0)

    async def receives_all_of_it(self) -> None:
        """To the last byte, and FIN behind it."""
        self.receiver.writer.transport.resume_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(10):
            assert await self.receiver.read_to_end() == self.sent
        if self.receiver.writer.can_write_eof():
            self.receiver.send_fin()
        else:
            self.receiver.writer.close()
        await gone(self.it)


@contextlib.asynccontextmanager
async def sides(
    answer: bytes, *, client_sends: bool, limits: alb.Limits = ROOMY, tls: bool = False, **settings: Any
) -> AsyncIterator[Sides]:
    clock = FakeClock()
    settings.setdefault("idle_timeout", 4000)
    door = secured if tls else running
    scheme = "https://" if tls else ""
    async with (
        (secure if tls else target)(switching(answer, then=holding)) as origin,
        door(scheme + origin.address, limits=limits, clock=clock, **settings) as it,
    ):
        client = await it.client(slow=not (client_sends or tls))
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 101
        conversation = await origin.arrived()
        client.received = conversation.received = b""
        pair = (client, conversation) if client_sends else (conversation, client)
        yield Sides(it, clock, *pair, client_sends=client_sends)


WORDS = pytest.mark.parametrize(
    ("answer", "word"),
    [
        pytest.param(SWITCHED, "close", id="websocket-close"),
        pytest.param(SWITCHED, "fin", id="websocket-fin"),
        pytest.param(RAW_SWITCHED, "fin", id="bytes-fin"),
    ],
)
WHO = pytest.mark.parametrize("client_sends", [True, False], ids=["client", "target"])


@WHO
@WORDS
@pytest.mark.parametrize("limits", [ROOMY, NARROW], ids=["read", "not-read"])
async def test_reset_behind_the_last_word_takes_nothing_back(answer: bytes, word: str, limits: alb.Limits, *, client_sends: bool) -> None:
    """The slow other side gets every byte and FIN; also where the word is still in the kernel, because the side was not read."""
    async with sides(answer, client_sends=client_sends, limits=limits) as it:
        await it.fill()
        await it.say_that_it_is_through(word)
        it.sender.reset()
        await it.reset_is_noticed()
        await it.receives_all_of_it()
        assert it.tunnel.end is (alb.TunnelEnd.CLIENT if client_sends else alb.TunnelEnd.TARGET)
        counters = it.it.counters
        assert not [name for name in counters if name.startswith("Failure")]
        assert counters[f"TunnelEnd_{'Client' if client_sends else 'Target'}"] == 1
        assert "ActiveTunnelCount" not in counters


@WHO
async def test_reset_that_is_met_by_a_write_takes_nothing_back(*, client_sends: bool) -> None:
    """Where it is not read, and what the other side says cannot be sent to it any more: the usual cause of such a RST."""
    async with sides(SWITCHED, client_sends=client_sends, limits=NARROW) as it:
        await it.fill()
        await it.say_that_it_is_through("close")
        it.sender.reset()
        async with asyncio.timeout(10):
            while not it.leg.lost:
                it.receiver.send(frame(BINARY, b"more", mask=not it.masks))
                await asyncio.sleep(0)
        await it.receives_all_of_it()
        assert not [name for name in it.it.counters if name.startswith("Failure")]


@pytest.mark.parametrize(("client_sends", "word"), [(True, "close"), (True, "fin"), (False, "close")])
@pytest.mark.parametrize("limits", [ROOMY, NARROW], ids=["read", "not-read"])
async def test_reset_behind_the_last_word_takes_nothing_back_over_tls(word: str, limits: alb.Limits, *, client_sends: bool) -> None:
    """On both sides. (The target's TLS is asyncio's, which knows no half-close.)"""
    async with sides(SWITCHED, client_sends=client_sends, limits=limits, tls=True) as it:
        await it.fill()
        await it.say_that_it_is_through(word)
        it.sender.reset()
        await it.reset_is_noticed()
        await it.receives_all_of_it()
        assert not [name for name in it.it.counters if name.startswith("Failure")]


@WHO
@pytest.mark.parametrize("answer", [SWITCHED, RAW_SWITCHED], ids=["websocket", "bytes"])
@pytest.mark.parametrize("limits", [ROOMY, NARROW], ids=["read", "not-read"])
async def test_reset_without_a_last_word_aborts_the_other_side(answer: bytes, limits: alb.Limits, *, client_sends: bool) -> None:
    """It must not take what came for the whole."""
    async with sides(answer, client_sends=client_sends, limits=limits) as it:
        await it.fill()
        await it.arrived()
        it.sender.reset()
        await it.reset_is_noticed()
        await gone(it.it)
        it.receiver.writer.transport.resume_reading()  # type: ignore[attr-defined]
        with pytest.raises(ConnectionError):
            await it.receiver.read_to_end()
        assert it.it.counters[f"Failure_TunnelResetBy{'Client' if client_sends else 'Target'}"] == 1


@WHO
async def test_half_of_a_close_frame_is_no_last_word(*, client_sends: bool) -> None:
    """Nor is any other frame that was left in the middle."""
    async with sides(SWITCHED, client_sends=client_sends) as it:
        await it.fill()
        it.send(closing(1000, "bye", mask=it.masks)[:-1])
        await it.arrived()
        it.sender.reset()
        await gone(it.it)
        it.receiver.writer.transport.resume_reading()  # type: ignore[attr-defined]
        with pytest.raises(ConnectionError):
            await it.receiver.read_to_end()


@WHO
@WORDS
async def test_slow_side_that_takes_nothing_is_ended(answer: bytes, word: str, *, client_sends: bool) -> None:
    """After thirty seconds without a byte that arrives."""
    async with sides(answer, client_sends=client_sends) as it:
        await it.fill()
        await it.say_that_it_is_through(word)
        it.sender.reset()
        await it.reset_is_noticed()
        # A little more may still arrive in the kernel of the receiver.
        assert 29 <= await it.lasts() <= 35


@WHO
async def test_slow_side_that_takes_nothing_is_ended_by_a_shorter_idle_timeout(*, client_sends: bool) -> None:
    """With two seconds of grace, as always."""
    async with sides(RAW_SWITCHED, client_sends=client_sends, idle_timeout=5) as it:
        await it.fill()
        await it.say_that_it_is_through("fin")
        it.sender.reset()
        await it.reset_is_noticed()
        assert 6 <= await it.lasts() <= 12


@WHO
@pytest.mark.parametrize("talks", [True, False])
async def test_side_that_has_all_and_stays_is_ended_after_the_grace(*, client_sends: bool, talks: bool) -> None:
    """Whatever it goes on to say goes nowhere, and keeps nothing alive."""
    async with sides(SWITCHED, client_sends=client_sends) as it:
        await it.fill()
        await it.say_that_it_is_through("close")
        it.sender.reset()
        await it.reset_is_noticed()
        it.receiver.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert await it.receiver.read_to_end() == it.sent
        while not it.other.is_flushed:
            it.look()
            await asyncio.sleep(0)
        for _ in range(4):
            assert it.it.runtime.tunnels
            it.look(0.6)
            if talks:
                before = it.other.received_bytes
                it.receiver.send(frame(BINARY, b"more", mask=not it.masks))
                async with asyncio.timeout(5):
                    while it.other.received_bytes == before and not it.other.lost:
                        await asyncio.sleep(0)
        await gone(it.it)


async def test_both_sides_reset_behind_their_close() -> None:
    """Both sockets go, and all is counted once."""
    async with sides(SWITCHED, client_sends=True) as it:
        await it.say_that_it_is_through("close")
        it.receiver.send(closing(1000, mask=False))
        async with asyncio.timeout(5):
            while not it.other.received_bytes:
                await asyncio.sleep(0)
        it.sender.reset()
        it.receiver.reset()
        await gone(it.it)
        assert it.it.counters["TunnelEnd_Client"] == 1
        assert "ActiveConnectionCount" not in it.it.counters


async def test_client_that_resets_behind_its_fin_stops_a_target_that_still_sends() -> None:
    """The target has the client's last byte and FIN; what it says goes nowhere, so it does not go on for ever."""
    async with sides(RAW_SWITCHED, client_sends=True) as it:
        it.send(b"question")
        await it.say_that_it_is_through("fin")
        it.sender.reset()
        await it.reset_is_noticed()
        it.receiver.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert await it.receiver.read_to_end() == b"question"
        async with asyncio.timeout(10):
            while it.it.runtime.tunnels:
                it.receiver.send(b"answer" * 1000)
                it.look(0.1)
                await asyncio.sleep(0)


@WHO
async def test_stop_while_the_slow_side_is_flushed_ends_it(*, client_sends: bool) -> None:
    """Within the time that stop has."""
    async with sides(SWITCHED, client_sends=client_sends) as it:
        await it.fill()
        await it.say_that_it_is_through("close")
        it.sender.reset()
        await it.reset_is_noticed()
        async with asyncio.timeout(5):
            await it.it.load_balancer.stop()

"""A side of a WebSocket that sends tiny frames without end, without sockets or a loop: when it rests, and that nothing overtakes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from albkit.proxy.tunnel.leg import Leg
from albkit.proxy.tunnel.websocket_leg import WebSocketLeg
from albkit.wire.websocket.frames import MANY_FRAMES, FrameFollower
from tests.support.frames import BINARY, frame


class _Owner:
    """As much of a tunnel as its legs need."""

    closing = False

    def __init__(self) -> None:
        self.turns: list[Callable[[], None]] = []

    def side_of(self, _: Leg) -> str:
        return "client"

    def masking_key(self) -> bytes:
        return b"abcd"

    def call_soon(self, call: Callable[[], None]) -> None:
        self.turns.append(call)

    def turn(self) -> None:
        """One turn of the loop."""
        turns, self.turns = self.turns, []
        for call in turns:
            call()

    def count_pause(self) -> None: ...
    def count_ping(self) -> None: ...
    def end_received(self, leg: Leg) -> None: ...
    def message_too_large(self, leg: Leg) -> None: ...
    def frames_invalid(self, leg: Leg) -> None: ...
    def leg_lost(self, leg: Leg, exc: Exception | None) -> None: ...


class _Wire(asyncio.Transport):
    """Remembers what was written, whether FIN was, and whether it is read; says that it is full when it is told to be."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.reading = self.fin = self.closed = self.full = False
        self.protocol: WebSocketLeg

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.fin, "written behind FIN"
        self.written += data
        if self.full and not self.protocol.writing_paused:
            self.protocol.pause_writing()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.fin = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


class _Pair:
    """Both sides of one tunnel."""

    def __init__(self, *, most: int) -> None:
        self.owner = _Owner()
        self.here, self.there = _Wire(), _Wire()
        self.leg = WebSocketLeg(self.owner, self.here, FrameFollower(masked=True, extended=False, most=most), masks=False)
        self.other = WebSocketLeg(self.owner, self.there, FrameFollower(masked=False, extended=False, most=most), masks=True)
        self.leg.other, self.other.other = self.other, self.leg
        self.here.protocol, self.there.protocol = self.leg, self.other


def _frames(count: int) -> bytes:
    """So many, none like another."""
    return b"".join(frame(BINARY, b"%d" % number, mask=True) for number in range(count))


@pytest.mark.parametrize("most", [0, 1000], ids=["followed", "taken apart"])
@pytest.mark.parametrize("seed", range(15))
def test_flood_arrives_in_its_order_however_it_is_held_back(most: int, seed: int) -> None:
    """It comes cut anywhere, the receiver is full now and then, FIN comes when it comes: nothing is lost, doubled or overtaken."""
    dice = random.Random(seed)
    pair = _Pair(most=most)
    wire = _frames(dice.randrange(2000, 5000))
    rest = wire
    pair.leg.start_reading()
    ended = False
    while pair.owner.turns or rest or not ended:
        lot = dice.random()
        if lot < 0.3:
            pair.there.full = not pair.there.full
            if not pair.there.full and pair.other.writing_paused:
                pair.other.resume_writing()
        elif lot < 0.6 and pair.here.reading:
            if rest:
                size = dice.randrange(1, 60_000)
                data, rest = rest[:size], rest[size:]
                before = pair.leg.follower.frames if pair.leg.follower is not None else 0
                pair.leg.data_received(data)
                assert pair.leg.follower is not None
                assert pair.leg.follower.frames - before <= MANY_FRAMES
            elif not ended:
                ended = True
                assert pair.leg.eof_received()
        else:
            pair.owner.turn()
        if pair.other.writing_paused and not pair.there.full:
            pair.other.resume_writing()
    assert pair.leg.received_bytes == len(wire)
    assert pair.leg.withheld_bytes == len(wire) - len(pair.there.written) == 0
    assert pair.there.written == wire
    assert pair.there.fin


@pytest.mark.parametrize("most", [0, 1000], ids=["followed", "taken apart"])
@pytest.mark.parametrize("full", [False, True])
def test_fin_behind_a_flood_waits_for_it(most: int, full: bool) -> None:
    """As where both have come before the tunnel began."""
    pair = _Pair(most=most)
    pair.there.full = full
    wire = _frames(3 * MANY_FRAMES)
    pair.leg.data_received(wire)
    assert pair.leg.eof_received()
    pair.leg.start_reading()
    assert not pair.here.reading, "it rests, and what comes would overtake"
    assert not pair.there.fin
    assert pair.leg.received_bytes - pair.leg.withheld_bytes == len(pair.there.written) < len(wire)
    pair.owner.turn()
    pair.there.full = False
    if pair.other.writing_paused:
        pair.other.resume_writing()
    while pair.owner.turns:
        pair.owner.turn()
    assert pair.there.written == wire
    assert pair.there.fin


def test_leg_that_is_gone_goes_on_no_more() -> None:
    """What waited is not written, and nothing is read."""
    pair = _Pair(most=0)
    pair.leg.data_received(_frames(3 * MANY_FRAMES))
    written = len(pair.there.written)
    pair.leg.connection_lost(None)
    assert repr(pair.leg) == f"<WebSocketLeg to the client: received_fin sent_fin lost, {pair.leg.received_bytes} bytes received>"
    while pair.owner.turns:
        pair.owner.turn()
    assert len(pair.there.written) == written
    assert not pair.here.reading

"""A tunnel without sockets or a loop: whatever both ends say, wherever it is cut, and whatever of ours goes in between."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import NamedTuple, cast

import pytest

import albkit as alb
from albkit.model.message import ClientAddress
from albkit.proxy.runtime import Runtime
from albkit.proxy.tunnel.tunnel import Tunnel
from albkit.state.counters import Counters
from albkit.state.record import ExchangeRecord
from albkit.state.target import TargetState
from tests.support.clock import FakeClock
from tests.support.effort import cases
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, closing, frame, masked

_YEAR = 31_536_000
_LARGE = 2**24
"""No message of these tests is as long, so that the limit only makes the tunnel take everything apart."""
_SIZES = (0, 1, 2, 125, 126, 127, 300, 65535, 65536, 70000)
_CUTS = (1, 2, 3, 5, 7)
_OUR_CLOSE = (1001).to_bytes(2, "big") + b"the load balancer stops"
_BLOCKS = [pytest.param(range(first, first + 25), id=f"seeds {first} to {first + 24}") for first in range(0, cases(300, part=4), 25)]


class _Chance(FakeClock):
    """A clock whose chance is seeded, and that remembers what it gave: by that a frame of ours is known."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._dice = dice
        self.given: set[bytes] = set()

    def entropy(self, size: int) -> bytes:
        drawn = self._dice.randbytes(size)
        self.given.add(drawn)
        return drawn


class _Gateway:
    """As much of a gateway as a tunnel needs while its sockets live."""

    def __init__(self, clock: _Chance) -> None:
        self.clock = clock
        self.counters = Counters()

    def add_tunnel(self, _: Tunnel) -> int:
        return 1


class _Wire(asyncio.Transport):
    """A transport that remembers what was written, and takes nothing behind its end."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.fin = self.closed = False
        self.protocol = asyncio.Protocol()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended, "written behind FIN"
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        assert not self.ended, "a second FIN"
        self.fin = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    @property
    def ended(self) -> bool:
        return self.fin or self.closed


class _Came(NamedTuple):
    """A frame that has come whole: what it is, and where in its stream it ends."""

    opcode: int
    key: bytes
    payload: bytes
    end: int


def _frame_at(stream: bytes | bytearray, begin: int) -> _Came | None:
    """The frame that begins there, if the whole of it is there."""
    if len(stream) < begin + 2:
        return None
    size, start = stream[begin + 1] & 0x7F, begin + 2
    if size > 125:
        start += 2 if size == 126 else 8
        if len(stream) < start:
            return None
        size = int.from_bytes(stream[begin + 2 : start], "big")
    key_size = 4 if stream[begin + 1] & 0x80 else 0
    key = bytes(stream[start : start + key_size])
    start += key_size
    if len(stream) < start + size:
        return None
    payload = bytes(stream[start : start + size])
    return _Came(stream[begin] & 15, key, masked(payload, key) if key else payload, start + size)


class _Ours(NamedTuple):
    """A frame of the load balancer's own, and how many bytes of the other end's went before it."""

    opcode: int
    key: bytes
    behind: int


class _End:
    """One end of the tunnel: sends frames cut anywhere, and answers what it gets in its own way."""

    def __init__(self, dice: random.Random, clock: _Chance, *, is_client: bool) -> None:
        self.wire = _Wire()
        self.is_client = is_client
        self.says_close = False
        self.sent_fin = False
        self.frames: list[bytes] = []
        """What it has to say that is for the other end."""
        self.swallowed = 0
        """How many of its frames were for us."""
        self.delivered = 0
        """Bytes of what is for the other end, as far as they have reached us."""
        self._dice = dice
        self._clock = clock
        self._queue: list[tuple[bytes, bool]] = []
        self._read = 0
        self._within_message = False
        self._answers = dice.choice(("each", "twice", "the latest", "none"))

    # What it says.

    def say(self, data: bytes, *, for_us: bool = False) -> None:
        """Queue a frame; behind its Close there is none."""
        if self.says_close:
            return
        self.says_close = data[0] & 15 == CLOSE
        self._queue.append((data, for_us))
        if for_us:
            self.swallowed += 1
        else:
            self.frames.append(data)

    def say_something(self) -> None:
        """Queue a ping, a pong that nobody asked for, a part of a message, seldom a Close."""
        dice, lot = self._dice, self._dice.random()
        if lot < 0.01:
            self.say(closing(1000, "enough", mask=self.is_client))
        elif lot < 0.15:
            self.say(frame(PING, b"theirs" + dice.randbytes(dice.randrange(8)), mask=self.is_client))
        elif lot < 0.2:
            self.say(frame(PONG, b"unasked" + dice.randbytes(3), mask=self.is_client))
        else:
            size = dice.choice(_SIZES) if dice.random() < 0.3 else dice.randrange(20)
            opcode, fin = CONTINUATION if self._within_message else dice.choice((TEXT, BINARY)), dice.random() < 0.7
            self._within_message = not fin
            self.say(frame(opcode, dice.randbytes(size), mask=self.is_client, fin=fin))

    def answer(self) -> None:
        """Answer what has come: a Close always, pings in its own way."""
        pings = []
        while (came := _frame_at(self.wire.written, self._read)) is not None:
            self._read = came.end
            if came.opcode == PING:
                pings.append(came.payload)
            elif came.opcode == CLOSE:
                self.say(closing(1000, "answered", mask=self.is_client))
        if self._answers == "none":
            return
        for payload in pings[-1:] if self._answers == "the latest" else pings:
            pong = frame(PONG, payload, mask=self.is_client)
            self.say(pong, for_us=payload[:4] in self._clock.given)
            if self._answers == "twice":
                self.say(pong)

    @property
    def has_more(self) -> bool:
        return bool(self._queue)

    def deliver(self, size: int) -> None:
        """Let the tunnel have so many bytes of what is queued."""
        chunk = b""
        while self._queue and len(chunk) < size:
            data, for_us = self._queue.pop(0)
            here = data[: size - len(chunk)]
            chunk += here
            if not for_us:
                self.delivered += len(here)
            if len(here) < len(data):
                self._queue.insert(0, (data[len(here) :], for_us))
        if not self.wire.closed:
            self.wire.protocol.data_received(chunk)

    def deliver_some(self) -> None:
        """Let it have a few bytes, any number, or all."""
        queued = sum(len(data) for data, _ in self._queue)
        self.deliver(self._dice.choice((*_CUTS, self._dice.randint(1, queued), queued)))

    def send_fin(self) -> None:
        self.sent_fin = True
        self.wire.protocol.eof_received()

    # What there is to compare.

    @property
    def stream(self) -> bytes:
        """All that the other end is to get."""
        return b"".join(self.frames)

    @property
    def boundaries(self) -> list[int]:
        """Where a frame may be put into that."""
        return list(accumulate((len(one) for one in self.frames), initial=0))

    def received(self) -> tuple[bytes, list[_Ours]]:
        """What it got of the other end, and what it got of us."""
        written, theirs, ours, position = bytes(self.wire.written), b"", [], 0
        for found in re.finditer(rb"[\x88\x89]", written):
            begin = found.start()
            if begin < position or (one := _frame_at(written, begin)) is None:
                continue
            is_ours = one.payload == _OUR_CLOSE or (one.opcode == PING and len(one.payload) == 8 and one.payload[:4] in self._clock.given)
            if is_ours:
                theirs += written[position:begin]
                ours.append(_Ours(one.opcode, one.key, len(theirs)))
                position = one.end
        return theirs + written[position:], ours


class _House:
    """A tunnel that pings after a second, its two ends, and chance."""

    def __init__(self, seed: int, *, extensions: bytes | None = b"", most: int | None = None) -> None:
        self.dice = random.Random(seed)
        self.clock = _Chance(self.dice)
        self.runtime = _Gateway(self.clock)
        self.client = _End(self.dice, self.clock, is_client=True)
        self.target = _End(self.dice, self.clock, is_client=False)
        self.ends = self.client, self.target
        self.directions = (self.client, self.target), (self.target, self.client)
        self.tunnel = Tunnel(
            self.client.wire,
            self.target.wire,
            cast("TargetState", None),
            ExchangeRecord(ClientAddress("192.0.2.1", 50000)),
            "websocket",
            alb.TunnelPolicy(idle_timeout=_YEAR, ping_interval=1, pong_timeout=_YEAR, max_message_size=most),
            extensions,
            cast("Runtime", self.runtime),
            lambda _: None,
        )
        self.tunnel.open(b"", b"", b"", target_sent_fin=False)

    def let_time_pass(self) -> None:
        """Enough for a ping, or half of it; not while the tunnel is ending, which would be cut then."""
        self.clock.advance(self.dice.choice((0.5, 1.1)))
        if not self.tunnel.closing:
            self.tunnel.sweep(self.clock.monotonic())

    def talk(self, steps: int) -> None:
        """Both ends say, get and answer this and that."""
        for _ in range(steps):
            end, lot = self.dice.choice(self.ends), self.dice.random()
            end.answer()
            if lot < 0.35:
                end.say_something()
            if lot < 0.75 and end.has_more:
                end.deliver_some()
            elif lot > 0.75:
                self.let_time_pass()

    def finish(self) -> None:
        """Everything that was said arrives, and what is to be answered is."""
        self._answer()
        while any(end.has_more for end in self.ends):
            for end in self.ends:
                while end.has_more:
                    end.deliver(1000)
            self._answer()

    def _answer(self) -> None:
        for end in self.ends:
            end.answer()

    def send_all(self) -> None:
        """Both ends deliver what they have, then FIN, while time passes."""
        while not all(end.sent_fin for end in self.ends):
            end, lot = self.dice.choice(self.ends), self.dice.random()
            if lot < 0.3:
                self.let_time_pass()
            if end.has_more:
                end.deliver_some()
            elif not end.sent_fin and lot > 0.7:
                end.send_fin()

    def check_ours(self) -> Counter[str]:
        """Frames of ours stand between two frames, are masked for the target with a new key each, and none is behind a Close."""
        count: Counter[str] = Counter()
        for sender, receiver in self.directions:
            theirs, ours = receiver.received()
            allowed, closed = set(), False
            for end, data in zip(sender.boundaries, (*sender.frames, b"\0"), strict=True):
                if not closed:
                    allowed.add(end)
                closed = closed or data[0] == 0x80 | CLOSE
            for one in ours:
                assert one.behind in allowed, "put into a frame, or behind a Close"
                assert bool(one.key) == (receiver is self.target), "masked, or not masked, where it must not be"
            assert all(one.opcode == PING for one in ours[:-1]), "something of ours behind our Close"
            assert not any(one.opcode == CLOSE and one.behind < len(theirs) for one in ours), "something of theirs behind our Close"
            keys = [one.key for one in ours if one.key]
            assert len(set(keys)) == len(keys), "a key that was used before"
            assert self.clock.given.issuperset(keys), "a key that is not by chance"
            count["pings"] += sum(one.opcode == PING for one in ours)
            count["closes"] += sum(one.opcode == CLOSE for one in ours)
            count["pongs"] += sender.swallowed
        return count


def _differ_at(got: bytes, expected: bytes) -> int | None:
    """Where two streams part, if they do; a comparison of so many bytes is nothing to be shown."""
    if got == expected:
        return None
    shorter = min(len(got), len(expected))
    return next((place for place in range(shorter) if got[place] != expected[place]), shorter)


@contextmanager
def _named(seed: int) -> Iterator[None]:
    """A failure tells its seed."""
    try:
        yield
    except Exception as error:
        error.add_note(f"with seed {seed}")
        raise


@pytest.mark.parametrize("seeds", _BLOCKS)
def test_frames_cut_anywhere_arrive_whole_and_in_order_with_our_pings_between_them(seeds: range) -> None:
    """Nothing is lost but the pongs for us, once each; nothing comes in but pings, and no FIN."""
    count: Counter[str] = Counter()
    for seed in seeds:
        with _named(seed):
            house = _House(seed, most=_LARGE if seed % 3 == 0 else None)
            house.talk(house.dice.randrange(20, 150))
            house.finish()
            for sender, receiver in house.directions:
                assert _differ_at(receiver.received()[0], sender.stream) is None
                assert not receiver.wire.ended
            here = house.check_ours()
            assert here["closes"] == 0
            count += here
    assert count["pings"]
    assert count["pongs"]


@pytest.mark.parametrize("seeds", _BLOCKS)
def test_tunnel_ended_by_us_at_any_moment_sends_each_side_one_close_behind_a_whole_frame(seeds: range) -> None:
    """The frame on its way is finished, nothing goes behind the Close, a side that gets the other's needs none of ours; then FIN."""
    count: Counter[str] = Counter()
    for seed in seeds:
        with _named(seed):
            house = _House(seed, most=_LARGE if seed % 3 == 0 else None)
            house.talk(house.dice.randrange(100))
            passed = [len(receiver.received()[0]) for _, receiver in house.directions]
            for (sender, _), size in zip(house.directions, passed, strict=True):
                assert size >= max(end for end in sender.boundaries if end <= sender.delivered), "a whole frame was kept back"
            house.tunnel.stop()
            house.talk(house.dice.randrange(50))
            house.finish()
            for (sender, receiver), size in zip(house.directions, passed, strict=True):
                theirs, ours = receiver.received()
                last = min(end for end in sender.boundaries if end >= size)
                assert _differ_at(theirs, sender.stream[:last]) is None
                through = sender.frames[: sender.boundaries.index(last)]
                closes = sum(one[0] == 0x80 | CLOSE for one in through) + sum(one.opcode == CLOSE for one in ours)
                assert closes == 1
                assert receiver.wire.ended
            count += house.check_ours()
    assert count["pings"]
    assert count["pongs"]
    assert count["closes"]


def _garbage(dice: random.Random, *, is_client: bool) -> bytes:
    """What no WebSocket endpoint would take, and anything behind it."""
    faulty = dice.choice(
        (
            frame(3, mask=is_client),
            frame(TEXT, b"reserved bit", mask=is_client, reserved=0x40),
            frame(TEXT, b"wrong side", mask=not is_client),
            frame(PING, b"in parts", mask=is_client, fin=False),
            frame(PING, bytes(126), mask=is_client),
            frame(CONTINUATION, b"of nothing", mask=is_client),
        )
    )
    return faulty + dice.randbytes(dice.randrange(30))


@pytest.mark.parametrize("seeds", _BLOCKS)
def test_frames_then_garbage_then_fin_arrive_to_the_byte(seeds: range) -> None:
    """Without our pings, which stand between two of the frames, what comes out is what went in, however short its end was cut."""
    count: Counter[str] = Counter()
    for seed in seeds:
        with _named(seed):
            house = _House(seed)
            dice = house.dice
            for end in house.ends:
                said = [
                    frame(dice.choice((TEXT, BINARY, PING, PONG)), dice.randbytes(dice.choice((0, 3, 10, 125))), mask=end.is_client)
                    for _ in range(dice.randrange(10))
                ]
                if dice.random() < 0.2:
                    said.append(closing(1000, mask=end.is_client))
                elif dice.random() < 0.6:
                    said.append(_garbage(dice, is_client=end.is_client))
                if said and dice.random() < 0.4:
                    said[-1] = said[-1][: dice.randint(1, len(said[-1]))]
                for one in said:
                    end.say(one)
            house.send_all()
            for sender, receiver in house.directions:
                assert _differ_at(receiver.received()[0], sender.stream) is None
                assert receiver.wire.ended
            here = house.check_ours()
            assert here["closes"] == 0
            count += here
    assert count["pings"]


@pytest.mark.parametrize("seeds", _BLOCKS)
def test_raw_tunnel_passes_bytes_on_and_adds_nothing_but_fin(seeds: range) -> None:
    """Be they frames or not, and also where we end it: what came before is exact, and there is no word of ours."""
    for seed in seeds:
        with _named(seed):
            house = _House(seed, extensions=None)
            dice = house.dice
            for end in house.ends:
                for _ in range(dice.randrange(10)):
                    some = dice.randbytes(dice.randint(1, 300))
                    end.say(dice.choice((some, frame(PING, some[:125], mask=end.is_client), frame(BINARY, some, mask=end.is_client))))
            if dice.random() < 0.3:
                for end in house.ends:
                    if end.has_more:
                        end.deliver_some()
                house.let_time_pass()
                passed = [sender.delivered for sender, _ in house.directions]
                house.tunnel.stop()
            else:
                passed = [len(sender.stream) for sender, _ in house.directions]
            house.send_all()
            for (sender, receiver), size in zip(house.directions, passed, strict=True):
                assert _differ_at(bytes(receiver.wire.written), sender.stream[:size]) is None
                assert receiver.wire.ended
            assert house.runtime.counters.tunnel_pings == 0

"""Pings of the load balancer's own: between frames only, and answered without anybody seeing it."""

from __future__ import annotations

import asyncio

import pytest

import albkit as alb
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, closing, frame, masked, read_frame
from tests.support.peers import Peer
from tests.support.tunnels import COMPRESSED, RAW_SWITCHED, SWITCHED, Ends, ends, gone

PINGING = alb.TunnelPolicy(idle_timeout=30, ping_interval=10, pong_timeout=5)
HELLO = frame(TEXT, b"hello")
ANSWER = frame(TEXT, b"answer", mask=False)


async def pinged(peer: Peer) -> bytes:
    """The payload of the ping that comes next."""
    ping = await read_frame(peer)
    assert ping.opcode == PING
    return ping.payload


async def both_pinged(both: Ends) -> tuple[bytes, bytes]:
    """Let ten silent seconds pass; what client and target are pinged with."""
    both.later(10)
    return await pinged(both.client), await pinged(both.target)


async def test_silent_session_is_pinged_on_both_sides_and_outlasts_the_idle_timeout() -> None:
    """The target's ping is masked, the client's is not; pongs are passed on to nobody."""
    async with ends(PINGING) as both:
        for _ in range(12):
            both.later(10)
            for peer, mask in ((both.client, False), (both.target, True)):
                ping = await read_frame(peer)
                assert (ping.opcode, ping.mask) == (PING, mask)
                peer.send(frame(PONG, ping.payload, mask=not mask))
            await both.settle()
        both.client.send(HELLO)
        both.target.send(ANSWER)
        assert await both.target.read_exactly(len(HELLO)) == HELLO
        assert await both.client.read_exactly(len(ANSWER)) == ANSWER
        assert both.end is None
        assert both.tunnel.age == 120
        assert (both.tunnel.frames_in, both.tunnel.frames_out) == (1, 1)
        assert both.gateway.counters["TunnelPingCount"] == 24


async def test_pong_of_ours_is_no_use_of_the_tunnel() -> None:
    """`idle` tells since when nobody has said anything, for those who end unused sessions."""
    async with ends(PINGING) as both:
        both.client.send(HELLO)
        await both.target.read_exactly(len(HELLO))
        assert both.tunnel.idle == 0
        client, target = await both_pinged(both)
        both.client.send(frame(PONG, client))
        both.target.send(frame(PONG, target, mask=False))
        await both.settle()
        both.later(1)
        assert both.tunnel.idle == 11


@pytest.mark.parametrize("split", range(1, len(frame(PONG, bytes(8)))))
async def test_pong_is_swallowed_wherever_segments_end(split: int) -> None:
    """Of client and target, with frames around it and the cut at every byte."""
    async with ends(PINGING) as both:
        client, target = await both_pinged(both)
        for peer, other, payload, mask in ((both.client, both.target, client, True), (both.target, both.client, target, False)):
            before, behind = frame(TEXT, b"before", mask=mask), frame(BINARY, b"behind", mask=mask)
            wire = frame(PONG, payload, mask=mask)
            peer.send(before + wire[:split])
            assert await other.read_exactly(len(before)) == before
            await both.settle()
            peer.send(wire[split:] + behind)
            assert await other.read_exactly(len(behind)) == behind


async def test_pong_that_is_not_for_us_passes() -> None:
    """Unasked ones, those that answer the other side's ping, and those that only look like ours."""
    async with ends(PINGING) as both:
        client, _ = await both_pinged(both)
        others = [b"", b"mine", client[:4] + b"\0\0\0\2", client[:4] + b"\0\0\0\0", b"x" + client[1:], client + b"x"]
        wire = b"".join(frame(PONG, payload) for payload in others)
        both.client.send(wire[:10])
        await both.settle()
        both.client.send(wire[10:])
        assert await both.target.read_exactly(len(wire)) == wire
        both.client.send(frame(PONG, client) + frame(PONG, client))
        assert await both.target.read_exactly(len(frame(PONG, client))) == frame(PONG, client), "the second one answers nothing"


def stream_of(mask: bool, reserved: int = 0) -> list[bytes]:
    """Frames of every form, whole messages and one in parts with control frames within it."""
    return [
        frame(TEXT, b"hello", mask=mask, reserved=reserved),
        frame(BINARY, bytes(range(130)), mask=mask, reserved=reserved, fin=False),
        frame(PONG, b"unasked", mask=mask),
        frame(CONTINUATION, b"", mask=mask, fin=False),
        frame(CONTINUATION, b"end", mask=mask),
        frame(TEXT, b"", mask=mask, reserved=reserved),
    ]


class Answering:
    """A peer that answers the load balancer's pings, and keeps what else it gets."""

    def __init__(self, peer: Peer, *, mask: bool) -> None:
        self.peer = peer
        self.mask = mask
        self.others = b""
        self.pings = 0
        self._rest = b""

    async def read(self) -> None:
        """Take what has come, without waiting for more."""
        waiting = len(self.peer.reader._buffer)  # type: ignore[attr-defined]
        self._rest += await self.peer.read_exactly(waiting) if waiting else b""
        while (size := self._whole()) and size <= len(self._rest):
            one, self._rest = self._rest[:size], self._rest[size:]
            if one[0] == 0x80 | PING:
                self.pings += 1
                payload = one[2:] if self.mask else masked(one[6:], one[2:6])
                self.peer.send(frame(PONG, payload, mask=self.mask))
            else:
                self.others += one

    def _whole(self) -> int:
        rest = self._rest
        if len(rest) < 2 or (rest[1] & 127 == 126 and len(rest) < 4):
            return 0
        length = rest[1] & 127
        return 2 + (2 + int.from_bytes(rest[2:4], "big") if length == 126 else length) + (4 if rest[1] & 128 else 0)


@pytest.mark.parametrize("answer", [SWITCHED, COMPRESSED], ids=["plain", "permessage-deflate"])
@pytest.mark.parametrize("from_client", [True, False], ids=["from-client", "from-target"])
async def test_stream_that_stops_at_every_byte_is_pinged_between_its_frames(answer: bytes, *, from_client: bool) -> None:
    """A ping is due behind every byte: without the pings, what arrives is the stream; and there was one at every boundary."""
    frames = stream_of(from_client, 0x40 if answer is COMPRESSED else 0)
    stream = b"".join(frames)
    patient = alb.TunnelPolicy(idle_timeout=30, ping_interval=10, pong_timeout=10_000)
    async with ends(patient, answer=answer) as both:
        sender, receiver = (both.client, both.target) if from_client else (both.target, both.client)
        reading = Answering(receiver, mask=not from_client)
        for position in range(len(stream)):
            sender.send(stream[position : position + 1])
            await both.settle()
            await reading.read()
            await both.settle()
            both.later(10)
        async with asyncio.timeout(5):
            while len(reading.others) < len(stream):
                await reading.read()
                await asyncio.sleep(0)
        assert reading.others == stream
        assert reading.pings > len(frames) // 2


async def test_ping_that_is_due_within_a_frame_comes_behind_it() -> None:
    """Its answer is waited for from then on only."""
    async with ends(PINGING) as both:
        both.target.send(ANSWER[:3])
        assert await both.client.read_exactly(3) == ANSWER[:3]
        both.later(10)
        both.target.send(ANSWER[3:] + ANSWER)
        assert await both.client.read_exactly(len(ANSWER) - 3) == ANSWER[3:]
        ping = await pinged(both.client)
        assert await both.client.read_exactly(len(ANSWER)) == ANSWER
        both.later(4)
        assert both.end is None
        both.client.send(frame(PONG, ping))
        await both.settle()
        both.target.send(ANSWER)
        await both.client.read_exactly(len(ANSWER))


async def test_client_that_does_not_answer_is_dead() -> None:
    """It is reset; the target is told with 1011."""
    async with ends(PINGING) as both:
        _, ping = await both_pinged(both)
        both.target.send(frame(PONG, ping, mask=False))
        await both.settle()
        both.later(4.9)
        assert both.end is None
        both.later(0.2)
        assert both.end is alb.TunnelEnd.PONG_TIMEOUT
        with pytest.raises(ConnectionResetError):
            await both.client.read_to_end()
        goodbye = await read_frame(both.target)
        assert (goodbye.code, goodbye.reason) == (1011, "the client does not answer pings")
        both.target.send(frame(CLOSE, goodbye.payload, mask=False))
        assert await both.target.read_to_end() == b""
        both.target.send_fin()
        await gone(both.gateway)
        assert both.gateway.counters["Failure_TunnelClientDead"] == 1
        assert both.gateway.counters["TunnelEnd_PongTimeout"] == 1


async def test_target_that_does_not_answer_is_dead() -> None:
    """The same the other way round."""
    async with ends(PINGING) as both:
        ping, _ = await both_pinged(both)
        both.client.send(frame(PONG, ping))
        await both.settle()
        both.later(5.1)
        with pytest.raises(ConnectionResetError):
            await both.target.read_to_end()
        goodbye = await read_frame(both.client)
        assert (goodbye.code, goodbye.reason) == (1011, "the target does not answer pings")
        both.client.send(closing(goodbye.code))
        assert await both.client.read_to_end() == b""
        both.client.send_fin()
        await gone(both.gateway)
        assert both.gateway.counters["Failure_TunnelTargetDead"] == 1


async def test_any_byte_is_a_sign_of_life() -> None:
    """A peer that is busy sending may answer late; one whose reader is slow as well."""
    async with ends(PINGING) as both:
        client, target = await both_pinged(both)
        both.target.send(frame(PONG, target, mask=False))
        both.later(3)
        both.client.send(HELLO)
        await both.target.read_exactly(len(HELLO))
        both.later(4)
        both.later(4)
        assert both.end is None
        both.client.send(frame(PONG, client) + HELLO)
        assert await both.target.read_exactly(len(HELLO)) == HELLO


async def test_side_that_owes_the_other_a_pong_gets_no_ping() -> None:
    """It may answer the latest ping alone (RFC 6455 section 5.5.3): ours must not be that one. The pong owed will do."""
    async with ends(PINGING) as both:
        both.target.send(frame(PING, b"of the target", mask=False))
        assert await pinged(both.client) == b"of the target"
        both.later(10)
        ping = await pinged(both.target)
        both.target.send(frame(PONG, ping, mask=False))
        await both.settle()
        both.client.send(frame(PONG, b"of the target"))
        assert (await read_frame(both.target)).payload == b"of the target"
        both.later(5)
        both.later(10)
        assert await pinged(both.client) != b"of the target"


async def test_side_that_owes_the_other_a_pong_and_is_silent_is_dead() -> None:
    """The other side's ping is as good as ours."""
    async with ends(PINGING) as both:
        both.target.send(frame(PING, b"", mask=False))
        await pinged(both.client)
        both.later(10)
        both.target.send(frame(PONG, await pinged(both.target), mask=False))
        await both.settle()
        both.later(5)
        with pytest.raises(ConnectionResetError):
            await both.client.read_to_end()
        assert both.end is alb.TunnelEnd.PONG_TIMEOUT


@pytest.mark.parametrize("who", ["client", "target"])
async def test_nobody_is_pinged_behind_a_close_frame(who: str) -> None:
    """Both are saying goodbye: a ping would have to go unanswered."""
    async with ends(PINGING) as both:
        if who == "client":
            both.client.send(closing(1000))
            await read_frame(both.target)
        else:
            both.target.send(closing(1000, mask=False))
            await read_frame(both.client)
        both.later(10)
        both.later(10)
        assert "TunnelPingCount" not in both.gateway.counters


@pytest.mark.parametrize(
    ("policy", "answer"),
    [
        pytest.param(PINGING, RAW_SWITCHED, id="no-handshake"),
        pytest.param(alb.TunnelPolicy(idle_timeout=30), SWITCHED, id="no-interval"),
    ],
)
async def test_where_nothing_is_pinged_the_idle_timeout_holds(policy: alb.TunnelPolicy, answer: bytes) -> None:
    """Pings need frames, and somebody who wants them."""
    async with ends(policy, answer=answer) as both:
        both.later(29)
        assert both.end is None
        both.later(1)
        assert both.end is alb.TunnelEnd.IDLE
        assert "TunnelPingCount" not in both.gateway.counters


@pytest.mark.parametrize("held", [b"", frame(PONG, b"12345678")[:3]], ids=["", "behind-half-a-pong"])
async def test_bytes_that_are_no_frames_end_the_pings_and_harm_nothing(held: bytes) -> None:
    """What was kept back goes on too."""
    async with ends(PINGING) as both:
        client, target = await both_pinged(both)
        both.client.send(held)
        both.target.send(frame(PONG, target, mask=False))
        await both.settle()
        noise = b"\xff\xff these are no frames"
        both.client.send(frame(PONG, client) + noise if not held else noise)
        assert await both.target.read_exactly(len(held + noise)) == held + noise
        assert both.tunnel.frames_in is None
        both.target.send(b"answer")
        assert await both.client.read_exactly(6) == b"answer"
        both.later(10)
        both.later(10)
        assert both.end is None
        both.later(10)
        assert both.end is alb.TunnelEnd.IDLE
        assert await both.client.read_to_end() == b""
        assert await both.target.read_to_end() == b""


async def test_side_that_is_held_back_is_not_taken_for_dead() -> None:
    """It is not read, because the other one reads slowly: its silence says nothing."""
    async with ends(PINGING, limits=alb.Limits(in_flight=1024)) as both:
        block = frame(BINARY, bytes(60_000), mask=False)
        sent = 0
        while not both.tunnel.target_leg.reading_paused:  # type: ignore[attr-defined]
            both.target.send(block)
            sent += 1
            await asyncio.sleep(0)
        both.later(9)
        both.later(3)
        assert both.gateway.counters.get("TunnelPingCount", 0) <= 1, "the client's, which takes nothing"
        assert both.end is None
        for _ in range(sent):
            await both.client.reader.readexactly(len(block))
            both.later(0)
        assert both.end is None


@pytest.mark.parametrize("stood_still", [30, 31, 100_000])
async def test_loop_that_stood_still_asks_before_it_takes_a_tunnel_for_idle(stood_still: float) -> None:
    """It could send no pings meanwhile, so that silence says nothing."""
    async with ends(PINGING) as both:
        both.later(5)
        both.later(stood_still)
        assert both.end is None
        client, target = await pinged(both.client), await pinged(both.target)
        both.later(4.9)
        assert both.end is None
        both.client.send(frame(PONG, client))
        both.target.send(frame(PONG, target, mask=False))
        await both.settle()
        both.later(9)
        assert both.end is None
        assert both.gateway.counters["TunnelPingCount"] == 2


async def test_silence_behind_the_ping_of_a_loop_that_stood_still_is_death() -> None:
    """After the time that every ping has, and not before."""
    async with ends(PINGING) as both:
        both.later(1000)
        both.later(4.9)
        assert both.end is None
        both.later(0.2)
        assert both.end is alb.TunnelEnd.PONG_TIMEOUT


async def test_pong_that_came_while_the_loop_stood_still_counts() -> None:
    """It was sent in time; that it was not read was not its fault."""
    async with ends(PINGING) as both:
        client, target = await both_pinged(both)
        both.client.send(frame(PONG, client))
        both.target.send(frame(PONG, target, mask=False))
        both.clock.advance(1000)
        await both.settle()
        both.later(0)
        assert both.end is None


@pytest.mark.parametrize("who", ["client", "target"])
async def test_loop_that_stood_still_does_not_wait_for_whom_it_cannot_ask(who: str) -> None:
    """One half of a frame and then silence for the idle timeout is idle, as ever."""
    async with ends(PINGING) as both:
        if who == "client":
            both.client.send(HELLO[:3])
            both.target.send(ANSWER[:3])
        else:
            both.target.send(ANSWER[:3])
            both.client.send(HELLO[:3])
        await both.settle()
        both.later(1000)
        assert both.end is alb.TunnelEnd.IDLE


async def test_ping_that_is_not_answered_yet_has_its_time_beyond_the_idle_timeout() -> None:
    """A session that is silent and alive outlasts it, however long an answer may take."""
    async with ends(alb.TunnelPolicy(idle_timeout=30, ping_interval=20, pong_timeout=20)) as both:
        both.later(20)
        client, _ = await pinged(both.client), await pinged(both.target)
        both.later(19)
        assert both.end is None
        both.client.send(frame(PONG, client))
        await both.settle()
        both.later(0.5)
        assert both.end is None
        both.later(0.6)
        assert both.end is alb.TunnelEnd.PONG_TIMEOUT

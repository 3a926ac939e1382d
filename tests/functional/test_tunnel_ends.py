"""How tunnels end in good order: a Close frame to each side between two frames, its answer swallowed, then FIN."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

import pytest

import albkit as alb
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, closing, frame, read_frame
from tests.support.gateway import running
from tests.support.peers import Conversation, Peer, request, target
from tests.support.tunnels import COMPRESSED, RAW_SWITCHED, SWITCHED, UPGRADE, Ends, ends, gone, switching, upgraded

HELLO = frame(TEXT, b"hello")
ANSWER = frame(TEXT, b"answer", mask=False)


async def says_goodbye(peer: Peer, *, mask: bool, code: int, reason: str = "") -> None:
    """A well-behaved peer: its next frame is a Close, which it answers; then FIN comes, and it sends its own."""
    goodbye = await read_frame(peer)
    assert (goodbye.opcode, goodbye.code, goodbye.reason, goodbye.mask) == (CLOSE, code, reason, not mask)
    peer.send(frame(CLOSE, goodbye.payload, mask=mask))
    assert await peer.read_to_end() == b"", "the answer of the other side is not passed on"
    peer.send_fin()


async def both_say_goodbye(both: Ends, code: int, reason: str = "") -> None:
    """Client and target see the same, and both sockets go."""
    await asyncio.gather(
        says_goodbye(both.client, mask=True, code=code, reason=reason),
        says_goodbye(both.target, mask=False, code=code, reason=reason),
    )
    await gone(both.gateway)


async def test_close_tells_both_sides_and_returns_when_both_are_gone() -> None:
    """With the code and the reason given."""
    async with ends() as both:
        closed = asyncio.ensure_future(both.tunnel.close(4001, "kicked: über"))
        await both_say_goodbye(both, 4001, "kicked: über")
        await closed
        assert both.end is alb.TunnelEnd.CLOSED
        assert both.gateway.counters["TunnelEnd_Closed"] == 1
        assert "ActiveTunnelCount" not in both.gateway.counters
        assert not [name for name in both.gateway.counters if name.startswith("Failure")]


async def test_close_says_that_it_goes_away_unless_told() -> None:
    """1001, without a reason; a second call waits for the first one's end, and one behind it returns at once."""
    async with ends() as both:
        calls = [asyncio.ensure_future(both.tunnel.close()), asyncio.ensure_future(both.tunnel.close(1008, "too late"))]
        await both_say_goodbye(both, 1001)
        await asyncio.gather(*calls)
        await both.tunnel.close()


@pytest.mark.parametrize(
    ("code", "reason"),
    [(999, ""), (1004, ""), (1005, ""), (1006, ""), (1015, ""), (1016, ""), (2999, ""), (5000, ""), ("1000", ""), (1000, "x" * 124)],
)
async def test_what_no_close_frame_can_say_is_refused(code: int, reason: str) -> None:
    """RFC 6455 section 7.4; the tunnel goes on."""
    async with ends() as both:
        with pytest.raises(ValueError, match=r"close code|reason"):
            await both.tunnel.close(code, reason)
        assert both.end is None


@pytest.mark.parametrize("at", [1, 2, 5, 6, len(HELLO) - 1])
async def test_close_waits_for_the_end_of_the_frame(at: int) -> None:
    """The target gets the client's frame whole, then Close; what the client sends behind it is dropped."""
    async with ends() as both:
        both.client.send(HELLO[:at])
        assert await both.target.read_exactly(at) == HELLO[:at]
        closed = asyncio.ensure_future(both.tunnel.close())
        assert (await read_frame(both.client)).code == 1001
        both.client.send(HELLO[at:] + frame(BINARY, b"too late") + closing(1001) + b"whatever")
        assert await both.target.read_exactly(len(HELLO) - at) == HELLO[at:]
        await says_goodbye(both.target, mask=False, code=1001)
        assert await both.client.read_to_end() == b""
        both.client.send_fin()
        await closed


@pytest.mark.parametrize("answer", [SWITCHED, COMPRESSED], ids=["plain", "permessage-deflate"])
async def test_close_may_stand_within_a_message_in_parts(answer: bytes) -> None:
    """Control frames may (RFC 6455 section 5.4)."""
    part = frame(TEXT, b"part", mask=False, fin=False, reserved=0x40 if answer is COMPRESSED else 0)
    async with ends(answer=answer) as both:
        both.target.send(part)
        assert await both.client.read_exactly(len(part)) == part
        closed = asyncio.ensure_future(both.tunnel.close())
        await both_say_goodbye(both, 1001)
        await closed


async def test_side_that_stops_within_a_frame_gets_fin_after_the_grace() -> None:
    """A boundary that never comes is not waited for."""
    async with ends() as both:
        both.client.send(HELLO[:4])
        await both.target.read_exactly(4)
        closed = asyncio.ensure_future(both.tunnel.close())
        assert (await read_frame(both.client)).code == 1001
        both.later(2)
        await closed
        assert await both.client.read_to_end() == b""
        assert await both.target.read_to_end() == b""


async def test_side_that_leaves_within_a_frame_ends_the_other() -> None:
    """Its frame cannot be ended, so that there is no place for a Close frame any more."""
    async with ends() as both:
        both.client.send(HELLO[:4])
        await both.target.read_exactly(4)
        closed = asyncio.ensure_future(both.tunnel.close())
        await read_frame(both.client)
        both.client.send_fin()
        assert await both.target.read_to_end() == b""
        both.target.send_fin()
        await closed


@pytest.mark.parametrize("silent", ["client", "target", "both"])
async def test_side_that_does_not_answer_is_cut_after_the_grace(silent: str) -> None:
    """Two seconds; the call returns then."""
    async with ends() as both:
        closed = asyncio.ensure_future(both.tunnel.close())
        if silent == "both":
            await read_frame(both.client)
            await read_frame(both.target)
        elif silent == "client":
            await says_goodbye(both.target, mask=False, code=1001)
        else:
            await says_goodbye(both.client, mask=True, code=1001)
        both.later(1.9)
        assert both.gateway.runtime.tunnels
        both.later(0.1)
        await closed


async def test_answer_of_a_side_may_come_byte_by_byte() -> None:
    """It is recognized, and passed on to nobody."""
    async with ends() as both:
        closed = asyncio.ensure_future(both.tunnel.close())
        await read_frame(both.client)
        await read_frame(both.target)
        for byte in closing(1001):
            both.client.send(bytes((byte,)))
            await both.settle()
        assert await both.client.read_to_end() == b""
        both.target.send(closing(1001, mask=False))
        assert await both.target.read_to_end() == b""
        both.client.send_fin()
        both.target.send_fin()
        await closed


async def test_frames_on_their_way_arrive_before_the_close() -> None:
    """What a side has sent before it knows of the end is delivered, as far as it was read."""
    async with ends() as both:
        both.target.send(ANSWER * 1000)
        await both.settle()
        closed = asyncio.ensure_future(both.tunnel.close())
        assert await both.client.read_exactly(len(ANSWER) * 1000) == ANSWER * 1000
        await both_say_goodbye(both, 1001)
        await closed


async def test_close_behind_a_close_of_the_client_adds_none() -> None:
    """The target has the client's own; the client gets one, and the target's answer goes nowhere."""
    async with ends() as both:
        both.client.send(closing(1000, "bye"))
        assert (await read_frame(both.target)).code == 1000
        closed = asyncio.ensure_future(both.tunnel.close())
        assert (await read_frame(both.client)).code == 1001
        both.target.send(closing(1000, mask=False))
        assert await both.target.read_to_end() == b""
        assert await both.client.read_to_end() == b""
        both.client.send_fin()
        both.target.send_fin()
        await closed
        assert both.end is alb.TunnelEnd.CLIENT


async def test_close_of_both_sides_in_the_same_moment_is_fine() -> None:
    """The load balancer's and the client's cross: either stands for the answer to the other."""
    async with ends() as both:
        closed = asyncio.ensure_future(both.tunnel.close())
        both.client.send(closing(1000))
        both.target.send(closing(1000, mask=False))
        for peer in (both.client, both.target):
            codes = [(await read_frame(peer)).code]
            assert await peer.read_to_end() == b""
            assert codes in ([1000], [1001])
            peer.send_fin()
        await closed


@pytest.mark.parametrize(
    ("policy", "answer"),
    [
        pytest.param(alb.TunnelPolicy(), RAW_SWITCHED, id="no-handshake"),
        pytest.param(alb.TunnelPolicy(), SWITCHED.replace(b"s3pPLM", b"s3pPLm"), id="wrong-accept"),
        pytest.param(alb.TunnelPolicy(frames=False), SWITCHED, id="frames-off"),
    ],
)
async def test_tunnel_whose_frames_are_not_followed_ends_with_fin(policy: alb.TunnelPolicy, answer: bytes) -> None:
    """What its bytes mean is not known, so nothing is put between them."""
    async with ends(policy, answer=answer) as both:
        assert (both.tunnel.frames_in, both.tunnel.frames_out) == (None, None)
        closed = asyncio.ensure_future(both.tunnel.close(4001))
        assert await both.client.read_to_end() == b""
        assert await both.target.read_to_end() == b""
        both.client.send_fin()
        both.target.send_fin()
        await closed


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        pytest.param((*UPGRADE[:3], "Sec-WebSocket-Version: 8"), SWITCHED, id="version-8"),
        pytest.param(UPGRADE[:3], SWITCHED, id="no-version"),
        pytest.param(("Connection: Upgrade", "Upgrade: other", *UPGRADE[2:]), SWITCHED.replace(b"websocket", b"other"), id="other"),
    ],
)
async def test_what_was_not_asked_for_as_rfc_6455_says_is_bytes(fields: tuple[str, ...], answer: bytes) -> None:
    """Key, version 13 and the token all count."""
    async with ends(answer=answer, fields=fields) as both:
        assert both.tunnel.frames_in is None
        assert both.tunnel.protocol == ("other" if b"other" in answer else "websocket")


async def test_idle_tunnel_is_closed_on_both_sides() -> None:
    """1001 with the reason, then FIN."""
    async with ends(alb.TunnelPolicy(idle_timeout=90)) as both:
        both.later(89)
        both.client.send(HELLO)
        await both.target.read_exactly(len(HELLO))
        both.later(89)
        both.target.send(ANSWER)
        await both.client.read_exactly(len(ANSWER))
        both.later(89)
        assert both.end is None
        both.later(1)
        await both_say_goodbye(both, 1001, "idle")
        assert both.end is alb.TunnelEnd.IDLE
        assert both.gateway.counters["Failure_TunnelIdle"] == 1


async def test_policy_may_let_a_tunnel_outlive_the_load_balancers_idle_timeout() -> None:
    """The group's word counts, and where it says nothing the load balancer's."""
    async with ends(alb.TunnelPolicy(idle_timeout=300), idle_timeout=10) as both:
        both.later(299)
        assert both.end is None
    async with ends(idle_timeout=10) as both:
        both.later(10)
        assert both.end is alb.TunnelEnd.IDLE


async def test_old_tunnel_is_closed_however_busy_it_is() -> None:
    """Counted from the 101."""
    async with ends(alb.TunnelPolicy(max_age=100)) as both:
        for _ in range(10):
            both.later(9.9)
            both.client.send(HELLO)
            await both.target.read_exactly(len(HELLO))
        assert both.end is None
        both.later(1)
        await both_say_goodbye(both, 1001, "too old")
        assert both.end is alb.TunnelEnd.MAX_AGE
        assert not [name for name in both.gateway.counters if name.startswith("Failure")]


async def test_age_counts_from_the_101_not_from_the_connection() -> None:
    """A client may keep its connection for long before it asks for an upgrade."""
    async with ends(alb.TunnelPolicy(max_age=100), idle_timeout=200, before=80) as both:
        both.later(99)
        assert both.end is None
        assert both.tunnel.age == 99


async def test_stop_tells_both_sides() -> None:
    """1001, so that no client sees 1006 when a gateway is deployed anew."""
    async with ends(stop_timeout=5) as both:
        stopping = asyncio.ensure_future(both.gateway.load_balancer.stop())
        await asyncio.gather(
            says_goodbye(both.client, mask=True, code=1001, reason="the load balancer stops"),
            says_goodbye(both.target, mask=False, code=1001, reason="the load balancer stops"),
        )
        await stopping
        assert both.end is alb.TunnelEnd.STOP


@pytest.mark.parametrize("who", ["client", "target"])
async def test_close_of_one_side_passes_and_tells_who_ended_it(who: str) -> None:
    """Nothing is added, and the connection ends as the two agree."""
    async with ends() as both:
        first, second, mask = (both.client, both.target, True) if who == "client" else (both.target, both.client, False)
        first.send(closing(4321, "mine", mask=mask))
        got = await read_frame(second)
        assert (got.code, got.reason) == (4321, "mine")
        second.send(closing(4321, "yours", mask=not mask))
        assert (await read_frame(first)).reason == "yours"
        both.target.send_fin()
        assert await both.client.read_to_end() == b""
        both.client.send_fin()
        await gone(both.gateway)
        assert both.end == who
        assert both.gateway.counters[f"TunnelEnd_{who.title()}"] == 1


@pytest.mark.parametrize("who", ["client", "target"])
@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_who_leaves_without_a_close_ended_it(who: str, how: str) -> None:
    """FIN and RST are passed on as they are."""
    async with ends() as both:
        first: Peer = both.client if who == "client" else both.target
        if how == "fin":
            both.client.send_fin() if who == "client" else both.target.send_fin()
            other = both.target if who == "client" else both.client
            assert await other.read_to_end() == b""
            other.send_fin()
        else:
            first.reset()
        await gone(both.gateway)
        assert both.end == who


async def test_fin_behind_the_101_reaches_the_client_with_what_came_before() -> None:
    """A target that says all it has to say at once: 101, bytes and FIN in one segment."""

    async def hasty(conversation: Conversation) -> None:
        conversation.send_fin()
        await conversation.read_to_end()

    script = switching(SWITCHED + ANSWER + closing(1000, mask=False), then=hasty)
    async with target(script) as origin, running(origin.address) as gateway:
        client = await upgraded(gateway)
        assert await client.read_to_end() == ANSWER + closing(1000, mask=False)
        client.send_fin()
        await gone(gateway)
        assert gateway.counters["TunnelEnd_Target"] == 1


async def test_reset_of_the_client_behind_a_fin_of_the_target_is_the_targets_end() -> None:
    """Both in the same moment: the first counts, and no error of the second socket is laid at the other's door."""
    async with ends() as both:
        both.target.send_fin()
        both.client.reset()
        await gone(both.gateway)
        assert both.end in ("client", "target")
        assert "Failure_TunnelResetByTarget" not in both.gateway.counters


@pytest.mark.parametrize("most", [5, 125, 126, 65535, 65536, 100_000])
async def test_message_of_the_largest_size_passes_and_one_byte_more_does_not(most: int) -> None:
    """Both sides get 1009; not a byte of the large message is passed on, what came before it is."""
    fine, large = frame(BINARY, bytes(most)), frame(BINARY, bytes(most + 1))
    async with ends(alb.TunnelPolicy(max_message_size=most)) as both:
        both.client.send(fine + HELLO[:6] + HELLO[6:] + fine)
        assert await both.target.read_exactly(2 * len(fine) + len(HELLO)) == fine + HELLO + fine
        both.client.send(HELLO + large)
        assert await both.target.read_exactly(len(HELLO)) == HELLO
        await both_say_goodbye(both, 1009, "message too large")
        assert both.end is alb.TunnelEnd.MESSAGE_TOO_LARGE
        assert both.gateway.counters["Failure_TunnelMessageOfClientTooLarge"] == 1


async def test_message_in_parts_is_measured_as_a_whole() -> None:
    """Of the target as well; control frames within it do not count."""
    async with ends(alb.TunnelPolicy(max_message_size=10)) as both:
        first = frame(TEXT, bytes(6), mask=False, fin=False)
        ping = frame(PING, bytes(100), mask=False)
        both.target.send(first + ping + frame(CONTINUATION, bytes(5), mask=False))
        assert await both.client.read_exactly(len(first + ping)) == first + ping
        await both_say_goodbye(both, 1009, "message too large")
        assert both.gateway.counters["Failure_TunnelMessageOfTargetTooLarge"] == 1


async def test_limit_on_messages_cannot_be_slipped_by_bytes_that_are_no_frames() -> None:
    """What cannot be measured is not passed on: both sides get 1002."""
    async with ends(alb.TunnelPolicy(max_message_size=5)) as both:
        both.client.send(HELLO + frame(TEXT, b"unmasked and long", mask=False) + frame(BINARY, bytes(1000)))
        assert await both.target.read_exactly(len(HELLO)) == HELLO
        await says_goodbye(both.target, mask=False, code=1002, reason="these are no frames")
        assert (await read_frame(both.client)).code == 1002
        both.client.send(bytes(100_000))
        both.client.send_fin()
        await gone(both.gateway)
        assert both.end is alb.TunnelEnd.ERROR
        assert both.gateway.counters["Failure_TunnelClientSendsNoFrames"] == 1


async def test_side_that_has_sent_fin_already_is_told_and_not_waited_for() -> None:
    """The client has nothing to answer with: no grace is spent on it."""
    async with ends() as both:
        both.client.send_fin()
        assert await both.target.read_to_end() == b""
        closed = asyncio.ensure_future(both.tunnel.close(4000))
        assert (await read_frame(both.client)).code == 4000
        assert await both.client.read_to_end() == b""
        both.target.send_fin()
        await closed


async def test_tunnel_that_opens_while_the_load_balancer_stops_is_told_at_once() -> None:
    """Its 101 was on the way; the client gets it, and 1001 behind it."""
    release = asyncio.Event()

    async def late(conversation: Conversation) -> None:
        await conversation.head()
        await release.wait()
        conversation.send(SWITCHED)
        await says_goodbye(conversation, mask=False, code=1001, reason="the load balancer stops")

    async with target(late) as origin, running(origin.address, stop_timeout=5) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/ws", *UPGRADE))
        await origin.arrived()
        while not origin.conversations[0].received:
            await asyncio.sleep(0)
        stopping = asyncio.ensure_future(gateway.load_balancer.stop())
        while gateway.load_balancer.listeners:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        release.set()
        assert (await client.response()).status == 101
        await says_goodbye(client, mask=True, code=1001, reason="the load balancer stops")
        await stopping


@pytest.mark.parametrize("who", ["client", "target"])
async def test_bytes_that_came_before_a_reset_are_delivered(who: str) -> None:
    """Both may come to the load balancer in the same moment; what it has read is not lost with the connection."""
    for _ in range(20):
        async with ends() as both:
            sender, receiver, wire = (both.client, both.target, HELLO) if who == "client" else (both.target, both.client, ANSWER)
            # Past the loop, so that bytes and reset are both there when the load balancer looks.
            with socket.socket(fileno=os.dup(sender.writer.get_extra_info("socket").fileno())) as raw:
                assert raw.send(wire) == len(wire)
            sender.reset()
            with contextlib.suppress(ConnectionResetError):
                await receiver.read_exactly(len(wire))
                await receiver.read()
            assert receiver.received.endswith(wire)
            await gone(both.gateway)

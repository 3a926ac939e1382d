"""Tunnels whose peers, targets or programs are broken or hostile: nothing is lost, nothing lives for ever, nobody else waits."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

import albkit as alb
from tests.functional.test_tls_targets import secure
from tests.support.clock import FakeClock
from tests.support.frames import BINARY, CLOSE, PING, PONG, TEXT, closing, frame, read_frame
from tests.support.gateway import running
from tests.support.peers import Conversation, RawClient, request, target
from tests.support.tunnels import UPGRADE, ends, gone, holding, switching, upgraded

GOODBYE = closing(4000, "bye")
HELLO = frame(TEXT, b"hello")
TINY = frame(BINARY, b"")


async def filled(gateway: object, client: RawClient, conversation: Conversation) -> int:
    """The target has sent more than the client, which does not read, and the kernel take; how much."""
    (tunnel,) = gateway.load_balancer.tunnels  # type: ignore[attr-defined]
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    block = frame(BINARY, bytes(30_000), mask=False)
    sent = 0
    while tunnel.client_leg.transport.get_write_buffer_size() < 60_000:
        conversation.send(block)
        await conversation.drain()
        sent += len(block)
        await asyncio.sleep(0)
    return sent


async def test_client_that_takes_nothing_is_dead_however_many_pings_wait_for_it() -> None:
    """Pings of ours that pile up in front of it are no sign of life."""
    clock = FakeClock()
    policy = alb.TunnelPolicy(ping_interval=10)
    async with target(switching(then=holding)) as origin, running(origin.address, tunnel=policy, clock=clock) as gateway:
        client = await upgraded(gateway, slow=True)
        conversation = await origin.arrived()
        await filled(gateway, client, conversation)
        (tunnel,) = gateway.load_balancer.tunnels
        for _ in range(60):
            clock.advance(1)
            gateway.runtime.sweep.look(clock.now)
            conversation.send(frame(PONG, b"unasked", mask=False))
            await asyncio.sleep(0)
            if tunnel.end is not None:
                break
        assert tunnel.end is alb.TunnelEnd.PONG_TIMEOUT


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
async def test_target_that_closes_loses_none_of_its_bytes(*, tls: bool) -> None:
    """They wait for a slow client; with TLS the target's connection is gone as a whole by then."""
    scheme = "https://" if tls else ""
    # Room enough that the target is still read when it closes.
    roomy = alb.Limits(in_flight=256 * 1024)
    async with (secure if tls else target)(switching(then=holding)) as origin, running(scheme + origin.address, limits=roomy) as gateway:
        client = await upgraded(gateway, slow=True)
        conversation = await origin.arrived()
        sent = await filled(gateway, client, conversation)
        (tunnel,) = gateway.load_balancer.tunnels
        conversation.writer.close()
        while not tunnel.target_leg.received_fin:  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        got = 0
        while data := await client.reader.read(65536):
            got += len(data)
        assert got == sent
        client.send_fin()
        await gone(gateway)
        assert tunnel.end is alb.TunnelEnd.TARGET


@pytest.mark.parametrize("at", range(1, len(GOODBYE)))
async def test_close_while_a_close_frame_is_half_way_lets_it_arrive(at: int) -> None:
    """It is whole, and the only one."""
    async with ends() as both:
        both.client.send(GOODBYE[:at])
        assert await both.target.read_exactly(at) == GOODBYE[:at]
        closed = asyncio.ensure_future(both.tunnel.close())
        assert (await read_frame(both.client)).code == 1001
        both.client.send(GOODBYE[at:])
        assert await both.target.read_exactly(len(GOODBYE) - at) == GOODBYE[at:]
        both.target.send(closing(4000, mask=False))
        assert await both.target.read_to_end() == b""
        assert await both.client.read_to_end() == b""
        both.client.send_fin()
        both.target.send_fin()
        await closed


async def test_half_of_a_second_close_does_not_bring_back_what_the_first_has_ended() -> None:
    """No ping and no Close of ours behind it."""
    async with ends(alb.TunnelPolicy(max_message_size=1000, ping_interval=10)) as both:
        both.client.send(GOODBYE + GOODBYE[:4])
        assert await both.target.read_exactly(len(GOODBYE)) == GOODBYE
        both.later(11)
        closed = asyncio.ensure_future(both.tunnel.close())
        await asyncio.sleep(0)
        both.later(2)
        await closed
        assert await both.target.read_to_end() == b""


async def test_pong_of_ours_does_not_pay_the_other_sides_ping() -> None:
    """The target still waits for the answer to its own."""
    async with ends(alb.TunnelPolicy(idle_timeout=30, ping_interval=10, pong_timeout=5)) as both:
        both.later(10)
        ours = (await read_frame(both.client)).payload
        theirs = (await read_frame(both.target)).payload
        both.target.send(frame(PONG, theirs, mask=False) + frame(PING, b"of the target", mask=False))
        assert (await read_frame(both.client)).payload == b"of the target"
        both.client.send(frame(PONG, ours))
        await both.settle()
        both.later(1)
        both.later(9)
        both.target.send(HELLO[:0] + frame(TEXT, b"x", mask=False))
        assert (await read_frame(both.client)).opcode == TEXT, "no ping of ours, which might be answered in place of the target's"


@pytest.mark.no_cover
async def test_flood_of_tiny_frames_lets_others_have_their_turn() -> None:
    """The one that floods waits a round of the loop behind each chunk of many."""
    async with target(switching(then=holding)) as origin, running(origin.address) as gateway:
        client = await upgraded(gateway)
        flood = asyncio.ensure_future(pour(client))
        conversation = await origin.arrived()
        drain = asyncio.ensure_future(swallow(conversation))
        longest = 0.0
        for _ in range(100):
            # What the processor does in a turn; who else has it meanwhile is no matter of ours.
            before = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - before)
        flood.cancel()
        drain.cancel()
        await asyncio.gather(flood, drain, return_exceptions=True)
        assert longest < 0.25
        (tunnel,) = gateway.load_balancer.tunnels
        assert (tunnel.frames_in or 0) > 10_000


async def pour(client: RawClient) -> None:
    """Tiny frames without end."""
    while True:
        client.writer.write(TINY * 20_000)
        await client.drain()


async def swallow(conversation: Conversation) -> None:
    """Reads without keeping anything."""
    while await conversation.reader.read(1 << 20):
        pass


async def test_recheck_whose_own_work_was_cancelled_does_not_let_the_tunnel_go_on() -> None:
    """What cannot be checked is not allowed, whatever the error is called."""

    async def cancelled(_: alb.Tunnel) -> bool:
        raise asyncio.CancelledError

    async with ends(alb.TunnelPolicy(idle_timeout=1000, recheck=cancelled)) as both:
        both.later(60)
        assert (await read_frame(both.client)).code == 1011
        assert both.end is alb.TunnelEnd.ERROR
        both.client.reset()
        both.target.reset()
        await gone(both.gateway)
        assert both.gateway.counters["Failure_TunnelRecheckFailed"] == 1


async def test_recheck_that_does_not_end_when_it_is_cancelled_holds_nothing_up() -> None:
    """The tunnel is over with its sockets."""
    release = asyncio.Event()
    asked = asyncio.Event()

    async def stubborn(_: alb.Tunnel) -> bool:
        asked.set()
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        return True

    async with ends(alb.TunnelPolicy(idle_timeout=1000, recheck=stubborn)) as both:
        both.later(60)
        await asked.wait()
        both.client.reset()
        await gone(both.gateway)
        assert "ActiveTunnelCount" not in both.gateway.counters
        await both.gateway.load_balancer.stop()
        release.set()
        await asyncio.sleep(0)


async def test_closed_callback_finds_the_tunnel_out_of_the_list_and_counted() -> None:
    """So that a program may compare the two."""
    seen: list[tuple[bool, int]] = []
    async with target(switching(then=holding)) as origin, running(origin.address) as gateway:
        balancer = gateway.load_balancer
        balancer.on_tunnel(closed=lambda tunnel: seen.append((tunnel in balancer.tunnels, balancer.counters["ActiveTunnelCount"])))
        (await upgraded(gateway)).reset()
        await gone(gateway)
        async with asyncio.timeout(5):
            while not seen:
                await asyncio.sleep(0)
    assert seen == [(False, 0)]


async def test_tunnels_are_listed_while_the_load_balancer_waits_for_them() -> None:
    """Whoever wonders why a stop takes its time can see whom it waits for."""
    async with ends(stop_timeout=5) as both:
        stopping = asyncio.ensure_future(both.gateway.load_balancer.stop())
        assert (await read_frame(both.client)).opcode == CLOSE
        assert both.gateway.load_balancer.tunnels == (both.tunnel,)
        both.client.reset()
        both.target.reset()
        await stopping
        assert both.gateway.load_balancer.tunnels == ()


async def test_stop_that_is_cancelled_leaves_nothing_going_on() -> None:
    """Whoever gives up waiting has said that all is to end."""
    async with target(switching(then=holding)) as origin:
        group = alb.TargetGroup("group", origin.address)
        balancer = alb.LoadBalancer(alb.Listener(0, alb.Forward(group), host="127.0.0.1"), stop_timeout=60)
        await balancer.start()
        client = await RawClient.connect(balancer.listeners[0].port)
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 101
        stopping = asyncio.ensure_future(balancer.stop())
        assert (await read_frame(client)).code == 1001
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert await client.is_closed()
        async with asyncio.timeout(5):
            while balancer.tunnels:
                await asyncio.sleep(0)
        await client.close()


async def test_target_that_ends_behind_the_clients_fin_is_not_taken_for_reset() -> None:
    """Both FINs are there, and bytes that the slow client has not read yet: the kernel's state of that is the same as behind a RST."""
    clock = FakeClock()
    async with target(switching(then=holding)) as origin, running(origin.address, clock=clock, idle_timeout=4000) as gateway:
        client = await upgraded(gateway, slow=True)
        conversation = await origin.arrived()
        client.send_fin()
        assert await conversation.read_to_end() == b""
        (tunnel,) = gateway.load_balancer.tunnels
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        block = bytes(60_000)
        sent = 0
        while not tunnel.target_leg.reading_paused:  # type: ignore[attr-defined]
            conversation.send(block)
            sent += len(block)
            await asyncio.sleep(0)
        conversation.send_fin()
        async with asyncio.timeout(5):
            while conversation.writer.transport.get_write_buffer_size():
                client.writer.transport.resume_reading()  # type: ignore[attr-defined]
                await asyncio.sleep(0)
                client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(5):
            clock.advance(1)
            gateway.runtime.sweep.look(clock.now)
            await asyncio.sleep(0)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        got = 0
        while data := await client.reader.read(1 << 20):
            got += len(data)
        assert got == sent
        await gone(gateway)
        assert tunnel.end is alb.TunnelEnd.CLIENT
        assert "Failure_TunnelResetByTarget" not in gateway.counters

"""Targets that come and go while the load balancer runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

import albkit as alb
from albkit.events import (
    CHANGES,
    Event,
    ListenerClosed,
    ListenerOpened,
    LoadBalancerStarted,
    LoadBalancerStopped,
    LoadBalancerStopping,
    TargetDrained,
    TargetRegistered,
    TargetStateChanged,
)
from tests.support.balancing import balancing, listener, named
from tests.support.clock import FakeClock
from tests.support.frames import CLOSE, TEXT, closing, frame, read_frame
from tests.support.gateway import Running, running
from tests.support.peers import Conversation, RawClient, request, target
from tests.support.tunnels import UPGRADE, holding, switching

DRAINING = alb.TargetHealthState.DRAINING
UNAVAILABLE = alb.TargetHealthState.UNAVAILABLE
DELAY = 300.0
"""The default deregistration delay."""


class Held:
    """A target that begins to answer only when told."""

    def __init__(self, beginning: bytes = b"") -> None:
        self.release = asyncio.Event()
        self.beginning = beginning

    async def __call__(self, conversation: Conversation) -> None:
        while True:
            await conversation.head()
            if self.beginning:
                conversation.send(self.beginning)
            await self.release.wait()
            conversation.send(b"late" if self.beginning else b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")


@pytest.fixture(autouse=True)
async def _in_time() -> AsyncIterator[None]:
    """Nothing here waits for real seconds."""
    started = asyncio.get_running_loop().time()
    yield
    assert asyncio.get_running_loop().time() - started < 20


async def busy_with(gateway: Running, path: str = "/slow", *fields: str) -> RawClient:
    """A client whose request is with a target."""
    client = await gateway.client()
    client.send(request("GET", path, *fields))
    async with asyncio.timeout(5):
        while not any(member.outstanding for state in gateway.runtime.registry.groups for member in state.members.values()):
            await asyncio.sleep(0)
    return client


def states(gateway: Running) -> dict[str, alb.TargetHealthState]:
    return {str(one.target): one.state for one in gateway.load_balancer.describe_target_health("group")}


def wait_past(gateway: Running, clock: FakeClock, seconds: float) -> None:
    """Let time pass, and the sweep notice."""
    clock.advance(seconds)
    gateway.runtime.sweep.look(clock.monotonic())


async def test_target_registered_while_running_gets_its_share() -> None:
    """From the next request on, as its weight says."""
    async with named("a", "b", "c") as (a, b, c), running(a.address) as gateway:
        client = await gateway.client()
        assert {(await client.get()).body for _ in range(4)} == {b"a"}
        await gateway.load_balancer.register_targets("group", [b.address, alb.Target("127.0.0.1", c.port, weight=2)])
        seen = b"".join([(await client.get()).body for _ in range(40)])
        assert (seen.count(b"a"), seen.count(b"b"), seen.count(b"c")) == (10, 10, 20)


async def test_registering_a_known_target_changes_its_weight_only() -> None:
    """It stays the same target, with one entry."""
    async with named("a", "b") as (a, b), running(a.address, b.address) as gateway:
        client = await gateway.client()
        await gateway.load_balancer.register_targets("group", alb.Target("127.0.0.1", b.port, weight=3))
        seen = b"".join([(await client.get()).body for _ in range(40)])
        assert (seen.count(b"a"), seen.count(b"b")) == (10, 30)
        assert len(states(gateway)) == 2


async def test_empty_group_comes_to_life() -> None:
    """503 before, 200 after, 503 again once the last target is gone."""
    async with named("a") as (a,), running() as gateway:
        client = await gateway.client()
        assert (await client.get()).status == 503
        await gateway.load_balancer.register_targets("group", a.address)
        assert (await client.get()).body == b"a"
        await gateway.load_balancer.deregister_targets("group", a.address)
        assert (await client.get()).status == 503


async def test_deregistered_target_finishes_what_it_has() -> None:
    """Draining at once, new requests elsewhere, the answer arrives, drained() returns, and no connection to it is left."""
    held = Held()
    async with target(held) as slow, named("b") as (b,), running(slow.address) as gateway:
        balancer = gateway.load_balancer
        client = await busy_with(gateway)
        await balancer.register_targets("group", b.address)
        await balancer.deregister_targets("group", slow.address)
        (one,) = balancer.describe_target_health("group", slow.address)
        assert (one.state, one.reason) == ("draining", "Target.DeregistrationInProgress")
        assert one.description == "Target deregistration is in progress"
        other = await gateway.client()
        assert {(await other.get()).body for _ in range(4)} == {b"b"}
        waiting = asyncio.ensure_future(balancer.drained("group", slow.address))
        await asyncio.sleep(0)
        assert not waiting.done()
        held.release.set()
        async with asyncio.timeout(5):
            assert (await client.response()).body == b"late"
            await waiting
            assert states(gateway) == {b.address: UNAVAILABLE}
            await slow.conversations[0].over.wait()
        assert (await client.get()).body == b"b", "the client's connection goes on"


async def test_idle_connections_to_a_deregistered_target_close() -> None:
    """Nothing will be sent on them any more."""
    async with named("a", "b") as (a, b), running(a.address, b.address) as gateway:
        client = await gateway.client()
        assert {(await client.get()).body for _ in range(2)} == {b"a", b"b"}
        await gateway.load_balancer.deregister_targets("group", a.address)
        async with asyncio.timeout(5):
            await a.conversations[0].over.wait()
            await gateway.load_balancer.drained("group", a.address)
        assert gateway.runtime.connections.count == 1


async def test_sticky_session_of_a_draining_target_moves_on() -> None:
    """A draining target gets no new request, not even from its own sessions."""
    held = Held()
    async with target(held) as slow, named("b") as (b,), running(slow.address, stickiness=alb.LbCookie()) as gateway:
        first = await busy_with(gateway)
        held.release.set()
        answer = await first.response()
        cookie = f"Cookie: {answer.all(b'set-cookie')[0].split(b';')[0].decode()}"
        held.release.clear()
        second = await busy_with(gateway, "/slow", cookie)
        await gateway.load_balancer.register_targets("group", b.address)
        await gateway.load_balancer.deregister_targets("group", slow.address)
        third = await gateway.client()
        assert (await third.get("/", cookie)).body == b"b"
        held.release.set()
        assert (await second.response()).body == b"late"


async def test_exchange_that_outlasts_the_delay_is_502() -> None:
    """Not before the delay, and counted; then the target is drained."""
    clock = FakeClock()
    async with target(Held()) as slow, running(slow.address, clock=clock, idle_timeout=4000) as gateway:
        client = await busy_with(gateway)
        await gateway.load_balancer.deregister_targets("group", slow.address)
        wait_past(gateway, clock, DELAY - 1)
        await asyncio.sleep(0)
        assert states(gateway) == {slow.address: DRAINING}
        wait_past(gateway, clock, 1)
        async with asyncio.timeout(5):
            assert (await client.response()).status == 502
            await gateway.load_balancer.drained("group", slow.address)
            assert await slow.conversations[0].is_closed()
        assert gateway.counters["Failure_DeregistrationDelayOver"] == 1
        assert gateway.counters["HTTPCode_ELB_502_Count"] == 1
        assert states(gateway) == {}
        assert (await client.get()).status == 503


async def test_response_that_outlasts_the_delay_is_cut() -> None:
    """The client sees that it is not whole."""
    clock = FakeClock()
    held = Held(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nearly")
    async with target(held) as slow, running(slow.address, clock=clock, idle_timeout=4000) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/"))
        assert b" 200 " in await client.read_until(b"early")
        await gateway.load_balancer.deregister_targets("group", slow.address)
        wait_past(gateway, clock, DELAY)
        assert await client.is_closed()
        async with asyncio.timeout(5):
            await gateway.load_balancer.drained("group", slow.address)
        assert gateway.counters["Failure_DeregistrationDelayOver"] == 1
        assert "HTTPCode_ELB_5XX_Count" not in gateway.counters or gateway.counters["HTTPCode_ELB_5XX_Count"] == 1


async def test_delay_of_nothing_ends_what_goes_on_with_the_next_sweep() -> None:
    """`deregistration_delay=0`."""
    clock = FakeClock()
    async with target(Held()) as slow:
        group = alb.TargetGroup("group", slow.address, deregistration_delay=0)
        async with alb.LoadBalancer(alb.Listener(0, alb.Forward(group), host="127.0.0.1"), clock=clock) as balancer:
            gateway = Running(balancer)
            client = await busy_with(gateway)
            await balancer.deregister_targets("group", slow.address)
            wait_past(gateway, clock, 0)
            async with asyncio.timeout(5):
                assert (await client.response()).status == 502
            await client.close()


async def test_tunnel_of_a_drained_target_ends_within_the_spread() -> None:
    """It goes on until then, counts as outstanding, gets Close 1001 on both sides, and ends in good order behind their answers."""
    clock = FakeClock()
    async with target(switching(then=holding)) as origin, running(origin.address, clock=clock, idle_timeout=4000) as gateway:
        client = await busy_with(gateway, "/ws", *UPGRADE)
        assert (await client.response()).status == 101
        conversation = await origin.arrived()
        await gateway.load_balancer.deregister_targets("group", origin.address)
        waiting = asyncio.ensure_future(gateway.load_balancer.drained("group", origin.address))
        # One tunnel, and the clock's chance is a half: it is closed in the middle of the 30 seconds before the delay is over.
        wait_past(gateway, clock, DELAY - 15.5)
        hello = frame(TEXT, b"still here")
        client.send(hello)
        assert (await conversation.read_until(hello)).endswith(hello)
        assert not waiting.done()
        wait_past(gateway, clock, 1)
        for peer in (client, conversation):
            close = await read_frame(peer)
            assert (close.opcode, close.code, close.reason) == (CLOSE, 1001, "the target goes away")
            peer.send(closing(1001, mask=peer is client))
        for peer in (client, conversation):
            assert await peer.is_closed()
            await peer.close()
        async with asyncio.timeout(5):
            await waiting
        assert gateway.counters["TunnelEnd_Drain"] == 1
        assert gateway.counters.get("ActiveTunnelCount", 0) == 0


async def test_silent_tunnel_is_cut_when_the_grace_is_over() -> None:
    """Ends that do not answer our Close are cut two seconds later, with no more than that Close."""
    clock = FakeClock()
    async with target(switching(then=holding)) as origin, running(origin.address, clock=clock, idle_timeout=4000) as gateway:
        client = await busy_with(gateway, "/ws", *UPGRADE)
        assert (await client.response()).status == 101
        await gateway.load_balancer.deregister_targets("group", origin.address)
        waiting = asyncio.ensure_future(gateway.load_balancer.drained("group", origin.address))
        wait_past(gateway, clock, DELAY)
        assert (await read_frame(client)).code == 1001
        wait_past(gateway, clock, 1.9)
        assert not waiting.done()
        assert gateway.load_balancer.tunnels
        wait_past(gateway, clock, 0.1)
        async with asyncio.timeout(5):
            await waiting
        assert await client.is_closed()


async def test_target_registered_again_while_it_drains_comes_back() -> None:
    """It gets requests again, what goes on goes on past the old delay, and whoever waits for the drain is told."""
    held = Held()
    clock = FakeClock()
    async with target(held) as slow, running(slow.address, clock=clock, idle_timeout=4000) as gateway:
        balancer = gateway.load_balancer
        client = await busy_with(gateway)
        await balancer.deregister_targets("group", slow.address)
        waiting = asyncio.ensure_future(balancer.drained("group", slow.address))
        await asyncio.sleep(0)
        await balancer.register_targets("group", slow.address)
        assert states(gateway) == {slow.address: UNAVAILABLE}
        async with asyncio.timeout(5):
            await waiting
        wait_past(gateway, clock, DELAY + 1)
        held.release.set()
        async with asyncio.timeout(5):
            assert (await client.response()).body == b"late"
            assert (await client.get()).body == b"late"


async def test_target_registered_again_behind_its_drain_starts_anew() -> None:
    """It was forgotten, and is a new one."""
    async with named("a") as (a,), running(a.address) as gateway:
        client = await gateway.client()
        for _ in range(3):
            assert (await client.get()).body == b"a"
            await gateway.load_balancer.deregister_targets("group", a.address)
            await gateway.load_balancer.register_targets("group", a.address)


async def test_deregistering_the_unknown_and_the_draining_is_no_fault() -> None:
    """As in ALB; a second time does not stretch the delay."""
    clock = FakeClock()
    async with target(Held()) as slow, running(slow.address, clock=clock, idle_timeout=4000) as gateway:
        balancer = gateway.load_balancer
        await balancer.deregister_targets("group", ["127.0.0.1:1", "unix:/nowhere"])
        assert states(gateway) == {slow.address: UNAVAILABLE}
        client = await busy_with(gateway)
        await balancer.deregister_targets("group", slow.address)
        wait_past(gateway, clock, DELAY - 1)
        await balancer.deregister_targets("group", slow.address)
        wait_past(gateway, clock, 1)
        async with asyncio.timeout(5):
            assert (await client.response()).status == 502


async def test_drained_returns_at_once_where_nothing_drains() -> None:
    """An unknown group, an unknown target, and one in full use."""
    async with named("a") as (a,), running(a.address) as gateway:
        async with asyncio.timeout(1):
            await gateway.load_balancer.drained("nobody", a.address)
            await gateway.load_balancer.drained("group", "127.0.0.1:1")
            await gateway.load_balancer.drained("group", a.address)


async def test_drained_that_takes_too_long_is_a_timeout_error() -> None:
    """The drain itself goes on, others may wait for it, and a wait may be given up."""
    held = Held()
    async with target(held) as slow, running(slow.address) as gateway:
        client = await busy_with(gateway)
        await gateway.load_balancer.deregister_targets("group", slow.address)
        others = [asyncio.ensure_future(gateway.load_balancer.drained("group", slow.address)) for _ in range(3)]
        with pytest.raises(TimeoutError):
            await gateway.load_balancer.drained("group", slow.address, timeout=0.05)
        assert states(gateway) == {slow.address: DRAINING}
        others[0].cancel()
        held.release.set()
        async with asyncio.timeout(5):
            await client.response()
            await asyncio.gather(*others[1:])
        assert (await asyncio.gather(others[0], return_exceptions=True))[0].__class__ is asyncio.CancelledError


async def test_stop_ends_the_wait_for_a_drain() -> None:
    """Whoever waits is not left behind."""
    async with target(Held()) as slow, running(slow.address) as gateway:
        await busy_with(gateway)
        await gateway.load_balancer.deregister_targets("group", slow.address)
        waiting = asyncio.ensure_future(gateway.load_balancer.drained("group", slow.address))
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await gateway.load_balancer.stop()
            await waiting


async def test_health_is_described_in_albs_words() -> None:
    """Without health checks `unavailable`; an unknown target is `unused`, with the reason."""
    async with running("10.0.0.1:80", "[2001:db8::1]:80") as gateway:
        described = gateway.load_balancer.describe_target_health("group")
        assert [str(one.target) for one in described] == ["10.0.0.1:80", "[2001:db8::1]:80"]
        assert {(one.state, one.reason, one.description) for one in described} == {
            ("unavailable", "Target.HealthCheckDisabled", "Health checks are disabled for this target group")
        }
        known, unknown = gateway.load_balancer.describe_target_health("group", ["http://10.0.0.1:80", "10.0.0.9:80"])
        assert known.state == "unavailable"
        assert (unknown.state, unknown.reason) == ("unused", "Target.NotRegistered")
        assert unknown.description == "Target is not registered to the target group"
        assert str(unknown.target) == "10.0.0.9:80"


async def test_events_tell_what_happens_in_order() -> None:
    """From the listener's opening to its closing; who has unsubscribed is told no more."""
    events: list[Event] = []
    early: list[Event] = []
    async with named("a", "b") as (a, b):
        balancer = alb.LoadBalancer(alb.Listener(0, alb.Forward(alb.TargetGroup("group", a.address)), name="door", host="127.0.0.1"))
        balancer.subscribe(events.append, *CHANGES)
        unsubscribe = balancer.subscribe(early.append, *CHANGES)
        await balancer.start()
        port = balancer.listeners[0].port
        unsubscribe()
        unsubscribe()
        await balancer.register_targets("group", b.address)
        await balancer.deregister_targets("group", a.address)
        await balancer.stop()
        one, two = alb.Target("127.0.0.1", a.port), alb.Target("127.0.0.1", b.port)
        assert events == [
            ListenerOpened("door", port),
            LoadBalancerStarted("albkit", 1, 1, 1),
            TargetRegistered("group", two),
            TargetStateChanged("group", one, DRAINING, alb.TargetHealthReason.DEREGISTRATION_IN_PROGRESS),
            TargetDrained("group", one),
            LoadBalancerStopping("albkit", 5, 0, 0),
            ListenerClosed("door", port),
            LoadBalancerStopped("albkit"),
        ]
        assert early == events[:2]


async def test_events_of_a_target_that_comes_back() -> None:
    """Draining, then as it was; no drain is told of."""
    events: list[Event] = []
    held = Held()
    async with target(held) as slow, running(slow.address) as gateway:
        client = await busy_with(gateway)
        gateway.load_balancer.subscribe(events.append, *CHANGES)
        await gateway.load_balancer.deregister_targets("group", slow.address)
        await gateway.load_balancer.register_targets("group", slow.address)
        held.release.set()
        await client.response()
        assert [(type(event), getattr(event, "state", None)) for event in events] == [
            (TargetStateChanged, DRAINING),
            (TargetStateChanged, UNAVAILABLE),
        ]


async def test_subscriber_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged and stays, the others are told, and what it was told of is done."""
    events: list[Event] = []
    told: list[Event] = []

    def fragile(event: Event) -> None:
        told.append(event)
        raise RuntimeError("no news please")

    async with named("a", "b") as (a, b), running(a.address) as gateway:
        gateway.load_balancer.subscribe(fragile)
        gateway.load_balancer.subscribe(events.append, *CHANGES)
        with caplog.at_level(logging.ERROR, "albkit"):
            await gateway.load_balancer.register_targets("group", b.address)
            await gateway.load_balancer.deregister_targets("group", b.address)
        assert [type(event) for event in events] == [TargetRegistered, TargetStateChanged, TargetDrained]
        assert told == events
        assert sum("no news please" in (record.exc_text or str(record.exc_info)) for record in caplog.records) == 3
        assert (await (await gateway.client()).get()).body == b"a"


async def test_unknown_group_is_a_lookup_error_that_names_those_there_are() -> None:
    """For each method that asks for a group."""
    async with running("10.0.0.1:80") as gateway:
        balancer = gateway.load_balancer
        pattern = r"^\"?there is no target group 'groop'; the groups are \['group'\]\"?$"
        with pytest.raises(LookupError, match=pattern):
            await balancer.register_targets("groop", "10.0.0.1:80")
        with pytest.raises(LookupError, match=pattern):
            await balancer.deregister_targets("groop", "10.0.0.1:80")
        with pytest.raises(LookupError, match=pattern):
            balancer.describe_target_health("groop")


async def test_targets_that_cannot_be_read_are_all_named() -> None:
    """A ConfigurationError with the place of each, and nothing is changed."""
    async with running("10.0.0.1:80") as gateway:
        for method in (gateway.load_balancer.register_targets, gateway.load_balancer.deregister_targets):
            with pytest.raises(alb.ConfigurationError) as caught:
                await method("group", ["10.0.0.1:80", "nonsense", "10.0.0.2:80", 7])
            assert [fault.partition(":")[0] for fault in caught.value.faults] == ["[1]", "[3]"]
        assert states(gateway) == {"10.0.0.1:80": UNAVAILABLE}


async def test_load_balancer_that_does_not_run_says_so() -> None:
    """A RuntimeError that tells what to do."""
    balancer = alb.LoadBalancer(alb.Listener(0, alb.Forward(alb.TargetGroup("group")), host="127.0.0.1"))
    with pytest.raises(RuntimeError, match=r"not running; await start\(\) first"):
        await balancer.register_targets("group", "10.0.0.1:80")
    with pytest.raises(RuntimeError, match="not running"):
        await balancer.deregister_targets("group", "10.0.0.1:80")
    with pytest.raises(RuntimeError, match="not running"):
        await balancer.drained("group", "10.0.0.1:80")
    with pytest.raises(RuntimeError, match="not running"):
        balancer.describe_target_health("group")
    with pytest.raises(RuntimeError, match="not running"):
        balancer.explain("GET", "http://x/")
    with pytest.raises(RuntimeError, match="not running"):
        await balancer.apply(alb.Listener(0, alb.FixedResponse(200)))


async def test_registering_a_target_of_another_protocol_is_refused() -> None:
    """As it is in the declared list; nothing is registered then."""
    group = alb.TargetGroup("group", [], protocol="HTTP")
    async with balancing(listener(alb.Forward(group))) as it:
        with pytest.raises(alb.ConfigurationError, match=r"\[1\]: its protocol HTTPS differs from the group's protocol HTTP"):
            await it.load_balancer.register_targets("group", ["127.0.0.1:1", "https://127.0.0.1:2"])
        assert it.load_balancer.describe_target_health("group") == []

"""A new description is put in force as a difference, while requests and tunnels go on."""

from __future__ import annotations

import asyncio
import socket

import pytest

import albkit as alb
from albkit.events import (
    CHANGES,
    ConfigurationApplied,
    Event,
    ListenerClosed,
    ListenerOpened,
    TargetDrained,
    TargetRegistered,
    TargetStateChanged,
)
from tests.functional.test_hooks import Keeper
from tests.support.balancing import Balancing, balancing, listener, named
from tests.support.clock import first_in_order
from tests.support.peers import Conversation, RawClient, free_port, request, target
from tests.support.tunnels import SWITCHED, UPGRADE, echo, switching


def targets_of(it: Balancing, group: str) -> list[str]:
    """Those that get new requests."""
    described = it.load_balancer.describe_target_health(group)
    return sorted(str(one.target) for one in described if one.state != alb.TargetHealthState.DRAINING)


# Under load.


class Load:
    """Clients that ask without end, on one connection each, and keep count."""

    def __init__(self) -> None:
        self.answered = 0
        self.posted = 0
        self.over = False
        self._more = asyncio.Event()

    async def ask(self, client: RawClient, method: str) -> None:
        """Every answer must be good, and the connection must stay."""
        while not self.over:
            body = b"%d" % self.answered
            fields = (f"Content-Length: {len(body)}",) if method == "POST" else ()
            client.send(request(method, f"/{self.answered % 3}/x", *fields, body=body if fields else b""))
            answer = await client.response()
            assert answer.status == 200, answer
            assert answer.complete
            assert answer.get(b"connection") is None
            self.answered += 1
            self.posted += method == "POST"
            self._more.set()

    async def some_more(self, count: int) -> None:
        """Wait until so many more answers have come."""
        wanted = self.answered + count
        while self.answered < wanted:
            self._more.clear()
            await self._more.wait()


def rule(priority: int, path: str, *groups: alb.TargetGroup) -> alb.Rule:
    return alb.Rule(priority, alb.PathPattern(path), alb.Forward(dict.fromkeys(groups, 1)))


async def test_hundred_changes_under_load_fail_no_request() -> None:
    """Rules, weights, targets, groups and listeners come and go 100 times: no failed request, no tunnel touched, nothing left behind."""
    async with (
        Keeper() as a,
        Keeper() as b,
        Keeper() as c,
        Keeper() as d,
        target(switching(SWITCHED, echo)) as upgrades,
    ):
        ws = alb.TargetGroup("ws", upgrades.address)
        ws_rule = alb.Rule(1, alb.HttpHeader("Upgrade", "websocket"), alb.Forward(ws))

        def first() -> list[alb.Listener]:
            web = alb.TargetGroup("web", [a.address, b.address])
            return [listener(alb.Forward(web), ws_rule, rule(10, "/1/*", web), name="main")]

        def second() -> list[alb.Listener]:
            web = alb.TargetGroup("web", [alb.Target("127.0.0.1", b.port, weight=3), c.address], algorithm="least_outstanding_requests")
            api = alb.TargetGroup("api", d.address)
            main = listener(
                alb.Forward({web: 3, api: 1}, stickiness=60), ws_rule, rule(5, "/2/*", api), rule(7, "/0/*", web, api), name="main"
            )
            return [main, listener(alb.Forward(web), rule(1, "/1/*", api), name="extra")]

        def third() -> list[alb.Listener]:
            web = alb.TargetGroup("web", [d.address, c.address, a.address], algorithm="weighted_random")
            return [listener(alb.Forward(web), ws_rule, name="extra"), listener(alb.Forward(web), ws_rule, name="main")]

        descriptions = [first, second, third]
        async with balancing(*first()) as it:
            balancer = it.load_balancer
            gateway = it.runtime
            port = it.port
            tunnel = await it.client()
            tunnel.send(request("GET", "/ws", *UPGRADE))
            assert (await tunnel.response()).status == 101
            swept = len(gateway.sweep._swept) - 1  # The first connection to a target is swept as a tunnel now.
            load = Load()
            clients = [await it.client() for _ in range(6)]
            async with asyncio.timeout(50), asyncio.TaskGroup() as tasks:
                for place, client in enumerate(clients):
                    tasks.create_task(load.ask(client, "POST" if place % 2 else "GET"))
                await load.some_more(6)
                counted = balancer.counters["RequestCount"]
                for turn in range(1, 101):
                    await balancer.apply(descriptions[turn % 3]())
                    await load.some_more(8)
                    if turn % 3:
                        extra = next(one for one in balancer.listeners if one.listener.name == "extra")
                        other = await RawClient.connect(extra.port)
                        assert (await other.get("/1/x")).status == 200
                        await other.close()
                    assert balancer.counters["RequestCount"] >= max(counted, load.answered)
                    counted = balancer.counters["RequestCount"]
                    main = next(one for one in balancer.listeners if one.listener.name == "main")
                    assert main.port == port
                    tunnel.send(b"turn %3d" % turn)
                    assert await tunnel.read_exactly(8) == b"turn %3d" % turn
                load.over = True
            assert load.posted > 100
            assert not [name for name in it.counters if name.startswith(("Failure", "HTTPCode_ELB"))], it.counters
            assert it.counters["TunnelCount"] == it.counters["ActiveTunnelCount"] == 1
            await balancer.apply(first())
            for client in clients:
                await client.close()
            async with asyncio.timeout(5):
                while len(gateway.clients) > 0:
                    await asyncio.sleep(0)
            assert sorted(gateway.choices) == sorted(state.group.name for state in gateway.registry.groups) == ["web", "ws"]
            assert targets_of(it, "web") == sorted([a.address, b.address])
            assert balancer._registration is not None
            assert balancer._registration._draining == {}
            members = {member for choice in gateway.choices.values() for member in choice.group.members.values()}
            assert {connection.member for connection in gateway.connections._open} <= members
            idle = gateway.connections.count
            assert len(gateway.sweep._swept) - idle <= swept + 1
            assert [len(origin.heads) > 0 for origin in (a, b, c, d)] == [True] * 4


async def test_exchange_keeps_the_rule_it_began_with() -> None:
    """A request that was routed before the change is answered by its target; the next one on the same connection is routed anew."""
    release = asyncio.Event()

    async def slow(conversation: Conversation) -> None:
        await conversation.head()
        await release.wait()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")
        await conversation.read_to_end()

    async with target(slow) as origin, balancing(listener(alb.Forward(alb.TargetGroup("old", origin.address)), name="door")) as it:
        client = await it.client()
        client.send(request("GET", "/"))
        await origin.arrived()
        await it.load_balancer.apply(listener(alb.FixedResponse(200, "new"), name="door"))
        assert list(it.runtime.choices) == []
        release.set()
        async with asyncio.timeout(5):
            assert (await client.response()).body == b"old"
            assert (await client.get()).body == b"new"
            await origin.conversations[0].over.wait()


async def test_group_that_goes_drains_its_targets() -> None:
    """Its events are told, and its idle connections close."""
    events: list[Event] = []
    async with named("a") as (a,), balancing(listener(alb.Forward(alb.TargetGroup("old", a.address)), name="door")) as it:
        assert (await (await it.client()).get()).body == b"a"
        it.load_balancer.subscribe(events.append, *CHANGES)
        await it.load_balancer.apply(listener(alb.FixedResponse(200), name="door"))
        async with asyncio.timeout(5):
            await a.conversations[0].over.wait()
        assert [type(event) for event in events] == [TargetStateChanged, TargetDrained, ConfigurationApplied]
        assert events[-1] == ConfigurationApplied(1, 0)
        with pytest.raises(LookupError):
            it.load_balancer.describe_target_health("old")


# Targets.


async def test_targets_registered_at_run_time_stay() -> None:
    """Unless their group's declared list has changed, whatever else has."""
    async with named("a", "b", "c") as (a, b, c):  # noqa: SIM117 - one line would be too long
        async with balancing(listener(alb.Forward(alb.TargetGroup("web", a.address)), name="door")) as it:
            balancer = it.load_balancer
            await balancer.register_targets("web", b.address)
            changed = alb.TargetGroup("web", a.address, algorithm="weighted_random", deregistration_delay=7)
            await balancer.apply(listener(alb.Forward(changed), alb.Rule(1, alb.PathPattern("/x"), alb.FixedResponse(200)), name="door"))
            assert targets_of(it, "web") == sorted([a.address, b.address])
            await balancer.deregister_targets("web", a.address)
            await balancer.apply(listener(alb.Forward(changed), name="door"))
            assert targets_of(it, "web") == [b.address], "nor does a target that was deregistered come back"
            client = await it.client()
            assert {(await client.get()).body for _ in range(4)} == {b"b"}
            await balancer.apply(listener(alb.Forward(alb.TargetGroup("web", [a.address, c.address])), name="door"))
            assert targets_of(it, "web") == sorted([a.address, c.address])
            assert {(await client.get()).body for _ in range(4)} == {b"a", b"c"}


async def test_new_weight_of_a_declared_target_is_taken() -> None:
    """The target stays the same one, with its connections."""
    events: list[Event] = []
    async with named("a", "b") as (a, b):

        def description(weight: int) -> alb.Listener:
            targets = [a.address, alb.Target("127.0.0.1", b.port, weight=weight)]
            return listener(alb.Forward(alb.TargetGroup("web", targets)), name="door")

        async with balancing(description(1)) as it:
            client = await it.client()
            assert {(await client.get()).body for _ in range(2)} == {b"a", b"b"}
            it.load_balancer.subscribe(events.append, *CHANGES)
            await it.load_balancer.apply(description(3))
            seen = b"".join([(await client.get()).body for _ in range(40)])
            assert (seen.count(b"a"), seen.count(b"b")) == (10, 30)
            assert [type(event) for event in events] == [ConfigurationApplied]
            assert len(a.conversations) == len(b.conversations) == 1


async def test_same_description_again_touches_nothing() -> None:
    """Rotation, connections and targets stay; only the event is told."""
    events: list[Event] = []
    async with named("a", "b") as (a, b):
        door = listener(alb.Forward(alb.TargetGroup("web", [a.address, b.address])))
        async with balancing(door) as it:
            it.load_balancer.subscribe(events.append, *CHANGES)
            client = await it.client()
            seen = []
            for _ in range(6):
                seen.append((await client.get()).body)
                await it.load_balancer.apply([door])
            assert seen in ([b"a", b"b"] * 3, [b"b", b"a"] * 3)
            assert events == [ConfigurationApplied(1, 1)] * 6
            assert len(a.conversations) == len(b.conversations) == 1


async def test_target_that_drains_and_is_declared_again_comes_back() -> None:
    """Its exchange is not cut by the delay of the time before."""
    async with named("a", "b") as (a, b):

        def description(*targets: str) -> alb.Listener:
            return listener(alb.Forward(alb.TargetGroup("web", targets)), name="door")

        async with balancing(description(a.address, b.address), clock=first_in_order()) as it:
            slow = await it.client()
            slow.send(request("POST", "/", "Content-Length: 1"))
            await a.arrived()
            await it.load_balancer.apply(description(b.address))
            assert {one.state for one in it.load_balancer.describe_target_health("web")} == {"draining", "unavailable"}
            await it.load_balancer.apply(description(a.address, b.address))
            assert {one.state for one in it.load_balancer.describe_target_health("web")} == {"unavailable"}
            slow.send(b"x")
            assert (await slow.response()).body == b"a"


# Listeners.


async def test_removed_listener_closes_its_port_and_its_connections() -> None:
    """Idle ones at once, a busy one behind its exchange, a tunnel not at all; the other listener notices nothing."""
    events: list[Event] = []
    async with named("a") as (a,), target(switching(SWITCHED, echo)) as upgrades:
        web = alb.TargetGroup("web", a.address)
        ws = alb.Rule(1, alb.PathPattern("/ws"), alb.Forward(alb.TargetGroup("ws", upgrades.address)))
        stays, goes = listener(alb.Forward(web), ws, name="stays"), listener(alb.Forward(web), ws, name="goes")
        async with balancing(stays, goes) as it:
            port = it.load_balancer.listeners[1].port
            it.load_balancer.subscribe(events.append, *CHANGES)
            here, idle, fresh, busy, tunnel = await it.client(), *[await it.client_of(1) for _ in range(4)]
            assert (await here.get()).status == (await idle.get()).status == 200
            busy.send(request("POST", "/", "Content-Length: 1"))
            (member,) = it.runtime.choices["web"].group.members.values()
            async with asyncio.timeout(5):
                while not member.outstanding:
                    await asyncio.sleep(0)
            tunnel.send(request("GET", "/ws", *UPGRADE))
            assert (await tunnel.response()).status == 101
            await it.load_balancer.apply(stays)
            assert await idle.is_closed()
            assert await fresh.is_closed()
            busy.send(b"x")
            answer = await busy.response()
            assert (answer.body, answer.get(b"connection")) == (b"a", b"close")
            assert await busy.is_closed()
            tunnel.send(b"on and on")
            assert await tunnel.read_exactly(9) == b"on and on"
            with pytest.raises(ConnectionRefusedError):
                await RawClient.connect(port)
            assert (await here.get()).status == 200
            assert events == [ListenerClosed("goes", port), ConfigurationApplied(1, 2)]
            assert [one.listener.name for one in it.load_balancer.listeners] == ["stays"]


async def test_added_listener_opens_and_comes_in_its_place() -> None:
    """The listeners are told in the order of the description; a removed port can be opened again."""
    events: list[Event] = []
    one = listener(alb.FixedResponse(200, "one"), name="one")
    async with balancing(one) as it:
        it.load_balancer.subscribe(events.append, *CHANGES)
        kept = it.port
        for _ in range(3):
            port = free_port()
            two = alb.Listener(port, alb.FixedResponse(200, "two"), name="two", host="127.0.0.1")
            await it.load_balancer.apply([two, one])
            assert [running.port for running in it.load_balancer.listeners] == [port, kept]
            client = await it.client_of(0)
            assert (await client.get()).body == b"two"
            await it.load_balancer.apply([one])
            await it.load_balancer.apply([two, one])
            client = await it.client_of(0)
            assert (await client.get()).body == b"two"
            await it.load_balancer.apply([one])
        assert [type(event) for event in events] == [ListenerOpened, ConfigurationApplied, ListenerClosed, ConfigurationApplied] * 6


async def test_named_listener_moves_to_another_port() -> None:
    """The new port opens before the old one closes."""
    async with balancing(listener(alb.FixedResponse(200, "here"), name="door")) as it:
        before = it.port
        port = free_port()
        await it.load_balancer.apply(alb.Listener(port, alb.FixedResponse(200, "there"), name="door", host="127.0.0.1"))
        assert it.port == port
        assert (await (await it.client()).get()).body == b"there"
        with pytest.raises(ConnectionRefusedError):
            await RawClient.connect(before)


async def test_listeners_without_a_name_are_known_by_host_port_and_place() -> None:
    """Two of port 0 keep their ports and swap nothing."""
    one, two = listener(alb.FixedResponse(200, "one")), listener(alb.FixedResponse(200, "two"))
    async with balancing(one, two) as it:
        ports = [running.port for running in it.load_balancer.listeners]
        await it.load_balancer.apply([listener(alb.FixedResponse(200, "uno")), listener(alb.FixedResponse(200, "due"))])
        assert [running.port for running in it.load_balancer.listeners] == ports
        assert [(await (await it.client_of(place)).get()).body for place in (0, 1)] == [b"uno", b"due"]


async def test_port_that_cannot_be_opened_changes_nothing() -> None:
    """OSError with the reason; rules, targets, groups and listeners are as before, and no port stays open."""
    events: list[Event] = []
    async with named("a", "b") as (a, b):
        before = listener(alb.Forward(alb.TargetGroup("web", a.address)), name="door")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = free_port()
            after = [
                listener(alb.Forward(alb.TargetGroup("web", b.address)), name="door"),
                alb.Listener(port, alb.Forward(alb.TargetGroup("new", b.address)), name="first", host="127.0.0.1"),
                alb.Listener(taken.getsockname()[1], alb.FixedResponse(200), name="second", host="127.0.0.1"),
            ]
            async with balancing(before) as it:
                it.load_balancer.subscribe(events.append, *CHANGES)
                client = await it.client()
                with pytest.raises(OSError, match="the port is in use"):
                    await it.load_balancer.apply(after)
                assert {(await client.get()).body for _ in range(3)} == {b"a"}
                assert targets_of(it, "web") == [a.address]
                assert list(it.runtime.choices) == ["web"]
                assert [one.listener for one in it.load_balancer.listeners] == [before]
                assert events == []
                with pytest.raises(ConnectionRefusedError):
                    await RawClient.connect(port)
                await it.load_balancer.apply(after[:2])
                assert {(await client.get()).body for _ in range(3)} == {b"b"}


async def test_description_with_faults_changes_nothing() -> None:
    """A ConfigurationError that lists them all."""
    async with balancing(listener(alb.FixedResponse(200, "old"), name="door")) as it:
        twice = listener(alb.FixedResponse(200, "new"), name="door")
        with pytest.raises(alb.ConfigurationError):
            await it.load_balancer.apply([twice, twice])
        with pytest.raises(alb.ConfigurationError):
            await it.load_balancer.apply([])
        assert (await (await it.client()).get()).body == b"old"


async def test_changes_at_the_same_time_are_made_one_after_the_other() -> None:
    """The last one asked for is in force at the end, and no listener is left open."""
    async with balancing(listener(alb.FixedResponse(200, "0"), name="door")) as it:
        closed: list[Event] = []
        it.load_balancer.subscribe(closed.append, *CHANGES)

        def description(turn: int) -> list[alb.Listener]:
            return [listener(alb.FixedResponse(200, str(turn)), name="door"), listener(alb.FixedResponse(200), name=f"extra{turn}")]

        await asyncio.gather(*[it.load_balancer.apply(description(turn)) for turn in range(1, 6)])
        assert (await (await it.client()).get()).body == b"5"
        assert [one.listener.name for one in it.load_balancer.listeners] == ["door", "extra5"]
        opened = {event.port for event in closed if isinstance(event, ListenerOpened)}
        assert opened - {event.port for event in closed if isinstance(event, ListenerClosed)} == {it.load_balancer.listeners[1].port}


async def test_described_listeners_come_back_with_the_next_start() -> None:
    """What was applied is what a restart opens; targets registered at run time are not in the description."""
    events: list[Event] = []
    async with named("a", "b") as (a, b), balancing(listener(alb.FixedResponse(200, "old"), name="door")) as it:
        await it.load_balancer.apply(listener(alb.Forward(alb.TargetGroup("web", a.address)), name="door"))
        it.load_balancer.subscribe(events.append, *CHANGES)
        await it.load_balancer.register_targets("web", b.address)
        await it.load_balancer.stop()
        await it.load_balancer.start()
        client = await it.client()
        assert {(await client.get()).body for _ in range(4)} == {b"a"}
        assert isinstance(events[0], TargetRegistered)
        assert it.counters["RequestCount"] == 4


async def test_listener_that_gets_another_name_keeps_its_port_and_its_connections() -> None:
    """The same door under another name is not opened a second time."""
    port = free_port()
    async with balancing(alb.Listener(port, alb.FixedResponse(200, "old"), host="127.0.0.1", name="old")) as it:
        client = await it.client()
        assert (await client.get()).body == b"old"
        await it.load_balancer.apply(alb.Listener(port, alb.FixedResponse(200, "new"), host="127.0.0.1", name="new"))
        assert (await client.get()).body == b"new"
        (running,) = it.load_balancer.listeners
        assert (running.listener.name, running.port) == ("new", port)


async def test_drain_of_a_group_that_is_gone_can_be_awaited() -> None:
    """`drained` knows its targets as long as something goes on with them."""
    release = asyncio.Event()

    async def slow(conversation: Conversation) -> None:
        await conversation.head()
        await release.wait()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await conversation.read_to_end()

    async with target(slow) as origin:
        group = alb.TargetGroup("going", origin.address)
        async with balancing(listener(alb.Forward(group))) as it:
            client = await it.client()
            client.send(request("GET", "/"))
            await origin.arrived()
            await it.load_balancer.apply(listener(alb.FixedResponse(404)))
            waiting = asyncio.ensure_future(it.load_balancer.drained("going", origin.address))
            with pytest.raises(TimeoutError):
                await it.load_balancer.drained("going", origin.address, timeout=0.05)
            assert not waiting.done()
            release.set()
            assert (await client.response()).status == 200
            async with asyncio.timeout(5):
                await waiting

"""Groups whose targets are found by name, over a real name server: they follow it, and nobody notices."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import albkit as alb
from albkit import events
from tests.functional.test_registration import Held
from tests.functional.test_tls_targets import AUTHORITY, secure
from tests.support.balancing import Balancing, balancing, named
from tests.support.clock import FakeClock, first_in_order
from tests.support.log_lines import about
from tests.support.name_server import NameServer, name_server
from tests.support.peers import RawClient, Target, request, target

SERVICE = "_http._tcp.api.test"
OTHER = "_http._tcp.other.test"
SOON = 0.02
"""Seconds between two queries."""
HERE = "here.test"
"""Whose address is this machine's."""


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with name_server() as running:
        running.put(HERE, "A", "127.0.0.1")
        yield running


def serve(server: NameServer, *origins: Target, name: str = SERVICE, weight: int = 1) -> None:
    """From now on a name stands for these targets."""
    server.put(name, "SRV", *(f"0 {weight} {origin.port} {HERE}." for origin in origins))


def service(server: NameServer, host: str = SERVICE, **settings: Any) -> alb.DnsName:
    """A name that is asked for again soon."""
    given: dict[str, Any] = {"min_ttl": SOON, "max_ttl": SOON, "timeout": 1}
    given.update(settings)
    return alb.DnsName(host, record_type="SRV", nameservers=server.address, **given)


def front(*targets: Any, name: str = "group", port: int = 0, **settings: Any) -> alb.Listener:
    group = alb.TargetGroup(name, list(targets), **settings)
    return alb.Listener(port, alb.Forward(group), host="127.0.0.1", name="door")


def states(it: Balancing) -> dict[str, str]:
    return {str(one.target): one.state.value for one in it.load_balancer.describe_target_health("group")}


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what a name server has been told to come true."""
    async with asyncio.timeout(8):
        while not holds():
            await asyncio.sleep(0.002)


async def seen(client: RawClient, count: int = 12) -> Counter[bytes]:
    """Who answers so many requests."""
    return Counter([(await client.get()).body for _ in range(count)])


@contextlib.asynccontextmanager
async def asking(it: Balancing) -> AsyncIterator[list[int]]:
    """Requests one after the other, for as long as the test does something else and none fails; their statuses."""
    statuses: list[int] = []
    over = False

    async def ask() -> None:
        client = await it.client()
        while not over and statuses[-1:] in ([], [200]):
            statuses.append((await client.get()).status)
            await asyncio.sleep(0.001)  # A target has more to do than to answer us.

    task = asyncio.ensure_future(ask())
    try:
        yield statuses
    finally:
        over = True
        await task


async def test_first_request_finds_the_targets(server: NameServer) -> None:
    """start() waits for the first answer."""
    async with named("a", "b") as (a, b):
        serve(server, a, b)
        async with balancing(front(service(server))) as it:
            assert set(states(it)) == {a.address, b.address}
            assert await seen(await it.client()) == {b"a": 6, b"b": 6}
            assert "DnsFailureCount" not in it.counters


async def test_addresses_are_targets_of_the_names_port(server: NameServer) -> None:
    """Not only services."""
    async with named("a") as (a,):
        name = alb.DnsName(HERE, a.port, nameservers=server.address, weight=3)
        async with balancing(front(name)) as it:
            assert await seen(await it.client()) == {b"a": 12}
            (line,) = it.load_balancer.describe_target_health("group")
            assert (str(line.target), line.target.weight, line.target.server_name) == (a.address, 3, HERE)


async def test_addresses_that_come_get_traffic_and_those_that_go_drain(server: NameServer) -> None:
    """With events; what goes on with one that goes is brought to its end."""
    held = Held()
    told: list[events.Event] = []
    async with target(held) as slow, named("b") as (b,):
        serve(server, slow)
        async with balancing(front(service(server))) as it:
            it.load_balancer.subscribe(told.append, *events.CHANGES)
            waiting = await it.client()
            waiting.send(request("GET", "/"))
            await slow.arrived()
            serve(server, slow, b)
            await until(lambda: b.address in states(it))
            serve(server, b)
            await until(lambda: states(it)[slow.address] == "draining")
            assert await seen(await it.client()) == {b"b": 12}
            held.release.set()
            assert (await waiting.response()).body == b"late"
            await until(lambda: set(states(it)) == {b.address})
            names = [type(event).__name__ for event in told]
            assert names == ["TargetRegistered", "TargetStateChanged", "TargetDrained"]


async def test_target_that_goes_and_comes_back_while_it_drains_stays(server: NameServer) -> None:
    """An answer without it, and one with it again."""
    held = Held()
    async with target(held) as slow, named("b") as (b,):
        serve(server, slow, b)
        async with balancing(front(service(server)), clock=first_in_order()) as it:
            members = it.runtime.choices["group"].group.members
            if next(iter(members)) != slow.address:
                # In which order the addresses come is the name server's matter.
                assert (await (await it.client()).get()).body == b"b"
            waiting = await it.client()
            waiting.send(request("GET", "/"))
            await slow.arrived()
            serve(server, b)
            await until(lambda: states(it)[slow.address] == "draining")
            serve(server, slow, b)
            await until(lambda: states(it)[slow.address] == "unavailable")
            held.release.set()
            assert (await waiting.response()).body == b"late"
            assert set(await seen(await it.client())) == {b"late", b"b"}


async def test_nothing_changes_while_the_answer_is_the_same(server: NameServer) -> None:
    """In whatever order the records come; no events, no target made anew."""
    told: list[events.Event] = []
    async with named("a", "b") as (a, b):
        serve(server, a, b)
        async with balancing(front(service(server))) as it:
            members = dict(it.runtime.choices["group"].group.members)
            it.load_balancer.subscribe(told.append, *events.CHANGES)
            serve(server, b, a)
            await server.heard_again(12)
            assert told == []
            assert it.runtime.choices["group"].group.members == members


async def test_time_to_live_is_kept(server: NameServer) -> None:
    """Not asked again before, and then soon."""
    server.put(HERE, "A", "127.0.0.1", ttl=1)
    name = alb.DnsName(HERE, 80, record_type="A", nameservers=server.address, min_ttl=0.01)
    started = asyncio.get_running_loop().time()
    async with balancing(front(name)):
        await server.heard(2)
        assert asyncio.get_running_loop().time() - started > 0.8


@pytest.mark.parametrize(("ttl", "least", "most"), [(0, 0.1, 300), (1000, 0.01, 0.1)])
async def test_bounds_of_the_time_to_live_are_kept(server: NameServer, ttl: int, least: float, most: float) -> None:
    """`min_ttl` where the zone's is too short, `max_ttl` where it is too long."""
    server.put(HERE, "A", "127.0.0.1", ttl=ttl)
    name = alb.DnsName(HERE, 80, record_type="A", nameservers=server.address, min_ttl=least, max_ttl=most)
    started = asyncio.get_running_loop().time()
    async with balancing(front(name)):
        await server.heard(1 + 3)
        assert asyncio.get_running_loop().time() - started > 0.25


@pytest.mark.parametrize("fault", [("failing",), ("refusing",), ("garbage",), ("wrong id",), ()], ids=str)
async def test_name_server_that_fails_changes_nothing(server: NameServer, fault: tuple[str, ...], caplog: pytest.LogCaptureFixture) -> None:
    """Targets stay, every request works, one line tells of it however long it lasts, each failure is counted, and then it goes on."""
    caplog.set_level(logging.INFO, "albkit")
    async with named("a", "b") as (a, b):
        serve(server, a)
        # Time stands still: it holds for as long as may be.
        async with balancing(front(service(server, timeout=0.3, hold=0)), clock=FakeClock()) as it:
            assert states(it) == {a.address: "unavailable"}
            caplog.clear()
            server.fail(*fault)
            async with asking(it) as statuses:
                await until(lambda: it.counters.get("DnsFailureCount", 0) >= 3)
            assert set(statuses) == {200}
            assert states(it) == {a.address: "unavailable"}
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            assert SERVICE in caplog.records[0].getMessage()
            assert "group" in caplog.records[0].getMessage()
            caplog.clear()
            serve(server, b)
            server.recover()
            await until(lambda: set(states(it)) == {b.address})
            assert [record.levelname for record in about(caplog.records, "name_resolved")] == ["INFO"]
            counted = it.counters["DnsFailureCount"]
            await server.heard_again(4)
            assert it.counters["DnsFailureCount"] == counted


async def test_start_without_a_name_server_goes_on_without_targets(server: NameServer, caplog: pytest.LogCaptureFixture) -> None:
    """503 with a warning, and targets as soon as there is an answer."""
    async with named("a") as (a,):
        serve(server, a)
        server.fail()
        async with asyncio.timeout(10), balancing(front(service(server, timeout=0.1))) as it:
            assert (await (await it.client()).get()).status == 503
            assert [record.levelname for record in caplog.records][:1] == ["WARNING"]
            server.recover()
            await until(lambda: bool(states(it)))
            assert await seen(await it.client()) == {b"a": 12}


@pytest.mark.parametrize("known", [True, False], ids=["no records", "no such name"])
async def test_answer_that_there_is_nobody_is_believed_after_a_while(
    server: NameServer, known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Zones are emptied by mistake: the targets stay for `hold` seconds, with one warning; then they drain, and come back."""
    clock = FakeClock()
    async with named("a") as (a,):
        serve(server, a)
        async with balancing(front(service(server, hold=30)), clock=clock) as it:
            caplog.clear()
            if known:
                server.put(SERVICE, "SRV")
            else:
                server.drop(SERVICE)
            await server.heard_again(6)
            clock.advance(29)
            await server.heard_again(6)
            assert await seen(await it.client()) == {b"a": 12}
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            clock.advance(1)
            await until(lambda: not states(it))
            assert (await (await it.client()).get()).status == 503
            serve(server, a)
            await until(lambda: bool(states(it)))
            assert await seen(await it.client()) == {b"a": 12}


async def test_hold_begins_anew_with_every_answer(server: NameServer) -> None:
    """Twice 20 seconds are not 40 in a row."""
    clock = FakeClock()
    async with named("a") as (a,):
        serve(server, a)
        async with balancing(front(service(server, hold=30)), clock=clock) as it:
            for _ in range(2):
                server.drop(SERVICE)
                await server.heard_again(6)
                clock.advance(20)
                await server.heard_again(6)
                serve(server, a)
                await server.heard_again(4)
            assert states(it) == {a.address: "unavailable"}


async def test_without_hold_an_answer_that_there_is_nobody_holds_at_once(server: NameServer) -> None:
    """`hold=0`."""
    async with named("a") as (a,):
        serve(server, a)
        async with balancing(front(service(server, hold=0)), clock=FakeClock()) as it:
            server.drop(SERVICE)
            await until(lambda: not states(it))


async def test_address_of_two_names_stays_until_both_drop_it(server: NameServer) -> None:
    """And is one target."""
    async with named("a", "b") as (a, b):
        serve(server, a, b)
        serve(server, a, name=OTHER)
        async with balancing(front(service(server), service(server, OTHER))) as it:
            assert await seen(await it.client()) == {b"a": 6, b"b": 6}
            serve(server, b)
            await server.heard_again(8)
            assert set(states(it)) == {a.address, b.address}
            serve(server, b, name=OTHER)
            await until(lambda: set(states(it)) == {b.address})


async def test_address_that_one_of_two_names_drops_is_as_the_other_says(server: NameServer) -> None:
    """Weight and certificate: whose name it had is gone."""
    server.put("there.test", "A", "127.0.0.1")
    async with named("a", "b") as (a, b):
        serve(server, a, b, weight=9)
        server.put(OTHER, "SRV", f"0 2 {a.port} there.test.")
        async with balancing(front(service(server), service(server, OTHER))) as it:
            (line,) = it.load_balancer.describe_target_health("group", a.address)
            if line.target.server_name == HERE:
                serve(server, b, weight=9)
                left = (2, "there.test")
            else:
                server.put(OTHER, "SRV", f"0 2 {b.port} there.test.")
                left = (9, HERE)
            await server.heard_again(12)
            (line,) = it.load_balancer.describe_target_health("group", a.address)
            assert (line.target.weight, line.target.server_name) == left


async def test_name_and_fixed_targets_are_one_group(server: NameServer) -> None:
    """A fixed target stays as it is declared whatever names come and go."""
    async with named("a", "b") as (a, b):
        serve(server, a, b, weight=5)
        fixed = alb.Target("127.0.0.1", a.port, weight=1)
        async with balancing(front(fixed, service(server)), clock=FakeClock()) as it:
            assert await seen(await it.client()) == {b"a": 2, b"b": 10}
            serve(server, b)
            await server.heard_again(8)
            assert set(states(it)) == {a.address, b.address}
            server.drop(SERVICE)
            await server.heard_again(6)
            it.runtime.clock.advance(31)  # type: ignore[attr-defined]
            await until(lambda: set(states(it)) == {a.address})
            serve(server, a, b)
            await until(lambda: b.address in states(it))


async def test_target_registered_at_run_time_stays_beside_a_name(server: NameServer) -> None:
    """The name changes what it stands for; what the program registered is not its business."""
    async with named("a", "b", "c") as (a, b, c):
        serve(server, a)
        async with balancing(front(service(server))) as it:
            await it.load_balancer.register_targets("group", c.address)
            serve(server, b)
            await until(lambda: set(states(it)) == {b.address, c.address})
            assert set(await seen(await it.client())) == {b"b", b"c"}


async def test_apply_goes_over_to_a_name_and_back_without_a_failed_request(server: NameServer) -> None:
    """Nobody is without a target for a moment; names that are no longer declared are not asked for any more."""
    async with named("a", "b", "c") as (a, b, c):
        serve(server, a, b)
        async with balancing(front(a.address, c.address)) as it, asking(it) as statuses:
            for _ in range(3):
                await it.load_balancer.apply(front(service(server)))
                await until(lambda: set(states(it)) == {a.address, b.address})
                await it.load_balancer.apply(front(c.address))
                await until(lambda: set(states(it)) == {c.address})
                count = len(server.asked)
                await asyncio.sleep(5 * SOON)
                assert len(server.asked) - count <= 1
                await it.load_balancer.apply(front(a.address, c.address))
        assert set(statuses) == {200}
        assert len(statuses) > 10


async def test_fixed_target_that_is_found_by_name_from_now_on_is_as_the_name_says(server: NameServer) -> None:
    """apply(): weight and certificate are the name's; and the fixed one's again behind the way back."""
    async with named("a") as (a,):
        serve(server, a, weight=7)
        async with balancing(front(a.address)) as it:
            await it.load_balancer.apply(front(service(server)))
            (line,) = it.load_balancer.describe_target_health("group")
            assert (line.target.weight, line.target.server_name) == (7, HERE)
            await it.load_balancer.apply(front(a.address))
            (line,) = it.load_balancer.describe_target_health("group")
            assert (line.target.weight, line.target.server_name) == (1, None)


async def test_apply_with_a_name_server_that_is_silent_takes_its_time_and_no_more(server: NameServer) -> None:
    """Meanwhile requests go on; then the name's targets come when there is an answer."""
    async with named("a", "b") as (a, b):
        serve(server, b)
        server.fail()
        async with balancing(front(a.address)) as it:
            async with asking(it) as statuses:
                applying = asyncio.ensure_future(it.load_balancer.apply(front(a.address, service(server, timeout=0.1))))
                await server.heard(1)
                assert not applying.done()
                await applying
            assert set(statuses) == {200}
            server.recover()
            await until(lambda: set(states(it)) == {a.address, b.address})


async def test_apply_that_fails_leaves_names_as_they_were(server: NameServer) -> None:
    """A port in use: the old name is followed, the new one is not, and its targets are not there."""
    async with named("a", "b") as (a, b):
        serve(server, a)
        serve(server, b, name=OTHER)
        async with balancing(front(service(server))) as it:
            taken = alb.Listener(b.port, alb.FixedResponse(200), host="127.0.0.1", name="taken")
            with pytest.raises(OSError, match=str(b.port)):
                await it.load_balancer.apply([front(service(server, OTHER)), taken])
            assert states(it) == {a.address: "unavailable"}
            assert OTHER not in {name for name, _, _ in server.asked}
            assert await seen(await it.client()) == {b"a": 12}
            serve(server, b)
            await until(lambda: set(states(it)) == {b.address})


async def test_apply_that_is_given_up_leaves_names_as_they_were(server: NameServer) -> None:
    """While it waits for a first answer: nobody asks for the new name any more; the old one's targets have their weights."""
    async with named("a", "b") as (a, b):
        serve(server, a)
        serve(server, b, name=OTHER)
        async with balancing(front(service(server))) as it:
            server.fail(name=OTHER)
            applying = asyncio.ensure_future(it.load_balancer.apply(front(service(server, max_ttl=1), service(server, OTHER))))
            await until(lambda: OTHER in {name for name, _, _ in server.asked})
            applying.cancel()
            with pytest.raises(asyncio.CancelledError):
                await applying
            server.recover()
            server.asked.clear()
            await server.heard(8)
            assert OTHER not in {name for name, _, _ in server.asked}
            assert states(it) == {a.address: "unavailable"}
            serve(server, b)
            await until(lambda: set(states(it)) == {b.address})


async def test_group_that_goes_is_not_asked_for_any_more(server: NameServer) -> None:
    """apply() without it."""
    async with named("a") as (a,):
        serve(server, a)
        async with balancing(front(service(server))) as it:
            await it.load_balancer.apply(front(a.address, name="other"))
            count = len(server.asked)
            await asyncio.sleep(5 * SOON)
            assert len(server.asked) - count <= 1


async def test_stop_while_a_question_is_under_way_leaves_nothing(server: NameServer) -> None:
    """Nor does it wait for the answer; the guard of the suite looks for tasks and sockets."""
    async with named("a") as (a,):
        serve(server, a)
        before = asyncio.all_tasks()
        async with asyncio.timeout(20), balancing(front(service(server, timeout=60))):
            server.fail()
            await server.heard_again(1)
        assert {task for task in asyncio.all_tasks() - before if "_keep_up" in repr(task)} == set()


async def test_start_that_is_given_up_leaves_nothing(server: NameServer) -> None:
    """While it waits for a first answer; it can be started later."""
    async with named("a") as (a,):
        serve(server, a)
        server.fail()
        load_balancer = alb.LoadBalancer(front(service(server, timeout=30)))
        starting = asyncio.ensure_future(load_balancer.start())
        await server.heard(1)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert load_balancer.listeners == ()
        server.recover()
        async with load_balancer:
            assert len(load_balancer.describe_target_health("group")) == 1


async def test_start_that_fails_leaves_nothing(server: NameServer) -> None:
    """A port in use: nobody asks for the name any more."""
    async with named("a") as (a,):
        serve(server, a)
        load_balancer = alb.LoadBalancer(front(service(server), port=a.port))
        with pytest.raises(OSError, match=str(a.port)):
            await load_balancer.start()
        count = len(server.asked)
        await asyncio.sleep(5 * SOON)
        assert len(server.asked) == count


async def test_started_again_it_asks_again(server: NameServer) -> None:
    """What it knew is forgotten."""
    async with named("a", "b") as (a, b):
        serve(server, a)
        load_balancer = alb.LoadBalancer(front(service(server, max_ttl=300, min_ttl=300)))
        for origin in (a, b):
            serve(server, origin)
            async with load_balancer:
                (line,) = load_balancer.describe_target_health("group")
                assert str(line.target) == origin.address


async def test_services_have_their_weights_and_stand_by(server: NameServer) -> None:
    """RFC 2782: by weight among the best priority; the others when none of those is left."""
    async with named("a", "b", "c") as (a, b, c):
        server.put(SERVICE, "SRV", f"1 3 {a.port} {HERE}.", f"1 1 {b.port} {HERE}.", f"2 9 {c.port} {HERE}.")
        async with balancing(front(service(server))) as it:
            assert await seen(await it.client()) == {b"a": 9, b"b": 3}
            server.put(SERVICE, "SRV", f"2 9 {c.port} {HERE}.")
            await until(lambda: set(states(it)) == {c.address})
            assert await seen(await it.client()) == {b"c": 12}


async def test_service_whose_priority_changes_changes_sides(server: NameServer) -> None:
    """The same target, from now on standing by."""
    async with named("a", "b") as (a, b):
        server.put(SERVICE, "SRV", f"1 1 {a.port} {HERE}.", f"2 1 {b.port} {HERE}.")
        async with balancing(front(service(server))) as it:
            assert await seen(await it.client()) == {b"a": 12}
            server.put(SERVICE, "SRV", f"2 1 {a.port} {HERE}.", f"1 1 {b.port} {HERE}.")
            await server.heard_again(6)
            assert await seen(await it.client()) == {b"b": 12}


async def test_service_whose_weight_changes_takes_it(server: NameServer) -> None:
    """From the next answer on."""
    async with named("a", "b") as (a, b):
        serve(server, a, b)
        async with balancing(front(service(server))) as it:
            server.put(SERVICE, "SRV", f"0 1 {a.port} {HERE}.", f"0 5 {b.port} {HERE}.")
            await server.heard_again(6)
            assert await seen(await it.client()) == {b"a": 2, b"b": 10}


async def test_targets_that_are_found_are_checked(server: NameServer) -> None:
    """Each by itself, until it goes."""
    check = alb.HealthCheck(path="/health", interval=5, healthy_threshold=2)
    clock = FakeClock()
    async with named("a", "b") as (a, b):
        serve(server, a)
        async with balancing(front(service(server), health_check=check), clock=clock) as it:

            def checked_well(origin: Target) -> bool:
                clock.advance(0.5)
                it.runtime.sweep.look(clock.monotonic())
                return states(it).get(origin.address) == "healthy"

            await until(lambda: checked_well(a))
            serve(server, a, b)
            await until(lambda: checked_well(b))
            assert b"GET /health " in b.heads[0]
            serve(server, b)
            await until(lambda: set(states(it)) == {b.address})
            checked = len(a.heads)
            for _ in range(4):
                clock.advance(5)
                it.runtime.sweep.look(clock.monotonic())
                await server.heard_again(2)
            assert len(a.heads) == checked


async def test_certificate_is_verified_for_the_name(server: NameServer) -> None:
    """That of a.test would have to say so; the machine's own says localhost, and its address, which nobody asked for."""
    server.put("localhost", "A", "127.0.0.1")
    server.put("a.test", "A", "127.0.0.1")
    async with secure() as origin:
        for host, status in (("localhost", 200), ("a.test", 502)):
            name = alb.DnsName(host, origin.port, record_type="A", nameservers=server.address)
            async with balancing(front(name, protocol="HTTPS", verify=AUTHORITY)) as it:
                assert (await (await it.client()).get()).status == status
                assert it.counters.get("Failure_TargetTlsFailed", 0) == (0 if status == 200 else 1)


async def test_certificate_is_verified_for_the_name_also_on_the_way_from_a_fixed_target(server: NameServer) -> None:
    """apply(): what was connected for the address serves no request for the name."""
    server.put("a.test", "A", "127.0.0.1")
    async with secure() as origin, balancing(front(origin.address, protocol="HTTPS", verify=AUTHORITY)) as it:
        client = await it.client()
        assert (await client.get()).status == 200
        name = alb.DnsName("a.test", origin.port, record_type="A", nameservers=server.address)
        await it.load_balancer.apply(front(name, protocol="HTTPS", verify=AUTHORITY))
        assert (await client.get()).status == 502


async def test_two_groups_follow_the_same_name_apart(server: NameServer) -> None:
    """Each has its own targets."""
    async with named("a") as (a,):
        serve(server, a)
        rule = alb.Rule(1, alb.PathPattern("/x"), alb.Forward(alb.TargetGroup("other", [service(server)])))
        door = alb.Listener(0, alb.Forward(alb.TargetGroup("group", [service(server)])), [rule], host="127.0.0.1", name="door")
        async with balancing(door) as it:
            client = await it.client()
            assert (await client.get("/x")).body == (await client.get("/")).body == b"a"
            await it.load_balancer.deregister_targets("other", a.address)
            assert (await client.get("/x")).status == 503
            assert (await client.get("/")).body == b"a"


async def test_many_names_are_asked_for_at_the_same_time(server: NameServer) -> None:
    """start() takes as long as the slowest of them, not as all of them together: none waits for the answer to another."""
    server.fail()
    names = [service(server, f"_{number}._tcp.api.test", timeout=60) for number in range(10)]
    balancer = alb.LoadBalancer(front(*names))
    starting = asyncio.ensure_future(balancer.start())
    await server.heard(10)
    assert len({name for name, _, _ in server.asked}) == 10
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

"""Targets that cannot be connected to, where nobody asked for health checks or ejections, over real connections."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import albkit as alb
from albkit import events
from tests.functional.test_ejection import House, Moody, asked
from tests.functional.test_stickiness import cookie_of
from tests.support.balancing import balancing, listener, named
from tests.support.clock import FakeClock
from tests.support.log_lines import about
from tests.support.peers import Conversation, RawClient, Target, answering, free_port, request, response, target
from tests.support.tunnels import SWITCHED, UPGRADE, echo

CONNECT_TIMEOUT = 0.3


@contextlib.contextmanager
def swallowing() -> Iterator[str]:
    """The address of a target that does not answer when it is connected to."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket())
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(sock.getsockname())
        yield f"127.0.0.1:{sock.getsockname()[1]}"


@contextlib.asynccontextmanager
async def house(*targets: Any, clock: FakeClock | None = None, protocol: str = "HTTP", **settings: Any) -> AsyncIterator[House]:
    """A load balancer in front of one group, with what a group does by default."""
    door = listener(alb.Forward(alb.TargetGroup("group", list(targets), **settings)), name="door", protocol=protocol)
    clock = clock or FakeClock()
    async with balancing(door, clock=clock, limits=alb.Limits(connect_timeout=CONNECT_TIMEOUT)) as it:
        yield House(it, clock)


def standby(of: Target) -> alb.Target:
    return alb.Target("127.0.0.1", of.port, standby=True)


def late_target() -> Target:
    """One that listens when the test says so, by `listen`."""
    late = Target(echo)
    late.script = answering(late.heads, response(body=b"late"))
    return late


@contextlib.asynccontextmanager
async def listening(late: Target, port: int) -> AsyncIterator[None]:
    """From now on it takes connections."""
    await late.open(port)
    try:
        yield
    finally:
        await late.close()


_EJECTIONS = ("target_ejected", "target_readmitted", "target_recovered")


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in about(caplog.records, *_EJECTIONS)]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_target_that_swallows_connections_is_left_out_behind_the_first(method: str, caplog: pytest.LogCaptureFixture) -> None:
    """One client waits; a WARNING tells of it, and so does the description of the target."""
    with swallowing() as dead:
        async with named("b", "c") as (b, c), house(dead, b.address, c.address) as it:
            assert await asked(it, 30, method=method) == {200: 30}
            assert it.counters["RetryCount"] == it.counters["TargetConnectionErrorCount"] == it.counters["TargetEjectionCount"] == 1
            assert abs(len(b.heads) - len(c.heads)) <= 1
            (line,) = it.load_balancer.describe_target_health("group", dead)
            assert line.description == "Ejected for 10 s: the target did not accept the connection in time"
            assert (line.state, line.reason) == ("unavailable", "Target.HealthCheckDisabled")
            assert line.anomaly_detection.mitigation_in_effect
    text = f"target {dead} of group group is ejected for 10 s: the target did not accept the connection in time"
    assert lines(caplog) == [("WARNING", text)]


async def test_dead_target_is_tried_again_for_longer_and_longer_times_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    """No client sees it. One WARNING when it goes and one when it is back, however often it was tried in between."""
    caplog.set_level(logging.INFO, "albkit")
    clock = FakeClock()
    told: list[events.Event] = []
    late = late_target()
    async with named("b", "c") as (b, c):
        port = free_port()
        async with house(f"127.0.0.1:{port}", b.address, c.address, clock=clock) as it:
            it.load_balancer.subscribe(told.append)
            for tries, seconds in enumerate((10, 20, 40, 60, 60), 1):
                assert await asked(it, 9) == {200: 9}
                assert it.counters["TargetConnectionErrorCount"] == tries
                it.later(seconds - 0.1)
                assert await asked(it, 3) == {200: 3}
                assert it.counters["TargetConnectionErrorCount"] == tries
                it.later(0.1)
            assert Counter(level for level, _ in lines(caplog)) == {"WARNING": 1, "INFO": 4 + 5}
            async with listening(late, port):
                assert await asked(it, 9) == {200: 9}
                assert "MitigatedHostCount" not in it.counters
                assert await asked(it, 30) == {200: 30}
                assert len(late.heads) >= 12
    level, text = lines(caplog)[-1]
    assert (level, text) == ("WARNING", f"target 127.0.0.1:{port} of group group has recovered: it accepts connections again")
    assert sum(level == "WARNING" for level, _ in lines(caplog)) == 2
    assert [event.seconds for event in told if isinstance(event, events.TargetEjected)] == [10, 20, 40, 60, 60]
    assert sum(isinstance(event, events.TargetReadmitted) for event in told) == 5


async def test_target_that_is_back_makes_one_client_wait() -> None:
    """However many come in the meantime."""
    clock = FakeClock()
    with swallowing() as dead:
        async with named("b") as (b,), house(dead, b.address, clock=clock) as it:
            assert await asked(it, 4) == {200: 4}
            it.later(10)
            clients = [await it.client() for _ in range(12)]
            for client in clients:
                client.send(request("GET", "/"))
            async with asyncio.timeout(10):
                assert [(await client.response()).status for client in clients] == [200] * 12
            assert it.counters["RetryCount"] == it.counters["TargetConnectionErrorCount"] == 2


async def test_target_that_fails_in_tls_is_left_out() -> None:
    """It takes connections, and speaks no TLS."""

    async def no_tls(conversation: Conversation) -> None:
        await conversation.read()
        conversation.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with target(no_tls) as plain, named("b") as (b,), house(f"https://{plain.address}", b.address) as it:
        assert await asked(it, 10) == {200: 10}
        assert it.counters["TargetTLSNegotiationErrorCount"] == it.counters["TargetEjectionCount"] == 1
        (line,) = it.load_balancer.describe_target_health("group", plain.address)
        assert line.description == "Ejected for 10 s: the TLS handshake with the target failed"


async def test_target_that_is_connected_to_and_does_not_answer_is_not_left_out() -> None:
    """That may be the request's fault; `Ejection()` is for those who want more."""
    moody = Moody()
    async with target(moody) as bad, named("b") as (b,), house(bad.address, b.address) as it:
        assert await asked(it, 20) == {200: 20}
        assert it.counters["RetryCount"] == 10
        assert "TargetEjectionCount" not in it.counters


@pytest.mark.parametrize(
    "settings", [{"ejection": None}, {"health_check": alb.HealthCheck(protocol="TCP", interval=300, timeout=3)}], ids=["None", "checked"]
)
async def test_nobody_is_left_out_where_that_is_switched_off_or_a_health_check_decides(settings: dict[str, Any]) -> None:
    """Its requests are tried elsewhere, again and again."""
    async with named("b") as (b,), house(f"127.0.0.1:{free_port()}", b.address, **settings) as it:
        for member in it.runtime.choices["group"].group.members.values():
            member.state = alb.TargetHealthState.HEALTHY
        it.runtime.choices["group"].refresh()
        assert await asked(it, 20) == {200: 20}
        assert it.counters["RetryCount"] == 10
        assert "TargetEjectionCount" not in it.counters


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_group_whose_targets_are_all_dead_goes_on_trying_and_is_well_as_soon_as_one_is(count: int) -> None:
    """502 until then; the last one is never left out, and those that are are asked where the last one fails."""
    ports = {free_port() for _ in range(count)}
    moody = late_target()
    clock = FakeClock(random.Random(5).random)
    async with house(*(f"127.0.0.1:{port}" for port in ports), clock=clock) as it:
        choice = it.runtime.choices["group"]
        assert await asked(it, 10) == {502: 10}
        assert it.counters["TargetConnectionErrorCount"] == 30
        (last,) = choice.group.eligible
        assert len(choice.group.ejected) == len(ports) - 1
        revived = next((member for member in choice.group.ejected), last)
        async with listening(moody, revived.target.port):
            statuses = await asked(it, 40)
            assert statuses[200] >= 10
            it.runtime.sweep.look(it.clock.monotonic())
            assert await asked(it, 20) == {200: 20}
            assert choice.group.eligible == (revived,)


async def test_only_target_is_tried_again_and_again() -> None:
    """There is nobody to take its place, and nothing to tell of but its failures."""
    async with house(f"127.0.0.1:{free_port()}") as it:
        assert await asked(it, 5) == {502: 5}
        assert "TargetEjectionCount" not in it.counters
        assert it.counters["TargetConnectionErrorCount"] == 15


@pytest.mark.parametrize("kind", ["refused", "swallowed"])
async def test_stream_goes_elsewhere_and_its_dead_target_is_left_out(kind: str) -> None:
    """A TCP listener connects as well."""
    async with target(echo) as b:
        with swallowing() as silent:
            dead = silent if kind == "swallowed" else f"127.0.0.1:{free_port()}"
            async with house(dead, b.address, protocol="TCP") as it:
                for _ in range(6):
                    client = await it.client()
                    client.send(b"hello")
                    async with asyncio.timeout(10):
                        assert await client.read_exactly(5) == b"hello"
                assert it.counters["TargetEjectionCount"] == it.counters["TargetConnectionErrorCount"] == 1


async def test_tunnel_goes_elsewhere_and_its_dead_target_is_left_out() -> None:
    """And its 101 is proof enough when the target is back."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(SWITCHED)
        await echo(conversation)

    clock = FakeClock()
    dead = f"127.0.0.1:{free_port()}"
    late = Target(script)
    async with target(script) as b, house(dead, b.address, clock=clock) as it:

        async def upgrade() -> RawClient:
            client = await it.client()
            client.send(request("GET", "/ws", *UPGRADE))
            assert (await client.response()).status == 101
            return client

        for _ in range(6):
            await upgrade()
        assert it.counters["TargetEjectionCount"] == it.counters["TargetConnectionErrorCount"] == 1
        it.later(10)
        async with listening(late, int(dead.rpartition(":")[2])):
            for _ in range(6):
                await upgrade()
            assert len(late.conversations) >= 2
            assert it.member(dead).probation == 0


async def test_session_of_a_dead_target_goes_elsewhere_and_stays_there() -> None:
    """It waits once."""
    async with named("b") as (b,), target(None, response(body=b"a")) as a, house(a.address, b.address, stickiness=alb.LbCookie()) as it:
        client = await it.client()
        answer = await client.get()
        while answer.body != b"a":
            answer = await client.get()
        cookies = f"Cookie: AWSALB={cookie_of(answer)}"
        it.runtime.connections.drop_idle(it.member(a.address))
        await a.close()
        answers = [await client.get("/", cookies) for _ in range(3)]
        assert {(answer.status, answer.body) for answer in answers} == {(200, b"b")}
        assert it.counters["TargetConnectionErrorCount"] == 1


async def test_target_with_a_limit_that_is_dead_is_left_out() -> None:
    """The line goes on with the other."""
    async with target() as b:
        dead = alb.Target("127.0.0.1", free_port(), max_concurrency=1)
        async with house(dead, alb.Target("127.0.0.1", b.port, max_concurrency=2)) as it:
            assert await asked(it, 2) == {200: 2}
            clients = [await it.client() for _ in range(10)]
            for client in clients:
                client.send(request("GET", "/"))
            async with asyncio.timeout(10):
                assert [(await client.response()).status for client in clients] == [200] * 10
            assert it.counters["TargetEjectionCount"] == 1


async def test_target_that_is_deregistered_while_it_is_left_out_comes_back_as_a_new_one() -> None:
    """Registered again it gets requests at once, and its next ejection is a short one."""
    dead = f"127.0.0.1:{free_port()}"
    async with named("b") as (b,), house(dead, b.address, deregistration_delay=30) as it:
        await asked(it, 4)
        it.later(10)
        await asked(it, 4)
        assert it.counters["TargetEjectionCount"] == 2
        await it.load_balancer.deregister_targets("group", dead)
        assert not it.runtime.choices["group"].group.ejected
        assert await asked(it, 4) == {200: 4}
        await it.load_balancer.register_targets("group", dead)
        assert not it.member(dead).probation
        assert await asked(it, 4) == {200: 4}
        assert it.member(dead).ejected_until == it.clock.monotonic() + 10


async def test_target_that_drains_while_it_is_on_probation_comes_back_as_a_new_one() -> None:
    """What was known of it is of the past."""
    dead = f"127.0.0.1:{free_port()}"
    async with target(None, response(body=b"b")) as b, house(dead, b.address) as it:
        await asked(it, 4)
        it.later(10)
        member = it.member(dead)
        assert member.probation
        member.outstanding = 1  # So that it drains, and is not forgotten at once.
        await it.load_balancer.deregister_targets("group", dead)
        await it.load_balancer.register_targets("group", dead)
        member.outstanding = 0
        assert it.member(dead) is member
        assert (member.probation, member.ejections, member.failures_in_row) == (0, 0, 0)


@pytest.mark.parametrize("change", ["None", "checked", "explicit"])
async def test_setting_that_changes_while_a_target_is_left_out_takes_effect(change: str) -> None:
    """apply(): without ejection it is taken back at once, with another one when its time is over."""
    settings: dict[str, Any] = {
        "None": {"ejection": None},
        "checked": {"health_check": alb.HealthCheck(protocol="TCP", interval=300, timeout=3)},
        "explicit": {"ejection": alb.Ejection(duration=99, probation=3)},
    }[change]
    dead = f"127.0.0.1:{free_port()}"
    async with named("b") as (b,), house(dead, b.address) as it:
        await asked(it, 4)
        group = alb.TargetGroup("group", [dead, b.address], **settings)
        await it.load_balancer.apply(listener(alb.Forward(group), name="door"))
        it.later(1)
        member = it.member(dead)
        assert (member.ejected_until is None) is (change != "explicit")
        it.later(9)
        assert member.ejected_until is None
        assert member.probation == (3 if change == "explicit" else 0)
        assert await asked(it, 6) == {200: 6}


# Standbys.


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ejection": None},
        {"ejection": alb.Ejection(consecutive_failures=2, duration=60, max_percent=1)},
        {"ejection": alb.Ejection(consecutive_failures=2, duration=60)},
        {"ejection": alb.Ejection(consecutive_failures=2, duration=60, max_percent=100)},
    ],
    ids=["default", "none", "max_percent=1", "max_percent=50", "max_percent=100"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_standby_answers_where_all_others_are_dead(count: int, settings: dict[str, Any], method: str) -> None:
    """From the first request on, and soon without a second try, if anybody may be ejected."""
    async with target(None, response(body=b"s")) as s:
        dead = {f"127.0.0.1:{free_port()}" for _ in range(count)}
        async with house(*dead, standby(s), **settings) as it:
            assert await asked(it, 40, method=method) == {200: 40}
            if settings != {"ejection": None}:
                retries = it.counters["RetryCount"]
                assert await asked(it, 20, method=method) == {200: 20}
                assert it.counters["RetryCount"] == retries


async def test_mains_get_the_traffic_again_when_they_are_back() -> None:
    """All of it: the standby waits for the next time."""
    clock = FakeClock()
    port = free_port()
    late = late_target()
    async with target(None, response(body=b"s")) as s, house(f"127.0.0.1:{port}", standby(s), clock=clock) as it:
        assert await asked(it, 10) == {200: 10}
        assert len(s.heads) == 10
        async with listening(late, port):
            it.later(9)
            assert await asked(it, 2) == {200: 2}
            assert len(s.heads) == 12
            it.later(1)
            assert await asked(it, 10) == {200: 10}
            assert len(s.heads) == 12
        it.runtime.connections.drop_idle(it.member(f"127.0.0.1:{port}"))
        assert await asked(it, 10) == {200: 10}
        assert len(s.heads) == 22


async def test_standby_is_left_alone_while_a_main_answers() -> None:
    """A request that one main failed goes to the other."""
    async with named("a", "s") as (a, s), house(a.address, f"127.0.0.1:{free_port()}", standby(s)) as it:
        assert await asked(it, 20) == {200: 20}
        assert s.heads == []


async def test_standby_that_is_dead_as_well_leaves_the_last_word_to_a_main() -> None:
    """All are tried; 502, and as soon as a main is back 200."""
    ports = [free_port(), free_port()]
    late = late_target()
    async with house(f"127.0.0.1:{ports[0]}", alb.Target("127.0.0.1", ports[1], standby=True)) as it:
        assert await asked(it, 10) == {502: 10}
        async with listening(late, ports[0]):
            assert await asked(it, 5) == {200: 5}


async def test_upgrade_goes_to_a_standby_with_room_for_a_tunnel() -> None:
    """Also where it is a retry that brings it there."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(SWITCHED)
        await echo(conversation)

    async with target(script) as s:
        tunnel = alb.TunnelPolicy(max_tunnels=2)
        async with house(f"127.0.0.1:{free_port()}", standby(s), ejection=None, tunnel=tunnel) as it:
            statuses = []
            for _ in range(4):
                client = await it.client()
                client.send(request("GET", "/ws", *UPGRADE))
                statuses.append((await client.response()).status)
            assert statuses == [101, 101, 502, 502]


async def test_upgrade_for_which_the_mains_have_no_room_is_none_for_a_standby() -> None:
    """They have not failed."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(SWITCHED)
        await echo(conversation)

    async with target(script) as a, target(script) as s, house(a.address, standby(s), tunnel=alb.TunnelPolicy(max_tunnels=1)) as it:
        statuses = []
        for _ in range(3):
            client = await it.client()
            client.send(request("GET", "/ws", *UPGRADE))
            statuses.append((await client.response()).status)
        assert statuses == [101, 503, 503]
        assert s.conversations == []

"""Targets that fail their requests, over real connections: the others are undisturbed, and no more clients suffer than need be."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

import albkit as alb
from albkit import events
from albkit.state.target import TargetState
from tests.functional.test_stickiness import cookie_of
from tests.policy.requests import request_for
from tests.support.balancing import Balancing, balancing, listener, named
from tests.support.clock import FakeClock
from tests.support.peers import Conversation, RawClient, free_port, request, response, target
from tests.support.tunnels import SWITCHED, UPGRADE, echo

DURATION = 10


def ejection(failures: int | None = 3, **settings: Any) -> alb.Ejection:
    return alb.Ejection(consecutive_failures=failures, duration=DURATION, **settings)


class House(Balancing):
    """A load balancer in front of one group, and its clock where it has one of the test's."""

    def __init__(self, it: Balancing, clock: FakeClock) -> None:
        super().__init__(it.load_balancer)
        self.clients = it.clients
        self.clock = clock

    def member(self, address: str) -> TargetState:
        return self.runtime.choices["group"].group.members[address]

    def later(self, seconds: float) -> None:
        """Time passes, and the sweep sees it."""
        self.clock.advance(seconds)
        self.runtime.sweep.look(self.clock.monotonic())

    async def asking(self, client: RawClient, member: TargetState, data: bytes = request("GET", "/")) -> None:
        """Send a request, and wait until the target has it."""
        client.send(data)
        async with asyncio.timeout(5):
            while not member.outstanding:
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def house(*addresses: str, clock: FakeClock | None = None, idle_timeout: float = 60, **settings: Any) -> AsyncIterator[House]:
    settings.setdefault("ejection", ejection())
    door = listener(alb.Forward(alb.TargetGroup("group", list(addresses), **settings)), name="door")
    given = {"clock": clock} if clock is not None else {}
    async with balancing(door, idle_timeout=idle_timeout, **given) as it:
        yield House(it, clock or FakeClock())


class Moody:
    """A target that is well or broken, as the test says."""

    def __init__(self, broken: bool = True) -> None:
        self.broken = broken
        self.answered = 0

    async def __call__(self, conversation: Conversation) -> None:
        while True:
            await conversation.request()
            if self.broken:
                conversation.reset()
                return
            self.answered += 1
            conversation.send(response(body=b"moody"))


class Held:
    """A target that answers when told."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.heads = 0

    async def __call__(self, conversation: Conversation) -> None:
        while True:
            await conversation.request()
            self.heads += 1
            await self.release.wait()
            conversation.send(response(body=b"held"))


async def garbage(conversation: Conversation) -> None:
    await conversation.request()
    conversation.send(b"\x16\x03\x01\x00 this is no HTTP\r\n\r\n")


async def silent(conversation: Conversation) -> None:
    await conversation.read_to_end()


async def closing(conversation: Conversation) -> None:
    await conversation.request()


async def asked(it: Balancing, count: int, *, method: str = "GET") -> Counter[int]:
    """So many requests, each on a connection of its own, one after the other: how many got which status."""
    statuses: Counter[int] = Counter()
    for _ in range(count):
        client = await it.client()
        statuses[(await client.get(method=method)).status] += 1
        await client.close()
    return statuses


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_target_that_refuses_connections_is_ejected_and_nobody_sees_it(method: str) -> None:
    """Nothing was sent, so any request goes elsewhere; from the third failure on it is not even tried."""
    async with named("b", "c") as (b, c):
        dead = f"127.0.0.1:{free_port()}"
        async with house(dead, b.address, c.address) as it:
            assert await asked(it, 30, method=method) == {200: 30}
            assert it.counters["TargetEjectionCount"] == 1
            assert it.counters["TargetConnectionErrorCount"] == it.counters["RetryCount"] == 3
            assert abs(len(b.heads) - len(c.heads)) <= 3
            assert it.counters["MitigatedHostCount"] == 1


async def test_target_that_never_answers_costs_no_more_than_it_takes_to_be_ejected() -> None:
    """Its requests get 504 behind the idle timeout; no other target's client waits for it, and soon nobody does."""
    async with target(silent) as dead, named("b", "c") as (b, c), house(dead.address, b.address, c.address, idle_timeout=0.15) as it:
        clients = [await it.client() for _ in range(9)]
        async with asyncio.timeout(10):
            answers = await asyncio.gather(*(client.get() for client in clients))
        assert Counter(answer.status for answer in answers) == {504: 3, 200: 6}
        assert it.counters["TargetEjectionCount"] == 1
        assert await asked(it, 12) == {200: 12}
        assert len(dead.conversations) == 3


async def test_target_that_answers_garbage_costs_no_more_than_it_takes_to_be_ejected() -> None:
    """502, for the target may have acted; then never again."""
    async with target(garbage) as dead, named("b", "c") as (b, c), house(dead.address, b.address, c.address) as it:
        assert await asked(it, 30) == {502: 3, 200: 27}
        assert it.counters["TargetEjectionCount"] == 1


async def test_target_that_closes_without_an_answer_fails_no_get() -> None:
    """It is repeated elsewhere (RFC 9110 section 9.2.2)."""
    async with target(closing) as dead, named("b", "c") as (b, c), house(dead.address, b.address, c.address) as it:
        assert await asked(it, 30) == {200: 30}
        assert it.counters["TargetEjectionCount"] == 1
        assert len(dead.conversations) == 3


async def test_post_to_a_target_that_closes_without_an_answer_fails_until_it_is_ejected() -> None:
    """It may not be repeated; only three find out."""
    async with target(closing) as dead, named("b", "c") as (b, c), house(dead.address, b.address, c.address) as it:
        assert await asked(it, 30, method="POST") == {502: 3, 200: 27}


async def test_request_whose_failure_ejects_goes_elsewhere() -> None:
    """It is not lost between the two."""
    async with named("b") as (b,), house(f"127.0.0.1:{free_port()}", b.address, ejection=ejection(1)) as it:
        assert await asked(it, 4) == {200: 4}
        assert it.counters["RetryCount"] == 1


async def test_only_target_is_tried_again_and_again() -> None:
    """There is nobody to take its place."""
    moody = Moody()
    async with target(moody) as only, house(only.address, ejection=ejection(1)) as it:
        assert await asked(it, 5) == {502: 5}
        moody.broken = False
        assert await asked(it, 5) == {200: 5}
        assert "TargetEjectionCount" not in it.counters


async def test_flapping_target_is_left_out_for_longer_and_longer() -> None:
    """No GET fails, the others have their share, and when it is well for good it is as any other."""
    moody = Moody()
    clock = FakeClock()
    told: list[events.Event] = []
    async with (
        target(moody) as flapping,
        named("b", "c") as (b, c),
        house(flapping.address, b.address, c.address, clock=clock, ejection=ejection(probation=3)) as it,
    ):
        it.load_balancer.subscribe(told.append)
        member = it.member(flapping.address)
        for seconds in (10, 20, 40, 80):
            moody.broken = True
            assert await asked(it, 12) == {200: 12}
            assert member.ejected_until == clock.monotonic() + seconds
            moody.broken = False
            before = moody.answered
            assert await asked(it, 6) == {200: 6}
            it.later(seconds - 0.5)
            assert await asked(it, 6) == {200: 6}
            assert moody.answered == before
            it.later(0.5)
            # It is well for a moment, and not for long enough.
            assert await asked(it, 4) == {200: 4}
            assert moody.answered > before
            assert member.probation
        assert await asked(it, 12) == {200: 12}
        assert not member.probation
        before = moody.answered
        assert await asked(it, 30) == {200: 30}
        assert moody.answered == before + 10
        assert it.counters["TargetEjectionCount"] == 4
        ejected = [event.seconds for event in told if isinstance(event, events.TargetEjected)]
        assert ejected == pytest.approx([10, 20, 40, 80])
        assert sum(isinstance(event, events.TargetReadmitted) for event in told) == 4


async def test_target_on_probation_gets_one_request_at_a_time() -> None:
    """However many come at once; the others go elsewhere and do not wait."""
    held = Held()
    clock = FakeClock()
    async with (
        target(held) as slow,
        named("b") as (b,),
        house(slow.address, b.address, clock=clock, ejection=ejection(1, probation=2)) as it,
    ):
        choice, member = it.runtime.choices["group"], it.member(slow.address)
        choice.eject(member, "the test says so")
        it.later(DURATION)
        for answers in (1, 2):
            while choice.peek(request_for()) is not member:
                assert await asked(it, 1) == {200: 1}
            waiting = await it.client()
            await it.asking(waiting, member)
            assert await asked(it, 10) == {200: 10}
            assert member.outstanding == 1
            assert held.heads == answers
            held.release.set()
            assert (await waiting.response()).body == b"held"
            held.release.clear()
        assert not member.probation
        clients = [await it.client() for _ in range(6)]
        for client in clients:
            client.send(request("GET", "/"))
        async with asyncio.timeout(5):
            while member.outstanding < 3:
                await asyncio.sleep(0)
        held.release.set()
        assert [(await client.response()).status for client in clients] == [200] * 6


async def test_5xx_on_probation_ejects_again() -> None:
    """The client gets the answer; the next ones go elsewhere for twice as long."""
    clock = FakeClock()
    async with (
        target(None, response(503)) as bad,
        named("b") as (b,),
        house(bad.address, b.address, clock=clock, ejection=ejection(1)) as it,
    ):
        member = it.member(bad.address)
        it.runtime.choices["group"].eject(member, "the test says so")
        assert await asked(it, 10) == {200: 10}
        it.later(DURATION)
        assert await asked(it, 10) == {503: 1, 200: 9}
        assert member.ejected_until == clock.monotonic() + 2 * DURATION
        (line,) = it.load_balancer.describe_target_health("group", bad.address)
        assert line.description == "Ejected for 20 s: it answered 503 during its probation"
        assert line.state == "unavailable"
        assert line.anomaly_detection.mitigation_in_effect


async def test_target_whose_answers_are_errors_is_ejected_by_comparison() -> None:
    """Every request is answered, only badly: at the next look five seconds later it is out."""
    clock = FakeClock()
    async with target(None, response(500)) as bad, named("b", "c") as (b, c), house(bad.address, b.address, c.address, clock=clock) as it:
        assert await asked(it, 45) == {500: 15, 200: 30}
        assert "TargetEjectionCount" not in it.counters
        it.later(5)
        assert it.counters["TargetEjectionCount"] == it.counters["AnomalousHostCount"] == 1
        assert await asked(it, 12) == {200: 12}


async def test_clients_that_leave_are_never_a_targets_fault() -> None:
    """Before the answer, in the middle of their own body, in the middle of the answer; on probation as well."""

    async def slow(conversation: Conversation) -> None:
        head = await conversation.head()
        if b" /begins " in head:
            conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegins")
        await conversation.read_to_end()

    clock = FakeClock()
    async with target(slow) as a, named("b") as (b,), house(a.address, b.address, clock=clock, ejection=ejection(1)) as it:
        choice, member = it.runtime.choices["group"], it.member(a.address)
        for probation in (0, 5):
            member.probation = probation
            for data in (
                request("GET", "/never"),
                request("POST", "/never", "Content-Length: 1000000", body=b"some"),
                request("POST", "/never", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"),
                request("GET", "/begins"),
            ):
                for reset in (True, False):
                    while choice.peek(request_for()) is not member:
                        assert await asked(it, 1) == {200: 1}
                    client = await it.client()
                    await it.asking(client, member, data)
                    if b"/begins" in data:
                        await client.read_until(b"begins")
                    if reset:
                        client.reset()
                    else:
                        await client.close()
                    async with asyncio.timeout(5):
                        while member.outstanding:
                            await asyncio.sleep(0)
            assert member.errors == member.failures_in_row == 0
        assert "TargetEjectionCount" not in it.counters


async def test_session_of_an_ejected_target_goes_elsewhere_and_stays_there() -> None:
    """Its cookie then names the new one, also when the old one is back."""
    moody = Moody(broken=False)
    clock = FakeClock()
    async with (
        target(moody) as a,
        named("b") as (b,),
        house(a.address, b.address, clock=clock, stickiness=alb.LbCookie(), ejection=ejection(1)) as it,
    ):
        client = await it.client()
        answer = await client.get()
        while answer.body != b"moody":
            answer = await client.get()
        cookie = cookie_of(answer)
        moody.broken = True
        answers = [await client.get("/", f"Cookie: AWSALB={cookie}") for _ in range(3)]
        assert {(answer.status, answer.body) for answer in answers} == {(200, b"b")}
        assert it.counters["TargetEjectionCount"] == 1
        moody.broken = False
        it.later(DURATION)
        for _ in range(4):
            assert (await client.get("/", f"Cookie: AWSALB={cookie_of(answers[-1])}")).body == b"b"


async def test_tunnels_of_an_ejected_target_stay() -> None:
    """What goes on there may be well; new ones go elsewhere."""

    async def script(conversation: Conversation) -> None:
        head = await conversation.head()
        if b"Upgrade: websocket" in head:
            conversation.send(SWITCHED)
            await echo(conversation)
        else:
            conversation.reset()

    async with target(script) as a, target(script) as b, house(a.address, b.address, ejection=ejection(1)) as it:
        choice = it.runtime.choices["group"]
        first = await it.client()
        first.send(request("GET", "/ws", *UPGRADE))
        assert (await first.response()).status == 101
        member = next(member for member in choice.group.members.values() if member.tunnels)
        choice.eject(member, "the test says so")
        first.send(b"still here")
        async with asyncio.timeout(5):
            assert await first.read_exactly(10) == b"still here"
        for _ in range(3):
            client = await it.client()
            client.send(request("GET", "/ws", *UPGRADE))
            assert (await client.response()).status == 101
        assert member.tunnels == 1
        assert len(it.load_balancer.tunnels) == 4


async def test_target_whose_probation_is_a_tunnel_gets_its_share_again() -> None:
    """A tunnel is answered with its 101; while it lives the target goes on proving itself."""

    async def script(conversation: Conversation) -> None:
        head = await conversation.head()
        if b"Upgrade: websocket" in head:
            conversation.send(SWITCHED)
        await echo(conversation)

    clock = FakeClock()
    async with target(script) as a, target(script) as b, house(a.address, b.address, clock=clock, ejection=ejection(1, probation=2)) as it:
        member = it.member(a.address)
        it.runtime.choices["group"].eject(member, "the test says so")
        it.later(DURATION)
        for _ in range(12):
            client = await it.client()
            client.send(request("GET", "/ws", *UPGRADE))
            assert (await client.response()).status == 101
        assert member.probation == 0
        assert member.tunnels >= 4

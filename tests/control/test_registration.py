from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

import albkit as alb
from albkit import events
from albkit.control.registration import Registration
from albkit.errors import Failure, FailureKind
from albkit.policy.target_choice import TargetChoice
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState
from tests.policy.requests import request_for
from tests.support.clock import FakeClock


class _House:
    """A group and its registration, with a stand-in for the sockets."""

    def __init__(self, *targets: str, delay: float = 30) -> None:
        self.clock = FakeClock()
        self.told: list[events.Event] = []
        self.cut: list[Failure] = []
        self.dropped: list[TargetState] = []
        client = SimpleNamespace(fail=self.cut.append)
        bound = lambda member: [client] * member.outstanding  # noqa: E731
        connections = SimpleNamespace(drop_idle=self.dropped.append, bound_to=bound, contexts=None)
        gateway: Any = SimpleNamespace(clock=self.clock, loop=asyncio.get_running_loop(), sweep=set(), connections=connections, tunnels=())
        self.registration = Registration(gateway, self.told.append)
        group = alb.TargetGroup("api", list(targets), deregistration_delay=delay)
        self.choice = TargetChoice(TargetGroupState(group), self.clock)

    def member(self, address: str) -> TargetState:
        return self.choice.group.members[address]

    def deregister(self, *hosts: str) -> None:
        self.registration.deregister(self.choice, [alb.Target(host, 80) for host in hosts])

    def register(self, *targets: alb.Target) -> None:
        self.registration.register(self.choice, targets)

    @property
    def eligible(self) -> list[str]:
        return [member.address for member in self.choice.group.eligible]

    def states(self, targets: Any = None) -> list[tuple[str, str, str | None]]:
        return [(str(line.target), line.state, line.reason) for line in self.registration.describe(self.choice, targets)]


async def test_registered_target_gets_the_next_request() -> None:
    """Known and eligible at once, behind those that were there, and announced once."""
    house = _House("a:80")
    house.register(alb.Target("b", 80, weight=2))
    assert house.eligible == ["a:80", "b:80"]
    assert house.told == [events.TargetRegistered("api", alb.Target("b", 80, weight=2))]
    house.register(alb.Target("b", 80, weight=2))
    assert len(house.told) == 1


async def test_registered_again_with_another_weight_takes_it() -> None:
    """The same target, the same state, the new share."""
    house = _House("a:80", "b:80")
    before = house.member("a:80")
    before.requests = 7
    house.register(alb.Target("a", 80, weight=3))
    assert house.member("a:80") is before
    picks = [house.choice.pick(request_for()) for _ in range(8)]
    assert picks.count(before) == 6


async def test_deregistered_target_without_exchanges_is_gone_at_once() -> None:
    """None in flight: deregistration completes immediately (docs/alb.md 5.7)."""
    house = _House("a:80", "b:80")
    gone = house.member("a:80")
    house.deregister("a")
    assert house.eligible == ["b:80"]
    assert list(house.choice.group.members) == ["b:80"]
    assert house.dropped == [gone]
    assert [type(event) for event in house.told] == [events.TargetStateChanged, events.TargetDrained]
    await house.registration.drained(house.choice.group.group.name, alb.Target("a", 80), None)


async def test_deregistered_target_with_exchanges_drains_until_the_last_is_over() -> None:
    """`draining` at once, no new requests, and gone with its last exchange (docs/alb.md 5.7)."""
    house = _House("a:80", "b:80")
    member = house.member("a:80")
    house.choice.started(member)
    house.choice.started(member)
    house.deregister("a")
    assert house.eligible == ["b:80"]
    assert house.states()[0] == ("a:80", "draining", "Target.DeregistrationInProgress")
    waiting = asyncio.ensure_future(house.registration.drained(house.choice.group.group.name, alb.Target("a", 80), None))
    await asyncio.sleep(0)
    house.choice.finished(member)
    await asyncio.sleep(0)
    assert not waiting.done()
    house.choice.finished(member)
    async with asyncio.timeout(5):
        await waiting
    assert house.told[-1] == events.TargetDrained("api", alb.Target("a", 80))
    assert list(house.choice.group.members) == ["b:80"]


async def test_deregistering_unknown_and_draining_targets_is_no_fault() -> None:
    """It succeeds (docs/alb.md 1.9), and a second time does not prolong the delay."""
    house = _House("a:80")
    house.deregister("x")
    member = house.member("a:80")
    house.choice.started(member)
    house.deregister("a")
    deadline = member.deadline
    house.clock.advance(10)
    house.deregister("a")
    assert member.deadline == deadline
    assert len(house.told) == 1


async def test_deregistration_delay_over_cuts_what_goes_on() -> None:
    """Delay reached with a request in flight: 502 (docs/alb.md 5.7), and not a moment earlier."""
    house = _House("a:80", delay=30)
    house.choice.started(house.member("a:80"))
    house.deregister("a")
    house.clock.advance(29.9)
    house.registration.sweep(house.clock.monotonic())
    assert house.cut == []
    house.clock.advance(0.1)
    house.registration.sweep(house.clock.monotonic())
    assert [failure.kind for failure in house.cut] == [FailureKind.DEREGISTRATION_DELAY_OVER]


async def test_target_registered_again_while_draining_comes_back() -> None:
    """Re-registering during draining is allowed (docs/alb.md 5.7): the same state, eligible again, and nothing is cut."""
    house = _House("a:80", delay=30)
    member = house.member("a:80")
    house.choice.started(member)
    house.deregister("a")
    assert house.choice.pick(request_for()) is None
    house.register(alb.Target("a", 80))
    assert house.choice.pick(request_for()) is member
    house.clock.advance(60)
    house.registration.sweep(house.clock.monotonic())
    house.choice.finished(member)
    assert house.cut == []
    assert house.eligible == ["a:80"]
    assert house.states() == [("a:80", "unavailable", "Target.HealthCheckDisabled")]


async def test_drained_waits_no_longer_than_it_is_told() -> None:
    """TimeoutError, and the target drains on."""
    house = _House("a:80")
    house.choice.started(house.member("a:80"))
    house.deregister("a")
    with pytest.raises(TimeoutError):
        await house.registration.drained(house.choice.group.group.name, alb.Target("a", 80), 0)
    assert house.states()[0][1] == "draining"


@pytest.mark.parametrize("address", ["a", "x"], ids=["not draining", "unknown"])
async def test_drained_returns_at_once_where_nothing_drains(address: str) -> None:
    """Nothing to wait for is no fault."""
    house = _House("a:80")
    async with asyncio.timeout(5):
        await house.registration.drained(house.choice.group.group.name, alb.Target(address, 80), None)
        await house.registration.drained("nobody", alb.Target(address, 80), None)


async def test_closing_lets_all_go_who_wait_for_a_drain() -> None:
    """The load balancer stops: there is nothing to wait for any more."""
    house = _House("a:80")
    house.choice.started(house.member("a:80"))
    house.deregister("a")
    waiting = asyncio.ensure_future(house.registration.drained(house.choice.group.group.name, alb.Target("a", 80), None))
    await asyncio.sleep(0)
    house.registration.close()
    async with asyncio.timeout(5):
        await waiting


async def test_health_of_given_targets_tells_of_unknown_ones_too() -> None:
    """`unused`, `Target.NotRegistered` (docs/alb.md 1.9), in the order asked."""
    house = _House("a:80", "b:80")
    asked = [alb.Target("x", 80), alb.Target("b", 80)]
    assert house.states(asked) == [("x:80", "unused", "Target.NotRegistered"), ("b:80", "unavailable", "Target.HealthCheckDisabled")]
    assert all(line.description for line in house.registration.describe(house.choice, asked))

"""A target's share while it begins: who begins slowly, how fast the share grows, and when that ends."""

from __future__ import annotations

import random
from collections import Counter

import pytest

import albkit as alb
from albkit.policy.target_choice import TargetChoice
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState
from tests.policy.requests import request_for
from tests.support.clock import FakeClock

HEALTHY, UNHEALTHY, INITIAL, DRAINING = (
    alb.TargetHealthState.HEALTHY,
    alb.TargetHealthState.UNHEALTHY,
    alb.TargetHealthState.INITIAL,
    alb.TargetHealthState.DRAINING,
)
DURATION = 100


class Group:
    """A group of targets a, b, c, ... whose states a test sets."""

    def __init__(self, states: str, weights: dict[str, int] | None = None, duration: float = DURATION) -> None:
        weights = weights or {}
        self.clock = FakeClock(random.Random(5).random)
        names = "abcdefgh"[: len(states.split())]
        targets = [alb.Target(name, 80, weight=weights.get(name, 1)) for name in names]
        described = alb.TargetGroup("group", targets, health_check=alb.HealthCheck(), slow_start=duration)
        self.state = TargetGroupState(described)
        self.members = dict(zip(names, self.state.members.values(), strict=True))
        for member, state in zip(self.members.values(), states.split(), strict=True):
            member.state = alb.TargetHealthState(state)
        self.choice = TargetChoice(self.state, self.clock)
        if HEALTHY in [member.state for member in self.members.values()]:
            # The others have come when these had their full share.
            for member in self.members.values():
                member.joined_late = not member.was_healthy

    def become(self, name: str, state: alb.TargetHealthState) -> None:
        self.members[name].state = state
        self.choice.refresh()

    def shares(self, picks: int = 20_000) -> dict[str, float]:
        """Of so many requests, by target."""
        counted: Counter[TargetState | None] = Counter(self.choice.pick(request_for()) for _ in range(picks))
        return {name: counted[member] / picks for name, member in self.members.items()}


@pytest.mark.parametrize("grown", [0.0, 0.1, 0.25, 0.5, 0.75, 0.99])
def test_share_grows_in_a_straight_line(grown: float) -> None:
    """At a quarter of the time it is a quarter of what it will be; the others share the rest alike."""
    group = Group("healthy healthy healthy initial")
    group.become("d", HEALTHY)
    group.clock.advance(grown * DURATION)
    shares = group.shares()
    assert shares["d"] == pytest.approx(grown / 4, abs=0.01)
    for name in "abc":
        assert shares[name] == pytest.approx((1 - grown / 4) / 3, abs=0.015)


def test_share_is_whole_when_the_time_is_over() -> None:
    """Exactly then, and the turns are even again."""
    group = Group("healthy healthy initial")
    group.become("c", HEALTHY)
    group.clock.advance(DURATION)
    group.shares(3)
    assert group.shares(300) == {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}


def test_what_is_too_much_goes_to_the_others_by_weight() -> None:
    """And never to a target of weight 0."""
    group = Group("healthy healthy healthy initial", {"a": 6, "b": 2, "c": 0, "d": 8})
    group.become("d", HEALTHY)
    shares = group.shares()
    assert shares["a"] == pytest.approx(0.75, abs=0.015)
    assert shares["b"] == pytest.approx(0.25, abs=0.015)
    assert (shares["c"], shares["d"]) == (0, 0)


@pytest.mark.parametrize("states", ["initial initial", "initial unhealthy", "unhealthy draining"])
def test_first_healthy_targets_have_their_share_at_once(states: str) -> None:
    """They do not wait for the first of them to be checked; who comes later does."""
    group = Group(states)
    for name in "ab":
        group.become(name, HEALTHY)
        assert group.members[name].slow_since is None
    late = group.state.members["late:80"] = TargetState(alb.Target("late", 80), checked=True)
    group.choice.refresh()
    late.state = HEALTHY
    group.choice.refresh()
    assert late.slow_since is not None


def test_all_that_become_healthy_together_in_an_empty_group_have_their_share_at_once() -> None:
    """The first batch is no reason for each other to begin slowly."""
    group = Group("initial initial initial")
    for member in group.members.values():
        member.state = HEALTHY
    group.choice.refresh()
    assert group.shares(300) == {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}


@pytest.mark.parametrize("meanwhile", [UNHEALTHY, DRAINING, INITIAL])
def test_target_that_falls_ill_begins_anew(meanwhile: alb.TargetHealthState) -> None:
    """Its time counts from when it is healthy again."""
    group = Group("healthy initial")
    group.become("b", HEALTHY)
    group.clock.advance(60)
    group.become("b", meanwhile)
    assert group.members["b"].slow_since is None
    group.clock.advance(5)
    group.become("b", HEALTHY)
    group.clock.advance(50)
    assert group.shares()["b"] == pytest.approx(0.25, abs=0.01)


def test_other_changes_leave_the_time_alone() -> None:
    """A target that comes or goes beside it is no new beginning."""
    group = Group("healthy initial initial")
    group.become("b", HEALTHY)
    group.clock.advance(50)
    group.become("c", HEALTHY)
    assert group.clock.monotonic() - (group.members["b"].slow_since or 0) == 50


def test_target_that_is_left_alone_takes_everything() -> None:
    """Slow or not, there is nobody else."""
    group = Group("healthy initial")
    group.become("b", HEALTHY)
    group.become("a", UNHEALTHY)
    assert group.shares(100) == {"a": 0, "b": 1}


def test_healthy_targets_do_not_begin_anew_when_the_setting_is_made() -> None:
    """ALB: targets that are healthy already skip it."""
    group = Group("healthy healthy", duration=0)
    group.state.group = alb.TargetGroup("group", ["a:80", "b:80"], slow_start=DURATION)
    group.choice.refresh()
    assert group.shares(100) == {"a": 0.5, "b": 0.5}


def test_target_without_checks_begins_slowly_when_it_is_registered() -> None:
    """Nothing is known of it, but it is new."""
    clock = FakeClock(random.Random(5).random)
    state = TargetGroupState(alb.TargetGroup("group", "a:80", slow_start=DURATION))
    choice = TargetChoice(state, clock)
    new = state.members["b:80"] = TargetState(alb.Target("b", 80))
    choice.refresh()
    assert Counter(choice.pick(request_for()) for _ in range(100))[new] == 0
    clock.advance(DURATION / 2)
    assert Counter(choice.pick(request_for()) for _ in range(10_000))[new] == pytest.approx(2500, abs=150)


@pytest.mark.parametrize("algorithm", ["least_outstanding_requests", "weighted_random"])
def test_slow_start_does_not_go_with_these(algorithm: str) -> None:
    """ALB refuses it as well."""
    with pytest.raises(alb.ConfigurationError, match="slow_start: cannot be combined with"):
        alb.TargetGroup("group", "a:80", algorithm=algorithm, slow_start=30)

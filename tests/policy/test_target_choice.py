from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import pytest

import albkit as alb
from albkit.model.health import TargetHealthState
from albkit.model.message import ResponseHead
from albkit.policy.algorithms import round_robin
from albkit.policy.algorithms.least_outstanding_requests import LeastOutstandingRequests
from albkit.policy.target_choice import TargetChoice
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState
from tests.policy.requests import request_for
from tests.support.clock import FakeClock

_NOW = 1_790_000_000.0
_REQUEST = request_for()


def _choice(count: int, stickiness: alb.LbCookie | None = None) -> TargetChoice:
    targets = [f"t{number}:80" for number in range(count)]
    return TargetChoice(TargetGroupState(alb.TargetGroup("api", targets, stickiness=stickiness)), FakeClock(_first()))


def _first() -> Callable[[], float]:
    """Where an algorithm begins is a matter of chance, here with the first target; nothing else is. Once, and for one that follows it."""
    return iter((0.0, 0.0)).__next__


def _members(choice: TargetChoice) -> list[TargetState]:
    return list(choice.group.members.values())


def _cookie_for(choice: TargetChoice, member: TargetState) -> bytes:
    assert choice.stickiness is not None
    return choice.stickiness.fields(member, _REQUEST, ResponseHead(), _NOW).removeprefix(b"Set-Cookie: ").partition(b";")[0]


def test_target_choice_picks_round_robin() -> None:
    """Without a session the algorithm decides."""
    choice = _choice(3)
    picks = [choice.pick(_REQUEST) for _ in range(6)]
    assert [member.address for member in picks if member] == ["t0:80", "t1:80", "t2:80", "t0:80", "t1:80", "t2:80"]


def test_target_choice_of_an_empty_group_has_nobody() -> None:
    """Nobody to pick, and nobody else either (docs/alb.md 5.1, 3: then 503)."""
    choice = _choice(0)
    assert choice.pick(_REQUEST) is None
    assert choice.pick_other([], _REQUEST) is None


def test_target_choice_bound_is_the_sessions_target() -> None:
    """A valid cookie leads to its target whatever the rotation says."""
    choice = _choice(3, alb.LbCookie())
    for member in _members(choice):
        assert choice.bound(request_for(cookie=_cookie_for(choice, member)), _NOW) is member


def test_target_choice_without_stickiness_binds_nobody() -> None:
    """A cookie means nothing to a group without stickiness."""
    sticky = _choice(2, alb.LbCookie())
    assert _choice(2).bound(request_for(cookie=_cookie_for(sticky, _members(sticky)[0])), _NOW) is None


def test_target_choice_does_not_bind_to_a_target_that_may_not_be_chosen() -> None:
    """Unhealthy or draining: a new target by the algorithm (docs/alb.md 5.3)."""
    choice = _choice(2, alb.LbCookie())
    first, second = _members(choice)
    cookie = _cookie_for(choice, first)
    first.state = TargetHealthState.DRAINING
    choice.refresh()
    assert choice.bound(request_for(cookie=cookie), _NOW) is None
    assert choice.pick(_REQUEST) is second


def test_target_choice_with_a_new_algorithm_lets_go_of_who_may_not_be_chosen_any_more() -> None:
    """A target that drains at the moment at which the algorithm changes is not kept for its sessions."""
    choice = _choice(2, alb.LbCookie())
    first, second = _members(choice)
    cookie = _cookie_for(choice, first)
    first.state = TargetHealthState.DRAINING
    choice.group.group = attrs.evolve(choice.group.group, algorithm="least_outstanding_requests")
    choice.refresh()
    assert choice.bound(request_for(cookie=cookie), _NOW) is None
    assert (first.eligible, second.eligible) == (False, True)
    assert choice.pick(_REQUEST) is second


def test_target_choice_bound_moves_no_rotation() -> None:
    """Requests of sessions leave the turns of others as they were."""
    choice = _choice(2, alb.LbCookie())
    choice.bound(request_for(cookie=_cookie_for(choice, _members(choice)[1])), _NOW)
    assert choice.pick(_REQUEST) is _members(choice)[0]


def test_target_choice_other_is_one_not_tried() -> None:
    """Each further try goes to another target, until there is none."""
    choice = _choice(3)
    tried: list[TargetState] = []
    for _ in range(3):
        member = choice.pick_other(tried, _REQUEST)
        assert member is not None
        assert member not in tried
        tried.append(member)
    assert choice.pick_other(tried, _REQUEST) is None


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_target_choice_retries_leave_the_rotation_even(count: int) -> None:
    """With one target down each request is first offered to every target in turn: retries must not make the dead one come up again."""
    choice = _choice(count)
    dead = _members(choice)[0]
    first_picks: Counter[str] = Counter()
    for _ in range(12 * count):
        member = choice.pick(_REQUEST)
        assert member is not None
        first_picks[member.address] += 1
        if member is dead:
            choice.pick_other([member], _REQUEST)
    assert first_picks == {member.address: 12 for member in _members(choice)}


# Changes of a few members among many.


class _Pair:
    """Two groups that go through the same: one looks at all members after each change, the other one at those that have changed."""

    def __init__(self, chance: random.Random, **settings: Any) -> None:
        self.chance = chance
        self.clock = FakeClock(lambda: 0.5)
        group = alb.TargetGroup("web", [alb.Target(f"t{n}", 80) for n in range(4)], health_check=alb.HealthCheck(), **settings)
        self.choices = [TargetChoice(TargetGroupState(group), self.clock) for _ in range(2)]
        self.named = 4

    def each(self, change: Callable[[TargetChoice], TargetState | None]) -> None:
        full, few = self.choices
        if change(full) is not None:
            full.refresh()
        member = change(few)
        if member is not None:
            few.update((member,))

    def step(self) -> None:
        chance = self.chance
        self.clock.advance(chance.choice((0, 1, 30, 61)))
        addresses = list(self.choices[0].group.members)
        turn = chance.random()
        if turn < 0.2 or not addresses:
            self.named += 1
            target = alb.Target(f"t{self.named}", 80, standby=chance.random() < 0.3, max_concurrency=chance.choice((None, None, 1)))
            self.each(lambda choice: self._come(choice, target))
            return
        address = chance.choice(addresses)
        if turn < 0.3:
            self.each(lambda choice: choice.group.members.pop(address))
        elif turn < 0.4:
            weight = chance.choice((0, 1, 1, 5))
            for choice in self.choices:
                choice.reweigh(choice.group.members[address], weight)
        elif turn < 0.5:
            for choice in self.choices:
                choice.eject(choice.group.members[address], "because")
        elif turn < 0.6:
            for choice in self.choices:
                if choice.group.members[address].ejected_until is not None:
                    choice.readmit(choice.group.members[address])
        elif turn < 0.7:
            for choice in self.choices:
                choice.started(choice.group.members[address])
                choice.finished(choice.group.members[address])
        else:
            state = chance.choice(list(TargetHealthState)[:4] + [TargetHealthState.HEALTHY] * 3)
            self.each(lambda choice: self._become(choice, address, state))

    def _come(self, choice: TargetChoice, target: alb.Target) -> TargetState:
        member = choice.group.members[str(target)] = TargetState(target, checked=True)
        return member

    def _become(self, choice: TargetChoice, address: str, state: TargetHealthState) -> TargetState:
        member = choice.group.members[address]
        member.state = state
        return member

    def seen(self, choice: TargetChoice) -> object:
        members = choice.group.members.values()
        cookies = [_cookie_for(choice, member) for member in members] if choice.group.group.stickiness is not None else []
        room = choice.room
        return (
            [member.address for member in choice.group.eligible],
            [member.address for member in choice._algorithm._algorithm._targets],
            choice.group.fails_open,
            [(one.address, one.eligible, one.was_healthy, one.joined_late, one.ejected_until) for one in members],
            [one.slow_since for one in members if one.slow_since is not None and self.clock.now - one.slow_since < 60],
            cookies,
            [choice.bound(request_for(cookie=cookie), _NOW) is member for cookie, member in zip(cookies, members, strict=False)],
            room is not None,
            room is not None and [room.has(member) for member in members],
        )


@pytest.mark.parametrize(
    "settings",
    [
        {"slow_start": 60, "ejection": alb.Ejection(max_percent=100)},
        {"algorithm": "least_outstanding_requests", "stickiness": None},
        {"minimum_healthy_targets": (2, "50%"), "ejection": alb.Ejection()},
        {"stickiness": alb.LbCookie()},
    ],
    ids=["slow start", "least outstanding", "minimum", "sticky"],
)
@pytest.mark.parametrize("seed", range(20))
def test_target_choice_that_looks_at_what_has_changed_sees_what_looking_at_all_sees(settings: dict[str, Any], seed: int) -> None:
    """Who may be chosen, in which order, who begins slowly, who has room, whom cookies bind: after any changes, in any order."""
    pair = _Pair(random.Random(seed), **settings)
    for _ in range(150):
        pair.step()
        full, few = map(pair.seen, pair.choices)
        assert few == full
        for choice in pair.choices:
            # All that may be chosen are chosen in the end, and nobody else is.
            picked = {choice.pick(_REQUEST) for _ in range(60)} - {None}
            usable = [member for member in choice.group.eligible if member.weight] or list(choice.group.eligible)
            if choice.room is None and settings.get("slow_start") is None and not any(member.probation for member in usable):
                assert picked <= set(usable)
                if choice.group.group.algorithm == "round_robin":
                    assert picked == set(usable)


class _Watched(TargetState):
    """Counts how often somebody looks at its state."""

    looked = 0

    @property
    def state(self) -> TargetHealthState:  # type: ignore[override]
        _Watched.looked += 1
        return self._state

    @state.setter
    def state(self, state: TargetHealthState) -> None:
        self._state = state


@pytest.mark.parametrize("algorithm", ["round_robin", "least_outstanding_requests"])
def test_target_choice_among_a_thousand_looks_at_those_that_have_changed(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that falls ill, is well again, comes or goes costs a few looks, and its next pick makes no other schedule."""
    choice = TargetChoice(TargetGroupState(alb.TargetGroup("web", algorithm=algorithm)), FakeClock())
    for number in range(1000):
        member = _Watched(alb.Target(f"t{number}", 80))
        choice.group.members[member.address] = member
    choice.refresh()
    assert choice.pick(_REQUEST) is not None
    first = next(iter(choice.group.members.values()))
    late = _Watched(alb.Target("late", 80))
    monkeypatch.setattr(round_robin, "weights_of", None)
    monkeypatch.setattr(LeastOutstandingRequests, "_rebuild", None)
    _Watched.looked = 0
    for state in (TargetHealthState.UNHEALTHY, TargetHealthState.UNAVAILABLE, TargetHealthState.DRAINING):
        first.state = state
        choice.update((first,))
        assert (first in choice.group.eligible) is (state is TargetHealthState.UNAVAILABLE)
        assert choice.pick(_REQUEST) is not None
    del choice.group.members[first.address]
    choice.update((first,))
    choice.group.members[late.address] = late
    choice.update((late,))
    assert choice.group.eligible[-1] is late
    assert choice.pick(_REQUEST) is not None
    assert _Watched.looked <= 40


def test_target_choice_tells_its_algorithm_in_order_who_has_come() -> None:
    """Also the first ones of all: they take their turns as they were given."""
    choice = _choice(0)
    members = [TargetState(alb.Target(f"t{number}", 80)) for number in range(16)]
    for member in members:
        choice.group.members[member.address] = member
    choice.update(members)
    assert [choice.pick(_REQUEST) for _ in range(16)] == members

"""Where an algorithm begins: many load balancers that are started at the same time must not all begin with the same target."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

import albkit as alb
from albkit.policy.concurrency import Capacity
from albkit.policy.target_choice import TargetChoice
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState
from tests.policy.requests import request_for
from tests.support.clock import FakeClock

_TURNS = ["round_robin", "least_outstanding_requests", "by_traffic"]
_REQUEST = request_for()


def choice_of(algorithm: Any, weights: str = "1111", chance: Any = (0.0,)) -> TargetChoice:
    targets = [alb.Target(name, 80, weight=int(weight)) for name, weight in zip("abcd", weights, strict=False)]
    return TargetChoice(TargetGroupState(alb.TargetGroup("group", targets, algorithm=algorithm)), FakeClock(chance))


def served(choice: TargetChoice) -> str:
    """Which target had the next request, which is over now."""
    member = choice.pick(_REQUEST)
    assert member is not None
    choice.started(member)
    if choice.hears_traffic:
        choice.transferred(member, 500)
    choice.finished(member)
    return member.target.host


@pytest.mark.parametrize("algorithm", [*_TURNS, "weighted_random", "least_response_time"])
def test_fresh_algorithms_do_not_all_begin_with_the_same_target(algorithm: str) -> None:
    """Each target is the first one as often as any other."""
    chance = random.Random(3).random
    first = Counter(served(choice_of(algorithm, chance=chance)) for _ in range(800))
    assert set(first) == set("abcd")
    assert min(first.values()) > 140


def test_fresh_round_robin_begins_with_each_target_as_often_as_its_weight_says() -> None:
    """And never with one of weight 0."""
    chance = random.Random(4).random
    first = Counter(served(choice_of("round_robin", "3011", chance=chance)) for _ in range(1000))
    assert set(first) == set("acd")
    assert 0.54 < first["a"] / 1000 < 0.66


@pytest.mark.parametrize("algorithm", _TURNS)
def test_first_target_is_followed_by_all_others(algorithm: str) -> None:
    """Wherever it begins, each has its turn before one has a second."""
    chance = random.Random(5).random
    for _ in range(50):
        choice = choice_of(algorithm, chance=chance)
        for _ in range(3):
            assert sorted(served(choice) for _ in range(4)) == list("abcd")


@pytest.mark.parametrize("algorithm", _TURNS)
@pytest.mark.parametrize("weights", ["1111", "2221"])
@pytest.mark.parametrize("change", ["weight", "leaves and joins", "nothing"])
def test_change_of_one_target_begins_nothing_anew(algorithm: str, weights: str, change: str) -> None:
    """Else a group in which something changes again and again would ask the same target every time."""
    choice = choice_of(algorithm, weights, chance=random.Random(8).random)
    member = choice.group.members["d:80"]
    seen: Counter[str] = Counter()
    for _ in range(60):
        seen[served(choice)] += 1
        if change == "weight":
            choice.reweigh(member, 2)
            choice.reweigh(member, 1)
        elif change == "leaves and joins":
            for state in (alb.TargetHealthState.UNHEALTHY, alb.TargetHealthState.UNAVAILABLE):
                member.state = state
                choice.refresh()
        else:
            choice.refresh()
    assert min(seen[name] for name in "abc") >= 6, seen
    assert max(seen.values()) <= 36, seen


def test_target_that_had_a_request_while_another_joined_is_not_the_next_one() -> None:
    """A session's, say: also what happens between a change and the next choice counts."""
    for weights in ("1111", "2221"):
        choice = choice_of("least_outstanding_requests", weights)
        assert served(choice) == "a"
        member = choice.group.members["d:80"]
        choice.reweigh(member, member.weight)
        second = choice.group.members["b:80"]
        choice.started(second)
        choice.finished(second)
        assert served(choice) == "c"


@pytest.mark.parametrize("algorithm", _TURNS)
def test_question_moves_no_rotation(algorithm: str) -> None:
    """What would be picked is told, as often as one asks, from the first request on; then it is picked."""
    chance = random.Random(6).random
    for _ in range(20):
        choice = choice_of(algorithm, chance=chance)
        for _ in range(6):
            told = {choice.peek(_REQUEST) for _ in range(3)}
            assert len(told) == 1
            (member,) = told
            assert member is not None
            assert served(choice) == member.target.host


def test_targets_with_room_keep_their_order() -> None:
    """Also where something happens to one of them: the one that has had room for longest is the next one."""
    members = [TargetState(alb.Target(name, 80, max_concurrency=2)) for name in "abc"]
    room = Capacity()
    room.settle(members)
    full = TargetState(alb.Target("full", 80, max_concurrency=1))
    seen = []
    for _ in range(6):
        member = room.for_one_more(full)
        assert member is not None
        seen.append(member.target.host)
        room.began(member)
        room.settle(members)
    assert seen == list("abcabc")

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from copy import copy
from functools import partial
from itertools import pairwise
from math import sqrt
from typing import Any, overload

import pytest
from hypothesis import given
from hypothesis import strategies as st

import albkit as alb
from albkit.policy.algorithms import ALGORITHMS, algorithm_for
from albkit.policy.algorithms.by_traffic import ByTraffic
from albkit.policy.algorithms.consistent_hashing import ConsistentHashing
from albkit.policy.algorithms.least_outstanding_requests import LeastOutstandingRequests
from albkit.policy.algorithms.round_robin import RoundRobin
from albkit.policy.algorithms.weighted_random import WeightedRandom
from albkit.state.target import TargetState
from tests.support.clock import FakeClock

_IN_ORDER = FakeClock([0.0])
"""Every algorithm begins with its first target."""

_ALL = [
    *(pytest.param(partial(kind, _IN_ORDER), id=name) for name, kind in ALGORITHMS.items()),
    pytest.param(lambda: ConsistentHashing(_IN_ORDER, alb.ConsistentHash(load_bound=None)), id="consistent_hash without a bound"),
]


def _no_chance() -> float:
    raise AssertionError("this algorithm is no matter of chance")


class _Group:
    """Targets and the algorithm that is told of them, as a target choice tells it."""

    def __init__(self, algorithm: Any, weights: Sequence[int], chance: Any = _no_chance) -> None:
        self.algorithm = algorithm
        self.chance = chance
        self.members = [TargetState(alb.Target(f"t{number}", 80, weight=weight)) for number, weight in enumerate(weights)]
        self.candidates = list(self.members)
        for member in self.members:
            algorithm.joined(member)

    def pick(self) -> int | None:
        member = self.algorithm.choose(self.candidates, self.chance)
        return None if member is None else self.members.index(member)

    def picks(self, count: int) -> list[int | None]:
        return [self.pick() for _ in range(count)]

    def leave(self, number: int) -> None:
        self.candidates.remove(self.members[number])
        self.algorithm.left(self.members[number])

    def join(self, number: int) -> None:
        self.candidates.append(self.members[number])
        self.algorithm.joined(self.members[number])

    def start(self, number: int | None) -> None:
        assert number is not None
        self.members[number].outstanding += 1
        self.algorithm.started(self.members[number])

    def finish(self, number: int) -> None:
        self.members[number].outstanding -= 1
        self.algorithm.finished(self.members[number])


def _evenly(count: int) -> Any:
    """A chance that goes through [0, 1) in equal steps, in a scattered order."""
    step = next(step for step in range(int(count * 0.618), count) if count % step and all(step % prime for prime in (2, 5)))
    return iter([((place * step) % count + 0.5) / count for place in range(count)]).__next__


# All of them.


@pytest.mark.parametrize("kind", _ALL)
def test_algorithm_without_candidates_has_nobody(kind: Any) -> None:
    """No candidates, no target, before the first has joined and after the last has left."""
    group = _Group(kind(), [], lambda: 0.5)
    assert group.pick() is None
    group = _Group(kind(), [1], lambda: 0.5)
    group.leave(0)
    assert group.pick() is None


@pytest.mark.parametrize("kind", _ALL)
@pytest.mark.parametrize("weight", [0, 1, 999])
def test_algorithm_with_one_target_always_gives_it(kind: Any, weight: int) -> None:
    """Whatever its weight: it is all there is."""
    assert _Group(kind(), [weight], lambda: 0.999).picks(5) == [0] * 5


@pytest.mark.parametrize("kind", _ALL)
def test_algorithm_gives_a_target_of_weight_0_nothing_while_others_have_some(kind: Any) -> None:
    """0 gets no new request, at either end of the list."""
    group = _Group(kind(), [0, 2, 0, 1, 0], random.Random(1).random)
    for _ in range(100):
        number = group.pick()
        assert number in (1, 3)
        group.start(number)


@pytest.mark.parametrize("kind", [RoundRobin, LeastOutstandingRequests, WeightedRandom, ByTraffic])
def test_algorithm_with_all_weights_0_treats_all_alike(kind: Any) -> None:
    """A group that has targets never chooses none."""
    group = _Group(kind(_IN_ORDER), [0, 0, 0, 0], _evenly(100))
    counts: Counter[int | None] = Counter()
    for _ in range(100):
        number = group.pick()
        counts[number] += 1
        group.start(number)
    assert counts == {0: 25, 1: 25, 2: 25, 3: 25}


@pytest.mark.parametrize("kind", _ALL)
def test_algorithm_takes_up_weights_when_a_target_leaves_or_comes(kind: Any) -> None:
    """When the last target with a weight leaves those of 0 stand in; when it comes back they rest again."""
    group = _Group(kind(), [3, 0], lambda: 0.3)
    assert group.picks(3) == [0, 0, 0]
    group.leave(0)
    assert group.picks(3) == [1, 1, 1]
    group.join(0)
    assert group.picks(3) == [0, 0, 0]


@pytest.mark.parametrize("kind", _ALL)
def test_algorithm_asked_for_a_second_try_keeps_to_the_candidates(kind: Any) -> None:
    """A retry offers fewer candidates than have joined: one of those, by weight where there is any, else any at all."""
    group = _Group(kind(), [1, 0, 2], random.Random(2).random)
    first, second, third = group.members
    for _ in range(20):
        assert group.algorithm.choose([second, third], group.chance) is third
        assert group.algorithm.choose([second], group.chance) is second
        assert group.algorithm.choose([first, second], group.chance) is first
    assert group.algorithm.choose([], group.chance) is None


# Not least_outstanding_requests: who has most room for one more request is always the heaviest while nothing else goes on.
@pytest.mark.parametrize("kind", [kind for kind in _ALL if kind.id != "least_outstanding_requests"])
@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [4, 2, 1, 1], [0, 5, 0, 3], [0, 0, 0, 0]], ids=str)
def test_algorithm_gives_each_target_about_its_share(kind: Any, weights: list[int]) -> None:
    """Requests one after the other, by weight: within five standard deviations of chance, and of a ring's points."""
    group = _Group(kind(), weights, random.Random(4).random)
    count = 4000
    counts: Counter[int | None] = Counter()
    for _ in range(count):
        number = group.pick()
        counts[number] += 1
        group.start(number)
        if hasattr(group.algorithm, "transferred"):
            group.algorithm.transferred(group.members[number or 0], 1000)
        group.finish(number or 0)
    shares = weights if any(weights) else [1] * len(weights)
    for number, weight in enumerate(shares):
        expected = count * weight / sum(shares)
        points = 160 * weight / max(shares)
        assert abs(counts[number] - expected) <= (5 * sqrt(expected * (1 - expected / count) + expected**2 / points) if weight else 0)


@pytest.mark.parametrize("kind", _ALL)
@given(
    weights=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    events=st.lists(
        st.tuples(st.sampled_from(["start", "finish", "leave", "join", "reweigh", "retry", "copy"]), st.integers(0, 30)), max_size=40
    ),
    seed=st.integers(0, 1000),
)
def test_algorithm_always_has_one_of_the_candidates(kind: Any, weights: list[int], events: list[tuple[str, int]], seed: int) -> None:
    """Whatever happens, and in any order: a target with a weight where there is one, never one that has left, never nobody."""
    group = _Group(kind(), weights, random.Random(seed).random)
    running: list[int] = []
    for event, index in events:
        number = index % len(weights)
        member = group.members[number]
        if event == "start" and group.candidates:
            chosen = group.pick()
            group.start(chosen)
            running.append(chosen or 0)
        elif event == "finish" and running:
            group.finish(running.pop(index % len(running)))
        elif event == "leave" and member in group.candidates:
            group.leave(number)
        elif event == "join" and member not in group.candidates:
            group.join(number)
        elif event == "reweigh":
            # As a target choice does it: the weight first, and told only where it may be chosen.
            member.weight = index % 4
            if member in group.candidates:
                group.algorithm.left(member)
                group.algorithm.joined(member)
        elif event == "copy":
            # What explain does: ask without taking a turn.
            copy(group.algorithm).choose(group.candidates, group.chance)
        candidates = [one for one in group.candidates if one is not member] if event == "retry" else group.candidates
        chosen_member = group.algorithm.choose(candidates, group.chance)
        assert (chosen_member in candidates) is bool(candidates)
        if any(one.weight for one in candidates):
            assert chosen_member.weight


@pytest.mark.parametrize(
    ("name", "kind"),
    [*ALGORITHMS.items(), (alb.ConsistentHash(load_bound=2), ConsistentHashing)],
    ids=str,
)
def test_algorithm_is_made_anew_for_each_group_that_names_it(name: Any, kind: type[object]) -> None:
    """One group's turns move no other's."""
    assert algorithm_for(name, _IN_ORDER) is not algorithm_for(name, _IN_ORDER)
    assert type(algorithm_for(name, _IN_ORDER)) is kind


def test_algorithm_of_the_programs_own_is_taken_as_it_is() -> None:
    """An object is the algorithm."""
    own = RoundRobin(_IN_ORDER)
    assert algorithm_for(own, _IN_ORDER) is own


class _Counting(Sequence[TargetState]):
    """Candidates that count how often they are looked at."""

    def __init__(self, members: list[TargetState]) -> None:
        self._members = members
        self.looks = 0

    def __len__(self) -> int:
        return len(self._members)

    @overload
    def __getitem__(self, place: int) -> TargetState: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[TargetState]: ...
    def __getitem__(self, place: Any) -> Any:
        self.looks += 1
        return self._members[place]

    def __iter__(self) -> Iterator[TargetState]:
        for member in self._members:
            self.looks += 1
            yield member


@pytest.mark.parametrize("kind", _ALL)
@pytest.mark.parametrize("weights", [[1] * 1000, [1 + number % 5 for number in range(1000)]], ids=["equal weights", "other weights"])
def test_algorithm_choosing_among_a_thousand_targets_scans_nothing(kind: Any, weights: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A choice looks at no more than a few of the candidates and of its own targets, however many there are."""
    group = _Group(kind(), weights, random.Random(3).random)
    candidates = _Counting(group.members)
    group.start(group.members.index(group.algorithm.choose(candidates, group.chance)))
    looks = 0

    class Weighed(TargetState):
        __slots__ = ()

        def __getattribute__(self, name: str) -> Any:
            nonlocal looks
            looks += name == "weight"
            return super().__getattribute__(name)

    for member in group.members:
        member.__class__ = Weighed
    candidates.looks = 0
    for _ in range(200):
        member = group.algorithm.choose(candidates, group.chance)
        member.outstanding += 1
        group.algorithm.started(member)
    assert candidates.looks <= 200
    assert looks <= 4 * 200


# round_robin


def test_round_robin_goes_through_the_targets_in_order() -> None:
    """Each healthy target in sequence (docs/alb.md 5.1), and from the last to the first."""
    assert _Group(RoundRobin(_IN_ORDER), [1, 1, 1]).picks(7) == [0, 1, 2, 0, 1, 2, 0]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=8).filter(any), st.integers(1, 3))
def test_round_robin_gives_each_target_exactly_its_share(weights: list[int], rounds: int) -> None:
    """In every round, from wherever it is counted, each target gets exactly as many requests as its weight says."""
    group = _Group(RoundRobin(_IN_ORDER), weights)
    group.picks(sum(weights) // 2)
    picks = Counter(group.picks(rounds * sum(weights)))
    assert picks == {number: rounds * weight for number, weight in enumerate(weights) if weight}


@given(st.lists(st.integers(1, 12), min_size=2, max_size=6))
def test_round_robin_spreads_the_turns_of_each_target(weights: list[int]) -> None:
    """No bursts: in any stretch of the sequence a target has its share of it, give or take one turn at each end."""
    group = _Group(RoundRobin(_IN_ORDER), weights)
    total = sum(weights)
    picks = group.picks(2 * total)
    for number, weight in enumerate(weights):
        places = [place for place, pick in enumerate(picks) if pick == number]
        gaps = [later - earlier for earlier, later in pairwise(places)]
        assert max(gaps) <= total / weight + len(weights)
        assert min(gaps) >= total / weight - len(weights)


def test_round_robin_of_5_and_1_does_not_begin_with_a_burst() -> None:
    """The light target stands in the middle of the heavy one's turns, not behind them all."""
    picks = _Group(RoundRobin(_IN_ORDER), [5, 1]).picks(6)
    assert 1 <= picks.index(1) <= 4


@given(st.integers(1, 6), st.lists(st.integers(0, 5), max_size=8), st.integers(1, 4))
def test_round_robin_over_leaving_members_serves_who_is_left_evenly(count: int, leaving: list[int], rounds: int) -> None:
    """Whoever leaves, and whenever, each of the rest gets exactly one request per round from then on."""
    group = _Group(RoundRobin(_IN_ORDER), [1] * count)
    left = list(range(count))
    for index in [*leaving, None]:
        if index is not None and len(left) > 1:
            group.leave(left.pop(index % len(left)))
        group.pick()
        assert Counter(group.picks(rounds * len(left))) == dict.fromkeys(left, rounds)


@pytest.mark.parametrize("before", range(8))
@pytest.mark.parametrize("leaving", range(4))
def test_round_robin_does_not_start_again_when_a_target_leaves_or_comes(before: int, leaving: int) -> None:
    """A change of members in mid-rotation gives the first target no burst: nobody is chosen twice among the next who are there."""
    group = _Group(RoundRobin(_IN_ORDER), [1] * 4)
    group.picks(before)
    group.leave(leaving)
    assert len(set(group.picks(3))) == 3
    group.join(leaving)
    assert len(set(group.picks(4))) == 4


def test_round_robin_whose_members_come_and_go_with_every_round_favours_nobody() -> None:
    """A target that flaps does not send the rotation back to its beginning again and again."""
    group = _Group(RoundRobin(_IN_ORDER), [1] * 5)
    counts: Counter[int | None] = Counter()
    for _ in range(60):
        group.leave(4)
        counts.update(group.picks(3))
        group.join(4)
        counts.update(group.picks(3))
    assert max(counts[number] for number in range(4)) < 1.5 * min(counts[number] for number in range(4))


def test_round_robin_second_try_takes_no_turn() -> None:
    """What a retry chooses does not move the rotation of the others."""
    group = _Group(RoundRobin(_IN_ORDER), [1, 1, 1])
    assert group.pick() == 0
    group.algorithm.choose(group.members[1:], _no_chance)
    assert group.picks(3) == [1, 2, 0]


@pytest.mark.parametrize("weights", [[999] * 9 + [998], [900 + number for number in range(60)]], ids=["ten", "sixty"])
def test_round_robin_of_great_weights_keeps_close_to_the_shares(weights: list[int]) -> None:
    """Where the exact round would be very long a shorter one comes close to it."""
    group = _Group(RoundRobin(_IN_ORDER), weights)
    total = 8192
    picks = Counter(group.picks(total))
    for number, weight in enumerate(weights):
        assert picks[number] == pytest.approx(total * weight / sum(weights), rel=0.05)


# least_outstanding_requests


def test_least_outstanding_takes_the_target_with_the_fewest() -> None:
    """Fewest requests in flight (docs/alb.md 5.1), as they start and as they finish."""
    group = _Group(LeastOutstandingRequests(_IN_ORDER), [1, 1, 1])
    for number in (0, 0, 1, 1, 2):
        group.start(number)
    assert group.pick() == 2
    group.start(2)
    group.finish(1)
    assert group.pick() == 1
    group.finish(0)
    group.finish(0)
    assert group.pick() == 0


def test_least_outstanding_rotates_among_equals() -> None:
    """Requests one after the other, each over before the next, go to each target in turn."""
    group = _Group(LeastOutstandingRequests(_IN_ORDER), [1, 1, 1])
    picks = []
    for _ in range(9):
        number = group.pick()
        picks.append(number)
        group.start(number)
        group.finish(picks[-1] or 0)
    assert Counter(picks) == {0: 3, 1: 3, 2: 3}
    assert all(len(set(picks[place : place + 3])) == 3 for place in range(7))


def test_least_outstanding_rotates_among_equals_of_other_weights() -> None:
    """Where there are weights too, targets of the same load take turns."""
    group = _Group(LeastOutstandingRequests(_IN_ORDER), [2, 2, 1])
    picks = []
    for _ in range(8):
        number = group.pick()
        picks.append(number)
        group.start(number)
        group.finish(picks[-1] or 0)
    assert Counter(picks) == {0: 4, 1: 4}


@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [4, 2, 1], [5, 0, 5], [3, 7]])
def test_least_outstanding_fills_targets_in_proportion_to_their_weights(weights: list[int]) -> None:
    """Requests that stay: in the end each target has its weight's share of them."""
    group = _Group(LeastOutstandingRequests(_IN_ORDER), weights)
    for _ in range(10 * sum(weights)):
        group.start(group.pick())
    assert [member.outstanding for member in group.members] == [10 * weight for weight in weights]


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=5),
    st.lists(st.tuples(st.sampled_from(["start", "finish", "flap"]), st.integers(0, 9))),
)
def test_least_outstanding_is_always_a_target_of_the_least_load(weights: list[int], events: list[tuple[str, int]]) -> None:
    """Whatever starts, finishes, leaves and comes, in any order: the choice has the least load there is."""
    group = _Group(LeastOutstandingRequests(_IN_ORDER), weights)
    usable = [number for number, weight in enumerate(weights) if weight] or list(range(len(weights)))
    for event, index in events:
        number = index % len(weights)
        if event == "start":
            group.start(number)
        elif event == "finish" and group.members[number].outstanding:
            group.finish(number)
        elif event == "flap":
            group.leave(number)
            group.join(number)
        loads = {number: (group.members[number].outstanding + 1) / (weights[number] or 1) for number in usable}
        chosen = group.pick()
        assert chosen in usable
        assert loads[chosen] == min(loads.values())


def test_least_outstanding_counts_what_finishes_after_its_target_left_and_came_back() -> None:
    """A target that comes back still has what it had."""
    group = _Group(LeastOutstandingRequests(_IN_ORDER), [1, 1])
    group.start(0)
    group.leave(0)
    group.start(1)
    group.start(1)
    group.join(0)
    assert group.pick() == 0
    group.finish(0)
    group.finish(1)
    group.finish(1)
    assert sorted(number for number in group.picks(1) if number is not None) in ([0], [1])


def test_least_outstanding_takes_no_notice_of_targets_that_have_left() -> None:
    """What a draining target's exchanges do is no news, and no error."""
    group = _Group(LeastOutstandingRequests(_IN_ORDER), [1, 1])
    group.start(0)
    group.leave(0)
    group.finish(0)
    assert group.pick() == 1


def test_least_outstanding_keeps_no_more_than_a_few_entries_per_target() -> None:
    """A million requests leave no trace behind (other weights are kept in a heap)."""
    group = _Group(LeastOutstandingRequests(_IN_ORDER), [1, 2, 3])
    running: deque[int] = deque()
    for _ in range(5000):
        number = group.pick()
        group.start(number)
        running.append(number or 0)
        if len(running) > 10:
            group.finish(running.popleft())
    assert len(group.algorithm._heap._heap) <= 200


# weighted_random


@pytest.mark.parametrize("weights", [[1, 1], [1, 1, 1, 1], [3, 1], [1, 0, 4, 5], [999, 1], [0, 7, 3]])
def test_weighted_random_gives_each_target_its_share_of_the_chance(weights: list[int]) -> None:
    """Chances that lie evenly in [0, 1) give each target exactly its weight's share."""
    total = sum(weights)
    group = _Group(WeightedRandom(_IN_ORDER), weights, _evenly(total * 10))
    picks = Counter(group.picks(total * 10))
    assert picks == {number: weight * 10 for number, weight in enumerate(weights) if weight}


def test_weighted_random_is_random_by_its_weights() -> None:
    """Pearson's chi-square of 20,000 draws with a fixed seed stays below the one-in-a-thousand bound of its degrees of freedom."""
    weights = [1, 2, 3, 4]
    group = _Group(WeightedRandom(_IN_ORDER), weights, random.Random(20).random)
    picks = Counter(group.picks(20_000))
    expected = [20_000 * weight / sum(weights) for weight in weights]
    assert sum((picks[number] - wanted) ** 2 / wanted for number, wanted in enumerate(expected)) < 16.27  # 3 degrees, p = 0.001


def test_weighted_random_draws_do_not_depend_on_each_other() -> None:
    """Which target comes next has nothing to do with the one before."""
    group = _Group(WeightedRandom(_IN_ORDER), [1, 1, 1], random.Random(21).random)
    picks = group.picks(18_001)
    pairs = Counter(pairwise(picks))
    assert sum((pairs[first, second] - 2000) ** 2 / 2000 for first in range(3) for second in range(3)) < 26.12  # 8 degrees, p = 0.001


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 1), (0.24999, 1), (0.25, 3), (1 - 2**-53, 3)])
def test_weighted_random_at_the_edges_of_chance_stays_among_those_with_weight(chance: float, expected: int) -> None:
    """0 and the greatest number below 1 are chances as well."""
    assert _Group(WeightedRandom(_IN_ORDER), [0, 1, 0, 3, 0], lambda: chance).pick() == expected

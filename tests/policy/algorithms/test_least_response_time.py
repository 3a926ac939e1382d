from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import permutations
from math import sqrt

import pytest

import albkit as alb
from albkit.policy.algorithms.least_response_time import LeastResponseTime
from albkit.state.target import TargetState
from tests.support.clock import FakeClock

_HIGHEST = 1 - 2**-53


class _Group:
    """Targets that take their time to answer, and requests that come to them, by a clock of the test's."""

    def __init__(self, weights: Sequence[int], seed: int = 1) -> None:
        self.clock = FakeClock()
        self.random = random.Random(seed)
        self.algorithm = LeastResponseTime(self.clock)
        self.members = [TargetState(alb.Target(f"t{number}", 80, weight=weight)) for number, weight in enumerate(weights)]
        self.candidates = list(self.members)
        for member in self.members:
            self.algorithm.joined(member)

    def tell(self, *seconds: float) -> None:
        """Each target has answered often enough for its response time to be this one."""
        for _ in range(60):
            for member, time in zip(self.members, seconds, strict=True):
                self.algorithm.answered(member, time)

    def pick(self, *chances: float) -> int:
        chance = iter(chances).__next__ if chances else self.random.random
        member = self.algorithm.choose(self.candidates, chance)
        assert member is not None
        return self.members.index(member)

    def join(self, weight: int = 1) -> TargetState:
        member = TargetState(alb.Target(f"t{len(self.members)}", 80, weight=weight))
        self.members.append(member)
        self.candidates.append(member)
        self.algorithm.joined(member)
        return member

    def serve(self, requests: int, at_once: int, takes: Callable[[int], float]) -> Counter[int]:
        """So many requests, always `at_once` of them under way; who got how many."""
        running: list[tuple[float, int, int, float]] = []
        counts: Counter[int] = Counter()
        for serial in range(requests):
            if len(running) >= at_once:
                self._finish(running)
            number = self.pick()
            counts[number] += 1
            seconds = takes(number)
            self.members[number].outstanding += 1
            self.algorithm.started(self.members[number])
            heapq.heappush(running, (self.clock.now + seconds, serial, number, seconds))
        while running:
            self._finish(running)
        return counts

    def _finish(self, running: list[tuple[float, int, int, float]]) -> None:
        until, _, number, seconds = heapq.heappop(running)
        self.clock.advance(max(0.0, until - self.clock.now))
        self.algorithm.answered(self.members[number], seconds)
        self.members[number].outstanding -= 1
        self.algorithm.finished(self.members[number])


def _pairs(weights: Sequence[int], better: Callable[[int, int], int]) -> list[float]:
    """What each target gets where two are drawn by weight, the second among the others, and `better` says which one is taken."""
    total = sum(weights)
    shares = [0.0] * len(weights)
    for first, second in permutations(range(len(weights)), 2):
        shares[better(first, second)] += weights[first] / total * weights[second] / (total - weights[first])
    return shares


def _grid(group: _Group, weights: Sequence[int]) -> list[float]:
    """What each target gets of all pairs of chances, in steps so small that each lies within one target."""
    shares = [0.0] * len(weights)
    total = sum(weights)
    for first in range(total):
        owner = next(number for number in range(len(weights)) if first < sum(weights[: number + 1]))
        others = total - weights[owner]
        for second in range(others):
            shares[group.pick((first + 0.5) / total, (second + 0.5) / others)] += 1 / total / others
    return shares


@pytest.mark.parametrize("weights", [[1, 1], [1, 1, 1, 1], [1, 2, 3, 4], [4, 0, 1], [0, 1, 1], [9, 1, 0]], ids=str)
def test_least_response_time_of_equals_honours_the_weights(weights: list[int]) -> None:
    """Where all answer alike the first that is drawn is taken: exactly by weight."""
    group = _Group(weights)
    assert _grid(group, weights) == pytest.approx([weight / sum(weights) for weight in weights])
    group.tell(*[0.05] * len(weights))
    assert _grid(group, weights) == pytest.approx([weight / sum(weights) for weight in weights])


@pytest.mark.parametrize("weights", [[1, 1], [1, 1, 1, 1], [1, 2, 3, 4], [4, 3, 2, 1], [1, 0, 3]], ids=str)
def test_least_response_time_takes_the_quicker_of_two_drawn_by_weight(weights: list[int]) -> None:
    """The two are never the same, and each pair comes up exactly as often as the weights say."""
    group = _Group(weights)
    times = [0.4, 0.1, 0.3, 0.2][: len(weights)]
    group.tell(*times)
    assert _grid(group, weights) == pytest.approx(_pairs(weights, lambda one, other: min(one, other, key=times.__getitem__)))


def test_least_response_time_of_two_always_takes_the_quick_one() -> None:
    """As long as it has less than its advantage to do: four times as quick, so up to four at once."""
    group = _Group([1, 1])
    group.tell(0.4, 0.1)
    chances = [(first, second) for first in (0.0, 0.3, 0.6, _HIGHEST) for second in (0.0, 0.5, _HIGHEST)]
    for outstanding in range(3):
        group.members[1].outstanding = outstanding
        assert {group.pick(*pair) for pair in chances} == {1}
    group.members[1].outstanding = 5
    assert {group.pick(*pair) for pair in chances} == {0}


@pytest.mark.parametrize(
    "weights", [[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1], [0, 3, 2, 0], [999, 1, 0], [1, 999, 0], [0, 999, 1, 0]], ids=str
)
def test_least_response_time_never_takes_a_target_of_weight_0(weights: list[int]) -> None:
    """At no end of the chances, and not if it were the quickest by far."""
    group = _Group(weights)
    group.tell(*[0.001 if weight == 0 else 1.0 for weight in weights])
    for first in (0.0, 0.5, 0.9, _HIGHEST):
        for second in (0.0, 0.5, 0.9, _HIGHEST):
            assert weights[group.pick(first, second)] > 0


def test_least_response_time_with_all_weights_0_treats_all_alike() -> None:
    """A group that has targets never chooses none."""
    group = _Group([0, 0, 0])
    assert _grid(group, [1, 1, 1]) == pytest.approx([1 / 3] * 3)


def test_least_response_time_on_a_second_try_keeps_to_the_candidates() -> None:
    """The quicker one of those; by weight where there is any."""
    group = _Group([1, 1, 1, 0])
    group.tell(0.1, 0.3, 0.2, 0.001)
    first, second, third, resting = group.members
    for _ in range(20):
        assert group.algorithm.choose([second, third], group.random.random) is third
        assert group.algorithm.choose([second, resting], group.random.random) is second
        assert group.algorithm.choose([resting], group.random.random) is resting
        assert group.algorithm.choose([first], group.random.random) is first
    assert group.algorithm.choose([], group.random.random) is None


@pytest.mark.parametrize("at_once", [1, 8, 32])
def test_least_response_time_serves_more_with_who_is_quick(at_once: int) -> None:
    """Of four targets of which one is ten times as quick that one has the most, and each slow one about as much as another."""
    group = _Group([1] * 4)
    counts = group.serve(4000, at_once, lambda number: group.random.uniform(0.9, 1.1) * (0.01 if number == 2 else 0.1))
    slow = [counts[number] for number in (0, 1, 3)]
    assert counts[2] >= 1.8 * max(slow)
    assert max(slow) <= 1.5 * min(slow)


@pytest.mark.parametrize("at_once", [1, 20])
@pytest.mark.parametrize("weights", [[1, 1, 1], [9, 1], [4, 2, 1], [1, 2, 3, 4]], ids=str)
def test_least_response_time_of_equally_quick_targets_honours_weights_under_load(weights: list[int], at_once: int) -> None:
    """Where all are equally quick a weight is a share (`Target(weight=...)`), be there one request at a time or many."""
    group = _Group(weights)
    count = 4000
    counts = group.serve(count, at_once, lambda _: 0.1)
    for number, weight in enumerate(weights):
        share = weight / sum(weights)
        assert counts[number] / count == pytest.approx(share, abs=0.05 + 5 * sqrt(share * (1 - share) / count))


def test_least_response_time_forgets_a_slow_answer_in_time() -> None:
    """A response time that nothing confirms drifts to the mean: soon after it is avoided, a minute later it is as good as others."""
    group = _Group([1, 1, 1])
    group.tell(0.1, 0.1, 0.1)
    group.algorithm.answered(group.members[0], 10.0)
    mean = group.algorithm._mean
    costs = []
    for _ in range(7):
        costs.append(group.algorithm._cost(group.members[0]))
        group.clock.advance(10)
    assert costs == sorted(costs, reverse=True)
    assert costs[0] == pytest.approx(0.1 + 0.2 * 9.9)
    assert costs[1] - mean == pytest.approx((costs[0] - mean) / 2.71828, rel=0.01)
    assert costs[6] == pytest.approx(mean, rel=0.01)


def test_least_response_time_forgets_a_quick_answer_in_time_as_well() -> None:
    """It drifts to the mean from either side."""
    group = _Group([1, 1, 1])
    group.tell(0.2, 0.2, 0.02)
    quick = group.algorithm._cost(group.members[2])
    group.clock.advance(100)
    assert quick == pytest.approx(0.02)
    assert group.algorithm._cost(group.members[2]) == pytest.approx(group.algorithm._mean, rel=0.01)


def test_least_response_time_avoids_a_target_that_has_become_slow() -> None:
    """As soon as its answers say so."""
    group = _Group([1] * 4)
    group.serve(400, 4, lambda _: group.random.uniform(0.09, 0.11))
    counts = group.serve(400, 4, lambda number: 5.0 if number == 0 else group.random.uniform(0.09, 0.11))
    assert 1 <= counts[0] <= 40


@pytest.mark.parametrize("hiccup", [1.0, 10.0, 60.0])
def test_least_response_time_tries_a_slow_target_again_after_some_time(hiccup: float) -> None:
    """One slow answer long ago: in the third minute a target that answers like its peers has at least half of its share again."""
    group = _Group([1] * 4)

    def takes(_: int) -> float:
        return group.random.uniform(0.09, 0.11)

    group.serve(400, 4, takes)
    group.algorithm.answered(group.members[0], hiccup)
    group.serve(4800, 4, takes)  # 40 a second: two minutes.
    counts = group.serve(2400, 4, takes)
    assert counts[0] >= 2400 / 4 / 2


def test_least_response_time_that_was_slow_long_ago_is_believed_its_quick_answer() -> None:
    """What has drifted to the mean does not come back with the next answer."""
    group = _Group([1, 1, 1])
    group.tell(0.1, 0.1, 0.1)
    group.algorithm.answered(group.members[0], 10.0)
    for _ in range(60):
        group.clock.advance(10)
        group.algorithm.answered(group.members[1], 0.1)
        group.algorithm.answered(group.members[2], 0.1)
    assert group.algorithm._cost(group.members[0]) == pytest.approx(0.1, rel=0.05)
    group.algorithm.answered(group.members[0], 0.1)
    assert group.algorithm._cost(group.members[0]) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("at_once", [4, 32])
def test_least_response_time_does_not_flood_a_new_target(at_once: int) -> None:
    """Of the first requests after it came it has no more than twice its share, and never more outstanding than twice the mean."""
    group = _Group([1] * 4)

    def takes(_: int) -> float:
        return group.random.uniform(0.09, 0.11)

    group.serve(800, at_once, takes)
    new = group.join()
    most = 0

    def watched(number: int) -> float:
        nonlocal most
        most = max(most, new.outstanding + 1)
        return takes(number)

    counts = group.serve(100, at_once, watched)
    assert 100 / 5 / 2 <= counts[4] <= 2 * 100 / 5
    assert most <= 2 * at_once / 5 + 2


def test_least_response_time_counts_what_a_target_has_to_do() -> None:
    """Of two that are equally quick the one with less to do."""
    group = _Group([1, 1])
    group.tell(0.1, 0.1)
    for busy in (0, 1):
        group.members[busy].outstanding = 1
        assert {group.pick(first, second) for first in (0.1, 0.9) for second in (0.1, 0.9)} == {1 - busy}
        group.members[busy].outstanding = 0


def test_least_response_time_takes_no_notice_of_targets_that_have_left() -> None:
    """What a draining target answers is no news; one that comes back is new."""
    group = _Group([1, 1])
    group.tell(0.1, 0.1)
    left = group.members[0]
    group.candidates.remove(left)
    group.algorithm.left(left)
    group.algorithm.answered(left, 100.0)
    assert group.algorithm._mean == pytest.approx(0.1)
    group.candidates.append(left)
    group.algorithm.joined(left)
    assert group.algorithm._cost(left) == pytest.approx(0.1)

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import albkit as alb
from albkit.policy.algorithms.by_traffic import ByTraffic
from albkit.state.target import TargetState
from tests.support.clock import FakeClock


def _no_chance() -> float:
    raise AssertionError("this algorithm is no matter of chance")


class _Group:
    """Targets, the bytes that went through each, and the algorithm that is told of them as a target choice tells it."""

    def __init__(self, weights: Sequence[int]) -> None:
        self.clock = FakeClock([0.0])
        self.algorithm = ByTraffic(self.clock)
        self.members: list[TargetState] = []
        self.candidates: list[TargetState] = []
        self.bytes: Counter[int] = Counter()
        for weight in weights:
            self.come(weight)

    def come(self, weight: int = 1) -> int:
        """A target that was not there before."""
        self.members.append(TargetState(alb.Target(f"t{len(self.members)}", 80, weight=weight)))
        self.join(len(self.members) - 1)
        return len(self.members) - 1

    def join(self, number: int) -> None:
        self.candidates.append(self.members[number])
        self.algorithm.joined(self.members[number])

    def leave(self, number: int) -> None:
        self.candidates.remove(self.members[number])
        self.algorithm.left(self.members[number])

    def pick(self) -> int:
        member = self.algorithm.choose(self.candidates, _no_chance)
        assert member is not None
        return self.members.index(member)

    def start(self) -> int:
        number = self.pick()
        self.members[number].outstanding += 1
        self.algorithm.started(self.members[number])
        return number

    def finish(self, number: int, size: int) -> None:
        """As the proxy does: bytes first, then the end."""
        self.bytes[number] += size
        self.algorithm.transferred(self.members[number], size)
        self.members[number].outstanding -= 1
        self.algorithm.finished(self.members[number])

    def serve(self, requests: int, at_once: int, size: Callable[[], int], chance: random.Random) -> Counter[int]:
        """So many requests, up to `at_once` under way, that end in any order; who got how many."""
        running: list[int] = []
        counts: Counter[int] = Counter()
        for _ in range(requests):
            number = self.start()
            counts[number] += 1
            running.append(number)
            if len(running) >= at_once:
                self.finish(running.pop(chance.randrange(len(running))), size())
        while running:
            self.finish(running.pop(), size())
        return counts

    def spread(self) -> float:
        """Bytes per weight, of the fullest target less those of the emptiest."""
        loads = [self.bytes[number] / member.weight for number, member in enumerate(self.members) if member.weight]
        return max(loads) - min(loads)


@pytest.mark.parametrize("weights", [[1, 1, 1], [4, 2, 1], [1, 0, 3], [5, 0, 5, 0]], ids=str)
def test_by_traffic_with_one_request_at_a_time_is_as_even_as_the_largest_body(weights: list[int]) -> None:
    """At no time does one target have more than one body more than another, by weight; a target of weight 0 has none."""
    group = _Group(weights)
    chance = random.Random(3)
    largest = 0
    for _ in range(3000):
        size = int(chance.paretovariate(1.1) * 500) % 5_000_000
        largest = max(largest, size)
        group.finish(group.start(), size)
        assert group.spread() <= largest / min(weight for weight in weights if weight)
    assert all(group.bytes[number] == 0 for number, weight in enumerate(weights) if not weight)
    assert all(group.bytes[number] > 0 for number, weight in enumerate(weights) if weight)


@pytest.mark.parametrize("at_once", [2, 10, 50])
@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [4, 2, 1], [1, 0, 3]], ids=str)
def test_by_traffic_evens_out_unequal_bodies_by_weight_under_load(weights: list[int], at_once: int) -> None:
    """Of 6,000 bodies of 100 bytes to 1 MB, many at a time, each target has its weight's share of the bytes within 3 %."""
    group = _Group(weights)
    chance = random.Random(at_once)
    group.serve(6000, at_once, lambda: int(10 ** chance.uniform(2, 6)), chance)
    total = group.bytes.total()
    for number, weight in enumerate(weights):
        assert group.bytes[number] / total == pytest.approx(weight / sum(weights), abs=0.03 if weight else 0)


def test_by_traffic_gives_a_target_of_heavy_answers_fewer_requests() -> None:
    """One target whose answers are ten times as large has a tenth of the requests of each other, and as many bytes."""
    group = _Group([1, 1, 1])
    counts: Counter[int] = Counter()
    for _ in range(2100):
        number = group.start()
        counts[number] += 1
        group.finish(number, 10_000 if number == 0 else 1_000)
    assert counts == {0: 100, 1: 1000, 2: 1000}
    assert group.spread() <= 10_000


@pytest.mark.parametrize("size", [1, 1024, 5_000_000])
def test_by_traffic_spreads_requests_that_are_all_under_way(size: int) -> None:
    """What goes on counts as an average exchange: thirty at once are ten each, or by weight, give or take one."""
    for weights, expected in (([1, 1, 1], [10, 10, 10]), ([3, 2, 1], [15, 10, 5])):
        group = _Group(weights)
        # One more than is even: that target is one request ahead, and not as many as a body is larger than some other figure.
        for _ in range(60 * sum(weights) + 1):
            group.finish(group.start(), size)
        for _ in range(30):
            group.start()
        outstanding = [member.outstanding for member in group.members]
        assert all(abs(one - other) <= 1 for one, other in zip(outstanding, expected, strict=True))


@pytest.mark.parametrize("at_once", [1, 16])
def test_by_traffic_target_that_joins_need_not_catch_up(at_once: int) -> None:
    """After a long time of others it has its share of the next requests, neither all of them nor none."""
    group = _Group([1, 1, 1])
    chance = random.Random(4)

    def size() -> int:
        return chance.randrange(500, 1500)

    group.serve(3000, at_once, size, chance)
    new = group.come()
    counts = group.serve(400, at_once, size, chance)
    assert counts[new] == pytest.approx(100, abs=10 + at_once)
    assert max(counts.values()) - min(counts.values()) <= 20 + 2 * at_once


@pytest.mark.parametrize(("weights", "weight"), [([1, 1], 4), ([4, 4], 1), ([3, 1], 2)])
def test_by_traffic_target_that_joins_with_another_weight_has_its_share(weights: list[int], weight: int) -> None:
    """It begins with as much per weight as the one that has least."""
    group = _Group(weights)
    chance = random.Random(4)
    group.serve(2000, 1, lambda: 1000, chance)
    new = group.come(weight)
    counts = group.serve(400, 1, lambda: 1000, chance)
    total = sum(weights) + weight
    assert [counts[number] for number in (*range(len(weights)), new)] == pytest.approx(
        [400 * one / total for one in (*weights, weight)], abs=weight + max(weights)
    )


def test_by_traffic_target_that_comes_back_need_not_catch_up() -> None:
    """What was missed while it was ill is not made up for, and it is not shunned for what it had before."""
    group = _Group([1, 1, 1])
    chance = random.Random(4)
    group.serve(300, 1, lambda: 1000, chance)
    group.leave(2)
    group.serve(3000, 1, lambda: 1000, chance)
    group.join(2)
    counts = group.serve(300, 1, lambda: 1000, chance)
    assert [counts[number] for number in range(3)] == pytest.approx([100] * 3, abs=2)


def test_by_traffic_that_all_leave_begins_anew() -> None:
    """After the last has left the first is as any first."""
    group = _Group([1])
    group.finish(group.start(), 10**9)
    group.leave(0)
    assert group.algorithm.choose([], _no_chance) is None
    group.join(0)
    group.come()
    counts = group.serve(100, 1, lambda: 1000, random.Random(1))
    assert counts == {0: 50, 1: 50}


def test_by_traffic_takes_up_a_weight_that_changes() -> None:
    """From 1 to 3, as a target choice tells it: left and joined."""
    group = _Group([1, 1])
    group.serve(100, 1, lambda: 1000, random.Random(1))
    group.leave(0)
    group.members[0].weight = 3
    group.join(0)
    counts = group.serve(400, 1, lambda: 1000, random.Random(1))
    assert [counts[0], counts[1]] == pytest.approx([300, 100], abs=3)


def test_by_traffic_with_all_weights_0_evens_out_bytes() -> None:
    """A group that has targets never chooses none, and treats them alike."""
    group = _Group([0, 0])
    chance = random.Random(6)
    for _ in range(500):
        group.finish(group.start(), chance.randrange(1, 10_000))
    assert abs(group.bytes[0] - group.bytes[1]) <= 10_000


def test_by_traffic_on_a_second_try_takes_the_least_of_the_candidates() -> None:
    """By weight where there is any; a target that is not among them does not count."""
    group = _Group([1, 1, 4, 0])
    first, second, third, resting = group.members
    group.algorithm.transferred(first, 100)
    group.algorithm.transferred(second, 5_000)
    group.algorithm.transferred(third, 8_000)
    choose: Any = group.algorithm.choose
    assert choose([second, third], _no_chance) is third
    assert choose([first, second], _no_chance) is first
    assert choose([second, resting], _no_chance) is second
    assert choose([resting], _no_chance) is resting
    assert choose([], _no_chance) is None


def test_by_traffic_takes_no_notice_of_targets_that_have_left() -> None:
    """What a draining target's exchanges carry is no error, and nobody's burden."""
    group = _Group([1, 1])
    number = group.start()
    group.leave(number)
    group.finish(number, 10_000)
    assert group.pick() == 1 - number
    group.join(number)
    assert {group.start(), group.start()} == {0, 1}


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
    st.lists(st.tuples(st.sampled_from(["start", "start", "finish", "finish", "flap"]), st.integers(0, 20), st.integers(0, 10_000))),
)
def test_by_traffic_gives_only_to_who_may_have_some(weights: list[int], events: list[tuple[str, int, int]]) -> None:
    """Whatever happens, and in any order: a target with a weight where there is one, and among idle ones the one with the least."""
    group = _Group(weights)
    usable = {number for number, weight in enumerate(weights) if weight} or set(range(len(weights)))
    running: deque[int] = deque()
    for event, number, size in events:
        if event == "start":
            running.append(group.start())
        elif event == "finish" and running:
            group.finish(running.popleft(), size)
        elif event == "flap":
            group.leave(number % len(weights))
            group.join(number % len(weights))
        chosen = group.pick()
        assert chosen in usable
        if not running:
            loads = {number: group.algorithm._bytes[group.members[number]] / (weights[number] or 1) for number in usable}
            assert loads[chosen] == min(loads.values())


def test_by_traffic_counts_what_is_long_past_for_less() -> None:
    """One large body keeps a target aside at first; sixteen half-lives later it is as good as none."""
    group = _Group([1, 1])
    heavy = group.start()
    group.finish(heavy, 65_536_000)
    assert group.serve(50, 1, lambda: 1000, random.Random(1)) == {1 - heavy: 50}
    group.clock.advance(16 * 60)
    counts = group.serve(200, 1, lambda: 1000, random.Random(1))
    assert [counts[0], counts[1]] == pytest.approx([100, 100], abs=2)


@pytest.mark.parametrize("pause", [0.0, 59.0, 3600.0, 6001.0, 61_000.0, 62_000.0, 31_536_000.0])
def test_by_traffic_goes_on_after_any_pause(pause: float) -> None:
    """A night without requests, or a year: shares are as before, also of what was under way all the time."""
    group = _Group([2, 1, 1])
    group.serve(400, 1, lambda: 1000, random.Random(1))
    long = group.start()
    group.clock.advance(pause)
    group.finish(long, 1000)
    counts = group.serve(400, 1, lambda: 1000, random.Random(1))
    assert [counts[number] for number in range(3)] == pytest.approx([200, 100, 100], abs=3)

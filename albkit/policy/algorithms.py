"""Which of the eligible targets gets a request that no session binds (alb-reference 5.1).

Each keeps what it needs ready, so that choosing among a thousand targets is no scan. Weights are the targets' own.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import gcd
from typing import Any

from albkit.state.target import TargetState

__all__ = ("LeastOutstandingRequests", "RoundRobin", "WeightedRandom", "algorithm_named")

_LONGEST_SCHEDULE = 8192
Chance = Callable[[], float]


def _weights(targets: Sequence[TargetState]) -> list[int]:
    """The targets' weights; all 1 where all are 0, so that a group never has targets and chooses none."""
    weights = [target.weight for target in targets]
    return weights if any(weights) else [1] * len(targets)


class RoundRobin:
    """Each target in turn, as often as its weight says, spread evenly."""

    def __init__(self) -> None:
        self._targets: dict[TargetState, None] = {}
        self._schedule: Sequence[TargetState] = ()
        self._turn = 0

    def joined(self, target: TargetState) -> None:
        self._targets[target] = None
        self._schedule = ()

    def left(self, target: TargetState) -> None:
        self._targets.pop(target, None)
        self._schedule = ()

    def started(self, target: TargetState) -> None: ...

    def finished(self, target: TargetState) -> None: ...

    def choose(self, candidates: Sequence[TargetState], _chance: Chance) -> TargetState | None:
        if len(candidates) != len(self._targets):
            # A second try among those left: takes no turn, or the next request would begin with the same dead target again.
            usable = [target for target in candidates if target.weight] or candidates
            return usable[self._turn % len(usable)] if usable else None
        schedule = self._schedule or self._make_schedule()
        if not schedule:
            return None
        turn = self._turn
        self._turn = turn + 1
        return schedule[turn % len(schedule)]

    def _make_schedule(self) -> Sequence[TargetState]:
        targets = list(self._targets)
        weights = _weights(targets)
        self._schedule = targets if len(set(weights)) <= 1 else _spread(targets, weights)
        return self._schedule


def _spread(targets: list[TargetState], weights: list[int]) -> list[TargetState]:
    """One round in which each target stands as often as its weight says, as evenly as can be."""
    divisor = gcd(*weights)
    weights = [weight // divisor for weight in weights]
    total = sum(weights)
    if total > _LONGEST_SCHEDULE:
        weights = [max(1, weight * _LONGEST_SCHEDULE // total) if weight else 0 for weight in weights]
    # The n-th of w turns of a target comes at (n - 1/2) / w of the round.
    turns = [((number + 0.5) / weight, place) for place, weight in enumerate(weights) for number in range(weight)]
    return [targets[place] for _, place in sorted(turns)]


class LeastOutstandingRequests:
    """The target with the fewest requests in relation to its weight; among equals the one that has waited longest.

    Equal weights: targets are kept by their number of requests, and the first of the lowest number is taken. Other weights: a heap, in
    which entries that are out of date are passed over.
    """

    def __init__(self) -> None:
        self._targets: dict[TargetState, None] = {}
        self._equal = True
        self._by_count: dict[int, OrderedDict[TargetState, None]] = {}
        self._lowest = 0
        self._heap: list[tuple[float, int, TargetState]] = []
        self._serial = 0
        self._latest: dict[TargetState, int] = {}

    def joined(self, target: TargetState) -> None:
        self._targets[target] = None
        self._rebuild()

    def left(self, target: TargetState) -> None:
        self._targets.pop(target, None)
        self._rebuild()

    def started(self, target: TargetState) -> None:
        self._moved(target, target.outstanding - 1)

    def finished(self, target: TargetState) -> None:
        self._moved(target, target.outstanding + 1)

    def choose(self, candidates: Sequence[TargetState], _chance: Chance) -> TargetState | None:
        if len(candidates) != len(self._targets):
            usable = [target for target in candidates if target.weight] or candidates
            return min(usable, key=_load, default=None)
        if not self._equal:
            return self._top()
        while self._by_count:
            targets = self._by_count.get(self._lowest)
            if targets:
                return next(iter(targets))
            self._by_count.pop(self._lowest, None)
            self._lowest = min(self._by_count, default=0)
        return None

    def _moved(self, target: TargetState, before: int) -> None:
        if target not in self._targets:
            return
        if not self._equal:
            self._push(target)
            return
        count = target.outstanding
        self._by_count[before].pop(target, None)
        targets = self._by_count.get(count)
        if targets is None:
            targets = self._by_count[count] = OrderedDict()
        targets[target] = None
        self._lowest = min(self._lowest, count)

    def _rebuild(self) -> None:
        self._equal = len({target.weight for target in self._targets}) <= 1
        self._by_count = {}
        self._heap = []
        self._latest = {}
        for target in self._targets:
            if self._equal:
                self._by_count.setdefault(target.outstanding, OrderedDict())[target] = None
            else:
                self._push(target)
        self._lowest = min(self._by_count, default=0)

    def _push(self, target: TargetState) -> None:
        if not target.weight:
            return
        self._serial += 1
        self._latest[target] = self._serial
        heapq.heappush(self._heap, (_load(target), self._serial, target))
        if len(self._heap) > 64 + 8 * len(self._targets):
            self._heap = [entry for entry in self._heap if self._latest.get(entry[2]) == entry[1]]
            heapq.heapify(self._heap)

    def _top(self) -> TargetState | None:
        while self._heap:
            _, serial, target = self._heap[0]
            if self._latest.get(target) == serial:
                return target
            heapq.heappop(self._heap)
        return None


def _load(target: TargetState) -> float:
    """Requests that the target would have per weight, were it given one more."""
    return (target.outstanding + 1) / (target.weight or 1)


class WeightedRandom:
    """Any target by chance, each as often as its weight says."""

    def __init__(self) -> None:
        self._targets: dict[TargetState, None] = {}
        self._sums: list[int] = []
        self._order: list[TargetState] = []

    def joined(self, target: TargetState) -> None:
        self._targets[target] = None
        self._sums = []

    def left(self, target: TargetState) -> None:
        self._targets.pop(target, None)
        self._sums = []

    def started(self, target: TargetState) -> None: ...

    def finished(self, target: TargetState) -> None: ...

    def choose(self, candidates: Sequence[TargetState], chance: Chance) -> TargetState | None:
        if not candidates:
            return None
        if len(candidates) != len(self._targets):
            return _drawn(candidates, list(accumulate(_weights(candidates))), chance)
        if not self._sums:
            self._order = list(self._targets)
            self._sums = list(accumulate(_weights(self._order)))
        return _drawn(self._order, self._sums, chance)


def _drawn(targets: Sequence[TargetState], sums: Sequence[int], chance: Chance) -> TargetState:
    return targets[bisect_right(sums, chance() * sums[-1], hi=len(sums) - 1)]


_NAMED = {
    "round_robin": RoundRobin,
    "least_outstanding_requests": LeastOutstandingRequests,
    "weighted_random": WeightedRandom,
}


def algorithm_named(setting: Any) -> Any:
    """The algorithm that a target group's setting names; an object of the user's own is one already."""
    return _NAMED[setting]() if isinstance(setting, str) else setting

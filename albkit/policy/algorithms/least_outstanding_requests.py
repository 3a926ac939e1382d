"""The target that has the least to do."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from albkit.policy.algorithms.lazy_heap import LazyHeap
from albkit.policy.weights import Chance
from albkit.state.target import TargetState

__all__ = ("LeastOutstandingRequests",)


class LeastOutstandingRequests:
    """The target with the fewest requests in relation to its weight; among equals the one that has waited longest.

    Equal weights: targets are kept by their number of requests, and the first of the lowest number is taken. Other weights: a heap, in
    which entries that are out of date are passed over.

    Args:
        chance: With which target it begins.
    """

    def __init__(self, chance: Chance = float) -> None:
        self._targets: dict[TargetState, None] = {}
        """While they are not filed: among equals the first one is to be taken first."""
        self._start: float | None = chance()
        """Where the first one of those that it begins with stands, as a part of all; `None` once it has begun."""
        self._equal = True
        self._weight = 0
        """Of every target, where they are equal."""
        self._by_count: dict[int, OrderedDict[TargetState, None]] = {}
        self._lowest = 0
        self._heap = LazyHeap()
        self._stale = False

    def joined(self, target: TargetState) -> None:
        if self._stale or target in self._targets or (self._equal and target.weight != self._weight):
            self._unfile()
        elif self._equal:
            self._file(target)
        else:
            self._push(target)
        self._targets[target] = None

    def left(self, target: TargetState) -> None:
        if target not in self._targets:
            return
        if self._stale:
            del self._targets[target]
        elif self._equal:
            filed = self._by_count.get(target.outstanding)
            if filed is None or target not in filed:
                self._unfile()
            else:
                del filed[target]
            del self._targets[target]
        else:
            self._heap.discard(target)
            del self._targets[target]
            if self._heap.lowest() is None:
                # Those of weight 0 that are left, if any, are equal.
                self._unfile()

    def started(self, target: TargetState) -> None:
        self._moved(target, target.outstanding - 1)

    def finished(self, target: TargetState) -> None:
        self._moved(target, target.outstanding + 1)

    def choose(self, candidates: Sequence[TargetState], _chance: Chance) -> TargetState | None:
        if len(candidates) != len(self._targets):
            usable = [target for target in candidates if target.weight] or candidates
            return min(usable, key=_load, default=None)
        if self._stale:
            self._rebuild()
        if not self._equal:
            return self._heap.lowest()
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
        if self._stale:
            del self._targets[target]
            self._targets[target] = None
            return
        if not self._equal:
            self._push(target)
            return
        self._by_count[before].pop(target, None)
        self._file(target)

    def _file(self, target: TargetState) -> None:
        count = target.outstanding
        targets = self._by_count.get(count)
        if targets is None:
            targets = self._by_count[count] = OrderedDict()
        targets[target] = None
        self._lowest = min(self._lowest, count)

    def _unfile(self) -> None:
        """Targets come or go. The others keep their order: the one that has waited longest is still to be taken first."""
        if self._stale:
            return
        self._stale = True
        if self._equal:
            self._targets = {target: None for targets in self._by_count.values() for target in targets}
        else:
            self._targets = dict.fromkeys(self._heap.in_order()) | self._targets

    def _rebuild(self) -> None:
        """Targets have come that weigh otherwise: file all of them anew, when the next one is asked for."""
        self._stale = False
        if self._start is not None:
            targets = list(self._targets)
            first = int(self._start * len(targets))
            self._targets = dict.fromkeys(targets[first:] + targets[:first])
            self._start = None
        weights = {target.weight for target in self._targets}
        self._equal = len(weights) <= 1
        self._weight = min(weights, default=0)
        self._by_count = {}
        self._heap.clear()
        for target in self._targets:
            if self._equal:
                self._by_count.setdefault(target.outstanding, OrderedDict())[target] = None
            else:
                self._push(target)
        self._lowest = min(self._by_count, default=0)

    def _push(self, target: TargetState) -> None:
        if target.weight:
            self._heap.put(target, _load(target))


def _load(target: TargetState) -> float:
    """Requests that the target would have per weight, were it given one more."""
    return (target.outstanding + 1) / (target.weight or 1)

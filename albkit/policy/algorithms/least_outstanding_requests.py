"""The algorithm `least_outstanding_requests`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from albkit.clock import Clock
from albkit.policy.algorithms.algorithm import BuiltInAlgorithm
from albkit.policy.algorithms.lazy_heap import LazyHeap
from albkit.policy.weights import Chance
from albkit.state.target import TargetState

__all__ = ("LeastOutstandingRequests",)


class LeastOutstandingRequests(BuiltInAlgorithm):
    """Chooses the target with the fewest outstanding requests in relation to its weight; among equals, the one that has waited longest.

    If all weights are equal, targets are kept by their number of requests, and the first one of the lowest number is chosen. If weights
    differ, a heap is used that skips outdated entries.

    Args:
        clock: Chance decides which target comes first.
    """

    def __init__(self, clock: Clock) -> None:
        self._targets: dict[TargetState, None] = {}
        """All targets. While `_stale`, they are in order: among equals, the first one is to be chosen first."""
        self._start: float | None = clock.random()
        """The position of the target to begin with, as a fraction of the list; `None` after the first choice."""
        self._equal = True
        """Whether all weights are equal: then `_by_count` is used, else `_heap`."""
        self._weight = 0
        """The weight of every target, if they are equal."""
        self._by_count: dict[int, OrderedDict[TargetState, None]] = {}
        """The targets by their number of outstanding requests, those that have waited longest first."""
        self._lowest = 0
        """No target has fewer requests."""
        self._heap = LazyHeap()
        self._stale = False
        """Whether `_by_count` and `_heap` must be rebuilt before the next choice."""

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
                # Only targets of weight 0 are left, if any: their weights are equal.
                self._unfile()

    def started(self, target: TargetState) -> None:
        self._moved(target, target.outstanding - 1)

    def finished(self, target: TargetState) -> None:
        self._moved(target, target.outstanding + 1)

    def choose(self, candidates: Sequence[TargetState], _chance: Chance) -> TargetState | None:
        if len(candidates) != len(self._targets):
            # A retry.
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
        """Mark the filed targets as stale. They keep their order: the one that has waited longest is still to be chosen first."""
        if self._stale:
            return
        self._stale = True
        if self._equal:
            self._targets = {target: None for targets in self._by_count.values() for target in targets}
        else:
            self._targets = dict.fromkeys(self._heap.in_order()) | self._targets

    def _rebuild(self) -> None:
        """File all targets again, because their weights have changed."""
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
    """Return the requests per weight that the target would have with one more request."""
    return (target.outstanding + 1) / (target.weight or 1)

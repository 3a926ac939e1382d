"""The target through which the fewest bytes have gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from albkit.policy.algorithms.lazy_heap import LazyHeap
from albkit.policy.weights import Chance
from albkit.state.target import TargetState

__all__ = ("ByTraffic",)

_NEWEST = 0.05
"""What the latest exchange counts for in the size of an average one."""
_HALF_LIFE = 60.0
"""Seconds behind which a byte counts for half."""
_LONGEST = 100 * _HALF_LIFE


class ByTraffic:
    """The target with the least traffic in relation to its weight: bytes of its exchanges, both ways.

    What goes on counts as an average exchange, so that many requests at once do not all go to the same target. A target that comes begins
    with as much as the one that has least, and need not catch up. What is long past counts for less and less: instead of shrinking all
    figures with time, new bytes count for more.

    Args:
        now: The monotonic clock.
        chance: With which target it begins.
    """

    def __init__(self, now: Callable[[], float], chance: Chance = float) -> None:
        self._now = now
        self._chance = chance
        self._is_fresh = True
        """Whether nothing has gone through yet, so that all are equal."""
        self._since = now()
        self._bytes: dict[TargetState, float] = {}
        self._average = 1024.0
        self._heap = LazyHeap()

    def joined(self, target: TargetState) -> None:
        top = self._heap.lowest()
        self._bytes[target] = self._traffic(top) * (target.weight or 1) if top is not None else 0.0
        if self._is_fresh and target.weight:
            self._heap.put_among_first(target, self._traffic(target), self._chance())
        else:
            self._put(target)

    def left(self, target: TargetState) -> None:
        self._bytes.pop(target, None)
        self._heap.discard(target)

    def started(self, target: TargetState) -> None:
        if target in self._bytes:
            self._put(target)

    def finished(self, target: TargetState) -> None:
        if target in self._bytes:
            self._put(target)

    def transferred(self, target: TargetState, count: int) -> None:
        """An exchange with it is about to be finished, and so many bytes went through."""
        self._is_fresh = False
        self._average += _NEWEST * (count - self._average)
        worth = self._worth()
        if target in self._bytes:
            self._bytes[target] += count * worth

    def choose(self, candidates: Sequence[TargetState], _chance: Chance) -> TargetState | None:
        usable = candidates
        if len(candidates) == len(self._bytes):
            top = self._heap.lowest()
            if top is not None:
                return top
        else:
            usable = [target for target in candidates if target.weight] or candidates
        return min(usable, key=self._traffic, default=None)

    def _worth(self) -> float:
        """What a byte of now counts for."""
        age: float = self._now() - self._since
        if age > _LONGEST:
            self._begin_anew(2.0 ** -(age / _HALF_LIFE))
            age = 0.0
        return float(2.0 ** (age / _HALF_LIFE))

    def _begin_anew(self, left: float) -> None:
        """A byte of now counts for one again, before figures grow too large."""
        self._since = self._now()
        self._heap.clear()
        for target in self._bytes:
            self._bytes[target] *= left
            self._put(target)

    def _traffic(self, target: TargetState) -> float:
        """Bytes per weight, what is under way among them."""
        return (self._bytes.get(target, 0.0) + target.outstanding * self._average * self._worth()) / (target.weight or 1)

    def _put(self, target: TargetState) -> None:
        if target.weight:
            self._heap.put(target, self._traffic(target))

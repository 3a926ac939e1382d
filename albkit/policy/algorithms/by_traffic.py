"""The algorithm `by_traffic`."""

from __future__ import annotations

from collections.abc import Sequence

from albkit.clock import Clock
from albkit.policy.algorithms.algorithm import BuiltInAlgorithm
from albkit.policy.algorithms.lazy_heap import LazyHeap
from albkit.policy.weights import Chance
from albkit.state.target import TargetState

__all__ = ("ByTraffic",)

_NEWEST = 0.05
"""The share of the latest exchange in the moving average of their sizes."""
_HALF_LIFE = 60.0
"""Seconds after which a byte counts half."""
_MAX_AGE = 100 * _HALF_LIFE
"""Seconds after which all figures are scaled back: until then, the value of a new byte grows to 2 to the power of 100 at most."""


class ByTraffic(BuiltInAlgorithm):
    """Chooses the target with the least traffic in relation to its weight: the bytes of its exchanges, in both directions.

    An exchange in progress counts as one of average size, so that many requests at once do not all go to the same target. A new target
    begins with as much as the target that has least, so that it need not catch up. Old traffic counts less and less: instead of reducing
    all figures with time, new bytes count more.

    Args:
        clock: The source of time. Chance decides which target it begins with.
    """

    def __init__(self, clock: Clock) -> None:
        self._now = clock.monotonic
        self._chance = clock.random
        self._is_fresh = True
        """Whether no traffic has been counted yet, so that all targets are equal."""
        self._since = self._now()
        """The time at which a byte counted 1."""
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
        """Add the bytes of an exchange with the target. `finished` follows."""
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
            # A retry.
            usable = [target for target in candidates if target.weight] or candidates
        return min(usable, key=self._traffic, default=None)

    def _worth(self) -> float:
        """Return how much a byte counts now."""
        age: float = self._now() - self._since
        if age > _MAX_AGE:
            self._begin_anew(2.0 ** -(age / _HALF_LIFE))
            age = 0.0
        return float(2.0 ** (age / _HALF_LIFE))

    def _begin_anew(self, left: float) -> None:
        """Scale all figures so that a byte counts 1 now, before they grow too large for a float."""
        self._since = self._now()
        self._heap.clear()
        for target in self._bytes:
            self._bytes[target] *= left
            self._put(target)

    def _traffic(self, target: TargetState) -> float:
        """Return the bytes per weight, including those of exchanges in progress."""
        return (self._bytes.get(target, 0.0) + target.outstanding * self._average * self._worth()) / (target.weight or 1)

    def _put(self, target: TargetState) -> None:
        if target.weight:
            self._heap.put(target, self._traffic(target))

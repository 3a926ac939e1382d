"""The quicker one of two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import exp

from albkit.policy.weights import Chance, index_at, weights_of
from albkit.state.target import TargetState

__all__ = ("LeastResponseTime",)

_NEWEST = 0.2
"""What the latest answer counts for in a target's response time."""
_FORGOTTEN_IN = 10.0
"""Seconds in which a response time that nothing confirms drifts to the mean, so that a target that was slow once is tried again."""
_ALIKE = 1.25
"""Up to so many times the other's time the first one drawn is taken: what differs by less is chance, and weights decide."""


class LeastResponseTime:
    """Of two targets drawn by chance and weight the one that would answer first: response time times requests that it has to do.

    Two draws instead of the best of all: that needs no scan, and does not send everything to a target that has just been quick.

    Args:
        now: The monotonic clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._times: dict[TargetState, tuple[float, float]] = {}
        self._mean = 0.0
        self._mean_weight = 0.0
        self._order: list[TargetState] = []
        self._sums: list[int] = []

    def joined(self, target: TargetState) -> None:
        self._times.setdefault(target, (0.0, 0.0))
        self._sums = []

    def left(self, target: TargetState) -> None:
        self._times.pop(target, None)
        self._sums = []

    def started(self, target: TargetState) -> None: ...

    def finished(self, target: TargetState) -> None: ...

    def answered(self, target: TargetState, seconds: float) -> None:
        """The head of a response has come, so long after its request was sent."""
        if target not in self._times:
            return
        before = self._known(target)
        self._times[target] = (before + _NEWEST * (seconds - before) if before else seconds, self._now())
        self._mean += (seconds - self._mean) / max(10, len(self._times)) if self._mean else seconds

    def choose(self, candidates: Sequence[TargetState], chance: Chance) -> TargetState | None:
        if not candidates:
            return None
        if len(candidates) != len(self._times):
            return self._better(candidates, list(accumulate(weights_of(candidates))), chance)
        if not self._sums:
            self._order = list(self._times)
            self._sums = list(accumulate(weights_of(self._order)))
            self._mean_weight = self._sums[-1] / len(self._sums)
        return self._better(self._order, self._sums, chance)

    def _better(self, targets: Sequence[TargetState], sums: Sequence[int], chance: Chance) -> TargetState:
        first = index_at(sums, chance() * sums[-1])
        below = sums[first - 1] if first else 0
        others = sums[-1] - (sums[first] - below)
        if not others:
            return targets[first]
        # Another one: as if the first had not been there.
        drawn = chance() * others
        second = index_at(sums, drawn if drawn < below else drawn + sums[first] - below)
        one, other = targets[first], targets[second]
        return one if self._cost(one) <= _ALIKE * self._cost(other) else other

    def _cost(self, target: TargetState) -> float:
        """Seconds until one more request would be answered, by what is known."""
        weight = target.weight / self._mean_weight if self._mean_weight else 1.0
        return (self._known(target) or self._mean or 1.0) * (1.0 + target.outstanding / (weight or 1.0))

    def _known(self, target: TargetState) -> float:
        """The target's response time as far as it still says something; 0 where it has answered nothing yet."""
        known, at = self._times.get(target, (0.0, 0.0))
        return self._mean + (known - self._mean) * exp((at - self._now()) / _FORGOTTEN_IN) if known else 0.0

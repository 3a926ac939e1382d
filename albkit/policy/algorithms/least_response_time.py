"""The algorithm `least_response_time`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import exp

from albkit.clock import Clock
from albkit.policy.algorithms.algorithm import BuiltInAlgorithm
from albkit.policy.weights import Chance, index_at, weights_of
from albkit.state.target import TargetState

__all__ = ("LeastResponseTime",)

_NEWEST = 0.2
"""The share of the latest response in the moving average of a target's response time."""
_DECAY = 10.0
"""Seconds: the time constant with which a response time decays to the mean, so that a target that was slow once is tried again."""
_ALIKE = 1.25
"""The second target must be better by this factor. Smaller differences are noise, and the weights of the draw decide."""


class LeastResponseTime(BuiltInAlgorithm):
    """Draws two targets by chance and weight, and chooses the one that would respond first: by response time times outstanding requests.

    Two draws, instead of the best of all targets, need no scan, and do not send all requests to a target that has just been fast
    ("the power of two choices", Mitzenmacher, https://doi.org/10.1109/71.963420).

    Args:
        clock: The source of time.
    """

    def __init__(self, clock: Clock) -> None:
        self._now = clock.monotonic
        self._times: dict[TargetState, tuple[float, float]] = {}
        """The moving average of the response time of each target, and when it was updated; 0 before the first response."""
        self._mean = 0.0
        """The moving average over all targets."""
        self._mean_weight = 0.0
        self._order: list[TargetState] = []
        self._sums: list[int] = []

    def joined(self, target: TargetState) -> None:
        self._times.setdefault(target, (0.0, 0.0))
        self._sums = []

    def left(self, target: TargetState) -> None:
        self._times.pop(target, None)
        self._sums = []

    def answered(self, target: TargetState, seconds: float) -> None:
        """Note how many seconds after its request the head of a response came."""
        if target not in self._times:
            return
        before = self._known(target)
        self._times[target] = (before + _NEWEST * (seconds - before) if before else seconds, self._now())
        self._mean += (seconds - self._mean) / max(10, len(self._times)) if self._mean else seconds

    def choose(self, candidates: Sequence[TargetState], chance: Chance) -> TargetState | None:
        if not candidates:
            return None
        if len(candidates) != len(self._times):
            # A retry.
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
        # Another target: draw as if the first one had no weight.
        drawn = chance() * others
        second = index_at(sums, drawn if drawn < below else drawn + sums[first] - below)
        one, other = targets[first], targets[second]
        return one if self._cost(one) <= _ALIKE * self._cost(other) else other

    def _cost(self, target: TargetState) -> float:
        """Return the estimated seconds until one more request would be answered."""
        weight = target.weight / self._mean_weight if self._mean_weight else 1.0
        return (self._known(target) or self._mean or 1.0) * (1.0 + target.outstanding / (weight or 1.0))

    def _known(self, target: TargetState) -> float:
        """Return the target's response time, decayed to the mean; 0 if it has not responded yet."""
        known, at = self._times.get(target, (0.0, 0.0))
        return self._mean + (known - self._mean) * exp((at - self._now()) / _DECAY) if known else 0.0

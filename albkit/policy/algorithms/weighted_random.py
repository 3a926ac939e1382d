"""The algorithm `weighted_random`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from albkit.clock import Clock
from albkit.policy.algorithms.algorithm import BuiltInAlgorithm
from albkit.policy.weights import Chance, drawn, weights_of
from albkit.state.target import TargetState

__all__ = ("WeightedRandom",)


class WeightedRandom(BuiltInAlgorithm):
    """Chooses a target by chance, each as often as its weight says. Anomaly mitigation can reduce the share of a target.

    Args:
        _clock: Not used: all algorithms are made with the same argument.
    """

    def __init__(self, _clock: Clock) -> None:
        self._targets: dict[TargetState, None] = {}
        self._order: list[TargetState] = []
        self._sums: list[float] = []
        """The running sums of the weights in `_order`; empty until they are computed again after a change."""

    def joined(self, target: TargetState) -> None:
        self._targets[target] = None
        self._sums = []

    def left(self, target: TargetState) -> None:
        self._targets.pop(target, None)
        self._sums = []

    def choose(self, candidates: Sequence[TargetState], chance: Chance) -> TargetState | None:
        if not candidates:
            return None
        if len(candidates) != len(self._targets):
            # A retry.
            return drawn(candidates, _sums(candidates), chance)
        if not self._sums:
            self._order = list(self._targets)
            self._sums = _sums(self._order)
        return drawn(self._order, self._sums, chance)


def _sums(targets: Sequence[TargetState]) -> list[float]:
    return list(accumulate(weight * target.share for weight, target in zip(weights_of(targets), targets, strict=True)))

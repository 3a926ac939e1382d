"""Any target, by chance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from albkit.policy.weights import Chance, drawn, weights_of
from albkit.state.target import TargetState

__all__ = ("WeightedRandom",)


class WeightedRandom:
    """Any target by chance, each as often as its weight says, and less often while its share is reduced (anomaly mitigation)."""

    def __init__(self) -> None:
        self._targets: dict[TargetState, None] = {}
        self._sums: list[float] = []
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
            return drawn(candidates, _sums(candidates), chance)
        if not self._sums:
            self._order = list(self._targets)
            self._sums = _sums(self._order)
        return drawn(self._order, self._sums, chance)


def _sums(targets: Sequence[TargetState]) -> list[float]:
    return list(accumulate(weight * target.share for weight, target in zip(weights_of(targets), targets, strict=True)))

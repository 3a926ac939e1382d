"""Random choice by weight."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from albkit.state.target import TargetState

__all__ = ("Chance", "drawn", "drawn_by_weight", "index_at", "weights_of")

Chance = Callable[[], float]
"""Returns random numbers of [0, 1)."""


def weights_of(targets: Sequence[TargetState]) -> list[int]:
    """The targets' weights; 1 for each if all are 0, so that a group with targets always has one to choose."""
    weights = [target.weight for target in targets]
    return weights if any(weights) else [1] * len(targets)


def drawn(targets: Sequence[TargetState], sums: Sequence[float], chance: Chance) -> TargetState:
    """Choose a target at random; `sums` contains the running sums of the weights."""
    return targets[index_at(sums, chance() * sums[-1])]


def drawn_by_weight(targets: Sequence[TargetState], chance: Chance) -> TargetState | None:
    """Choose a target at random by weight; `None` if there are none."""
    return drawn(targets, list(accumulate(weights_of(targets))), chance) if targets else None


def index_at(sums: Sequence[float], figure: float) -> int:
    """The index of the item that a number from 0 to the last sum falls to; `sums` contains the running sums of the weights.

    It never returns an item of weight 0, even if rounding has made the number equal to the last sum.
    """
    index = bisect_right(sums, figure)
    return index if index < len(sums) else bisect_left(sums, sums[-1])

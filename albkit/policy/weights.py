"""Shares of targets, as their weights say."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from albkit.state.target import TargetState

__all__ = ("Chance", "drawn", "drawn_by_weight", "index_at", "weights_of")

Chance = Callable[[], float]
"""Gives numbers of [0, 1)."""


def weights_of(targets: Sequence[TargetState]) -> list[int]:
    """The targets' weights; all 1 where all are 0, so that a group never has targets and chooses none."""
    weights = [target.weight for target in targets]
    return weights if any(weights) else [1] * len(targets)


def drawn(targets: Sequence[TargetState], sums: Sequence[float], chance: Chance) -> TargetState:
    """One of the targets, of which `sums` holds the running sums of their weights, by chance."""
    return targets[index_at(sums, chance() * sums[-1])]


def drawn_by_weight(targets: Sequence[TargetState], chance: Chance) -> TargetState | None:
    """One of the targets by weight and chance; `None` where there are none."""
    return drawn(targets, list(accumulate(weights_of(targets))), chance) if targets else None


def index_at(sums: Sequence[float], figure: float) -> int:
    """Which one of those of which `sums` holds the running sums of their weights a figure from 0 to the last sum falls to.

    Never one of weight 0, also where rounding has made the figure the last sum itself.
    """
    index = bisect_right(sums, figure)
    return index if index < len(sums) else bisect_left(sums, sums[-1])

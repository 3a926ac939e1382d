"""The algorithm `round_robin`."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from albkit.clock import Clock
from albkit.policy.algorithms.algorithm import BuiltInAlgorithm
from albkit.policy.weights import Chance, weights_of
from albkit.state.target import TargetState

__all__ = ("RoundRobin",)

_MAX_SCHEDULE = 8192
_TURNS = 2**32
"""Many more than a round can have, so that each turn of a round is equally likely to be the first."""


class RoundRobin(BuiltInAlgorithm):
    """Chooses each target in turn, as often as its weight says, with the turns of a target spread evenly over the round.

    Args:
        clock: Chance decides which target comes first.
    """

    def __init__(self, clock: Clock) -> None:
        self._targets: dict[TargetState, None] = {}
        self._schedule: list[TargetState] = []
        """The targets of one round in order; empty until it is made again after a change."""
        self._weight: int | None = None
        """The weight of every target, if all weights are equal and the schedule is made; else `None`."""
        # Changes of targets and weights do not reset it: else frequent changes would favor the first targets.
        self._turn = int(clock.random() * _TURNS)

    def joined(self, target: TargetState) -> None:
        if self._schedule and target.weight == self._weight and target not in self._targets:
            self._schedule.append(target)
        else:
            self._schedule = []
        self._targets[target] = None

    def left(self, target: TargetState) -> None:
        if target in self._targets and self._schedule and self._weight is not None:
            self._schedule.remove(target)
        else:
            self._schedule = []
        self._targets.pop(target, None)

    def choose(self, candidates: Sequence[TargetState], _chance: Chance) -> TargetState | None:
        if len(candidates) != len(self._targets):
            # A retry does not take a turn: else, with two targets, every next request would begin with the same dead target again.
            usable = [target for target in candidates if target.weight] or candidates
            return usable[self._turn % len(usable)] if usable else None
        schedule = self._schedule or self._make_schedule()
        if not schedule:
            return None
        turn = self._turn
        self._turn = turn + 1
        return schedule[turn % len(schedule)]

    def _make_schedule(self) -> list[TargetState]:
        targets = list(self._targets)
        weights = weights_of(targets)
        alike = len(set(weights)) <= 1
        self._weight = targets[0].weight if targets and alike else None
        self._schedule = targets if alike else _spread(targets, weights)
        return self._schedule


def _spread(targets: list[TargetState], weights: list[int]) -> list[TargetState]:
    """Return one round, in which each target occurs as often as its weight says, as evenly as possible."""
    divisor = gcd(*weights)
    weights = [weight // divisor for weight in weights]
    total = sum(weights)
    if total > _MAX_SCHEDULE:
        weights = [max(1, weight * _MAX_SCHEDULE // total) if weight else 0 for weight in weights]
    # The n-th of w turns of a target comes at (n - 1/2) / w of the round.
    turns = [((number + 0.5) / weight, place) for place, weight in enumerate(weights) for number in range(weight)]
    return [targets[place] for _, place in sorted(turns)]

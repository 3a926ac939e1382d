"""What a scenario is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from benchmarks.bench import Bench, Case
from benchmarks.engine import measure
from benchmarks.figures import Budget, Row

__all__ = ("Scenario", "of_cases")


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One question about cost, and how it is answered."""

    name: str
    title: str
    run: Callable[[Bench], list[Row]]
    budgets: Sequence[Budget] = ()


def of_cases(*groups: Sequence[Case], once: bool = False) -> Callable[[Bench], list[Row]]:
    """Return a function that measures cases: those of a group with the same running programs, in turns; one group after the other."""
    return lambda bench: [row for cases in groups for row in measure(bench, cases, once=once)]

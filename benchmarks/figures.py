"""Results, their comparison, and the verdicts on budgets."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

__all__ = ("Budget", "Row", "Sample", "broken", "judge", "names", "tell_budgets")


class Sample(NamedTuple):
    """One measurement of one proxy: one kind of work, one round."""

    cost: float
    """In the unit of its row: mostly microseconds of CPU time."""
    rate: float | None = None
    """Requests, echoes or handshakes per second."""
    share: float | None = None
    """The share of its core that the proxy used."""


@dataclasses.dataclass
class Row:
    """One kind of work, and its cost for each proxy."""

    name: str
    """For budgets and JSON."""
    title: str
    unit: str
    work: str = ""
    """The title of the work if it has several results; otherwise the row's title."""
    compared: bool = True
    """Whether ratios to other proxies are meaningful."""
    peers: Sequence[str] = ()
    """The proxies that take part, in display order."""
    samples: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    """By proxy, in the order of the rounds."""
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    """Why a proxy was not measured: it does not support this work."""
    failed: dict[str, str] = dataclasses.field(default_factory=dict)
    """Why the measurement of a proxy failed."""

    def __post_init__(self) -> None:
        self.work = self.work or self.title

    def add(self, name: str, sample: Sample) -> None:
        """Add a proxy's sample of one more round."""
        self.samples.setdefault(name, []).append(sample)

    def leave_out(self, name: str, why: str) -> None:
        """Record that a proxy does not support this work."""
        self.samples.pop(name, None)
        self.left_out[name] = why

    def fail(self, name: str, why: str) -> None:
        """Record that there is no result for this proxy."""
        self.samples.pop(name, None)
        self.failed[name] = why

    def median(self, name: str) -> float | None:
        """The median cost for this proxy; `None` if it was not measured."""
        return statistics.median(sample.cost for sample in self.samples[name]) if name in self.samples else None

    def ratio(self, name: str, other: str) -> float | None:
        """The ratio of two proxies' costs, as the median over the rounds; `None` if one of them was not measured."""
        if name not in self.samples or other not in self.samples:
            return None
        pairs = zip(self.samples[name], self.samples[other], strict=True)
        ratios = [mine.cost / theirs.cost for mine, theirs in pairs if theirs.cost]
        return statistics.median(ratios) if ratios else None

    def spread(self, name: str) -> tuple[float, float] | None:
        """The lowest and the highest cost over the rounds."""
        costs = [sample.cost for sample in self.samples.get(name, ())]
        return (min(costs), max(costs)) if costs else None

    def rate(self, name: str) -> tuple[float, float] | None:
        """The work done per second, and the share of a core used; `None` if that is not meaningful."""
        rates = [sample.rate for sample in self.samples.get(name, ()) if sample.rate is not None]
        shares = [sample.share for sample in self.samples.get(name, ()) if sample.share is not None]
        return (statistics.median(rates), statistics.median(shares)) if rates and shares else None

    def as_json(self) -> dict[str, Any]:
        """All results."""
        return {
            "title": self.title,
            "unit": self.unit,
            "samples": {name: [sample._asdict() for sample in taken] for name, taken in self.samples.items()},
            "median": {name: self.median(name) for name in self.samples},
            "left_out": self.left_out,
            "failed": self.failed,
        }


def names(rows: Iterable[Row]) -> list[str]:
    """The proxies with at least one result, in display order."""
    shown: dict[str, bool] = {}
    for row in rows:
        for name in (*row.peers, *row.samples):
            shown[name] = shown.get(name, False) or name in row.samples
    return [name for name, measured in shown.items() if measured]


class Budget(NamedTuple):
    """The highest cost that a proxy may have."""

    row: str
    name: str
    """The proxy."""
    peer: str | None
    """The proxy to compare with; `None` for an absolute limit."""
    limit: float
    aim: float | None = None


def judge(rows: Iterable[Row], budget: Budget) -> tuple[float, bool] | None:
    """The result for a budget, and whether the budget holds; `None` if a result is missing."""
    for row in rows:
        if row.name == budget.row:
            figure = row.ratio(budget.name, budget.peer) if budget.peer is not None else row.median(budget.name)
            return None if figure is None else (figure, figure <= budget.limit)
    return None


def tell_budgets(rows: Sequence[Row], budgets: Iterable[Budget]) -> list[str]:
    """A line of text per budget for which there was work."""
    by_name = {row.name: row for row in rows}
    return [_told(by_name[budget.row], budget, judge(rows, budget)) for budget in budgets if budget.row in by_name]


def _told(row: Row, budget: Budget, verdict: tuple[float, bool] | None) -> str:
    unit = f"x {budget.peer}" if budget.peer is not None else row.unit
    what = f"{budget.name}, {row.title}: at most {budget.limit:g} {unit}"
    if verdict is None:
        return f"{what}: no verdict, because a result is missing"
    figure, holds = verdict
    told = f"{what}: {'holds' if holds else 'DOES NOT HOLD'}, {figure:.2f}"
    if budget.aim is not None:
        told += f" (aim {budget.aim:g}: {'reached' if figure <= budget.aim else 'not reached'})"
    return told


def broken(rows: Sequence[Row], budgets: Iterable[Budget]) -> bool:
    """Whether a budget that could be judged does not hold."""
    verdicts = [judge(rows, budget) for budget in budgets]
    return any(verdict is not None and not verdict[1] for verdict in verdicts)

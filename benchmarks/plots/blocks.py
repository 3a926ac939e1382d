"""Groups results into blocks, and arranges blocks side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.figures import Budget, Row, names
from benchmarks.plots.bars import Scale, label, limit
from benchmarks.plots.style import long_unit, short_unit
from benchmarks.results import Outcome

__all__ = ("ACROSS", "Block", "blocks", "lines", "scales")

ACROSS = 4
"""The number of bar panels side by side."""
_ALIKE = 3.0
"""Scales that differ by less become one, so that bars of a scenario can be compared across its panels."""
_WHAT = {
    "tunnels": "CPU time per echo, microseconds",
    "handshakes": "CPU time per tunnel, microseconds",
    "tls-handshakes": "CPU time per connection, microseconds",
    "tls-tunnels": "CPU time per echo, microseconds",
}
"""What is measured, for scenarios whose unit does not say it."""


class Block(NamedTuple):
    """Some kinds of work of one scenario, side by side."""

    title: str
    note: str
    rows: Sequence[Row]
    headings: Sequence[str]
    budgets: Sequence[Budget]

    @property
    def names(self) -> list[str]:
        """The proxies in it."""
        return names(self.rows)

    @property
    def many(self) -> bool:
        """Whether it has too many kinds of work for bars."""
        return len(self.rows) > ACROSS

    @property
    def width(self) -> int:
        """In panels."""
        return min(len(self.rows), ACROSS)


def blocks(outcome: Outcome, *, judged: bool) -> Iterator[Block]:
    """The blocks of a scenario: one, or one per group of works if there are many in several units."""
    rows = [row for row in outcome.rows if row.samples and row.compared]
    scenario = outcome.scenario
    title = f"{scenario.title[:1].upper()}{scenario.title[1:]}"
    for group, those in _groups(rows):
        units = {row.unit for row in those}
        what = _WHAT.get(scenario.name, long_unit(those[0].unit)) if len(units) == 1 else ""
        note = [scenario.title if group else scenario.name, what]
        if 1 < len(those) <= ACROSS and len(units) == 1 and len(set(scales(those))) > 1:
            note.append("each on a scale of its own")
        works = [(row.title.removeprefix(f"{group}, "), "" if what else short_unit(row.unit)) for row in those]
        headings = [", ".join(filter(None, work)) for work in works]
        called = f"{scenario.name[:1].upper()}{scenario.name[1:]}: {group}" if group else title
        yield Block(called, " · ".join(filter(None, note)), those, headings, scenario.budgets if judged else ())


def _groups(rows: Sequence[Row]) -> Iterator[tuple[str, Sequence[Row]]]:
    """All together, or by case if there are many in several units, which cannot share a scale."""
    if not _too_many(rows):
        yield from [("", rows)] * bool(rows)
        return
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.title.split(", ", 1)[0] if "/" in row.name else long_unit(row.unit), []).append(row)
    for group, those in groups.items():
        size = ACROSS if _too_many(those) else len(those)
        yield from ((group, those[at : at + size]) for at in range(0, len(those), size))


def _too_many(rows: Sequence[Row]) -> bool:
    return len(rows) > ACROSS and len({row.unit for row in rows}) > 1


def scales(rows: Sequence[Row]) -> list[Scale]:
    """The scale of each panel: the same for all if they have the same kind and size."""
    ends = [limit(row, names([row])) for row in rows]
    taken = label(rows, names(rows))
    same = len({row.unit for row in rows}) == 1 and max(ends) < _ALIKE * min(ends)
    return [Scale(max(ends) if same else end, taken) for end in ends]


def lines(every: Sequence[Block]) -> list[list[Block]]:
    """Arrange as many side by side as fit, in their order."""
    made: list[list[Block]] = []
    for block in every:
        if made and sum(beside.width for beside in made[-1]) + block.width <= ACROSS:
            made[-1].append(block)
        else:
            made.append([block])
    return made

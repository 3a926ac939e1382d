"""Results as tables, for a terminal or a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from benchmarks.figures import Row, names

__all__ = ("Table", "as_markdown", "as_text", "remarks", "tables")


class Table(NamedTuple):
    """A line per kind of work, a column per proxy."""

    title: str
    columns: Sequence[str]
    lines: Sequence[tuple[str, Sequence[str]]]


def tables(rows: Sequence[Row], to: Iterable[str]) -> list[Table]:
    """Medians, their ratios to the named proxies, the spread over the rounds, and the work per second."""
    columns = names(rows)
    made = [_table("cost", columns, rows, lambda row, name: _figure(row.median(name)), units=True)]
    compared = [(other, [name for name in columns if name != other]) for other in to if other in columns]
    made += [_table(f"x {other}", others, [row for row in rows if row.compared], partial(_ratio, other)) for other, others in compared]
    if any(len(taken) > 1 for row in rows for taken in row.samples.values()):
        made.append(_table("lowest..highest", columns, rows, lambda row, name: _spread(row.spread(name)), units=True))
    made.append(_table("per second, of the core", columns, rows, lambda row, name: _rate(row.rate(name))))
    return [table for table in made if table.lines]


def _table(title: str, columns: Sequence[str], rows: Iterable[Row], cell: Callable[[Row, str], str], *, units: bool = False) -> Table:
    lines = [(f"{row.title}, {row.unit}" if units else row.title, [cell(row, name) for name in columns]) for row in rows]
    return Table(title, columns, [line for line in lines if any(cell != "-" for cell in line[1])])


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def _ratio(other: str, row: Row, name: str) -> str:
    value = row.ratio(name, other)
    return "-" if value is None else f"{value:.2f}"


def _spread(value: tuple[float, float] | None) -> str:
    return "-" if value is None else f"{_figure(value[0])}..{_figure(value[1])}"


def _rate(value: tuple[float, float] | None) -> str:
    return "-" if value is None else f"{value[0]:,.0f} {value[1]:4.0%}"


def as_text(table: Table) -> str:
    """For any terminal."""
    first = max(24, *(len(title) + 2 for title, _ in table.lines))
    widths = [max(9, *(len(cell) + 2 for cell in cells)) for cells in zip(table.columns, *(cells for _, cells in table.lines), strict=True)]

    def line(title: str, cells: Sequence[str]) -> str:
        return f"{title:{first}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))

    return "\n".join([line(table.title, table.columns), *[line(title, cells) for title, cells in table.lines]])


def as_markdown(table: Table) -> str:
    """For RESULTS.md."""
    lines = [[table.title, *table.columns], ["---", *("---:" for _ in table.columns)]]
    lines += [[title, *cells] for title, cells in table.lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def remarks(rows: Sequence[Row]) -> list[str]:
    """Why results are missing: one line per reason."""
    every = list(dict.fromkeys(row.work for row in rows))
    works: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows:
        for name, why in row.left_out.items():
            works.setdefault((name, f"left out, {why}"), {})[row.work] = None
        for name, why in row.failed.items():
            works.setdefault((name, f"FAILED, {why}"), {})[row.work] = None
    told: dict[tuple[str, str], list[str]] = {}
    for (name, why), what in works.items():
        told.setdefault((why, "" if list(what) == every else f" ({'; '.join(what)})"), []).append(name)
    return [f"{', '.join(called)}{what}: {why}" for (why, what), called in told.items()]

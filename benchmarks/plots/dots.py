"""Many cases as a table of dots on a logarithmic scale: one dot per proxy, and albkit's value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.figures import Row, names
from benchmarks.plots.style import INK, MUTED, OURS, RULE, SMALL, TINT, Place, figure_in_words, look, width_of

__all__ = ("Cases", "cases", "dots", "legend")

_FIGURE = 0.4
"""Inches for albkit's value."""


class Cases(NamedTuple):
    """Cases as rows and columns."""

    lines: Sequence[str]
    columns: Sequence[str]
    cells: dict[tuple[str, str], Row]
    """By row and column."""


def cases(rows: Sequence[Row]) -> Cases:
    """Arrange titles of two parts in rows and columns, with the fewer parts as columns. A title with one part belongs to each column."""
    halves = [row.title.split(", ", 1) if "/" in row.name else [row.title] for row in rows]
    first, second = (list(dict.fromkeys(half[at] for half in halves if len(half) > 1)) for at in (0, 1))
    turned = len(first) < len(second)
    columns = (first if turned else second) or [""]
    cells: dict[tuple[str, str], Row] = {}
    for row, half in zip(rows, halves, strict=True):
        line, own = (half[0], columns) if len(half) == 1 else (half[turned], [half[not turned]])
        cells |= {(line, column): row for column in own}
    return Cases(list(dict.fromkeys(line for line, _ in cells)), columns, cells)


def dots(figure: Any, place: Place, shown: Cases, column: str, *, named: bool) -> None:
    """Draw one column."""
    axis = place.axis(figure)
    spreads = [spread for row in shown.cells.values() for name in names([row]) if (spread := row.spread(name))]
    low, high = _range(spreads)
    axis.set_xscale("log")
    span = (high / low) ** (1 / max(place.width - _FIGURE, _FIGURE))
    axis.set_xlim(low / span**0.06, high * span**_FIGURE)
    axis.set_ylim(len(shown.lines) - 0.5, -0.5)
    for at, line in enumerate(shown.lines):
        if at:
            axis.axhline(at - 0.5, color=RULE, lw=0.5, zorder=0)
        row = shown.cells.get((line, column))
        if row is None:
            continue
        for name in names([row]):
            _dot(axis, at, row, name)
        if (value := row.median("albkit")) is not None:
            told = axis.text(0.99, at, figure_in_words(value), transform=axis.get_yaxis_transform(), ha="right", va="center_baseline")
            told.set(fontsize=SMALL, color=OURS, weight="bold")
    axis.axvspan(high * span**0.02, high * span**_FIGURE, color=TINT, lw=0, zorder=0)
    ticks = [figure * 10**power for power in range(-3, 9) for figure in (1, 3) if low <= figure * 10**power <= high]
    axis.set_xticks(ticks, [f"{tick:,g}" for tick in ticks], fontsize=SMALL)
    axis.set_xticks([], minor=True)
    axis.grid(axis="x", color=RULE, lw=0.5)
    if named:
        axis.set_yticks(range(len(shown.lines)), shown.lines, fontsize=SMALL, color=INK)


def _range(spreads: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The lowest and the highest value, with a distance between them; values that are not above 0 cannot be on a logarithmic scale."""
    every = [value for spread in spreads for value in spread if value > 0] or [1.0]
    return min(every), max(*every, 2 * min(every))


def _dot(axis: Any, at: int, row: Row, name: str) -> None:
    value, spread = row.median(name), row.spread(name)
    if value is None or spread is None:
        return
    how, ours = look(name), name == "albkit"
    axis.plot(spread, (at, at), color=how.dot, lw=0.9, alpha=1 if ours else 0.7, zorder=3 if ours else 2)
    axis.plot(value, at, how.marker, color=how.dot, ms=6 if ours else 4.2, mew=1.4 if how.marker == "|" else 0, zorder=5 if ours else 4)


def legend(figure: Any, left: float, top: float, width: float, shown: Sequence[str]) -> None:
    """The marks and their proxies, in a line that is aligned to the right."""
    axis = Place(left, top, width, 0.16).axis(figure)
    axis.set_xlim(0, width)
    axis.set_ylim(0, 1)
    at = width
    for name in reversed(shown):
        axis.text(at, 0.5, name, fontsize=SMALL, color=OURS if name == "albkit" else MUTED, ha="right", va="center_baseline")
        at -= width_of(name) + 0.09
        axis.plot(at, 0.5, look(name).marker, color=look(name).dot, ms=4.6, mew=1.4 if look(name).marker == "|" else 0, clip_on=False)
        at -= 0.17

"""The summary: a line per proxy, a column for each of a few kinds of work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.figures import Row, names
from benchmarks.plots.bars import FAR, Scale, bars, label, limit, names_beside
from benchmarks.plots.style import MUTED, PAPER, PLAIN, Place, save, write
from benchmarks.results import Outcome

__all__ = ("draw_summary",)


class _Column(NamedTuple):
    title: str
    what: str
    scenario: str
    row: str


_COLUMNS: Final = (
    _Column("A small GET", "64 connections", "small-get", "64"),
    _Column("A browser's GET", "12 fields, cookies", "browser-get", "browser"),
    _Column("A POST", "body of 64 KiB", "post", "64k"),
    _Column("A download", "1 MiB", "download", "1m"),
    _Column("A WebSocket echo", "16 KiB", "tunnels", "16384"),
    _Column("An idle WebSocket", "memory for each", "idle-tunnels", "memory"),
)
_SIGNS: Final = (
    "CPU time of the proxy's processes for each, or memory. "
    f"Thin line: lowest to highest of the rounds. A bar with a gap is cut: more than {FAR:g} times albkit's."
)
_LEFT_OUT: Final = ("direct", "albkit-raw", "baseline")
_SIZE = (10.0, 4.2)
_TEXT = 8.6
_MARGIN = 0.18
_NAMES = 0.72
_TOP, _BOTTOM = 1.22, 0.2
_BETWEEN = 0.16


def draw_summary(outcomes: Sequence[Outcome], file: Path) -> None:
    """Write the picture (PNG) with the columns that were measured; nothing if there are none."""
    from matplotlib.figure import Figure

    found = _found(outcomes)
    if not found:
        return
    shown = [name for name in names(row for _, row in found) if name not in _LEFT_OUT]
    figure = Figure(figsize=_SIZE, facecolor=PAPER)
    write(figure, _MARGIN, 0.16, ["What albkit costs beside its peers; less is better"], 13, weight="bold")
    write(figure, _MARGIN, 0.43, [_SIGNS], PLAIN, color=MUTED)
    across = (_SIZE[0] - 2 * _MARGIN - _NAMES) / len(found)
    for number, (column, row) in enumerate(found):
        left = _MARGIN + _NAMES + across * number
        write(figure, left, 0.74, [column.title], 9, weight="bold")
        unit = {"KiB each": "KiB"}.get(row.unit, "µs")
        write(figure, left, 0.93, [f"{column.what}, {unit}"], PLAIN, color=MUTED)
        place = Place(left, _TOP, across - _BETWEEN, _SIZE[1] - _TOP - _BOTTOM)
        axis = bars(figure, place, row, Scale(limit(row, shown), label([row], shown, _TEXT)), shown, size=_TEXT)
        if not number:
            names_beside(axis, shown, _TEXT + 0.4)
    save(figure, file)


def _found(outcomes: Sequence[Outcome]) -> list[tuple[_Column, Row]]:
    rows = {(outcome.scenario.name, row.name): row for outcome in outcomes for row in outcome.rows if row.samples}
    return [(column, rows[column.scenario, column.row]) for column in _COLUMNS if (column.scenario, column.row) in rows]

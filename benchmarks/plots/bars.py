"""One kind of work as horizontal bars from 0: one bar per proxy, with its value beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.figures import Budget, Row, judge
from benchmarks.plots.style import INK, MUTED, NONE, OURS, PAPER, RULE, SMALL, SPREAD, TINT, Place, figure_in_words, look, width_of

__all__ = ("FAR", "Scale", "bars", "label", "limit", "names_beside")

FAR = 6.0
"""The multiple of albkit's value beyond which a bar is cut, because the other bars would become too short to compare."""
_WORTH = 1.25
"""How much longer a bar must be to be cut."""
_THICK = 0.66
_GAP = 0.04
"""Inches between a bar and its value."""


class Scale(NamedTuple):
    """The scale of a panel. Bars of panels with the same width and scale can be compared."""

    end: float
    label: float
    """Inches for values beyond its end."""


def limit(row: Row, names: Sequence[str]) -> float:
    """Where its scale ends."""
    most = max(spread[1] for name in names if (spread := row.spread(name))) or 1.0
    far = FAR * (row.median("albkit") or most)
    return far if most > _WORTH * far else most


def label(rows: Sequence[Row], names: Sequence[str], size: float = SMALL) -> float:
    """Inches that the longest value takes, beside its bar."""
    return _GAP + max(width_of(figure_in_words(row.median(name) or 0.0), size, "bold") for row in rows for name in names)


def bars(
    figure: Any, place: Place, row: Row, scale: Scale, names: Sequence[str], budgets: Sequence[Budget] = (), size: float = SMALL
) -> Any:
    """Draw the bars, with the limits of the budgets."""
    end = scale.end
    axis = place.axis(figure)
    axis.set_xlim(0, end * place.width / max(place.width - scale.label, _GAP))
    axis.set_ylim(len(names) - 0.4, -0.6)
    inch = axis.get_xlim()[1] / place.width
    for at, name in enumerate(names):
        if name == "albkit":
            axis.axhspan(at - 0.5, at + 0.5, color=TINT, lw=0, zorder=0)
        value, spread = row.median(name), row.spread(name)
        if value is None or spread is None:
            axis.text(_GAP * inch, at, NONE, fontsize=size, color=MUTED, va="center_baseline")
            continue
        axis.barh(at, min(value, end), _THICK, color=look(name).bar, zorder=2)
        reached = min(max(value, spread[1]), end)
        if spread[0] < spread[1] and spread[0] < end:
            axis.plot((spread[0], reached), (at, at), color=SPREAD, lw=0.8, solid_capstyle="butt", zorder=3)
            if value <= end < spread[1]:
                axis.plot(end, at, ">", color=SPREAD, ms=3, mew=0, zorder=3)
        if value > end:
            _cut(axis, at, end, inch)
        for bound, line in _bounds(row, name, budgets):
            if bound <= end:
                axis.plot((bound, bound), (at - 0.45, at + 0.45), color=INK, lw=1.1, ls=line, solid_capstyle="butt", zorder=4)
                if bound < reached + scale.label * inch:
                    reached = max(reached, bound)
        told = axis.text(reached + _GAP * inch, at, figure_in_words(value), fontsize=size, va="center_baseline")
        told.set(**_written(name))
    axis.axvline(0, color=RULE, lw=0.8, zorder=1)
    return axis


def names_beside(axis: Any, names: Sequence[str], size: float = SMALL) -> None:
    """Write the proxies' names to the left of the bars."""
    axis.set_yticks(range(len(names)), names, fontsize=size)
    for tick, name in zip(axis.get_yticklabels(), names, strict=True):
        tick.set(**_written(name))


def _written(name: str) -> dict[str, str]:
    """The style of a proxy's text."""
    return {"color": OURS, "weight": "bold"} if name == "albkit" else {"color": INK, "weight": "normal"}


def _cut(axis: Any, at: int, end: float, inch: float) -> None:
    """A slanted gap before the end of a cut bar."""
    for back in (0.16, 0.1):
        axis.plot((end - (back + 0.03) * inch, end - (back - 0.03) * inch), (at + 0.4, at - 0.4), color=PAPER, lw=1.6, zorder=5)


def _bounds(row: Row, name: str, budgets: Sequence[Budget]) -> list[tuple[float, str]]:
    """The limit and the aim of the proxy's tightest budget, on the bar's scale: a value is below them exactly if its ratio is."""
    value = row.median(name) or 0.0
    limits: list[float] = []
    aims: list[float] = []
    for budget in budgets:
        if budget.row == row.name and budget.name == name and (verdict := judge([row], budget)) is not None and verdict[0]:
            limits.append(value * budget.limit / verdict[0])
            aims += [value * budget.aim / verdict[0]] if budget.aim is not None else []
    tightest = min(limits, default=0.0)
    return [(bound, ":") for bound in sorted(aims)[:1] if bound < tightest] + [(tightest, "-")] * bool(limits)

"""What each proxy costs, as a picture: a panel for each scenario."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Row, names
from benchmarks.results import Outcome

__all__ = ("draw",)

_MOST_COLUMNS = 2
_WIDE = 8.0
"""The highest as a multiple of the lowest from which powers of ten are the better scale."""
_MOST_FLAT = 4
"""Labels that stand beside each other without being turned."""
_PANEL = (8.0, 3.6)
"""Inches."""
_COLOURS: Final = {
    "direct": "#b0b0b0",
    "albkit": "#d62728",
    "albkit-raw": "#ff9896",
    "baseline": "#8c564b",
    "nginx": "#2ca02c",
    "haproxy": "#1f77b4",
    "apache": "#9467bd",
    "caddy": "#17becf",
    "go": "#7f9fbf",
    "node": "#bcbd22",
    "aiohttp": "#ff7f0e",
    "proxy.py": "#e377c2",
}


def draw(outcomes: Sequence[Outcome], file: Path) -> None:
    """Write the picture (PNG)."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    panels = [(outcome.scenario.name, unit, rows) for outcome in outcomes for unit, rows in _by_unit(outcome.rows).items()]
    if not panels:
        return
    across = min(_MOST_COLUMNS, len(panels))
    down = -(-len(panels) // across)
    figure, axes = pyplot.subplots(down, across, figsize=(_PANEL[0] * across, _PANEL[1] * down), squeeze=False, layout="constrained")
    every = [axis for line in axes for axis in line]
    for axis, (name, unit, rows) in zip(every, panels, strict=False):
        _panel(axis, f"{name}, {unit}", rows)
    for axis in every[len(panels) :]:
        axis.set_visible(False)
    _legend(figure, every)
    figure.savefig(file, dpi=110, format="png")
    pyplot.close(figure)


def _by_unit(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.samples and row.compared:
            found.setdefault(row.unit, []).append(row)
    return found


def _panel(axis: Any, title: str, rows: Sequence[Row]) -> None:
    """A group of bars for each kind of work, a bar for each proxy; on a scale of powers of ten where they lie far apart."""
    shown = names(rows)
    width = 0.85 / len(shown)
    every = []
    for place, name in enumerate(shown):
        heights = [(at, value) for at, row in enumerate(rows) if (value := row.median(name)) is not None and value > 0]
        positions = [at + (place - (len(shown) - 1) / 2) * width for at, _ in heights]
        axis.bar(positions, [value for _, value in heights], width, label=name, color=_COLOURS.get(name))
        every += [value for _, value in heights]
    if every and max(every) > _WIDE * min(every):
        axis.set_yscale("log")
        axis.yaxis.set_minor_formatter("")
    axis.yaxis.set_major_formatter("{x:,g}")
    turned = {"rotation": 15, "ha": "right"} if len(rows) > _MOST_FLAT else {}
    axis.set_xticks(range(len(rows)), [row.title for row in rows], fontsize=7, **turned)
    axis.set_title(title, fontsize=10, loc="left")
    axis.grid(axis="y", alpha=0.3)


def _legend(figure: Any, axes: Sequence[Any]) -> None:
    """One for all panels."""
    found = {label: bar for axis in axes for bar, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    shown = [name for name in _COLOURS if name in found]
    figure.legend([found[name] for name in shown], shown, loc="outside upper center", ncols=len(shown), fontsize=8, frameon=False)

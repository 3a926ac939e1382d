"""The picture of all results: a block per scenario."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.plots.bars import bars, names_beside
from benchmarks.plots.blocks import Block, blocks, lines, scales
from benchmarks.plots.dots import cases, dots, legend
from benchmarks.plots.signs import explain
from benchmarks.plots.style import LARGE, MUTED, PAPER, PLAIN, SMALL, WIDTH, Place, line_height, save, width_of, wrapped, write
from benchmarks.results import Outcome

__all__ = ("draw",)

_MARGIN = 0.15
_NAMES = 0.62
"""Inches for the names of proxies."""
_BETWEEN = 0.14
_BAR = 0.152
_DOT = 0.19
_TICKS = 0.2
_ABOVE = 0.14
_BELOW = 0.24
_TOP = 0.98
"""Inches of the heading, with the explanation of the signs."""


def draw(outcomes: Sequence[Outcome], file: Path, *, judged: bool = True) -> None:
    """Write the picture (PNG), with budgets where they apply; nothing if nothing was measured."""
    from matplotlib.figure import Figure

    made = [_Line(line) for line in lines([block for outcome in outcomes for block in blocks(outcome, judged=judged)])]
    if not made:
        return
    figure = Figure(figsize=(WIDTH, _TOP + sum(line.height for line in made)), facecolor=PAPER)
    write(figure, _MARGIN, 0.14, ["What each proxy costs; less is better"], 12, weight="bold")
    explain(figure, Place(_MARGIN, 0.42, WIDTH - 2 * _MARGIN, 0.4), budgets=any(line.budgets for line in made))
    top = _TOP
    for line in made:
        line.draw(figure, top)
        top += line.height
    save(figure, file)


class _Line:
    """Blocks side by side whose panels start at the same height."""

    def __init__(self, shown: Sequence[Block]) -> None:
        self._blocks = [_Measured(block) for block in shown]
        self.budgets = any(block.budgets for block in shown)
        taken = sum(block.names for block in self._blocks) + _BETWEEN * (len(shown) - 1)
        self._panel = (WIDTH - 2 * _MARGIN - taken) / sum(len(block.headings) for block in self._blocks)
        self._above = max(block.above(self._panel) for block in self._blocks)
        self.height = self._above + max(block.body for block in self._blocks) + _BELOW

    def draw(self, figure: Any, top: float) -> None:
        """Draw the blocks."""
        left = _MARGIN
        for block in self._blocks:
            block.draw(figure, Place(left, top, self._panel, self._above))
            left += block.width(self._panel) + _BETWEEN


class _Measured:
    """A block, and its size in inches."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self._cases = cases(block.rows) if block.many else None
        self.names = max(_NAMES, *(width_of(line) + 0.1 for line in self._cases.lines)) if self._cases else _NAMES
        self.headings = self._cases.columns if self._cases else block.headings
        self.body = _DOT * len(self._cases.lines) + _TICKS if self._cases else _BAR * len(block.names)

    def width(self, panel: float) -> float:
        """Its width with panels of this width."""
        return self.names + panel * len(self.headings)

    def above(self, panel: float) -> float:
        """The height of everything above its panels."""
        title, note, headings = self._texts(panel)
        above = len(title) * line_height(LARGE) + len(note) * line_height(SMALL)
        return above + max(map(len, headings)) * line_height(PLAIN) + _ABOVE

    def _texts(self, panel: float) -> tuple[Sequence[str], Sequence[str], list[Sequence[str]]]:
        """The lines of its title, its note, and the heading of each panel."""
        width = self.width(panel)
        title = wrapped(self._block.title, width, LARGE, "bold")
        note = wrapped(self._block.note, width, SMALL)
        return title, note, [wrapped(heading, panel - _BETWEEN, PLAIN) for heading in self.headings]

    def draw(self, figure: Any, first: Place) -> None:
        """Draw its texts, no wider than the first panel, and its panels below."""
        title, note, headings = self._texts(first.width)
        write(figure, first.left, first.top, title, LARGE, weight="bold")
        noted = first.top + len(title) * line_height(LARGE) + 0.02
        write(figure, first.left, noted, note, color=MUTED)
        left, below = first.left + self.names, first.top + first.height
        for number, heading in enumerate(headings):
            write(figure, left + first.width * number, below - len(heading) * line_height(PLAIN) - 0.03, heading, PLAIN)
        panels = [
            Place(left + first.width * number, below, first.width - _BETWEEN, self.body - (_TICKS if self._cases else 0))
            for number in range(len(headings))
        ]
        if self._cases:
            legend(figure, first.left, noted - 0.02, self.width(first.width) - _BETWEEN, self._block.names)
            for number, (place, column) in enumerate(zip(panels, self._cases.columns, strict=True)):
                dots(figure, place, self._cases, column, named=not number)
            return
        shown = self._block.names
        for number, (place, row, scale) in enumerate(zip(panels, self._block.rows, scales(self._block.rows), strict=True)):
            axis = bars(figure, place, row, scale, shown, self._block.budgets)
            if not number:
                names_beside(axis, shown)

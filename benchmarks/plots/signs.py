"""Explains the signs of a picture."""

from __future__ import annotations

from typing import Any

from benchmarks.plots.bars import FAR
from benchmarks.plots.style import INK, MUTED, NONE, PAPER, SMALL, SPREAD, Place, look, width_of

__all__ = ("explain",)

_SIGN = 0.2
_APART = 0.26
_LINE = 0.19

_SIGNS = (
    ("albkit", "albkit"),
    ("nginx", "others"),
    ("direct", "direct: no proxy at all"),
    ("spread", "lowest to highest of the rounds"),
    ("cut", f"cut, for it is more than {FAR:g} times albkit's"),
    ("limit", "its budget: at most"),
    ("aim", "and the aim"),
    ("none", "cannot do it, or was not measured"),
)

_OF_BUDGETS = ("limit", "aim")


def explain(figure: Any, place: Place, *, budgets: bool) -> None:
    """Write the explanation, in as many lines as needed."""
    axis = place.axis(figure)
    axis.set_xlim(0, place.width)
    axis.set_ylim(place.height, 0)
    left, at = 0.0, _LINE / 2
    for sign, text in _SIGNS:
        if sign in _OF_BUDGETS and not budgets:
            continue
        taken = _SIGN + 0.06 + width_of(text)
        if left + taken > place.width:
            left, at = 0.0, at + _LINE
        _sign(axis, sign, left, at)
        axis.text(left + _SIGN + 0.06, at, text, fontsize=SMALL, color=INK, va="center_baseline")
        left += taken + _APART


def _sign(axis: Any, sign: str, left: float, at: float) -> None:
    right, middle = left + _SIGN, left + _SIGN / 2
    if sign == "spread":
        axis.plot((left, right), (at, at), color=SPREAD, lw=0.8)
    elif sign == "none":
        axis.text(middle, at, NONE, fontsize=SMALL, color=MUTED, va="center_baseline", ha="center")
    elif sign in _OF_BUDGETS:
        axis.plot((right - 0.05, right - 0.05), (at - 0.075, at + 0.075), color=INK, lw=1.1, ls="-" if sign == "limit" else ":")
    else:
        axis.barh(at, _SIGN, 0.1, left, color=look("nginx" if sign == "cut" else sign).bar)
        for back in (0.09, 0.03) if sign == "cut" else ():
            axis.plot((right - back - 0.03, right - back + 0.03), (at + 0.06, at - 0.06), color=PAPER, lw=1.6)

"""Colours, sizes and words that all pictures share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

__all__ = (
    "INK",
    "LARGE",
    "MUTED",
    "NONE",
    "OURS",
    "PAPER",
    "PLAIN",
    "RULE",
    "SMALL",
    "SPREAD",
    "TINT",
    "WIDTH",
    "Place",
    "figure_in_words",
    "line_height",
    "long_unit",
    "look",
    "save",
    "short_unit",
    "width_of",
    "wrapped",
    "write",
)

PAPER: Final = "#ffffff"
INK: Final = "#1f2328"
MUTED: Final = "#59636e"
RULE: Final = "#d0d7de"
TINT: Final = "#fdf0e7"
"""The background of albkit's line."""
OURS: Final = "#cf4500"
PEER: Final = "#b4bfca"
SPREAD: Final = "#3d444d"
NONE: Final = "\N{EN DASH}"
"""Where there is no value."""

SMALL, PLAIN, LARGE = 7.2, 8.0, 9.0
"""Points; 1.4 pixels each if the picture is shown 900 pixels wide."""
WIDTH: Final = 9.0
"""Inches."""
_DOTS: Final = 200
"""Dots per inch, sharp on high-resolution screens as well."""
_COLOURS: Final = 256
"""Colours per picture, which reduces the file to a third without a visible difference."""


class _Look(NamedTuple):
    """How a proxy is drawn."""

    bar: str
    dot: str
    marker: str


_LOOKS: Final = {
    "direct": _Look("#dde3e9", "#8c959f", "|"),
    "albkit": _Look(OURS, OURS, "o"),
    "albkit-raw": _Look("#eeac86", "#eeac86", "o"),
    "baseline": _Look("#c9a58f", "#a3694a", "o"),
    "nginx": _Look(PEER, "#3f7d58", "s"),
    "haproxy": _Look(PEER, "#4a6fa5", "^"),
    "nghttpx": _Look(PEER, "#5d9fb0", "p"),
    "envoy": _Look(PEER, "#a15c9c", "H"),
    "apache": _Look(PEER, "#8a6bab", "D"),
    "caddy": _Look(PEER, "#3d929e", "v"),
    "go": _Look(PEER, "#7f98b5", "<"),
    "node": _Look(PEER, "#8f8a3c", "P"),
    "aiohttp": _Look(PEER, "#b0795c", "X"),
    "proxy.py": _Look(PEER, "#b5719a", ">"),
}
_OTHER = _Look(PEER, "#59636e", "h")


def look(name: str) -> _Look:
    """How the proxy is drawn."""
    return _LOOKS.get(name, _OTHER)


class Place(NamedTuple):
    """A rectangle on the picture, in inches from its upper left corner."""

    left: float
    top: float
    width: float
    height: float

    def axis(self, figure: Any) -> Any:
        """Axes without a frame."""
        width, height = figure.get_size_inches()
        axis = figure.add_axes((self.left / width, 1 - (self.top + self.height) / height, self.width / width, self.height / height))
        axis.patch.set_visible(False)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0, labelsize=SMALL, labelcolor=MUTED, pad=4)
        axis.set_xticks([])
        axis.set_yticks([])
        return axis


def write(figure: Any, left: float, top: float, lines: Iterable[str], size: float = SMALL, **how: str) -> None:
    """Write lines of text at a distance, in inches, from the upper left corner of the picture."""
    width, height = figure.get_size_inches()
    for number, line in enumerate(lines):
        # By the foot of its letters: their heads are not equally high in all lines.
        foot = top + number * line_height(size) + size / 72
        figure.text(left / width, 1 - foot / height, line, fontsize=size, va="baseline", **{"color": INK, **how})


def line_height(size: float) -> float:
    """Inches."""
    return size * 1.35 / 72


@cache
def width_of(text: str, size: float = SMALL, weight: str = "normal") -> float:
    """The width of a text in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=size, weight=weight), ismath=False)[0]) / 72


def wrapped(text: str, width: float, size: float, weight: str = "normal") -> Sequence[str]:
    """The lines of a text that is wrapped at this width in inches."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if width_of(longer, size, weight) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def save(figure: Any, file: Path) -> None:
    """Write it (PNG)."""
    import io

    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=_DOTS, format="png")
    with Image.open(drawn) as image:
        few = image.convert("RGB").quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(file, format="png", optimize=True)


def figure_in_words(value: float) -> str:
    """Format a value with as many digits as are meaningful."""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


_SHORT: Final = {
    "us": "microseconds",
    "ms": "milliseconds",
    "us/request": "microseconds per request",
    "us/call": "microseconds per call",
    "us/MiB": "microseconds per MiB",
}
_LONG: Final = {
    "us": "microseconds",
    "us/request": "CPU time per request, microseconds",
    "us/call": "CPU time per call, microseconds",
    "us/MiB": "CPU time per MiB, microseconds",
    "KiB each": "memory for each, KiB",
}


def short_unit(unit: str) -> str:
    """The unit in words, for a heading that says what is measured."""
    return "" if unit == "number" else _SHORT.get(unit, unit)


def long_unit(unit: str) -> str:
    """The unit in words, with what is measured."""
    return _LONG.get(unit, unit)

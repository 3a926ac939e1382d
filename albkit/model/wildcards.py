"""Compiles ALB's wildcard patterns to something quick that no subject can slow down (docs/alb.md 3.1)."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ("compile_wildcards",)

Matcher = Callable[[str], bool]


def compile_wildcards(pattern: str, *, escapes: bool = False) -> Matcher:
    """A function that tells whether the whole of a text matches `pattern`: `*` is any characters, `?` exactly one.

    For matching without case give pattern and subject in lower case.

    Args:
        pattern: What to match.
        escapes: Whether a backslash takes the `*`, `?` or backslash behind it literally.
    """
    pieces = _pieces(pattern, escapes)
    if not any(_ONE in piece for piece in pieces):
        texts = ["".join(piece) for piece in pieces]
        if len(texts) == 1:
            return texts[0].__eq__
        if len(texts) == 2:
            return _affixes(*texts)
    first, *middle = [_expression(piece) for piece in pieces]
    if not middle:
        source = first
    else:
        *inner, last = middle
        # An atomic group per piece: the leftmost place is always as good as a later one, so no star is ever tried again and the cost
        # stays linear in the subject (a plain `.*` chain takes milliseconds on hostile subjects).
        source = first + "".join(f"(?>.*?{piece})" for piece in inner if piece) + (f".*{last}" if last else ".*")
    return _Whole(re.compile(source, re.DOTALL))


_ONE = "?1"
"""Stands for any one character among the characters of a piece."""


def _pieces(pattern: str, escapes: bool) -> list[list[str]]:
    """What stands between the stars, character by character."""
    pieces: list[list[str]] = [[]]
    literal = False
    for place, character in enumerate(pattern):
        if literal:
            pieces[-1].append(character)
            literal = False
        elif character == "*":
            pieces.append([])
        elif character == "?":
            pieces[-1].append(_ONE)
        elif escapes and character == "\\" and pattern[place + 1 : place + 2] in ("*", "?", "\\"):
            literal = True
        else:
            pieces[-1].append(character)
    return pieces


def _affixes(prefix: str, suffix: str) -> Matcher:
    if not suffix:
        return lambda text: text.startswith(prefix)
    if not prefix:
        return lambda text: text.endswith(suffix)
    shortest = len(prefix) + len(suffix)
    return lambda text: len(text) >= shortest and text.startswith(prefix) and text.endswith(suffix)


def _expression(piece: list[str]) -> str:
    return "".join("." if character == _ONE else re.escape(character) for character in piece)


class _Whole:
    __slots__ = ("_fullmatch",)

    def __init__(self, expression: re.Pattern[str]) -> None:
        self._fullmatch = expression.fullmatch

    def __call__(self, text: str) -> bool:
        return self._fullmatch(text) is not None

"""Compiles ALB's wildcard patterns to functions that are fast for every text, even a hostile one (docs/alb.md 3.1)."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ("compile_wildcards",)

Matcher = Callable[[str], bool]


def compile_wildcards(pattern: str, *, escapes: bool = False) -> Matcher:
    """Return a function that tells whether a whole text matches a pattern: `*` stands for any characters, and `?` for exactly one.

    To match without case, give both pattern and text in lower case.

    Args:
        pattern: The pattern.
        escapes: Whether a backslash takes a following `*`, `?` or backslash literally.
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
        # One atomic group per piece. The leftmost match of a piece is always as good as a later one, so the engine never has to try a star
        # again, and the cost stays linear in the text. A chain of plain `.*` takes milliseconds for hostile texts.
        source = first + "".join(f"(?>.*?{piece})" for piece in inner if piece) + (f".*{last}" if last else ".*")
    return _Whole(re.compile(source, re.DOTALL))


_ONE = "?1"
"""Represents a `?` among the characters of a piece. Two characters long, so that no character of the pattern is equal to it."""


def _pieces(pattern: str, escapes: bool) -> list[list[str]]:
    """Split a pattern at its stars. Each piece is a list of characters and `_ONE`."""
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

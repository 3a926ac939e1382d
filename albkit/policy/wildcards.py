"""Compiles ALB's wildcard patterns to something quick that no subject can slow down (alb-reference 3.1)."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ("compile_wildcards",)

Matcher = Callable[[str], bool]


def compile_wildcards(pattern: str) -> Matcher:
    """A function that tells whether the whole of a text matches `pattern`: `*` is any characters, `?` exactly one.

    For matching without case give pattern and subject in lower case.
    """
    if "*" not in pattern and "?" not in pattern:
        return pattern.__eq__
    pieces = pattern.split("*")
    if "?" not in pattern and len(pieces) == 2:
        return _affixes(*pieces)
    first, *middle = [_literal(piece) for piece in pieces]
    if not middle:
        source = first
    else:
        *inner, last = middle
        # An atomic group per piece: the leftmost place is always as good as a later one, so no star is ever tried again and the cost
        # stays linear in the subject (a plain `.*` chain takes milliseconds on hostile subjects).
        source = first + "".join(f"(?>.*?{piece})" for piece in inner if piece) + (f".*{last}" if last else ".*")
    return _Whole(re.compile(source, re.DOTALL))


def _affixes(prefix: str, suffix: str) -> Matcher:
    if not suffix:
        return lambda text: text.startswith(prefix)
    if not prefix:
        return lambda text: text.endswith(suffix)
    shortest = len(prefix) + len(suffix)
    return lambda text: len(text) >= shortest and text.startswith(prefix) and text.endswith(suffix)


def _literal(piece: str) -> str:
    return re.escape(piece).replace(r"\?", ".")


class _Whole:
    __slots__ = ("_fullmatch",)

    def __init__(self, expression: re.Pattern[str]) -> None:
        self._fullmatch = expression.fullmatch

    def __call__(self, text: str) -> bool:
        return self._fullmatch(text) is not None

"""What several conditions share: checks of values, and functions that match text against values and regular expressions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from albkit.model.regex import compile_regex, fault_of_regex
from albkit.model.validation import Faults, as_tuple
from albkit.model.wildcards import compile_wildcards

__all__ = ("MAX_NAME", "Alphabet", "Matcher", "alternatives", "check_text", "check_values", "flat", "lower", "matchers")

MAX_NAME = 40
"""The most characters of a field name or a method."""
_MAX_VALUE = 128
_MAX_REGEX = 128

Matcher = Callable[[str], bool]


@attrs.frozen
class Alphabet:
    """The characters that ALB accepts in the values of a condition."""

    expression: re.Pattern[str]
    words: str


def flat(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return single values and lists of values as one tuple."""
    return tuple(value for item in values for value in as_tuple(item))


def check_text(faults: Faults, path: str, value: object, alphabet: Alphabet, longest: int = _MAX_VALUE) -> None:
    """Add a fault if a value is not text of 1 to `longest` characters of the alphabet."""
    if not isinstance(value, str) or not value:
        faults.add(path, f"{value!r} is not a pattern; give text, with * for any characters and ? for exactly one")
    elif len(value) > longest:
        faults.add(path, f"{len(value)} characters are too many; at most {longest} are allowed")
    elif not alphabet.expression.fullmatch(value):
        faults.add(path, f"{value!r} contains a character that is not allowed here; allowed are {alphabet.words}")


def check_values(faults: Faults, values: tuple[Any, ...], regex: tuple[Any, ...], alphabet: Alphabet) -> None:
    """Add a fault unless there are either values or regular expressions, and for each one that is not valid."""
    if values and regex:
        faults.add("regex", "cannot be combined with values; use two rules, one with values and one with regex")
    elif not values and not regex:
        faults.add("values", "give at least one value")
    for index, value in enumerate(values):
        check_text(faults, f"values[{index}]", value, alphabet)
    for index, pattern in enumerate(regex):
        wrong = fault_of_regex(pattern, _MAX_REGEX)
        if wrong:
            faults.add(f"regex[{index}]", wrong)


def alternatives(subject: str, values: tuple[str, ...], regex: tuple[str, ...] = ()) -> str:
    """Describe a condition that holds if the subject matches one of the values, or one of the regular expressions."""
    if regex:
        return f"{subject} matches {' or '.join(f'/{pattern}/' for pattern in regex)}"
    return f"{subject} is {' or '.join(values)}"


def matchers(values: Sequence[str], regex: Sequence[str], *, ignore_case: bool) -> tuple[Matcher, ...]:
    """Return one function for each value and each regular expression.

    With `ignore_case`, the functions of values expect text in lower case: the caller converts it once for all of them.
    """
    texts = [compile_wildcards(value.lower() if ignore_case else value) for value in values]
    return (*texts, *[_searcher(compile_regex(pattern, ignore_case=ignore_case)) for pattern in regex])


def _searcher(expression: Any) -> Matcher:
    search = expression.search
    # Bytes that are not UTF-8 arrive as lone surrogates. RE2 works on UTF-8, which cannot encode them.
    return lambda text: search(text if text.isascii() else text.encode("utf-8", "replace").decode()) is not None


_LOWER = {capital: capital + 32 for capital in range(ord("A"), ord("Z") + 1)}


def lower(text: str) -> str:
    """Convert ASCII letters to lower case, and leave all other characters as they are.

    `str.lower` converts more: the Kelvin sign (U+212A) becomes a `k`, and U+0130 becomes two characters, so that `?` would no longer
    match it.
    """
    return text.lower() if text.isascii() else text.translate(_LOWER)

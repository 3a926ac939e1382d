"""What a rule asks of a request (alb-reference 3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, ClassVar

import attrs

from albkit.model.validation import Faults, as_tuple

__all__ = ("CONDITIONS", "Condition", "HostHeader", "PathPattern")

_VALUE_LENGTH = 128


def _values(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value for item in values for value in as_tuple(item))


def _check_values(condition: HostHeader | PathPattern) -> None:
    faults = Faults(type(condition).__name__)
    if not condition.values:
        faults.add("values", "give at least one value")
    for index, value in enumerate(condition.values):
        path = f"values[{index}]"
        if not isinstance(value, str) or not value:
            faults.add(path, f"{value!r} is not a pattern; give text, with * for any characters and ? for one")
        elif len(value) > _VALUE_LENGTH:
            faults.add(path, f"{len(value)} characters are too many; at most {_VALUE_LENGTH}")
        elif not condition.alphabet.fullmatch(value):
            faults.add(path, f"{value!r} holds a character that no {condition.subject} pattern may hold; {condition.alphabet_words}")
    faults.raise_if_any()


@attrs.frozen(init=False)
class HostHeader:
    """Holds when the whole host of the request matches one of the values.

    The port is left out of the comparison and case is ignored. `*` stands for any characters, dots among them, `?` for exactly one:
    `*.example.com` does not match `example.com`.

    Args:
        values: One pattern or several, each 1 to 128 characters of `A-Z a-z 0-9 - _ . * ?`.

    Raises:
        ConfigurationError: a value is empty, too long or holds another character.
    """

    values: tuple[str, ...]

    subject: ClassVar[str] = "host"
    alphabet: ClassVar[re.Pattern[str]] = re.compile(r"[A-Za-z0-9._*?-]+")
    alphabet_words: ClassVar[str] = "letters, digits and - _ . * ?"

    def __init__(self, *values: str | Iterable[str]) -> None:
        self.__attrs_init__(_values(values))
        _check_values(self)


@attrs.frozen(init=False)
class PathPattern:
    """Holds when the whole path of the request matches one of the values.

    The query is no part of the path, case counts, and nothing is percent-decoded. `*` stands for any characters, slashes among them,
    `?` for exactly one. `.` and `..` segments are resolved for the comparison; the target gets the path as it came.

    Args:
        values: One pattern or several, each 1 to 128 characters of `A-Z a-z 0-9 _ - . $ / ~ " ' @ : + & % * ?`.

    Raises:
        ConfigurationError: a value is empty, too long or holds another character.
    """

    values: tuple[str, ...]

    subject: ClassVar[str] = "path"
    alphabet: ClassVar[re.Pattern[str]] = re.compile(r"[A-Za-z0-9_.$/~\"'@:+&*?%-]+")
    alphabet_words: ClassVar[str] = "letters, digits and _ - . $ / ~ \" ' @ : + & % * ?"

    def __init__(self, *values: str | Iterable[str]) -> None:
        self.__attrs_init__(_values(values))
        _check_values(self)


Condition = HostHeader | PathPattern
CONDITIONS = (HostHeader, PathPattern)

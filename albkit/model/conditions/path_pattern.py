"""The condition `PathPattern`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import attrs

from albkit.model.conditions.condition import BuiltInCondition, Holds
from albkit.model.conditions.values import Alphabet, alternatives, check_values, flat, matchers
from albkit.model.validation import Faults, as_tuple

__all__ = ("PathPattern",)

_ALPHABET = Alphabet(re.compile(r"[A-Za-z0-9_.$/~\"'@:+&*?%-]+"), "letters, digits and _ - . $ / ~ \" ' @ : + & % * ?")


@attrs.frozen(init=False)
class PathPattern(BuiltInCondition):
    """Holds if the whole path of the request matches one of the values.

    The path does not include the query. The comparison is case-sensitive and decodes no percent-encoding. `*` stands for any characters,
    including slashes, and `?` for exactly one. `.` and `..` segments are resolved for the comparison only: the target gets the path
    exactly as the client sent it.

    Example:
        alb.PathPattern("/api/*", "/status")

    Args:
        values: One or more patterns, each 1 to 128 characters of `A-Z a-z 0-9 _ - . $ / ~ " ' @ : + & % * ?`. The first character is
            `/`, `*` or `?`.
        regex: Instead of values, one or more regular expressions of at most 128 characters each, in RE2's dialect, case-sensitive. An
            expression matches anywhere in the path unless it is anchored with `^` and `$`.

    Raises:
        ConfigurationError: listing every fault.
    """

    at_most_once = True
    can_break_redirect_loops = False

    values: tuple[str, ...]
    regex: tuple[str, ...] = ()

    def __init__(self, *values: str | Iterable[str], regex: Any = ()) -> None:
        self.__attrs_init__(flat(values), as_tuple(regex))
        faults = Faults("PathPattern")
        check_values(faults, self.values, self.regex, _ALPHABET)
        for index, value in enumerate(self.values):
            if isinstance(value, str) and _ALPHABET.expression.fullmatch(value) and value[0] not in "/*?":
                faults.add(f"values[{index}]", f"{value!r} matches no path, because paths begin with a slash; write {'/' + value!r}")
        faults.raise_if_any()

    def describe(self) -> str:
        """Return the condition in words."""
        return alternatives("path", self.values, self.regex)

    def compile(self) -> Holds:
        """Return a function that tells whether the condition holds for a request."""
        any_of = matchers(self.values, self.regex, ignore_case=False)
        if len(any_of) == 1:
            (matches,) = any_of
            return lambda request: matches(request.path_to_match)
        return lambda request: any(matches(request.path_to_match) for matches in any_of)

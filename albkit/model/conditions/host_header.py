"""The condition `HostHeader`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import attrs

from albkit.model.conditions.condition import BuiltInCondition, Holds
from albkit.model.conditions.values import Alphabet, alternatives, check_values, flat, matchers
from albkit.model.validation import Faults, as_tuple

__all__ = ("HostHeader", "host_to_match")

_ALPHABET = Alphabet(re.compile(r"[A-Za-z0-9._*?-]+"), "letters, digits and - _ . * ?")


def host_to_match(value: str) -> str:
    """Return a host of a rule in the form of `request.host`: in lower case, and without a dot at its end.

    A host name with and without the final dot is the same name (RFC 3986 section 3.2.2).
    """
    return value.lower().removesuffix(".") or value


@attrs.frozen(init=False)
class HostHeader(BuiltInCondition):
    """Holds if the whole host of the request matches one of the values.

    The comparison ignores the port and case. `*` stands for any characters, including dots, and `?` for exactly one: `*.example.com`
    does not match `example.com`.

    Example:
        alb.HostHeader("shop.example.com", "*.shop.example.com")

    Args:
        values: One or more patterns, each 1 to 128 characters of `A-Z a-z 0-9 - _ . * ?`.
        regex: Instead of values, one or more regular expressions of at most 128 characters each, in RE2's dialect, without case. An
            expression matches anywhere in the host unless it is anchored with `^` and `$`.

    Raises:
        ConfigurationError: listing every fault.
    """

    at_most_once = True
    can_break_redirect_loops = False

    values: tuple[str, ...]
    regex: tuple[str, ...] = ()

    def __init__(self, *values: str | Iterable[str], regex: Any = ()) -> None:
        self.__attrs_init__(flat(values), as_tuple(regex))
        faults = Faults("HostHeader")
        check_values(faults, self.values, self.regex, _ALPHABET)
        faults.raise_if_any()

    def describe(self) -> str:
        """Return the condition in words."""
        return alternatives("host", self.values, self.regex)

    def compile(self) -> Holds:
        """Return a function that tells whether the condition holds for a request."""
        any_of = matchers([host_to_match(value) for value in self.values], self.regex, ignore_case=True)
        if len(any_of) == 1:
            (matches,) = any_of
            return lambda request: matches(request.host)
        return lambda request: any(matches(request.host) for matches in any_of)

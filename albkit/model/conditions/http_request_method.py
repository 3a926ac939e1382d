"""The condition `HttpRequestMethod`."""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs

from albkit.model.conditions.condition import BuiltInCondition, Holds
from albkit.model.conditions.values import MAX_NAME, Alphabet, alternatives, check_text, flat
from albkit.model.validation import Faults

__all__ = ("HttpRequestMethod",)

_ALPHABET = Alphabet(re.compile(r"[A-Z_-]+"), "capital letters, - and _")


@attrs.frozen(init=False)
class HttpRequestMethod(BuiltInCondition):
    """Holds if the method of the request is one of the values. The comparison is case-sensitive.

    List both GET and HEAD to route them to the same place.

    Example:
        alb.HttpRequestMethod("GET", "HEAD")

    Args:
        values: One or more methods, each 1 to 40 characters of `A-Z - _`, without wildcards.

    Raises:
        ConfigurationError: listing every fault.
    """

    at_most_once = True
    # A redirected GET is repeated as GET. A client may repeat a redirected POST as GET, but does not have to (RFC 9110 section 15.4.3).
    can_break_redirect_loops = False

    values: tuple[str, ...]

    def __init__(self, *values: str | Iterable[str]) -> None:
        self.__attrs_init__(flat(values))
        faults = Faults("HttpRequestMethod")
        if not self.values:
            faults.add("values", "give at least one method")
        for index, value in enumerate(self.values):
            check_text(faults, f"values[{index}]", value, _ALPHABET, MAX_NAME)
        faults.raise_if_any()

    def describe(self) -> str:
        """Return the condition in words."""
        return alternatives("method", self.values)

    def compile(self) -> Holds:
        """Return a function that tells whether the condition holds for a request."""
        methods = frozenset(self.values)
        return lambda request: request.method in methods

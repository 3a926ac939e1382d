"""The condition `HttpHeader`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import attrs

from albkit.model.conditions.condition import BuiltInCondition, Holds
from albkit.model.conditions.values import MAX_NAME, Alphabet, alternatives, check_values, flat, lower, matchers
from albkit.model.message import RequestHead
from albkit.model.names import TOKEN
from albkit.model.validation import Faults, as_tuple

__all__ = ("HttpHeader",)

_ALPHABET = Alphabet(re.compile(r"[ -~]+"), "visible ASCII characters and spaces")


@attrs.frozen(init=False)
class HttpHeader(BuiltInCondition):
    """Holds if a header field of the request has one of the values.

    If the field occurs several times, each line is compared on its own. Lines are never joined. Name and value are compared without case.

    Example:
        alb.HttpHeader("User-Agent", "*Mobile*", "*Android*")

    Args:
        http_header_name: The name of the field: a token of at most 40 characters, without wildcards. Not `Host`: use `HostHeader`.
        values: One or more patterns, each 1 to 128 visible ASCII characters and spaces. `*` stands for any characters, and `?` for
            exactly one.
        regex: Instead of values, one or more regular expressions of at most 128 characters each, in RE2's dialect, without case. An
            expression matches anywhere in the value unless it is anchored with `^` and `$`.

    Raises:
        ConfigurationError: listing every fault.
    """

    at_most_once = False
    can_break_redirect_loops = True

    http_header_name: str
    values: tuple[str, ...]
    regex: tuple[str, ...] = ()

    def __init__(self, http_header_name: str, *values: str | Iterable[str], regex: Any = ()) -> None:
        self.__attrs_init__(http_header_name, flat(values), as_tuple(regex))
        faults = Faults("HttpHeader")
        name = self.http_header_name
        if not isinstance(name, str) or not TOKEN.fullmatch(name):
            faults.add("http_header_name", f"{name!r} is not a field name; give a token such as 'X-Canary', without wildcards")
        elif len(name) > MAX_NAME:
            faults.add("http_header_name", f"{len(name)} characters are too many; at most {MAX_NAME} are allowed")
        elif name.lower() == "host":
            faults.add("http_header_name", "Host has its own condition; use HostHeader")
        check_values(faults, self.values, self.regex, _ALPHABET)
        faults.raise_if_any()

    def describe(self) -> str:
        """Return the condition in words."""
        return alternatives(f"header {self.http_header_name}", self.values, self.regex)

    def compile(self) -> Holds:
        """Return a function that tells whether the condition holds for a request."""
        name = self.http_header_name
        any_of = matchers(self.values, self.regex, ignore_case=True)

        def holds(request: RequestHead) -> bool:
            # Line by line: a joined value could match although no single line does.
            values = request.headers.getall(name, None)
            return values is not None and any(matches(lower(value)) for value in values for matches in any_of)

        return holds

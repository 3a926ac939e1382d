"""The condition `QueryString`."""

from __future__ import annotations

import re
from typing import Any

import attrs

from albkit.model.conditions.condition import BuiltInCondition, Holds
from albkit.model.conditions.values import Alphabet, Matcher, check_text, lower
from albkit.model.message import RequestHead
from albkit.model.validation import Faults
from albkit.model.wildcards import compile_wildcards

__all__ = ("QueryString",)

_ALPHABET = Alphabet(re.compile(r"[!-~]+"), "visible ASCII characters")


@attrs.frozen(init=False)
class QueryString(BuiltInCondition):
    """Holds if a parameter of the query string matches one of the values.

    The comparison ignores case and decodes no percent-encoding.

    Example:
        alb.QueryString(("version", "beta"), "*preview*")

    Args:
        values: One or more pairs of key and value (2-tuples), or values alone, which match a parameter with any key. Each text is 1 to
            128 visible ASCII characters. `*` stands for any characters, and `?` for exactly one. A backslash before `*`, `?` or a
            backslash takes that character literally.

    Raises:
        ConfigurationError: listing every fault.
    """

    at_most_once = False
    can_break_redirect_loops = False

    values: tuple[tuple[str | None, str], ...]

    def __init__(self, *values: str | tuple[str, str] | list[Any]) -> None:
        items = [item for value in values for item in (value if isinstance(value, list) else [value])]
        self.__attrs_init__(tuple((None, item) if isinstance(item, str) else item for item in items))
        faults = Faults("QueryString")
        if not self.values:
            faults.add("values", "give at least one (key, value) pair or value")
        for index, pair in enumerate(self.values):
            path = f"values[{index}]"
            if not isinstance(pair, tuple) or len(pair) != 2:
                faults.add(path, f"{pair!r} is neither text nor a (key, value) pair")
                continue
            key, value = pair
            if key is not None:
                check_text(faults, path, key, _ALPHABET)
            check_text(faults, path, value, _ALPHABET)
        faults.raise_if_any()

    def describe(self) -> str:
        """Return the condition in words."""
        pairs = [value if key is None else f"{key}={value}" for key, value in self.values]
        return f"query has {' or '.join(pairs)}"

    def compile(self) -> Holds:
        """Return a function that tells whether the condition holds for a request."""
        pairs = [(None if key is None else _matcher(key), _matcher(value)) for key, value in self.values]

        def holds(request: RequestHead) -> bool:
            for parameter in lower(request.query_string).split("&"):
                if not parameter:
                    continue  # An empty query, or nothing between two `&`, is not a parameter: "*" does not match it.
                name, _, text = parameter.partition("=")
                for key, value in pairs:
                    if (key is None or key(name)) and value(text):
                        return True
            return False

        return holds


def _matcher(pattern: str) -> Matcher:
    return compile_wildcards(pattern.lower(), escapes=True)

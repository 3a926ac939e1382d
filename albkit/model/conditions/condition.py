"""What every built-in condition provides."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from albkit.model.message import RequestHead

__all__ = ("BuiltInCondition", "Holds")

Holds = Callable[[RequestHead], bool]
"""A compiled condition: returns whether the condition holds for a request."""


class BuiltInCondition:
    """The base class of built-in conditions. `CONDITIONS` in this package's `__init__` lists them."""

    __slots__ = ()

    at_most_once: ClassVar[bool]
    """Whether a rule can have only one condition of this kind (docs/alb.md 1.5)."""

    can_break_redirect_loops: ClassVar[bool]
    """Whether the condition can hold for a request, and not for the request that follows a redirect to the same URL.

    A redirect from `http://` to `https://` on the same port is a loop if a proxy in front terminates TLS, unless a condition
    distinguishes the two requests, for example by `X-Forwarded-Proto`. The check for redirect loops trusts such a condition.
    """

    def describe(self) -> str:
        """Return the condition in words, as `explain` and the rule table of the demo print it."""
        raise NotImplementedError

    def compile(self) -> Holds:
        """Return a function that tells whether the condition holds for a request.

        The rule table calls this method once per rule, and the function for every request that reaches the rule. Do all parsing here.
        """
        raise NotImplementedError

"""What every built-in action provides."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from albkit.model.message import ClientAddress, RequestHead

__all__ = ("Answer", "AnsweringAction", "LocalReply", "Origin", "RoutingAction")


class LocalReply(NamedTuple):
    """A response that the load balancer sends without asking a target."""

    status: int
    body: bytes | None
    """`None` for the standard HTML page of the status."""
    content_type: str
    action: str
    """The action in the words of ALB's access log (docs/alb.md 7.1)."""
    counter: str = ""
    """The field of `Counters` that counts such replies; empty if none does."""
    location: bytes = b""
    """The value of the Location header; empty for none."""


Origin = Callable[[ClientAddress], tuple[str, int]]
"""Returns the protocol (`http` or `https`) and the port of the URLs that a client uses."""

Answer = Callable[[RequestHead, Origin], LocalReply]
"""A compiled action: returns the reply to a request. Raises `Failure` if there can be none."""


class RoutingAction:
    """The base class of built-in actions. `ACTIONS` in this package's `__init__` lists them.

    A rule has exactly one routing action, and it is the last: either `Forward`, or an `AnsweringAction`.
    """

    __slots__ = ()

    def describe(self) -> str:
        """Return the action in words, as `explain` and the rule table of the demo print it."""
        raise NotImplementedError


class AnsweringAction(RoutingAction):
    """The base class of actions that answer requests without a target."""

    __slots__ = ()

    def compile(self) -> Answer:
        """Return a function that answers a request.

        A route plan calls this method once per rule, and the function for every request. Prepare here all that requests share.
        """
        raise NotImplementedError

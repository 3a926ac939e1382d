"""Does one condition hold for one request? Each condition of the model is compiled once to a plain function."""

from __future__ import annotations

from collections.abc import Callable

from albkit.model.conditions import Condition, HostHeader
from albkit.model.message import RequestHead
from albkit.policy.paths import path_to_match
from albkit.policy.wildcards import compile_wildcards

__all__ = ("Holds", "compile_condition")

Holds = Callable[[RequestHead], bool]


def compile_condition(condition: Condition) -> Holds:
    """A function that tells whether `condition` holds for a request."""
    if isinstance(condition, HostHeader):
        return _host(tuple(value.lower() for value in condition.values))
    return _path(condition.values)


def _host(values: tuple[str, ...]) -> Holds:
    matchers = tuple(compile_wildcards(value) for value in values)
    if len(matchers) == 1:
        (matches,) = matchers
        return lambda request: matches(request.host)
    return lambda request: any(matches(request.host) for matches in matchers)


def _path(values: tuple[str, ...]) -> Holds:
    matchers = tuple(compile_wildcards(value) for value in values)

    def holds(request: RequestHead) -> bool:
        path = path_to_match(request.path)
        return any(matches(path) for matches in matchers)

    return holds

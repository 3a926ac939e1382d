"""One rule of a listener."""

from __future__ import annotations

from collections import Counter
from inspect import iscoroutinefunction
from typing import Any

import attrs

from albkit.model.actions import ACTIONS, Action, FixedResponse, Forward, Redirect, is_hook
from albkit.model.conditions import CONDITIONS, Condition
from albkit.model.transforms import TRANSFORMS, Transform
from albkit.model.validation import Faults, as_tuple

__all__ = ("Rule", "check_actions", "routing_action")

_AT_MOST_ONCE = ("HostHeader", "HttpRequestMethod", "PathPattern", "SourceIp")


@attrs.frozen
class Rule:
    """When all of its conditions hold, its actions are taken (docs/alb.md 1.4).

    Args:
        priority: 1 to 50000, unique within its listener; lower is tried first.
        conditions: One condition or a list: `HostHeader`, `PathPattern`, `HttpRequestMethod` and `SourceIp` at most once each,
            `HttpHeader` and `QueryString` any number of times, and any callable that takes the request.
        actions: `Forward(...)`, `Redirect(...)` or `FixedResponse(...)`; before it, in a list, any `async` callables that may answer.
        transforms: At most one `UrlRewrite` and one `HostHeaderRewrite`, for a rule that forwards.

    Raises:
        ConfigurationError: listing every fault.
    """

    priority: int
    conditions: tuple[Condition, ...] = attrs.field(converter=as_tuple)
    actions: tuple[Action, ...] = attrs.field(converter=as_tuple)
    transforms: tuple[Transform, ...] = attrs.field(default=(), converter=as_tuple, kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("Rule")
        faults.attribute(self, "priority")
        if not self.conditions:
            faults.add("conditions", "give at least one; what matches no rule goes to the listener's default action")
        for index, condition in enumerate(self.conditions):
            if not isinstance(condition, CONDITIONS) and (not callable(condition) or isinstance(condition, type)):
                faults.add(f"conditions[{index}]", f"{condition!r} is not a condition such as PathPattern(...), nor a callable")
            elif iscoroutinefunction(condition):
                faults.add(f"conditions[{index}]", f"{condition!r} is async; a condition is not waited for, give a plain function")
        _check_at_most_once(faults, "conditions", self.conditions, _AT_MOST_ONCE, "which may hold several values")
        check_actions(faults, "actions", self.actions)
        self._check_transforms(faults)
        faults.raise_if_any()

    def _check_transforms(self, faults: Faults) -> None:
        faults.instances("transforms", self.transforms, TRANSFORMS, "UrlRewrite(...) or HostHeaderRewrite(...)")
        _check_at_most_once(faults, "transforms", self.transforms, ("HostHeaderRewrite", "UrlRewrite"), "as in ALB")
        if self.transforms and not any(isinstance(action, Forward) for action in self.actions):
            faults.add("transforms", "they change what a target gets, and this rule forwards nothing")

    @property
    def action(self) -> Forward | FixedResponse | Redirect:
        """The routing action."""
        return routing_action(self.actions)


def _check_at_most_once(faults: Faults, path: str, values: tuple[Any, ...], kinds: tuple[str, ...], instead: str) -> None:
    for kind, count in Counter(type(value).__name__ for value in values).items():
        if count > 1 and kind in kinds:
            faults.add(path, f"{count} {kind}; at most one, {instead}")


def check_actions(faults: Faults, path: str, actions: tuple[Any, ...]) -> None:
    """Check that there is exactly one routing action, behind all others."""
    for index, action in enumerate(actions):
        if not isinstance(action, ACTIONS) and not is_hook(action):
            faults.add(f"{path}[{index}]", f"{action!r} is not an action: Forward(...), Redirect(...), FixedResponse(...) or a callable")
    routing = [index for index, action in enumerate(actions) if isinstance(action, ACTIONS)]
    if len(routing) != 1:
        faults.add(path, f"{len(routing)} routing actions; give exactly one Forward, Redirect or FixedResponse")
    elif routing[0] != len(actions) - 1:
        faults.add(f"{path}[{routing[0]}]", "the routing action comes last")


def routing_action(actions: tuple[Action, ...]) -> Forward | FixedResponse | Redirect:
    """The one that routes."""
    action = actions[-1]
    if not isinstance(action, ACTIONS):
        raise TypeError(f"{action!r} does not route")
    return action

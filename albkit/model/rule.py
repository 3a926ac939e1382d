"""One rule of a listener."""

from __future__ import annotations

from collections import Counter
from inspect import iscoroutinefunction
from typing import Any

import attrs

from albkit.model.actions import ACTIONS, Action, is_hook
from albkit.model.actions.action import RoutingAction
from albkit.model.actions.forward import Forward
from albkit.model.conditions import CONDITIONS, Condition
from albkit.model.transforms import TRANSFORMS, Transform
from albkit.model.validation import Faults, as_tuple

__all__ = ("Rule", "check_actions", "routing_action")


@attrs.frozen
class Rule:
    """Applies its actions to requests for which all of its conditions hold (docs/alb.md 1.4).

    Args:
        priority: 1 to 50000, unique within the listener. Rules with lower numbers are tried first.
        conditions: One condition or a list. A rule can have `HostHeader`, `PathPattern`, `HttpRequestMethod` and `SourceIp` at most once
            each, `HttpHeader` and `QueryString` any number of times, and any callables that take the request.
        actions: `Forward(...)`, `Redirect(...)` or `FixedResponse(...)`. In a list, any number of `async` callables can stand before it,
            and each may answer the request.
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
        self._check_conditions(faults)
        check_actions(faults, "actions", self.actions)
        self._check_transforms(faults)
        faults.raise_if_any()

    def _check_conditions(self, faults: Faults) -> None:
        if not self.conditions:
            faults.add("conditions", "give at least one; a request that matches no rule gets the listener's default action")
        for index, condition in enumerate(self.conditions):
            if not isinstance(condition, CONDITIONS) and (not callable(condition) or isinstance(condition, type)):
                faults.add(f"conditions[{index}]", f"{condition!r} is not a condition such as PathPattern(...), nor a callable")
            elif iscoroutinefunction(condition):
                faults.add(f"conditions[{index}]", f"{condition!r} is async, but a condition must answer at once; give a plain function")
        once = tuple(kind for kind in CONDITIONS if kind.at_most_once)
        _check_at_most_once(faults, "conditions", self.conditions, once, "which can have several values")

    def _check_transforms(self, faults: Faults) -> None:
        faults.instances("transforms", self.transforms, TRANSFORMS, f"{' or '.join(f'{kind.__name__}(...)' for kind in TRANSFORMS)}")
        _check_at_most_once(faults, "transforms", self.transforms, TRANSFORMS, "as in ALB")
        if self.transforms and not any(isinstance(action, Forward) for action in self.actions):
            faults.add("transforms", "they change the request that a target gets, but this rule does not forward; drop them")

    @property
    def action(self) -> RoutingAction:
        """The routing action."""
        return routing_action(self.actions)


def _check_at_most_once(faults: Faults, path: str, values: tuple[Any, ...], kinds: tuple[type, ...], instead: str) -> None:
    for kind, count in Counter(map(type, values)).items():
        if count > 1 and kind in kinds:
            faults.add(path, f"{count} {kind.__name__}; at most one, {instead}")


def check_actions(faults: Faults, path: str, actions: tuple[Any, ...]) -> None:
    """Add a fault unless there is exactly one routing action, and it is the last action."""
    names = [kind.__name__ for kind in ACTIONS]
    for index, action in enumerate(actions):
        if not isinstance(action, ACTIONS) and not is_hook(action):
            built_in = ", ".join(f"{name}(...)" for name in names)
            faults.add(f"{path}[{index}]", f"{action!r} is not an action: {built_in} or a callable")
    routing = [index for index, action in enumerate(actions) if isinstance(action, ACTIONS)]
    if len(routing) != 1:
        faults.add(path, f"{len(routing)} routing actions; give exactly one {', '.join(names[:-1])} or {names[-1]}")
    elif routing[0] != len(actions) - 1:
        faults.add(f"{path}[{routing[0]}]", "the routing action must be the last action")


def routing_action(actions: tuple[Action, ...]) -> RoutingAction:
    """Return the routing action of checked actions."""
    action = actions[-1]
    if not isinstance(action, ACTIONS):
        raise TypeError(f"{action!r} is not a routing action")
    return action

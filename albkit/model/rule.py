"""One rule of a listener."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs

from albkit.model.actions import ACTIONS, Action
from albkit.model.conditions import CONDITIONS, Condition
from albkit.model.validation import Faults, as_tuple

__all__ = ("Rule",)

_AT_MOST_ONCE = ("HostHeader", "PathPattern")


@attrs.frozen
class Rule:
    """When all of its conditions hold, its action is taken (alb-reference 1.4).

    Args:
        priority: 1 to 50000, unique within its listener; lower is tried first.
        conditions: One condition or a list: `HostHeader`, `PathPattern`, at most one of each.
        actions: `Forward(...)` or `FixedResponse(...)`.

    Raises:
        ConfigurationError: listing every fault.
    """

    priority: int
    conditions: tuple[Condition, ...] = attrs.field(converter=as_tuple)
    actions: tuple[Action, ...] = attrs.field(converter=as_tuple)

    def __attrs_post_init__(self) -> None:
        faults = Faults("Rule")
        faults.attribute(self, "priority")
        if not self.conditions:
            faults.add("conditions", "give at least one; what matches no rule goes to the listener's default action")
        faults.instances("conditions", self.conditions, CONDITIONS, "a condition: HostHeader(...) or PathPattern(...)")
        for kind, count in Counter(type(condition).__name__ for condition in self.conditions).items():
            if count > 1 and kind in _AT_MOST_ONCE:
                faults.add("conditions", f"{count} {kind} conditions; at most one, which may hold several values")
        check_actions(faults, "actions", self.actions)
        faults.raise_if_any()

    @property
    def action(self) -> Action:
        """The routing action: forward or fixed response."""
        return self.actions[-1]


def check_actions(faults: Faults, path: str, actions: tuple[Any, ...]) -> None:
    """Check that there is exactly one routing action."""
    faults.instances(path, actions, ACTIONS, "an action: Forward(...) or FixedResponse(...)")
    if len(actions) != 1:
        faults.add(path, f"{len(actions)} actions; give exactly one that forwards or answers")

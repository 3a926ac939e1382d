"""The action `Forward`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import attrs

from albkit.model.actions.action import RoutingAction
from albkit.model.attributes import default
from albkit.model.stickiness.lb_cookie import LbCookie
from albkit.model.target_group import TargetGroup
from albkit.model.tunnel import TunnelPolicy
from albkit.model.validation import Faults

__all__ = ("Forward",)

_MAX_GROUPS = 5
_MAX_WEIGHT = 999


def _groups(value: Any) -> tuple[Any, ...]:
    """Return pairs of group and weight, from one group or a mapping."""
    if isinstance(value, Mapping):
        return tuple(value.items())
    return ((value, 1),)


@attrs.frozen
class Forward(RoutingAction):
    """Forwards the request to a target of a target group, or of one of several groups by weight (docs/alb.md 4.1).

    Example:
        alb.Forward({alb.TargetGroup("blue", "10.0.0.1:8080"): 9, alb.TargetGroup("green", "10.0.0.2:8080"): 1})

    Args:
        groups: A `TargetGroup`, or a mapping of up to five groups to their weights, 0 to 999. Each group gets its weight's share of the
            requests. A group of weight 0 gets no new session.
        stickiness: How long a client stays with its group: seconds, 1 to 604800 (cookies `AWSALBTG` and `AWSALBTGCORS`), or
            `LbCookie(duration, secrets=...)` to encrypt and authenticate the cookies; `None` for no stickiness. Required if
            there are several groups and one of them has stickiness of its own.
        on_failure: What happens to a session whose group has no targets left. `"rebalance"` chooses another group by weight,
            among the groups that have targets. `"fail"` answers 503, as ALB does.
        tunnel: `TunnelPolicy(...)` for the tunnels that this action opens, instead of the target group's policy; `None` for the
            target group's.

    Raises:
        ConfigurationError: listing every fault.
    """

    groups: tuple[tuple[TargetGroup, int], ...] = attrs.field(converter=_groups)
    stickiness: float | LbCookie | None = None
    on_failure: str = attrs.field(default=cast("str", default("Forward", "on_failure")), kw_only=True)
    tunnel: TunnelPolicy | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("Forward")
        faults.attribute(self, "on_failure")
        if not 1 <= len(self.groups) <= _MAX_GROUPS:
            faults.add("groups", f"{len(self.groups)} groups; give 1 to {_MAX_GROUPS}")
        for index, (group, weight) in enumerate(self.groups):
            if not isinstance(group, TargetGroup):
                faults.add(f"groups[{index}]", f"{group!r} is not a TargetGroup")
            if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= _MAX_WEIGHT:
                faults.add(f"groups[{index}]", f"weight {weight!r} is out of range; 0 to {_MAX_WEIGHT}")
        if self.tunnel is not None and not isinstance(self.tunnel, TunnelPolicy):
            faults.add("tunnel", f"{self.tunnel!r} is not TunnelPolicy(...) or None")
        self._check_stickiness(faults)
        faults.raise_if_any()

    def _check_stickiness(self, faults: Faults) -> None:
        seconds = self.stickiness
        if isinstance(seconds, LbCookie):
            if seconds.while_draining != "rebalance":
                faults.add("stickiness", "while_draining applies to targets, so set it in the target group's stickiness; drop it here")
        elif seconds is not None:
            faults.attribute(self, "stickiness")
        elif len(self.groups) > 1 and any(isinstance(group, TargetGroup) and group.stickiness is not None for group, _ in self.groups):
            faults.add("stickiness", "one of several groups has stickiness, so clients must stay with their group; give seconds here")

    @property
    def group(self) -> TargetGroup:
        """The first group."""
        return self.groups[0][0]

    def describe(self) -> str:
        """Return the action in words."""
        groups = [group.name if len(self.groups) == 1 else f"{group.name} ({weight})" for group, weight in self.groups]
        return "forward to " + ", ".join(groups)

"""The current state of a target group."""

from __future__ import annotations

from collections.abc import Callable

from albkit.model.target_group import TargetGroup
from albkit.state.target import TargetState

__all__ = ("TargetGroupState",)


def _ignore(*_: object) -> None:
    """Do nothing: there is no subscriber."""


class TargetGroupState:
    """The current state of a target group."""

    __slots__ = ("ejected", "eligible", "fails_open", "group", "members", "on_ejected", "on_recovered", "retry_tokens")

    def __init__(self, group: TargetGroup) -> None:
        self.group = group
        """Its configuration, which is replaced when a new one is applied."""
        self.members = {str(target): TargetState(target, checked=group.health_check is not None) for target in group.fixed_targets}
        """By address, draining members included."""
        self.eligible: tuple[TargetState, ...] = ()
        """The members that can be chosen now, precomputed so that no request has to filter them."""
        self.fails_open = False
        """Whether unhealthy targets get requests, because too few are healthy (ALB's fail-open)."""
        self.ejected: set[TargetState] = set()
        """Members that get no requests for a while because they failed too many."""
        self.on_ejected: Callable[[TargetState, float, str], None] = _ignore
        """Called with a member that was ejected, the seconds, and the reason."""
        self.on_recovered: Callable[[TargetState], None] = _ignore
        """Called with a member whose probation is over."""
        self.retry_tokens = 100.0
        """The retries that the group may spend (see policy.failover); full at the start."""

    def __repr__(self) -> str:
        return f"<TargetGroupState {self.group.name} eligible={len(self.eligible)} of {len(self.members)}>"

"""One target group as it is now."""

from __future__ import annotations

from collections.abc import Callable

from albkit.model.target_group import TargetGroup
from albkit.state.target import TargetState

__all__ = ("TargetGroupState",)


def _nobody(*_: object) -> None:
    """Nobody wants to know."""


class TargetGroupState:
    """What is true of one target group now."""

    __slots__ = ("ejected", "eligible", "fails_open", "group", "members", "on_ejected", "on_recovered", "retry_tokens")

    def __init__(self, group: TargetGroup) -> None:
        self.group = group
        """Its description, replaced when a new one is applied."""
        self.members = {str(target): TargetState(target, checked=group.health_check is not None) for target in group.fixed_targets}
        """By address, draining ones among them."""
        self.eligible: tuple[TargetState, ...] = ()
        """The members that may be chosen now; kept ready so that a request does not have to look."""
        self.fails_open = False
        """Whether targets that are not healthy get requests, because there are too few that are."""
        self.ejected: set[TargetState] = set()
        """Members that get no requests for a while because they failed too many."""
        self.on_ejected: Callable[[TargetState, float, str], None] = _nobody
        """Called with a member that was ejected, for how many seconds, and why."""
        self.on_recovered: Callable[[TargetState], None] = _nobody
        """Called with a member whose probation is over."""
        self.retry_tokens = 100.0
        """What policy.failover lets the group spend; full at the start."""

    def __repr__(self) -> str:
        return f"<TargetGroupState {self.group.name} eligible={len(self.eligible)} of {len(self.members)}>"

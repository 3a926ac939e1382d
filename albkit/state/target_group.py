"""The current state of a target group."""

from __future__ import annotations

from collections.abc import Callable

from albkit.model.target_group import TargetGroup
from albkit.state.counters import TrafficCounters
from albkit.state.target import TargetState

__all__ = ("TargetGroupState",)


def _ignore(*_: object) -> None:
    """Do nothing: there is no subscriber."""


class TargetGroupState:
    """The current state of a target group."""

    __slots__ = ("counters", "ejected", "eligible", "fails_open", "group", "members", "on_ejected", "on_recovered", "retry_tokens")

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

        self.counters = TrafficCounters()
        """What members that have left were sent and have answered, and requests that no member got. Once the group has gone, the load
        balancer's."""

    def traffic(self) -> TrafficCounters:
        """What has been counted of the group: the sum over its members, and what those that have left had counted."""
        total = TrafficCounters()
        total.add(self.counters)
        for member in self.members.values():
            total.add(member.counters)
        return total

    def remove(self, member: TargetState) -> None:
        """Know a member no more, with which nothing goes on. The exchange that ended last may still be counted: for the group."""
        if self.members.get(member.address) is member:
            del self.members[member.address]
            if member.counters is not self.counters:
                self.counters.add(member.counters)
                member.counters = self.counters

    def retire(self, heir: TrafficCounters) -> None:
        """The group goes: what was counted, and what is still to come of exchanges that go on, is another's. May be called again."""
        for member in self.members.values():
            if member.counters is not heir:
                heir.add(member.counters)
                member.counters = heir
        if self.counters is not heir:
            heir.add(self.counters)
            self.counters = heir

    def __repr__(self) -> str:
        return f"<TargetGroupState {self.group.name} eligible={len(self.eligible)} of {len(self.members)}>"

"""The state of one target group."""

from __future__ import annotations

from collections.abc import Callable

from albkit.model.target_group import TargetGroup
from albkit.state.counters import TrafficCounters
from albkit.state.target import TargetState

__all__ = ("Departures", "TargetGroupState")


def _ignore(*_: object) -> None:
    """The callback of a group that nothing observes."""


class Departures:
    """How often counts have moved from one object to another, because a target or a group has left.

    A reader that sums them up in several steps begins again if this has changed.
    """

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class TargetGroupState:
    """The members of one target group and what is shared by them. `policy.target_choice` decides who is eligible.

    Args:
        group: The description. Its fixed targets become members; those that are discovered or registered later are added from outside.
        departures: Shared by all groups of a load balancer.
    """

    __slots__ = (
        "_departures",
        "_last_removed",
        "counters",
        "ejected",
        "eligible",
        "fails_open",
        "group",
        "members",
        "on_ejected",
        "on_recovered",
        "retry_tokens",
    )

    def __init__(self, group: TargetGroup, departures: Departures | None = None) -> None:
        self.group = group
        """The description. `apply` replaces it."""
        self.members = {str(target): TargetState(target, checked=group.health_check is not None) for target in group.fixed_targets}
        """By address. Members that drain stay until they are drained."""
        # Kept up to date on every change of a member, so that a request does not have to filter the members.
        self.eligible: tuple[TargetState, ...] = ()
        """The members that new requests may be sent to."""
        self.fails_open = False
        """Whether unhealthy targets get requests because too few are healthy."""
        self.ejected: set[TargetState] = set()
        """Members that get no requests for a while, because too many of theirs failed (outlier ejection)."""
        self.on_ejected: Callable[[TargetState, float, str], None] = _ignore
        """Called when a member is ejected, with the member, the duration in seconds and the reason."""
        self.on_recovered: Callable[[TargetState], None] = _ignore
        """Called when the probation of a member is over, with the member."""
        self.retry_tokens = 100.0
        """Retries that the group may still use. `policy.failover` spends and refills them; 100 is a full reserve."""

        self.counters = TrafficCounters()
        """What former members have counted, and requests that no member got. After `retire`, the counters it was given."""
        self._departures = departures if departures is not None else Departures()
        self._last_removed: TargetState | None = None

    def parts(self) -> list[TrafficCounters]:
        """Return the counters whose sum is the group's: its own, and those of its members."""
        return [self.counters, *(member.counters for member in self.members.values())]

    def traffic(self) -> TrafficCounters:
        """Return the group's counters: the sum over its members and former members, as a copy."""
        return TrafficCounters.total(self.parts())

    @property
    def last_active_at(self) -> float:
        """When the last exchange or tunnel of any member or former member ended (monotonic clock); 0 if none has."""
        latest = max((member.last_active_at for member in self.members.values()), default=0.0)
        # A member leaves before its last exchange is recorded, so its time is read from it.
        return max(latest, self._last_removed.last_active_at) if self._last_removed is not None else latest

    def remove(self, member: TargetState) -> None:
        """Remove a member that has nothing outstanding. The group keeps what it has counted. Safe to call again."""
        if self.members.get(member.address) is member:
            del self.members[member.address]
            self._departures.count += 1
            if self._last_removed is not None:
                member.last_active_at = max(member.last_active_at, self._last_removed.last_active_at)
            self._last_removed = member
            if member.counters is not self.counters:
                self.counters.add(member.counters)
                # The last exchange of the member may not be recorded yet: from now on it counts for the group.
                member.counters = self.counters

    def retire(self, successor: TrafficCounters) -> None:
        """Move all counts to `successor`, which also gets those of exchanges that are still in flight. Safe to call again."""
        self._departures.count += 1
        for member in self.members.values():
            if member.counters is not successor:
                successor.add(member.counters)
                member.counters = successor
        if self.counters is not successor:
            successor.add(self.counters)
            self.counters = successor

    def __repr__(self) -> str:
        return f"<TargetGroupState {self.group.name} eligible={len(self.eligible)} of {len(self.members)}>"

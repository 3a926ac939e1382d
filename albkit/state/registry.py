"""The states of all target groups of one load balancer, by group name."""

from __future__ import annotations

from collections.abc import Iterable

from albkit.model.target_group import TargetGroup
from albkit.state.counters import TrafficCounters
from albkit.state.target_group import Departures, TargetGroupState

__all__ = ("Registry",)


class Registry:
    """One per load balancer. If two load balancers use the same `TargetGroup`, each has its own state for it.

    Args:
        groups: Every group that a rule or a default action forwards to.
    """

    def __init__(self, groups: Iterable[TargetGroup]) -> None:
        self.departures = Departures()
        """How often counts have moved, because a target or a group has left."""
        self._groups = {group.name: TargetGroupState(group, self.departures) for group in groups}

    def group(self, name: str) -> TargetGroupState:
        """Return the state of the group with this name.

        Raises:
            KeyError: no rule and no default action forwards to such a group.
        """
        return self._groups[name]

    def __contains__(self, name: str) -> bool:
        return name in self._groups

    def add(self, group: TargetGroup) -> TargetGroupState:
        """Add a group and return its new state."""
        state = self._groups[group.name] = TargetGroupState(group, self.departures)
        return state

    def remove(self, name: str, counters: TrafficCounters) -> None:
        """Remove a group. Exchanges that still use its targets keep the state alive until they end.

        Args:
            name: The name of the group.
            counters: Receives what the group has counted, and what its exchanges still will.
        """
        self._groups.pop(name).retire(counters)

    def retire(self, counters: TrafficCounters) -> None:
        """Move what every group has counted to `counters`. For a load balancer that starts again, with a new registry."""
        for group in self._groups.values():
            group.retire(counters)

    def traffic(self, excluding: TrafficCounters) -> list[TrafficCounters]:
        """Return the counters whose sum is that of all groups.

        Args:
            excluding: A group that was retired into these is left out, or it would be counted twice.
        """
        return [part for group in self._groups.values() if group.counters is not excluding for part in group.parts()]

    @property
    def groups(self) -> tuple[TargetGroupState, ...]:
        """The states of all groups."""
        return tuple(self._groups.values())

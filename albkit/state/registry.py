"""Finds the state of a target group by its name."""

from __future__ import annotations

from collections.abc import Iterable

from albkit.model.target_group import TargetGroup
from albkit.state.counters import TrafficCounters
from albkit.state.target_group import TargetGroupState

__all__ = ("Registry",)


class Registry:
    """The states of all target groups in use. There is one registry per load balancer: a group shared by two has a state in each."""

    def __init__(self, groups: Iterable[TargetGroup]) -> None:
        self._groups = {group.name: TargetGroupState(group) for group in groups}

    def group(self, name: str) -> TargetGroupState:
        """Return the state of the group called `name`.

        Raises:
            KeyError: no rule and no default action forwards to such a group.
        """
        return self._groups[name]

    def __contains__(self, name: str) -> bool:
        return name in self._groups

    def add(self, group: TargetGroup) -> TargetGroupState:
        """Add a group."""
        state = self._groups[group.name] = TargetGroupState(group)
        return state

    def remove(self, name: str, counters: TrafficCounters) -> None:
        """Know a group no more. Exchanges with its targets keep its state to their end.

        Args:
            name: The group's.
            counters: Take over what was counted of the group.
        """
        self._groups.pop(name).retire(counters)

    def retire(self, counters: TrafficCounters) -> None:
        """Another run begins: let these counters take over what was counted of every group in this one."""
        for group in self._groups.values():
            group.retire(counters)

    def traffic(self, but: TrafficCounters) -> list[TrafficCounters]:
        """What has been counted of each group, but for those whose counters are these already."""
        return [group.traffic() for group in self._groups.values() if group.counters is not but]

    @property
    def groups(self) -> tuple[TargetGroupState, ...]:
        """Every group's state."""
        return tuple(self._groups.values())

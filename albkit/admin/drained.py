"""Remembers targets that were drained through the admin API, so that they can be put back as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from albkit.model.events import TargetRegistered, TargetStateChanged
from albkit.model.health import TargetHealthState
from albkit.model.target import Target

if TYPE_CHECKING:
    from albkit.load_balancer import LoadBalancer

__all__ = ("DrainedTargets",)

_MOST = 1000


class DrainedTargets:
    """The drained targets by group and address. If there are too many, the oldest is forgotten.

    A target is forgotten as soon as it is registered again, by whatever means.

    Args:
        load_balancer: The load balancer.
    """

    def __init__(self, load_balancer: LoadBalancer) -> None:
        self._targets: dict[tuple[str, str], Target] = {}
        self._end = load_balancer.subscribe(self._on_event, TargetRegistered, TargetStateChanged)

    def _on_event(self, event: TargetRegistered | TargetStateChanged) -> None:
        if isinstance(event, TargetRegistered) or event.state is not TargetHealthState.DRAINING:
            self._targets.pop((event.group, str(event.target)), None)

    def remember(self, group: str, target: Target) -> None:
        """Remember a target as it is declared now."""
        self._targets[group, str(target)] = target
        if len(self._targets) > _MOST:
            del self._targets[next(iter(self._targets))]

    def get(self, group: str, address: str) -> Target | None:
        """The target as it was declared; `None` if it is not remembered."""
        return self._targets.get((group, address))

    def forget(self, group: str, address: str) -> bool:
        """Forget a target; return whether it was remembered."""
        return self._targets.pop((group, address), None) is not None

    def gone(self, groups: Any, present: Any) -> dict[str, tuple[str, Target]]:
        """Those that have left their groups, by id, with their groups. Forgets those whose groups are gone.

        Args:
            groups: The names of the groups that exist.
            present: The ids of the targets that exist.
        """
        for key in [key for key in self._targets if key[0] not in groups]:
            del self._targets[key]
        found = ((f"{group}/{address}", group, target) for (group, address), target in self._targets.items())
        return {identity: (group, target) for identity, group, target in found if identity not in present}

    def close(self) -> None:
        """Follow no more events."""
        self._end()

"""Tracks which targets have room for one more request under `max_concurrency` (docs/alb.md 5.8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from albkit.state.target import TargetState

__all__ = ("Capacity", "has_room")


def _ignore() -> None:
    """Do nothing: no request waits."""


class Capacity:
    """The eligible targets of one group that have room, in the order in which they are chosen."""

    __slots__ = ("_free", "_usable", "freed", "is_awaited")

    def __init__(self) -> None:
        self._free: dict[TargetState, None] = {}
        self._usable: set[TargetState] = set()
        self.freed: Callable[[], None] = _ignore
        """Called when there is more room than before."""
        self.is_awaited = False
        """Whether requests wait for room; they have priority over new ones."""

    def __len__(self) -> int:
        return len(self._free)

    def settle(self, eligible: Iterable[TargetState]) -> None:
        """Set the eligible targets. Those of weight 0 are used only if all have weight 0."""
        members = tuple(eligible)
        usable = dict.fromkeys([member for member in members if member.weight] or members)
        self._usable = set(usable)
        # Targets that had room keep their order: a change of one target must not restart the rotation of all.
        self._free = {member: None for member in (*(one for one in self._free if one in usable), *usable) if has_room(member)}
        if self._free:
            self.freed()

    def has(self, member: TargetState) -> bool:
        """Whether this target has room."""
        return member in self._free

    def for_one_more(self, member: TargetState) -> TargetState | None:
        """Return the target itself if it has room, otherwise the one that has had room for longest; `None` if none has."""
        return member if member in self._free else next(iter(self._free), None)

    def began(self, member: TargetState) -> None:
        """Count a request that was sent to the target."""
        if member in self._free:
            # Reinserted at the end: a dictionary keeps the order of insertion, which is the rotation.
            del self._free[member]
            if has_room(member):
                self._free[member] = None

    def ended(self, member: TargetState) -> None:
        """Count a request to the target that is over."""
        if member in self._usable and has_room(member):
            # Last in the order, so that a target that was full is not chosen next every time.
            self._free.pop(member, None)
            self._free[member] = None
            self.freed()


def has_room(member: TargetState) -> bool:
    """Whether the member is below its limit."""
    most = member.target.max_concurrency
    return most is None or member.outstanding < most

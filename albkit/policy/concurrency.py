"""Who has room for one more request, where targets say how many they take at a time (`max_concurrency`; docs/alb.md 5.8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from albkit.state.target import TargetState

__all__ = ("Capacity", "has_room")


def _nobody() -> None:
    """Nobody waits."""


class Capacity:
    """The targets of one group that may be chosen and have room, in the order in which they are to be taken."""

    __slots__ = ("_free", "_usable", "freed", "is_awaited")

    def __init__(self) -> None:
        self._free: dict[TargetState, None] = {}
        self._usable: set[TargetState] = set()
        self.freed: Callable[[], None] = _nobody
        """Called when there is more room than there was."""
        self.is_awaited = False
        """Whether requests wait for it, which come first."""

    def __len__(self) -> int:
        return len(self._free)

    def settle(self, eligible: Iterable[TargetState]) -> None:
        """These targets may be chosen now: those of weight 0 only where all have 0."""
        members = tuple(eligible)
        usable = dict.fromkeys([member for member in members if member.weight] or members)
        self._usable = set(usable)
        # Those that had room stay in their order: what happens to one target must not begin the turns of all anew.
        self._free = {member: None for member in (*(one for one in self._free if one in usable), *usable) if has_room(member)}
        if self._free:
            self.freed()

    def has(self, member: TargetState) -> bool:
        """Whether this one has room."""
        return member in self._free

    def for_one_more(self, member: TargetState) -> TargetState | None:
        """The target itself where it has room, else the one that has had room for longest; `None` where none has."""
        return member if member in self._free else next(iter(self._free), None)

    def began(self, member: TargetState) -> None:
        """A request to the target has begun."""
        if member in self._free:
            del self._free[member]
            if has_room(member):
                self._free[member] = None

    def ended(self, member: TargetState) -> None:
        """A request to the target is over."""
        if member in self._usable and has_room(member):
            # Behind the others, so that a target that was full is not the next one every time.
            self._free.pop(member, None)
            self._free[member] = None
            self.freed()


def has_room(member: TargetState) -> bool:
    """Whether the member takes one more request than it has."""
    most = member.target.max_concurrency
    return most is None or member.outstanding < most

"""Determines which members of a group can be chosen (docs/alb.md 5.1, 5.5)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable

from albkit.model.health import TargetHealthState
from albkit.model.target_group import TargetGroup
from albkit.state.target import TargetState

__all__ = ("AVAILABLE", "GOOD", "Census", "eligible")

GOOD = (TargetHealthState.HEALTHY, TargetHealthState.UNAVAILABLE)
AVAILABLE = (*GOOD, TargetHealthState.UNHEALTHY, TargetHealthState.INITIAL)


_NOT_AVAILABLE, _AVAILABLE, _GOOD, _STANDBY = range(4)
"""Kinds of members: removed or draining; unhealthy, new or ejected; good; good, but a standby."""


def _kind_of(member: TargetState) -> int:
    state = member.state
    if state in GOOD and member.ejected_until is None:
        return _STANDBY if member.target.standby else _GOOD
    return _AVAILABLE if state in AVAILABLE else _NOT_AVAILABLE


class Census:
    """The members of one group that can be chosen. Updated member by member, so that one change in a group of ten thousand costs no full
    count.

    Eligible are the good members that are not ejected; a standby only if there is no other. If fewer than the required number are good, the
    group fails open: unhealthy and new members get requests as well, because a response of one of them is better than none. A draining
    member never gets a new request.
    """

    __slots__ = ("_counts", "_kinds", "_next", "_places", "_wanted", "eligible", "fails_open")

    def __init__(self) -> None:
        self.eligible: tuple[TargetState, ...] = ()
        """In the order in which they joined."""
        self.fails_open = False
        self._kinds: dict[TargetState, int] = {}
        self._places: dict[TargetState, int] = {}
        """The order in which members joined."""
        self._next = 0
        self._counts = [0, 0, 0, 0]
        self._wanted: tuple[int, ...] = ()
        """The kinds that can be chosen."""

    def take(self, members: Iterable[TargetState], group: TargetGroup) -> None:
        """Set all members."""
        self._kinds = {member: _kind_of(member) for member in members}
        self._places = {member: place for place, member in enumerate(self._kinds)}
        self._next = len(self._places)
        kinds = list(self._kinds.values())
        # Indexed by kind: not available, available, good, standby.
        self._counts = [kinds.count(kind) for kind in range(4)]
        self._decide(group)
        self._gather()

    def change(self, here: Collection[TargetState], gone: Collection[TargetState], group: TargetGroup) -> Collection[TargetState]:
        """Apply changes of members that joined, changed or left. Every member whose eligibility has changed is in the result."""
        for member in gone:
            kind = self._kinds.pop(member, None)
            if kind is not None:
                self._counts[kind] -= 1
        for member in here:
            kind = self._kinds.get(member)
            if kind is None:
                self._places[member] = self._next
                self._next += 1
            else:
                self._counts[kind] -= 1
            kind = self._kinds[member] = _kind_of(member)
            self._counts[kind] += 1
        # If other kinds are wanted than before, the eligibility of many members may change; otherwise only that of the given ones.
        before, wanted = self.eligible, self._wanted
        self._decide(group)
        if wanted != self._wanted:
            self._gather()
            changed: Collection[TargetState] = dict.fromkeys((*before, *self.eligible))
        else:
            changed = (*here, *gone)
            for member in changed:
                self._move(member)
        for member in gone:
            self._places.pop(member, None)
        return changed

    def may_be_chosen(self, member: TargetState) -> bool:
        """Whether the member is eligible."""
        return self._kinds.get(member) in self._wanted

    def _decide(self, group: TargetGroup) -> None:
        _, ill, good, standbys = self._counts
        self.fails_open = ill > 0 and group.too_few(good + standbys, ill + good + standbys)
        if self.fails_open:
            self._wanted = (_AVAILABLE, _GOOD, _STANDBY)
        else:
            # Standby targets replace all good ones; they never serve beside them unless the group fails open.
            self._wanted = (_GOOD,) if good else (_STANDBY,)

    def _gather(self) -> None:
        wanted = self._wanted
        self.eligible = tuple(member for member, kind in self._kinds.items() if kind in wanted)

    def _move(self, member: TargetState) -> None:
        """Insert one member into the eligible ones, or remove it, as needed."""
        eligible = self.eligible
        place = self._places.get(member)
        if place is None:
            return
        # `eligible` is sorted by place, so the position is found without a scan.
        index = bisect_left(eligible, place, key=self._places.__getitem__)
        if (index < len(eligible) and eligible[index] is member) is not self.may_be_chosen(member):
            rest = eligible[index:] if self.may_be_chosen(member) else eligible[index + 1 :]
            self.eligible = (*eligible[:index], member, *rest) if self.may_be_chosen(member) else eligible[:index] + rest


def eligible(members: Iterable[TargetState], group: TargetGroup) -> tuple[tuple[TargetState, ...], bool]:
    """The members that new requests can go to, in their order, and whether the group fails open (see `Census`)."""
    census = Census()
    census.take(members, group)
    return census.eligible, census.fails_open

"""Slow start: increases the share of requests of a newly healthy target gradually (docs/alb.md 5.6)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import accumulate

from albkit.policy.eligibility import GOOD
from albkit.policy.weights import drawn
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("SlowStart",)


class SlowStart:
    """Tracks which targets of one group are in slow start, and gives their surplus requests to others.

    Args:
        chance: Returns random numbers of [0, 1).
    """

    __slots__ = ("_chance", "_eligible", "_full", "_settled", "_slow", "_sums")

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._eligible: Sequence[TargetState] | None = None
        """The targets from which the settled ones are computed when they are needed; `None` after that."""
        self._settled: Sequence[TargetState] = ()
        self._sums: Sequence[float] = ()
        self._full: set[TargetState] = set()
        """The good members that have their full share."""
        self._slow: set[TargetState] = set()

    def look_at_all(self, members: Iterable[TargetState], duration: float, now: float) -> None:
        """Like `look`, for all members at once, whatever has happened to them."""
        members = tuple(members)
        self._slow = {member for member in members if member.slow_since is not None}
        self._full = {member for member in members if member.was_healthy and member.slow_since is None}
        self._end(tuple(self._slow), duration, now)
        self.look(members, duration, now)

    def forget(self, members: Iterable[TargetState]) -> None:
        """Remove members."""
        self._full.difference_update(members)
        self._slow.difference_update(members)

    def _end(self, slow: Iterable[TargetState], duration: float, now: float) -> None:
        """End the slow start of those members that need it no more."""
        for member in slow:
            if member.slow_since is None or now - member.slow_since >= duration or member.state not in GOOD:
                member.slow_since = None
                self._slow.discard(member)
                if member.was_healthy:
                    self._full.add(member)

    def look(self, members: Collection[TargetState], duration: float, now: float) -> None:
        """Handle members that joined or changed state. A newly healthy member starts slowly, if another has its full share.

        That other member must have had it when this one joined: the first members of a group do not wait for the first of them to be
        checked.
        """
        self._end([member for member in members if member in self._slow], duration, now)
        for member in members:
            if member.state not in GOOD:
                self._full.discard(member)
        # With no target at its full share, nobody could take the surplus.
        if not self._full and self._slow:
            self._end(tuple(self._slow), duration, now)
        settled = bool(self._full)
        for member in members:
            good = member.state in GOOD
            if member.joined_late is None:
                member.joined_late = settled
            if good and not member.was_healthy and settled and duration and member.joined_late:
                member.slow_since = now
                self._slow.add(member)
            elif member.was_healthy and not good:
                member.joined_late = True
            if good and member.slow_since is None:
                self._full.add(member)
            # At the end, because everything above compares with the previous look.
            member.was_healthy = good

    def settle(self, eligible: Sequence[TargetState]) -> None:
        """Set the eligible targets. The healthy ones with a full share take the surplus of the others."""
        self._eligible = eligible

    def _find_settled(self) -> Sequence[TargetState]:
        eligible, self._eligible = self._eligible, None
        if eligible is not None:
            self._settled = [one for one in eligible if one.slow_since is None and not one.probation and one.weight and one.state in GOOD]
            self._sums = list(accumulate(member.weight for member in self._settled))
        return self._settled

    def ease(self, member: TargetState, group: TargetGroupState, now: float) -> TargetState:
        """Return the member with a probability equal to its share, otherwise another one with a full share, at random by weight."""
        since, duration = member.slow_since, group.group.slow_start
        if since is None or now - since >= duration:
            self._end((member,), duration, now)
            self.settle(group.eligible)
            return member
        # The share grows linearly: the probability is the elapsed part of the duration.
        if self._chance() * duration < now - since:
            return member
        return self.stand_in() or member

    def stand_in(self) -> TargetState | None:
        """Return a target with a full share, at random by weight; `None` if there is none."""
        settled = self._find_settled()
        return drawn(settled, self._sums, self._chance) if settled else None

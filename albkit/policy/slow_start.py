"""The share of requests of a target that has become healthy grows to its full size by and by (alb-reference 5.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from albkit.policy.eligibility import GOOD
from albkit.policy.weights import drawn
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("SlowStart",)


class SlowStart:
    """Sees which targets of one group begin slowly, and gives others the requests that are too many for them.

    Args:
        chance: Numbers of [0, 1).
    """

    __slots__ = ("_chance", "_settled", "_sums")

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._settled: Sequence[TargetState] = ()
        self._sums: Sequence[float] = ()

    def look(self, members: Iterable[TargetState], duration: float, now: float) -> None:
        """Members have come, gone, or changed their states: who has become healthy begins slowly, if another has its full share.

        That one must have had it when the member came: those that a group begins with do not wait for the first of them to be checked.
        """
        members = tuple(members)
        for member in members:
            if member.slow_since is not None and (now - member.slow_since >= duration or member.state not in GOOD):
                member.slow_since = None
        settled = any(member.good and member.slow_since is None and member.state in GOOD for member in members)
        for member in members:
            good = member.state in GOOD
            if member.is_late is None:
                member.is_late = settled
            if good and not member.good and settled and duration and member.is_late:
                member.slow_since = now
            elif member.good and not good:
                member.is_late = True
            member.good = good

    def settle(self, eligible: Sequence[TargetState]) -> None:
        """These may be chosen now; the healthy ones that have their full share take what is too much for the others."""
        self._settled = [one for one in eligible if one.slow_since is None and not one.probation and one.weight and one.state in GOOD]
        self._sums = list(accumulate(member.weight for member in self._settled))

    def ease(self, member: TargetState, group: TargetGroupState, now: float) -> TargetState:
        """The member, as often as its share has grown; else one that has its full share, by weight and chance."""
        since, duration = member.slow_since, group.group.slow_start
        if since is None or now - since >= duration:
            member.slow_since = None
            self.settle(group.eligible)
            return member
        if self._chance() * duration < now - since:
            return member
        return self.stand_in() or member

    def stand_in(self) -> TargetState | None:
        """One that has its full share, by weight and chance; `None` where nobody has."""
        return drawn(self._settled, self._sums, self._chance) if self._settled else None

"""Which target of a group gets a request: its session's, else the algorithm's (alb-reference 5.1)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from copy import copy
from typing import Any

from albkit.errors import Failure, FailureKind
from albkit.policy.algorithms import algorithm_named
from albkit.policy.eligibility import eligible
from albkit.policy.slow_start import SlowStart
from albkit.policy.stickiness import LbCookieStickiness
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("TargetChoice",)

_log = logging.getLogger("albkit")


class TargetChoice:
    """Picks among the targets of one group, and keeps its algorithm told of what happens to them."""

    __slots__ = ("_algorithm", "_bound", "_chance", "_now", "_setting", "_slow_start", "_tells", "group", "stickiness")

    def __init__(self, group: TargetGroupState, chance: Callable[[], float], now: Callable[[], float]) -> None:
        self.group = group
        self._chance = chance
        self._now = now
        self._slow_start = SlowStart(chance)
        self._setting: Any = None
        self._bound: tuple[object, ...] = ()
        self.stickiness: LbCookieStickiness | None = None
        self.refresh()

    def refresh(self) -> None:
        """Members, their states or the group's description have changed: see who may be chosen now."""
        group = self.group
        before = chosen = set(group.eligible)
        if self._setting is not group.group.algorithm:
            self._setting = group.group.algorithm
            self._algorithm = algorithm_named(self._setting)
            # These two count nothing, so that most requests need not be told of.
            self._tells = self._setting not in ("round_robin", "weighted_random")
            before = set()
        self._refresh_stickiness()
        self._slow_start.look(group.members.values(), group.group.slow_start, self._now())
        group.eligible, group.fails_open = eligible(group.members.values(), group.group)
        self._slow_start.settle(group.eligible)
        now = set(group.eligible)
        for member in chosen - now:
            member.eligible = False
            if member in before:
                self._tell(self._algorithm.left, member)
        for member in group.eligible:
            if member not in before:
                member.eligible = True
                self._tell(self._algorithm.joined, member)

    def _refresh_stickiness(self) -> None:
        """A cookie for each member costs a digest: made anew only when there are others, not when one has changed its state."""
        cookie = self.group.group.stickiness
        bound = (cookie, *self.group.members.values())
        if bound != self._bound:
            self._bound = bound
            self.stickiness = LbCookieStickiness(cookie, self.group) if cookie is not None else None

    def reweigh(self, member: TargetState, weight: int) -> None:
        """Give a member another weight."""
        member.weight = weight
        if member.eligible:
            self._tell(self._algorithm.left, member)
            self._tell(self._algorithm.joined, member)

    def bound(self, cookies: bytes, now: float) -> TargetState | None:
        """The target that the request's session is bound to, where it may be chosen now."""
        if self.stickiness is None or not cookies:
            return None
        member = self.stickiness.target(cookies, now)
        return member if member is not None and member.eligible else None

    def pick(self) -> TargetState | None:
        """A target for a request that no session binds; `None` when there is none.

        Raises:
            Failure: 500, an algorithm of the program's own failed.
        """
        member = self._choose(self.group.eligible)
        if member is None or member.slow_since is None:
            return member
        return self._slow_start.ease(member, self.group, self._now())

    def peek(self) -> TargetState | None:
        """The target that `pick` would give now, as far as it is no matter of chance; takes no turn."""
        member: TargetState | None = copy(self._algorithm).choose(self.group.eligible, self._chance)
        return member

    def pick_other(self, tried: Collection[TargetState]) -> TargetState | None:
        """A target that was not tried yet; `None` when all were.

        Raises:
            Failure: 500, an algorithm of the program's own failed.
        """
        untried = [member for member in self.group.eligible if member not in tried]
        return self._choose(untried) if untried else None

    def started(self, member: TargetState) -> None:
        """A request goes to the member."""
        member.outstanding += 1
        if self._tells:
            self._tell(self._algorithm.started, member)

    def finished(self, member: TargetState) -> None:
        """A request to the member is over."""
        member.outstanding -= 1
        if self._tells:
            self._tell(self._algorithm.finished, member)
        if member.on_idle is not None and not member.outstanding:
            member.on_idle()

    def _choose(self, candidates: Sequence[TargetState]) -> TargetState | None:
        try:
            member = self._algorithm.choose(candidates, self._chance)
        except Exception as error:  # noqa: BLE001 - an algorithm of the program's own may raise anything
            _log.exception("the algorithm of group %s failed in choose", self.group.group.name)
            raise Failure(FailureKind.HOOK_FAILED, f"the algorithm of group {self.group.group.name}: {error!r}") from None
        if member is None or (isinstance(member, TargetState) and member.eligible):
            return member
        raise Failure(FailureKind.HOOK_FAILED, f"the algorithm of group {self.group.group.name} chose {member!r}, which is no candidate")

    def _tell(self, told: Callable[[TargetState], None], member: TargetState) -> None:
        try:
            told(member)
        except Exception:  # noqa: BLE001 - an algorithm of the user's own must not break the exchange that it is only told of
            _log.exception("the algorithm of group %s failed in %s", self.group.group.name, getattr(told, "__name__", told))

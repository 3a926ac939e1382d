"""Which target of a group gets a request: its session's, else the algorithm's (alb-reference 5.1)."""

from __future__ import annotations

from collections.abc import Collection

from albkit.policy.algorithms import round_robin
from albkit.policy.stickiness import LbCookieStickiness
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("TargetChoice",)


class TargetChoice:
    """Picks among the targets of one group."""

    __slots__ = ("group", "stickiness")

    def __init__(self, group: TargetGroupState) -> None:
        self.group = group
        cookie = group.group.stickiness
        self.stickiness = LbCookieStickiness(cookie, group) if cookie is not None else None

    def bound(self, cookies: bytes, now: float) -> TargetState | None:
        """The target that the request's session is bound to, where it may be chosen now."""
        if self.stickiness is None or not cookies:
            return None
        member = self.stickiness.target(cookies, now)
        return member if member in self.group.eligible else None

    def pick(self) -> TargetState | None:
        """A target for a request that no session binds; `None` when there is none."""
        return round_robin(self.group, self.group.eligible)

    def pick_other(self, tried: Collection[TargetState]) -> TargetState | None:
        """A target that was not tried yet; `None` when all were.

        Takes no turn: two turns for one request would have the next one begin with the same dead target again.
        """
        untried = [member for member in self.group.eligible if member not in tried]
        return untried[self.group.rotation % len(untried)] if untried else None

"""Who may be chosen now (alb-reference 5.1, 5.5)."""

from __future__ import annotations

from collections.abc import Iterable

from albkit.model.health import TargetHealthState
from albkit.state.target import TargetState

__all__ = ("eligible",)

_GOOD = (TargetHealthState.HEALTHY, TargetHealthState.UNAVAILABLE)
_LAST_RESORT = (TargetHealthState.UNHEALTHY, TargetHealthState.INITIAL)


def eligible(members: Iterable[TargetState]) -> tuple[TargetState, ...]:
    """The members that new requests may go to, in their order.

    Those in good health; where there are none, the group fails open: unhealthy and new ones, because an answer from one of them is
    better than none. A draining member never gets a new request.
    """
    members = tuple(members)
    return tuple(member for member in members if member.state in _GOOD) or tuple(
        member for member in members if member.state in _LAST_RESORT
    )

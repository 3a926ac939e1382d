"""Who may be chosen now (alb-reference 5.1, 5.5)."""

from __future__ import annotations

from collections.abc import Iterable

from albkit.model.health import TargetHealthState
from albkit.model.target_group import TargetGroup
from albkit.state.target import TargetState

__all__ = ("AVAILABLE", "GOOD", "eligible")

GOOD = (TargetHealthState.HEALTHY, TargetHealthState.UNAVAILABLE)
AVAILABLE = (*GOOD, TargetHealthState.UNHEALTHY, TargetHealthState.INITIAL)


def eligible(members: Iterable[TargetState], group: TargetGroup) -> tuple[tuple[TargetState, ...], bool]:
    """The members that new requests may go to, in their order, and whether the group fails open.

    Those in good health that are not ejected; a standby only where there is no other. Where they are fewer than the group must have
    it fails open: unhealthy and new ones get requests as well, because an answer of one of them is better than none. A draining member
    never gets a new request.
    """
    available = tuple(member for member in members if member.state in AVAILABLE)
    good = tuple(member for member in available if member.state in GOOD and member.ejected_until is None)
    if len(good) < len(available) and group.too_few(len(good), len(available)):
        return available, True
    return tuple(member for member in good if not member.target.standby) or good, False

"""Ejects targets that fail, and readmits them on probation."""

from __future__ import annotations

from collections.abc import Callable

from albkit.policy.eligibility import AVAILABLE, GOOD
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("Ejector", "has_enough")


class Ejector:
    """Decides which members of one group are ejected, and for how long.

    Args:
        group: The group.
        now: The monotonic clock.
    """

    __slots__ = ("_group", "_now")

    def __init__(self, group: TargetGroupState, now: Callable[[], float]) -> None:
        self._group = group
        self._now = now

    def reason(self, member: TargetState, unconnected: str) -> str:
        """Why a member that has just failed must be ejected; empty if it must not.

        Args:
            member: The member.
            unconnected: Why the connection failed; empty if there was a connection, but no response.
        """
        ejection = self._group.group.ejection_in_force
        if ejection is None or member.ejected_until is not None:
            return ""
        if self._group.group.ejects_unconnected_only:
            return unconnected
        if member.probation:
            return "a request failed during its probation"
        most = ejection.consecutive_failures
        if most is None or member.failures_in_row < most:
            return ""
        return f"{member.failures_in_row} requests in a row got no connection or no response"

    def answered(self, member: TargetState, status: int) -> bool:
        """Handle a response of a member on probation. Return whether it is ejected again. The last response of the probation ends it.

        Args:
            member: The member.
            status: The status of the response; 0 if there was a connection but no response, which is enough if only connections count.
        """
        if status >= 500 and not self._group.group.ejects_unconnected_only:
            return True
        member.probation -= 1
        if not member.probation:
            member.ejections = 0
            self._group.on_recovered(member)
        return False

    def awaits_proof(self, member: TargetState) -> bool:
        """Whether a member on probation has its one request in progress, and has answered none since it was readmitted."""
        ejection = self._group.group.ejection_in_force
        return ejection is not None and member.probation >= ejection.probation and has_enough(member)

    def eject(self, member: TargetState, why: str) -> float:
        """Eject a member and return for how many seconds; 0 if too many are ejected already, or if it is the last good one."""
        group = self._group.group
        ejection = group.ejection_in_force
        if ejection is None or member.state not in GOOD or member.ejected_until is not None:
            return 0.0
        available = [one for one in self._group.members.values() if one.state in AVAILABLE]
        good = [one for one in available if one.state in GOOD]
        staying = [one for one in good if one.ejected_until is None and one is not member]
        # `staying` excludes this member, so the difference counts it as ejected. One ejection is always allowed, whatever the percentage.
        if len(good) - len(staying) > max(1, len(good) * ejection.max_percent // 100) and not _standbys_take_over(staying):
            return 0.0
        if not any(one.weight or not member.weight for one in staying) or group.too_few(len(staying), len(available)):
            # No target would be left, or so few that the group would fail open and send requests to the ejected one as well.
            return 0.0
        # The exponent is limited, because the power would exceed a float after about a thousand ejections.
        seconds = min(ejection.duration * 2.0 ** min(member.ejections, 30), max(ejection.duration, ejection.max_duration))
        member.ejected_until = self._now() + seconds
        # Requests that are in progress now belong to the old epoch; their results no longer count.
        member.epoch += 1
        self._group.ejected.add(member)
        member.ejections += 1
        member.probation = 0
        member.eject_reason = f"Ejected for {seconds:g} s: {why}"
        return seconds

    def shorten(self, member: TargetState) -> None:
        """End the ejection of a member that has answered a request for which no other target was left, if only connections count."""
        if self._group.group.ejects_unconnected_only:
            member.ejected_until = self._now()

    def readmit(self, member: TargetState) -> None:
        """Readmit an ejected member, on probation."""
        ejection = self._group.group.ejection_in_force
        self._group.ejected.discard(member)
        member.ejected_until = None
        member.eject_reason = ""
        member.failures_in_row = 0
        member.probation = ejection.probation if ejection is not None else 0
        if ejection is None:
            member.ejections = 0

    def settle(self) -> None:
        """Apply a changed configuration: without ejection, no member is on probation."""
        if self._group.group.ejection_in_force is None:
            for member in self._group.members.values():
                member.probation = member.ejections = 0


def has_enough(member: TargetState) -> bool:
    """Whether a member on probation already has its one request. Tunnels do not count, because they may stay open for days."""
    return member.probation > 0 and member.outstanding > member.tunnels


def _standbys_take_over(staying: list[TargetState]) -> bool:
    """Whether there are standby members, and none of the others has answered its latest request."""
    return any(one.target.standby for one in staying) and all(one.failures_in_row for one in staying if not one.target.standby)

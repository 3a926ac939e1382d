"""Leaves targets out that fail, and takes them back on probation."""

from __future__ import annotations

from collections.abc import Callable

from albkit.policy.eligibility import AVAILABLE, GOOD
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("Ejector", "has_enough")


class Ejector:
    """Decides who is ejected from one group, and for how long.

    Args:
        group: Whose.
        now: The monotonic clock.
    """

    __slots__ = ("_group", "_now")

    def __init__(self, group: TargetGroupState, now: Callable[[], float]) -> None:
        self._group = group
        self._now = now

    def reason(self, member: TargetState, unconnected: str) -> str:
        """Why a member that has just failed is to be ejected; empty where it is not.

        Args:
            member: The member.
            unconnected: Why no connection came about; empty where one did, and no answer came over it.
        """
        ejection = self._group.group.ejection_in_force
        if ejection is None or member.ejected_until is not None:
            return ""
        if self._group.group.ejects_unconnected_only:
            return unconnected
        if member.probation:
            return "on probation it did not answer a request"
        most = ejection.consecutive_failures
        if most is None or member.failures_in_row < most:
            return ""
        return f"{member.failures_in_row} requests in a row found no connection or no answer"

    def answered(self, member: TargetState, status: int) -> bool:
        """A member on probation has answered: whether that ejects it again. Behind its last answer it is as any other.

        Args:
            member: The member.
            status: Of its answer; 0 where it was connected to and has not answered, which is all that is asked of some.
        """
        if status >= 500 and not self._group.group.ejects_unconnected_only:
            return True
        member.probation -= 1
        if not member.probation:
            member.ejections = 0
            self._group.on_recovered(member)
        return False

    def awaits_proof(self, member: TargetState) -> bool:
        """Whether a member on probation has its one request, and has answered none yet since it came back."""
        ejection = self._group.group.ejection_in_force
        return ejection is not None and member.probation >= ejection.probation and has_enough(member)

    def eject(self, member: TargetState, why: str) -> float:
        """Eject a member; for how many seconds, 0 where too many are already, or it is the last one that is good."""
        group = self._group.group
        ejection = group.ejection_in_force
        if ejection is None or member.state not in GOOD or member.ejected_until is not None:
            return 0.0
        available = [one for one in self._group.members.values() if one.state in AVAILABLE]
        good = [one for one in available if one.state in GOOD]
        staying = [one for one in good if one.ejected_until is None and one is not member]
        if len(good) - len(staying) > max(1, len(good) * ejection.max_percent // 100) and not _standbys_take_over(staying):
            return 0.0
        if not any(one.weight or not member.weight for one in staying) or group.too_few(len(staying), len(available)):
            # What is left would be nothing, or so little that the group fails open and asks the ejected one as well.
            return 0.0
        seconds = min(ejection.duration * 2.0 ** min(member.ejections, 30), max(ejection.duration, ejection.max_duration))
        member.ejected_until = self._now() + seconds
        member.epoch += 1
        self._group.ejected.add(member)
        member.ejections += 1
        member.probation = 0
        member.eject_reason = f"Ejected for {seconds:g} s: {why}"
        return seconds

    def shorten(self, member: TargetState) -> None:
        """An ejected member has answered a request for which nobody else was left: where only its connections were bad its time is over."""
        if self._group.group.ejects_unconnected_only:
            member.ejected_until = self._now()

    def readmit(self, member: TargetState) -> None:
        """Take an ejected member back on probation."""
        ejection = self._group.group.ejection_in_force
        self._group.ejected.discard(member)
        member.ejected_until = None
        member.eject_reason = ""
        member.failures_in_row = 0
        member.probation = ejection.probation if ejection is not None else 0
        if ejection is None:
            member.ejections = 0

    def settle(self) -> None:
        """The group's description has changed: where nobody is to be ejected nobody is on probation."""
        if self._group.group.ejection_in_force is None:
            for member in self._group.members.values():
                member.probation = member.ejections = 0


def has_enough(member: TargetState) -> bool:
    """Whether a member is on probation and has its one request already; tunnels, which may live for days, do not count."""
    return member.probation > 0 and member.outstanding > member.tunnels


def _standbys_take_over(staying: list[TargetState]) -> bool:
    """Whether standbys are there for the others, of which none has answered its latest request."""
    return any(one.target.standby for one in staying) and all(one.failures_in_row for one in staying if not one.target.standby)

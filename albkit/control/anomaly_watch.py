"""Watches how targets do their work, whatever their health checks say: finds those that fail more than their peers, and takes ejected
ones back in time (docs/alb.md 5.2)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from albkit.model.events import Event, TargetAnomalyChanged, TargetEjected, TargetReadmitted
from albkit.model.health import AnomalyResult
from albkit.policy.anomaly import FEWEST_TARGETS, next_share, outliers
from albkit.policy.eligibility import GOOD
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.runtime import Runtime
from albkit.state.target import TargetState

__all__ = ("AnomalyWatch",)

_log = logging.getLogger("albkit")

_ROUND = 5.0
"""Seconds between two looks at the shares of errors, as ALB."""


class AnomalyWatch:
    """Looks at the targets of every group, round after round of the sweep.

    Args:
        runtime: Of the load balancer.
        tell: Tells whoever wants to know.
    """

    def __init__(self, runtime: Runtime, tell: Callable[[Event], None]) -> None:
        self._runtime = runtime
        self._tell = tell
        self._next = runtime.clock.monotonic() + _ROUND
        self._seen: dict[TargetState, tuple[int, int]] = {}

    def watch(self, choice: TargetChoice) -> None:
        """From now on hear when a member of this group is ejected, and when it is well again."""
        choice.group.on_ejected = lambda member, seconds, why: self._ejected(choice, member, seconds, why)
        choice.group.on_recovered = lambda member: self._recovered(choice, member)

    def begin_anew(self, member: TargetState) -> None:
        """The member is well again, as far as is known: what it failed before does not count any more."""
        self._seen[member] = (member.requests, member.errors)

    def forget(self, choice: TargetChoice, member: TargetState) -> None:
        """The member has come back: it is as a new one."""
        if member.share < 1.0:
            choice.share(member, 1.0)
        self._judge(choice, member, "", anomalous=False)
        self.begin_anew(member)

    def sweep(self, now: float) -> None:
        """Take back whose time is over, and compare the targets of each group when that is due."""
        choices = tuple(self._runtime.choices.values())
        for choice in choices:
            if choice.group.ejected:
                self._readmit(choice, now)
        if now >= self._next:
            self._next = now + _ROUND
            seen, self._seen = self._seen, {}
            for choice in choices:
                self._compare(choice, seen)

    def _readmit(self, choice: TargetChoice, now: float) -> None:
        nobody = choice.group.group.ejection_in_force is None
        back = [member for member in choice.group.ejected if nobody or now >= (member.ejected_until or 0.0)]
        if not back:
            return
        for member in back:
            self._judge(choice, member, "", anomalous=False)
            self.begin_anew(member)
        choice.readmit(*back)
        for member in back:
            _log.info("target %s of group %s gets requests again", member.address, choice.group.group.name)
            self._tell(TargetReadmitted(choice.group.group.name, member.target))

    def _ejected(self, choice: TargetChoice, member: TargetState, seconds: float, why: str) -> None:
        member.counters.ejected()
        # What was connected before has ended without a word, perhaps: no request of a probation is to find that out.
        self._runtime.connections.drop_idle(member)
        group = choice.group.group
        # Whoever did not ask for ejections is not told again and again of a target that stays dead.
        level = logging.INFO if group.ejects_unconnected_only and member.ejections > 1 else logging.WARNING
        _log.log(level, "target %s of group %s is ejected for %g s: %s", member.address, group.name, seconds, why)
        self._tell(TargetEjected(group.name, member.target, seconds, why))

    def _recovered(self, choice: TargetChoice, member: TargetState) -> None:
        if choice.group.group.ejects_unconnected_only:
            _log.warning("target %s of group %s is back: it can be connected to again", member.address, choice.group.group.name)

    def _compare(self, choice: TargetChoice, seen: dict[TargetState, tuple[int, int]]) -> None:
        members = []
        for member in choice.group.members.values():
            self.begin_anew(member)
            if member.state in GOOD and member.ejected_until is None:
                members.append(member)
            elif member.state not in GOOD:
                self._judge(choice, member, "", anomalous=False)
        if len(members) < FEWEST_TARGETS:
            for member in members:
                self._judge(choice, member, "", anomalous=False)
            return
        tries = []
        for member in members:
            requests, errors = seen.get(member, (0, 0))
            tries.append((member.requests - requests, member.errors - errors))
        for member, (count, errors), verdict in zip(members, tries, outliers(tries), strict=True):
            if verdict is None:
                # Too few to tell: these count for the next round as well.
                self._seen[member] = seen.get(member, (0, 0))
                verdict = member.is_anomalous
            self._judge(choice, member, f"{errors} of its last {count} requests failed, more than its peers'", anomalous=verdict)

    def _judge(self, choice: TargetChoice, member: TargetState, why: str, *, anomalous: bool) -> None:
        group = choice.group.group
        if anomalous is not member.is_anomalous:
            member.is_anomalous = anomalous
            self._tell(TargetAnomalyChanged(group.name, member.target, AnomalyResult.ANOMALOUS if anomalous else AnomalyResult.NORMAL))
        if group.anomaly_mitigation == "on":
            if anomalous or member.share < 1.0:
                choice.share(member, next_share(member.share, anomalous=anomalous))
        elif member.share < 1.0:
            choice.share(member, 1.0)
        elif anomalous and group.ejection_in_force is not None and group.ejection_in_force.anomalies:
            choice.eject(member, why)

"""Detects targets that fail more often than their peers, whatever their health checks say, and ends ejections in time (docs/alb.md 5.2)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from albkit.errors import escaped
from albkit.model.events import Event, TargetAnomalyChanged, TargetEjected, TargetReadmitted
from albkit.model.health import AnomalyResult
from albkit.policy.anomaly import FEWEST_TARGETS, next_share, outliers
from albkit.policy.eligibility import GOOD
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.runtime import Runtime
from albkit.state.target import TargetState

__all__ = ("AnomalyWatch",)

_log = logging.getLogger("albkit")

_INTERVAL = 5.0
"""Seconds between two comparisons of error rates, as in ALB."""


class AnomalyWatch:
    """Compares the targets of every group, driven by the sweep.

    Args:
        runtime: The runtime of the load balancer.
        publish: Publishes an event.
    """

    def __init__(self, runtime: Runtime, publish: Callable[[Event], None]) -> None:
        self._runtime = runtime
        self._publish = publish
        self._next = runtime.clock.monotonic() + _INTERVAL
        self._counts_before: dict[TargetState, tuple[int, int]] = {}

    def watch(self, choice: TargetChoice) -> None:
        """Get notified when a member of this group is ejected, and when it has recovered."""
        choice.group.on_ejected = lambda member, seconds, why: self._ejected(choice, member, seconds, why)
        choice.group.on_recovered = lambda member: self._recovered(choice, member)

    def reset_counts(self, member: TargetState) -> None:
        """Ignore what the member has failed so far: it is healthy again, as far as is known."""
        self._counts_before[member] = (member.requests, member.errors)

    def reset(self, choice: TargetChoice, member: TargetState) -> None:
        """Treat a member that was registered again like a new one."""
        if member.share < 1.0:
            choice.share(member, 1.0)
        self._set_anomalous(choice, member, "", anomalous=False)
        self.reset_counts(member)

    def sweep(self, now: float) -> None:
        """End ejections whose time is over, and compare the targets of each group when that is due."""
        choices = tuple(self._runtime.choices.values())
        for choice in choices:
            if choice.group.ejected:
                self._readmit(choice, now)
        if now >= self._next:
            self._next = now + _INTERVAL
            seen, self._counts_before = self._counts_before, {}
            for choice in choices:
                self._compare(choice, seen)

    def _readmit(self, choice: TargetChoice, now: float) -> None:
        nobody = choice.group.group.ejection_in_force is None
        back = [member for member in choice.group.ejected if nobody or now >= (member.ejected_until or 0.0)]
        if not back:
            return
        for member in back:
            self._set_anomalous(choice, member, "", anomalous=False)
            self.reset_counts(member)
        choice.readmit(*back)
        group = choice.group.group.name
        for member in back:
            fields = {"albkit_event": "target_readmitted", "albkit_group": group, "albkit_target": member.address}
            _log.info("target %s of group %s gets requests again, on probation", member.address, group, extra=fields)
            self._publish(TargetReadmitted(group, member.target))

    def _ejected(self, choice: TargetChoice, member: TargetState, seconds: float, why: str) -> None:
        member.counters.ejected()
        # Idle connections from before the failure may be dead without the load balancer knowing. A request of the probation must not meet
        # one.
        self._runtime.connections.drop_idle(member)
        group = choice.group.group
        # With ejection="auto" nobody has asked for ejections, so a target that stays dead gets one warning, not one every minute.
        level = logging.INFO if group.ejects_unconnected_only and member.ejections > 1 else logging.WARNING
        fields = {
            "albkit_event": "target_ejected",
            "albkit_group": group.name,
            "albkit_target": member.address,
            "albkit_seconds": seconds,
            "albkit_detail": escaped(why),
        }
        _log.log(level, "target %s of group %s is ejected for %g s: %s", member.address, group.name, seconds, escaped(why), extra=fields)
        self._publish(TargetEjected(group.name, member.target, seconds, why))

    def _recovered(self, choice: TargetChoice, member: TargetState) -> None:
        if choice.group.group.ejects_unconnected_only:
            group = choice.group.group.name
            fields = {"albkit_event": "target_recovered", "albkit_group": group, "albkit_target": member.address}
            _log.warning("target %s of group %s has recovered: it accepts connections again", member.address, group, extra=fields)

    def _compare(self, choice: TargetChoice, seen: dict[TargetState, tuple[int, int]]) -> None:
        members = []
        for member in choice.group.members.values():
            self.reset_counts(member)
            if member.state in GOOD and member.ejected_until is None:
                members.append(member)
            elif member.state not in GOOD:
                self._set_anomalous(choice, member, "", anomalous=False)
        if len(members) < FEWEST_TARGETS:
            for member in members:
                self._set_anomalous(choice, member, "", anomalous=False)
            return
        tries = []
        for member in members:
            requests, errors = seen.get(member, (0, 0))
            tries.append((member.requests - requests, member.errors - errors))
        for member, (count, errors), verdict in zip(members, tries, outliers(tries), strict=True):
            if verdict is None:
                # Too few requests for a verdict, so they count in the next round as well.
                self._counts_before[member] = seen.get(member, (0, 0))
                verdict = member.is_anomalous
            self._set_anomalous(
                choice, member, f"{errors} of its last {count} requests failed, more than those of its peers", anomalous=verdict
            )

    def _set_anomalous(self, choice: TargetChoice, member: TargetState, why: str, *, anomalous: bool) -> None:
        group = choice.group.group
        if anomalous is not member.is_anomalous:
            member.is_anomalous = anomalous
            self._publish(TargetAnomalyChanged(group.name, member.target, AnomalyResult.ANOMALOUS if anomalous else AnomalyResult.NORMAL))
        if group.anomaly_mitigation == "on":
            if anomalous or member.share < 1.0:
                choice.share(member, next_share(member.share, anomalous=anomalous))
        elif member.share < 1.0:
            choice.share(member, 1.0)
        elif anomalous and group.ejection_in_force is not None and group.ejection_in_force.anomalies:
            choice.eject(member, why)

"""Registers and deregisters targets while they are in use (docs/alb.md 1.9, 5.7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from albkit.control.anomaly_watch import AnomalyWatch
from albkit.control.health_checker import HealthChecker
from albkit.control.name_follower import NameFollower
from albkit.errors import Failure, FailureKind
from albkit.model.dns_name import DnsName
from albkit.model.events import Event, TargetDrained, TargetRegistered, TargetStateChanged
from albkit.model.health import AnomalyDetection, AnomalyResult, TargetHealthDescription, TargetHealthReason, TargetHealthState
from albkit.model.target import Target
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.runtime import LiveTunnel, Runtime
from albkit.state.target import TargetState

__all__ = ("Registration", "text_of")

_TEXTS = {
    TargetHealthReason.INITIAL_HEALTH_CHECKING: "Initial health checks in progress",
    TargetHealthReason.INTERNAL_ERROR: "Health checks failed due to an internal error",
    TargetHealthReason.RESPONSE_CODE_MISMATCH: "Health checks failed",
    TargetHealthReason.TIMEOUT: "Request timed out",
    TargetHealthReason.FAILED_HEALTH_CHECKS: "Health checks failed",
    TargetHealthReason.HEALTH_CHECK_DISABLED: "Health checks are disabled for this target group",
    TargetHealthReason.DEREGISTRATION_IN_PROGRESS: "Target deregistration is in progress",
    TargetHealthReason.NOT_REGISTERED: "Target is not registered to the target group",
}


class Registration:
    """Changes the members of the groups of one running load balancer."""

    def __init__(self, runtime: Runtime, publish: Callable[[Event], None]) -> None:
        self._checker = HealthChecker(runtime, self._set_state)
        self._anomalies = AnomalyWatch(runtime, publish)
        self._names = NameFollower(runtime, self.register, self.deregister)
        self._runtime = runtime
        self._publish = publish
        self._draining: dict[TargetState, TargetChoice] = {}
        self._waiting: dict[TargetState, list[asyncio.Future[None]]] = {}
        # Deadlines are checked by the common sweep, at least once per second, instead of one timer per target.
        runtime.sweep.add(self)
        runtime.sweep.add(self._anomalies)

    def register(self, choice: TargetChoice, targets: Iterable[Target]) -> None:
        """Send new requests to these targets from now on. A draining target returns to service; a known one takes its new weight."""
        new: list[Target] = []
        changed: list[TargetState] = []
        for target in targets:
            address = str(target)
            member = choice.group.members.get(address)
            if member is None:
                member = choice.group.members[address] = TargetState(target, checked=choice.group.group.health_check is not None)
                new.append(target)
                changed.append(member)
            elif self._register_again(choice, member, target):
                changed.append(member)
        # One update for all of them, because an update of many members looks at every member of the group.
        choice.update(changed)
        self._checker.watch(choice, changed)
        for target in new:
            self._publish(TargetRegistered(choice.group.group.name, target))

    def _register_again(self, choice: TargetChoice, member: TargetState, target: Target) -> bool:
        """Handle a target that is registered again. Return whether anything but its weight has changed."""
        before, protocol_of = member.target, choice.group.group.protocol_of
        # The identical object: `change_targets` passes all declared targets, most of which are unchanged.
        if before is target and member.state is not TargetHealthState.DRAINING:
            return False
        if (protocol_of(before), before.server_name) != (protocol_of(target), target.server_name):
            # Existing connections were made, and verified, with the old protocol or server name.
            self._runtime.connections.outdate(member)
        member.target = target
        if member.weight != target.weight:
            choice.reweigh(member, target.weight)
        if member.state is TargetHealthState.DRAINING:
            self._draining.pop(member, None)
            member.on_idle = None
            member.keeps_sessions = False
            self._anomalies.reset(choice, member)
            for tunnel in self._runtime.tunnels if member.tunnels else ():
                if tunnel.member is member:
                    tunnel.cancel_drain()
            self._wake_waiters(member)
            self._set_initial_state(choice, (member,))
            return True
        return (before.standby, before.max_concurrency, before.route) != (target.standby, target.max_concurrency, target.route)

    def deregister(self, choice: TargetChoice, targets: Iterable[Target], *, for_good: bool = False) -> None:
        """Send no new requests to these targets; exchanges and tunnels may finish within the deregistration delay. Unknown targets are
        ignored.

        Args:
            choice: The group's target choice.
            targets: The targets.
            for_good: Whether the group is removed too, so that no request of a session can come any more.
        """
        honors = not for_good and getattr(choice.group.group.stickiness, "while_draining", "") == "honor"
        leaving: dict[TargetState, None] = {}
        ejected: list[TargetState] = []
        for target in targets:
            member = choice.group.members.get(str(target))
            if member is None or member.state is TargetHealthState.DRAINING:
                continue
            leaving[member] = None
            member.deadline = self._runtime.clock.monotonic() + choice.group.group.deregistration_delay
            # A target that was not eligible has no sessions that could continue, and with a delay of 0 there is no time for them.
            member.keeps_sessions = honors and member.eligible and choice.group.group.deregistration_delay > 0
            self._draining[member] = choice
            ejected += [member] if member in choice.group.ejected else []
        if ejected:
            # An ejected target would be readmitted by the anomaly watch while it drains, so it leaves that state first.
            choice.readmit(*ejected)
        for member in leaving:
            member.probation = member.ejections = member.failures_in_row = 0
        self._set_state(choice, tuple(leaving), TargetHealthState.DRAINING, TargetHealthReason.DEREGISTRATION_IN_PROGRESS)
        self._drain_when_idle(member for member in leaving if not member.keeps_sessions)
        self._drain_tunnels([member for member in leaving if member.tunnels])
        self._checker.watch(choice, leaving)

    def end_sessions(self, choice: TargetChoice) -> None:
        """End the sessions that are bound to draining members of the group: their requests go to other targets."""
        self._drain_when_idle([member for member, of in self._draining.items() if of is choice and member.keeps_sessions])

    def _drain_when_idle(self, members: Iterable[TargetState]) -> None:
        """Let each of these members be drained as soon as it is idle."""
        idle = []
        for member in members:
            member.keeps_sessions = False
            self._runtime.connections.drop_idle(member)
            if member.outstanding:
                member.on_idle = lambda member=member: self._remove_drained((member,))
            else:
                idle.append(member)
        self._remove_drained(idle)

    def _drain_tunnels(self, members: Collection[TargetState]) -> None:
        """Schedule the closing of these targets' tunnels evenly over the last part of the deregistration delay."""
        clock = self._runtime.clock
        leaving: dict[TargetState, list[LiveTunnel]] = {member: [] for member in members}
        for tunnel in self._runtime.tunnels if members else ():
            if tunnel.member in leaving:
                leaving[tunnel.member].append(tunnel)
        now = clock.monotonic()
        for member, tunnels in leaving.items():
            for index, tunnel in enumerate(tunnels):
                spread = min(tunnel.drain_spread, member.deadline - now)
                # Each tunnel gets one of equal time slots, and a random moment within it.
                tunnel.drain(member.deadline - spread * (1 - (index + clock.random()) / len(tunnels)))

    async def drained(self, group: str, target: Target, timeout: float | None) -> None:
        """Wait until a deregistered target has drained, or was registered again. Returns at once if it is not draining.

        Raises:
            TimeoutError: that took longer than `timeout` seconds.
        """
        # Search the draining members and not the group, which may already have been removed from the configuration.
        address = str(target)
        draining = self._draining.items()
        member = next((one for one, choice in draining if one.address == address and choice.group.group.name == group), None)
        if member is None:
            return
        # One future per caller: a caller that is cancelled must not cancel those of others.
        over = self._runtime.loop.create_future()
        self._waiting.setdefault(member, []).append(over)
        try:
            async with asyncio.timeout(timeout):
                await over
        finally:
            waiting = self._waiting.get(member, [])
            if over in waiting:
                waiting.remove(over)

    def describe(self, choice: TargetChoice, targets: Iterable[Target] | None) -> list[TargetHealthDescription]:
        """Describe the state of every member, or of the targets given."""
        if targets is None:
            return [_description(member) for member in choice.group.members.values()]
        return [_description(choice.group.members.get(str(target)), target) for target in targets]

    def sweep(self, now: float) -> None:
        """Cut the exchanges and tunnels of targets whose deregistration delay is over."""
        over = [member for member in self._draining if now >= member.deadline]
        self._drain_when_idle([member for member in over if member.keeps_sessions])
        for member in over:
            for client in self._runtime.connections.bound_to(member):
                # The end of the last exchange removes the member, by `on_idle`.
                client.fail(Failure(FailureKind.DEREGISTRATION_DELAY_OVER, member.address))

    def begin(self, choice: TargetChoice) -> None:
        """Start the health checks and the anomaly detection of a group."""
        self._anomalies.watch(choice)
        self._checker.watch(choice, choice.group.members.values())

    async def look_up_names(self, groups: Iterable[tuple[TargetChoice, Collection[DnsName]]]) -> None:
        """Follow these names for these groups, and return when each has been queried once, with or without an answer."""
        for choice, names in groups:
            self._names.follow(choice, names)
        await self._names.first_answers()

    def stop_waiting_for_names(self) -> None:
        """Make `look_up_names` return without waiting for more answers. The queries continue."""
        self._names.stop_waiting()

    def follow_declared_names(self, choice: TargetChoice) -> None:
        """Follow exactly the names in the group's configuration."""
        self._names.follow(choice, choice.group.group.names)

    def forget_names(self, choice: TargetChoice) -> None:
        """Stop following the names of a group that never took effect."""
        self._names.forget(choice)

    def change_targets(self, choice: TargetChoice) -> None:
        """Apply a changed list of declared targets: they, and the targets of the group's names, are the members from now on."""
        self.follow_declared_names(choice)
        declared = self._names.found(choice) | {str(target): target for target in choice.group.group.fixed_targets}
        self.register(choice, declared.values())
        self.deregister(choice, [member.target for address, member in choice.group.members.items() if address not in declared])

    def remove_group(self, choice: TargetChoice) -> None:
        """Remove a group: its targets drain."""
        self._names.forget(choice)
        self.end_sessions(choice)
        self.deregister(choice, [member.target for member in choice.group.members.values()], for_good=True)

    def change_health_check(self, choice: TargetChoice, *, was_checked: bool) -> None:
        """Apply a changed health check. Members keep their states, unless checks were switched on or off."""
        if was_checked != (choice.group.group.health_check is not None):
            members = tuple(member for member in choice.group.members.values() if member.state is not TargetHealthState.DRAINING)
            self._set_initial_state(choice, members)
            for member in members:
                # They had their full share of requests before, so they need no slow start.
                member.joined_late = False
        if choice.group.group.health_check is None:
            for member in choice.group.members.values():
                member.last_check = None
        self._checker.restart(choice)

    async def closed(self) -> None:
        """Wait, within limits, for checks and queries that were in progress when it was closed."""
        await self._checker.closed()
        await self._names.closed()

    def close(self) -> None:
        """Stop the health checks, and wake everyone who waits for a target to drain."""
        self._checker.close()
        self._names.close()
        self._runtime.sweep.discard(self)
        self._runtime.sweep.discard(self._anomalies)
        # A draining target with exchanges stays in its group until the stop ends them: they look it up there.
        self._remove_drained([member for member in self._draining if not member.outstanding])
        for member in tuple(self._waiting):
            self._wake_waiters(member)

    def _remove_drained(self, members: Collection[TargetState]) -> None:
        """Remove members that have drained from their groups, with one update per group."""
        choices = {member: self._draining.pop(member) for member in members if member in self._draining}
        gone: dict[TargetChoice, list[TargetState]] = {}
        for member, choice in choices.items():
            member.on_idle = None
            choice.group.remove(member)
            gone.setdefault(choice, []).append(member)
        for choice, members_gone in gone.items():
            choice.update(members_gone)
        for member, choice in choices.items():
            self._wake_waiters(member)
            self._publish(TargetDrained(choice.group.group.name, member.target))

    def _wake_waiters(self, member: TargetState) -> None:
        """Wake everyone who waits for this member to drain."""
        for over in self._waiting.pop(member, ()):
            if not over.done():
                over.set_result(None)

    def _set_initial_state(self, choice: TargetChoice, members: Sequence[TargetState]) -> None:
        """Set the initial state of members."""
        if choice.group.group.health_check is None:
            self._set_state(choice, members, TargetHealthState.UNAVAILABLE, TargetHealthReason.HEALTH_CHECK_DISABLED)
        else:
            self._set_state(choice, members, TargetHealthState.INITIAL, TargetHealthReason.INITIAL_HEALTH_CHECKING)

    def _set_state(
        self,
        choice: TargetChoice,
        members: Sequence[TargetState],
        state: TargetHealthState,
        reason: TargetHealthReason | None,
        description: str = "",
    ) -> None:
        """Change the state of members: set all states first, then update once which may be chosen, then publish the events."""
        changed = [member for member in members if (member.state, member.reason) != (state, reason)]
        look = any(member.state is not state for member in changed)
        for member in members:
            member.state = state
            member.reason = reason
            member.description = description
        # Failures from before the recovery must not make it an anomaly now.
        if state is TargetHealthState.HEALTHY:
            for member in changed:
                self._anomalies.reset_counts(member)
        if look:
            choice.update(changed)
        for member in changed:
            self._publish(TargetStateChanged(choice.group.group.name, member.target, state, reason))


def _description(member: TargetState | None, target: Target | None = None) -> TargetHealthDescription:
    if member is None:
        if target is None:
            raise ValueError("give a member or a target")
        reason = TargetHealthReason.NOT_REGISTERED
        return TargetHealthDescription(target, TargetHealthState.UNUSED, reason, _TEXTS[reason])
    text = member.eject_reason or member.description or text_of(member.reason)
    return TargetHealthDescription(member.target, member.state, member.reason, text, _anomaly(member), member.last_check)


def _anomaly(member: TargetState) -> AnomalyDetection:
    result = AnomalyResult.ANOMALOUS if member.is_anomalous else AnomalyResult.NORMAL
    return AnomalyDetection(result, member.is_mitigated)


def text_of(reason: TargetHealthReason | None) -> str:
    """A health reason in words; empty without one."""
    return _TEXTS[reason] if reason is not None else ""

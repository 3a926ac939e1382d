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

__all__ = ("Registration", "is_mitigated")

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

    def __init__(self, runtime: Runtime, tell: Callable[[Event], None]) -> None:
        self._checker = HealthChecker(runtime, self._become)
        self._anomalies = AnomalyWatch(runtime, tell)
        self._names = NameFollower(runtime, self.register, self.deregister)
        self._runtime = runtime
        self._tell = tell
        self._draining: dict[TargetState, TargetChoice] = {}
        self._waiting: dict[TargetState, list[asyncio.Future[None]]] = {}
        runtime.sweep.add(self)
        runtime.sweep.add(self._anomalies)

    def register(self, choice: TargetChoice, targets: Iterable[Target]) -> None:
        """Send new requests to these targets, from the next one on. A draining one comes back; a known one takes the new weight."""
        new: list[Target] = []
        changed: list[TargetState] = []
        for target in targets:
            address = str(target)
            member = choice.group.members.get(address)
            if member is None:
                member = choice.group.members[address] = TargetState(target, checked=choice.group.group.health_check is not None)
                new.append(target)
                changed.append(member)
            elif self._come_back(choice, member, target):
                changed.append(member)
        # Once for all: seeing what many changes mean looks at every member.
        choice.update(changed)
        self._checker.watch(choice, changed)
        for target in new:
            self._tell(TargetRegistered(choice.group.group.name, target))

    def _come_back(self, choice: TargetChoice, member: TargetState, target: Target) -> bool:
        """A target that is known was registered again; whether more than its weight is another one."""
        before, protocol_of = member.target, choice.group.group.protocol_of
        if before is target and member.state is not TargetHealthState.DRAINING:
            return False
        if (protocol_of(before), before.server_name) != (protocol_of(target), target.server_name):
            # What was verified for another name does not serve this one.
            self._runtime.connections.outdate(member)
        member.target = target
        if member.weight != target.weight:
            choice.reweigh(member, target.weight)
        if member.state is TargetHealthState.DRAINING:
            self._draining.pop(member, None)
            member.on_idle = None
            member.keeps_sessions = False
            self._anomalies.forget(choice, member)
            for tunnel in self._runtime.tunnels if member.tunnels else ():
                if tunnel.member is member:
                    tunnel.cancel_drain()
            self._tell_waiting(member)
            self._begin(choice, (member,))
            return True
        return (before.standby, before.max_concurrency, before.route) != (target.standby, target.max_concurrency, target.route)

    def deregister(self, choice: TargetChoice, targets: Iterable[Target], *, for_good: bool = False) -> None:
        """Send no new request to these targets; what goes on may end within the deregistration delay. Unknown ones are no fault.

        Args:
            choice: Of their group.
            targets: Whom.
            for_good: Whether the group goes as well, so that no session can come any more.
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
            member.keeps_sessions = honors and member.eligible and choice.group.group.deregistration_delay > 0
            self._draining[member] = choice
            ejected += [member] if member in choice.group.ejected else []
        if ejected:
            choice.readmit(*ejected)
        for member in leaving:
            member.probation = member.ejections = member.failures_in_row = 0
        self._become(choice, tuple(leaving), TargetHealthState.DRAINING, TargetHealthReason.DEREGISTRATION_IN_PROGRESS)
        self._let_go(member for member in leaving if not member.keeps_sessions)
        self._drain_tunnels([member for member in leaving if member.tunnels])
        self._checker.watch(choice, leaving)

    def dishonor(self, choice: TargetChoice) -> None:
        """Sessions bound to draining members of the group may not come any more."""
        self._let_go([member for member, of in self._draining.items() if of is choice and member.keeps_sessions])

    def _let_go(self, members: Iterable[TargetState]) -> None:
        """From now on the members are drained as soon as nothing goes on with them."""
        idle = []
        for member in members:
            member.keeps_sessions = False
            self._runtime.connections.drop_idle(member)
            if member.outstanding:
                member.on_idle = lambda member=member: self._drained((member,))
            else:
                idle.append(member)
        self._drained(idle)

    def _drain_tunnels(self, members: Collection[TargetState]) -> None:
        """Spread the ends of these targets' tunnels evenly over the last part of their deregistration delay."""
        clock = self._runtime.clock
        leaving: dict[TargetState, list[LiveTunnel]] = {member: [] for member in members}
        for tunnel in self._runtime.tunnels if members else ():
            if tunnel.member in leaving:
                leaving[tunnel.member].append(tunnel)
        now = clock.monotonic()
        for member, tunnels in leaving.items():
            for index, tunnel in enumerate(tunnels):
                spread = min(tunnel.drain_spread, member.deadline - now)
                tunnel.drain(member.deadline - spread * (1 - (index + clock.random()) / len(tunnels)))

    async def drained(self, group: str, target: Target, timeout: float | None) -> None:
        """Return when a deregistered target's last exchange and tunnel is over, or it came back; at once where it is not draining.

        Raises:
            TimeoutError: that took longer than `timeout` seconds.
        """
        # Looked for among those that drain: their group may be gone from the description already.
        address = str(target)
        draining = self._draining.items()
        member = next((one for one, choice in draining if one.address == address and choice.group.group.name == group), None)
        if member is None:
            return
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
        """The state of every member, or of the targets given."""
        if targets is None:
            return [_description(member) for member in choice.group.members.values()]
        return [_description(choice.group.members.get(str(target)), target) for target in targets]

    def sweep(self, now: float) -> None:
        """Cut what goes on with targets whose deregistration delay is over."""
        over = [member for member in self._draining if now >= member.deadline]
        self._let_go([member for member in over if member.keeps_sessions])
        for member in over:
            for client in self._runtime.connections.bound_to(member):
                client.fail(Failure(FailureKind.DEREGISTRATION_DELAY_OVER, member.address))

    def begin(self, choice: TargetChoice) -> None:
        """Look from now on after the targets of a group: whether they are well, where that is to be asked, and how they do their work."""
        self._anomalies.watch(choice)
        self._checker.watch(choice, choice.group.members.values())

    async def look_up_names(self, groups: Iterable[tuple[TargetChoice, Collection[DnsName]]]) -> None:
        """Follow these names for these groups from now on; returns when each has been asked for once, whatever came of it."""
        for choice, names in groups:
            self._names.follow(choice, names)
        await self._names.first_answers()

    def hurry(self) -> None:
        """Whoever waits for the first answers to queries for names waits no more; they go on being asked."""
        self._names.hurry()

    def follow_declared_names(self, choice: TargetChoice) -> None:
        """Follow those of the group's description, and no others."""
        self._names.follow(choice, choice.group.group.names)

    def forget_names(self, choice: TargetChoice) -> None:
        """Follow none of the group's names any more; it was never in force."""
        self._names.forget(choice)

    def change_targets(self, choice: TargetChoice) -> None:
        """The group's declared targets have changed: they are the ones from now on, with those that its names stand for."""
        self.follow_declared_names(choice)
        declared = self._names.found(choice) | {str(target): target for target in choice.group.group.fixed_targets}
        self.register(choice, declared.values())
        self.deregister(choice, [member.target for address, member in choice.group.members.items() if address not in declared])

    def end(self, choice: TargetChoice) -> None:
        """The group goes: its targets drain."""
        self._names.forget(choice)
        self.dishonor(choice)
        self.deregister(choice, [member.target for member in choice.group.members.values()], for_good=True)

    def change_health_check(self, choice: TargetChoice, *, was_checked: bool) -> None:
        """The group's health check has changed: members keep their states where there was one and is one."""
        if was_checked != (choice.group.group.health_check is not None):
            members = tuple(member for member in choice.group.members.values() if member.state is not TargetHealthState.DRAINING)
            self._begin(choice, members)
            for member in members:
                # They had their full share of requests before, and need not begin slowly.
                member.joined_late = False
        self._checker.watch_anew(choice)

    async def closed(self) -> None:
        """Wait for the checks that were going on when it was closed, for a while."""
        await self._checker.closed()
        await self._names.closed()

    def close(self) -> None:
        """The load balancer stops: no checks any more, and whoever waits for a drain has nothing to wait for."""
        self._checker.close()
        self._names.close()
        self._runtime.sweep.discard(self)
        self._runtime.sweep.discard(self._anomalies)
        # What goes on with a draining target has the time that the stop gives it, and finds it in its group.
        self._drained([member for member in self._draining if not member.outstanding])
        for member in tuple(self._waiting):
            self._tell_waiting(member)

    def _drained(self, members: Collection[TargetState]) -> None:
        """Nothing goes on with these members any more: their groups forget them. One look at each group for all of its members."""
        choices = {member: self._draining.pop(member) for member in members if member in self._draining}
        gone: dict[TargetChoice, list[TargetState]] = {}
        for member, choice in choices.items():
            member.on_idle = None
            choice.group.remove(member)
            gone.setdefault(choice, []).append(member)
        for choice, members_gone in gone.items():
            choice.update(members_gone)
        for member, choice in choices.items():
            self._tell_waiting(member)
            self._tell(TargetDrained(choice.group.group.name, member.target))

    def _tell_waiting(self, member: TargetState) -> None:
        """The member drains no more: whoever waits for that goes on."""
        for over in self._waiting.pop(member, ()):
            if not over.done():
                over.set_result(None)

    def _begin(self, choice: TargetChoice, members: Sequence[TargetState]) -> None:
        """The state in which members begin."""
        if choice.group.group.health_check is None:
            self._become(choice, members, TargetHealthState.UNAVAILABLE, TargetHealthReason.HEALTH_CHECK_DISABLED)
        else:
            self._become(choice, members, TargetHealthState.INITIAL, TargetHealthReason.INITIAL_HEALTH_CHECKING)

    def _become(
        self,
        choice: TargetChoice,
        members: Sequence[TargetState],
        state: TargetHealthState,
        reason: TargetHealthReason | None,
        description: str = "",
    ) -> None:
        """Give members another state: all first, then one look at who may be chosen, then whoever wants to know is told."""
        changed = [member for member in members if (member.state, member.reason) != (state, reason)]
        look = any(member.state is not state for member in changed)
        for member in members:
            member.state = state
            member.reason = reason
            member.description = description
        if state is TargetHealthState.HEALTHY:
            for member in changed:
                self._anomalies.begin_anew(member)
        if look:
            choice.update(changed)
        for member in changed:
            self._tell(TargetStateChanged(choice.group.group.name, member.target, state, reason))


def _description(member: TargetState | None, target: Target | None = None) -> TargetHealthDescription:
    if member is None:
        if target is None:
            raise ValueError("neither a member nor a target")
        reason = TargetHealthReason.NOT_REGISTERED
        return TargetHealthDescription(target, TargetHealthState.UNUSED, reason, _TEXTS[reason])
    text = member.eject_reason or member.description or (_TEXTS[member.reason] if member.reason is not None else "")
    return TargetHealthDescription(member.target, member.state, member.reason, text, _anomaly(member))


def _anomaly(member: TargetState) -> AnomalyDetection:
    result = AnomalyResult.ANOMALOUS if member.is_anomalous else AnomalyResult.NORMAL
    return AnomalyDetection(result, is_mitigated(member))


def is_mitigated(member: TargetState) -> bool:
    """Whether it gets less of the requests than its weight says: its share is reduced, or it is ejected or on probation."""
    return member.share < 1.0 or member.ejected_until is not None or member.probation > 0

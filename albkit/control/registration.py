"""Registers and deregisters targets while they are in use (alb-reference 1.9, 5.7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from albkit.control.health_checker import HealthChecker
from albkit.errors import Failure, FailureKind
from albkit.model.events import Event, TargetDrained, TargetRegistered, TargetStateChanged
from albkit.model.health import TargetHealthDescription, TargetHealthReason, TargetHealthState
from albkit.model.target import Target
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.gateway import Gateway, LiveTunnel
from albkit.state.target import TargetState

__all__ = ("Registration",)

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

    def __init__(self, gateway: Gateway, tell: Callable[[Event], None]) -> None:
        self._checker = HealthChecker(gateway, self._become)
        self._gateway = gateway
        self._tell = tell
        self._draining: dict[TargetState, TargetChoice] = {}
        self._waiting: dict[TargetState, list[asyncio.Future[None]]] = {}
        gateway.sweep.add(self)

    def register(self, choice: TargetChoice, targets: Iterable[Target]) -> None:
        """Send new requests to these targets, from the next one on. A draining one comes back; a known one takes the new weight."""
        new: list[Target] = []
        for target in targets:
            address = str(target)
            member = choice.group.members.get(address)
            if member is None:
                choice.group.members[address] = TargetState(target, checked=choice.group.group.health_check is not None)
                new.append(target)
            else:
                self._come_back(choice, member, target)
        # Once for all: seeing who may be chosen looks at every member.
        choice.refresh()
        self._checker.watch(choice)
        for target in new:
            self._tell(TargetRegistered(choice.group.group.name, target))

    def _come_back(self, choice: TargetChoice, member: TargetState, target: Target) -> None:
        if choice.group.group.protocol_of(member.target) != choice.group.group.protocol_of(target):
            self._gateway.connections.drop_idle(member)
        member.target = target
        if member.weight != target.weight:
            choice.reweigh(member, target.weight)
        if member.state is TargetHealthState.DRAINING:
            self._draining.pop(member, None)
            member.on_idle = None
            for tunnel in self._gateway.tunnels:
                if tunnel.member is member:
                    tunnel.spare()
            self._tell_waiting(member)
            self._begin(choice, (member,))

    def deregister(self, choice: TargetChoice, targets: Iterable[Target]) -> None:
        """Send no new request to these targets; what goes on may end within the deregistration delay. Unknown ones are no fault."""
        leaving: dict[TargetState, None] = {}
        for target in targets:
            member = choice.group.members.get(str(target))
            if member is None or member.state is TargetHealthState.DRAINING:
                continue
            leaving[member] = None
            member.deadline = self._gateway.clock.monotonic() + choice.group.group.deregistration_delay
            self._draining[member] = choice
        self._become(choice, tuple(leaving), TargetHealthState.DRAINING, TargetHealthReason.DEREGISTRATION_IN_PROGRESS)
        for member in leaving:
            self._gateway.connections.drop_idle(member)
            if member.outstanding:
                member.on_idle = lambda member=member: self._drained(member)
            else:
                self._drained(member)
        self._drain_tunnels(leaving)
        self._checker.watch(choice)

    def _drain_tunnels(self, members: Collection[TargetState]) -> None:
        """Spread the ends of these targets' tunnels evenly over the last part of their deregistration delay."""
        clock = self._gateway.clock
        leaving: dict[TargetState, list[LiveTunnel]] = {}
        for tunnel in self._gateway.tunnels:
            if tunnel.member in members:
                leaving.setdefault(tunnel.member, []).append(tunnel)
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
        over = self._gateway.loop.create_future()
        self._waiting.setdefault(member, []).append(over)
        async with asyncio.timeout(timeout):
            await over

    def describe(self, choice: TargetChoice, targets: Iterable[Target] | None) -> list[TargetHealthDescription]:
        """The state of every member, or of the targets given."""
        if targets is None:
            return [_description(member) for member in choice.group.members.values()]
        return [_description(choice.group.members.get(str(target)), target) for target in targets]

    def sweep(self, now: float) -> None:
        """Cut what goes on with targets whose deregistration delay is over."""
        for member in [member for member in self._draining if now >= member.deadline]:
            for client in self._gateway.connections.bound_to(member):
                client.fail(Failure(FailureKind.DEREGISTRATION_DELAY_OVER, member.address))

    def begin(self, choice: TargetChoice) -> None:
        """Ask from now on whether the targets of a group are well, where it is to be asked."""
        self._checker.watch(choice)

    def change_health_check(self, choice: TargetChoice, *, was_checked: bool) -> None:
        """The group's health check has changed: members keep their states where there was one and is one."""
        if was_checked != (choice.group.group.health_check is not None):
            members = tuple(member for member in choice.group.members.values() if member.state is not TargetHealthState.DRAINING)
            self._begin(choice, members)
            for member in members:
                # They had their full share of requests before, and need not begin slowly.
                member.is_late = False
        self._checker.watch_anew(choice)

    async def closed(self) -> None:
        """Wait for the checks that were going on when it was closed, for a while."""
        await self._checker.closed()

    def close(self) -> None:
        """The load balancer stops: no checks any more, and whoever waits for a drain has nothing to wait for."""
        self._checker.close()
        self._gateway.sweep.discard(self)
        for member in tuple(self._draining):
            self._drained(member)

    def _drained(self, member: TargetState) -> None:
        choice = self._draining.pop(member, None)
        member.on_idle = None
        if choice is None:
            return
        choice.group.members.pop(member.address, None)
        choice.refresh()
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
        if look:
            choice.refresh()
        for member in changed:
            self._tell(TargetStateChanged(choice.group.group.name, member.target, state, reason))


def _description(member: TargetState | None, target: Target | None = None) -> TargetHealthDescription:
    if member is None:
        if target is None:
            raise ValueError("neither a member nor a target")
        reason = TargetHealthReason.NOT_REGISTERED
        return TargetHealthDescription(target, TargetHealthState.UNUSED, reason, _TEXTS[reason])
    text = member.description or (_TEXTS[member.reason] if member.reason is not None else "")
    return TargetHealthDescription(member.target, member.state, member.reason, text)

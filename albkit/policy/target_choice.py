"""Chooses the target of a group for each request: that of its session, otherwise by the algorithm (docs/alb.md 5.1)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from albkit.clock import Clock
from albkit.model.message import RequestHead
from albkit.policy.concurrency import Capacity, has_room
from albkit.policy.ejection import Ejector, has_enough
from albkit.policy.eligibility import GOOD, Census
from albkit.policy.guarded_algorithm import GuardedAlgorithm
from albkit.policy.protocol_versions import COMMON_PROTOCOL
from albkit.policy.slow_start import SlowStart
from albkit.policy.stickiness import Stickiness, stickiness_for
from albkit.policy.weights import drawn_by_weight
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("TargetChoice",)

_log = logging.getLogger("albkit")

_UPDATED_ONE_BY_ONE = 16
"""Up to this many changed members are updated one by one; for more, a complete refresh is cheaper."""
_TOO_MANY_TO_COMPARE = 32
"""In a group with more targets, a request that may not go to a target on probation gets a random target instead of the algorithm's next
best."""


class TargetChoice:
    """Chooses among the targets of one group, and notifies the group's algorithm of everything that happens to them.

    Args:
        group: The group.
        clock: A source of time and randomness.
    """

    __slots__ = (
        "_algorithm",
        "_bindable",
        "_binding",
        "_census",
        "_chance",
        "_clock",
        "_ejector",
        "_notifies",
        "_slow_start",
        "fits_all_of",
        "group",
        "hears_answers",
        "hears_traffic",
        "room",
        "stickiness",
    )

    def __init__(self, group: TargetGroupState, clock: Clock) -> None:
        self.group = group
        self._clock = clock
        self._chance = clock.random
        self._census = Census()
        self._slow_start = SlowStart(clock.random)
        self._ejector = Ejector(group, clock.monotonic)
        self._take_algorithm()
        self.fits_all_of = ""
        """The protocol of clients whose requests all fit the group: most requests need no other comparison than with this."""
        self._binding: Any = None
        """The setting for which `stickiness` was created."""
        self._bindable: dict[TargetState, str | None] = {}
        """The members that `stickiness` knows, with their routes; empty without stickiness."""
        self.stickiness: Stickiness | None = None
        self.room: Capacity | None = None
        """The targets that have room for one more request, if any target has a `max_concurrency`."""
        self._refresh(set())

    def refresh(self) -> None:
        """Recompute everything after a change of members, their states or the group's configuration."""
        known = set(self.group.eligible)
        if self._is_other_algorithm():
            for member in known:
                self._algorithm.left(member)
            self._take_algorithm()
            known = set()
        self._refresh(known)

    def _refresh(self, before: set[TargetState]) -> None:
        """The same for an algorithm that knows these members."""
        group = self.group
        chosen = set(group.eligible)
        self.fits_all_of = COMMON_PROTOCOL[group.group.protocol_version]
        self._refresh_stickiness()
        self._ejector.settle()
        self._slow_start.look_at_all(group.members.values(), group.group.slow_start, self._clock.monotonic())
        self._census.take(group.members.values(), group.group)
        now = set(self._census.eligible)
        # First those that leave, so that the algorithm never sees more members than there are.
        for member in chosen - now:
            member.eligible = False
            if member in before:
                self._algorithm.left(member)
        for member in self._census.eligible:
            if member not in before:
                member.eligible = True
                self._algorithm.joined(member)
        self._settle()
        self._refresh_room()

    def update(self, members: Collection[TargetState]) -> None:
        """Apply changes of these members only: the same as `refresh`, without looking at all others."""
        if len(members) > _UPDATED_ONE_BY_ONE:
            self.refresh()
            return
        group = self.group
        known = group.members
        here = [member for member in members if known.get(member.address) is member]
        gone = [member for member in members if known.get(member.address) is not member]
        self._update_stickiness(here, gone)
        self._slow_start.forget(gone)
        self._slow_start.look(here, group.group.slow_start, self._clock.monotonic())
        changed = self._census.change(here, gone, group.group)
        for member in changed:
            chosen = self._census.may_be_chosen(member)
            if chosen is not member.eligible:
                member.eligible = chosen
                (self._algorithm.joined if chosen else self._algorithm.left)(member)
        self._settle()
        if self.room is not None or any(member.target.max_concurrency is not None for member in changed):
            self._refresh_room()

    def _settle(self) -> None:
        group = self.group
        group.eligible, group.fails_open = self._census.eligible, self._census.fails_open
        self._slow_start.settle(group.eligible)
        if self.stickiness is not None:
            self.stickiness.settle(group.eligible)

    def _is_other_algorithm(self) -> bool:
        """Whether the configuration names another algorithm than the one in use."""
        setting, current = self.group.group.algorithm, self._algorithm.setting
        # Identity first: comparing algorithm objects of the program's own may call code of the program.
        return current is not setting and current != setting

    def _take_algorithm(self) -> None:
        self._algorithm = GuardedAlgorithm(self.group, self._clock)
        self._notifies = self._algorithm.notifies
        self.hears_answers = self._algorithm.hears_answers
        self.hears_traffic = self._algorithm.hears_traffic

    def _refresh_stickiness(self) -> None:
        setting = self.group.group.stickiness
        members = self.group.members.values()
        # Rebuilding stickiness costs a digest per member, so it is kept while the setting stays equal.
        if setting is None or setting != self._binding:
            self._binding = setting
            self._bindable = {member: member.target.route for member in members} if setting is not None else {}
            self.stickiness = stickiness_for(setting, self.group, self._clock)
        else:
            here = set(members)
            self._update_stickiness(members, [member for member in self._bindable if member not in here])

    def _update_stickiness(self, here: Iterable[TargetState], gone: Iterable[TargetState]) -> None:
        """Add and remove members. A cookie costs a digest per member, so it is computed when a member joins, not when its state changes."""
        stickiness, bindable = self.stickiness, self._bindable
        if stickiness is None:
            return
        for member in gone:
            if member in bindable:
                del bindable[member]
                stickiness.go(member)
        other_routes = []
        for member in here:
            if member not in bindable:
                stickiness.come(member)
            elif bindable[member] != member.target.route:
                other_routes.append(member)
            bindable[member] = member.target.route
        # Session ids contain the route, so the whole index must be rebuilt.
        if other_routes:
            self.stickiness = stickiness_for(self._binding, self.group, self._clock)

    def _refresh_room(self) -> None:
        """Track the members with room, if any member has a limit."""
        if all(member.target.max_concurrency is None for member in self.group.eligible):
            self.room, former = None, self.room
            if former is not None:
                former.freed()
            return
        if self.room is None:
            self.room = Capacity()
        self.room.settle(self.group.eligible)

    def reweigh(self, member: TargetState, weight: int) -> None:
        """Change the weight of a member."""
        member.weight = weight
        self._rejoin(member)
        if self.room is not None:
            self._refresh_room()

    def share(self, member: TargetState, share: float) -> None:
        """Change the fraction of requests that a member gets for its weight."""
        member.share = share
        self._rejoin(member)

    def _rejoin(self, member: TargetState) -> None:
        if member.eligible:
            self._algorithm.left(member)
            self._algorithm.joined(member)
            if self.stickiness is not None:
                self.stickiness.settle(self.group.eligible)

    def bound(self, request: RequestHead, now: float) -> TargetState | None:
        """Return the target that the request's session is bound to, if it can be chosen now.

        Raises:
            Failure: 500, a key function of the program failed.
        """
        if self.stickiness is None:
            return None
        member = self.stickiness.target(request, now)
        if member is None or not (member.eligible or self._serves_session(member, request)):
            return None
        # A session may wait for a recovered target, but not all sessions at once: until it has answered one request, others go elsewhere.
        return None if member.probation and self._ejector.awaits_proof(member) else member

    def _serves_session(self, member: TargetState, request: RequestHead) -> bool:
        """Whether a draining member still gets requests of its sessions.

        It gets no upgrades while its tunnels are being closed: a client that reconnects at once would only be closed again.
        """
        if not member.keeps_sessions:
            return False
        return not request.upgrade or self._clock.monotonic() < member.deadline - self.group.group.tunnel.drain_spread

    def keeps(self, member: TargetState) -> bool:
        """Whether the member may get the same request a second time: it is still in the group, and the first attempt did not eject it."""
        return member.ejected_until is None and self.group.members.get(member.address) is member

    @property
    def is_full(self) -> bool:
        """Whether there are targets, but none has room for a request that has not waited."""
        room = self.room
        return room is not None and bool(self.group.eligible) and (room.is_awaited or not len(room))

    def pick(self, request: RequestHead, *, in_turn: bool = False) -> TargetState | None:
        """Return a target for a request without a session; `None` if there is none, or none with room.

        Args:
            request: The request.
            in_turn: Whether it has waited for room; while others wait, new requests get none.

        Raises:
            Failure: 500, an algorithm of the program failed.
        """
        # Requests that wait are served first, so a new one must not take the room that was freed for them.
        if self.room is not None and self.room.is_awaited and not in_turn:
            return None
        member = self._algorithm.choose(self.group.eligible, request)
        if member is None:
            return None
        # Slow start and probation may replace the algorithm's choice. `is not None` first: most targets are in neither state.
        if member.slow_since is not None:
            member = self._slow_start.ease(member, self.group, self._clock.monotonic())
        if member.probation and has_enough(member):
            other = self._substitute_for(member, request)
            if not other.eligible:
                return other
            member = other
        return member if self.room is None else self.room.for_one_more(member)

    def _substitute_for(self, member: TargetState, request: RequestHead) -> TargetState:
        """Return the target for a request whose chosen target is on probation and already has its one request."""
        other = self._slow_start.stand_in() if len(self.group.eligible) > _TOO_MANY_TO_COMPARE else None
        return other or self.pick_other((member,), request) or member

    def peek(self, request: RequestHead) -> TargetState | None:
        """Return the target that `pick` would return now, apart from random choices. It does not advance any rotation."""
        return self._algorithm.peek(self.group.eligible, request)

    def pick_other(self, tried: Collection[TargetState], request: RequestHead, *, last: bool = False) -> TargetState | None:
        """Return a target that was not tried yet, and has room; `None` if there is none.

        The order is: targets in use without recent failures, standby targets, the other targets in use.

        Args:
            tried: The targets that have failed this request.
            request: The request.
            last: Whether this is its last attempt. Then standby targets come first, because more targets than those tried may be failing.

        Raises:
            Failure: 500, an algorithm of the program failed.
        """
        untried = self._in_use(tried)
        sound = [member for member in untried if not (member.failures_in_row or member.probation)]
        if sound and not last:
            return self._choose_among(sound, request)
        standby = drawn_by_weight(self._standbys(tried), self._chance)
        if standby is not None:
            return standby
        return self._choose_among(sound or [member for member in untried if not has_enough(member)] or untried, request)

    def pick_in_use(self, passed: Collection[TargetState], request: RequestHead) -> TargetState | None:
        """Return a target in use that is none of these, and has room; `None` if there is none.

        Raises:
            Failure: 500, an algorithm of the program failed.
        """
        others = self._in_use(passed)
        return self._choose_among([member for member in others if not has_enough(member)] or others, request)

    def pick_ejected(self, tried: Collection[TargetState]) -> TargetState | None:
        """Return an ejected target that was not tried yet, because it may have recovered. It gets one request at a time, so that at most
        one waits for it."""
        idle = [one for one in self.group.ejected if one not in tried and one.state in GOOD and one.outstanding == one.tunnels]
        return drawn_by_weight(idle, self._chance)

    def _in_use(self, but: Collection[TargetState]) -> list[TargetState]:
        """The eligible targets with room, except these; of weight 0 only if all are."""
        room = self.room
        others = [member for member in self.group.eligible if member not in but and (room is None or room.has(member))]
        return [member for member in others if member.weight] or others

    def _standbys(self, but: Collection[TargetState]) -> list[TargetState]:
        """The standby targets that could replace the targets in use, except these."""
        return [
            member
            for member in self.group.members.values()
            if member.target.standby
            and not member.eligible
            and member.state in GOOD
            and member.ejected_until is None
            and member not in but
            and has_room(member)
        ]

    def _choose_among(self, members: Sequence[TargetState], request: RequestHead) -> TargetState | None:
        """Let the algorithm choose among some of the eligible targets."""
        member = self._algorithm.choose(members, request) if members else None
        if member is not None and member not in members:
            raise self._algorithm.no_candidate(member)
        return member

    def started(self, member: TargetState, tunnel: bool = False) -> None:
        """A request is sent to the member. Each call needs one call of `finished`, with the same `tunnel`.

        Args:
            member: The target.
            tunnel: Whether the request asks for an upgrade, so that it counts as a tunnel too.
        """
        member.outstanding += 1
        if tunnel:
            member.tunnels += 1
        if self._notifies:
            self._algorithm.started(member)
        if self.room is not None:
            self.room.began(member)

    def answered(self, member: TargetState, status: int, epoch: int) -> None:
        """Count a response head from the member, for a request of this epoch."""
        member.requests += 1
        if status >= 500:
            member.errors += 1
        if member.failures_in_row and member.epoch == epoch:
            member.failures_in_row = 0
            if member.ejected_until is not None:
                self._ejector.shorten(member)
        if member.probation and member.epoch == epoch:
            self._prove(member, status)

    def took(self, member: TargetState, seconds: float) -> None:
        """Pass the response time to an algorithm that measures it."""
        self._algorithm.answered(member, seconds)

    def transferred(self, member: TargetState, count: int) -> None:
        """Pass the number of bytes to an algorithm that measures it."""
        self._algorithm.transferred(member, count)

    def _prove(self, member: TargetState, status: int) -> None:
        if self._ejector.answered(member, status):
            self.eject(member, f"it answered {status} during its probation")
        elif not member.probation:
            self._slow_start.settle(self.group.eligible)

    def failed(self, member: TargetState, epoch: int, unconnected: str = "") -> None:
        """Count a request of this epoch that the member has failed.

        Args:
            member: The member.
            epoch: The epoch in which the request was sent.
            unconnected: Why the connection failed; empty if there was a connection.
        """
        member.requests += 1
        member.errors += 1
        if member.epoch != epoch:
            # The request was sent before the member was ejected, so it says nothing about the member's condition now.
            return
        member.failures_in_row += 1
        why = self._ejector.reason(member, unconnected)
        if why:
            self.eject(member, why)
        elif member.probation and not unconnected:
            # It was ejected for failed connections, and this connection succeeded.
            self._prove(member, 0)

    def eject(self, member: TargetState, why: str) -> None:
        """Eject the member for a while, if the group's settings allow it."""
        seconds = self._ejector.eject(member, why)
        if seconds:
            self.update((member,))
            self.group.on_ejected(member, seconds, why)

    def readmit(self, *members: TargetState) -> None:
        """Send requests to ejected members again, one at a time at first."""
        for member in members:
            self._ejector.readmit(member)
        self.update(members)

    def upgrade_refused(self, member: TargetState) -> None:
        """The member answered a request that was started as a tunnel with another status than 101: from now on it is a plain request."""
        member.tunnels -= 1

    def finished(self, member: TargetState, tunnel: bool = False) -> None:
        """A request to the member is over, and the tunnel if it was one."""
        member.outstanding -= 1
        if tunnel:
            member.tunnels -= 1
        if self._notifies:
            self._algorithm.finished(member)
        if self.room is not None:
            self.room.ended(member)
        # Last: it removes a drained member from the group.
        if member.on_idle is not None and not member.outstanding:
            member.on_idle()

"""Which target of a group gets a request: its session's, else the algorithm's (docs/alb.md 5.1)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from copy import copy
from typing import Any

from albkit.clock import Clock
from albkit.errors import Failure, FailureKind, name_of, told
from albkit.model.message import RequestHead
from albkit.policy.algorithms import algorithm_for, counts_requests
from albkit.policy.concurrency import Capacity, has_room
from albkit.policy.ejection import Ejector, has_enough
from albkit.policy.eligibility import GOOD, Census
from albkit.policy.slow_start import SlowStart
from albkit.policy.stickiness import Stickiness, stickiness_for
from albkit.policy.weights import drawn_by_weight
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("TargetChoice",)

_log = logging.getLogger("albkit")

_FEW = 16
"""So many changed members are looked at one by one; for more it is cheaper to look at all."""
_MANY = 32
"""Among more targets than these nobody looks for the best one for a request that a target on probation is not to get."""


class TargetChoice:
    """Picks among the targets of one group, and keeps its algorithm told of what happens to them.

    Args:
        group: Whose.
        clock: Time and chance.
    """

    __slots__ = (
        "_algorithm",
        "_bindable",
        "_binding",
        "_census",
        "_chance",
        "_choose_for",
        "_clock",
        "_ejector",
        "_setting",
        "_slow_start",
        "_tells",
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
        self._setting: Any = None
        self._binding: Any = None
        """The setting that `stickiness` was made for."""
        self._bindable: dict[TargetState, str | None] = {}
        """The members that it knows, and the routes by which it does; empty where there is no stickiness."""
        self.stickiness: Stickiness | None = None
        self.room: Capacity | None = None
        """Who has room for one more request, where a target says how many it takes."""
        self.refresh()

    def refresh(self) -> None:
        """Members, their states or the group's description have changed: see who may be chosen now."""
        group = self.group
        before = chosen = set(group.eligible)
        if self._is_other_algorithm():
            for member in chosen:
                self._tell(self._algorithm.left, member)
            self._take_algorithm()
            before = set()
        self._refresh_stickiness()
        self._ejector.settle()
        self._slow_start.look_at_all(group.members.values(), group.group.slow_start, self._clock.monotonic())
        self._census.take(group.members.values(), group.group)
        now = set(self._census.eligible)
        for member in chosen - now:
            member.eligible = False
            if member in before:
                self._tell(self._algorithm.left, member)
        for member in self._census.eligible:
            if member not in before:
                member.eligible = True
                self._tell(self._algorithm.joined, member)
        self._settle()
        self._refresh_room()

    def update(self, members: Collection[TargetState]) -> None:
        """These members have come, gone or changed, and nothing else has: the same as `refresh`, without looking at all others."""
        if len(members) > _FEW:
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
                self._tell(self._algorithm.joined if chosen else self._algorithm.left, member)
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
        """Whether the group's description names another algorithm than the one that is asked."""
        setting = self.group.group.algorithm
        return self._setting is not setting and self._setting != setting

    def _take_algorithm(self) -> None:
        setting = self._setting = self.group.group.algorithm
        self._algorithm = algorithm_for(setting, self._clock)
        self._choose_for: Callable[..., TargetState | None] | None = getattr(self._algorithm, "choose_for", None)
        self._tells = counts_requests(self._algorithm)
        """Whether it wants to know of every request; those that count nothing need not be told."""
        self.hears_answers = callable(getattr(self._algorithm, "answered", None))
        self.hears_traffic = callable(getattr(self._algorithm, "transferred", None))

    def _refresh_stickiness(self) -> None:
        setting = self.group.group.stickiness
        members = self.group.members.values()
        if setting is None or setting != self._binding:
            self._binding = setting
            self._bindable = {member: member.target.route for member in members} if setting is not None else {}
            self.stickiness = stickiness_for(setting, self.group, self._clock)
        else:
            here = set(members)
            self._update_stickiness(members, [member for member in self._bindable if member not in here])

    def _update_stickiness(self, here: Iterable[TargetState], gone: Iterable[TargetState]) -> None:
        """A cookie for each member costs a digest: made only for who has come, not when one has changed its state."""
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
        if other_routes:
            self.stickiness = stickiness_for(self._binding, self.group, self._clock)

    def _refresh_room(self) -> None:
        """See to it that limits on requests are kept, where there are any."""
        if all(member.target.max_concurrency is None for member in self.group.eligible):
            self.room, former = None, self.room
            if former is not None:
                former.freed()
            return
        if self.room is None:
            self.room = Capacity()
        self.room.settle(self.group.eligible)

    def reweigh(self, member: TargetState, weight: int) -> None:
        """Give a member another weight."""
        member.weight = weight
        self._rejoin(member)
        if self.room is not None:
            self._refresh_room()

    def share(self, member: TargetState, share: float) -> None:
        """Give a member so much of the requests that its weight stands for."""
        member.share = share
        self._rejoin(member)

    def _rejoin(self, member: TargetState) -> None:
        if member.eligible:
            self._tell(self._algorithm.left, member)
            self._tell(self._algorithm.joined, member)
            if self.stickiness is not None:
                self.stickiness.settle(self.group.eligible)

    def bound(self, request: RequestHead, now: float) -> TargetState | None:
        """The target that the request's session is bound to, where it may be chosen now.

        Raises:
            Failure: 500, a key of the program's own failed.
        """
        if self.stickiness is None:
            return None
        member = self.stickiness.target(request, now)
        if member is None or not (member.eligible or self._honors(member, request)):
            return None
        return None if member.probation and self._ejector.awaits_proof(member) else member

    def _honors(self, member: TargetState, request: RequestHead) -> bool:
        """Whether a draining member still takes requests of its sessions.

        No upgrades while its tunnels are being closed: a client whose tunnel was closed would come back at once, to be closed again.
        """
        if not member.keeps_sessions:
            return False
        return not request.upgrade or self._clock.monotonic() < member.deadline - self.group.group.tunnel.drain_spread

    def keeps(self, member: TargetState) -> bool:
        """Whether the member may be asked a second time: it is in the group still, and was not ejected by the first."""
        return member.ejected_until is None and self.group.members.get(member.address) is member

    @property
    def is_full(self) -> bool:
        """Whether there are targets, and none of them has room for a request that has not waited."""
        room = self.room
        return room is not None and bool(self.group.eligible) and (room.is_awaited or not len(room))

    def pick(self, request: RequestHead, *, in_turn: bool = False) -> TargetState | None:
        """A target for a request that no session binds; `None` when there is none, or none with room.

        Args:
            request: Whose.
            in_turn: Whether it has waited for room; others get none while some wait.

        Raises:
            Failure: 500, an algorithm of the program's own failed.
        """
        if self.room is not None and self.room.is_awaited and not in_turn:
            return None
        member = self._choose(self.group.eligible, request)
        if member is None:
            return None
        if member.slow_since is not None:
            member = self._slow_start.ease(member, self.group, self._clock.monotonic())
        if member.probation and has_enough(member):
            other = self._instead_of(member, request)
            if not other.eligible:
                return other
            member = other
        return member if self.room is None else self.room.for_one_more(member)

    def _instead_of(self, member: TargetState, request: RequestHead) -> TargetState:
        """Who gets a request for which the algorithm chose a member on probation that has its one request."""
        other = self._slow_start.stand_in() if len(self.group.eligible) > _MANY else None
        return other or self.pick_other((member,), request) or member

    def peek(self, request: RequestHead) -> TargetState | None:
        """The target that `pick` would give now, as far as it is no matter of chance; takes no turn."""
        algorithm = copy(self._algorithm)
        if self._choose_for is not None:
            return self._checked(algorithm.choose_for(request, self.group.eligible, self._chance))
        return self._checked(algorithm.choose(self.group.eligible, self._chance))

    def pick_other(self, tried: Collection[TargetState], request: RequestHead, *, last: bool = False) -> TargetState | None:
        """A target that was not tried yet, and has room; `None` when there is none.

        First come those in use of which nothing bad is known, then standbys, then the others in use.

        Args:
            tried: By this request, in vain.
            request: Whose.
            last: Whether this is its last try: then standbys come first, for those that were tried may not be the only ones that fail.

        Raises:
            Failure: 500, an algorithm of the program's own failed.
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
        """A target in use that is none of these, and has room; `None` when there is none.

        Raises:
            Failure: 500, an algorithm of the program's own failed.
        """
        others = self._in_use(passed)
        return self._choose_among([member for member in others if not has_enough(member)] or others, request)

    def pick_ejected(self, tried: Collection[TargetState]) -> TargetState | None:
        """An ejected target that was not tried yet: it may be well again. One request at a time, so that no more than one waits for it."""
        idle = [one for one in self.group.ejected if one not in tried and one.state in GOOD and one.outstanding == one.tunnels]
        return drawn_by_weight(idle, self._chance)

    def _in_use(self, but: Collection[TargetState]) -> list[TargetState]:
        """Who may be chosen and has room, but for these; of weight 0 only where all are."""
        room = self.room
        others = [member for member in self.group.eligible if member not in but and (room is None or room.has(member))]
        return [member for member in others if member.weight] or others

    def _standbys(self, but: Collection[TargetState]) -> list[TargetState]:
        """Who waits for the targets in use to fail, but for these."""
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
        """One of some of those that may be chosen."""
        member = self._choose(members, request) if members else None
        if member is not None and member not in members:
            raise self._no_candidate(member)
        return member

    def started(self, member: TargetState) -> None:
        """A request goes to the member."""
        member.outstanding += 1
        if self._tells:
            self._tell(self._algorithm.started, member)
        if self.room is not None:
            self.room.began(member)

    def answered(self, member: TargetState, status: int, epoch: int) -> None:
        """The head of a response has come from the member, for a request that was sent in this epoch of its."""
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
        """So long; for an algorithm that hears of it."""
        self._let_hear("answered", member, seconds)

    def transferred(self, member: TargetState, count: int) -> None:
        """So many bytes went through; for an algorithm that hears of it."""
        self._let_hear("transferred", member, count)

    def _prove(self, member: TargetState, status: int) -> None:
        if self._ejector.answered(member, status):
            self.eject(member, f"on probation it answered {status}")
        elif not member.probation:
            self._slow_start.settle(self.group.eligible)

    def failed(self, member: TargetState, epoch: int, unconnected: str = "") -> None:
        """The member did not answer a request of this epoch of its, and it is the one to blame.

        Args:
            member: The member.
            epoch: Of the request.
            unconnected: Why no connection came about; empty where one did.
        """
        member.requests += 1
        member.errors += 1
        if member.epoch != epoch:
            # It was sent before the member was ejected, and tells nothing of how it does now.
            return
        member.failures_in_row += 1
        why = self._ejector.reason(member, unconnected)
        if why:
            self.eject(member, why)
        elif member.probation and not unconnected:
            # Its connections were bad, and this one was not.
            self._prove(member, 0)

    def eject(self, member: TargetState, why: str) -> None:
        """Send no new requests to the member for a while, where the group lets that happen."""
        seconds = self._ejector.eject(member, why)
        if seconds:
            self.update((member,))
            self.group.on_ejected(member, seconds, why)

    def readmit(self, *members: TargetState) -> None:
        """Send requests to ejected members again, one at a time at first."""
        for member in members:
            self._ejector.readmit(member)
        self.update(members)

    def finished(self, member: TargetState) -> None:
        """A request to the member is over."""
        member.outstanding -= 1
        if self._tells:
            self._tell(self._algorithm.finished, member)
        if self.room is not None:
            self.room.ended(member)
        if member.on_idle is not None and not member.outstanding:
            member.on_idle()

    def _choose(self, candidates: Sequence[TargetState], request: RequestHead) -> TargetState | None:
        try:
            if self._choose_for is not None:
                member = self._choose_for(request, candidates, self._chance)
            else:
                member = self._algorithm.choose(candidates, self._chance)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - an algorithm of the program's own may raise anything
            _log.exception("the algorithm of group %s failed in choose", self.group.group.name)
            raise Failure(FailureKind.HOOK_FAILED, f"the algorithm of group {self.group.group.name}: {told(error)}") from None
        return self._checked(member)

    def _checked(self, member: Any) -> TargetState | None:
        # By its type: what an object of the program's own says that it is may be anything, or raise.
        if member is None or (issubclass(type(member), TargetState) and member.eligible):
            return member  # type: ignore[no-any-return]
        raise self._no_candidate(member)

    def _no_candidate(self, chosen: object) -> Failure:
        return Failure(
            FailureKind.HOOK_FAILED, f"the algorithm of group {self.group.group.name} chose {told(chosen)}, which is no candidate"
        )

    def _let_hear(self, name: str, member: TargetState, figure: float) -> None:
        """Call a method that an algorithm may have; since the request began another one may have taken its place."""
        try:
            method = getattr(self._algorithm, name, None)
            if method is not None:
                method(member, figure)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - as in `_tell`
            _log.exception("the algorithm of group %s failed in %s", self.group.group.name, name)

    def _tell(self, method: Callable[[TargetState], None], member: TargetState) -> None:
        try:
            method(member)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - an algorithm of the user's own must not break the exchange that it is only told of
            _log.exception("the algorithm of group %s failed in %s", self.group.group.name, name_of(method).rpartition(".")[2])

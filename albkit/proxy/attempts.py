"""The retry loop: one attempt after the other, each at a target of one group, until a target answers.

HTTP requests (`forward`) and connections of TCP and TLS listeners (`tunnel.layer4`) are different things to attempt, and have everything
else in common: admission, the counts of the target, retries, and the choice of the next target.
"""

from __future__ import annotations

from typing import Protocol

from albkit.errors import Failure, FailureKind, Phase
from albkit.model.message import RequestHead
from albkit.model.tunnel import TunnelPolicy
from albkit.policy.failover import MOST_ATTEMPTS, deposit, may_try_again
from albkit.policy.target_choice import TargetChoice
from albkit.state.record import ExchangeRecord
from albkit.state.target import TargetState

__all__ = ("Forwarded", "find_room", "first_answer")


class Forwarded(Protocol):
    """Something that one target has to answer."""

    request: RequestHead
    choice: TargetChoice
    """Chooses among the targets of the group."""
    policy: TunnelPolicy
    """Bounds the tunnels per target, if the request asks for an upgrade."""

    @property
    def is_repeatable(self) -> bool:
        """Whether another attempt can send everything that was sent so far."""

    async def attempt(self, member: TargetState, record: ExchangeRecord, is_retry: bool) -> int:
        """Try one target, and note the times of what happens in the record.

        Returns:
            The status of its response; 101 for a tunnel.

        Raises:
            Failure: the target did not answer, or the client left. The connection is closed then.
        """


def find_room(request: RequestHead, choice: TargetChoice, member: TargetState, policy: TunnelPolicy, *, bound: bool) -> TargetState:
    """A target with room for one more tunnel: the one that was picked, or another.

    Raises:
        Failure: 503, no target has room, or the one that the client's session is bound to has none.
    """
    if policy.max_tunnels is None or member.tunnels < policy.max_tunnels:
        return member
    other = None if bound else choice.pick_in_use(_full_of_tunnels(choice, policy), request)
    if other is None:
        raise Failure(FailureKind.NO_ROOM_FOR_TUNNEL, member.address if bound else choice.group.group.name)
    return other


async def first_answer(forwarded: Forwarded, member: TargetState, record: ExchangeRecord, bound: bool) -> TargetState:
    """Try the target, and if it fails others, until one answers.

    On return, one outstanding request is counted on the target that answered, and one tunnel if the status is 101: end both with
    `TargetChoice.finished`. On failure nothing is left behind.

    Args:
        forwarded: The request.
        member: The first target to try.
        record: Gets the attempts, and the target of the last one.
        bound: Whether the client's session is bound to `member`.

    Raises:
        Failure: of the last attempt.
    """
    request, choice = forwarded.request, forwarded.choice
    wants_tunnel = bool(request.upgrade)
    # Every request earns its group a retry, even if it will not need one itself.
    deposit(choice.group)
    tried: list[TargetState] = []
    while True:
        record.attempts += 1
        record.target = member
        # An ejection during the attempt starts a new epoch: the outcome then says nothing about the target's present state.
        epoch = member.epoch
        # A tunnel counts before the target answers, so that many upgrades at once cannot exceed the limit.
        choice.started(member, wants_tunnel)
        try:
            status = await forwarded.attempt(member, record, bool(tried))
        except BaseException as error:
            choice.finished(member, wants_tunnel)
            if not isinstance(error, Failure):
                raise
            record.attempt_failed(member, error)
            _note_failure(error, choice, member, epoch)
            if not may_try_again(choice.group, error.kind, request.method, record.attempts, body_kept=forwarded.is_repeatable):
                raise
            tried.append(member)
            following = _next_target(forwarded, tried, error, bound=bound)
            if following is None:
                raise
            member = following
            member.counters.retried()
        else:
            if wants_tunnel and status != 101:
                choice.upgrade_refused(member)
            choice.answered(member, status, epoch)
            return member


def _note_failure(failure: Failure, choice: TargetChoice, member: TargetState, epoch: int) -> None:
    """Count a failed attempt, and count it against the target if the failure says something about it."""
    kind = failure.kind
    if failure.blames_target:
        choice.failed(member, epoch, kind.sentence if kind.phase is Phase.CONNECT else "")
    if kind.phase is Phase.CONNECT:
        member.counters.connection_failed(in_tls=kind in (FailureKind.TARGET_TLS_FAILED, FailureKind.TARGET_TLS_TIMEOUT))


def _next_target(forwarded: Forwarded, tried: list[TargetState], failure: Failure, *, bound: bool) -> TargetState | None:
    """The target of the next attempt; `None` if there is none.

    In this order: the target of the client's session once more; a target that was not tried; an ejected one, if the last one could not be
    connected to; the latest of those tried that is still in use.
    """
    request, choice = forwarded.request, forwarded.choice
    could_connect = failure.kind.phase is not Phase.CONNECT
    if bound and len(tried) == 1 and could_connect and choice.keeps(tried[0]):
        # Another target does not know the session, and a new connection to this one may work.
        return tried[0]
    passed = {*tried, *_full_of_tunnels(choice, forwarded.policy)} if request.upgrade else set(tried)
    # On the last attempt standby targets come first.
    other = choice.pick_other(passed, request, last=len(tried) == MOST_ATTEMPTS - 1)
    if other is None and not could_connect:
        other = choice.pick_ejected(passed)
    return other or next((member for member in reversed(tried) if choice.keeps(member)), None)


def _full_of_tunnels(choice: TargetChoice, policy: TunnelPolicy) -> set[TargetState]:
    """The targets that have as many tunnels as they may have."""
    most = policy.max_tunnels
    return set() if most is None else {member for member in choice.group.members.values() if member.tunnels >= most}

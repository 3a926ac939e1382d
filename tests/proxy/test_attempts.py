"""The retry loop: what is counted against a target, and that counts of requests and tunnels come in pairs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import albkit as alb
from albkit.errors import Failure, FailureKind, Phase, Retry, Side
from albkit.model.message import ClientAddress
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.attempts import find_room, first_answer
from albkit.state.record import ExchangeRecord
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState
from tests.policy.requests import request_for
from tests.support.clock import FakeClock
from tests.support.gateway import running
from tests.support.peers import Conversation, request, response, target


class Fake:
    """A request whose attempts end as the test says: with a status, or an exception."""

    def __init__(self, *ends: int | BaseException, upgrade: bytes = b"", method: str = "GET", targets: int = 3) -> None:
        group = alb.TargetGroup("group", [f"192.0.2.{number}:80" for number in range(1, targets + 1)])
        self.choice = TargetChoice(TargetGroupState(group), FakeClock())
        self.members = list(self.choice.group.members.values())
        self.request = request_for(method=method)
        self.request.upgrade = upgrade
        self.policy = group.tunnel
        self.is_repeatable = True
        self.record = ExchangeRecord(ClientAddress("192.0.2.99", 40000))
        self.tried: list[TargetState] = []
        self.during: list[tuple[int, int]] = []
        self._ends = list(ends)

    async def attempt(self, member: TargetState, record: ExchangeRecord, is_retry: bool) -> int:
        assert is_retry is bool(self.tried)
        assert (record, record.target) == (self.record, member)
        self.tried.append(member)
        self.during.append((member.outstanding, member.tunnels))
        await asyncio.sleep(0)
        end = self._ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return end

    async def run(self, *, bound: bool = False) -> TargetState:
        return await first_answer(self, self.members[0], self.record, bound)

    @property
    def books(self) -> list[tuple[int, int]]:
        """Outstanding requests and tunnels of each target."""
        return [(member.outstanding, member.tunnels) for member in self.members]


def failed(kind: FailureKind, *, stale: bool = False) -> Failure:
    failure = Failure(kind)
    failure.is_stale = stale
    return failure


# What counts against a target.

BLAMELESS = (FailureKind.TARGET_REFUSED_STREAM, FailureKind.TARGET_WITHOUT_WEBSOCKETS, FailureKind.RESPONSE_NOT_SWITCHED)
"""Any target may end a connection in good order, and a client can ask any target for a WebSocket."""


@pytest.mark.parametrize("verdict", Retry)
@pytest.mark.parametrize("kind", FailureKind, ids=lambda kind: kind.name)
async def test_failure_counts_against_its_target_whether_or_not_it_may_be_retried(
    kind: FailureKind, verdict: Retry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two facts: another retry verdict for a kind changes what is sent again, and never what is counted."""
    monkeypatch.setattr(kind, "retry", verdict)
    it = Fake(failed(kind), 200, targets=1)
    if verdict is Retry.NEVER:
        with pytest.raises(Failure):
            await it.run()
    else:
        await it.run()
    (member,) = it.members
    assert len(it.tried) == (1 if verdict is Retry.NEVER else 2)
    assert member.errors == (kind.side is Side.TARGET and kind not in BLAMELESS)


@pytest.mark.parametrize("verdict", Retry)
@pytest.mark.parametrize("kind", FailureKind, ids=lambda kind: kind.name)
async def test_stale_connection_counts_against_no_target(kind: FailureKind, verdict: Retry, monkeypatch: pytest.MonkeyPatch) -> None:
    """That a connection was stale is known to the connection alone: no kind makes a failure stale, and no verdict."""
    monkeypatch.setattr(kind, "retry", verdict)
    it = Fake(failed(kind, stale=True), 200, targets=1)
    if verdict is Retry.NEVER:
        with pytest.raises(Failure):
            await it.run()
    else:
        await it.run()
    assert it.members[0].errors == 0


async def test_silent_target_is_counted_over_a_kept_connection_even_if_a_504_may_be_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """As over a new one: ejection and anomaly detection would see nothing of it otherwise."""
    monkeypatch.setattr(FailureKind.TARGET_TIMEOUT, "retry", Retry.IF_IDEMPOTENT)

    async def answers_once(conversation: Conversation) -> None:
        await conversation.request()
        conversation.send(response())
        await conversation.request()
        await conversation.read_to_end()

    async with target(answers_once) as origin, running(origin.address, idle_timeout=0.3) as it:
        client = await it.client()
        assert (await client.get()).status == 200
        client.send(request("POST", "/", "Content-Length: 0"))
        assert (await client.response()).status == 504
        assert len(origin.conversations) == 1, "the 504 came over the connection that was kept"
        (member,) = it.runtime.registry.groups[0].members.values()
        assert (member.errors, member.failures_in_row) == (1, 1)


# Books.

_UPGRADE = b"websocket"


@pytest.mark.parametrize(
    ("ends", "upgrade", "left"),
    [
        ((200,), b"", (1, 0)),
        ((500,), b"", (1, 0)),
        ((101,), _UPGRADE, (1, 1)),
        ((200,), _UPGRADE, (1, 0)),
        ((failed(FailureKind.TARGET_CLOSED), 101), _UPGRADE, (1, 1)),
        ((failed(FailureKind.TARGET_CLOSED), failed(FailureKind.TARGET_CLOSED), 403), _UPGRADE, (1, 0)),
    ],
)
async def test_answer_leaves_one_request_counted_on_its_target(ends: Any, upgrade: bytes, left: tuple[int, int]) -> None:
    """And a tunnel only behind a 101. What `finished` gives back are the last ones."""
    it = Fake(*ends, upgrade=upgrade)
    member = await it.run()
    assert set(it.during) == {(1, 1) if upgrade else (1, 0)}, "a tunnel counts before it is answered"
    assert (member.outstanding, member.tunnels) == left
    assert sum(outstanding for outstanding, _ in it.books) == 1
    it.choice.finished(member, tunnel=bool(left[1]))
    assert it.books == [(0, 0)] * 3


@pytest.mark.parametrize("upgrade", [b"", _UPGRADE])
@pytest.mark.parametrize("error", [failed(FailureKind.CLIENT_CLOSED), asyncio.CancelledError(), KeyError("a bug")], ids=repr)
async def test_attempt_that_ends_in_any_other_way_leaves_nothing(error: BaseException, upgrade: bytes) -> None:
    """Failure, cancellation or bug."""
    it = Fake(error, upgrade=upgrade)
    with pytest.raises(type(error)):
        await it.run()
    assert it.books == [(0, 0)] * 3
    assert len(it.tried) == 1


# Where the next attempt goes.


async def test_every_attempt_goes_to_another_target() -> None:
    """Three at the most; the record keeps those that failed."""
    it = Fake(*(failed(FailureKind.TARGET_CONNECTION_REFUSED) for _ in range(3)))
    with pytest.raises(Failure):
        await it.run()
    assert set(it.tried) == set(it.members)
    assert it.record.attempts == 3
    assert [member for member, _ in it.record.failed_attempts or ()] == it.tried
    assert it.record.target is it.tried[-1]


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind.retry is not Retry.NEVER], ids=lambda kind: kind.name)
async def test_target_of_a_session_is_tried_once_more_if_it_could_be_connected_to(kind: FailureKind) -> None:
    """Another target does not know the session."""
    it = Fake(failed(kind), 200)
    await it.run(bound=True)
    assert (it.tried[0] is it.tried[1]) is (kind.phase is not Phase.CONNECT)


async def test_upgrade_is_not_sent_again_to_a_target_that_is_full_of_tunnels() -> None:
    """The limit holds for retries too."""
    it = Fake(failed(FailureKind.TARGET_CONNECTION_REFUSED), 101, upgrade=_UPGRADE)
    it.policy = alb.TunnelPolicy(max_tunnels=1)
    it.choice.started(it.members[1], tunnel=True)
    assert await it.run() is it.members[2]


def test_room_for_a_tunnel_is_found_elsewhere_unless_a_session_binds() -> None:
    """A session's target that is full is a 503: no other one knows the session."""
    it = Fake(upgrade=_UPGRADE)
    first = it.members[0]
    policy = alb.TunnelPolicy(max_tunnels=1)
    assert find_room(it.request, it.choice, first, policy, bound=False) is first
    it.choice.started(first, tunnel=True)
    assert find_room(it.request, it.choice, first, policy, bound=False) in it.members[1:]
    with pytest.raises(Failure) as caught:
        find_room(it.request, it.choice, first, policy, bound=True)
    assert caught.value.kind is FailureKind.NO_ROOM_FOR_TUNNEL
    for member in it.members[1:]:
        it.choice.started(member, tunnel=True)
    with pytest.raises(Failure):
        find_room(it.request, it.choice, first, policy, bound=False)

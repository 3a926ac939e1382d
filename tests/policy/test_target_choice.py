from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs
import pytest

import albkit as alb
from albkit.model.health import TargetHealthState
from albkit.model.message import ResponseHead
from albkit.policy.target_choice import TargetChoice
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState
from tests.policy.requests import request_for
from tests.support.clock import FakeClock

_NOW = 1_790_000_000.0
_REQUEST = request_for()


def _choice(count: int, stickiness: alb.LbCookie | None = None) -> TargetChoice:
    targets = [f"t{number}:80" for number in range(count)]
    return TargetChoice(TargetGroupState(alb.TargetGroup("api", targets, stickiness=stickiness)), FakeClock(_first()))


def _first() -> Callable[[], float]:
    """Where an algorithm begins is a matter of chance, here with the first target; nothing else is. Once, and for one that follows it."""
    return iter((0.0, 0.0)).__next__


def _members(choice: TargetChoice) -> list[TargetState]:
    return list(choice.group.members.values())


def _cookie_for(choice: TargetChoice, member: TargetState) -> bytes:
    assert choice.stickiness is not None
    return choice.stickiness.fields(member, _REQUEST, ResponseHead(), _NOW).removeprefix(b"Set-Cookie: ").partition(b";")[0]


def test_target_choice_picks_round_robin() -> None:
    """Without a session the algorithm decides."""
    choice = _choice(3)
    picks = [choice.pick(_REQUEST) for _ in range(6)]
    assert [member.address for member in picks if member] == ["t0:80", "t1:80", "t2:80", "t0:80", "t1:80", "t2:80"]


def test_target_choice_of_an_empty_group_has_nobody() -> None:
    """Nobody to pick, and nobody else either (alb-reference 5.1, 3: then 503)."""
    choice = _choice(0)
    assert choice.pick(_REQUEST) is None
    assert choice.pick_other([], _REQUEST) is None


def test_target_choice_bound_is_the_sessions_target() -> None:
    """A valid cookie leads to its target whatever the rotation says."""
    choice = _choice(3, alb.LbCookie())
    for member in _members(choice):
        assert choice.bound(request_for(cookie=_cookie_for(choice, member)), _NOW) is member


def test_target_choice_without_stickiness_binds_nobody() -> None:
    """A cookie means nothing to a group without stickiness."""
    sticky = _choice(2, alb.LbCookie())
    assert _choice(2).bound(request_for(cookie=_cookie_for(sticky, _members(sticky)[0])), _NOW) is None


def test_target_choice_does_not_bind_to_a_target_that_may_not_be_chosen() -> None:
    """Unhealthy or draining: a new target by the algorithm (alb-reference 5.3)."""
    choice = _choice(2, alb.LbCookie())
    first, second = _members(choice)
    cookie = _cookie_for(choice, first)
    first.state = TargetHealthState.DRAINING
    choice.refresh()
    assert choice.bound(request_for(cookie=cookie), _NOW) is None
    assert choice.pick(_REQUEST) is second


def test_target_choice_with_a_new_algorithm_lets_go_of_who_may_not_be_chosen_any_more() -> None:
    """A target that drains at the moment at which the algorithm changes is not kept for its sessions."""
    choice = _choice(2, alb.LbCookie())
    first, second = _members(choice)
    cookie = _cookie_for(choice, first)
    first.state = TargetHealthState.DRAINING
    choice.group.group = attrs.evolve(choice.group.group, algorithm="least_outstanding_requests")
    choice.refresh()
    assert choice.bound(request_for(cookie=cookie), _NOW) is None
    assert (first.eligible, second.eligible) == (False, True)
    assert choice.pick(_REQUEST) is second


def test_target_choice_bound_moves_no_rotation() -> None:
    """Requests of sessions leave the turns of others as they were."""
    choice = _choice(2, alb.LbCookie())
    choice.bound(request_for(cookie=_cookie_for(choice, _members(choice)[1])), _NOW)
    assert choice.pick(_REQUEST) is _members(choice)[0]


def test_target_choice_other_is_one_not_tried() -> None:
    """Each further try goes to another target, until there is none."""
    choice = _choice(3)
    tried: list[TargetState] = []
    for _ in range(3):
        member = choice.pick_other(tried, _REQUEST)
        assert member is not None
        assert member not in tried
        tried.append(member)
    assert choice.pick_other(tried, _REQUEST) is None


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_target_choice_retries_leave_the_rotation_even(count: int) -> None:
    """With one target down each request is first offered to every target in turn: retries must not make the dead one come up again."""
    choice = _choice(count)
    dead = _members(choice)[0]
    first_picks: Counter[str] = Counter()
    for _ in range(12 * count):
        member = choice.pick(_REQUEST)
        assert member is not None
        first_picks[member.address] += 1
        if member is dead:
            choice.pick_other([member], _REQUEST)
    assert first_picks == {member.address: 12 for member in _members(choice)}

from __future__ import annotations

import albkit as alb
from albkit.state.target_group import TargetGroupState


def test_target_group_state_begins_with_every_target() -> None:
    """Members in the order configured, found by their address; who may be chosen is for the choice to say."""
    state = TargetGroupState(alb.TargetGroup("api", ["b:80", "a:80"]))
    assert list(state.members) == ["b:80", "a:80"]
    assert [member.address for member in state.members.values()] == ["b:80", "a:80"]
    assert state.eligible == ()
    assert state.fails_open is False


def test_target_group_state_of_an_empty_group_has_nobody() -> None:
    """An empty group is a group."""
    state = TargetGroupState(alb.TargetGroup("api"))
    assert (list(state.members), list(state.eligible)) == ([], [])
    assert "api" in repr(state)


def test_target_group_states_of_one_group_share_nothing() -> None:
    """One group in two load balancers has its state in each (docs/alb.md 1)."""
    group = alb.TargetGroup("api", "a:80")
    first, second = TargetGroupState(group), TargetGroupState(group)
    first.members["a:80"].outstanding += 1
    assert second.members["a:80"].outstanding == 0


def test_target_group_state_with_a_health_check_begins_with_initial_targets() -> None:
    """Those of a group that is not checked are taken for well (docs/alb.md 1.9)."""
    checked = TargetGroupState(alb.TargetGroup("api", ["a:80", "b:80"], health_check=alb.HealthCheck()))
    assert [member.state for member in checked.members.values()] == ["initial", "initial"]
    unchecked = TargetGroupState(alb.TargetGroup("api", ["a:80", "b:80"]))
    assert [member.state for member in unchecked.members.values()] == ["unavailable", "unavailable"]

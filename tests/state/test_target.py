from __future__ import annotations

import albkit as alb
from albkit.state.target import TargetState


def test_target_state_begins_with_nothing_done() -> None:
    """Its address is the target's; nothing is outstanding, no tunnel lives, its health is unknown, and no choice has taken it up yet."""
    target = alb.Target("::1", 80)
    state = TargetState(target)
    assert state.target is target
    assert state.address == "[::1]:80"
    assert (state.outstanding, state.tunnels, state.requests) == (0, 0, 0)
    assert set(state.counters.as_mapping().values()) == {0}
    assert (state.state, state.reason) == ("unavailable", "Target.HealthCheckDisabled")
    assert state.description == ""
    assert state.eligible is False


def test_target_state_that_is_checked_begins_as_initial() -> None:
    """Nothing is known of it before its first check (docs/alb.md 1.9)."""
    state = TargetState(alb.Target("a", 80), checked=True)
    assert (state.state, state.reason, state.description) == ("initial", "Elb.InitialHealthChecking", "")
    assert state.eligible is False


def test_target_states_of_one_target_are_two() -> None:
    """State belongs to a place in a group, not to an address: equal targets have states of their own."""
    target = alb.Target("a", 80)
    assert TargetState(target) != TargetState(target)
    assert len({TargetState(target), TargetState(target)}) == 2


def test_target_state_prints_its_address_and_load() -> None:
    """Whoever debugs sees which one it is."""
    state = TargetState(alb.Target("a", 80))
    state.outstanding = 3
    assert "a:80" in repr(state)
    assert "3" in repr(state)

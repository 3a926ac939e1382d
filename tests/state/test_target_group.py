from __future__ import annotations

import albkit as alb
from albkit.state.counters import TrafficCounters
from albkit.state.target import TargetState
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


def _counted() -> tuple[TargetGroupState, TargetState, TargetState]:
    group = TargetGroupState(alb.TargetGroup("api", ["a:80", "b:80"]))
    one, other = group.members.values()
    one.counters.request_routed(False)
    other.counters.request_routed(True)
    return group, one, other


def test_group_counts_what_its_targets_count() -> None:
    """Once, in one place: the group's figures are sums."""
    group, one, _ = _counted()
    assert group.traffic().as_mapping() == {**one.counters.as_mapping(), "RequestCount": 2, "UnhealthyRoutingRequestCount": 1}


def test_target_that_leaves_takes_no_count_along() -> None:
    """Neither what it has counted nor what an exchange counts that outlives its membership."""
    group, one, other = _counted()
    group.remove(one)
    assert list(group.members.values()) == [other]
    one.counters.exchange_ended(0, 200)
    assert (group.traffic().requests, group.traffic().target_2xx) == (2, 1)
    group.remove(one)
    assert group.traffic().requests == 2, "and it leaves once"


def test_group_that_goes_leaves_its_counts_to_the_heir_once() -> None:
    """Those to come of its members among them, which drain while the group is gone."""
    group, one, other = _counted()
    group.remove(one)
    heir = TrafficCounters()
    group.retire(heir)
    group.retire(heir)
    other.counters.exchange_ended(0, 200)
    group.remove(other)
    group.counters.request_rejected()
    assert (heir.requests, heir.target_2xx, heir.rejected_requests) == (2, 1, 1)

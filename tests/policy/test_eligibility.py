from __future__ import annotations

from typing import Any

import pytest

import albkit as alb
from albkit.policy.eligibility import eligible
from albkit.state.target import TargetState


def _members(states: str) -> list[TargetState]:
    members = []
    for number, state in enumerate(states.split()):
        member = TargetState(alb.Target(f"t{number}", 80))
        member.state = alb.TargetHealthState(state)
        members.append(member)
    return members


_GROUP = alb.TargetGroup("web")


@pytest.mark.parametrize(
    ("states", "chosen", "fails_open"),
    [
        ("", [], False),
        ("healthy healthy", [0, 1], False),
        ("unavailable healthy", [0, 1], False),
        ("healthy unhealthy", [0], False),
        ("unavailable unhealthy", [0], False),
        ("healthy initial", [0], False),
        ("healthy draining", [0], False),
        ("healthy unused", [0], False),
        ("unhealthy unhealthy", [0, 1], True),
        ("unhealthy initial", [0, 1], True),
        ("initial initial", [0, 1], True),
        ("unhealthy draining", [0], True),
        ("draining draining", [], False),
        ("unused draining", [], False),
    ],
)
def test_eligible_are_the_healthy_else_those_of_the_last_resort(states: str, chosen: list[int], fails_open: bool) -> None:
    """The healthy ones; with none of them the group fails open; draining and unused ones never (docs/alb.md 1.9, 5.1)."""
    members = _members(states)
    assert eligible(members, _GROUP) == (tuple(members[number] for number in chosen), fails_open)


@pytest.mark.parametrize(
    ("least", "states", "chosen", "fails_open"),
    [
        pytest.param(2, "healthy unhealthy healthy", [0, 2], False, id="enough by count"),
        pytest.param(2, "healthy unhealthy initial", [0, 1, 2], True, id="too few by count"),
        pytest.param("50%", "healthy unhealthy", [0], False, id="enough by percentage"),
        pytest.param("51%", "healthy unhealthy", [0, 1], True, id="too few by percentage"),
        pytest.param("50%", "healthy unhealthy initial", [0, 1, 2], True, id="new ones are targets, and not healthy"),
        pytest.param("50%", "healthy unhealthy draining draining", [0], False, id="draining ones are no targets"),
        pytest.param("50%", "unavailable healthy unhealthy", [0, 1], False, id="unchecked ones are taken for well"),
        pytest.param((2, "10%"), "healthy unhealthy unhealthy", [0, 1, 2], True, id="too few by one of both"),
        pytest.param((1, "50%"), "healthy unhealthy unhealthy", [0, 1, 2], True, id="too few by the other"),
        pytest.param((1, "30%"), "healthy unhealthy unhealthy", [0], False, id="enough by both"),
        pytest.param(5, "healthy healthy", [0, 1], False, id="all are healthy, and they are fewer than that"),
        pytest.param(5, "healthy healthy draining", [0, 1], False, id="nobody is left out but who drains"),
        pytest.param("100%", "draining", [], False, id="nobody is there"),
    ],
)
def test_group_with_fewer_healthy_targets_than_its_minimum_fails_open(least: Any, states: str, chosen: list[int], fails_open: bool) -> None:
    """Then all available targets get requests, in their order; it fails open only where that lets in one more (docs/alb.md 5.5)."""
    members = _members(states)
    group = alb.TargetGroup("web", minimum_healthy_targets=least)
    assert eligible(members, group) == (tuple(members[number] for number in chosen), fails_open)


@pytest.mark.parametrize(
    ("least", "states", "standbys", "chosen", "fails_open"),
    [
        pytest.param(1, "healthy healthy", {1}, [0], False, id="not needed"),
        pytest.param(1, "unhealthy healthy", {1}, [1], False, id="needed"),
        pytest.param(1, "unavailable unavailable", {0}, [1], False, id="not checked"),
        pytest.param(1, "draining healthy", {1}, [1], False, id="the other one drains"),
        pytest.param(1, "initial healthy", {1}, [1], False, id="the other one is new"),
        pytest.param(1, "healthy healthy", {0, 1}, [0, 1], False, id="there are none but standbys"),
        pytest.param(1, "unhealthy unhealthy", {1}, [0, 1], True, id="all are unhealthy"),
        pytest.param("100%", "unhealthy healthy", {1}, [0, 1], True, id="too few are healthy"),
        pytest.param(2, "healthy healthy unhealthy", {1}, [0], False, id="a standby counts among the healthy"),
    ],
)
def test_standby_is_eligible_where_no_other_target_is_well(
    least: Any, states: str, standbys: set[int], chosen: list[int], fails_open: bool
) -> None:
    """It gets nothing while another one is healthy, all where none is, and its part where the group fails open."""
    members = _members(states)
    for number in standbys:
        members[number].target = alb.Target(f"t{number}", 80, standby=True)
    group = alb.TargetGroup("web", minimum_healthy_targets=least)
    assert eligible(members, group) == (tuple(members[number] for number in chosen), fails_open)

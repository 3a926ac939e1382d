from __future__ import annotations

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


@pytest.mark.parametrize(
    ("states", "chosen"),
    [
        ("", []),
        ("healthy healthy", [0, 1]),
        ("unavailable healthy", [0, 1]),
        ("healthy unhealthy", [0]),
        ("unavailable unhealthy", [0]),
        ("healthy initial", [0]),
        ("healthy draining", [0]),
        ("healthy unused", [0]),
        ("unhealthy unhealthy", [0, 1]),
        ("unhealthy initial", [0, 1]),
        ("initial initial", [0, 1]),
        ("unhealthy draining", [0]),
        ("draining draining", []),
        ("unused draining", []),
    ],
)
def test_eligible_are_the_healthy_else_those_of_the_last_resort(states: str, chosen: list[int]) -> None:
    """The healthy ones; with none of them the group fails open; draining and unused ones never (alb-reference 1.9, 5.1)."""
    members = _members(states)
    assert eligible(members) == tuple(members[number] for number in chosen)

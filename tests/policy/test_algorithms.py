from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

import albkit as alb
from albkit.policy.algorithms import round_robin
from albkit.state.target_group import TargetGroupState


def _group(count: int) -> TargetGroupState:
    return TargetGroupState(alb.TargetGroup("api", [f"t{number}:80" for number in range(count)]))


def test_round_robin_goes_through_the_targets_in_order() -> None:
    """Each healthy target in sequence (alb-reference 5.1), and from the last to the first."""
    group = _group(3)
    picks = [round_robin(group, group.eligible) for _ in range(7)]
    assert [member.address for member in picks if member] == ["t0:80", "t1:80", "t2:80", "t0:80", "t1:80", "t2:80", "t0:80"]


def test_round_robin_without_candidates_has_nobody() -> None:
    """An empty set of candidates is nobody, and costs nobody a turn."""
    group = _group(2)
    assert round_robin(group, []) is None
    first = round_robin(group, group.eligible)
    assert first is group.members[0]


@given(st.integers(1, 6), st.lists(st.integers(0, 5), max_size=8), st.integers(1, 4))
def test_round_robin_over_leaving_members_serves_who_is_left_evenly(count: int, leaving: list[int], rounds: int) -> None:
    """Whoever leaves, and whenever, each of the rest gets exactly one request per round from then on."""
    group = _group(count)
    candidates = list(group.eligible)
    for index in [*leaving, None]:
        if index is not None and len(candidates) > 1:
            del candidates[index % len(candidates)]
        picks = Counter(round_robin(group, candidates) for _ in range(rounds * len(candidates)))
        assert picks == dict.fromkeys(candidates, rounds)


def test_round_robin_of_two_groups_is_apart() -> None:
    """One group's turns move no other's."""
    first, second = _group(2), _group(2)
    round_robin(first, first.eligible)
    assert round_robin(second, second.eligible) is second.members[0]

from __future__ import annotations

from collections import Counter
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

import albkit as alb
from albkit.policy.weights import drawn, weights_of
from albkit.state.target import TargetState

_HIGHEST = 1 - 2**-53


def _members(weights: list[int]) -> list[TargetState]:
    return [TargetState(alb.Target(f"t{number}", 80, weight=weight)) for number, weight in enumerate(weights)]


@pytest.mark.parametrize(
    ("weights", "shares"), [([], []), ([0], [1]), ([0, 0, 0], [1, 1, 1]), ([0, 5, 0], [0, 5, 0]), ([999, 1], [999, 1])], ids=str
)
def test_weights_are_the_targets_own_and_1_where_all_are_0(weights: list[int], shares: list[int]) -> None:
    """A group that has targets never chooses none."""
    assert weights_of(_members(weights)) == shares


@given(st.lists(st.integers(0, 6), min_size=1, max_size=6).filter(any))
def test_drawn_gives_each_target_exactly_its_part_of_the_chance(weights: list[int]) -> None:
    """Of as many chances as there are weights, in the middle of each step, a target is drawn as often as its weight says, in order."""
    members = _members(weights)
    total = sum(weights)
    picks = [drawn(members, list(accumulate(weights)), iter([(place + 0.5) / total]).__next__) for place in range(total)]
    assert picks == [member for member, weight in zip(members, weights, strict=True) for _ in range(weight)]


@pytest.mark.parametrize("chance", [0.0, 2**-53, 0.5, _HIGHEST])
@given(
    weights=st.lists(st.sampled_from([0, 0, 1, 2, 3, 7, 999]), min_size=1, max_size=8).filter(any), share=st.sampled_from([1.0, 0.1, 1 / 3])
)
def test_drawn_is_never_a_target_of_weight_0(chance: float, weights: list[int], share: float) -> None:
    """Neither end of the chance falls to a target without a share, wherever those stand."""
    members = _members(weights)
    sums = list(accumulate(weight * share for weight in weights))
    assert drawn(members, sums, lambda: chance).weight > 0


def test_drawn_at_the_limit_between_two_is_the_second() -> None:
    """[0, 1/4) is the first's, [1/4, 1) the second's."""
    members = _members([1, 3])
    assert drawn(members, [1, 4], lambda: 0.25) is members[1]
    assert drawn(members, [1, 4], lambda: 0.25 - 2**-54) is members[0]
    chance = iter([eighths / 8 for eighths in range(8)]).__next__
    assert Counter(drawn(members, [1, 4], chance).address for _ in range(8)) == {"t0:80": 2, "t1:80": 6}

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from math import sqrt
from statistics import pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

import albkit as alb
from albkit.policy import hash_ring
from albkit.policy.hash_ring import HashRing, place_of
from albkit.state.target import TargetState

_CIRCLE = 2**64
_POINTS = 100
_PLACES = [place_of(f"key {number}") for number in range(10_000)]


def _member(number: int, weight: int = 1) -> TargetState:
    return TargetState(alb.Target(f"10.0.0.{number}", 80, weight=weight))


def _members(weights: Sequence[int]) -> list[TargetState]:
    return [_member(number, weight) for number, weight in enumerate(weights)]


def _anyone(_: TargetState) -> bool:
    return True


def _ring(members: Sequence[TargetState]) -> HashRing:
    ring = HashRing()
    ring.settle(members)
    return ring


def _owners(ring: HashRing, places: Sequence[int] = _PLACES) -> list[str]:
    found = [ring.find(place, _anyone) for place in places]
    return [member.address for member in found if member is not None]


def _slack(expected: float, count: int, points: float) -> float:
    """Five standard deviations of how many of `count` keys fall to so many points of a ring: of the keys, and of the points' arcs."""
    return 5 * sqrt(expected * (1 - expected / count) + expected**2 / points)


def test_place_of_a_key_is_the_same_in_every_release() -> None:
    """An update must not move keys to other targets: places and owners are fixed."""
    assert place_of("") == 0xE4A6A0577479B2B4
    assert place_of("/a?b=c") == 0xC6C3510786B02313
    owners = [1, 2, 1, 0, 2, 2, 0, 2, 0, 2, 1, 0]
    assert _owners(_ring(_members([1, 1, 1])), _PLACES[:12]) == [f"10.0.0.{number}:80" for number in owners]


def test_place_of_text_that_no_utf_8_can_be_is_a_place() -> None:
    """What came as bytes of no encoding is a key as any other."""
    assert place_of("/\udcff") != place_of("/\udcfe")


def test_places_of_keys_lie_evenly_on_the_circle() -> None:
    """Pearson's chi-square over 64 parts of the circle stays below the one-in-a-thousand bound."""
    counts = Counter(place * 64 // _CIRCLE for place in _PLACES)
    expected = len(_PLACES) / 64
    assert set(counts) == set(range(64))
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 103.4  # 63 degrees of freedom


@pytest.mark.parametrize("weights", [[1] * 2, [1] * 10, [7] * 10, [1, 2, 3, 4], [999, 500, 250, 100], [1, 0, 3, 0]], ids=str)
def test_ring_gives_each_target_its_share_of_the_keys(weights: list[int]) -> None:
    """By weight, within five standard deviations of a ring of so many points; weight 0 has no key."""
    counts = Counter(_owners(_ring(_members(weights))))
    assert counts.total() == len(_PLACES)
    for number, weight in enumerate(weights):
        expected = len(_PLACES) * weight / sum(weights)
        points = _POINTS * weight
        assert abs(counts[f"10.0.0.{number}:80"] - expected) <= (_slack(expected, len(_PLACES), points) if weight else 0)


def test_ring_of_equal_targets_differs_by_no_more_than_said() -> None:
    """The standard deviation of exact shares is some 10 % of the mean."""
    members = _members([1] * 100)
    ring = _ring(members)
    shares: Counter[str] = Counter()
    before = ring._points[-1] - _CIRCLE
    for point in ring._points:
        shares[ring._owners[point].address] += point - before
        before = point
    assert shares.total() == _CIRCLE
    assert 0.05 < pstdev(shares.values()) / (_CIRCLE / 100) < 0.11


def test_ring_with_all_weights_0_treats_all_alike() -> None:
    """As if all had 1: the same points, the same owners."""
    assert _owners(_ring(_members([0] * 5))) == _owners(_ring(_members([1] * 5)))


@pytest.mark.parametrize(("heaviest", "each"), [(1, 100), (8, 100), (9, 12), (64, 12), (65, 1), (999, 1)])
def test_ring_gives_points_by_weight(heaviest: int, each: int) -> None:
    """Whoever has a weight has some keys, and exactly as many points as its weight says."""
    ring = _ring(_members([heaviest, 1]))
    assert Counter(member.address for member in ring._owners.values()) == {"10.0.0.0:80": each * heaviest, "10.0.0.1:80": each}


def test_ring_without_targets_has_nobody() -> None:
    """Before the first and after the last."""
    ring = HashRing()
    assert ring.find(0, _anyone) is None
    ring.settle(_members([1, 1]))
    ring.settle([])
    assert ring.find(0, _anyone) is None


@pytest.mark.parametrize(
    ("weights", "newcomer"),
    [([1] * 2, 1), ([1] * 4, 1), ([1] * 9, 1), ([1] * 49, 1), ([1, 2, 3, 4], 2), ([1, 2, 3, 4], 4), ([5, 1, 5], 1), ([3, 0, 2], 1)],
    ids=str,
)
def test_ring_moves_its_share_of_keys_to_a_target_that_comes_and_no_other(weights: list[int], newcomer: int) -> None:
    """About one in N of 10,000 keys moves, each of them to the newcomer; when it leaves all are where they were."""
    members = _members(weights)
    ring = _ring(members)
    before = _owners(ring)
    new = _member(len(weights), newcomer)
    ring.settle([*members, new])
    after = _owners(ring)
    moved = [owner for former, owner in zip(before, after, strict=True) if former != owner]
    assert set(moved) == {new.address}
    expected = len(_PLACES) * newcomer / (sum(weights) + newcomer)
    assert abs(len(moved) - expected) <= _slack(expected, len(_PLACES), _POINTS * newcomer)
    ring.settle(members)
    assert _owners(ring) == before


@pytest.mark.parametrize(
    ("weights", "leaving"), [([1] * 3, 1), ([1] * 10, 0), ([4, 1, 4, 2], 2), ([4, 1, 4, 2], 1), ([2, 2, 0], 2)], ids=str
)
def test_ring_moves_only_the_keys_of_a_target_that_leaves(weights: list[int], leaving: int) -> None:
    """Keys of targets that stay do not move, and those of the one that left are spread over all that have a weight."""
    members = _members(weights)
    ring = _ring(members)
    before = _owners(ring)
    gone = members.pop(leaving)
    ring.settle(members)
    after = _owners(ring)
    assert all((former == owner) != (former == gone.address) for former, owner in zip(before, after, strict=True))
    heirs = {owner for former, owner in zip(before, after, strict=True) if former == gone.address}
    assert heirs == ({member.address for member in members if member.weight} if gone.weight else set())


@pytest.mark.parametrize(("weights", "other"), [([1, 2], 3), ([1, 2, 3, 4], 8), ([10, 7, 3], 11), ([100, 300], 999)], ids=str)
def test_ring_moves_no_key_between_targets_that_stay_when_the_heaviest_comes_or_goes(weights: list[int], other: int) -> None:
    """A target heavier than all others moves its own keys only: each that moves goes to it, and goes back when it leaves."""
    members = _members(weights)
    ring = _ring(members)
    before = _owners(ring)
    new = _member(len(weights), other)
    ring.settle([*members, new])
    between = [(former, owner) for former, owner in zip(before, _owners(ring), strict=True) if owner not in (former, new.address)]
    assert len(between) == 0


def test_ring_moves_keys_one_way_only_when_a_weight_changes() -> None:
    """A target that gets lighter loses keys and gains none; with its weight it gets them back."""
    members = _members([4, 4, 4])
    ring = _ring(members)
    before = _owners(ring)
    changed = members[1]
    changed.weight = 2
    ring.settle(members)
    after = _owners(ring)
    moved = {(former, owner) for former, owner in zip(before, after, strict=True) if former != owner}
    assert {former for former, _ in moved} == {changed.address}
    assert {owner for _, owner in moved} == {members[0].address, members[2].address}
    changed.weight = 4
    ring.settle(members)
    assert _owners(ring) == before


@given(st.permutations(range(8)), st.lists(st.integers(0, 5), min_size=8, max_size=8))
def test_rings_built_in_different_orders_agree(order: list[int], weights: list[int]) -> None:
    """Load balancers with the same targets find the same target for a key, however they came to have them."""
    members = _members(weights)
    ring = HashRing()
    for count in range(1, 9):
        ring.settle([members[number] for number in order[:count]])
    assert _owners(ring, _PLACES[:200]) == _owners(_ring(_members(weights)), _PLACES[:200])


@given(st.lists(st.dictionaries(st.integers(0, 6), st.integers(0, 5)), min_size=1, max_size=6))
def test_ring_that_was_changed_often_is_as_a_new_one(stages: list[dict[int, int]]) -> None:
    """Whoever came, went or changed its weight before: only who is there now counts."""
    members = _members([1] * 7)
    ring = HashRing()
    for stage in stages:
        for number, weight in stage.items():
            members[number].weight = weight
        ring.settle([members[number] for number in stage])
    present = [members[number] for number in stages[-1]]
    assert _owners(ring, _PLACES[:100]) == _owners(_ring(present), _PLACES[:100])
    assert ring._points == sorted(ring._owners)


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=5),
    st.one_of(st.integers(0, _CIRCLE - 1), st.sampled_from([0, 1, _CIRCLE - 1])),
    st.sets(st.integers(0, 4)),
)
def test_ring_finds_the_next_target_that_fits(weights: list[int], place: int, fitting: set[int]) -> None:
    """Of all points of targets that fit the one next on the circle, with the end of the circle joined to its beginning."""
    members = _members(weights)
    ring = _ring(members)
    fits = {member for number, member in enumerate(members) if number in fitting}
    points = {point: member for point, member in ring._owners.items() if member in fits}
    expected = points[min(points, key=lambda point: (point - place) % _CIRCLE)] if points else None
    assert ring.find(place, fits.__contains__) is expected


def test_ring_gives_a_point_to_the_key_that_lies_on_it() -> None:
    """And the key behind it to the next one."""
    ring = _ring(_members([1, 1]))
    for place, point in enumerate(ring._points):
        after = ring._points[(place + 1) % len(ring._points)]
        assert ring.find(point, _anyone) is ring._owners[point]
        assert ring.find((point + 1) % _CIRCLE, _anyone) is ring._owners[after]


def test_ring_with_one_more_target_touches_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points are asked for only of who came, went or changed its weight."""
    asked: list[str] = []
    points_of = hash_ring._points_of

    def noted(address: str, count: int) -> list[int]:
        asked.append(address)
        return points_of(address, count)

    monkeypatch.setattr(hash_ring, "_points_of", noted)
    members = _members([2] * 50)
    ring = _ring(members[:49])
    asked.clear()
    ring.settle(members)
    assert asked == ["10.0.0.49:80"]
    asked.clear()
    members[3].weight = 1
    ring.settle(members[:40])
    assert set(asked) <= {member.address for member in (members[3], *members[40:])}


def test_ring_asks_a_thousand_targets_for_one_key_whether_one_fits() -> None:
    """Finding is no scan: where all fit only one is asked."""
    members = [TargetState(alb.Target(f"t{number}", 80)) for number in range(1000)]
    ring = _ring(members)
    asked = 0

    def fits(_: TargetState) -> bool:
        nonlocal asked
        asked += 1
        return True

    for place in _PLACES[:100]:
        ring.find(place, fits)
    assert asked == 100


def test_places_by_chance_lie_evenly_on_the_circle() -> None:
    """From the beginning of the circle to its end, in proportion to the chance, and never outside."""
    ring = HashRing()
    assert [ring.anywhere(chance) for chance in (0.0, 0.25, 0.5)] == [0, _CIRCLE // 4, _CIRCLE // 2]
    assert ring.anywhere(1 - 2**-53) < _CIRCLE
    ring.settle(_members([1] * 4))
    chance = random.Random(1).random
    counts = Counter(_owners(ring, [ring.anywhere(chance()) for _ in range(4000)]))
    assert all(abs(counts[f"10.0.0.{number}:80"] - 1000) <= _slack(1000, 4000, _POINTS) for number in range(4))

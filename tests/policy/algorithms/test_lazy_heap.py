from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import albkit as alb
from albkit.policy.algorithms.lazy_heap import LazyHeap
from albkit.state.target import TargetState

_MEMBERS = [TargetState(alb.Target(f"t{number}", 80)) for number in range(5)]
_EVENTS = st.lists(st.tuples(st.sampled_from(["put", "put", "put", "discard", "clear"]), st.integers(0, 4), st.integers(0, 3)), max_size=60)


@given(_EVENTS)
def test_heap_lowest_is_the_first_of_the_lowest_figures(events: list[tuple[str, int, int]]) -> None:
    """As a list that is looked through from end to end says; among equals who was put first."""
    heap = LazyHeap()
    figures: dict[TargetState, int] = {}
    for event, number, figure in events:
        member = _MEMBERS[number]
        if event == "put":
            heap.put(member, figure)
            figures.pop(member, None)
            figures[member] = figure
        elif event == "discard":
            heap.discard(member)
            figures.pop(member, None)
        else:
            heap.clear()
            figures.clear()
        assert heap.lowest() is min(figures, key=figures.__getitem__, default=None)


def test_heap_lowest_takes_nothing_away() -> None:
    """Asked twice it says the same."""
    heap = LazyHeap()
    heap.put(_MEMBERS[1], 1.0)
    assert heap.lowest() is _MEMBERS[1]
    assert heap.lowest() is _MEMBERS[1]


def test_heap_takes_back_a_target_that_was_discarded() -> None:
    """With its new figure; the old one, which was lower, is not heard of again."""
    heap = LazyHeap()
    heap.put(_MEMBERS[0], 1.0)
    heap.put(_MEMBERS[1], 5.0)
    heap.discard(_MEMBERS[0])
    assert heap.lowest() is _MEMBERS[1]
    heap.put(_MEMBERS[0], 9.0)
    assert heap.lowest() is _MEMBERS[1]
    heap.discard(_MEMBERS[1])
    assert heap.lowest() is _MEMBERS[0]


@pytest.mark.parametrize("count", [1, 10, 1000])
def test_heap_holds_no_more_than_a_few_entries_per_target(count: int) -> None:
    """However often figures change, and while nobody asks for the lowest."""
    members = [TargetState(alb.Target(f"t{number}", 80)) for number in range(count)]
    heap = LazyHeap()
    chance = random.Random(1)
    most = 0
    for _ in range(40 * count + 200):
        heap.put(chance.choice(members), chance.random())
        most = max(most, len(heap._heap))
    assert most <= 64 + 8 * count
    for member in members:
        heap.discard(member)
    assert heap.lowest() is None
    assert heap._heap == []


def test_heap_that_makes_room_forgets_nobody() -> None:
    """The entries that are left out are those that say nothing any more."""
    heap = LazyHeap()
    for number, member in enumerate(_MEMBERS):
        heap.put(member, 100.0 + number)
    for figure in range(200):
        heap.put(_MEMBERS[0], 1000.0 - figure)
    order = []
    while (lowest := heap.lowest()) is not None:
        order.append(lowest)
        heap.discard(lowest)
    assert order == [*_MEMBERS[1:], _MEMBERS[0]]


def test_heap_makes_room_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is made once in several changes per target, so that a change costs no look at all of them."""
    made = 0
    heapify = heapq.heapify

    def counted(entries: list[tuple[float, int, TargetState]]) -> None:
        nonlocal made
        made += 1
        heapify(entries)

    monkeypatch.setattr(heapq, "heapify", counted)
    members = [TargetState(alb.Target(f"t{number}", 80)) for number in range(1000)]
    heap = LazyHeap()
    for turn in range(20_000):
        heap.put(members[turn % 1000], float(turn))
    assert made <= 20_000 / 7000

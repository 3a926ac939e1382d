from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

import albkit as alb
from albkit.model.health import TargetHealthState
from albkit.policy.concurrency import Capacity
from albkit.policy.target_choice import TargetChoice
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState
from tests.policy.requests import request_for
from tests.support.clock import FakeClock

_REQUEST = request_for()


class _Group:
    """Targets that say how many requests they take, and the room that is told of them as a target choice tells it."""

    def __init__(self, most: Sequence[int | None]) -> None:
        self.members = [TargetState(alb.Target(f"t{number}", 80, max_concurrency=limit)) for number, limit in enumerate(most)]
        self.room = Capacity()
        self.calls = 0
        self.room.freed = self._called
        for member in self.members:
            member.eligible = True
        self.room.settle(self.members)

    def _called(self) -> None:
        self.calls += 1

    def start(self, number: int) -> None:
        self.members[number].outstanding += 1
        self.room.began(self.members[number])

    def finish(self, number: int) -> None:
        self.members[number].outstanding -= 1
        self.room.ended(self.members[number])

    def instead_of(self, number: int) -> int | None:
        member = self.room.for_one_more(self.members[number])
        return None if member is None else self.members.index(member)


def test_room_for_one_more_is_the_target_itself_until_it_is_full() -> None:
    """Then another one, and nobody where all are full."""
    group = _Group([1, 2])
    assert [group.instead_of(0), group.instead_of(1)] == [0, 1]
    group.start(0)
    assert [group.instead_of(0), group.instead_of(1)] == [1, 1]
    group.start(1)
    assert group.instead_of(0) == 1
    group.start(1)
    assert [group.instead_of(0), group.instead_of(1)] == [None, None]
    group.finish(0)
    assert [group.instead_of(0), group.instead_of(1)] == [0, 0]


def test_room_of_a_target_without_a_limit_never_ends() -> None:
    """`None` is no limit, beside targets that have one."""
    group = _Group([1, None])
    for _ in range(1000):
        group.start(1)
    assert [group.instead_of(0), group.instead_of(1)] == [0, 1]
    group.start(0)
    assert [group.instead_of(0), group.instead_of(1)] == [1, 1]


def test_room_goes_to_who_has_had_it_for_longest() -> None:
    """What is too much for one target goes to the others in turn, and not to the first of them every time."""
    group = _Group([1, 3, 3, 3])
    group.start(0)
    taken = []
    for _ in range(9):
        number = group.instead_of(0)
        assert number is not None
        taken.append(number)
        group.start(number)
    assert taken == [1, 2, 3] * 3
    for number in (2, 1, 3):
        group.finish(number)
    assert group.instead_of(0) == 2


@given(
    st.lists(st.one_of(st.none(), st.integers(1, 3)), min_size=1, max_size=5),
    st.lists(st.tuples(st.sampled_from(["start", "start", "finish", "leave", "join"]), st.integers(0, 30))),
)
def test_room_is_with_whoever_may_be_chosen_and_has_less_than_its_limit(most: list[int | None], events: list[tuple[str, int]]) -> None:
    """Whatever starts, finishes, leaves and comes back, in any order."""
    group = _Group(most)
    running: list[int] = []
    for event, index in events:
        number = index % len(most)
        member = group.members[number]
        if event == "start" and group.room.has(member):
            group.start(number)
            running.append(number)
        elif event == "finish" and running:
            group.finish(running.pop(index % len(running)))
        elif event in ("leave", "join"):
            member.eligible = event == "join"
            group.room.settle([one for one in group.members if one.eligible])
        free = [one.eligible and (limit is None or one.outstanding < limit) for one, limit in zip(group.members, most, strict=True)]
        assert [group.room.has(one) for one in group.members] == free
        assert len(group.room) == sum(free)
        instead = group.instead_of(number)
        assert (instead == number) is free[number]
        assert free[instead] if instead is not None else not any(free)


def test_room_tells_when_there_is_more_of_it() -> None:
    """A request that is over, and a target that comes; not one that leaves another target full."""
    group = _Group([1, 1])
    group.calls = 0
    group.start(0)
    group.start(1)
    assert group.calls == 0
    group.finish(1)
    assert group.calls == 1
    group.room.settle(group.members)
    assert group.calls == 2
    group.start(1)
    group.room.settle(group.members)
    assert group.calls == 2


@pytest.mark.parametrize("most", [3, None])
def test_room_does_not_tell_of_a_request_that_has_begun(most: int | None) -> None:
    """There is less room than before then, even where there is some left: nobody who waits need look."""
    group = _Group([most])
    group.start(0)
    group.calls = 0
    group.start(0)
    assert group.calls == 0


def test_room_of_a_target_that_may_not_be_chosen_comes_back_to_nobody() -> None:
    """A request of a draining target that is over is no room for others."""
    group = _Group([1])
    group.start(0)
    group.members[0].eligible = False
    group.room.settle([])
    group.calls = 0
    group.finish(0)
    assert (group.calls, group.instead_of(0), len(group.room)) == (0, None, 0)


# In a target choice


def _choice(most: Sequence[int | None]) -> TargetChoice:
    targets = [alb.Target(f"t{number}", 80, max_concurrency=limit) for number, limit in enumerate(most)]
    return TargetChoice(TargetGroupState(alb.TargetGroup("api", targets)), FakeClock())


@pytest.mark.parametrize("most", [[1], [1, 1], [3, 1, 2], [5, 5, 5, 5]], ids=str)
def test_choice_never_exceeds_a_limit_and_has_somebody_while_there_is_room(most: list[int]) -> None:
    """Round robin among who has room, with requests that end in any order."""
    choice = _choice(most)
    members = list(choice.group.members.values())
    chance = random.Random(2)
    running: list[TargetState] = []
    refused = 0
    for _ in range(2000):
        member = choice.pick(_REQUEST)
        if member is None:
            assert len(running) == sum(most)
            refused += 1
        else:
            assert member.outstanding < most[members.index(member)]
            choice.started(member)
            running.append(member)
        while running and chance.random() < 0.5:
            choice.finished(running.pop(chance.randrange(len(running))))
    assert refused > 0


def test_choice_without_limits_has_no_room_to_look_after() -> None:
    """Where no target says how many it takes nothing is counted, and a limit that goes frees whoever waits."""
    choice = _choice([None, None])
    assert choice.room is None
    limited = _choice([1, None])
    assert limited.room is not None
    freed = []
    limited.room.freed = lambda: freed.append(True)
    next(iter(limited.group.members.values())).state = TargetHealthState.DRAINING
    limited.refresh()
    assert limited.room is None
    assert freed == [True]


def test_choice_gives_room_to_who_waits_first() -> None:
    """A request that comes while others wait gets none, even where there is some."""
    choice = _choice([2])
    assert choice.room is not None
    choice.room.is_awaited = True
    assert choice.pick(_REQUEST) is None
    assert choice.pick(_REQUEST, in_turn=True) is not None


def test_choice_tries_only_others_that_have_room() -> None:
    """A retry keeps the limits too."""
    choice = _choice([1, 1, 1])
    first, second, third = choice.group.members.values()
    choice.started(second)
    assert choice.pick_other([first], _REQUEST) is third
    choice.started(third)
    assert choice.pick_other([first], _REQUEST) is None

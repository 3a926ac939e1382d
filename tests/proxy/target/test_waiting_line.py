"""The line in which requests wait for room, without sockets: who is called, who passes the turn on, and that nothing is left."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

import albkit as alb
from albkit.errors import Failure, FailureKind
from albkit.model.message import RequestHead
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.downstream import DownstreamExchange
from albkit.proxy.target.waiting_line import WaitingLine
from albkit.state.counters import Counters
from albkit.state.target_group import TargetGroupState
from tests.support.clock import FakeClock

NO_REQUEST = cast("RequestHead", None)


class Waiter:
    """As much of a client as the line needs."""

    def __init__(self) -> None:
        self.future: asyncio.Future[object] | None = None

    def wait(self) -> asyncio.Future[object]:
        self.future = asyncio.get_running_loop().create_future()
        return self.future

    def leave(self) -> None:
        """The client is gone."""
        assert self.future is not None
        if not self.future.done():
            self.future.set_exception(Failure(FailureKind.CLIENT_CLOSED))


class Hall:
    """A group whose targets take one request each, and its line."""

    def __init__(self, targets: int = 1, **settings: Any) -> None:
        self.declared = [alb.Target("127.0.0.1", 9000 + number, max_concurrency=1) for number in range(targets)]
        settings.setdefault("waiting_timeout", 30)
        self.state = TargetGroupState(alb.TargetGroup("group", self.declared, **settings))
        self.choice = TargetChoice(self.state, FakeClock())
        self.counters = Counters()
        self.line = WaitingLine(self.choice, asyncio.get_running_loop(), self.counters)
        self.served: list[int] = []
        self.waiters: list[Waiter] = []

    def fill(self) -> None:
        """Every target has its request."""
        for member in self.state.members.values():
            self.choice.started(member)

    def free(self, number: int = 0) -> None:
        """A target's request is over."""
        self.choice.finished(list(self.state.members.values())[number])

    def comes(self, *, gives_up: bool = False) -> asyncio.Task[None]:
        """One more request, which takes its target as an exchange does, or has a client that is gone by then."""
        waiter = Waiter()
        number = len(self.waiters)
        self.waiters.append(waiter)

        async def wait() -> None:
            member = await self.line.wait(cast("DownstreamExchange", waiter), NO_REQUEST)
            if not gives_up:
                self.choice.started(member)
                self.served.append(number)

        return asyncio.ensure_future(wait())


async def settle() -> None:
    """Let everybody do what they can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def failed(task: asyncio.Task[None]) -> FailureKind:
    with pytest.raises(Failure) as caught:
        await asyncio.wait_for(task, 5)
    return caught.value.kind


async def test_those_who_wait_are_called_one_by_one_in_their_order() -> None:
    """One for each place that becomes free."""
    hall = Hall()
    hall.fill()
    tasks = [hall.comes() for _ in range(4)]
    await settle()
    assert (hall.served, hall.counters.active_waiting) == ([], 4)
    for count in range(1, 5):
        hall.free()
        await settle()
        assert hall.served == list(range(count))
    await asyncio.gather(*tasks)
    assert hall.counters.active_waiting == 0


async def test_places_that_become_free_at_once_are_all_taken() -> None:
    """In one turn of the loop."""
    hall = Hall(3)
    hall.fill()
    tasks = [hall.comes() for _ in range(5)]
    await settle()
    for number in range(3):
        hall.free(number)
    await settle()
    assert hall.served == [0, 1, 2]
    assert [member.outstanding for member in hall.state.members.values()] == [1, 1, 1]
    for number in range(2):
        hall.free(number)
    await asyncio.gather(*tasks)


async def test_who_comes_while_others_wait_gets_nothing_out_of_turn() -> None:
    """Though there is room."""
    hall = Hall()
    hall.fill()
    task = hall.comes()
    await settle()
    hall.free()
    assert hall.choice.pick(NO_REQUEST) is None
    await task
    hall.free()
    assert hall.choice.pick(NO_REQUEST) is not None


@pytest.mark.parametrize("when", ["before", "called"])
async def test_who_leaves_passes_the_turn_on(when: str) -> None:
    """Before it is called, and when it has been called and has not woken up yet."""
    hall = Hall()
    hall.fill()
    first, second = hall.comes(gives_up=when == "called"), hall.comes()
    await settle()
    if when == "before":
        hall.waiters[0].leave()
        hall.free()
        assert await failed(first) is FailureKind.CLIENT_CLOSED
    else:
        hall.free()
        await first
    await asyncio.wait_for(second, 5)
    assert hall.served == [1]
    assert hall.counters.active_waiting == 0


async def test_who_is_cancelled_passes_the_turn_on() -> None:
    """When it has been called already."""
    hall = Hall()
    hall.fill()
    first, second = hall.comes(), hall.comes()
    await settle()
    hall.free()
    first.cancel()
    await asyncio.wait_for(second, 5)
    assert first.cancelled()
    assert hall.served == [1]


async def test_place_is_held_for_so_long_and_no_longer() -> None:
    """Each turned away is counted, and the next one is called."""
    hall = Hall(waiting_timeout=0.01)
    hall.fill()
    tasks = [hall.comes() for _ in range(3)]
    assert [await failed(task) for task in tasks] == [FailureKind.WAITED_TOO_LONG] * 3
    assert (hall.state.counters.rejected_requests, hall.counters.active_waiting) == (3, 0)
    hall.free()
    assert hall.choice.pick(NO_REQUEST) is not None


async def test_line_that_is_full_takes_nobody() -> None:
    """Until somebody has left it."""
    hall = Hall(waiting_line=2)
    hall.fill()
    first, second, third = hall.comes(), hall.comes(), hall.comes()
    assert await failed(third) is FailureKind.WAITING_LINE_FULL
    assert hall.state.counters.rejected_requests == 1
    hall.waiters[0].leave()
    assert await failed(first) is FailureKind.CLIENT_CLOSED
    fourth = hall.comes()
    await settle()
    assert hall.counters.active_waiting == 2
    hall.free()
    await second
    hall.free()
    await fourth
    assert hall.served == [1, 3]


async def test_group_without_targets_keeps_nobody_waiting() -> None:
    """All go at once when the last target goes."""
    hall = Hall(2)
    hall.fill()
    tasks = [hall.comes() for _ in range(3)]
    await settle()
    for member in hall.state.members.values():
        member.state = alb.TargetHealthState.DRAINING
    hall.choice.refresh()
    assert [await failed(task) for task in tasks] == [FailureKind.NO_TARGETS] * 3
    assert hall.state.counters.rejected_requests == 0


async def test_limits_that_go_away_keep_nobody_waiting() -> None:
    """And nobody is told of room any more."""
    hall = Hall()
    hall.fill()
    tasks = [hall.comes() for _ in range(4)]
    await settle()
    (member,) = hall.state.members.values()
    member.target = alb.Target("127.0.0.1", 9000)
    hall.choice.refresh()
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert hall.served == [0, 1, 2, 3]
    assert hall.choice.room is None


async def test_limits_that_come_back_are_kept_for_those_who_wait() -> None:
    """A last target that goes and comes back at once: the line is as long as before, and works."""
    hall = Hall()
    hall.fill()
    tasks = [hall.comes() for _ in range(3)]
    await settle()
    (member,) = hall.state.members.values()
    member.state = alb.TargetHealthState.DRAINING
    hall.choice.refresh()
    member.state = alb.TargetHealthState.UNAVAILABLE
    hall.choice.refresh()
    await settle()
    assert hall.counters.active_waiting == 3
    for count in range(1, 4):
        hall.free()
        await settle()
        assert hall.served == list(range(count))
    await asyncio.gather(*tasks)

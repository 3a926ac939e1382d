"""Tasks that wait for a stream: kept while they are useful, and never left behind."""

from __future__ import annotations

import asyncio

from albkit.clock import SystemClock
from albkit.proxy.parked_tasks import ParkedTasks
from albkit.proxy.sweep import Sweep


class Waiting:
    """Counts how often it was retired."""

    def __init__(self) -> None:
        self.retired = 0

    def retire(self) -> None:
        self.retired += 1


def parking() -> tuple[ParkedTasks[Waiting], Sweep]:
    sweep = Sweep(asyncio.get_running_loop(), SystemClock(), 1.0)
    return ParkedTasks(sweep), sweep


async def test_last_one_that_was_parked_is_taken_first() -> None:
    """The others may be retired before they are needed."""
    parked, _ = parking()
    first, second = Waiting(), Waiting()
    assert parked.park(first)
    assert parked.park(second)
    assert parked.waiting.pop() is second
    assert first.retired == second.retired == 0


async def test_each_round_of_the_sweep_retires_half() -> None:
    """Those that have waited longest. After a few rounds an idle listener has none."""
    parked, sweep = parking()
    ones = [Waiting() for _ in range(5)]
    for one in ones:
        parked.park(one)
    sweep.look(1.0)
    assert [one.retired for one in ones] == [1, 1, 1, 0, 0]
    sweep.look(2.0)
    assert [one.retired for one in ones] == [1, 1, 1, 1, 0]
    sweep.look(3.0)
    sweep.look(4.0)
    assert [one.retired for one in ones] == [1] * 5
    assert not parked.waiting


async def test_closed_parking_retires_all_and_keeps_none() -> None:
    """And the sweep does not look at it any more."""
    parked, sweep = parking()
    waiting, late = Waiting(), Waiting()
    parked.park(waiting)
    parked.close()
    assert waiting.retired == 1
    assert not parked.park(late)
    assert not parked.waiting
    assert not sweep._swept


async def test_task_that_has_ended_is_forgotten() -> None:
    """Whether it was parked or not."""
    parked, _ = parking()
    gone, other = Waiting(), Waiting()
    parked.park(gone)
    parked.discard(gone)
    parked.discard(other)
    assert not parked.waiting

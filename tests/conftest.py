"""Guards on the whole suite: both event loops, no blocking call in a loop, no task and no socket left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from albkit.report import failure_log
from albkit.report.log_throttle import LogThrottle


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test that runs in a loop runs in both, or in the one that ALBKIT_TEST_LOOP names; what is for one alone always runs there."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.get_closest_marker("only_asyncio") is not None:
        return factories
    if sys.platform != "win32":
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    only = os.environ.get("ALBKIT_TEST_LOOP")
    return {only: factories[only]} if only else factories


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """A blocking call of albkit's in a loop fails the test."""
    with blockbuster_ctx("albkit") as guard:
        yield guard


@pytest.fixture(autouse=True)
def lines_not_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test before this one has told says nothing of what this one may tell in the same second."""
    monkeypatch.setattr(failure_log, "_out_of_sockets", LogThrottle())


@pytest.fixture(scope="module", autouse=True)
def old_objects_frozen() -> None:
    """What is there before the first test of a file is no garbage of any test: each of the many collections need not look at it."""
    gc.collect()
    gc.freeze()


@pytest.fixture
async def loop_guard() -> AsyncIterator[None]:
    """No task may outlive the test, and nothing may have gone to the loop's exception handler."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    yield
    for _ in range(3):
        await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() if task not in before and task is not asyncio.current_task() and not task.done()}
    assert not left, f"tasks left behind: {left}"
    gc.collect()
    await asyncio.sleep(0)
    assert not complaints, f"the loop's exception handler was called: {complaints}"

"""Guards on the whole suite: both event loops, no blocking call in a loop, no task and no socket left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import itertools
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, settings

from albkit.report import failure_log
from albkit.report.log_throttle import LogThrottle
from tests.support.effort import cases

# How quick an example is depends on what else the machine does.
settings.register_profile(
    "albkit", settings(), deadline=None, max_examples=cases(100, part=2), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("albkit")

PROCESSES = 1 + (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
"""One more than processors: much of what tests do is waiting."""


# Several processes.


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Share folders of tests among processes if pytest-xdist is there and the command line does not say `-n`.

    A run of single files stays in one process: it starts sooner, and `breakpoint()` works. pytest-cov has to know of the processes before
    this: give it `-n` too.
    """
    option = config.option
    is_decided = getattr(option, "numprocesses", 0) is not None or "PYTEST_XDIST_WORKER" in os.environ
    if is_decided or option.usepdb or option.capture == "no" or config.pluginmanager.hasplugin("_cov"):
        return
    if any((config.invocation_params.dir / argument.partition("::")[0]).is_dir() for argument in config.args):
        option.numprocesses = PROCESSES
        option.dist = "worksteal"


def pytest_configure() -> None:
    """Keep compiled modules, whatever PYTHONDONTWRITEBYTECODE says: tests start a hundred programs, and each would compile albkit anew."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Of several processes each compiles a share of the test files, for the others as well, before all of them import all files."""
    worker = getattr(session.config, "workerinput", None)
    if worker is not None:
        named = [session.config.invocation_params.dir / argument.partition("::")[0] for argument in session.config.args]
        files = sorted(file for path in named if path.is_dir() for file in path.rglob("test_*.py"))
        for file in files[int(worker["workerid"].removeprefix("gw")) :: worker["workercount"]]:
            # Whatever is wrong with a file, pytest tells when it collects it.
            with contextlib.suppress(Exception, pytest.skip.Exception):
                importlib.import_module(".".join(file.relative_to(session.config.rootpath).with_suffix("").parts))


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


@pytest.fixture(scope="session", autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """A blocking call of albkit's in a loop fails the test."""
    with blockbuster_ctx("albkit") as guard:
        yield guard


@pytest.fixture(autouse=True)
def lines_not_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test before this one has told says nothing of what this one may tell in the same second."""
    monkeypatch.setattr(failure_log, "_out_of_sockets", LogThrottle())


_tests_begun = itertools.count()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Objects that are older than the test are no garbage of it: from time to time they are taken out of what each collection looks at."""
    if next(_tests_begun) % 20 == 0:
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

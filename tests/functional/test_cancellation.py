"""start(), stop() and apply() whose callers do not wait to their end: cancelled wherever they wait."""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections.abc import AsyncIterator, Coroutine, Generator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from tests.support.secure import issued

pytestmark = pytest.mark.usefixtures("loop_guard")

_MOST_WAITS = 40


@types.coroutine
def _cancelled_at(wait: int, work: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
    """Cancel the task that runs this as soon as the work waits for the so manieth time."""
    steps = work.__await__()
    error: BaseException | None = None
    for number in count(1):
        try:
            future = steps.send(None) if error is None else steps.throw(error)
        except StopIteration:
            return
        task = asyncio.current_task()
        if number == wait and task is not None:
            task.cancel()
        error = None
        try:
            yield future
        except BaseException as raised:  # noqa: BLE001 - the work's to deal with
            error = raised


async def cancelled_at(wait: int, work: Coroutine[Any, Any, None]) -> bool:
    """Whether it was cancelled when it waited for the so manieth time, and not through before."""
    task = asyncio.ensure_future(_cancelled_at(wait, work))
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return task.cancelled()


def listeners(directory: Path, *names: str) -> list[alb.Listener]:
    """One on a port and one on a path for each name."""
    group = alb.TargetGroup("group", ["127.0.0.1:9"])
    on_ports = [alb.Listener(0, alb.Forward(group), host="127.0.0.1", name=name) for name in names]
    return on_ports + [alb.Listener(0, alb.Forward(group), host=f"unix:{directory}/{name}", name=f"unix-{name}") for name in names]


@contextlib.asynccontextmanager
async def running(directory: Path) -> AsyncIterator[alb.LoadBalancer]:
    load_balancer = alb.LoadBalancer(listeners(directory, "one", "two"), stop_timeout=0.1)
    await load_balancer.start()
    try:
        yield load_balancer
    finally:
        await load_balancer.stop()


async def still_open(ports: list[int]) -> list[int]:
    """Those on which somebody listens."""
    found = []
    for port in ports:
        with contextlib.suppress(ConnectionRefusedError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            found.append(port)
            writer.transport.abort()
            await asyncio.sleep(0)
    return found


async def gone(directory: Path) -> None:
    """Files are removed in a thread."""
    async with asyncio.timeout(2):
        while any(directory.iterdir()):
            await asyncio.sleep(0.001)


async def test_stop_cancelled_anywhere_closes_every_listener(tmp_path: Path) -> None:
    """Nobody could close them any more: what stop() has begun it does, as it does with connections."""
    for wait in range(1, _MOST_WAITS):
        async with running(tmp_path) as load_balancer:
            ports = [listener.port for listener in load_balancer.listeners if listener.url.startswith("http")]
            _, writer = await asyncio.open_connection("127.0.0.1", ports[0])
            was_cancelled = await cancelled_at(wait, load_balancer.stop())
            assert not await still_open(ports), wait
            assert not load_balancer.counters["ActiveConnectionCount"], wait
            await gone(tmp_path)
            writer.transport.abort()
        if not was_cancelled:
            return
    pytest.fail("it never came to its end")


async def test_start_cancelled_anywhere_leaves_nothing_open(tmp_path: Path) -> None:
    """A listener that is half open is closed like the others."""
    for wait in range(1, _MOST_WAITS):
        load_balancer = alb.LoadBalancer(listeners(tmp_path, "one", "two"), stop_timeout=0.1)
        was_cancelled = await cancelled_at(wait, load_balancer.start())
        if not was_cancelled:
            await load_balancer.stop()
            return
        assert not load_balancer.listeners
        await gone(tmp_path)
    pytest.fail("it never came to its end")


async def test_apply_cancelled_anywhere_is_in_force_or_not(tmp_path: Path) -> None:
    """Either description holds as a whole, and stop() closes whatever is open."""
    for wait in range(1, _MOST_WAITS):
        async with running(tmp_path) as load_balancer:
            before = [listener.port for listener in load_balancer.listeners if listener.url.startswith("http")]
            was_cancelled = await cancelled_at(wait, load_balancer.apply(listeners(tmp_path, "two", "three")))
            names = {str(listener.listener.name) for listener in load_balancer.listeners}
            ports = [listener.port for listener in load_balancer.listeners if listener.url.startswith("http")]
            assert names in ({"one", "two", "unix-one", "unix-two"}, {"two", "three", "unix-two", "unix-three"}), wait
            assert sorted(await still_open([*{*before, *ports}])) == sorted(ports), wait
            # What is in force is known as such: it can be put in force again, and changed.
            await load_balancer.apply(listeners(tmp_path, "one"))
            assert len(load_balancer.listeners) == 2
        await gone(tmp_path)
        if not was_cancelled:
            return
    pytest.fail("it never came to its end")


async def test_apply_cancelled_at_once_still_watches_certificates(tmp_path: Path) -> None:
    """The watch is paused while a description changes, and goes on whatever becomes of that."""
    (tmp_path / "certificate").write_bytes(issued().pem)
    (tmp_path / "key").write_bytes(issued().key_pem)
    certificate = alb.Certificate(str(tmp_path / "certificate"), str(tmp_path / "key"))
    group = alb.TargetGroup("group", ["127.0.0.1:9"])
    listener = alb.Listener(0, alb.Forward(group), host="127.0.0.1", protocol="HTTPS", certificates=[certificate])
    for wait in range(1, 6):
        async with alb.LoadBalancer(listener, stop_timeout=0.1) as load_balancer:
            await cancelled_at(wait, load_balancer.apply(listener))
            watch = load_balancer._certificates
            assert watch is not None
            assert watch._task is not None
            await asyncio.sleep(0)
            assert not watch._task.done(), wait

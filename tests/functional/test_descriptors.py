"""Few file descriptors: who is in is served, who is too many is turned away, and the program around has some for itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from albkit.proxy.descriptors import Descriptors
from tests.functional.test_target_connections import Crowd
from tests.support.balancing import balancing, listener
from tests.support.peers import RawClient, response, target

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc to count another process's descriptors"),
    pytest.mark.timeout(120),
]

MOST = 256
PROGRAMS_OWN = 20
"""Files that the program around the load balancer is to be able to open at any time."""


class Small:
    """A gateway in a process that may open few files."""

    def __init__(self, process: asyncio.subprocess.Process, errors: Path, port: int) -> None:
        self._process = process
        self._errors = errors
        self._began = time.monotonic()
        self.port = port
        self.clients: list[RawClient] = []

    async def told(self, word: int | str = PROGRAMS_OWN) -> dict[str, Any]:
        """Let the program open so many files, hold as many as it can, or free those: how many it could open, and the counters."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n".encode())
        told: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return told

    async def come(self, count: int) -> tuple[list[RawClient], int]:
        """So many clients come and ask, and stay if they are served: those that were, and how many were turned away."""

        async def ask() -> RawClient | None:
            client = await RawClient.connect(self.port)
            self.clients.append(client)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                assert (await client.get()).status == 200
                return client
            await client.close()
            return None

        served = [client for client in await asyncio.gather(*[ask() for _ in range(count)]) if client is not None]
        return served, count - len(served)

    def lines(self) -> list[str]:
        """What it has complained of."""
        return self._errors.read_text().splitlines()

    def most_lines(self) -> int:
        """One a second."""
        return int(time.monotonic() - self._began) + 2


@contextlib.asynccontextmanager
async def small(loop: str, directory: Path, *targets: str, most: int = MOST) -> AsyncIterator[Small]:
    errors = directory / "errors"
    with errors.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f'ulimit -n {most}; exec "$@"', "sh"),
            *(sys.executable, "-m", "tests.support.gateway_process", loop, *targets),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=file,
            cwd=Path(__file__).parents[2],
        )
    assert process.stdin is not None
    assert process.stdout is not None
    it = Small(process, errors, int(await process.stdout.readline()))
    try:
        yield it
    finally:
        for client in it.clients:
            await client.close()
        process.stdin.close()
        await process.wait()
    assert process.returncode == 0


def loop_here() -> str:
    """The gateway runs on the same kind of loop as the test."""
    return "asyncio" if isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop) else "uvloop"


@pytest.mark.parametrize("seldom", [False, True], ids=["kept", "closed-each-time"])
async def test_four_hundred_clients_leave_the_program_its_files(seldom: bool, tmp_path: Path) -> None:
    """As many are let in as can all be served at once, a descriptor for each and one for its target; the others are turned away, with
    one line a second at most; when some leave others come in."""
    crowd = Crowd(response(200, b"ok", b"Connection: close") if seldom else response())
    async with target(crowd.script) as origin, small(loop_here(), tmp_path, origin.address) as it:
        served, turned_away = await it.come(400)
        assert MOST // 4 <= len(served) <= (MOST - PROGRAMS_OWN) // 2
        assert turned_away == 400 - len(served)
        told = await it.told()
        assert told["opened"] == PROGRAMS_OWN
        assert told["counters"]["RejectedConnectionCount"] == turned_away
        for _ in range(3):
            await crowd.ask(served)
        told = await it.told()
        assert (told["opened"], told["counters"].get("HTTPCode_ELB_5XX_Count", 0)) == (PROGRAMS_OWN, 0)
        for _ in range(5):
            more, _ = await it.come(200)
            assert more == []
            assert (await it.told())["opened"] == PROGRAMS_OWN
        for client in served[::2]:
            await client.close()
        rest = served[1::2]
        await crowd.ask(rest)
        new, _ = await it.come(len(served) - len(rest))
        assert len(new) == len(served) - len(rest)
        await crowd.ask(rest + new)
        assert (await it.told())["opened"] == PROGRAMS_OWN
        lines = it.lines()
        assert 1 <= len(lines) <= it.most_lines(), lines[:5]
        assert all("file descriptors" in line for line in lines)


async def test_idle_target_connections_make_room_for_others(tmp_path: Path) -> None:
    """What a crowd has left open to one target is closed when another one is needed."""
    crowds = [Crowd(response()) for _ in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        origins = [await stack.enter_async_context(target(crowd.script)) for crowd in crowds]
        it = await stack.enter_async_context(small(loop_here(), tmp_path, *[origin.address for origin in origins]))
        for _ in range(6):
            served, turned_away = await it.come(75)
            assert turned_away == 0
            assert (await it.told())["opened"] == PROGRAMS_OWN
            for client in served:
                await client.close()
        told = await it.told()
        assert told["counters"].get("HTTPCode_ELB_5XX_Count", 0) == 0
        assert it.lines() == []


async def test_program_that_takes_all_descriptors_hears_of_it_once_a_second(tmp_path: Path) -> None:
    """Its own files may fill the process: whoever has what it needs is served, all others wait or are refused, and come in behind it."""
    async with target() as origin, small(loop_here(), tmp_path, origin.address) as it:
        served = [client for _ in range(10) for client in (await it.come(1))[0]]
        assert len(served) == 10
        assert len(origin.conversations) == 1
        assert it.lines() == []
        assert (await it.told("hold"))["opened"] >= PROGRAMS_OWN
        waiting = [await RawClient.connect(it.port) for _ in range(60)]
        it.clients += waiting
        statuses = {(await client.get()).status for client in served}
        for _ in range(40):
            statuses |= {answer.status for answer in await asyncio.gather(*[client.get() for client in served])}
        assert {200} < statuses <= {200, 503}
        assert 1 <= len(it.lines()) <= it.most_lines(), it.lines()
        await it.told("free")
        new, turned_away = await it.come(10)
        assert (len(new), turned_away) == (10, 0)
        assert [(await client.get()).status for client in served] == [200] * 10
        assert len(it.lines()) <= it.most_lines(), it.lines()


async def test_checks_that_hang_take_no_more_than_their_part_of_the_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is nothing else left; each end of one lets another one begin."""
    divide = Descriptors.__init__

    def few(they: Descriptors) -> None:
        divide(they)
        they.for_checks, they.for_sockets = 3, 0

    monkeypatch.setattr(Descriptors, "__init__", few)
    asked: dict[alb.Target, int] = {}
    going_on = most = 0
    release = asyncio.Event()

    async def hang(one: alb.Target) -> bool:
        nonlocal going_on, most
        asked[one] = asked.get(one, 0) + 1
        going_on += 1
        most = max(most, going_on)
        try:
            await release.wait()
        finally:
            going_on -= 1
        return True

    check = alb.HealthCheck(interval=0.02, timeout=5, probe=hang)
    web = alb.TargetGroup("web", [f"192.0.2.{place}:80" for place in range(1, 11)], health_check=check)
    async with balancing(listener(alb.Forward(web))) as it:
        gateway = it.runtime
        async with asyncio.timeout(5):
            while going_on < 3:
                await asyncio.sleep(0)
            for _ in range(20):
                await asyncio.sleep(0.005)
                assert gateway.checks == going_on == 3
            release.set()
            while len(asked) < 10:
                await asyncio.sleep(0.005)
        assert most == 3
    assert gateway.checks == 0

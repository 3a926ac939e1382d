"""When a name is asked for again, and what becomes of an answer that comes too late."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

import albkit as alb
from albkit.control import name_follower
from albkit.control.name_follower import NameFollower
from albkit.model.target import Target
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.target.resolver import NameAnswer, UnresolvedError
from albkit.state.counters import Counters
from albkit.state.target_group import TargetGroupState
from tests.support.clock import FakeClock

pytestmark = pytest.mark.usefixtures("loop_guard")

ANSWER = NameAnswer((Target("127.0.0.1", 80),), 60)
NOBODY = NameAnswer((), 600)


class House:
    """A follower whose name server is the test, and which does not really sleep."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, script: Iterable[NameAnswer | Exception], **settings: float) -> None:
        self.clock = FakeClock()
        self.name = alb.DnsName("api.test", 80, nameservers="127.0.0.1", **settings)  # type: ignore[arg-type]
        self.choice = TargetChoice(TargetGroupState(alb.TargetGroup("group", self.name)), self.clock)
        self.counters = Counters()
        self.registered: list[str] = []
        self.deregistered: list[str] = []
        self.pauses: list[float] = []
        self.script = iter(script)
        self.over = asyncio.Event()
        gateway: Any = SimpleNamespace(clock=self.clock, loop=asyncio.get_running_loop(), counters=self.counters)
        self.follower = NameFollower(
            gateway,
            lambda _, targets: self.registered.extend(map(str, targets)),
            lambda _, targets: self.deregistered.extend(map(str, targets)),
        )
        resolver: Any = self
        self.follower._resolver = resolver
        monkeypatch.setattr(name_follower, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": self._sleep}))

    async def look_up(self, _: alb.DnsName) -> NameAnswer:
        """The next of the script; for good when there is no more."""
        said = next(self.script, None)
        if said is None:
            self.over.set()
            await asyncio.Event().wait()
        if isinstance(said, Exception):
            raise said
        assert said is not None
        return said

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    async def run(self) -> None:
        """Follow the name to the end of the script."""
        self.follower.follow(self.choice, [self.name])
        async with asyncio.timeout(5):
            await self.follower.first_answers()
            await self.over.wait()
        await self.end()

    async def end(self) -> None:
        self.follower.close()
        async with asyncio.timeout(5):
            await self.follower.closed()


@pytest.mark.parametrize(
    ("settings", "script", "pauses"),
    [
        ({}, [ANSWER, ANSWER], [60, 60]),
        ({"min_ttl": 90}, [ANSWER], [90]),
        ({"max_ttl": 7}, [ANSWER], [7]),
        ({}, [UnresolvedError("x")] * 8, [1, 2, 4, 8, 16, 30, 30, 30]),
        ({"max_ttl": 5}, [UnresolvedError("x")] * 5, [1, 2, 4, 5, 5]),
        ({"min_ttl": 3}, [UnresolvedError("x")] * 4, [3, 3, 4, 8]),
        ({}, [UnresolvedError("x"), UnresolvedError("x"), ANSWER, UnresolvedError("x")], [1, 2, 60, 1]),
        ({}, [ValueError("a bug"), ANSWER], [30, 60]),
        # Nobody: asked again when the hold is over, and then as long as the answer holds.
        ({"hold": 30}, [NOBODY, NOBODY], [30, 300]),
        ({"hold": 0}, [NOBODY], [300]),
    ],
)
async def test_name_is_asked_for_again_in_time(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, float], script: list[NameAnswer | Exception], pauses: list[float]
) -> None:
    """When the answer is too old, within the name's bounds; where there is none after longer and longer pauses."""
    house = House(monkeypatch, script, **settings)
    await house.run()
    assert house.pauses == pauses
    assert house.counters.dns_failures == sum(isinstance(said, Exception) for said in script)


async def test_failures_take_nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many."""
    house = House(monkeypatch, [ANSWER, *[UnresolvedError("x")] * 50, ANSWER])
    await house.run()
    assert (house.registered, house.deregistered) == (["127.0.0.1:80"], [])


async def test_targets_go_when_the_hold_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with the first answer that there is nobody; failures in between begin nothing anew."""
    house = House(monkeypatch, [ANSWER, NOBODY, UnresolvedError("x"), NOBODY], hold=30)
    await house.run()
    assert house.deregistered == ["127.0.0.1:80"]
    house = House(monkeypatch, [ANSWER, NOBODY], hold=30)
    await house.run()
    assert house.deregistered == []


@pytest.mark.parametrize("whole", [True, False], ids=["close", "no longer declared"])
async def test_answer_behind_the_end_is_not_taken(monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    """Before Python 3.12 a wait with a time-out loses a cancellation that comes at the moment of the answer: the name must not go on."""
    house = House(monkeypatch, [])
    asked = 0

    async def look_up(_: alb.DnsName) -> NameAnswer:
        nonlocal asked
        asked += 1
        if asked == 1:
            house.over.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return ANSWER
        elif asked > 5:
            # So that the test ends where it fails.
            await asyncio.Event().wait()
        return ANSWER

    monkeypatch.setattr(house, "look_up", look_up)
    house.follower.follow(house.choice, [house.name])
    await house.over.wait()
    if whole:
        house.follower.close()
    else:
        house.follower.follow(house.choice, [])
    tasks = set(house.follower._tasks)
    for _ in range(20):
        await asyncio.sleep(0)
    late = [task for task in tasks if not task.done()]
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    assert (asked, house.registered) == (1, [])
    assert not late

"""Reading the state costs little, and is done in short steps."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from albkit.admin import state
from albkit.admin.drained import DrainedTargets
from albkit.admin.history import History
from albkit.admin.state import State
from tests.admin.test_section import FakeTunnel
from tests.support.gateway import running


async def delta_of(what: State) -> dict[str, Any]:
    async with what.lock:
        await what.refresh(at_once=True)
        delta: dict[str, Any] = json.loads(b"".join(await what.encoded_delta()))
        return delta


async def test_many_tunnels_take_turns_and_new_ones_are_seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is read after some deltas, and a whole reading reads all of them."""
    monkeypatch.setattr(state, "_TUNNELS_IN_A_TURN", 10)
    monkeypatch.setattr(state, "_TUNNELS_AT_ONCE", 4)
    async with running("10.0.0.1:80") as gateway:
        load_balancer = gateway.load_balancer
        history, drained = History(load_balancer), DrainedTargets(load_balancer)
        it = State(load_balancer, history, drained)
        tunnels: list[Any] = [FakeTunnel(number) for number in range(1, 26)]
        load_balancer._tunnels = tunnels
        try:
            assert len((await delta_of(it))["set"]["tunnels"]) == 25
            for tunnel in tunnels:
                tunnel.bytes_in = 5
            tunnels.append(FakeTunnel(26))
            changed = [sorted(int(number) for number in (await delta_of(it))["set"].get("tunnels", {})) for _ in range(4)]
            assert changed[0] == [*range(11, 21), 26]
            assert sorted(number for part in changed for number in part) == list(range(1, 27))
            tunnels[3].bytes_in = 6
            async with it.lock:
                it.outdate()
                await it.refresh()
                (item,) = [item for item in json.loads(b"".join(await it.encoded_section("tunnels"))) if item["id"] == "4"]
            assert item["bytes_in"] == 6
            del tunnels[:20]
            assert len((await delta_of(it))["gone"]["tunnels"]) == 20
        finally:
            load_balancer._tunnels = ()
            it.close()
            history.close()
            drained.close()


async def test_reading_gives_turns_back() -> None:
    """Others run between the steps of a reading of a thousand targets."""
    async with running(*(f"10.1.{n // 250}.{n % 250}:80" for n in range(1000))) as gateway:
        history, drained = History(gateway.load_balancer), DrainedTargets(gateway.load_balancer)
        it = State(gateway.load_balancer, history, drained)
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        try:
            delta = await delta_of(it)
            assert len(delta["set"]["targets"]) == 1000
            assert turns > 5
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)
            it.close()
            history.close()
            drained.close()

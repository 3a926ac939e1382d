"""The traffic of the demo."""

from __future__ import annotations

import asyncio

from albkit.demo.gateway import Demo


async def test_traffic_is_of_all_kinds_and_ends_with_the_demo() -> None:
    """Requests and WebSockets come through, and nothing is left."""
    before = asyncio.all_tasks()
    async with Demo(traffic=True) as demo:
        async with asyncio.timeout(20):
            while not (demo.load_balancer.counters["RequestCount"] > 5 and demo.load_balancer.tunnels):
                await asyncio.sleep(0.05)
        assert demo.load_balancer.counters["HTTPCode_ELB_5XX_Count"] == 0
    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()


async def test_traffic_goes_on_after_targets_were_away() -> None:
    """Whoever tries out what happens without targets sees errors, and then traffic again."""
    async with Demo(traffic=True) as demo:
        for one in demo.targets:
            await one.stop()
        async with asyncio.timeout(20):
            while not demo.load_balancer.counters["HTTPCode_ELB_5XX_Count"]:
                await asyncio.sleep(0.05)
        answered = demo.load_balancer.counters["HTTPCode_ELB_5XX_Count"]
        async with asyncio.timeout(20):
            while demo.load_balancer.counters["HTTPCode_ELB_5XX_Count"] <= answered:
                await asyncio.sleep(0.05)

"""Connecting to targets: what cannot be shown from outside."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

import albkit as alb
from albkit.model.limits import Limits
from albkit.proxy.http2.buffer_budget import BufferBudget
from albkit.proxy.target.connection_pool import ConnectionPool
from albkit.state.counters import Counters
from tests.support.peers import Conversation, target


async def test_connection_that_is_made_as_its_client_is_cancelled_is_closed() -> None:
    """Between the moment when it is there and the one when the waiting task is woken it belongs to nobody."""

    async def until_it_ends(conversation: Conversation) -> None:
        await conversation.read_to_end()

    loop = asyncio.get_running_loop()
    async with target(until_it_ends) as origin:
        group = alb.TargetGroup("group", origin.address)
        member: Any = SimpleNamespace(target=group.fixed_targets[0])
        sweep: Any = SimpleNamespace(add=lambda _: None, discard=lambda _: None)
        connections = ConnectionPool(loop, Counters(), sweep, Limits(), BufferBudget(0))

        def wait() -> asyncio.Future[object]:
            waiter: asyncio.Future[object] = loop.create_future()
            waiter.add_done_callback(lambda _: connecting.cancel())
            return waiter

        client: Any = SimpleNamespace(address=None, wait=wait)
        connecting = loop.create_task(connections.lease(member, group, client))
        with pytest.raises(asyncio.CancelledError):
            await connecting
        async with asyncio.timeout(5):
            await (await origin.arrived()).over.wait()
        assert connections.count == 0

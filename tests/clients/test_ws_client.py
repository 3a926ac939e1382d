"""The WebSocket client of Node's package ws through a load balancer, to servers of every make."""

from __future__ import annotations

import pytest

from tests.clients.endpoints import facing, over
from tests.clients.node import node

pytestmark = pytest.mark.timeout(30)

STEPS = [
    "text, binary and empty messages",
    "5 MiB",
    "fragments with a ping between",
    "permessage-deflate",
    "subprotocol",
    "close by the client",
    "close by the server",
    "ping and pong",
    "query and cookies",
    "each with its own target",
]


@pytest.mark.parametrize("server_make", ["websockets", "aiohttp", "ws"])
async def test_client_of_node_can_do_all_that_websockets_can(server_make: str) -> None:
    """Each step holds at the client, the server reads the client's code and reason, and nothing counts as a failure."""
    async with facing(server_make, count=3) as (gateway, servers):
        async with node("ws_client.js", f"ws://127.0.0.1:{gateway.port}") as program:
            for step in STEPS:
                assert await program.told() == {"step": step}
            assert await program.told() == {"over": True}
            ends = [await servers.ends.get() for _ in range(21)]
            assert ends.count((4001, "genug für heute")) >= 1
            assert {end and end[0] for end in ends} == {1000, 1001, 4001}
        await over(gateway)
        assert gateway.counters["TunnelCount"] == 21

"""Socket.IO through a load balancer: sessions that live on one of several targets, from long polling over to WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import pytest

import albkit as alb
from tests.clients.endpoints import over
from tests.clients.node import node
from tests.support.gateway import Running, running

pytestmark = pytest.mark.timeout(40)

CLIENTS = 10
NAMES = ("red", "green", "blue")
BOUND = 30.0


@contextlib.asynccontextmanager
async def facing_stateful_targets(stickiness: alb.LbCookie | None) -> AsyncIterator[Running]:
    """A load balancer in front of three servers that know nothing of each other's sessions."""
    async with asyncio.timeout(BOUND), contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(node("socketio_server.js", name)) for name in NAMES]
        ports = [(await server.told())["port"] for server in servers]
        yield await stack.enter_async_context(running(*(f"127.0.0.1:{port}" for port in ports), stickiness=stickiness))


async def test_clients_stay_with_their_target_from_polling_to_websocket() -> None:
    """All connect and upgrade, each asks one target for ever, and what is said in a room is heard by that target's clients alone."""
    async with (
        facing_stateful_targets(alb.LbCookie(duration=600)) as gateway,
        node("socketio_client.js", f"http://127.0.0.1:{gateway.port}", str(CLIENTS), "with-cookies") as program,
    ):
        told = await program.told(within=20)
        assert told["connected"] == CLIENTS
        outcomes = told["outcomes"]
        assert [(outcome["first"], outcome["now"]) for outcome in outcomes] == [("polling", "websocket")] * CLIENTS

        assert [len(outcome["names"]) for outcome in outcomes] == [1] * CLIENTS
        names = [outcome["names"][0] for outcome in outcomes]
        assert sorted(Counter(names).values()) == [3, 3, 4]

        assert max(outcome["members"] for outcome in outcomes) == 4
        assert [outcome["heard"] for outcome in outcomes] == [["hello"] if name == names[0] else [] for name in names]
        assert gateway.counters["TunnelCount"] == CLIENTS
        await over(gateway)


@pytest.mark.parametrize(
    ("stickiness", "cookies"),
    [pytest.param(None, "with-cookies", id="no-stickiness"), pytest.param(alb.LbCookie(), "without-cookies", id="no-cookies")],
)
async def test_clients_without_a_session_do_not_all_connect(stickiness: alb.LbCookie | None, cookies: str) -> None:
    """So it is stickiness, and the clients that send its cookie back, that make the test above hold."""
    async with (
        facing_stateful_targets(stickiness) as gateway,
        node("socketio_client.js", f"http://127.0.0.1:{gateway.port}", str(CLIENTS), cookies) as program,
    ):
        assert (await program.told(within=20))["connected"] < CLIENTS
        assert gateway.counters["HTTPCode_Target_4XX_Count"] > 0

"""WebSocket clients of Python through a load balancer, to servers of Python and of Node."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.clients.endpoints import CHAT, FRAGMENTING_SERVERS, Message, WebsocketsClient, client, facing, over

pytestmark = pytest.mark.timeout(30)

every_pair = pytest.mark.parametrize(
    ("client_make", "server_make"),
    [
        pytest.param(client_make, server_make, id=f"{client_make}-to-{server_make}")
        for client_make, server_make in (
            ("websockets", "websockets"),
            ("websockets", "aiohttp"),
            ("websockets", "ws"),
            ("aiohttp", "websockets"),
            ("aiohttp", "aiohttp"),
        )
    ],
)

LARGE = 5 * 2**20
ROUNDS = 10
REASON = "genug für heute"


def answer_to(code: int, make: str) -> int:
    """With which code an end of this make answers a close: aiohttp always with 1000."""
    return 1000 if make == "aiohttp" else code


@every_pair
async def test_text_binary_and_empty_messages_come_back_as_they_were_sent(client_make: str, server_make: str) -> None:
    """Kind and content, in order."""
    messages: list[Message] = ["Grüße, 世界", b"\x00\xff\r\n\r\n", "", b"", "x" * 125, "x" * 126, b"x" * 65536]
    async with facing(server_make) as (gateway, _):
        async with client(client_make, gateway) as it:
            for message in messages:
                await it.send(message)
            assert [await it.receive() for _ in messages] == messages
        await over(gateway)


@every_pair
async def test_large_message_has_no_cap(client_make: str, server_make: str) -> None:
    """Five MiB in one frame: more than proxies let pass that take messages apart."""
    message = os.urandom(LARGE)
    async with facing(server_make) as (gateway, _):
        async with client(client_make, gateway) as it:
            await it.send(message)
            assert await it.receive() == message
        await over(gateway)
        assert gateway.counters["ProcessedBytes"] > 2 * LARGE


@pytest.mark.parametrize("server_make", ["websockets", "aiohttp", "ws"])
async def test_fragments_of_a_client_arrive_as_one_message(server_make: str) -> None:
    """With a ping between two of them."""
    async with facing(server_make) as (gateway, _), client("websockets", gateway) as it:
        assert isinstance(it, WebsocketsClient)

        async def parts() -> AsyncIterator[str]:
            yield "one "
            await it.ping(b"between")
            yield "two "
            yield "three"

        await it.connection.send(parts())
        assert await it.receive() == "one two three"


@pytest.mark.parametrize("client_make", ["websockets", "aiohttp"])
@pytest.mark.parametrize("server_make", FRAGMENTING_SERVERS)
async def test_fragments_of_a_server_arrive_as_one_message(client_make: str, server_make: str) -> None:
    """The other way."""
    async with facing(server_make) as (gateway, _), client(client_make, gateway) as it:
        await it.send("!fragments")
        assert await it.receive() == "one two three"


@every_pair
async def test_permessage_deflate_is_agreed_on_and_little_is_carried(client_make: str, server_make: str) -> None:
    """Both ends have it switched on, and what crosses the load balancer is compressed."""
    message = "all work and no play " * 50_000
    async with facing(server_make) as (gateway, _):
        async with client(client_make, gateway, deflate=True) as it:
            assert it.deflate
            assert (await it.asked())["deflate"]
            await it.send(message)
            assert await it.receive() == message
        await over(gateway)
        assert gateway.counters["ProcessedBytes"] < len(message) / 10


@every_pair
async def test_permessage_deflate_that_nobody_asked_for_stays_off(client_make: str, server_make: str) -> None:
    """The load balancer adds no extension."""
    async with facing(server_make) as (gateway, _), client(client_make, gateway) as it:
        assert not it.deflate
        assert not (await it.asked())["deflate"]


@every_pair
async def test_subprotocol_is_negotiated_end_to_end(client_make: str, server_make: str) -> None:
    """The server's choice of the client's offers; none where none fits."""
    async with facing(server_make) as (gateway, _):
        async with client(client_make, gateway, protocols=("chat.v3", CHAT, "chat.v1")) as it:
            assert it.protocol == CHAT
            assert (await it.asked())["protocol"] == CHAT
        async with client(client_make, gateway) as it:
            assert it.protocol is None
            assert not (await it.asked())["protocol"]


@every_pair
@pytest.mark.parametrize("code", [1000, 4001])
async def test_close_of_the_client_reaches_the_server(client_make: str, server_make: str, code: int) -> None:
    """Code and reason, and the server's answer to it; nothing counts as a failure."""
    async with facing(server_make) as (gateway, servers):
        async with client(client_make, gateway) as it:
            assert await it.close(code, REASON) == answer_to(code, server_make)
        assert await servers.ends.get() == (code, REASON)
        await over(gateway)


@every_pair
@pytest.mark.parametrize("code", [1000, 1001, 4001])
async def test_close_of_the_server_reaches_the_client(client_make: str, server_make: str, code: int) -> None:
    """Code and reason, and the client's answer to it; nothing counts as a failure."""
    async with facing(server_make) as (gateway, servers):
        async with client(client_make, gateway) as it:
            await it.send(f"!close {code} {REASON}")
            assert await it.end() == (code, REASON)
        end = await servers.ends.get()
        assert end is not None
        assert end[0] == answer_to(code, client_make)
        await over(gateway)


@every_pair
async def test_pings_of_both_ends_pass_and_are_answered(client_make: str, server_make: str) -> None:
    """Each pong brings the ping's payload back, messages before and after it."""
    async with facing(server_make) as (gateway, _), client(client_make, gateway) as it:
        await it.ping(b"from the client")
        await it.send("between")
        assert await it.receive() == "between"
        await it.send("!ping from the server")
        assert await it.receive() == "pong from the server"
        await it.ping(b"")


@every_pair
async def test_query_and_cookies_arrive(client_make: str, server_make: str) -> None:
    """As they were sent."""
    path = "/rooms/a%2Fb?room=1&room=2&name=%C3%A9&empty="
    async with facing(server_make) as (gateway, _), client(client_make, gateway, path, cookie="session=abc123; theme=dark") as it:
        asked = await it.asked()
        assert (asked["path"], asked["cookie"]) == (path, "session=abc123; theme=dark")


@every_pair
async def test_connections_at_once_stay_each_with_its_own_target(client_make: str, server_make: str) -> None:
    """Nine over three targets: three each, however often they ask."""
    async with facing(server_make, count=3) as (gateway, _):
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(client_make, gateway)) for _ in range(9)]
            heard: list[set[str]] = [set() for _ in clients]
            for _ in range(ROUNDS):
                for names, answer in zip(heard, await asyncio.gather(*(it.asked() for it in clients)), strict=True):
                    names.add(answer["server"])
            assert gateway.counters["ActiveTunnelCount"] == 9
        assert [len(names) for names in heard] == [1] * 9
        assert Counter(name for names in heard for name in names) == {"0": 3, "1": 3, "2": 3}
        await over(gateway)

"""What one target of the demo does, asked without a gateway."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from albkit.demo.targets import ChatRoom, DemoTarget


@contextlib.asynccontextmanager
async def asking(name: str = "red") -> AsyncIterator[tuple[DemoTarget, aiohttp.ClientSession]]:
    origin = DemoTarget(name, ChatRoom())
    await origin.start()
    try:
        async with aiohttp.ClientSession(f"http://{origin.address}") as client:
            yield origin, client
    finally:
        await origin.stop()


async def test_page_names_its_target_and_needs_nothing_from_outside() -> None:
    """One file is the whole page."""
    async with asking("green") as (_, client), client.get("/") as answer:
        text = await answer.text()
    assert '<span class="name">green</span>' in text
    assert "{{" not in text
    assert re.findall(r"""(?:src|href)=["'](?!/|data:)[^"']*|url\(|@import|https?://(?!any\.demo\.localhost)""", text) == []


async def test_whoami_shows_the_request_as_it_arrived() -> None:
    """Case, order and repetition of the fields are kept."""
    fields = [("x-SHOUT", "1"), ("x-SHOUT", "2")]
    async with asking() as (_, client), client.get("/api/whoami?a=%26", headers=fields) as answer:
        told = await answer.json()
    assert (told["target"], told["request"]) == ("red", "GET /api/whoami?a=%26 HTTP/1.1")
    assert [line for line in told["headers"] if "SHOUT" in line] == ["x-SHOUT: 1", "x-SHOUT: 2"]


@pytest.mark.parametrize("query", ["slow?seconds=-1", "slow?seconds=soon", "slow?seconds=nan", "slow?seconds=1e9", "stream?events=101"])
async def test_number_out_of_range_is_refused_with_its_range(query: str) -> None:
    """Nobody can make a target busy for long."""
    async with asking() as (_, client), client.get(f"/api/{query}") as answer:
        text = await answer.text()
    assert answer.status == 400
    assert "must be a number from 0 to" in text


async def test_stop_closes_open_websockets_in_good_order() -> None:
    """A member of the chat is told that its target goes away."""
    async with asking() as (origin, client), client.ws_connect("/ws") as socket:
        await socket.receive_json()
        await origin.stop()
        message = await socket.receive()
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)


@pytest.mark.parametrize("text", ["plain", '{"say": 1}', '["say"]', "{}", "null"])
async def test_message_that_says_nothing_comes_back_as_it_is(text: str) -> None:
    """Only an object with a text under `say` is for everybody."""
    async with asking() as (_, client), client.ws_connect("/ws") as socket:
        await socket.receive_json()
        await socket.send_str(text)
        assert await socket.receive_str() == text

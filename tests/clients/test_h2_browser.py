"""Chromium over HTTP/2: more tabs with streams of events than HTTP/1.1 has connections for, and a WebSocket on the same connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

import albkit as alb
from tests.clients.node import need_chromium, node
from tests.support.authority import self_signed
from tests.support.balancing import balancing, group_of, listener

pytestmark = pytest.mark.timeout(60)

TABS = 8
"""Chromium has six connections per host over HTTP/1.1."""


class Site:
    """A page, a stream of events for each tab, and a WebSocket that echoes."""

    def __init__(self) -> None:
        self.address = ""
        self.streams: list[web.StreamResponse] = []
        self.news = asyncio.Event()
        self.over = asyncio.Event()
        """Set when the test is over: streams of events end."""

    async def page(self, _: web.Request) -> web.Response:
        return web.Response(text="<!DOCTYPE html><title>a page</title>", content_type="text/html")

    async def events(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await stream.prepare(request)
        self.streams.append(stream)
        await stream.write(b"event: hello\ndata: -\n\n")
        await self.news.wait()
        await stream.write(b"event: news\ndata: all is well\n\n")
        await self.over.wait()
        return stream

    async def echo(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            else:
                await socket.send_str(message.data)
        return socket


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[Site]:
    it = Site()
    app = web.Application()
    app.router.add_get("/", it.page)
    app.router.add_get("/events", it.events)
    app.router.add_get("/ws", it.echo)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        it.address = f"127.0.0.1:{runner.addresses[0][1]}"
        yield it
    finally:
        it.over.set()
        await runner.cleanup()


async def test_eight_tabs_have_live_streams_of_events_and_a_websocket_on_one_connection(browser_folder: Path) -> None:
    """All eight hear the same news. The WebSocket is a stream too (RFC 8441)."""
    need_chromium()
    own = self_signed("localhost")
    ports: dict[str, set[int]] = {}

    async def note(asked: alb.Request) -> None:
        ports.setdefault(asked.path, set()).add(asked.client.port)

    async with asyncio.timeout(50), site() as origin:
        forward = group_of(origin.address)
        door = listener([note, forward], protocol="HTTPS", certificates=alb.Certificate(own.pem, own.key_pem))
        async with balancing(door) as it:
            url = f"https://localhost:{it.port}/"
            async with node("h2_browser.js", url, str(TABS), TMPDIR=str(browser_folder), HOME=str(browser_folder)) as browser:
                assert await browser.told(within=25) == {"protocols": ["h2"] * TABS}
                assert len(origin.streams) == TABS
                origin.news.set()
                browser.go_on()
                assert await browser.told() == {"heard": ["all is well"] * TABS}
                browser.go_on()
                # aiohttp answers every close with 1000.
                assert await browser.told() == {"heard": ["grüße", 200_000], "code": 1000, "wasClean": True}
                assert ports["/ws"] == ports["/events"]
                assert len(ports["/ws"]) == 1
                assert it.counters["TunnelCount"] == 1

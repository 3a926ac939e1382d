"""A browser at a page behind an HTTPS listener, and its WebSocket through it to a target that knows no TLS."""

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
from tests.support.balancing import Balancing, balancing, listener

pytestmark = pytest.mark.timeout(40)

BOUND = 30.0


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[str]:
    """A page, and a WebSocket that echoes, or tells the cookies of its handshake where it is asked for them."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!DOCTYPE html><title>a page</title>", content_type="text/html")

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            else:
                await socket.send_str(request.headers.get("Cookie", "") if message.data == "?" else message.data)
        return socket

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/ws", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def behind_https(*addresses: str) -> AsyncIterator[Balancing]:
    """An HTTPS listener in front of targets with sessions."""
    own = self_signed("localhost")
    group = alb.TargetGroup("site", list(addresses), stickiness=alb.LbCookie(3600))
    door = listener(alb.Forward(group), protocol="HTTPS", certificates=alb.Certificate(own.pem, own.key_pem))
    async with balancing(door, stop_timeout=5) as it:
        yield it


async def test_page_talks_through_wss_and_reads_1001_when_the_load_balancer_stops(browser_folder: Path) -> None:
    """Text and binary come back as they were; the cookies of the session are Secure, and come back on the upgrade."""
    need_chromium()
    async with asyncio.timeout(BOUND), site() as one, site() as other, behind_https(one, other) as it:
        url = f"https://localhost:{it.port}/"
        # What the browser leaves behind, such as its profile, is gone with the test's folder.
        async with node("wss_browser.js", url, TMPDIR=str(browser_folder), HOME=str(browser_folder)) as browser:
            opened = await browser.told(within=20)
            assert opened["status"] == 200
            cookies = {cookie["name"]: cookie for cookie in opened["cookies"]}
            assert set(cookies) == {"AWSALB", "AWSALBCORS"}
            assert cookies["AWSALBCORS"]["secure"]
            assert cookies["AWSALBCORS"]["sameSite"] == "None"

            said = await browser.told()
            assert (said["text"], said["whole"]) == ("grüße", True)
            back = dict(pair.split("=", 1) for pair in said["cookie"].split("; "))
            # Behind the second in which they expire, which is another one if they were renewed meanwhile.
            assert {name: value[8:] for name, value in back.items()} == {name: cookie["value"][8:] for name, cookie in cookies.items()}
            (tunnel,) = it.load_balancer.tunnels
            assert tunnel.protocol == "websocket"
            # Chromium opens the WebSocket as a stream of the connection that has loaded the page (RFC 8441).
            assert tunnel.record.protocol == "HTTP/2"  # type: ignore[attr-defined]
            tls = tunnel.client.tls
            assert tls is not None
            assert (tls.version, tls.server_name) == ("TLSv1.3", "localhost")

            stopping = asyncio.create_task(it.load_balancer.stop())
            browser.go_on()
            assert await browser.told() == {"code": 1001, "wasClean": True}
            await stopping

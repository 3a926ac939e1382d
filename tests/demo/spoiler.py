"""A relay that stands in front of a demo's gateway and does one thing wrong, so that the tour has something to find."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import WSMsgType, web

_NOT_RELAYED = ("Content-Length", "Transfer-Encoding", "Connection", "Date", "Server")


class Spoiler:
    """Relays as it should; a subclass overrides what it does wrong."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.url = ""
        self._client = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(force_close=True))

    def page(self, body: bytes) -> bytes:
        return body

    def set_cookies(self, cookies: list[str], status: int) -> list[str]:  # noqa: ARG002
        return cookies

    def handshake(self, request: web.Request) -> dict[str, str]:
        return {"Cookie": request.headers["Cookie"]} if "Cookie" in request.headers else {}

    def text_for_client(self, text: str) -> str | None:
        return text

    def body(self, body: bytes) -> bytes:
        return body

    def status(self, request: web.Request, status: int) -> int:  # noqa: ARG002
        return status

    buffers = False
    lock: contextlib.AbstractAsyncContextManager[object] = contextlib.nullcontext()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request)
        fields = request.headers.copy()
        for name in ("Content-Length", "Transfer-Encoding"):
            fields.pop(name, None)
        async with (
            self.lock,
            self._client.request(request.method, self.upstream + request.raw_path, headers=fields, data=await request.read()) as answer,
        ):
            response = web.StreamResponse(status=self.status(request, answer.status))
            for name, value in answer.headers.items():
                if name not in (*_NOT_RELAYED, "Set-Cookie"):
                    response.headers.add(name, value)
            for cookie in self.set_cookies(answer.headers.getall("Set-Cookie", []), answer.status):
                response.headers.add("Set-Cookie", cookie)
            if answer.content_type == "text/event-stream" and not self.buffers:
                await response.prepare(request)
                async for piece in answer.content.iter_any():
                    await response.write(piece)
            else:
                body = await answer.read()
                body = self.page(body) if request.path == "/" else self.body(body) if request.method == "POST" else body
                await response.prepare(request)
                await response.write(body)
            await response.write_eof()
            return response

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        async with self._client.ws_connect(self.upstream + request.raw_path, headers=self.handshake(request)) as target:
            client = web.WebSocketResponse()
            for cookie in self.set_cookies(target._response.headers.getall("Set-Cookie", []), 101):
                client.headers.add("Set-Cookie", cookie)
            await client.prepare(request)
            back = asyncio.create_task(self._to_client(target, client))
            async for message in client:
                if message.type is WSMsgType.TEXT:
                    await target.send_str(message.data)
                else:
                    await target.send_bytes(message.data)
            await target.close()
            await back
        return client

    async def _to_client(self, target: aiohttp.ClientWebSocketResponse, client: web.WebSocketResponse) -> None:
        async for message in target:
            if message.type is WSMsgType.BINARY:
                await client.send_bytes(message.data)
            elif (text := self.text_for_client(message.data)) is not None:
                await client.send_str(text)

    async def close(self) -> None:
        await self._client.close()


@contextlib.asynccontextmanager
async def spoiled(kind: type[Spoiler], upstream: str) -> AsyncIterator[Spoiler]:
    """A running spoiler in front of `upstream`."""
    spoiler = kind(upstream)
    app = web.Application(client_max_size=2**23)
    app.router.add_route("*", "/{path:.*}", spoiler.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        spoiler.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield spoiler
    finally:
        await runner.cleanup()
        await spoiler.close()


class OtherPage(Spoiler):
    """Serves a page that no target made."""

    def page(self, body: bytes) -> bytes:
        return body.replace(b"data-target", b"data-nobody")


class OneCookie(Spoiler):
    """Loses AWSALBCORS."""

    def set_cookies(self, cookies: list[str], status: int) -> list[str]:  # noqa: ARG002
        return [cookie for cookie in cookies if not cookie.startswith("AWSALBCORS=")]


class BareSwitch(Spoiler):
    """Loses the cookies of a 101 only."""

    def set_cookies(self, cookies: list[str], status: int) -> list[str]:
        return [] if status == 101 else cookies


class ForgetfulHandshake(Spoiler):
    """Loses the cookies that a handshake brings."""

    def handshake(self, request: web.Request) -> dict[str, str]:  # noqa: ARG002
        return {}


class LoudEcho(Spoiler):
    """Changes what a WebSocket says."""

    def text_for_client(self, text: str) -> str | None:
        return text if text.startswith("{") else text.upper()


class DeafChat(Spoiler):
    """Loses chat messages."""

    def text_for_client(self, text: str) -> str | None:
        return None if '"chat"' in text else text


class ShortBody(Spoiler):
    """Loses the last byte of a body."""

    def body(self, body: bytes) -> bytes:
        return body[:-1]


class BufferedStream(Spoiler):
    """Delivers a stream when it is over."""

    buffers = True


class OneAtATime(Spoiler):
    """Begins a request when the one before has been answered."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.lock = asyncio.Lock()


class NoRetry(Spoiler):
    """Passes one failure on to the client."""

    names = 0

    def status(self, request: web.Request, status: int) -> int:
        self.names += request.path == "/api/name"
        return 502 if self.names == 7 else status

"""The three small servers behind the demo's load balancer. Each knows its own name."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files

from aiohttp import WSMsgType, web

from albkit.demo.grpc_service import GrpcService

__all__ = ("NAMES", "ChatRoom", "DemoTarget")

NAMES = ("red", "green", "blue")

# Read at import time, because reading a file would block the event loop.
_PAGE = files("albkit.demo").joinpath("page.html").read_text(encoding="utf-8")
_LARGEST_BODY = 8 * 2**20
_LONGEST_SLOW = 30.0
_MOST_EVENTS = 100
_SHUTDOWN = 1.0
_HEARTBEAT = 25.0
"""Seconds between pings, so that a silent chat outlives the load balancer's idle timeout."""
_PATIENCE = 2.0
"""Seconds that a member of the chat has to accept a message."""


class ChatRoom:
    """The chat room that all targets share, as real ones would through a message broker: everyone reads every message, on every target."""

    def __init__(self) -> None:
        self._members: set[web.WebSocketResponse] = set()
        self._guests = 0

    def enter(self, member: web.WebSocketResponse) -> str:
        """Add a member and return its name."""
        self._members.add(member)
        self._guests += 1
        return f"guest-{self._guests}"

    def leave(self, member: web.WebSocketResponse) -> None:
        """Remove a member."""
        self._members.discard(member)

    async def say(self, message: dict[str, str]) -> None:
        """Send a message to every member."""
        text = json.dumps(message)
        await asyncio.gather(*(self._tell(member, text) for member in tuple(self._members)))

    async def _tell(self, member: web.WebSocketResponse, text: str) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await member.send_str(text)
        except (ConnectionError, TimeoutError):
            self.leave(member)


class DemoTarget:
    """One target: a page, an HTTP API and a WebSocket; and a gRPC service on another port.

    Args:
        name: Its name.
        room: The chat room of its WebSockets.
    """

    def __init__(self, name: str, room: ChatRoom) -> None:
        self.name = name
        self.port = 0
        self._room = room
        self._sockets: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None
        self._grpc = GrpcService(name)

    @property
    def address(self) -> str:
        """Host and port, as a target group expects them."""
        return f"127.0.0.1:{self.port}"

    @property
    def grpc_address(self) -> str:
        """Host and port of the gRPC service."""
        return f"127.0.0.1:{self._grpc.port}"

    @property
    def is_running(self) -> bool:
        """Whether it accepts connections."""
        return self._runner is not None

    async def start(self) -> None:
        """Listen on two free ports of the loopback interface."""
        app = web.Application(client_max_size=_LARGEST_BODY, middlewares=[_never_cached])
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/name", self._name),
                web.get("/ws", self._websocket),
                web.get("/api/name", self._name),
                web.get("/api/whoami", self._whoami),
                web.post("/api/echo", self._echo),
                web.get("/api/slow", self._slow),
                web.get("/api/stream", self._stream),
            ]
        )
        app.on_shutdown.append(self._close_websockets)
        # Handlers are cancelled when their client disconnects, which aiohttp does not do by default.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            await self._grpc.start()
        except BaseException:
            await runner.cleanup()
            raise
        self.port = runner.addresses[0][1]
        self._runner = runner

    async def stop(self) -> None:
        """Stop listening and close every connection. Does nothing if it is not running."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await self._grpc.stop()
            await runner.cleanup()

    async def _close_websockets(self, _: web.Application) -> None:
        await asyncio.gather(*(socket.close(code=1001, message=b"the target stops") for socket in tuple(self._sockets)))

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=_PAGE.replace("{{target}}", self.name), content_type="text/html")

    async def _name(self, _: web.Request) -> web.Response:
        return web.Response(text=self.name + "\n")

    async def _whoami(self, request: web.Request) -> web.Response:
        headers = [f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in request.raw_headers]
        answer = {"target": self.name, "request": f"{request.method} {request.raw_path} HTTP/1.1", "headers": headers}
        return web.Response(text=json.dumps(answer, indent=2) + "\n", content_type="application/json")

    async def _echo(self, request: web.Request) -> web.Response:
        fields = {"Content-Type": request.headers.get("Content-Type", "application/octet-stream"), "X-Target": self.name}
        return web.Response(body=await request.read(), headers=fields)

    async def _slow(self, request: web.Request) -> web.Response:
        seconds = _number(request, "seconds", 1.0, _LONGEST_SLOW)
        await asyncio.sleep(seconds)
        return web.json_response({"target": self.name, "slept": seconds})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        events = int(_number(request, "events", 5.0, _MOST_EVENTS))
        interval = _number(request, "interval", 1.0, _LONGEST_SLOW)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(1, events + 1):
            if number > 1:
                await asyncio.sleep(interval)
            event = {"event": number, "of": events, "target": self.name, "sent": time.time()}
            await response.write(b"data: %s\n\n" % json.dumps(event).encode())
        await response.write_eof()
        return response

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        """Send a JSON object with `say` to everyone in the chat, and echo every other message."""
        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT)
        await socket.prepare(request)
        guest = self._room.enter(socket)
        self._sockets.add(socket)
        try:
            await socket.send_json({"type": "hello", "target": self.name, "you": guest})
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    await socket.send_bytes(message.data)
                elif message.type is WSMsgType.TEXT:
                    said = _said(message.data)
                    if said is None:
                        await socket.send_str(message.data)
                    else:
                        await self._room.say({"type": "chat", "from": guest, "target": self.name, "text": said})
        except ConnectionError:
            pass  # The client disconnected while the target was sending.
        finally:
            self._room.leave(socket)
            self._sockets.discard(socket)
        return socket


@web.middleware
async def _never_cached(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    response = await handler(request)
    if not response.prepared:
        response.headers["Cache-Control"] = "no-store"
    return response


def _number(request: web.Request, name: str, default: float, maximum: float) -> float:
    text = request.query.get(name, "")
    try:
        number = float(text) if text else default
    except ValueError:
        number = -1.0
    if not 0 <= number <= maximum:
        raise web.HTTPBadRequest(text=f"{name} must be a number from 0 to {maximum:g}\n")
    return number


def _said(text: str) -> str | None:
    try:
        message = json.loads(text)
    except ValueError:
        return None
    said = message.get("say") if isinstance(message, dict) else None
    return said if isinstance(said, str) else None

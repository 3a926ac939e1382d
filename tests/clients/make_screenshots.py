"""Takes the pictures of the live page for the documentation: `python -P -m tests.clients.make_screenshots`, with the modules of node.py.

A load balancer with three groups serves traffic that rises and falls, and 200 WebSockets. After a while a target fails. It takes about
three minutes. The pictures go to docs/images; the fonts are those of the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import sys
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, TCPConnector, web

import albkit as alb
from tests.clients.node import Program, node

IMAGES = Path(__file__).parents[2] / "docs" / "images"
TUNNELS = 200
LARGEST = 300 * 1024
_chance = random.Random(7)


class Target:
    """A target with answers of random size and time, and an echo for WebSockets."""

    def __init__(self) -> None:
        self.fails = False
        self.address = ""

    async def start(self, stack: contextlib.AsyncExitStack) -> None:
        """Serve on loopback until the stack ends."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.address = f"127.0.0.1:{runner.addresses[0][1]}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if "Upgrade" in request.headers:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(message.data * 3)
            return socket
        if request.path == "/health":
            return web.Response(status=503 if self.fails else 200)
        await asyncio.sleep(_chance.lognormvariate(-4.4, 0.7))
        if self.fails and _chance.random() < 0.7:
            return web.Response(status=500)
        return web.Response(text="x" * _chance.randrange(200, 9000), status=404 if _chance.random() < 0.015 else 200)


async def _ask(session: ClientSession, port: int) -> None:
    """One client of several, whose requests rise and fall."""
    loop = asyncio.get_running_loop()
    paths = ("/", "/products", "/api/carts", "/api/orders", "/api/stock", "/old/page")
    while True:
        with contextlib.suppress(ClientError):
            async with session.get(f"http://127.0.0.1:{port}{_chance.choice(paths)}", allow_redirects=False) as answer:
                await answer.read()
        await asyncio.sleep(_chance.expovariate(9 + 5 * math.sin(loop.time() / 9)))


async def _talk(session: ClientSession, port: int) -> None:
    """A client with a WebSocket, which comes sooner or later and says something now and then."""
    await asyncio.sleep(_chance.uniform(0, 85))
    async with session.ws_connect(f"http://127.0.0.1:{port}/chat") as socket:
        while True:
            await asyncio.sleep(_chance.uniform(1, 40))
            await socket.send_str("hello " * _chance.randrange(1, 200))
            await socket.receive()


async def _picture(program: Program) -> None:
    program.go_on()
    name = (await program.told(within=30))["name"]
    size = (IMAGES / name).stat().st_size
    sys.stdout.write(f"{name}: {size // 1024} KiB\n")
    if size >= LARGEST:
        raise SystemExit(f"{name} is too large")


def _listener(targets: list[Target]) -> alb.Listener:
    check: dict[str, Any] = {
        "health_check": alb.HealthCheck(path="/health", interval=5, timeout=2, healthy_threshold=2, unhealthy_threshold=2),
    }
    addresses = [target.address for target in targets]
    shop = alb.TargetGroup("shop", addresses[:4], **check)
    api = alb.TargetGroup("api", addresses[4:8], algorithm="least_outstanding_requests", **check)
    chat = alb.TargetGroup("chat", addresses[8:], stickiness=alb.LbCookie(3600), **check)
    rules = [
        alb.Rule(10, alb.PathPattern("/api/*"), alb.Forward(api)),
        alb.Rule(20, alb.PathPattern("/chat"), alb.Forward(chat)),
        alb.Rule(30, alb.PathPattern("/old/*"), alb.Redirect(path="/products")),
    ]
    return alb.Listener(0, alb.Forward(shop), name="public", host="127.0.0.1", rules=rules)


async def main() -> None:
    """Serve, drive, and take the pictures."""
    IMAGES.mkdir(exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        targets = [Target() for _ in range(11)]
        for target in targets:
            await target.start(stack)
        load_balancer = await stack.enter_async_context(alb.LoadBalancer(_listener(targets), name="edge"))
        admin = await load_balancer.admin()
        port = load_balancer.listeners[0].port
        session = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        clients = [group.create_task(_talk(session, port)) for _ in range(TUNNELS)]
        clients += [group.create_task(_ask(session, port)) for _ in range(12)]
        async with node("admin_screenshots.js", admin.url, str(IMAGES)) as program:
            await program.told(within=30)
            await asyncio.sleep(112)
            await _picture(program)
            targets[5].fails = True
            await asyncio.sleep(13)
            for _ in range(3):
                await _picture(program)
        for client in clients:
            client.cancel()


if __name__ == "__main__":
    asyncio.run(main())

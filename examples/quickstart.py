"""A load balancer with three target groups, its rules, and a few requests that go through it.

Run it as it stands: it starts little targets of its own, shows what happens, and ends by itself.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import aiohttp
from aiohttp import web

import albkit as alb


async def main() -> None:
    """Describe a gateway, start it, and send it some requests."""
    async with AsyncExitStack() as stack:
        # In real life these run elsewhere: "10.0.0.5:8000", "http://10.0.0.7:8080", "unix:/run/web.sock".
        api_1, api_2, web_1, web_2, chat_1 = [await little_target(stack, name) for name in ("api-1", "api-2", "web-1", "web-2", "chat-1")]

        api = alb.TargetGroup("api", [api_1, alb.Target("127.0.0.1", port_of(api_2))], stickiness=alb.LbCookie(duration=3600))
        pages = alb.TargetGroup("web", [f"http://{web_1}", web_2])
        chat = alb.TargetGroup("chat", chat_1)

        listener = alb.Listener(
            0,  # A free port; a gateway of your own says 8080.
            alb.Forward(pages),
            rules=[
                alb.Rule(10, alb.PathPattern("/api/*"), alb.Forward(api)),
                alb.Rule(20, [alb.HostHeader("*.chat.example.com"), alb.PathPattern("/rooms/*")], alb.Forward(chat)),
                alb.Rule(50, alb.PathPattern("/v1/*"), alb.FixedResponse(410, "gone", content_type="text/plain")),
            ],
            host="127.0.0.1",  # Without it: all interfaces.
        )

        async with alb.LoadBalancer([listener], idle_timeout=30) as lb:
            url = lb.listeners[0].url
            print(f"listening on {url}")
            jar = aiohttp.CookieJar(unsafe=True)  # "unsafe" takes cookies from bare IP addresses.
            async with aiohttp.ClientSession(url, cookie_jar=jar) as client:
                await show(client, "/", "/", "/")
                await show(client, "/api/x", "/api/x", "/api/x")
                await show(client, "/rooms/7", host="a.chat.example.com")
                await show(client, "/v1/users")
            for name in ("RequestCount", "HTTP_Fixed_Response_Count", "NewConnectionCount"):
                print(f"{name} {lb.counters[name]}")


async def show(client: aiohttp.ClientSession, *paths: str, host: str | None = None) -> None:
    """Send requests one after the other and print who answered."""
    for path in paths:
        async with client.get(path, headers={"Host": host} if host else None) as answer:
            print(f"GET {host or ''}{path} -> {answer.status} {await answer.text()}")


async def little_target(stack: AsyncExitStack, name: str) -> str:
    """Start a server that answers every request with its name; its address."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=name)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"127.0.0.1:{runner.addresses[0][1]}"


def port_of(address: str) -> int:
    """The port in host:port."""
    return int(address.rpartition(":")[2])


if __name__ == "__main__":
    asyncio.run(main())

"""A load balancer with three target groups and rules of every kind, reconfigured while it runs.

Run it without arguments. It starts its own targets, sends requests through the load balancer, shows the answers, and exits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack

import aiohttp
from aiohttp import web

import albkit as alb


async def main() -> None:
    """Configure a load balancer, start it, send requests, and change it."""
    async with AsyncExitStack() as stack:
        # In production, targets are addresses such as "10.0.0.5:8000", "http://10.0.0.7:8080" or "unix:/run/web.sock".
        names = ("api-1", "api-2", "api-3", "web-1", "web-2", "chat-1")
        api_1, api_2, api_3, web_1, web_2, chat_1 = [await start_target(stack, name) for name in names]

        api = alb.TargetGroup(
            "api",
            [api_1, alb.Target("127.0.0.1", port_of(api_2), weight=2)],
            stickiness=alb.LbCookie(duration=3600),
            deregistration_delay=60,
        )
        pages = alb.TargetGroup("web", [f"http://{web_1}", web_2], algorithm="least_outstanding_requests")
        chat = alb.TargetGroup("chat", chat_1)

        rules = [
            alb.Rule(10, alb.PathPattern("/api/*"), alb.Forward(api)),
            alb.Rule(20, [alb.HostHeader("*.chat.example.com"), alb.HttpRequestMethod("GET")], alb.Forward(chat)),
            alb.Rule(30, alb.HttpHeader("X-Canary", "yes*"), alb.Forward({pages: 90, api: 10}, stickiness=600)),
            alb.Rule(40, alb.PathPattern("/old/*"), alb.Redirect(path="/new/#{path}", status_code=301)),
            alb.Rule(50, alb.QueryString(("version", "v1")), alb.FixedResponse(410, "gone", content_type="text/plain")),
            alb.Rule(
                60,
                [alb.SourceIp("127.0.0.0/8"), alb.PathPattern("/v2/*")],
                alb.Forward(api),
                transforms=alb.UrlRewrite("^/v2/(.*)$", "/$1"),
            ),
        ]
        # Port 0 picks a free port; in production, give a fixed one. Without host=, the listener binds to all interfaces.
        listener = alb.Listener(0, alb.Forward(pages), rules=rules, name="front", host="127.0.0.1")

        async with alb.LoadBalancer([listener], idle_timeout=30) as lb:
            url = lb.listeners[0].url
            print(f"listening on {url}")
            jar = aiohttp.CookieJar(unsafe=True)  # unsafe=True accepts cookies from IP addresses.
            async with aiohttp.ClientSession(url, cookie_jar=jar) as client:
                await show(client, "/")
                await show(client, "/")
                await show(client, "/api/x")
                await show(client, "/api/x")
                await show(client, "/rooms/7", {"Host": "a.chat.example.com"})
                await show(client, "/", {"X-Canary": "yes, please"})
                await show(client, "/old/page")
                await show(client, "/users?version=v1")
                await show(client, "/v2/users")

            print("\nexplain how a request would be routed:")
            print(lb.explain("GET", f"{url}/api/x", client="10.1.2.3"))

            print("\nregister one target in the group api, deregister another:")
            await lb.register_targets("api", api_3)
            await lb.deregister_targets("api", api_1)
            await lb.drained("api", api_1, timeout=90)  # It is now safe to switch off.
            for line in lb.describe_target_health("api"):
                print(f"{line.target} {line.state} {line.reason}")

            print("\napply a new configuration:")
            maintenance = alb.Rule(1, alb.PathPattern("/api/*"), alb.FixedResponse(503, "back at noon"))
            await lb.apply(alb.Listener(0, alb.Forward(pages), rules=[maintenance, *rules], name="front", host="127.0.0.1"))
            async with aiohttp.ClientSession(url) as client:
                await show(client, "/api/x")

            print()
            for name in ("RequestCount", "HTTP_Fixed_Response_Count", "HTTP_Redirect_Count", "NewConnectionCount"):
                print(f"{name} {lb.counters[name]}")


async def show(client: aiohttp.ClientSession, path: str, headers: Mapping[str, str] | None = None) -> None:
    """Send a request and print the answer."""
    async with client.get(path, headers=headers, allow_redirects=False) as answer:
        fields = "".join(f" {name}: {value}" for name, value in (headers or {}).items())
        print(f"GET {path}{fields} -> {answer.status} {answer.headers.get('Location') or await answer.text()}")


async def start_target(stack: AsyncExitStack, name: str) -> str:
    """Start a server that answers every request with its name and the request path. Return its address."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"{name} {request.path}")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"127.0.0.1:{runner.addresses[0][1]}"


def port_of(address: str) -> int:
    """Return the port of a host:port address."""
    return int(address.rpartition(":")[2])


if __name__ == "__main__":
    asyncio.run(main())

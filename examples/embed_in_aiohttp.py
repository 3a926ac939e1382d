"""Run a load balancer in the event loop of an aiohttp application, and serve its counters as JSON.

The application starts and stops the load balancer; both serve requests side by side. Run it without arguments. It sends a few requests and
exits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

import albkit as alb

LOAD_BALANCER = web.AppKey("load_balancer", alb.LoadBalancer)


def application(listener: alb.Listener) -> web.Application:
    """Create an application that runs a load balancer and serves its counters at /counters."""

    async def load_balancer(app: web.Application) -> AsyncIterator[None]:
        async with alb.LoadBalancer(listener) as lb:
            app[LOAD_BALANCER] = lb
            yield

    async def counters(request: web.Request) -> web.Response:
        counted = request.app[LOAD_BALANCER].counters
        return web.json_response({name: count for name, count in counted.items() if count})

    app = web.Application()
    app.cleanup_ctx.append(load_balancer)
    app.router.add_get("/counters", counters)
    return app


async def main() -> None:
    """Start a target and the application, send some requests, stop both."""
    target = web.Application()
    target.router.add_get("/", hello)
    target_runner = await started(target)
    group = alb.TargetGroup("hello", f"127.0.0.1:{port_of(target_runner)}")
    app = application(alb.Listener(0, alb.Forward(group), host="127.0.0.1"))
    runner = await started(app)
    try:
        async with aiohttp.ClientSession() as client:
            gateway = app[LOAD_BALANCER].listeners[0].url
            for _ in range(3):
                async with client.get(gateway) as answer:
                    print(f"GET {gateway} -> {answer.status} {await answer.text()}")
            own = f"http://127.0.0.1:{port_of(runner)}/counters"
            async with client.get(own) as answer:
                print(f"GET {own} -> {await answer.json()}")
    finally:
        await runner.cleanup()
        await target_runner.cleanup()


async def hello(_: web.Request) -> web.Response:
    """Answer every request to the target."""
    return web.Response(text="hello from behind the load balancer")


async def started(app: web.Application) -> web.AppRunner:
    """Start an application on a free loopback port."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


def port_of(runner: web.AppRunner) -> int:
    """Return the port that an application listens on."""
    port: int = runner.addresses[0][1]
    return port


if __name__ == "__main__":
    asyncio.run(main())

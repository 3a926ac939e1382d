"""Access logs in two formats: a file in ALB's format that is rotated, and JSON for a function of the program.

Run it without arguments. It starts a target, sends requests through the load balancer, shows the lines of both logs, and exits.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

import aiohttp
from aiohttp import web

import albkit as alb


def collect(line: str) -> None:
    """Show one line. In production, this would send it to a log collector; it runs in the thread of the log and may block."""
    entry = json.loads(line)
    print(f"{entry['request_verb']} {entry['request_url'].partition('/api')[1]}: {entry['elb_status_code']} from {entry['target_group']}")


async def main(folder: Path) -> None:
    """Log the requests of two listeners."""
    path = folder / "access.log"
    runner = web.AppRunner(application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]

    group = alb.TargetGroup("api", f"127.0.0.1:{port}")
    listeners = [
        alb.Listener(0, alb.Forward(group), host="127.0.0.1"),
        alb.Listener(0, alb.Forward(group), host="127.0.0.1", access_log=alb.AccessLog(collect, "json")),
    ]
    # A new file each midnight (UTC) or at 100 MB, and at most 30 old ones: access.log.1 is the latest of them.
    log = alb.AccessLog(path, rotate_interval=86400, rotate_size=100_000_000, keep=30)
    async with alb.LoadBalancer(listeners, access_log=log) as lb, aiohttp.ClientSession() as session:
        for listener in lb.listeners:
            async with session.get(f"{listener.url}/api/users?page=2") as response:
                await response.read()
        # A program that rotates files by itself, such as logrotate, calls this (or sends SIGUSR1 to `alb.run`) afterwards.
        lb.reopen_logs()
    # All lines are written when the load balancer has stopped.
    (line,) = path.read_text("ascii").splitlines()
    print(line[: line.index(" ")], line.split('"')[1].partition("/api")[1], "in ALB's format, with", len(line.split(" ")) > 30)
    await runner.cleanup()


def application() -> web.Application:
    """The target."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    return app


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))

"""A load balancer with an open admin API, and clients of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from albkit.extensions import Admin
from tests.support.gateway import Running, running
from tests.support.peers import HEAD_END, RawClient, Response

__all__ = ("Events", "Operated", "operated", "wait_for")

JSON = "Content-Type: application/json"


class Operated:
    """The gateway, its admin API, and a client of that."""

    def __init__(self, gateway: Running, admin: Admin, client: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.admin = admin
        self.client = client

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        """Send a request; return the status, and the JSON of the answer. Without a body, a write sends `{}`."""
        if method != "GET":
            more["json"] = {} if body is None else body
        async with self.client.request(method, f"{self.admin.url}{path}", **more) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def raw(self, method: str, path: str, *fields: str, host: str | None = "127.0.0.1", body: bytes = b"") -> Response:
        """Send a request in raw bytes, on a connection of its own."""
        client = await RawClient.connect(self.admin.port)
        try:
            named = [f"Host: {host}"] if host is not None else []
            length = [f"Content-Length: {len(body)}"] if body or method != "GET" else []
            client.send("\r\n".join([f"{method} {path} HTTP/1.1", *named, *length, *fields]).encode("latin-1") + HEAD_END + body)
            return await client.response(method)
        finally:
            await client.close()

    async def target(self, identity: str) -> dict[str, Any] | None:
        """The item of a target."""
        _, targets = await self.ask("GET", "/api/targets")
        found: dict[str, Any] | None = next((one for one in targets if one["id"] == identity), None)
        return found


class Events:
    """Reads server-sent events."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._content = answer.content

    async def next(self) -> tuple[str, Any]:
        """The name and the data of the next event."""
        async with asyncio.timeout(10):
            text = (await self._content.readuntil(b"\n\n")).decode()
        name, data = text.removesuffix("\n\n").split("\n")
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


@contextlib.asynccontextmanager
async def operated(*targets: Any, token: str | None = None, hosts: Any = (), **settings: Any) -> AsyncIterator[Operated]:
    """A load balancer on a free port in front of `targets`, with an admin API. Nothing may be left of either."""
    async with running(*targets, **settings) as gateway, aiohttp.ClientSession(read_bufsize=2**24) as client:
        admin = await gateway.load_balancer.admin(token=token, hosts=hosts)
        yield Operated(gateway, admin, client)


async def wait_for(condition: Any) -> None:
    """Wait until an async condition holds."""
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.01)

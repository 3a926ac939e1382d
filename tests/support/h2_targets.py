"""A load balancer in front of targets over HTTP/2."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import albkit as alb
from tests.support.balancing import Balancing, balancing, group_of, listener
from tests.support.h2_client import H2Answer, H2Client
from tests.support.h2_target import H2Stream

__all__ = ("ask", "client_of", "connections_of", "in_front_of", "member_of", "never")


@contextlib.asynccontextmanager
async def in_front_of(*targets: str, limits: alb.Limits | None = None, group: Any = None, **settings: Any) -> AsyncIterator[Balancing]:
    """A load balancer whose group uses HTTP/2. At the end no stream, task or byte may be left."""
    if limits is not None:
        settings["limits"] = limits
    forward = group_of(*targets, protocol_version="HTTP2", **(group or {}))
    async with balancing(listener(forward), **settings) as it:
        runtime = it.runtime
        yield it
    assert runtime.http2_buffers.total == 0
    assert not runtime.connections._rooms
    assert not runtime.connections._rooms_of


async def client_of(it: Balancing, **options: Any) -> H2Client:
    return await H2Client(await it.client(), **options).start()


async def ask(client: H2Client, count: int, path: str = "/") -> list[H2Answer]:
    """So many requests at once: their whole answers."""
    streams = [client.request("GET", f"{path}{number}") for number in range(count)]
    return [await client.answer(stream) for stream in streams]


def member_of(it: Balancing, place: int = 0) -> Any:
    (state,) = it.runtime.registry.groups
    return list(state.members.values())[place]


def connections_of(it: Balancing) -> list[Any]:
    return list(it.runtime.connections._open)


async def never(stream: H2Stream) -> None:
    await stream.over.wait()

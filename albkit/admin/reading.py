"""The routes that read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from aiohttp import web

from albkit.admin.context import Context
from albkit.admin.route import Call, Handler

__all__ = ("counters", "events", "failures", "health", "metrics", "page", "ready", "section", "state", "stream")

_PATIENCE = 10.0
"""Seconds for a client to take a part of an answer."""


async def page(api: Context, call: Call) -> web.StreamResponse:
    """The live page."""
    headers = {"Content-Security-Policy": api.page.policy, "Content-Type": "text/html; charset=utf-8"}
    return await _sent(call.request, headers, [api.page.content])


async def health(api: Context, call: Call) -> dict[str, str]:
    """Whether the process serves."""
    del api, call
    return {"status": "ok"}


async def ready(api: Context, call: Call) -> web.StreamResponse | dict[str, str]:
    """Whether new requests should be sent here."""
    del call
    if api.load_balancer.describe().is_running:
        return {"status": "ready"}
    return web.json_response({"status": "draining"}, status=503)


async def metrics(api: Context, call: Call) -> web.StreamResponse:
    """The metrics as Prometheus text."""
    metrics = api.load_balancer.metrics
    response = web.StreamResponse(headers={"Content-Type": metrics.content_type})
    await response.prepare(call.request)
    for chunk in metrics.prometheus_chunks():
        if chunk:
            await _write(response, chunk.encode())
        await asyncio.sleep(0)
    return response


async def state(api: Context, call: Call) -> web.StreamResponse:
    """The whole state."""
    async with api.state.lock:
        await api.state.refresh()
        chunks = await api.state.encoded_now()
    return await _sent(call.request, {"Content-Type": "application/json"}, chunks)


def section(name: str) -> Handler:
    """Make the handler of one section."""
    return partial(_section, name)


async def _section(name: str, api: Context, call: Call) -> web.StreamResponse:
    async with api.state.lock:
        await api.state.refresh()
        chunks = await api.state.encoded_section(name)
    return await _sent(call.request, {"Content-Type": "application/json"}, chunks)


async def counters(api: Context, call: Call) -> dict[str, int]:
    """The counters of the load balancer."""
    del call
    return dict(api.load_balancer.counters)


async def failures(api: Context, call: Call) -> list[Any]:
    """The last failures."""
    del call
    return api.history.failures.items()


async def events(api: Context, call: Call) -> list[Any]:
    """The last events."""
    del call
    return api.history.events.items()


async def stream(api: Context, call: Call) -> web.StreamResponse:
    """The state, and what changes in it."""
    with api.viewers.place():
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(call.request)
        transport = call.request.transport
        async with aclosing(api.viewers.follow(transport.abort if transport is not None else lambda: None)) as messages:
            await _relay(messages, response)
        return response


async def _relay(messages: AsyncIterator[Sequence[bytes]], response: web.StreamResponse) -> None:
    async for chunks in messages:
        for chunk in chunks:
            await _write(response, chunk)


async def _sent(request: web.Request, headers: dict[str, str], chunks: Sequence[bytes]) -> web.StreamResponse:
    """Send an answer of any size. Nothing of it is copied, and a client that does not read is given up."""
    response = web.StreamResponse(headers=headers)
    response.content_length = sum(map(len, chunks))
    await response.prepare(request)
    for chunk in chunks if request.method != "HEAD" else ():
        await _write(response, chunk)
    return response


async def _write(response: web.StreamResponse, chunk: bytes) -> None:
    async with asyncio.timeout(_PATIENCE):
        await response.write(chunk)

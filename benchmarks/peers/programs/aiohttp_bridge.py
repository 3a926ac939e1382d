"""A simple WebSocket proxy made of `WebSocketResponse` and `ws_connect`, with uvloop, which albkit uses too."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Iterator

import uvloop
from aiohttp import ClientSession, ClientWebSocketResponse, DummyCookieJar, TCPConnector, WSMsgType, web

_Side = web.WebSocketResponse | ClientWebSocketResponse


class Bridge:
    """Relays messages between a client and the next target.

    Args:
        targets: URLs without a path.
    """

    def __init__(self, targets: list[str]) -> None:
        self._targets: Iterator[str] = itertools.cycle(targets)
        self._session: ClientSession

    async def life(self, _: web.Application) -> AsyncIterator[None]:
        async with ClientSession(connector=TCPConnector(limit=0), cookie_jar=DummyCookieJar()) as self._session:
            yield

    async def forward(self, request: web.Request) -> web.StreamResponse:
        headers = {"X-Forwarded-For": str(request.remote), "X-Forwarded-Proto": request.scheme}
        async with self._session.ws_connect(next(self._targets) + request.raw_path, headers=headers) as target:
            client = web.WebSocketResponse()
            await client.prepare(request)
            await asyncio.gather(_pass_on(client, target), _pass_on(target, client))
            return client


async def _pass_on(source: _Side, sink: _Side) -> None:
    """Relay every message of one direction, then the end."""
    async for message in source:
        if message.type is WSMsgType.BINARY:
            await sink.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT:
            await sink.send_str(message.data)
    await sink.close(code=source.close_code or 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificate", help="the certificate for clients; without one there is no TLS")
    parser.add_argument("--key", help="the key of the certificate")
    parser.add_argument("port", type=int)
    parser.add_argument("targets", type=int, nargs="+", help="ports of 127.0.0.1")
    given = parser.parse_args()
    bridge = Bridge([f"http://127.0.0.1:{port}" for port in given.targets])
    application = web.Application()
    application.cleanup_ctx.append(bridge.life)
    application.router.add_get("/{anything:.*}", bridge.forward)
    context = None
    if given.certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(given.certificate, given.key)
    web.run_app(
        application,
        host="127.0.0.1",
        port=given.port,
        ssl_context=context,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
        shutdown_timeout=1,
    )


if __name__ == "__main__":
    main()

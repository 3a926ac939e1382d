"""A simple reverse proxy made of `aiohttp.web` and `ClientSession`, with uvloop, which albkit uses too."""

from __future__ import annotations

import argparse
import itertools
import ssl
from collections.abc import AsyncIterator, Iterator

import uvloop
from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web
from multidict import CIMultiDict

_HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


class Proxy:
    """Forwards every request to the next target.

    Args:
        port: Its own port, for X-Forwarded-Port.
        targets: URLs without a path.
    """

    def __init__(self, port: int, targets: list[str]) -> None:
        self._port = str(port)
        self._targets: Iterator[str] = itertools.cycle(targets)
        self._session: ClientSession

    async def life(self, _: web.Application) -> AsyncIterator[None]:
        connector = TCPConnector(limit=0)
        async with ClientSession(connector=connector, cookie_jar=DummyCookieJar(), auto_decompress=False) as self._session:
            yield

    async def forward(self, request: web.Request) -> web.StreamResponse:
        headers = CIMultiDict((name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP)
        earlier = headers.get("X-Forwarded-For")
        headers["X-Forwarded-For"] = f"{earlier}, {request.remote}" if earlier else str(request.remote)
        headers["X-Forwarded-Proto"] = request.scheme
        headers["X-Forwarded-Port"] = self._port
        async with self._session.request(
            request.method,
            next(self._targets) + request.raw_path,
            headers=headers,
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            response.headers.extend((name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificate", help="the certificate for clients; without one there is no TLS")
    parser.add_argument("--key", help="the key of the certificate")
    parser.add_argument("port", type=int)
    parser.add_argument("targets", type=int, nargs="+", help="ports of 127.0.0.1")
    given = parser.parse_args()
    proxy = Proxy(given.port, [f"http://127.0.0.1:{port}" for port in given.targets])
    application = web.Application()
    application.cleanup_ctx.append(proxy.life)
    application.router.add_route("*", "/{anything:.*}", proxy.forward)
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

"""Idle HTTP/2 connections that have had several responses at once: by how much do they increase a proxy's memory?"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys
from typing import Final, cast

from benchmarks.answers import BODY
from benchmarks.loads.http2 import Conversation
from benchmarks.loads.tls import client_context
from benchmarks.loads.turns import connected, in_turns, memory_of, told, unless_failed
from benchmarks.measure import MeasurementError

_AT_ONCE: Final = 20
"""Connections to open at the same time."""
_IDLE: Final = 1.5
"""Seconds after which a proxy may take a connection for idle."""


class _Connection(asyncio.Protocol):
    __slots__ = ("_conversation", "_fault", "_numbers", "answered", "ended", "transport")

    transport: asyncio.Transport

    def __init__(self, fault: asyncio.Future[None], streams: int, scheme: str) -> None:
        loop = asyncio.get_running_loop()
        self._fault = fault
        self._conversation = Conversation()
        self._numbers = [self._conversation.request("/x", {}, scheme=scheme) for _ in range(streams)]
        self.answered: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._conversation.to_send())

    def data_received(self, data: bytes) -> None:
        try:
            self._conversation.received(data)
            if self._numbers and self._conversation.answered(self._numbers):
                self._conversation.check(self._numbers, BODY, {})
                self._numbers = []
                self.answered.set_result(None)
        except MeasurementError as error:
            self._failed(error)
        if reply := self._conversation.to_send():
            self.transport.write(reply)

    def close(self) -> asyncio.Future[None]:
        self.ended = asyncio.get_running_loop().create_future()
        self.transport.close()
        return self.ended

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ended is not None:
            self.ended.set_result(None)
        else:
            self._failed(MeasurementError(f"a connection was lost: {exc!r}"))

    def _failed(self, error: MeasurementError) -> None:
        if self.ended is None and not self._fault.done():
            self._fault.set_exception(error)


async def _open(fault: asyncio.Future[None], given: argparse.Namespace, count: int, tls: ssl.SSLContext | None) -> list[_Connection]:
    made = []
    scheme = "http" if tls is None else "https"

    async def one_more() -> None:
        _, connection = await connected(lambda: _Connection(fault, given.streams, scheme), given.port, tls=tls)
        await connection.answered
        made.append(connection)

    await in_turns(count, _AT_ONCE, one_more)
    return made


async def _run(given: argparse.Namespace) -> dict[str, float]:
    fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    tls = client_context(http2=True) if given.tls else None
    return await unless_failed(fault, memory_of(lambda count: _open(fault, given, count, tls), given, _IDLE))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loads.idle_http2", description=__doc__)
    parser.add_argument("port", type=int, help="of the proxy")
    parser.add_argument("pid", type=int, help="of the proxy")
    parser.add_argument("--count", type=int, default=1000, help="connections that do nothing; 1000 by default")
    parser.add_argument("--warm-up", type=int, default=300, help="connections before memory is measured; 300 by default")
    parser.add_argument("--streams", type=int, default=10, help="requests that each sends at once; 10 by default")
    parser.add_argument("--tls", action="store_true", help="over TLS")
    return told(_run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())

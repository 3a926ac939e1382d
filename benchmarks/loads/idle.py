"""Idle HTTP connections that have had one response each: by how much do they increase a proxy's memory?"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys
from typing import Final, cast

from benchmarks.answers import BODY, FILES
from benchmarks.loads.tls import client_context
from benchmarks.loads.turns import connected, in_turns, memory_of, told, unless_failed
from benchmarks.measure import MeasurementError

_AT_ONCE: Final = 100
"""Connections to open at the same time."""
_SMALL: Final = "/x"


class _Connection(asyncio.Protocol):
    __slots__ = ("_fault", "_path", "_received", "answered", "ended", "transport")

    transport: asyncio.Transport

    def __init__(self, fault: asyncio.Future[None], path: str) -> None:
        loop = asyncio.get_running_loop()
        self._fault = fault
        self._path = path
        self._received = bytearray()
        self.answered: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self._received += data
        body = FILES.get(self._path, BODY)
        if len(self._received) > len(body) and self._received.endswith(body) and self._received.startswith(b"HTTP/1.1 200 "):
            self._received = bytearray()
            self.answered.set_result(None)

    def close(self) -> asyncio.Future[None]:
        self.ended = asyncio.get_running_loop().create_future()
        self.transport.close()
        return self.ended

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ended is not None:
            self.ended.set_result(None)
        elif not self._fault.done():
            self._fault.set_exception(MeasurementError(f"a connection was lost: {exc!r}, {bytes(self._received[:100])!r}"))


async def _open(fault: asyncio.Future[None], given: argparse.Namespace, count: int, tls: ssl.SSLContext | None) -> list[_Connection]:
    made = []

    async def one_more() -> None:
        _, connection = await connected(lambda: _Connection(fault, given.path), given.port, tls=tls)
        await connection.answered
        made.append(connection)

    await in_turns(count, _AT_ONCE, one_more)
    return made


async def _run(given: argparse.Namespace) -> dict[str, float]:
    fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    tls = client_context() if given.tls else None
    return await unless_failed(fault, memory_of(lambda count: _open(fault, given, count, tls), given))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loads.idle", description=__doc__)
    parser.add_argument("port", type=int, help="of the proxy")
    parser.add_argument("pid", type=int, help="of the proxy")
    parser.add_argument("--count", type=int, default=5000, help="connections that do nothing; 5000 by default")
    parser.add_argument("--warm-up", type=int, default=300, help="connections before memory is measured; 300 by default")
    parser.add_argument("--path", default=_SMALL, help="what each asks for; a small answer by default")
    parser.add_argument("--tls", action="store_true", help="over TLS")
    return told(_run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())

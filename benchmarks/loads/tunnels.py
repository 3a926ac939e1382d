"""WebSocket clients that put load on one proxy, and read its CPU time and memory at the right moments.

Prints one JSON object. Every handshake, the first echo of every tunnel and its end are checked byte by byte, every other echo by its header
and its length. An error ends the program with status 1 and a message on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

from benchmarks.loads.tls import client_context
from benchmarks.loads.turns import connected, in_turns, settled_memory, told, unless_failed
from benchmarks.measure import MeasurementError, cpu_seconds

_REQUEST: Final = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_ACCEPT: Final = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
_NO_MASK: Final = bytes(4)
"""A key that leaves the payload unchanged, so that masking costs load and target nothing."""
_CLOSE: Final = (1000).to_bytes(2, "big")

_AT_ONCE: Final = 100
"""Handshakes in progress at the same time while tunnels are opened."""
_WARM_UP: Final = 0.3
_END_TIMEOUT: Final = 20.0


def frame(first: int, payload: bytes, mask: bytes = b"") -> bytes:
    """One frame; with a mask, as a client sends it."""
    size = len(payload)
    bit = 0x80 if mask else 0
    if size < 126:
        return bytes((first, bit | size)) + mask + payload
    if size < 65536:
        return bytes((first, bit | 126)) + size.to_bytes(2, "big") + mask + payload
    return bytes((first, bit | 127)) + size.to_bytes(8, "big") + mask + payload


class Work:
    """What all tunnels of a run share.

    Args:
        port: The proxy's port.
        size: Bytes of a message, without its header.
        tls: Whether to use TLS.
    """

    def __init__(self, port: int, size: int, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.tls = tls
        payload = os.urandom(size)
        self.message = frame(0x82, payload, _NO_MASK)
        self.echo = frame(0x82, payload)
        self.header = self.echo[: len(self.echo) - size]
        self.echoes = 0
        self.going = True
        self.fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, what: str) -> None:
        """Make the run invalid."""
        if not self.fault.done():
            self.fault.set_exception(MeasurementError(what))


class Tunnel:
    """One client. Its phases are protocols that use its transport one after the other."""

    __slots__ = ("ended", "opened", "transport", "work")

    transport: asyncio.Transport

    def __init__(self, work: Work) -> None:
        loop = asyncio.get_running_loop()
        self.work = work
        self.opened: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    @classmethod
    async def open(cls, work: Work) -> Tunnel:
        """Open a tunnel and check its handshake and first echo."""
        tunnel = cls(work)
        await connected(lambda: _Opening(tunnel), work.port, tls=work.tls)
        await tunnel.opened
        return tunnel

    def keep_echoing(self) -> None:
        """Send the message again after each echo while the work continues; then close."""
        self.transport.set_protocol(_Echoing(self))
        self.transport.write(self.work.message)

    def close(self) -> asyncio.Future[None]:
        """Close by RFC 6455: the server closes the connection, so that none of our ports stays in TIME_WAIT. Returns when it is closed."""
        self.transport.set_protocol(_Closing(self))
        self.transport.write(frame(0x88, _CLOSE, _NO_MASK))
        return self.ended


class _Phase(asyncio.Protocol):
    __slots__ = ("tunnel", "work")

    def __init__(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel
        self.work = tunnel.work

    def connection_lost(self, exc: Exception | None) -> None:
        self.work.fail(f"a tunnel was lost while it was {type(self).__name__.strip('_').lower()}: {exc!r}")


class _Opening(_Phase):
    """Until the first echo. An idle tunnel stays in this phase."""

    __slots__ = ("_awaited", "_received")

    def __init__(self, tunnel: Tunnel) -> None:
        super().__init__(tunnel)
        self._received = b""
        self._awaited: bytes | None = None
        """The bytes that must arrive; `None` for the response to the handshake."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.tunnel.transport = cast(asyncio.Transport, transport)
        self.tunnel.transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data
        if self._awaited is None:
            head, end, behind = received.partition(b"\r\n\r\n")
            if end and (not head.startswith(b"HTTP/1.1 101 ") or _ACCEPT not in head or behind):
                self.work.fail(f"the handshake was answered by {received[:300]!r}")
            elif end:
                self._received, self._awaited = b"", self.work.echo
                self.tunnel.transport.write(self.work.message)
        elif received == self._awaited:
            self._received = self._awaited = b""
            self.tunnel.opened.set_result(None)
        elif not self._awaited.startswith(received):
            self.work.fail(f"the first echo is wrong, or something came unasked: {received[:100]!r}")


class _Echoing(_Phase):
    """The load."""

    __slots__ = ("_begun", "_left")

    def __init__(self, tunnel: Tunnel) -> None:
        super().__init__(tunnel)
        self._begun = b""
        self._left = len(self.work.echo)

    def data_received(self, data: bytes) -> None:
        work = self.work
        if self._left == len(work.echo) and not data.startswith(work.header):
            self._begun += data
            if not self._begun.startswith(work.header):
                if not work.header.startswith(self._begun):
                    work.fail(f"an echo begins with {self._begun[:20]!r}")
                return
            data, self._begun = self._begun, b""
        left = self._left - len(data)
        if left > 0:
            self._left = left
        elif left < 0:
            work.fail(f"{-left} bytes came behind an echo")
        else:
            self._left = len(work.echo)
            work.echoes += 1
            if work.going:
                self.tunnel.transport.write(work.message)
            else:
                self.tunnel.close()


class _Closing(_Phase):
    """Until the connection is closed."""

    __slots__ = ("_received",)

    def __init__(self, tunnel: Tunnel) -> None:
        super().__init__(tunnel)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data

    def connection_lost(self, exc: Exception | None) -> None:
        if self._received == frame(0x88, _CLOSE):
            self.tunnel.ended.set_result(None)
        else:
            self.work.fail(f"a tunnel ended with {self._received[:100]!r} instead of Close: {exc!r}")


async def _open(work: Work, count: int) -> list[Tunnel]:
    tunnels = []

    async def one_more() -> None:
        tunnels.append(await Tunnel.open(work))

    await in_turns(count, _AT_ONCE, one_more)
    return tunnels


async def _ends(tunnels: list[Tunnel]) -> None:
    async with asyncio.timeout(_END_TIMEOUT):
        await asyncio.gather(*[tunnel.ended for tunnel in tunnels])


async def echoes(work: Work, given: argparse.Namespace) -> dict[str, float]:
    """Round trips over this many tunnels; opening and closing them is not measured."""
    tunnels = await _open(work, given.connections)
    for tunnel in tunnels:
        tunnel.keep_echoing()
    await asyncio.sleep(_WARM_UP)
    before, start, earlier = cpu_seconds(given.pid), time.perf_counter(), work.echoes
    await asyncio.sleep(given.seconds)
    used, taken, count = cpu_seconds(given.pid) - before, time.perf_counter() - start, work.echoes - earlier
    work.going = False
    await _ends(tunnels)
    return {"count": count, "seconds": taken, "cpu": used}


async def handshakes(work: Work, given: argparse.Namespace) -> dict[str, float]:
    """Tunnels that are opened, echo one message, and are closed; this many at the same time."""

    async def whole_life() -> None:
        tunnel = await Tunnel.open(work)
        await tunnel.close()

    before, start = cpu_seconds(given.pid), time.perf_counter()
    await in_turns(given.count, given.connections, whole_life)
    return {"count": given.count, "seconds": time.perf_counter() - start, "cpu": cpu_seconds(given.pid) - before}


async def memory(work: Work, given: argparse.Namespace) -> dict[str, float]:
    """By how much this many more idle tunnels increase the proxy's memory.

    Others were opened and closed before, and as many are open already, so that the memory they have left behind is in use again.
    """
    warming_up = await _open(work, given.warm_up)
    await _close(warming_up)
    tunnels = await _open(work, given.warm_up)
    before = await settled_memory(given.pid)
    tunnels += await _open(work, given.count)
    after = await settled_memory(given.pid)
    await _close(tunnels)
    return {"count": given.count, "before": before, "after": after}


async def _close(tunnels: list[Tunnel]) -> None:
    for tunnel in tunnels:
        tunnel.close()
    await _ends(tunnels)


_KINDS: Final[dict[str, Callable[[Work, argparse.Namespace], Coroutine[Any, Any, dict[str, float]]]]] = {
    "echoes": echoes,
    "handshakes": handshakes,
    "memory": memory,
}


async def _run(given: argparse.Namespace) -> dict[str, float]:
    work = Work(given.port, given.size, client_context() if given.tls else None)
    return await unless_failed(work.fault, _KINDS[given.kind](work, given))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loads.tunnels", description=__doc__)
    parser.add_argument("kind", choices=tuple(_KINDS))
    parser.add_argument("port", type=int, help="of the proxy")
    parser.add_argument("pid", type=int, help="of the proxy")
    parser.add_argument("--size", type=int, default=64, help="of a message; 64 by default")
    parser.add_argument("--connections", type=int, default=50, help="connections open at the same time, 50 by default")
    parser.add_argument("--seconds", type=float, default=1, help="of echoes; 1 by default")
    parser.add_argument("--count", type=int, default=1000, help="of handshakes, or of tunnels that do nothing; 1000 by default")
    parser.add_argument("--warm-up", type=int, default=300, help="tunnels before memory is measured; 300 by default")
    parser.add_argument("--tls", action="store_true", help="over TLS")
    given = parser.parse_args()
    return told(_run(given))


if __name__ == "__main__":
    sys.exit(main())

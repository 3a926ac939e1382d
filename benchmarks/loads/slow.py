"""Clients that read a large response slowly, and a fast client meanwhile: what do they cost a proxy?

Each slow reader reads at most 4 KiB, ten times per second. It compares every byte with the file, and requests it again when it is complete.
When the measurement starts, the readers are spread over the length of the response, so that bursts of a proxy that fills its buffers ahead
of a reader count with their true share. Prints one JSON object; an error ends the program with status 1 and a message on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

from benchmarks.answers import FILES
from benchmarks.loads.paced import Work, paced
from benchmarks.loads.timer import Timer
from benchmarks.loads.turns import in_turns, settled_memory, told, unless_failed
from benchmarks.measure import MeasurementError, cpu_seconds, memory_bytes

_PATH: Final = "/large"
_FILE: Final = FILES[_PATH]
_REQUEST: Final = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % _PATH.encode()
_LENGTH: Final = b"\r\ncontent-length: %d\r\n" % len(_FILE)

_TURNS: Final = 100
"""Each reader has one of these turns, so that they do not all read at the same moment."""
_TURN: Final = 1_000_000
"""Nanoseconds."""
_PIECE: Final = 4096
"""Bytes that a reader reads per turn, at most."""
_SEGMENT: Final = 1460
"""Bytes, as on an Ethernet. Segments on loopback have 64 KiB, and then the kernel takes the whole response from the proxy, even for a
client that reads nothing."""
_RECEIVE_BUFFER: Final = 4096
"""Bytes: the kernel holds two such segments for a client, and the next ones have to wait in the proxy."""
_AT_ONCE: Final = 20
"""Readers that move to their position in the response at the same time."""
_SETTLING: Final = 0.2
"""Seconds for the last of them."""


class _Reader:
    """A client that has requested the file."""

    __slots__ = ("_at", "_fail", "_head", "_sock")

    def __init__(self, fail: Callable[[str], None]) -> None:
        self._fail = fail
        self._at = len(_FILE)
        self._head = b""
        self._sock = socket.socket()
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)

    async def skip(self, port: int, length: int) -> None:
        """Connect, send the request, and read this much of the response at full speed."""
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._sock, ("127.0.0.1", port))
        self._ask()
        there: asyncio.Future[None] = loop.create_future()

        def read() -> None:
            self._read()
            if self._at >= length:
                loop.remove_reader(self._sock)
                there.set_result(None)

        loop.add_reader(self._sock, read)
        await there

    def take_turn(self) -> int | None:
        """Return how many bytes of the file have arrived; `None` if there were none."""
        if self._at == len(_FILE):
            self._ask()
            return 0
        return self._read()

    def close(self) -> None:
        self._sock.close()

    def _ask(self) -> None:
        self._at, self._head = 0, b""
        self._sock.send(_REQUEST)

    def _read(self) -> int | None:
        try:
            data = self._sock.recv(_PIECE)
        except BlockingIOError:
            return None
        except OSError as error:
            self._fail(f"a slow reader was lost: {error!r}")
            return None
        if not data:
            self._fail(f"a slow reader's connection ended {self._at:,} bytes behind its answer's head")
        if not self._head.endswith(b"\r\n\r\n"):
            data = self._read_head(data)
        before, self._at = self._at, self._at + len(data)
        if data != _FILE[before : self._at]:
            self._fail(f"a slow reader got {data[:100]!r} {before:,} bytes behind its answer's head")
        return len(data)

    def _read_head(self, data: bytes) -> bytes:
        """Return what follows the head."""
        head, end, body = (self._head + data).partition(b"\r\n\r\n")
        self._head = head + end
        if end and (not head.startswith(b"HTTP/1.1 200 ") or _LENGTH not in self._head.lower()):
            self._fail(f"a slow reader's answer begins with {head[:300]!r}")
        return body


class Readers:
    """All readers, each with its turn.

    Args:
        port: The proxy's port.
        fail: Called with what is wrong.
    """

    def __init__(self, port: int, fail: Callable[[str], None]) -> None:
        self._port = port
        self._fail = fail
        self._turns: list[list[_Reader]] = [[] for _ in range(_TURNS)]
        self._places = itertools.cycle(self._turns)
        self._past = 0
        self._start = time.perf_counter_ns()
        self._timer = Timer(_TURN)
        self.delivered = 0
        """Bytes of files received."""
        self.turns = 0
        """Turns taken."""
        self.waited = 0
        """Turns in which nothing had arrived."""
        asyncio.get_running_loop().add_reader(self._timer.descriptor, self._go_on)

    async def come(self, count: int) -> None:
        """Add readers, spread over the length of the response."""
        numbers = iter(range(count))

        async def one_more() -> None:
            reader = _Reader(self._fail)
            await reader.skip(self._port, max(1, len(_FILE) * next(numbers) // count))
            next(self._places).append(reader)

        await in_turns(count, _AT_ONCE, one_more)

    async def come_and_go(self, count: int) -> None:
        """Add readers that read the whole response at full speed and leave."""

        async def one_more() -> None:
            reader = _Reader(self._fail)
            await reader.skip(self._port, len(_FILE))
            reader.close()

        await in_turns(count, _AT_ONCE, one_more)

    def go(self) -> None:
        """Disconnect all readers in the middle of their responses."""
        asyncio.get_running_loop().remove_reader(self._timer.descriptor)
        self._timer.close()
        for reader in itertools.chain.from_iterable(self._turns):
            reader.close()

    def _go_on(self) -> None:
        self._timer.passed()
        now = (time.perf_counter_ns() - self._start) // _TURN
        # Whoever has missed a turn does not read twice in the next one.
        for turn in range(max(self._past, now - _TURNS) + 1, now + 1):
            for reader in self._turns[turn % _TURNS]:
                came = reader.take_turn()
                self.turns += 1
                if came is None:
                    self.waited += 1
                else:
                    self.delivered += came
        self._past = now


async def slow(readers: Readers, work: Work, given: argparse.Namespace) -> dict[str, float]:
    """By how much they increase the proxy's memory, its CPU time while all read slowly, and the latency of a fast client meanwhile.

    Others were connected before, and as many are connected already, so that the memory they have left behind is in use again.
    """
    await readers.come_and_go(given.warm_up)
    await readers.come(given.warm_up)
    before = await settled_memory(given.pid)
    await readers.come(given.count)
    await asyncio.sleep(_SETTLING)
    delivered, turns, waited = readers.delivered, readers.turns, readers.waited
    used, start = cpu_seconds(given.pid), time.perf_counter()
    await asyncio.sleep(given.seconds)
    used, taken = cpu_seconds(given.pid) - used, time.perf_counter() - start
    delivered, turns, waited = readers.delivered - delivered, readers.turns - turns, readers.waited - waited
    after = memory_bytes(given.pid)
    quick = await paced(work, given)
    readers.go()
    if not delivered:
        raise MeasurementError("the slow readers received nothing")
    return {
        "count": given.count,
        "before": before,
        "after": after,
        "seconds": taken,
        "cpu": used,
        "delivered": delivered,
        "waited": waited / turns,
        **{name: quick[name] for name in ("behind", "p50", "p99", "late") if name in quick},
    }


async def _run(given: argparse.Namespace) -> dict[str, float]:
    work = Work(given.port, "/x", given.rate)
    return await unless_failed(work.fault, slow(Readers(given.port, work.fail), work, given))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loads.slow", description=__doc__)
    parser.add_argument("port", type=int, help="of the proxy")
    parser.add_argument("pid", type=int, help="of the proxy")
    parser.add_argument("--count", type=int, default=500, help="slow readers; 500 by default")
    parser.add_argument("--warm-up", type=int, default=30, help="readers before memory is measured; 30 by default")
    parser.add_argument("--seconds", type=float, default=2, help="of slow reading alone, and as many beside a quick client; 2 by default")
    parser.add_argument("--rate", type=float, default=200, help="requests of the quick client per second; 200 by default")
    parser.add_argument("--connections", type=int, default=8, help="connections of the fast client, 8 by default")
    return told(_run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())

"""HTTP requests at a fixed rate, however long the responses take: an open loop.

A request is due at its time whether or not earlier ones are answered, and its latency counts from then. A proxy that pauses delays all
requests due meanwhile, and none of them is omitted. If no connection is free, the request waits for one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections import deque
from typing import Final, cast

from benchmarks.answers import BODY
from benchmarks.loads.timer import Timer
from benchmarks.loads.turns import told, unless_failed
from benchmarks.measure import MeasurementError, cpu_seconds

_WARM_UP: Final = 0.3
_GAP: Final = 0.05
"""Seconds between reading the CPU time, which disturbs, and the first request that counts."""
_SHORTEST_INTERVAL: Final = 40_000
"""Nanoseconds between two expirations of the timer; if more requests are due, several are sent at once."""
_PATIENCE: Final = 5.0
_MOST_WAITING: Final = 0.05
"""The share of all requests that may be unanswered at the end."""


class Work:
    """What all connections share."""

    def __init__(self, port: int, path: str, rate: float) -> None:
        self.port = port
        self.request = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path.encode()
        self.gap = 1e9 / rate
        self.free: deque[_Connection] = deque()
        self.waiting: deque[int] = deque()
        """When they were due."""
        self.latencies: list[tuple[int, int]] = []
        """When each request was due, and its latency from then, in nanoseconds."""
        self.late: list[tuple[int, int]] = []
        """When each request was due, and the delay after which it was sent or queued."""
        self.start = 0
        self.sent = 0
        self._over: asyncio.Future[None] | None = None
        self.fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, what: str) -> None:
        """Make the run invalid."""
        if not self.fault.done():
            self.fault.set_exception(MeasurementError(what))

    def send_what_is_due(self) -> None:
        """Called by the timer."""
        now = time.perf_counter_ns()
        due = self.start + int(self.sent * self.gap)
        while due <= now:
            self.sent += 1
            self.late.append((due, now - due))
            if self.free:
                self.free.popleft().send(due)
            else:
                self.waiting.append(due)
            due = self.start + int(self.sent * self.gap)

    async def all_answered(self) -> None:
        """Return when every request sent has its response."""
        self._over = asyncio.get_running_loop().create_future()
        if len(self.latencies) < self.sent:
            await self._over

    def answered(self, connection: _Connection, due: int) -> None:
        """Reuse a connection that is free again."""
        self.latencies.append((due, time.perf_counter_ns() - due))
        if self.waiting:
            connection.send(self.waiting.popleft())
        else:
            self.free.append(connection)
            if self._over is not None and not self._over.done() and len(self.latencies) == self.sent:
                self._over.set_result(None)


class _Connection(asyncio.Protocol):
    __slots__ = ("_due", "_received", "_transport", "_work")

    _transport: asyncio.Transport

    def __init__(self, work: Work) -> None:
        self._work = work
        self._received = b""
        self._due = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, due: int) -> None:
        self._due = due
        self._transport.write(self._work.request)

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        if received.endswith(BODY):
            self._received = b""
            if not received.startswith(b"HTTP/1.1 200 "):
                self._work.fail(f"an answer begins with {received[:100]!r}")
            self._work.answered(self, self._due)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._work.start >= 0:
            self._work.fail(f"a connection was lost: {exc!r}, {self._received[:100]!r}")


async def paced(work: Work, given: argparse.Namespace) -> dict[str, float]:
    """The latencies at a rate, in microseconds; none if the queue keeps growing."""
    loop = asyncio.get_running_loop()
    for _ in range(given.connections):
        _, connection = await loop.create_connection(lambda: _Connection(work), "127.0.0.1", given.port)
        work.free.append(connection)
    gc.collect()
    gc.freeze()
    gc.disable()
    # Before the timer's own beginning, or each request would be due just behind a tick and sent with the next one.
    work.start = time.perf_counter_ns()
    timer = Timer(max(_SHORTEST_INTERVAL, int(work.gap)))

    def tick() -> None:
        timer.passed()
        work.send_what_is_due()

    loop.add_reader(timer.descriptor, tick)
    await asyncio.sleep(_WARM_UP)
    used, answered, begun = cpu_seconds(given.pid), len(work.latencies), time.perf_counter()
    await asyncio.sleep(_GAP)
    since = time.perf_counter_ns()
    await asyncio.sleep(given.seconds)
    until = time.perf_counter_ns()
    taken, answered = time.perf_counter() - begun, len(work.latencies) - answered
    used = cpu_seconds(given.pid) - used
    loop.remove_reader(timer.descriptor)
    timer.close()
    unanswered = work.sent - len(work.latencies)
    if unanswered > given.connections + _MOST_WAITING * given.rate * given.seconds:
        return {"count": answered, "seconds": taken, "cpu": used, "behind": unanswered}
    async with asyncio.timeout(_PATIENCE):
        await work.all_answered()
    work.start = -1
    latencies = sorted(took for due, took in work.latencies if since <= due < until)
    late = sorted(by for due, by in work.late if since <= due < until)
    if not latencies:
        raise MeasurementError("no request was due")
    return {
        "count": answered,
        "seconds": taken,
        "cpu": used,
        "behind": 0,
        "p50": _percentile(latencies, 0.5),
        "p99": _percentile(latencies, 0.99),
        "p99.9": _percentile(latencies, 0.999),
        "late": _percentile(late, 0.99),
    }


def _percentile(ordered: list[int], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] / 1000


async def _run(given: argparse.Namespace) -> dict[str, float]:
    work = Work(given.port, given.path, given.rate)
    return await unless_failed(work.fault, paced(work, given))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loads.paced", description="HTTP requests at a fixed rate: an open loop.")
    parser.add_argument("port", type=int, help="of the proxy")
    parser.add_argument("pid", type=int, help="of the proxy")
    parser.add_argument("--rate", type=float, default=1000, help="requests per second; 1000 by default")
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--path", default="/x")
    return told(_run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())

"""Requests at a fixed rate, whatever happens to them: GETs, and one POST per ten GETs, over keep-alive connections.

A request is sent when it is due, even if no response comes, and its latency counts from that moment, so that a proxy that hangs cannot hide
the delay. No request is repeated.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import Final, NamedTuple, cast

from benchmarks.failover.target import BODY
from benchmarks.measure import MeasurementError

__all__ = ("PATIENCE", "POST_EVERY", "Load", "Request")

PATIENCE: Final = 3.0
"""Seconds for which the client waits for a response."""
POST_EVERY: Final = 11
"""One request of this many is a POST."""
_KEPT: Final = 1.0
"""Seconds for which an idle connection is kept: less than the proxies do, so that none closes it while a request is on its way."""
_LATEST: Final = 0.5
"""Seconds. If the load lags behind by more, the results say nothing about the proxy."""

_BYTES: Final = {
    "GET": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n" + bytes(64),
}
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_TARGET: Final = re.compile(rb"\r\nx-target:[ \t]*(\S+)", re.IGNORECASE)
_CLOSE: Final = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)


class Request(NamedTuple):
    """A finished request."""

    due: float
    """When it was due, in seconds since the load started."""
    over: float
    """When it was answered or abandoned."""
    method: str
    status: int
    """0 if there is none."""
    target: str
    """The target that answered; empty if none did."""
    fault: str
    """Why it failed; empty if it did not."""

    @property
    def latency(self) -> float:
        return self.over - self.due


class Load:
    """Sends requests to one port, and records the results.

    Args:
        port: On 127.0.0.1.
        rate: GETs per second; POSTs are added.
    """

    def __init__(self, port: int, rate: float) -> None:
        self.requests: list[Request] = []
        self.lag = 0.0
        """The longest delay, in seconds, with which a request was sent."""
        self._port = port
        self._rate = rate * POST_EVERY / (POST_EVERY - 1)
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._idle: deque[_Connection] = deque()
        self._outstanding: set[_Exchange] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._strange = ""
        self._sent = False
        self._over = asyncio.Event()

    @property
    def now(self) -> float:
        """Seconds since the load started."""
        return self._loop.time() - self._start

    async def run(self, seconds: float) -> None:
        """Send requests for this many seconds, and return when the last one is finished.

        Raises:
            MeasurementError: the load lagged behind, or a response came neither from a target nor was it an error.
        """
        self._start = self._loop.time()
        try:
            for number in range(round(seconds * self._rate)):
                due = number / self._rate
                if due > self.now:
                    await asyncio.sleep(due - self.now)
                self.lag = max(self.lag, self.now - due)
                self._send(due, "POST" if number % POST_EVERY == POST_EVERY - 1 else "GET")
            self._sent = True
            if self._outstanding:
                await self._over.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            for connection in self._idle:
                connection.transport.abort()
        if self._strange:
            raise MeasurementError(f"a response came neither from a target nor is it an error: {self._strange}")
        if self.lag > _LATEST:
            raise MeasurementError(f"the load lagged behind by up to {self.lag:.2f} s: this machine is too busy")

    def _send(self, due: float, method: str) -> None:
        while self._idle and self._loop.time() - self._idle[0].idle_since > _KEPT:
            self._idle.popleft().transport.close()
        exchange = _Exchange(self, due, method)
        self._outstanding.add(exchange)
        exchange.timer = self._loop.call_at(self._start + due + PATIENCE, exchange.give_up)
        while self._idle:
            connection = self._idle.pop()
            if not connection.transport.is_closing():
                connection.begin(exchange)
                return
        task = self._loop.create_task(self._connect(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, exchange: _Exchange) -> None:
        try:
            _, connection = await self._loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
        except OSError as error:
            exchange.over(fault=f"not connected ({type(error).__name__})")
            return
        if exchange in self._outstanding:
            connection.begin(exchange)
        else:
            connection.transport.abort()

    def over(self, exchange: _Exchange, status: int, target: str, fault: str) -> None:
        """Record the end of an exchange; later events of it do not count."""
        if exchange in self._outstanding:
            self._outstanding.discard(exchange)
            self.requests.append(Request(exchange.due, self.now, exchange.method, status, target, fault))
            if self._sent and not self._outstanding:
                self._over.set()

    def keep(self, connection: _Connection) -> None:
        """Keep a connection for another request."""
        connection.idle_since = self._loop.time()
        self._idle.append(connection)

    def forget(self, connection: _Connection) -> None:
        """Forget a closed connection."""
        if connection in self._idle:
            self._idle.remove(connection)

    def strange(self, what: str) -> None:
        """Make the run invalid."""
        self._strange = self._strange or what


class _Exchange:
    """A request in progress."""

    __slots__ = ("_load", "connection", "due", "method", "timer")

    timer: asyncio.TimerHandle

    def __init__(self, load: Load, due: float, method: str) -> None:
        self._load = load
        self.due = due
        self.method = method
        self.connection: _Connection | None = None

    def give_up(self) -> None:
        self.over(fault="no answer")
        if self.connection is not None:
            self.connection.transport.abort()

    def over(self, status: int = 0, target: str = "", fault: str = "") -> None:
        self.timer.cancel()
        self._load.over(self, status, target, fault)


class _Connection(asyncio.Protocol):
    """A connection to the proxy."""

    __slots__ = ("_exchange", "_load", "_received", "idle_since", "transport")

    transport: asyncio.Transport

    def __init__(self, load: Load) -> None:
        self._load = load
        self._exchange: _Exchange | None = None
        self._received = b""
        self.idle_since = 0.0

    def begin(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        exchange.connection = self
        if self.transport.is_closing():
            self.connection_lost(None)
        else:
            self.transport.write(_BYTES[exchange.method])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        exchange = self._exchange
        head, end, body = self._received.partition(b"\r\n\r\n")
        if exchange is None:
            # A proxy may say why it closes an idle connection.
            self.transport.close()
            return
        if not end:
            return
        length = _LENGTH.search(head)
        if length is None or len(body) > int(length[1]) or not head.startswith(b"HTTP/1.1 "):
            self._load.strange(repr(self._received[:300]))
            self.transport.abort()
        elif len(body) == int(length[1]):
            self._answered(exchange, head, body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.forget(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            where = "in an answer" if self._received else "without an answer"
            exchange.over(fault=f"{'reset' if isinstance(exc, ConnectionResetError) else 'closed'} {where}")

    def _answered(self, exchange: _Exchange, head: bytes, body: bytes) -> None:
        status = int(head[9:12])
        name = _TARGET.search(head)
        if status >= 500:
            exchange.over(status, fault=str(status))
        elif status == 200 and name is not None and body == BODY:
            exchange.over(status, name[1].decode())
        else:
            self._load.strange(repr(head[:300]))
            exchange.over(status, fault=str(status))
        self._exchange = None
        self._received = b""
        if _CLOSE.search(head):
            self.transport.close()
        else:
            self._load.keep(self)

"""Everything that a request passes, from its first byte to the last of its response, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import uvloop

import albkit as alb
from albkit.clock import SYSTEM
from albkit.model.settings import Settings
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.client.http1_connection import Http1ClientConnection
from albkit.proxy.exchange import serve
from albkit.proxy.runtime import Runtime
from albkit.proxy.target.http1_connection import Http1TargetConnection
from albkit.state.counters import Counters
from benchmarks.micro import BROWSER_HEAD, WRK_HEAD, Benchmark

_AT_ONCE = 64
"""Number of clients."""
_REQUESTS = 10 * _AT_ONCE
"""Requests per call, by which the result must be divided."""
_POST = BROWSER_HEAD.replace(b"GET", b"POST", 1).replace(b"\r\n\r\n", b"\r\nContent-Length: 1024\r\n\r\n") + bytes(1024)
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Fri, 20 Nov 2026 12:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 64\r\nConnection: keep-alive\r\n\r\n" + b"x" * 64
)


class Transport:
    """A transport without a socket, which passes everything written to a function."""

    def __init__(self, written: Callable[[bytes], None]) -> None:
        self.write = written

    def get_extra_info(self, name: str) -> object:
        return ("192.0.2.1", 40000) if name == "peername" else None

    def set_write_buffer_limits(self, high: int) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None: ...

    close = abort


def keep_connections(runtime: Runtime, loop: asyncio.AbstractEventLoop, count: int) -> None:
    """Give each target so many idle connections, which answer at once."""
    for member in runtime.registry.groups[0].members.values():
        for _ in range(count):
            _keep_connection(runtime, loop, member)


def _keep_connection(runtime: Runtime, loop: asyncio.AbstractEventLoop, member: Any) -> None:
    connections = runtime.connections
    connection = Http1TargetConnection(member, connections, runtime.counters, runtime.settings.limits)

    def written(_: bytes) -> None:
        loop.call_soon(connection.data_received, _ANSWER)

    connection.connection_made(cast("Any", Transport(written)))
    connections.add(connection)
    connections.keep(connection, None)


class _Exchanges:
    """Clients that send the next request after each response, and targets that answer at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, request: bytes) -> None:
        self._loop = loop
        self._request = request
        self.answered = 0
        self._over: asyncio.Future[None] = loop.create_future()
        group = alb.TargetGroup("web", [f"192.0.2.{number}:80" for number in (1, 2, 3)])
        listener = alb.Listener(80, alb.Forward(group))
        self._runtime = Runtime(Settings([listener]), loop, SYSTEM, Counters())
        self._clients = [self._client(ListenerRuntime(self._runtime, listener, 80, None)) for _ in range(_AT_ONCE)]
        keep_connections(self._runtime, loop, _AT_ONCE)

    def _client(self, listener_runtime: ListenerRuntime) -> Http1ClientConnection:
        connection = Http1ClientConnection(listener_runtime, serve)

        def written(_: bytes) -> None:
            self.answered += 1
            if self.answered <= _REQUESTS - _AT_ONCE:
                self._loop.call_soon(connection.data_received, self._request)
            elif self.answered == _REQUESTS:
                self._over.set_result(None)

        connection.connection_made(cast("Any", Transport(written)))
        return connection

    def __call__(self) -> None:
        self.answered = 0
        self._over = self._loop.create_future()
        for client in self._clients:
            self._loop.call_soon(client.data_received, self._request)
        self._loop.run_until_complete(self._over)

    def end(self) -> None:
        """Leave no task behind."""
        for client in self._clients:
            client.stop()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._runtime.sweep.stop()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The event loop that albkit uses by default."""
    loop = uvloop.new_event_loop()
    yield loop
    loop.close()


@pytest.mark.parametrize("request_", [WRK_HEAD, BROWSER_HEAD, _POST], ids=["wrk", "browser", "post"])
def test_640_exchanges(benchmark: Benchmark, loop: asyncio.AbstractEventLoop, request_: bytes) -> None:
    """Accept, parse, check, route, choose, send, relay, record."""
    exchanges = _Exchanges(loop, request_)
    benchmark(exchanges)
    assert exchanges.answered == _REQUESTS
    exchanges.end()

"""The same as `test_exchange`, for clients that use HTTP/2: from the frames of a request to those of its response, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, cast

import pytest
import uvloop
from hpack import Encoder, HeaderTuple, NeverIndexedHeaderTuple

import albkit as alb
from albkit.clock import SYSTEM
from albkit.model.settings import Settings
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.client.http2_connection import Http2ClientConnection
from albkit.proxy.exchange import serve
from albkit.proxy.runtime import Runtime
from albkit.state.counters import Counters
from albkit.wire.http2.frames import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    LARGEST_WINDOW,
    PREFACE,
    SETTINGS,
    frame,
    window_update,
)
from benchmarks.micro import Benchmark
from benchmarks.micro.test_exchange import Transport, keep_connections
from benchmarks.work_http2 import HTTP2_BROWSER

_CLIENTS = 8
_STREAMS = 10
"""Requests outstanding on each connection."""
_REQUESTS = 8 * _CLIENTS * _STREAMS
"""Requests per call, by which the result must be divided."""
_HEAD = 9
"""Bytes of the head of a frame."""
_ONE_PATH = ("/x",)
_PATHS = tuple(f"/x/{number}" for number in range(2000))


def _blocks(paths: Sequence[str], fields: Mapping[str, str]) -> list[bytes]:
    """The field blocks of a connection. The first puts everything but the path into the dynamic table, as h2load and browsers do."""
    encoder = Encoder()
    start = [HeaderTuple(":method", "GET"), HeaderTuple(":scheme", "http")]
    end = [HeaderTuple(name, value) for name, value in fields.items()]
    return [encoder.encode([*start, NeverIndexedHeaderTuple(":path", path), *end]) for path in (paths[0], *paths)]


class _Client:
    """One connection, which sends as many requests as it gets responses in one write."""

    def __init__(self, exchanges: _Exchanges, listener: ListenerRuntime, blocks: Sequence[bytes]) -> None:
        self._exchanges = exchanges
        self._stream = 1
        self._first = [blocks[0]]
        self._blocks = cycle(blocks[1:])
        self.connection = Http2ClientConnection(listener, serve)
        self.connection.connection_made(cast("Any", Transport(self._written)))
        # The window of the connection is opened for all responses of a run.
        self.connection.data_received(PREFACE + frame(SETTINGS, 0, 0) + window_update(0, LARGEST_WINDOW - DEFAULT_WINDOW))

    def request(self, count: int) -> None:
        """Send so many requests in one read."""
        self.connection.data_received(b"".join([self._headers() for _ in range(count)]))

    def _headers(self) -> bytes:
        stream, self._stream = self._stream, self._stream + 2
        return frame(HEADERS, END_HEADERS | END_STREAM, stream, self._first.pop() if self._first else next(self._blocks))

    def _written(self, data: bytes) -> None:
        over = position = 0
        while position < len(data):
            over += data[position + 3] in (DATA, HEADERS) and data[position + 4] & END_STREAM
            position += _HEAD + int.from_bytes(data[position : position + 3], "big")
        if over:
            self._exchanges.answered(self, over)


class _Exchanges:
    """Clients that send the next requests after each response, and targets that answer at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, paths: Sequence[str], fields: Mapping[str, str]) -> None:
        self._loop = loop
        self._sent = self._answered = 0
        self._over: asyncio.Future[None] = loop.create_future()
        group = alb.TargetGroup("web", [f"192.0.2.{number}:80" for number in (1, 2, 3)])
        listener = alb.Listener(80, alb.Forward(group))
        limits = alb.Limits(http2_requests=1_000_000_000)
        self._runtime = Runtime(Settings([listener], limits=limits), loop, SYSTEM, Counters())
        blocks = _blocks(paths, fields)
        self._clients = [_Client(self, ListenerRuntime(self._runtime, listener, 80, None), blocks) for _ in range(_CLIENTS)]
        keep_connections(self._runtime, loop, _CLIENTS * _STREAMS)

    def answered(self, client: _Client, count: int) -> None:
        """So many responses of a client are complete."""
        self._answered += count
        more = min(count, _REQUESTS - self._sent)
        if more > 0:
            self._sent += more
            self._loop.call_soon(client.request, more)
        elif self._answered == _REQUESTS:
            self._over.set_result(None)

    def __call__(self) -> int:
        self._answered = 0
        self._sent = _CLIENTS * _STREAMS
        self._over = self._loop.create_future()
        for client in self._clients:
            self._loop.call_soon(client.request, _STREAMS)
        self._loop.run_until_complete(self._over)
        return self._answered

    def end(self) -> None:
        """Leave no task behind."""
        for client in self._clients:
            client.connection.abandon()
            client.connection.connection_lost(None)
        self._loop.run_until_complete(asyncio.sleep(0))
        self._runtime.sweep.stop()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The event loop that albkit uses by default."""
    loop = uvloop.new_event_loop()
    yield loop
    loop.close()


@pytest.mark.parametrize(
    ("paths", "fields"),
    [(_ONE_PATH, {":authority": "localhost"}), (_ONE_PATH, HTTP2_BROWSER), (_PATHS, HTTP2_BROWSER)],
    ids=["h2load", "browser", "paths"],
)
def test_640_exchanges(benchmark: Benchmark, loop: asyncio.AbstractEventLoop, paths: Sequence[str], fields: Mapping[str, str]) -> None:
    """8 connections with 10 streams each."""
    exchanges = _Exchanges(loop, paths, fields)
    assert benchmark(exchanges) == _REQUESTS
    exchanges.end()

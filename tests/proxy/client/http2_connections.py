"""HTTP/2 client connections without a socket, and what they have written, frame by frame."""

from __future__ import annotations

import asyncio
from typing import Any

import hpack
from hyperframe.frame import DataFrame, Frame, HeadersFrame

import albkit as alb
from albkit.errors import Failure
from albkit.model.settings import Settings
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.client.http2_connection import Http2ClientConnection, Serve
from albkit.proxy.client.http2_exchange import Http2Exchange
from albkit.proxy.downstream import DownstreamExchange
from albkit.proxy.runtime import Runtime
from albkit.state.counters import Counters
from tests.proxy.client.connections import RecordingTransport, read, turns
from tests.support.clock import FakeClock
from tests.support.h2_frames import PREFACE, settings


class Server:
    """Serves streams as a test says: it begins each one, waits, and ends it as if a response had been written."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.failures: list[Failure] = []
        self.exchanges: list[Http2Exchange] = []

    async def __call__(self, client: DownstreamExchange, listener: ListenerRuntime) -> None:
        assert isinstance(client, Http2Exchange)
        while (head := await client.head()) is not None:
            self.heads.append(head)
            self.exchanges.append(client)
            read(listener, head, client)
            try:
                await client.wait()
            except Failure as failure:
                self.failures.append(failure)
                client.cut()
                return
            if not client.response_over():
                return


class Connected:
    """One connection, served by a coroutine of the test's own.

    Args:
        serve: The coroutine.
        listens: Settings of the listener.
        settings: Of the load balancer.
    """

    def __init__(self, serve: Serve, *, listens: dict[str, Any] | None = None, **settings: Any) -> None:
        loop = asyncio.get_running_loop()
        self.clock = FakeClock()
        listener = alb.Listener(80, alb.FixedResponse(200), **(listens or {}))
        self.runtime = Runtime(Settings(listener, **settings), loop, self.clock, Counters())
        self.listener = ListenerRuntime(self.runtime, listener, 80, None)
        self.transport = RecordingTransport()
        self.connection = Http2ClientConnection(self.listener, serve)
        self.connection.connection_made(self.transport)

    def begin(self, *pairs: tuple[int, int]) -> Connected:
        """The client's preface and settings come."""
        self.receive(PREFACE + settings(*pairs))
        return self

    def receive(self, *pieces: bytes) -> None:
        """Bytes come from the client, in one read."""
        self.connection.data_received(b"".join(pieces))

    def frames(self) -> list[Frame]:
        """The frames that were written since the last call."""
        self.connection.flush()
        data = memoryview(b"".join(self.transport.written))
        self.transport.written.clear()
        found = []
        while data:
            frame, size = Frame.parse_frame_header(data[:9])
            frame.parse_body(memoryview(bytes(data[9 : 9 + size])))
            found.append(frame)
            data = data[9 + size :]
        return found

    def kinds(self) -> list[str]:
        """The kinds of those frames, and their streams."""
        return [f"{type(frame).__name__.removesuffix('Frame')} {frame.stream_id}" for frame in self.frames()]

    def body(self, stream: int = 1) -> bytes:
        """The data of a stream that was written since the last call."""
        return b"".join(frame.data for frame in self.frames() if isinstance(frame, DataFrame) and frame.stream_id == stream)

    def head(self) -> list[tuple[Any, Any]]:
        """The fields of the only header block that was written since the last call."""
        (frame,) = [frame for frame in self.frames() if isinstance(frame, HeadersFrame)]
        return [(name, value) for name, value in hpack.Decoder().decode(frame.data)]

    def exchange(self, stream: int = 1) -> Http2Exchange:
        """Of an open stream."""
        found = self.connection.streams[stream]
        assert isinstance(found, Http2Exchange)
        return found

    def sweep(self, seconds: float = 1.0) -> None:
        """Time passes, and the deadlines are looked at."""
        self.clock.advance(seconds)
        self.connection.sweep(self.clock.monotonic())

    async def end(self) -> None:
        """Lose the connection if nobody did. Nothing may be left."""
        self.connection.abandon()
        if self.connection.transport is not None:
            self.connection.connection_lost(None)
        self.listener.parked.close()
        await turns()
        assert not self.connection.exchanges
        assert not self.connection.streams
        assert not self.runtime.clients
        assert self.runtime.http2_buffers.total == 0
        assert self.listener.limiter.count == 0

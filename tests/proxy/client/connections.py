"""Client connections without a socket: a transport that notes what is done with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import albkit as alb
from albkit.model.message import RequestHead, ResponseHead
from albkit.model.settings import Settings
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.client.http1_connection import Http1ClientConnection
from albkit.proxy.downstream import DownstreamExchange
from albkit.proxy.runtime import Runtime
from albkit.state.counters import Counters
from tests.support.clock import FakeClock

Serve = Callable[[DownstreamExchange, ListenerRuntime], Awaitable[None]]


class RecordingTransport(asyncio.Transport):
    """Comes from 192.0.2.1, sends all at once unless `unsent` says otherwise, and loses the connection when a test says so."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1234), "sockname": ("192.0.2.2", 80)})
        self.calls: list[str] = []
        self.written: list[bytes] = []
        self.unsent = 0
        self.closing = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return True

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def write_eof(self) -> None:
        self.calls.append("write_eof")

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")

    def close(self) -> None:
        self.closing = True
        self.calls.append("close")

    def abort(self) -> None:
        self.closing = True
        self.calls.append("abort")


class Connected:
    """One connection, served by a coroutine of the test's own."""

    def __init__(self, serve: Serve, **settings: Any) -> None:
        loop = asyncio.get_running_loop()
        self.clock = FakeClock()
        listener = alb.Listener(80, alb.FixedResponse(200))
        self.runtime = Runtime(Settings(listener, **settings), loop, self.clock, Counters())
        self.listener = ListenerRuntime(self.runtime, listener, 80, None)
        self.transport = RecordingTransport()
        self.connection = Http1ClientConnection(self.listener, serve)
        self.connection.connection_made(self.transport)

    @property
    def state(self) -> str:
        return self.connection.socket.state

    async def end(self) -> None:
        """Let the task end, and lose the connection if nobody did."""
        self.connection.abandon()
        if self.connection.socket.transport is not None:
            self.connection.connection_lost(None)
        await turns()
        assert not self.runtime.clients


async def turns(count: int = 5) -> None:
    """Let others run."""
    for _ in range(count):
        await asyncio.sleep(0)


def read(listener: ListenerRuntime, head: bytes, client: DownstreamExchange) -> RequestHead:
    """Read a head, and tell the client."""
    request = listener.read(head, client)
    client.begin(request)
    return request


def response(length: int, *lines: bytes) -> ResponseHead:
    """A response's head; of a body of unknown length with -1."""
    head = ResponseHead()
    head.status = 200
    head.lines = [b"HTTP/1.1 200 OK", *lines]
    head.content_length = length
    head.upgrade = b"websocket"
    return head

"""A client's connection, HTTP/1.0 and 1.1: one exchange after the other, pipelined requests in their order.

What an arriving byte means, who waits for what, which deadline runs and how the connection may end all depend on one thing, its state.
`http1_states` is the table of states. The connection itself has three parts:

    ClientSocket     the transport: state, reading, ends
    Http1Exchange    HTTP: request heads and bodies, responses; the exchange's view of the client
    Deadlines        what may not take longer than it may

This module connects them to the event loop, to the load balancer and to the task that serves the requests.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from albkit.errors import Failure, FailureKind
from albkit.model.message import ClientAddress
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.client.client_socket import ClientSocket
from albkit.proxy.client.deadlines import Deadlines
from albkit.proxy.client.http1_exchange import Http1Exchange
from albkit.proxy.client.http1_states import ABORT, AWAITING_HEAD, CLOSING, IN_EXCHANGE, LINGERING, READING_BODY, RESETTING
from albkit.proxy.client.http2_connection import Http2ClientConnection, Serve

__all__ = ("Http1ClientConnection",)

_EXCHANGING: Final = (IN_EXCHANGE, READING_BODY)
_SERVING: Final = (AWAITING_HEAD, *_EXCHANGING)
_KEEPING: Final = (AWAITING_HEAD, IN_EXCHANGE)
_ENDING: Final = (CLOSING, LINGERING, RESETTING)


class Http1ClientConnection(asyncio.Protocol):
    """One client connection, from the first byte of its first request to its end or to a tunnel.

    Args:
        listener: The listener that accepted it.
        serve: Runs as this connection's task.
        address: The client's, if it was admitted before. Without it, the connection admits the client.
    """

    __slots__ = ("_address", "_deadlines", "_listener", "_serve", "_task", "exchange", "socket")

    def __init__(self, listener: ListenerRuntime, serve: Serve, address: ClientAddress | None = None) -> None:
        runtime = listener.runtime
        self._listener = listener
        self._serve = serve
        self._address = address
        self.socket = ClientSocket(runtime)
        self.exchange = Http1Exchange(self.socket, runtime.loop)
        self.exchange.switch_to_http2 = self._switch_to_http2 if listener.config.http2 else None
        self._deadlines = Deadlines(self.socket, runtime.clock.monotonic() + runtime.settings.client_keep_alive)
        self._task: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        exchange = self.exchange
        counts = f"{exchange.received_bytes} bytes received, {exchange.sent_bytes} sent"
        return f"<{type(self).__name__} of {self._address or 'nobody'}: {self.socket.state}, {exchange.shown_request}, {counts}>"

    @property
    def listener(self) -> ListenerRuntime:
        """The listener that accepted the connection."""
        return self._listener

    # Events of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # A uvloop transport is one in all but inheritance.
        listener = self._listener
        address = self._address = listener.accept(self, transport, self._address)
        if address is None:
            self.socket.state = ABORT[self.socket.state]
            return
        self.socket.made(transport, address)
        exchange = self.exchange
        exchange.address = address
        exchange.is_trusted_proxy = listener.is_trusted_proxy(address, transport)
        exchange.forwarded = listener.forwarded_fields(address, is_trusted_proxy=exchange.is_trusted_proxy)
        # The task starts in the next turn of the event loop. What arrives before waits in the receive buffer.
        self._task = listener.runtime.loop.create_task(self._run())

    def _switch_to_http2(self, preface: bytes) -> None:
        """The client sent the preface of HTTP/2 (prior knowledge, RFC 9113 section 3.3): it gets the protocol that it asks for."""
        handed_over = self.socket.hand_over()
        if handed_over is None:
            return
        transport, rest = handed_over
        connection = Http2ClientConnection(self._listener, self._serve, self._address)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        connection.data_received(preface + rest)
        if self.socket.is_paused:
            transport.resume_reading()

    async def _run(self) -> None:
        try:
            await self._serve(self.exchange, self._listener)
        finally:
            self._task = None
            if self.socket.state in _SERVING:
                self.socket.abort()
            self._leave_runtime()

    def data_received(self, data: bytes) -> None:
        socket = self.socket
        socket.is_active = True
        state = socket.state
        if state == READING_BODY:
            self.exchange.feed_body(data)
        elif state in _KEEPING:
            if socket.receive_buffer.add(data) > socket.limits.early_bytes and not socket.is_paused:
                self._listener.runtime.counters.reading_was_paused()
                socket.pause_reading()
            if state == AWAITING_HEAD:
                self.exchange.wake()

    def eof_received(self) -> bool:
        """The client sent FIN. As with nginx and Envoy, this means that it has left; a request that ends short is still answered."""
        exchange = self.exchange
        state = self.socket.state
        exchange.has_left = True
        if state == AWAITING_HEAD:
            exchange.wake()
            # True keeps the transport open: what has arrived may be a whole request, and a part of one is answered with 400.
            return len(self.socket.receive_buffer) > 0
        if state in _EXCHANGING:
            if exchange.body_over or exchange.response_started:
                exchange.client_left()
            else:
                exchange.fail(Failure(FailureKind.REQUEST_BODY_TRUNCATED))
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        socket = self.socket
        state = socket.state
        if socket.transport is None or self._address is None:
            return  # The connection was turned away, or a tunnel was to have it.
        self._listener.release(self._address.host)
        socket.lost()
        self._leave_runtime()
        self.exchange.has_left = True
        if state == AWAITING_HEAD:
            self.exchange.wake()
        elif state in _EXCHANGING:
            self.exchange.client_left(str(exc) if exc is not None else "")

    def pause_writing(self) -> None:
        exchange = self.exchange
        exchange.is_full = True
        self._listener.runtime.counters.reading_was_paused()
        if exchange.upstream is not None:
            exchange.upstream.pause_reading()

    def resume_writing(self) -> None:
        exchange = self.exchange
        exchange.is_full = False
        if exchange.upstream is not None:
            exchange.upstream.resume_reading()
        elif self.socket.state == AWAITING_HEAD:
            # The next request waits in the receive buffer while the client does not read the responses.
            exchange.wake()

    # The load balancer's part.

    def sweep(self, now: float) -> None:
        """End what is overdue."""
        socket = self.socket
        transport = socket.transport
        if transport is None:
            return
        socket.look_at_log_level()
        state = socket.state
        if state in _SERVING:
            self._deadlines.check(self.exchange, transport, now)
        elif state in _ENDING:
            socket.sweep_closing(now, stopping=self.exchange.takes_no_more)

    def stop(self) -> None:
        """The load balancer stops: no further exchange. An idle connection closes now."""
        exchange = self.exchange
        exchange.is_last = exchange.takes_no_more = True
        if self.socket.state == AWAITING_HEAD:
            exchange.wake()

    def abandon(self) -> None:
        """The load balancer has waited long enough: end now, whatever is in progress."""
        exchange = self.exchange
        if self.socket.state in _EXCHANGING:
            exchange.fail(Failure(FailureKind.STOPPED_IN_RESPONSE if exchange.response_started else FailureKind.STOPPED))
        else:
            # An exchange that waits for a request head has nothing to fail, but its task must end.
            self.stop()
        self.socket.abort()

    def _leave_runtime(self) -> None:
        """The runtime waits for the task as well as for the socket, so that everything is counted when it has stopped."""
        if self.socket.transport is None and self._task is None:
            self._listener.runtime.remove_client(self)

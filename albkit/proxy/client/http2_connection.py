"""A client's HTTP/2 connection: its streams, each served as an exchange of its own, and its end in good order.

Http2Connection          frames, flow control, floods (proxy/http2)
Http2ClientConnection    what a header block of a client means; how the connection ends
Http2Exchange            one stream at a time: the exchange's view of the client
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, cast

from albkit.errors import Failure, FailureKind
from albkit.model.message import ClientAddress
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.client.http2_exchange import Http2Exchange
from albkit.proxy.client.idle_tracker import IdleTracker
from albkit.proxy.downstream import DownstreamExchange
from albkit.proxy.finish import finish
from albkit.proxy.http2.buffer_budget import BuffersFull
from albkit.proxy.http2.connection import CONNECTION_WINDOW, Http2Connection
from albkit.proxy.http2.flood_guard import PER_USEFUL_FRAME
from albkit.proxy.lingering_close import LingeringClose
from albkit.proxy.parked_tasks import ParkedTasks
from albkit.proxy.transports import send_fin
from albkit.state.record import ExchangeRecord
from albkit.wire.http2 import frames
from albkit.wire.http2.frames import DEFAULT_WINDOW, ErrorCode, Http2Error, StreamError
from albkit.wire.http2.head_cache import HeadCache
from albkit.wire.http2.hpack_decoder import HeaderListTooLarge
from albkit.wire.http2.request import trailer_lines

__all__ = ("Http2ClientConnection", "Serve")

Serve = Callable[[DownstreamExchange, ListenerRuntime], Coroutine[Any, Any, None]]
"""Serves requests until there are no more."""

_EVERY_STREAM: Final = frames.LARGEST_WINDOW
"""The last stream in a first GOAWAY: the client is warned, and what it has sent already is still served (RFC 9113 section 6.8)."""
_SHUTDOWN_PING: Final = b"shutdown"
_TOO_OLD: Final = ("TLSv1", "TLSv1.1")
"""TLS versions that HTTP/2 forbids (RFC 9113 section 9.2). Some of ALB's security policies still offer them."""
_MOST_GAPS: Final = 16
"""Gaps in the numbers of the streams that are remembered. Clients leave none; what depends on this is only the code of an error."""
_KEY_BYTES: Final = 16
"""Of a Sec-WebSocket-Key (RFC 6455 section 4.1)."""


def _task_ended(parked: ParkedTasks[Http2Exchange], exchange: Http2Exchange, _: object) -> None:
    parked.discard(exchange)
    exchange.task_ended()


class Http2ClientConnection(Http2Connection):
    """One client connection.

    Args:
        listener: The listener that accepted it.
        serve: Runs in the tasks of the exchanges.
        address: The client's, if it was admitted before. Without it, the connection admits the client.
    """

    __slots__ = (
        "_address",
        "_expires",
        "_gaps",
        "_goaway_is_final",
        "_goaway_sent",
        "_head_since",
        "_heads",
        "_idle_tracker",
        "_is_expired",
        "_lingering",
        "_listener",
        "_requests",
        "_serve",
        "_websocket_key",
        "counters",
        "exchanges",
        "forwarded",
        "idle_timeout",
        "is_trusted_proxy",
    )

    def __init__(self, listener: ListenerRuntime, serve: Serve, address: ClientAddress | None = None) -> None:
        runtime = listener.runtime
        settings = runtime.settings
        super().__init__(runtime.loop, settings.limits, runtime.http2_buffers, awaits_preface=True)
        self._listener = listener
        self._serve = serve
        self._address = address
        self.counters = runtime.counters
        # The settings in force when the client connected hold for the whole connection.
        self.idle_timeout = settings.idle_timeout
        self._expires = runtime.clock.monotonic() + settings.client_keep_alive
        self._is_expired = False
        self._heads: HeadCache | None = None
        self._websocket_key = self._new_websocket_key()
        self.exchanges: set[Http2Exchange] = set()
        """Those that serve a stream, until their task is free."""
        self._requests = 0
        self._gaps: list[range] = []
        """Numbers of streams that the client has left out."""
        self._goaway_sent = False
        self._goaway_is_final = False
        self._idle_tracker = IdleTracker()
        self._head_since = 0.0
        """When the sweep first found a part of a header block, or of the preface."""
        self._lingering: LingeringClose | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._address or 'nobody'}: {len(self.streams)} streams, {self._requests} requests>"

    @property
    def listener(self) -> ListenerRuntime:
        """The listener that accepted the connection."""
        return self._listener

    # Events of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        listener = self._listener
        transport = cast("asyncio.Transport", transport)
        address = self._address = listener.accept(self, transport, self._address)
        if address is None:
            self.is_ending = True
            return
        super().connection_made(transport)
        self.counters.http2_connection_opened()
        self.is_trusted_proxy = listener.is_trusted_proxy(address, transport)
        self.forwarded = listener.forwarded_fields(address, is_trusted_proxy=self.is_trusted_proxy)
        limits = self.limits
        settings = [
            (frames.SETTINGS_MAX_CONCURRENT_STREAMS, limits.http2_streams),
            (frames.SETTINGS_INITIAL_WINDOW_SIZE, limits.in_flight),
            (frames.SETTINGS_MAX_HEADER_LIST_SIZE, limits.request_head),
        ]
        if listener.config.http2_websocket:
            settings.append((frames.SETTINGS_ENABLE_CONNECT_PROTOCOL, 1))
        self.write((frames.settings_frame(settings), frames.window_update(0, CONNECTION_WINDOW - DEFAULT_WINDOW)))
        if address.tls is not None and address.tls.version in _TOO_OLD and listener.config.is_secure:
            self.fail(Http2Error(ErrorCode.INADEQUATE_SECURITY, f"{address.tls.version}; HTTP/2 requires TLS 1.2 or later"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport is None or self._address is None:
            return  # The connection was turned away.
        super().connection_lost(exc)
        runtime = self._listener.runtime
        self._listener.release(self._address.host)
        # Target connections whose PROXY protocol header named this client can serve no other.
        runtime.connections.drop_owned(self._address)
        runtime.counters.connection_closed()
        self._end_streams(str(exc) if exc is not None else "")
        self._leave_runtime()

    def pause_writing(self) -> None:
        super().pause_writing()
        # A client that reads nothing could ask for more and more: responses, PINGs, SETTINGS. (Targets are always read: if both ends of a
        # connection waited for each other in this way, they would wait for ever.)
        self.is_paused = True
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
        self.counters.reading_was_paused()
        for exchange in self.exchanges:
            if exchange.upstream is not None:
                exchange.upstream.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.is_full:
            return  # What waited has filled the socket again.
        self.is_paused = False
        self.continue_reading()
        for exchange in tuple(self.exchanges):
            if exchange.upstream is not None and not exchange.pending_bytes:
                exchange.upstream.resume_reading()

    # Streams.

    def is_idle_stream(self, stream_id: int) -> bool:
        return not stream_id & 1 or (stream_id > self.last_stream and not self._goaway_is_final)

    def was_reset_here(self, stream_id: int) -> bool:
        # After the last GOAWAY, streams that it does not name may be on their way.
        return super().was_reset_here(stream_id) or (self._goaway_is_final and stream_id > self.last_stream and stream_id & 1 == 1)

    def headers_received(self, stream_id: int, block: bytes, ended: bool) -> None:
        if stream_id <= self.last_stream:
            self._further_headers(stream_id, block, ended)
            return
        if not stream_id & 1:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a client opens streams with odd numbers")
        if self._goaway_is_final:
            # The client has been told that this stream is not served (RFC 9113 section 6.8). It may use another connection.
            self.decoder.decode(block)
            self.guard.stream_reset()
            return
        lowest = self.last_stream + 2 if self.last_stream else 1
        if stream_id > lowest and len(self._gaps) < _MOST_GAPS:
            self._gaps.append(range(lowest, stream_id, 2))
        self.last_stream = stream_id
        self.guard.earned += PER_USEFUL_FRAME
        heads = self._heads
        if heads is None:
            heads = self._heads = HeadCache(self.decoder)
        head = heads.head(block, ended, self._websocket_key)
        limits = self.limits
        # A stream that was reset counts until its exchange has ended, which takes a turn or two of the event loop.
        if len(self.streams) >= limits.http2_streams or len(self.exchanges) >= 2 * limits.http2_streams:
            self.refuse_stream(stream_id, ErrorCode.REFUSED_STREAM)
            self.guard.stream_reset()
            return
        waiting = self._listener.parked.waiting
        exchange = waiting.pop() if waiting else self._start_exchange()
        self.exchanges.add(exchange)
        self.streams[stream_id] = exchange
        exchange.attach(self, cast("ClientAddress", self._address), self.forwarded, is_trusted_proxy=self.is_trusted_proxy)
        exchange.open(stream_id, head, ended=ended)
        if head.is_connect:
            self._websocket_key = self._new_websocket_key()
        self._requests += 1
        if self._requests >= limits.http2_requests or self._is_expired:
            self.shut_down()

    def _further_headers(self, stream_id: int, block: bytes, ended: bool) -> None:
        """A header block of a stream that was opened before: trailers, or a violation."""
        fields = self.decoder.decode(block)
        stream = self.streams.get(stream_id)
        if stream is None:
            if not self.was_reset_here(stream_id):
                was_opened = stream_id & 1 and not any(stream_id in gap for gap in self._gaps)
                # RFC 9113 section 5.1.1: the number of a new stream must be higher than all before.
                raise Http2Error(ErrorCode.STREAM_CLOSED if was_opened else ErrorCode.PROTOCOL_ERROR, "HEADERS of a closed stream")
            return
        if stream.ended_receiving:
            raise StreamError(ErrorCode.STREAM_CLOSED, "HEADERS after END_STREAM")
        if not ended or stream.tunnel is not None or not isinstance(stream, Http2Exchange):
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "trailers without END_STREAM, or on a tunnel")
        stream.take_trailers(trailer_lines(fields))

    def _new_websocket_key(self) -> bytes:
        """The key for the next WebSocket: clients over HTTP/2 send none, and HTTP/1.1 targets require one. Empty if none are accepted."""
        listener = self._listener
        return b64encode(listener.runtime.clock.entropy(_KEY_BYTES)) if listener.config.http2_websocket else b""

    def stream_failed(self, stream_id: int, error: StreamError) -> None:
        self._report(Failure(FailureKind.HTTP2_PROTOCOL_ERROR, f"stream {stream_id}: {error.reason}"))

    # The tasks of the exchanges.

    def _start_exchange(self) -> Http2Exchange:
        listener = self._listener
        exchange = Http2Exchange(listener.runtime.loop)
        # The task may serve streams of other connections later. So nothing of it may refer to this one.
        exchange.task = listener.runtime.loop.create_task(self._serve(exchange, listener))
        # A callback of the task: a task that is cancelled before its first step does not run at all.
        exchange.task.add_done_callback(partial(_task_ended, listener.parked, exchange))
        return exchange

    def exchange_over(self, exchange: Http2Exchange) -> None:
        """An exchange has served its stream, and its task is free or has ended."""
        self.exchanges.discard(exchange)
        self._leave_runtime()

    def keep_exchange(self, exchange: Http2Exchange) -> bool:
        """Keep an exchange for another stream. Returns whether its task has to wait for it."""
        if not self._listener.parked.park(exchange):
            exchange.retire()
            return False
        exchange.detach_connection()
        self.exchange_over(exchange)
        return True

    # How the connection ends.

    def shut_down(self) -> None:
        """End the connection after its streams: GOAWAY now, which names no stream, and another one when the client has seen it."""
        if not self._goaway_sent:
            self._goaway_sent = True
            self.write((frames.goaway(_EVERY_STREAM, ErrorCode.NO_ERROR), frames.ping(_SHUTDOWN_PING, ack=False)))

    def ping_acknowledged(self) -> None:
        if self._goaway_sent:
            self._finish_shutdown()

    def _finish_shutdown(self) -> None:
        """Take no more streams, and end the connection after the last one."""
        if self._goaway_is_final or self.is_ending:
            return
        self._goaway_sent = self._goaway_is_final = True
        self.write((frames.goaway(self.last_stream, ErrorCode.NO_ERROR),))
        self.closes_when_empty = True
        if not self.streams:
            self.emptied()

    def emptied(self) -> None:
        if not self.is_ending and not self.streams:
            self._end()

    def _end(self) -> None:
        """Send what was written, then FIN. What still comes is discarded."""
        self.flush()
        self.is_ending = True
        transport = self.transport
        if transport is None:
            return
        if not transport.can_write_eof():
            transport.close()
            return
        # Closing at once would answer the client's next byte with RST, which can make it lose the GOAWAY (RFC 9112 section 9.6).
        self._lingering = LingeringClose()
        send_fin(transport)

    def failed(self, error: Http2Error) -> None:
        kind = FailureKind.HTTP2_PROTOCOL_ERROR
        if isinstance(error, HeaderListTooLarge):
            kind = FailureKind.HTTP2_HEADER_TOO_LARGE
        elif isinstance(error, BuffersFull):
            kind = FailureKind.HTTP2_TOO_MANY_BYTES_BUFFERED
        elif error.code is ErrorCode.ENHANCE_YOUR_CALM:
            kind = FailureKind.HTTP2_FLOOD
        self._report(Failure(kind, error.reason))
        self._end_streams(error.reason)
        self._end()

    def _report(self, failure: Failure) -> None:
        """Count and log a failure that belongs to no exchange."""
        record = ExchangeRecord(cast("ClientAddress", self._address), Http2Exchange.protocol, self._listener.listener_state)
        record.failure = failure
        finish(record, self._listener.runtime)

    def _end_streams(self, detail: str) -> None:
        """The connection is gone, or unusable: end every exchange and tunnel on it."""
        self.is_ending = True
        streams = self.take_streams()
        for stream in {*self.exchanges, *streams}:
            cast("Http2Exchange", stream).connection_lost(detail)

    def stop(self) -> None:
        """The load balancer stops, or the listener was removed: end the connection after its streams."""
        if self.streams:
            self.shut_down()
        else:
            self._finish_shutdown()

    def abandon(self) -> None:
        """The load balancer has waited long enough: end now, whatever is in progress."""
        for exchange in tuple(self.exchanges):
            exchange.abandon()
        self.is_ending = True
        if self.transport is not None:
            self.transport.abort()

    def _leave_runtime(self) -> None:
        """The runtime waits for the tasks as well as for the socket, so that everything is counted when it has stopped."""
        if self.transport is None and not self.exchanges:
            self._listener.runtime.remove_client(self)

    # Deadlines.

    def sweep(self, now: float) -> None:
        """End what is overdue."""
        transport = self.transport
        if transport is None:
            return
        self.guard.refill(now)
        unsent = transport.get_write_buffer_size()
        was_active, self.is_active = self.is_active, False
        if self.is_ending:
            self._sweep_ending(now, unsent, heard=was_active)
            return
        if now >= self._expires:
            # As ALB does: after that age, one more request is served. The connection is not closed now, because the request may be on its
            # way.
            self._is_expired = True
        if self._goaway_sent:
            # The client does not answer the PING.
            self._finish_shutdown()
            if self.is_ending:
                return
        for stream in tuple(self.streams.values()):
            cast("Http2Exchange", stream).sweep(now, unsent)
        if not was_active:
            # An idle connection should cost little memory.
            self._heads = None
            if not self.streams:
                # A table that has grown stays large, even if it is empty.
                self.streams = {}
            if not self.exchanges:
                self.exchanges = set()
        self._sweep_head(now)
        idle = self._idle_tracker.seconds(now, unsent, None, received=was_active or bool(self.streams))
        if idle >= self.idle_timeout and not self.streams:
            if unsent:
                transport.abort()
            else:
                self._finish_shutdown()

    def _sweep_head(self, now: float) -> None:
        """A header block, or the preface, has begun: the rest has until `request_head_timeout` after that."""
        if self.header_block is None and self.has_preface:
            self._head_since = 0.0
        elif not self._head_since:
            self._head_since = now
        elif now - self._head_since >= (self.limits.request_head_timeout or self.idle_timeout):
            self._report(Failure(FailureKind.REQUEST_HEAD_TIMEOUT, "the preface or a header block is not complete"))
            self._end_streams("")
            self._end()

    def _sweep_ending(self, now: float, unsent: int, *, heard: bool) -> None:
        transport = self.transport
        if transport is None:
            return
        if unsent:
            is_over = self._idle_tracker.seconds(now, unsent, None, received=False) >= self.idle_timeout
        else:
            is_over = self._lingering is None or self._lingering.is_over(now, heard=heard)
        if is_over or (self._listener.runtime.stopping and not heard and not unsent):
            transport.abort()

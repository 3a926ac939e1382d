"""An HTTP/2 connection to a target: many exchanges share it, each as a stream.

Http2Connection          frames, flow control, floods (proxy/http2)
Http2TargetConnection    opens streams, and ends them if the connection ends
Http2TargetExchange      one stream: the exchange's view of the target
SharedConnections        the connections to one target, and the requests that wait for a stream
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, cast

from albkit.errors import Failure, FailureKind
from albkit.model.limits import Limits
from albkit.model.message import ClientAddress
from albkit.proxy.downstream import DownstreamExchange
from albkit.proxy.http2.buffer_budget import BufferBudget
from albkit.proxy.http2.connection import CONNECTION_WINDOW, Http2Connection
from albkit.proxy.http2.flood_guard import PER_USEFUL_FRAME, FloodGuard
from albkit.proxy.http2.stream import Http2Stream
from albkit.proxy.target.pooled_connection import PooledConnection
from albkit.proxy.transports import bound_buffers
from albkit.state.counters import Counters
from albkit.state.target import TargetState
from albkit.wire.http2 import frames
from albkit.wire.http2.frames import DEFAULT_WINDOW, ErrorCode, Http2Error, StreamError
from albkit.wire.http2.hpack_decoder import HpackDecoder

__all__ = ("STREAMS_BEFORE_SETTINGS", "Http2TargetConnection", "Room", "TargetStream", "code_name")

STREAMS_BEFORE_SETTINGS: Final = 100
"""Streams that a connection is expected to take, until its target's settings say how many (RFC 9113 section 6.5.2 recommends no less)."""
_LARGEST_STREAM: Final = 2**31 - 1
_LARGEST_HEADS: Final = 4
"""A header block may be so many times `Limits.response_head` before it ends the connection. One that is smaller ends its stream only, but
must be decoded."""
_SHOWN: Final = 100
"""Bytes of what a target sent that are shown in logs."""


def code_name(code: int) -> str:
    """The name of an error code, for logs."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"error code {code}"


class Room(Protocol):
    """What a connection needs of `SharedConnections`."""

    def stream_ended(self, connection: Http2TargetConnection) -> None:
        """The connection has room for one more stream, or became idle."""

    def settings_changed(self, connection: Http2TargetConnection) -> None:
        """The connection may take more or fewer streams than before."""

    def remove(self, connection: Http2TargetConnection) -> None:
        """Forget a connection that was lost."""


class TargetStream(Http2Stream):
    """What the connection needs of `Http2TargetExchange`."""

    __slots__ = ("client",)

    client: DownstreamExchange | None

    def fields_received(self, fields: Sequence[tuple[bytes, bytes]], ended: bool) -> None:
        """Take a head, an interim head or trailers.

        Raises:
            StreamError: the target violated the protocol.
        """
        raise NotImplementedError

    def refused(self, detail: str) -> None:
        """The target does not process the request. The stream is over."""
        raise NotImplementedError

    def connection_failed(self, detail: str, *, is_ours: bool) -> None:
        """The connection is over, because the target violated the protocol or, if `is_ours`, because it exceeds a limit."""
        raise NotImplementedError

    def connection_lost(self, exc: Exception | None, detail: str) -> None:
        """The target closed the connection, or it was lost."""
        raise NotImplementedError


class _TargetGuard(FloodGuard):
    """The load balancer decides how many streams a target can reset: a reset is a frame like others."""

    __slots__ = ()

    def stream_reset(self) -> None:
        self.control_frame()


class Http2TargetConnection(Http2Connection, PooledConnection):
    """One connection to a target.

    `start` it when the socket, and TLS if the group uses it, are ready. Then wait for `ready`. A stream is promised before it is opened:
    `promise`, then `open_stream` or `unpromise`.

    Args:
        member: The target.
        room: Is notified when streams end, and when the connection does.
        loop: The event loop.
        counters: Of the load balancer.
        limits: Of the load balancer.
        budget: Bounds what waits in all HTTP/2 connections.
    """

    __slots__ = (
        "_counters",
        "_early",
        "_end_reason",
        "_first_bytes",
        "_is_overdue",
        "_next_stream",
        "_promised",
        "_room",
        "exchanges",
        "idle_since",
        "is_last",
        "is_secure",
        "is_used",
        "max_streams",
        "member",
        "owner",
        "ready",
        "takes_websockets",
    )

    def __init__(
        self,
        member: TargetState,
        room: Room,
        loop: asyncio.AbstractEventLoop,
        counters: Counters,
        limits: Limits,
        budget: BufferBudget,
    ) -> None:
        super().__init__(loop, limits, budget, awaits_preface=False)
        self.member = member
        self.owner: ClientAddress | None = None
        self.is_last = False
        self.is_secure = False
        """Whether the connection uses TLS."""
        self.is_used = False
        """Whether a response has come. After that, the target may close the connection at any time without having failed."""
        self.exchanges: set[TargetStream] = set()
        """Those that have sent a head, until they are released. Streams of tunnels are not among them."""
        self.max_streams = min(STREAMS_BEFORE_SETTINGS, limits.http2_streams)
        self.takes_websockets = False
        """Whether the target takes extended CONNECT (RFC 8441)."""
        self.ready: asyncio.Future[None] = loop.create_future()
        """Done when the target's settings have come; fails if they do not."""
        self.idle_since = 0.0
        """When the sweep first found the connection idle, by the monotonic clock."""
        self.guard = _TargetGuard(limits)
        self.largest_block = _LARGEST_HEADS * limits.response_head
        self.decoder = HpackDecoder(self.largest_block, self.largest_block)
        self._room = room
        self._counters = counters
        self._promised = 0
        """Streams that were lent and are not open yet."""
        self._next_stream = 1
        self._early: list[bytes] | None = []
        """What has come before `start`."""
        self._first_bytes = b""
        self._end_reason = ""
        """The target's GOAWAY, or how it violated the protocol."""
        self._is_overdue = False
        """Whether a sweep has seen the connection ending."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {self.member.address}: {len(self.streams)} streams>"

    @property
    def clients(self) -> Iterable[DownstreamExchange]:
        return [exchange.client for exchange in self.exchanges if exchange.client is not None]

    # The start.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.transport is not None:
            bound_buffers(self.transport, self.limits.in_flight)

    def insert_below(self, protocol: asyncio.Protocol) -> None:
        transport = self.transport
        if transport is None:
            return
        transport.set_protocol(protocol)
        if self._early:
            early, self._early = self._early, []
            transport.resume_reading()
            protocol.data_received(b"".join(early))

    def start(self) -> None:
        """Send the preface and the settings (RFC 9113 section 3.4)."""
        transport = self.transport
        early, self._early = self._early, None
        if transport is None:
            return
        self.is_secure = transport.get_extra_info("ssl_object") is not None
        settings = (
            (frames.SETTINGS_ENABLE_PUSH, 0),
            (frames.SETTINGS_INITIAL_WINDOW_SIZE, self.limits.in_flight),
            (frames.SETTINGS_MAX_HEADER_LIST_SIZE, self.limits.response_head),
        )
        self.write((frames.PREFACE, frames.settings_frame(settings), frames.window_update(0, CONNECTION_WINDOW - DEFAULT_WINDOW)))
        if early:
            transport.resume_reading()
            self.data_received(b"".join(early))

    def data_received(self, data: bytes) -> None:
        if self._early is not None:
            # The rest may wait in the kernel.
            if not self._early and self.transport is not None:
                self.transport.pause_reading()
            self._early.append(data)
            return
        if not self.ready.done():
            self._first_bytes = (self._first_bytes + data)[:_SHOWN]
        super().data_received(data)

    def settings_received(self, settings: Sequence[tuple[int, int]]) -> None:
        most = self.max_streams if self.ready.done() else self.limits.http2_streams
        for name, value in settings:
            if name == frames.SETTINGS_MAX_CONCURRENT_STREAMS:
                most = min(value, self.limits.http2_streams)
            elif name == frames.SETTINGS_ENABLE_CONNECT_PROTOCOL:
                self.takes_websockets = bool(value)
            elif name == frames.SETTINGS_ENABLE_PUSH and value:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a server must not enable push")
        self.max_streams = most
        if not self.ready.done():
            self.ready.set_result(None)
        else:
            self._room.settings_changed(self)

    # Streams.

    @property
    def has_room(self) -> bool:
        """Whether one more stream can be promised."""
        transport = self.transport
        return (
            len(self.streams) + self._promised < self.max_streams
            and not self.is_last
            and not self.is_ending
            and transport is not None
            and not transport.is_closing()
        )

    @property
    def is_going_away(self) -> bool:
        """Whether the target would not answer another stream, or the connection is over."""
        return bool(self._end_reason) or self.is_ending or self.transport is None

    def refusal(self) -> Failure:
        """The failure of a request that was to use this connection and was not sent."""
        if self._end_reason.startswith("GOAWAY"):
            return Failure(FailureKind.TARGET_REFUSED_STREAM, self._end_reason)
        if self.is_going_away:
            return Failure(FailureKind.TARGET_UNREACHABLE, self._end_reason or "closed before the request was sent")
        return Failure(FailureKind.TARGET_REFUSED_STREAM, f"SETTINGS_MAX_CONCURRENT_STREAMS is {self.max_streams}")

    @property
    def is_unused(self) -> bool:
        """Whether no stream is open or promised."""
        return not self.streams and not self._promised

    def promise(self) -> None:
        """Keep room for a stream, until `open_stream` or `unpromise`."""
        self._promised += 1

    def unpromise(self) -> None:
        """The promised stream is not needed."""
        self._promised -= 1
        self._room.stream_ended(self)

    def open_stream(self, stream: TargetStream) -> None:
        """Give a promised stream its number. Its HEADERS must be written next, because numbers must grow (RFC 9113 section 5.1.1)."""
        self._promised -= 1
        number = self._next_stream
        self._next_stream += 2
        if self._next_stream > _LARGEST_STREAM:
            self.is_last = True
        stream.open_stream(number, ended_receiving=False, length=-1)
        self.streams[number] = stream
        self.guard.earned += PER_USEFUL_FRAME

    def is_idle_stream(self, stream_id: int) -> bool:
        return stream_id >= self._next_stream or not stream_id & 1

    def headers_received(self, stream_id: int, block: bytes, ended: bool) -> None:
        fields = self.decoder.decode(block)
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.is_used = True
            cast("TargetStream", stream).fields_received(fields, ended)
        elif self.was_reset_here(stream_id):
            self.guard.control_frame()
        else:
            kind = "an idle" if self.is_idle_stream(stream_id) else "a closed"
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, f"HEADERS of {kind} stream")

    def violated(self, stream: TargetStream, code: ErrorCode) -> None:
        """Reset a stream whose response cannot be used."""
        self.reset_stream(stream, code)
        self.guard.stream_reset()

    def _forget(self, stream: Http2Stream) -> bool:
        if not super()._forget(stream):
            return False
        self._room.stream_ended(self)
        return True

    # Flow control.

    def pause_writing(self) -> None:
        super().pause_writing()
        self._counters.reading_was_paused()
        for client in self.clients:
            client.pause_body()

    def resume_writing(self) -> None:
        super().resume_writing()
        for exchange in tuple(self.exchanges):
            if exchange.client is not None and not exchange.pending_bytes:
                exchange.client.resume_body()

    def reading_was_paused(self) -> None:
        """Count that a client is not read, because the window of its stream is closed."""
        self._counters.reading_was_paused()

    # The end.

    def goaway_received(self, last_stream: int, code: int, debug: bytes) -> None:
        self._end_reason = f"GOAWAY {code_name(code)}" + (f" {debug[:_SHOWN]!r}" if debug else "")
        self.retire()
        for number in [number for number in self.streams if number > last_stream]:
            stream = self.streams[number]
            if self._forget(stream):
                cast("TargetStream", stream).refused(self._end_reason)

    def retire(self) -> None:
        if not self.is_last:
            self.is_last = True
            self._room.settings_changed(self)
        if self.is_unused:
            self.close_soon()

    def close_soon(self) -> None:
        """Close the connection in the next turn of the event loop, if it is unused then: it may be in the middle of a read."""
        self._loop.call_soon(self._close_if_unused)

    def _close_if_unused(self) -> None:
        if self.is_unused:
            self.close_idle()

    def close_idle(self) -> None:
        transport = self.transport
        if self.is_ending or transport is None:
            return
        self.is_last = True
        # The highest stream that the target has opened: without push, none.
        self.write((frames.goaway(0, ErrorCode.NO_ERROR),))
        self.flush()
        self.is_ending = True
        self._room.settings_changed(self)
        transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def failed(self, error: Http2Error) -> None:
        self.is_last = True
        if not self.ready.done():
            self._fail_start(self._not_http2(error.reason))
        detail = self._end_reason = f"{error}; {self._end_reason}" if self._end_reason else str(error)
        is_ours = error.code is ErrorCode.ENHANCE_YOUR_CALM
        for stream in self.take_streams():
            cast("TargetStream", stream).connection_failed(detail, is_ours=is_ours)
        self._room.settings_changed(self)
        if self.transport is not None:
            # Sends the GOAWAY. The sweep does not wait for that for long.
            self.transport.close()

    def stream_failed(self, stream_id: int, error: StreamError) -> None:
        """The stream has reported it to its exchange."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_last = True
        streams = self.take_streams()
        super().connection_lost(exc)
        self._room.remove(self)
        if not self.ready.done():
            if exc is not None:
                self._fail_start(Failure(FailureKind.TARGET_UNREACHABLE, f"{self.member.address}: {exc}, before its SETTINGS"))
            else:
                self._fail_start(self._not_http2("it closed the connection"))
        for stream in streams:
            cast("TargetStream", stream).connection_lost(exc, self._end_reason)

    def _fail_start(self, failure: Failure) -> None:
        self.ready.set_exception(failure)
        # The task that opens the connection may have been cancelled. Then nobody else looks at the exception.
        self.ready.exception()

    def _not_http2(self, reason: str) -> Failure:
        first = self._first_bytes
        if first.startswith(b"HTTP/1."):
            reason = "it answers in HTTP/1; enable HTTP/2 on it, or set the group's protocol_version to HTTP1"
        elif first:
            reason = f"{reason}; it sent {first!r}"
        return Failure(FailureKind.RESPONSE_NOT_HTTP2, f"{self.member.address}: {reason}")

    def sweep(self, now: float) -> None:
        transport = self.transport
        if transport is None:
            return
        self.guard.refill(now)
        if self.is_ending:
            if self._is_overdue:
                transport.abort()
            self._is_overdue = True
        elif not self.is_unused:
            return
        elif self.is_active:
            self.is_active = False
            self.idle_since = now
        elif now - self.idle_since >= self.limits.target_keep_alive:
            self._counters.idle_connection_closed()
            self.close_idle()

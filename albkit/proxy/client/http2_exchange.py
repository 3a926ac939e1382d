"""One request of an HTTP/2 client and its response: a stream of the client's connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, Final, Protocol

from albkit.errors import Failure, FailureKind
from albkit.model.message import ClientAddress, RequestHead, ResponseHead
from albkit.policy.protocol_versions import is_grpc_request
from albkit.proxy.client.buffered_body import BufferedBody
from albkit.proxy.client.client_exchange import ClientExchange
from albkit.proxy.client.stream_deadlines import StreamDeadlines
from albkit.proxy.downstream import NO_BODY, BodySink, Upstream, WholeBody
from albkit.proxy.http2.stream import Http2Stream, Owner
from albkit.proxy.http2.stream_transport import StreamTransport
from albkit.proxy.transports import locate
from albkit.state.counters import Counters
from albkit.wire.http1.forwarded import ForwardedFields
from albkit.wire.http1.upgrade import websocket_lines
from albkit.wire.http2.frames import ErrorCode, StreamError
from albkit.wire.http2.hpack_encoder import ENCODED_LINES, encode_status
from albkit.wire.http2.request import Http2Head
from albkit.wire.http2.response import response_block

__all__ = ("Http2Exchange",)

_SMALL: Final = 1024
"""Bytes up to which parts of a body that must wait are joined. A frame of one byte must not cost fifty bytes of memory."""
_CONTINUE: Final = encode_status(100)
_GRPC_UNAVAILABLE: Final = ENCODED_LINES[b"grpc-status: 14"] + ENCODED_LINES[b"grpc-message: unavailable"]
_SWITCHED: Final = 200
"""What 101 is over HTTP/2 (RFC 8441 section 5)."""


class ExchangeOwner(Owner, Protocol):
    """What an exchange needs of its connection (`Http2ClientConnection`, which documents each)."""

    counters: Counters
    idle_timeout: float

    def keep_exchange(self, exchange: Http2Exchange) -> bool: ...
    def exchange_over(self, exchange: Http2Exchange) -> None: ...


class Http2Exchange(ClientExchange, Http2Stream):
    """Fulfils `DownstreamExchange` for HTTP/2. Its task serves one stream, and then waits in `head` for another one of the connection.

    So neither a task nor an object is made per request. `Http2ClientConnection` calls `open` with a new stream.
    """

    __slots__ = (
        "_body_taken",
        "_buffered_body",
        "_deadlines",
        "_failure",
        "_head",
        "_is_attached",
        "_is_over",
        "_loop",
        "_pieces",
        "_request",
        "_request_trailers",
        "_response",
        "_sink",
        "_waiter",
        "address",
        "forwarded",
        "has_left",
        "interrupt",
        "is_active",
        "is_connect",
        "is_retired",
        "is_trusted_proxy",
        "received_bytes",
        "response_started",
        "sent_bytes",
        "task",
        "upstream",
    )

    protocol: ClassVar[str] = "HTTP/2"
    gives_up_connection: ClassVar[bool] = False
    connection: ExchangeOwner
    address: ClientAddress
    forwarded: ForwardedFields

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiter: asyncio.Future[object] | None = None
        self._failure: Failure | None = None
        self.interrupt: Callable[[], None] | None = None
        self.upstream: Upstream | None = None
        self._is_attached = False
        """Whether `connection` is set."""
        self._head: bytes | None = None
        """The head of a new stream, until the task takes it."""
        self.is_retired = False
        """Whether the task ends instead of waiting for another stream."""
        self._is_over = True
        """Whether the response was handed over, or the stream is gone."""
        self.task: asyncio.Task[None] | None = None
        """Kept here, because the event loop itself does not keep tasks."""
        self.is_open = False
        self.tunnel = None
        self._deadlines: StreamDeadlines | None = None
        """`None` until the first sweep: most streams do not live that long."""

    def attach(self, connection: ExchangeOwner, address: ClientAddress, forwarded: ForwardedFields, *, is_trusted_proxy: bool) -> None:
        """Serve a stream of this connection next."""
        self.connection = connection
        self.address = address
        self.forwarded = forwarded
        self.is_trusted_proxy = is_trusted_proxy
        self._is_attached = True

    def detach_connection(self) -> None:
        """The stream is over. While the task waits, nothing may keep the connection in memory."""
        self._is_attached = False
        self._request = None
        del self.connection

    def open(self, stream_id: int, head: Http2Head, *, ended: bool) -> None:
        """Serve this stream."""
        self.open_stream(stream_id, ended_receiving=ended, length=head.content_length)
        # The window is given back when there is somebody to take the body.
        self.is_granting = False
        self.is_connect = head.is_connect
        self._head = head.head
        self._request: RequestHead | None = None
        self._failure = None
        self.has_left = False
        self._is_over = False
        self.is_active = True
        # The request body.
        self._pieces: list[bytes] | None = None
        """What has come and was not taken yet."""
        self._request_trailers: list[bytes] = []
        self._body_taken = ended or head.is_connect
        """Whether a sink, or the exchange, got the end of the body. The DATA of a CONNECT is no body."""
        self._sink: BodySink | None = None
        self._buffered_body: BufferedBody | None = None
        self.received_bytes = len(head.head)
        # The response.
        self._response: ResponseHead | None = None
        """A response that was started and not written."""
        self.response_started = False
        self.sent_bytes = 0
        self._deadlines = None
        self.wake()

    def task_ended(self) -> None:
        """The task serves no further stream. A response that waits for a window is still sent."""
        self.task = None
        if not self._is_attached:
            return
        if not self._is_over and self.tunnel is None:
            # The task was cancelled.
            self.cut()
        self.connection.exchange_over(self)

    def retire(self) -> None:
        """End the task, which waits for a stream."""
        self.is_retired = True
        self.wake()

    # The request.

    async def head(self) -> bytes | None:
        while self._head is None:
            if self.is_retired:
                return None
            await self.wait()
        head, self._head = self._head, None
        return head

    def begin(self, request: RequestHead) -> None:
        self._request = request

    def locate(self) -> ClientAddress:
        return locate(self.address if self._request is None else self._request.client, self.connection.transport)

    @property
    def body_over(self) -> bool:
        return self._body_taken

    def receive(self, data: bytes, ended: bool) -> None:
        self.is_active = True
        self.received_bytes += len(data)
        sink = self._sink
        if sink is not None:
            # Before the sink gets the end: it may call back, and must find the body complete.
            self._body_taken = ended
            sink.feed([data] if data else [], ended, [])
        elif data and not self._is_over:
            pieces = self._pieces
            if pieces is None:
                self._pieces = [data]
            elif len(pieces[-1]) + len(data) <= _SMALL:
                pieces[-1] += data
            else:
                pieces.append(data)
            self.connection.hold(len(data))

    def _take_pieces(self) -> list[bytes]:
        """Remove and return what has come of the body and was not taken yet."""
        pieces, self._pieces = self._pieces, None
        if pieces is None:
            return []
        self.connection.hold(-sum(map(len, pieces)))
        return pieces

    def take_trailers(self, lines: list[bytes]) -> None:
        """The trailers of the request have come, which end it.

        Raises:
            StreamError: the body is shorter than its Content-Length.
        """
        if self.length_left > 0:
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "the body is shorter than its Content-Length")
        self.ended_receiving = self.is_active = True
        self._request_trailers = lines
        if self._sink is not None:
            self._body_taken = True
            self._sink.feed([], True, lines)
        self.connection.check_over(self)

    def whole_body(self) -> WholeBody | None:
        request = self._request
        buffered = self._buffered_body
        if buffered is not None:
            return (buffered.pieces, buffered.trailers) if buffered.over else None
        if self._body_taken or request is None:
            return NO_BODY
        if not self.ended_receiving:
            return None
        self._body_taken = True
        return self._take_pieces(), self._request_trailers

    def pump_body(self, sink: BodySink) -> None:
        self._sink = sink
        buffered = self._buffered_body
        if buffered is not None and sink is not buffered and (buffered.pieces or buffered.over):
            # What a hook has read precedes what is still to come.
            pieces, buffered.pieces = buffered.pieces, []
            sink.feed(pieces, buffered.over, buffered.trailers)
        if self._body_taken:
            return
        pieces = self._take_pieces()
        if pieces or self.ended_receiving:
            self._body_taken = self.ended_receiving
            sink.feed(pieces, self.ended_receiving, self._request_trailers)
        # A target connection reports that it is full when it becomes full. One that was full before this exchange does not report it.
        if self.upstream is None or not self.upstream.is_full:
            self.resume_receiving()

    def park_body(self) -> None:
        self._sink = None
        self.pause_receiving()

    def pause_body(self) -> None:
        self.pause_receiving()

    def resume_body(self) -> None:
        if self._sink is not None:
            self.resume_receiving()

    # The response.

    @property
    def is_full(self) -> bool:
        return self.connection.is_full or bool(self.pending_bytes)

    def send_continue(self) -> None:
        if not self.ended_receiving and self.is_open:
            self.sent_bytes += self.send_block(_CONTINUE, over=False)

    def send_interim(self, response: ResponseHead) -> None:
        if self.is_open:
            self.sent_bytes += self.send_block(response_block(response.lines, response.status), over=False)

    def start_response(self, response: ResponseHead, fields: bytes) -> None:
        if self.is_connect and 200 <= response.status < 300:
            # To the client, any 2xx means that the stream is a WebSocket now (RFC 8441 section 5).
            raise Failure(FailureKind.RESPONSE_NOT_SWITCHED, f"status {response.status}")
        if fields:
            response.lines.append(fields)
        self._response = response

    def write_body(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        response = self._response
        if response is not None:
            self._response = None
            self.response_started = True
            if not self.is_open:
                return
            block = response_block(response.lines, response.status)
            if over and len(pieces) == 1 and not trailers:
                sent = self.send_whole(block, pieces[0])
                if sent:
                    self.sent_bytes += sent
                    return
            is_all = over and not pieces and not trailers
            self.sent_bytes += self.send_block(block, over=is_all)
            if is_all:
                return
        if self.is_open:
            self.sent_bytes += sum(map(len, pieces))
            self.send_data(pieces, over, b"".join([ENCODED_LINES[line] for line in trailers]) if trailers else b"")

    def sending_paused(self) -> None:
        self.connection.counters.reading_was_paused()
        if self.upstream is not None:
            self.upstream.pause_reading()

    def sending_resumed(self) -> None:
        if self.upstream is not None and not self.connection.is_full:
            self.upstream.resume_reading()

    def sending_ended(self) -> None:
        if self.ended_receiving:
            self.connection.check_over(self)
        else:
            # The response is complete, and the rest of the request is not needed (RFC 9113 section 8.1).
            self.reset(ErrorCode.NO_ERROR)

    def response_over(self) -> bool:
        self._is_over = True
        self._take_pieces()
        # One that came behind the last byte from the target, while the task did not run, is no concern of the next stream.
        self._failure = None
        # If data still waits for a window, the stream goes on without the task.
        return not self.is_open and self.connection.keep_exchange(self)

    # Ends.

    def close(self) -> None:
        """Nothing to do: the connection ends by itself."""

    def cut(self) -> None:
        self._is_over = True
        self._take_pieces()
        request = self._request
        if self.response_started and self.is_open and not self.pending_bytes and request is not None and is_grpc_request(request):
            # A gRPC client reads a reset as "internal" and does not try again. It reads trailers even behind half a message.
            self.send_data([], True, _GRPC_UNAVAILABLE)
        else:
            self.reset(ErrorCode.INTERNAL_ERROR)

    def was_reset(self, code: int, detail: str = "") -> None:
        if not detail:
            self.connection.counters.http2_stream_reset()
        if self.tunnel is not None:
            self.tunnel.was_reset(code, detail)
            return
        self.has_left = True
        if self._head is not None:
            self._drop_head()
        elif not self._is_over:
            if detail:
                self.fail(Failure(FailureKind.REQUEST_BODY_MALFORMED, detail))
            else:
                self.client_left(f"RST_STREAM with code {code}")

    def _drop_head(self) -> None:
        """The stream is gone before the task has looked: no exchange has begun."""
        self._head = None
        self._is_over = True
        self._take_pieces()
        self.connection.keep_exchange(self)

    def connection_lost(self, detail: str) -> None:
        """The connection of the client is gone, and with it the stream."""
        if self.tunnel is not None:
            self.tunnel.connection_lost(ConnectionResetError(detail) if detail else None)
            return
        if self._is_over and self._head is None:
            return
        self.has_left = True
        if self._head is not None:
            self._drop_head()
        else:
            self.client_left(detail)

    def abandon(self) -> None:
        """The load balancer has waited long enough for the exchange."""
        if not self._is_over and self.tunnel is None:
            self.fail(Failure(FailureKind.STOPPED_IN_RESPONSE if self.response_started else FailureKind.STOPPED))

    def open_tunnel(self, response: ResponseHead, fields: bytes) -> tuple[asyncio.Transport, bytes, bytes]:
        request = self._request
        if self.has_left or request is None or not self.is_open:
            raise Failure(FailureKind.CLIENT_CLOSED)
        lines = websocket_lines(request, response)
        if fields:
            lines.append(fields)
        self._is_over = self.response_started = True
        early = b"".join(self._take_pieces())
        # The tunnel counts these.
        self.received_bytes -= len(early)
        self.sent_bytes += self.send_block(response_block(lines, _SWITCHED), over=False)
        return StreamTransport(self, self._loop), b"", early

    # Deadlines.

    @property
    def awaits_body(self) -> bool:
        """Whether the exchange waits for the client to send more of the body."""
        return self._sink is not None and not self._body_taken and self.is_granting

    def sweep(self, now: float, unsent: int) -> None:
        """End the exchange if nothing has moved for too long.

        Args:
            now: The sweep's time.
            unsent: Bytes that wait in the transport of the connection.
        """
        if self.tunnel is not None:
            return
        deadlines = self._deadlines
        if deadlines is None:
            deadlines = self._deadlines = StreamDeadlines(self.connection.limits.request_body_rate, self.connection.idle_timeout)
        if self.is_full and self.upstream is not None:
            self.upstream.read_in_small_chunks()
        is_full = self.connection.is_full
        is_stuck = deadlines.is_stuck(self, now, unsent, is_full=is_full)
        if not self._is_over:
            deadlines.check_rate(self, now)
        if not is_stuck:
            return
        if self._is_over:
            self.reset(ErrorCode.CANCEL)
        elif self.response_started:
            self.fail(Failure(FailureKind.CLIENT_STALLED if self.pending_bytes or is_full else FailureKind.RESPONSE_BODY_TIMEOUT))
        else:
            self.fail(Failure(FailureKind.REQUEST_BODY_TIMEOUT if self.awaits_body else FailureKind.TARGET_TIMEOUT))

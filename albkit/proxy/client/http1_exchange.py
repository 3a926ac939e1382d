"""The requests of one HTTP/1.x connection and their responses, one after the other."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import ClassVar, Final

from albkit.errors import Failure, FailureKind
from albkit.model.message import ClientAddress, RequestHead, ResponseHead
from albkit.proxy.client.buffered_body import BufferedBody
from albkit.proxy.client.client_exchange import ClientExchange
from albkit.proxy.client.client_socket import ClientSocket
from albkit.proxy.client.http1_states import BODY, END_BODY, HEAD, IN_EXCHANGE, NEXT, PARK, READING_BODY
from albkit.proxy.client.response_head import add_framing_fields, head_bytes, switching_head, with_head
from albkit.proxy.downstream import NO_BODY, BodySink, Upstream, WholeBody
from albkit.proxy.target.request_body_writer import LARGEST_WHOLE
from albkit.proxy.transports import locate, send
from albkit.wire.http1.framing import Body, ChunkedBody, FramingError, SizedBody, encode_chunk, encode_last_chunk

__all__ = ("Http1Exchange",)

_REQUESTS_PER_TURN: Final = 4
"""Pipelined requests that are read in one turn of the event loop. Then other connections are served first."""

_PREFACE_LIKE: Final = re.compile(
    rb"PRI \* HTTP/2\.0\r\n\r\n|[^ \r\n]+ [^ \r\n]+ (?!HTTP/)[^ \r\n]+\r\n\r\n",
)
"""Up to its empty line, the preface of HTTP/2 looks like a request head (RFC 9113 section 3.4). A line of three words without a version of
HTTP/1, and nothing behind it, can only be a wrong preface: HTTP/2 answers it with GOAWAY."""


class Http1Exchange(ClientExchange):
    """Fulfils `DownstreamExchange` for HTTP/1.0 and 1.1. One per connection, used for each request in turn."""

    __slots__ = (
        "_body",
        "_buffered_body",
        "_chunks_response",
        "_failure",
        "_head_lines",
        "_keeps_alive",
        "_loop",
        "_request",
        "_sink",
        "_socket",
        "_waiter",
        "address",
        "forwarded",
        "has_left",
        "interrupt",
        "is_full",
        "is_last",
        "is_trusted_proxy",
        "received_bytes",
        "response_started",
        "sent_bytes",
        "served",
        "switch_to_http2",
        "takes_no_more",
        "upstream",
    )

    protocol: ClassVar[str] = "HTTP/1.1"
    gives_up_connection: ClassVar[bool] = True

    def __init__(self, socket: ClientSocket, loop: asyncio.AbstractEventLoop) -> None:
        self._socket = socket
        self._loop = loop
        # What the exchange waits for.
        self._waiter: asyncio.Future[object] | None = None
        self._failure: Failure | None = None
        """A failure that came while the exchange did not wait. The next wait raises it."""
        self.interrupt: Callable[[], None] | None = None
        self.upstream: Upstream | None = None
        # The request.
        self._request: RequestHead | None = None
        self._body: Body | None = None
        """The framing of the request body, `None` if there is none or it was taken as a whole."""
        self._sink: BodySink | None = None
        self._buffered_body: BufferedBody | None = None
        """The request body as far as a hook has read it."""
        self.received_bytes = 0
        # The response.
        self._head_lines: list[bytes] | None = None
        """The head of a response that was started and not written."""
        self._chunks_response = False
        self._keeps_alive = False
        self.response_started = False
        self.sent_bytes = 0
        self.is_full = False
        # The connection.
        self.served = 0
        """Requests that were read on this connection."""
        self.switch_to_http2: Callable[[bytes], None] | None = None
        """Called with the start of the preface of HTTP/2, if the client sent that instead of its first request; `None` if HTTP/2 is off."""
        self.is_last = False
        """Whether the connection ends after the next response."""
        self.takes_no_more = False
        """Whether the connection ends instead of waiting for another request head."""
        self.has_left = False

    # The request head.

    async def head(self) -> bytes | None:
        socket = self._socket
        receive_buffer = socket.receive_buffer
        socket.state = NEXT[socket.state]
        self._request = None
        self._failure = None
        self.response_started = False
        self.received_bytes = self.sent_bytes = 0
        # A response that the load balancer gives itself waits for nothing, so a client that pipelines could keep the event loop busy.
        if self.served % _REQUESTS_PER_TURN == 0 and receive_buffer:
            await asyncio.sleep(0)
            if socket.transport is None:
                return None
        while True:
            # Flow control: a client that pipelines requests but does not read the responses gets no further request read.
            head = receive_buffer.next_head() if not self.is_full else None
            if head is not None:
                if self.served or self.switch_to_http2 is None or not _PREFACE_LIKE.fullmatch(head):
                    break
                self.switch_to_http2(head)
                return None
            if self.has_left and receive_buffer:
                raise Failure(FailureKind.REQUEST_HEAD_TRUNCATED)
            if self.has_left or self.takes_no_more:
                return None
            if socket.is_paused and len(receive_buffer) <= socket.limits.early_bytes:
                socket.resume_reading()
            await self.wait()
        socket.state = HEAD[socket.state]
        self.served += 1
        self.received_bytes = len(head)
        return head

    def begin(self, request: RequestHead) -> None:
        self._request = request
        length = request.content_length
        if length:
            self._body = SizedBody(length) if length > 0 else ChunkedBody()
        if self._socket.traces:
            self._socket.trace(f"request {self.shown_request}")

    def locate(self) -> ClientAddress:
        return locate(self.address if self._request is None else self._request.client, self._socket.transport)

    # The request body.

    @property
    def body_over(self) -> bool:
        return self._body is None or self._body.over

    def whole_body(self) -> WholeBody | None:
        request = self._request
        buffered = self._buffered_body
        if request is None or (self._body is None and buffered is None):
            return NO_BODY
        if buffered is not None:
            return (buffered.pieces, buffered.trailers) if buffered.over else None
        # Most small bodies arrive with their head. Such a body needs no sink, and can be sent again to another target.
        length = request.content_length
        body = self._socket.receive_buffer.take(length) if 0 < length <= LARGEST_WHOLE else None
        if body is None:
            return None
        self._body = None
        self.received_bytes += len(body)
        return [body], []

    def pump_body(self, sink: BodySink) -> None:
        socket = self._socket
        self._sink = sink
        buffered = self._buffered_body
        if buffered is not None and sink is not buffered and buffered.pieces:
            # What a hook has read precedes what is still to come.
            sink.feed(buffered.pieces, buffered.over, buffered.trailers)
            buffered.pieces = []
        if self.body_over:
            return
        socket.state = BODY[socket.state]
        if socket.state != READING_BODY:
            return  # The connection was aborted in this turn of the event loop. The exchange fails at its next wait.
        data = socket.receive_buffer.take_all()
        if data or (self._body is not None and self._body.is_behind):
            self.feed_body(data)
        if socket.state == READING_BODY:
            # A target connection reports that it is full when it becomes full. One that was full before this exchange does not report it.
            if self.upstream is not None and self.upstream.is_full:
                socket.pause_reading()
            elif socket.is_paused:
                self._read_on()

    def park_body(self) -> None:
        socket = self._socket
        was_reading = socket.state == READING_BODY
        socket.state = PARK[socket.state]
        self._sink = None
        if was_reading and socket.is_paused:
            socket.resume_reading()

    def feed_body(self, data: bytes) -> None:
        """The next bytes of the body have arrived, perhaps with the beginning of the next request behind it."""
        socket = self._socket
        body = self._body
        sink = self._sink
        if body is None or sink is None:
            return
        try:
            pieces = body.feed(data)
        except FramingError as error:
            socket.state = END_BODY[socket.state]
            self.fail(Failure(FailureKind.REQUEST_BODY_MALFORMED, str(error)))
            return
        self.received_bytes += len(data)
        if body.over:
            rest = body.rest()
            socket.receive_buffer.add(rest)
            self.received_bytes -= len(rest)
            # Before the sink gets the end: it may call back, and must find the body complete.
            socket.state = END_BODY[socket.state]
        sink.feed(pieces, body.over, body.trailers)
        if body.is_behind:
            socket.rest(self._rested)

    def _rested(self) -> None:
        """Other connections were served after a read that had many tiny chunks. Take more of them, then read on."""
        socket = self._socket
        socket.is_resting = False
        if socket.state == READING_BODY and not socket.is_paused:
            self.feed_body(b"")
        if not socket.is_resting and not socket.is_paused:
            socket.resume_reading()

    def pause_body(self) -> None:
        if self._socket.state == READING_BODY:
            self._socket.pause_reading()

    def resume_body(self) -> None:
        if self._socket.state == READING_BODY:
            self._read_on()

    def _read_on(self) -> None:
        """Take the part of the body that has arrived and was not decoded yet, then let the transport read."""
        socket = self._socket
        if self._body is not None and self._body.is_behind:
            socket.is_paused = False
            socket.rest(self._rested)
        else:
            socket.resume_reading()

    # The response.

    def send_continue(self) -> None:
        if not self.body_over:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send_interim(self, response: ResponseHead) -> None:
        # An HTTP/1.0 client does not know 1xx (RFC 9110 section 15.2).
        if self._request is not None and not self._request.http_1_0:
            self._write(head_bytes(response))

    def start_response(self, response: ResponseHead, fields: bytes) -> None:
        request = self._request
        length = response.content_length
        http_1_0 = request is not None and request.http_1_0
        self._chunks_response = chunked = length < 0 and not http_1_0
        self._keeps_alive = keep_alive = (
            request is not None
            and request.keep_alive
            and not request.close_after
            and not self.is_last
            and (self._body is None or self._body.over)  # The rest of the body would be taken for the next request.
            and (length >= 0 or chunked)
        )
        if not keep_alive:
            self._socket.ends_response = http_1_0 and length < 0
        lines = response.lines
        if chunked or http_1_0 or not keep_alive:
            fields = add_framing_fields(lines, fields, chunked=chunked, keep_alive=keep_alive, http_1_0=http_1_0)
        if fields:
            lines.append(fields)
        self._head_lines = lines

    def write_body(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        if self._chunks_response:
            pieces = encode_chunk(pieces) if pieces else []
            if over:
                pieces.append(encode_last_chunk(trailers))
        lines = self._head_lines
        if lines is not None:
            self._head_lines = None
            self.response_started = True
            pieces = with_head(lines, pieces)
        transport = self._socket.transport
        if transport is None or not pieces:
            return
        if len(pieces) == 1:
            self.sent_bytes += len(pieces[0])
            transport.write(pieces[0])
        else:
            size = sum(map(len, pieces))
            self.sent_bytes += size
            send(transport, pieces, size)

    def _write(self, data: bytes) -> None:
        transport = self._socket.transport
        if transport is not None:
            self.sent_bytes += len(data)
            transport.write(data)

    def response_over(self) -> bool:
        if self._keeps_alive and not self.has_left and self._socket.state == IN_EXCHANGE:
            self._body = self._sink = self._buffered_body = None
            if self._socket.traces:
                self._socket.trace("kept alive")
            return True
        self.finish()
        return False

    # Ends.

    def finish(self) -> None:
        self._socket.finish(lingers=self._may_still_send())

    def close(self) -> None:
        self._socket.close()

    def cut(self) -> None:
        if self.has_left or not self.response_started:
            self._socket.abort()
        else:
            self._socket.cut(lingers=self._may_still_send())

    def _may_still_send(self) -> bool:
        if self.has_left:
            return False
        # A client that announced that it sends nothing after this request, and has not, needs no lingering close.
        request = self._request
        return request is None or request.keep_alive or not self.body_over or bool(self._socket.receive_buffer)

    def open_tunnel(self, response: ResponseHead, fields: bytes) -> tuple[asyncio.Transport, bytes, bytes]:
        detached = self._socket.detach() if not self.has_left else None
        if detached is None:
            raise Failure(FailureKind.CLIENT_CLOSED)
        transport, early = detached
        return transport, switching_head(response, fields), early

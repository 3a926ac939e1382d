"""One request to a target over HTTP/2 and its response: a stream of a shared connection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar, Final

from albkit.errors import Failure, FailureKind
from albkit.model.message import RequestHead, ResponseHead
from albkit.proxy.downstream import DownstreamExchange
from albkit.proxy.http2.stream_transport import StreamTransport
from albkit.proxy.target.http2_connection import Http2TargetConnection, TargetStream, code_name
from albkit.proxy.target.interim import pass_interim
from albkit.wire.http1.upgrade import websocket_accept
from albkit.wire.http2.fields import trailer_lines
from albkit.wire.http2.frames import ErrorCode, StreamError
from albkit.wire.http2.hpack_encoder import ENCODED_LINES
from albkit.wire.http2.request import request_block
from albkit.wire.http2.response import response_head

__all__ = ("Http2TargetExchange",)

_PROGRESS: Final = 1024
"""Bytes that the target must take at a time, or all that waits, to count as active. A window update of 1 is no sign of life."""
_MOST_PIECES: Final = 100
"""Pieces of a body that are kept apart. A target that sends single bytes must not cost an object for each."""
_WEBSOCKET: Final = b"websocket"
_SWITCHED: Final = 101
_ONLY_FOR_BODIES: Final = (b"content-length:", b"sec-websocket-accept:")
"""Fields of the answer to an extended CONNECT that mean nothing there (RFC 9110 section 8.6, RFC 8441 section 5)."""
_TIMEOUTS: Final = (FailureKind.TARGET_TIMEOUT, FailureKind.RESPONSE_BODY_TIMEOUT)


class Http2TargetExchange(TargetStream):
    """Sends one request and receives the response. Implements `UpstreamExchange`.

    Args:
        connection: Has promised a stream (`Http2TargetConnection.promise`). The stream is opened with the first write.
    """

    __slots__ = (
        "_answered",
        "_connect_key",
        "_failure",
        "_interim",
        "_is_connect",
        "_is_promised",
        "_is_relaying",
        "_method",
        "_pieces",
        "_request",
        "_response_trailers",
        "_waiter",
        "_was_used",
        "active",
        "member",
        "response",
    )

    gives_up_connection: ClassVar[bool] = False
    connection: Http2TargetConnection
    response: ResponseHead

    def __init__(self, connection: Http2TargetConnection) -> None:
        self.connection = connection
        self.member = connection.member
        self.client = None
        self.active = True
        self.tunnel = None
        self.is_open = False
        self.id = 0
        self._is_promised = True
        self._waiter: asyncio.Future[object] | None = None
        self._was_used = False
        """Whether the connection had answered before this exchange, so that the target may have closed it without having failed."""
        # The request.
        self._request: RequestHead | None = None
        """A head that was not sent yet."""
        self._method = ""
        self._is_connect = False
        """Whether the stream is to become a WebSocket."""
        self._connect_key = b""
        # The response.
        self._answered = False
        """Whether the final head has come."""
        self._is_relaying = False
        """Whether the body goes to the client as it comes."""
        self._pieces: list[bytes] = []
        """What has come of the body before that. The window of the stream bounds it."""
        self._response_trailers: list[bytes] = []
        self._failure: Failure | None = None
        """A failure that came between the head and `relay_body`."""
        self._interim = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {self.member.address}: stream {self.id}>"

    # The request.

    def send_head(self, request: RequestHead, client: DownstreamExchange, waiter: asyncio.Future[object]) -> None:
        connection = self.connection
        self.client = client
        self._waiter = waiter
        self._request = request
        self._method = request.method
        self._was_used = connection.is_used
        client.upstream = self
        connection.exchanges.add(self)
        if connection.is_going_away:
            refusal = connection.refusal()
            self._fail(refusal.kind, refusal.detail)
        elif request.upgrade and _WEBSOCKET in [protocol.strip(b" \t").lower() for protocol in request.upgrade.split(b",")]:
            if connection.takes_websockets:
                self._is_connect = True
                self._connect_key = request.headers.get("Sec-WebSocket-Key", "").encode("utf-8", "surrogateescape")
            else:
                self._fail(FailureKind.TARGET_WITHOUT_WEBSOCKETS)

    def write_body(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        request = self._request
        if request is not None:
            is_all = over and not pieces and not trailers
            self._open(request, over=is_all and not self._is_connect)
            if is_all:
                return
        if self.is_open and not self._is_connect:
            self.send_data(pieces, over, b"".join([ENCODED_LINES[line] for line in trailers]) if trailers else b"")

    def flush(self) -> None:
        if self._request is not None:
            self._open(self._request, over=False)

    def _open(self, request: RequestHead, *, over: bool) -> None:
        """Send the head."""
        connection = self.connection
        block = request_block(
            request.lines, b"https" if connection.is_secure else b"http", connect_protocol=_WEBSOCKET if self._is_connect else b""
        )
        self._request = None
        self._is_promised = False
        connection.open_stream(self)
        self.send_block(block, over=over)

    @property
    def is_full(self) -> bool:
        return self.connection.is_full or (self.id != 0 and self.pending_bytes > 0)

    def sending_paused(self) -> None:
        self.connection.reading_was_paused()
        if self.client is not None:
            self.client.pause_body()

    def sending_resumed(self) -> None:
        if self.client is not None and not self.connection.is_full:
            self.client.resume_body()

    def send_waiting(self) -> None:
        before = self.pending_bytes
        super().send_waiting()
        left = self.pending_bytes
        if left < before and (not left or before - left >= _PROGRESS):
            self.active = True

    # The response.

    def fields_received(self, fields: Sequence[tuple[bytes, bytes]], ended: bool) -> None:
        self.active = True
        if self.ended_receiving:
            raise StreamError(ErrorCode.STREAM_CLOSED, "HEADERS after END_STREAM")
        if self._answered:
            self._take_trailers(fields, ended)
            return
        try:
            response = response_head(fields, self._method, ended=ended)
            if sum(map(len, response.lines)) + 2 * len(response.lines) > self.connection.limits.response_head:
                raise Failure(FailureKind.RESPONSE_HEAD_TOO_LARGE)
            if response.status < 200:
                self._interim += 1
                pass_interim(response, self._interim, self.client)
                return
        except Failure as failure:
            self._fail(failure.kind, failure.detail)
            self.connection.violated(self, ErrorCode.PROTOCOL_ERROR)
            return
        if self._is_connect and response.status < 300:
            self._switch(response)
        elif not ended:
            self.length_left = response.content_length
        self.response = response
        self._answered = True
        self.ended_receiving = ended
        if ended:
            self._wake()
            self.connection.check_over(self)
        else:
            # Until the exchange takes the body, the target may use the window that it has.
            self.pause_receiving()
            self._wake()

    def _switch(self, response: ResponseHead) -> None:
        """Turn the answer to an extended CONNECT into the 101 that HTTP/1.1 has in its place (RFC 8441 section 5)."""
        response.status = _SWITCHED
        response.upgrade = _WEBSOCKET
        response.bodiless = True
        response.content_length = 0
        lines = [line for line in response.lines[1:] if not line.startswith(_ONLY_FOR_BODIES)]
        if self._connect_key:
            lines.append(b"Sec-WebSocket-Accept: " + websocket_accept(self._connect_key))
        response.lines = [b"HTTP/1.1 101 Switching Protocols", *lines]

    def _take_trailers(self, fields: Sequence[tuple[bytes, bytes]], ended: bool) -> None:
        if not ended or self.response.status == _SWITCHED:
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "trailers without END_STREAM, or on a tunnel")
        if self.length_left > 0:
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "the body is shorter than its Content-Length")
        lines = trailer_lines(fields)
        self.ended_receiving = True
        if self._is_relaying and self.client is not None:
            self.client.write_body([], True, lines)
            self._wake()
        else:
            self._response_trailers = lines
        self.connection.check_over(self)

    def receive(self, data: bytes, ended: bool) -> None:
        self.active = True
        if self._is_relaying:
            if self.client is not None and (data or ended):
                self.client.write_body([data] if data else [], ended, [])
            if ended:
                self._wake()
        elif not self._answered:
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "DATA before the head")
        elif data:
            pieces = self._pieces
            pieces.append(data)
            if len(pieces) > _MOST_PIECES:
                self._pieces = [b"".join(pieces)]

    def first_pieces(self) -> tuple[list[bytes], bool, list[bytes]]:
        pieces, self._pieces = self._pieces, []
        return pieces, self.ended_receiving, self._response_trailers

    def relay_body(self, waiter: asyncio.Future[object]) -> None:
        self._waiter = waiter
        self._is_relaying = True
        client = self.client
        if client is None:
            return
        if self._pieces or self.ended_receiving:
            pieces, self._pieces = self._pieces, []
            client.write_body(pieces, self.ended_receiving, self._response_trailers)
        if self.ended_receiving:
            self._wake()
        elif self._failure is not None:
            if not waiter.done():
                waiter.set_exception(self._failure)
        elif not client.is_full:
            self.resume_receiving()

    def pause_reading(self) -> None:
        if self.id:
            self.pause_receiving()

    def resume_reading(self) -> None:
        if self._is_relaying:
            self.resume_receiving()

    def read_in_small_chunks(self) -> None:
        """Nothing to do: the window of the stream bounds what comes."""

    # The end of the exchange.

    def release(self) -> None:
        self._end()

    def abort(self) -> None:
        waiter = self._waiter
        if waiter is not None and waiter.done() and not waiter.cancelled():
            error = waiter.exception()
            if isinstance(error, Failure) and error.kind in _TIMEOUTS:
                # The target may have vanished, and nothing else would show that. No other request must wait for it.
                self.connection.retire()
        self._end()

    def _end(self) -> None:
        self._unbind()
        if self._is_promised:
            self._is_promised = False
            self.connection.unpromise()
        elif self.id and self.tunnel is None:
            # After a whole response, the target does not need the rest of the request.
            self.reset(ErrorCode.NO_ERROR if self.ended_receiving else ErrorCode.CANCEL)

    def detach(self) -> tuple[asyncio.Transport, bytes, bool]:
        self._unbind()
        if not self.is_open:
            raise Failure(FailureKind.TARGET_CLOSED)
        pieces, self._pieces = self._pieces, []
        # The transport reports END_STREAM by itself, also if it has come already.
        return StreamTransport(self, asyncio.get_running_loop()), b"".join(pieces), False

    def _unbind(self) -> None:
        client = self.client
        if client is not None:
            if client.upstream is self:
                client.upstream = None
            self.client = None
        self._request = self._waiter = None
        self.connection.exchanges.discard(self)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, kind: FailureKind, detail: str = "", *, is_stale: bool = False) -> None:
        """End the exchange with a failure. Nothing more is sent."""
        self._request = None
        failure = Failure(kind, detail)
        failure.is_stale = is_stale
        waiter = self._waiter
        if self._answered and not self._is_relaying:
            # What has come of the response is relayed first.
            self._failure = failure
        elif waiter is not None and not waiter.done():
            waiter.set_exception(failure)

    # The stream fails.

    def was_reset(self, code: int, detail: str = "") -> None:
        if self.tunnel is not None:
            self.tunnel.was_reset(code, detail)
        elif self.ended_receiving:
            # The response is complete, and the target does not want the rest of the request (RFC 9113 section 8.1).
            self.ended_sending = True
        elif detail:
            self._fail(FailureKind.RESPONSE_BODY_MALFORMED if self._answered else FailureKind.RESPONSE_MALFORMED, detail)
        elif self._answered:
            self._fail(FailureKind.RESPONSE_BODY_TRUNCATED, f"RST_STREAM {code_name(code)}")
        elif code == ErrorCode.REFUSED_STREAM:
            self.refused("RST_STREAM REFUSED_STREAM")
        else:
            self._fail(FailureKind.TARGET_RESET_STREAM, code_name(code))

    def refused(self, detail: str) -> None:
        if self.tunnel is not None:
            self.tunnel.connection_lost(ConnectionResetError(detail))
        elif not self.ended_receiving:
            self._fail(FailureKind.RESPONSE_BODY_TRUNCATED if self._answered else FailureKind.TARGET_REFUSED_STREAM, detail)

    def connection_failed(self, detail: str, *, is_ours: bool) -> None:
        if self.tunnel is not None:
            self.tunnel.connection_lost(ConnectionResetError(detail))
        elif self.ended_receiving:
            pass
        elif is_ours:
            self._fail(FailureKind.RESPONSE_BODY_TRUNCATED if self._answered else FailureKind.TARGET_CLOSED, f"closed with {detail}")
        else:
            # Another stream of the connection may be to blame. So this request may be sent again.
            self._fail(FailureKind.RESPONSE_BODY_MALFORMED if self._answered else FailureKind.TARGET_PROTOCOL_ERROR, detail)

    def connection_lost(self, exc: Exception | None, detail: str) -> None:
        if exc is not None:
            detail = f"{exc}; {detail}" if detail else str(exc)
        if self.tunnel is not None:
            self.tunnel.connection_lost(exc)
        elif self.ended_receiving:
            pass
        elif self._answered:
            self._fail(FailureKind.RESPONSE_BODY_TRUNCATED, detail)
        else:
            # The target may have closed the connection before the request arrived there. That says little about the target.
            is_stale = self._was_used and not self._interim
            self._fail(FailureKind.TARGET_CLOSED if exc is None else FailureKind.TARGET_RESET, detail, is_stale=is_stale)

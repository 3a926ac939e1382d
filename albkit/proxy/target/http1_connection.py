"""An HTTP/1.1 connection to a target. It serves one exchange after the other."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from albkit.errors import Failure, FailureKind
from albkit.model.limits import Limits
from albkit.model.message import RequestHead, ResponseHead
from albkit.proxy.downstream import DownstreamExchange
from albkit.proxy.target.connection import Pool, TargetConnection
from albkit.proxy.target.http1_states import (
    ABORT,
    AWAITING_HEAD,
    BEGIN,
    CLOSED,
    DETACH,
    DETACHED,
    DONE,
    END,
    FRESH,
    HEAD,
    HEAD_RECEIVED,
    IDLE,
    KEEP,
    LOSE,
    MUST_CLOSE,
    RELAY,
    RELAYING_BODY,
    UNASKED,
    State,
)
from albkit.proxy.target.interim import pass_interim
from albkit.proxy.target.partial_head import HEAD_END, PartialHead
from albkit.proxy.transports import send
from albkit.state.counters import Counters
from albkit.state.target import TargetState
from albkit.wire.http1.framing import Body, ChunkedBody, FramingError, SizedBody, UntilCloseBody, encode_chunk, encode_last_chunk
from albkit.wire.http1.response import check_partial_head, read_response

__all__ = ("Http1TargetConnection",)


class Http1TargetConnection(TargetConnection):
    """Sends requests to one target and reads the responses. Implements `UpstreamExchange`.

    It reports through the futures that `send_head` and `relay_body` get, and calls nobody else: the head of the response, the end of the
    body, or the failure.
    """

    __slots__ = (
        "_after_head",
        "_body",
        "_client",
        "_interim",
        "_keeps_fin",
        "_later",
        "_loss",
        "_method",
        "_partial",
        "_sends_chunks",
        "_state",
        "_unsent_head",
        "_waiter",
        "_was_idle",
        "_yields",
        "response",
    )

    gives_up_connection: ClassVar[bool] = True
    response: ResponseHead

    def __init__(self, member: TargetState, pool: Pool[Http1TargetConnection], counters: Counters, limits: Limits) -> None:
        super().__init__(member, pool, counters, limits)
        self._state: State = FRESH
        self._client: DownstreamExchange | None = None
        self._waiter: asyncio.Future[object] | None = None
        self._was_idle = False
        """Whether the connection was in the pool before this exchange, so that the target may have closed it without our knowing."""
        # The request.
        self._method = ""
        self._unsent_head = b""
        self._sends_chunks = False
        # The response.
        self._partial = PartialHead(limits.response_head)
        self._after_head = b""
        """What came in one read with the end of the head: the beginning of the body."""
        self._later: list[bytes] | None = None
        """What came after that and before the exchange took the body."""
        self._body: Body | None = None
        self._interim = 0
        self._yields = False
        """Whether reading stops for one turn of the event loop."""
        self._keeps_fin = False
        """Whether FIN came behind a 101: the tunnel passes it on."""
        self._loss: Exception | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {self.member.address}: {self._state}>"

    @property
    def client(self) -> DownstreamExchange | None:
        return self._client

    @property
    def is_idle(self) -> bool:
        return self._state == IDLE

    # The exchange: the request.

    def send_head(self, request: RequestHead, client: DownstreamExchange, waiter: asyncio.Future[object]) -> None:
        self._was_idle = self._state == IDLE
        self._client = client
        self._waiter = waiter
        client.upstream = self
        # The request may be sent again to another target: its lines stay as they are.
        self._unsent_head = b"\r\n".join(request.lines) + HEAD_END
        self._sends_chunks = request.chunked
        self._method = request.method
        self._interim = 0
        self._state = BEGIN[self._state]
        if self._traces:
            self._trace("request")
        if self.transport is None:
            self._fail(FailureKind.TARGET_UNREACHABLE, "closed before the request was sent")
        elif self._early:
            self._fail_early()

    def _fail_early(self) -> None:
        """The target sent before it was asked, as mail servers and SSH do. Even if it is a response, it answers nobody's request."""
        try:
            check_partial_head(b"".join(self._early))
        except Failure as failure:
            self._fail(failure.kind, failure.detail)
        else:
            self._fail(FailureKind.TARGET_CLOSED, "it had answered before it was asked")

    def write_body(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        if self._sends_chunks:
            pieces = encode_chunk(pieces) if pieces else []
            if over:
                pieces.append(encode_last_chunk(trailers))
        transport = self.transport
        if transport is None:
            return
        head = self._unsent_head
        if head:
            self._unsent_head = b""
            if not pieces:
                transport.write(head)
                return
            pieces = [head, *pieces]
        if pieces:
            send(transport, pieces, sum(map(len, pieces)))

    def flush(self) -> None:
        if self._unsent_head and self.transport is not None:
            head, self._unsent_head = self._unsent_head, b""
            self.transport.write(head)

    # The exchange: the response.

    def first_pieces(self) -> tuple[list[bytes], bool, list[bytes]]:
        response = self.response
        length = response.content_length
        data = self._after_head
        self._after_head = b""
        later = self._later
        if length == len(data) and later is None:
            self._state = END[self._state]
            return ([data] if data else []), True, []
        body: Body
        if length >= 0:
            body = SizedBody(length)
        elif response.chunked:
            body = ChunkedBody()
        else:
            body = UntilCloseBody()
        self._body = body
        try:
            if later is not None:
                self._later = None
                data = b"".join((data, *later))
            pieces = body.feed(data) if data else []
        except FramingError as error:
            raise Failure(FailureKind.RESPONSE_MALFORMED, str(error)) from None
        if body.over:
            self._end_body(body)
        return pieces, body.over, body.trailers

    def relay_body(self, waiter: asyncio.Future[object]) -> None:
        self._waiter = waiter
        self._state = RELAY[self._state]
        if self.transport is None and not self._has_unparsed:
            self._lose(self._loss)
        elif self._client is None or not self._client.is_full:
            self.resume_reading()

    # The exchange: its end.

    def release(self) -> None:
        response = self.response
        client = self._client
        # Behind a trusted proxy, the connection of one client to us carries requests of many: the target was told of one of them only.
        is_private = self.owner is not None and client is not None and (client.has_left or self.owner is not client.address)
        if client is not None:
            client.upstream = None
        self._client = self._waiter = None
        transport = self.transport
        if transport is None:
            return
        if (
            self._state == DONE
            and not self.is_last
            and not is_private
            and response.keep_alive
            # What still waits to be sent belongs to a request body that the target did not wait for.
            and transport.get_write_buffer_size() == 0
        ):
            self._state = KEEP[self._state]
            if self._traces:
                self._trace("kept")
            self._body = None
            self.active = True
            if self._paused:
                self.resume_reading()
            self._pool.keep(self, response.keep_alive_timeout)
        else:
            self.abort()

    def detach(self) -> tuple[asyncio.Transport, bytes, bool]:
        self._unbind()
        transport = self.transport
        if transport is None:
            raise Failure(FailureKind.TARGET_CLOSED)
        self._state = DETACH[self._state]
        if self._traces:
            self._trace("tunnel")
        self.transport = None
        self._pool.remove(self)
        return transport, b"".join((self._after_head, *(self._later or ()))), self._keeps_fin

    def abort(self) -> None:
        self._unbind()
        if self._traces:
            self._trace("abort")
        self._state = ABORT[self._state]
        super().abort()

    def _unbind(self) -> None:
        client = self._client
        if client is not None:
            if client.upstream is self:
                client.upstream = None
            self._client = None
        self._waiter = None

    def _wake(self) -> None:
        """Tell the exchange that what it waits for has come."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, kind: FailureKind, detail: str = "", *, is_stale: bool = False) -> None:
        """End the connection, and the exchange with a failure."""
        if self._traces:
            self._trace(f"{kind.reason} {detail}")
        self._state = ABORT[self._state]
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            failure = Failure(kind, detail)
            failure.is_stale = is_stale
            waiter.set_exception(failure)
        if self.transport is not None:
            self.transport.abort()

    # What the event loop calls.

    def data_received(self, data: bytes) -> None:
        self.active = True
        state = self._state
        if state == RELAYING_BODY:
            self._relay(data)
        elif state == AWAITING_HEAD:
            self._read_head(data)
        elif state == HEAD_RECEIVED:
            if self._later is None:
                self._later = []
            self._later.append(data)
            if not self._paused:
                self.pause_reading()
        elif state == FRESH:
            self._keep_early(data)
        elif state in (IDLE, DONE, MUST_CLOSE):
            # Whatever these bytes are, they must not become the start of another client's response.
            self._state = UNASKED[self._state]
            if state == IDLE:
                self.abort()

    def eof_received(self) -> bool:
        """Keep the transport open only if FIN comes behind a 101; else the connection is over."""
        self._keeps_fin = self._state == HEAD_RECEIVED and self.response.status == 101
        return self._keeps_fin

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._loss = exc
        # What came before the end and was not parsed yet is relayed first.
        if self._state not in (CLOSED, DETACHED) and not self._has_unparsed:
            self._lose(exc)

    def resume_reading(self) -> None:
        self._paused = False
        if self._yields:
            return
        if self._state == RELAYING_BODY and (self._has_unparsed or self.transport is None):
            self._yield_turn()
        elif self.transport is not None:
            self.transport.resume_reading()

    def read_in_small_chunks(self) -> None:
        if self._state == RELAYING_BODY and not self._reads_small:
            self._read_in_small_parts(True)

    # Reading a response.

    def _read_head(self, data: bytes) -> None:
        partial = self._partial
        try:
            if partial.data:
                whole = partial.add(data)
                if whole is None:
                    return
                data = whole
            while True:
                end = data.find(HEAD_END)
                if end < 0 or end > self._limits.response_head:
                    partial.start(data)
                    return
                end += 4
                head, data = (data, b"") if end == len(data) else (data[:end], data[end:])
                response = read_response(head, self._method)
                if response.status >= 200 or response.status == 101:
                    break
                self._interim += 1
                pass_interim(response, self._interim, self._client)
        except Failure as failure:
            self._fail(failure.kind, failure.detail)
            return
        self.response = response
        self._after_head = data
        self._state = HEAD[self._state]
        if self._traces:
            self._trace(f"response {response.status}")
        if response.content_length > len(data):
            # The rest may wait in the kernel until the exchange takes the body.
            self.pause_reading()
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _relay(self, data: bytes) -> None:
        body = self._body
        client = self._client
        if body is None or client is None:
            return
        try:
            pieces = body.feed(data)
        except FramingError as error:
            self._fail(FailureKind.RESPONSE_BODY_MALFORMED, str(error))
            return
        client.write_body(pieces, body.over, body.trailers)
        if body.over:
            self._end_body(body)
            self._wake()
        elif body.is_behind:
            self._yield_turn()

    def _end_body(self, body: Body) -> None:
        if self._reads_small:
            self._read_in_small_parts(False)
        self._state = UNASKED[self._state] if body.rest() else END[self._state]

    # Sharing the event loop.

    @property
    def _has_unparsed(self) -> bool:
        """Whether more of the body has come than may be parsed in one turn of the event loop."""
        return self._state == RELAYING_BODY and self._body is not None and self._body.is_behind

    @property
    def _is_held_back(self) -> bool:
        return self._paused or self._yields

    def _yield_turn(self) -> None:
        """Let everything else have a turn of the event loop before more is parsed: a body of tiny chunks costs much time per byte."""
        if not self._yields:
            self._yields = True
            if self.transport is not None:
                self.transport.pause_reading()
            self._pool.soon(self._go_on)

    def _go_on(self) -> None:
        self._yields = False
        if self._state == RELAYING_BODY and not self._paused:
            self._relay(b"")
        if self._is_held_back:
            return
        if self.transport is not None:
            self.transport.resume_reading()
        elif self._state == RELAYING_BODY:
            self._lose(self._loss)

    # The end of the connection.

    def _lose(self, exc: Exception | None) -> None:
        """Handle the loss of the socket: its meaning depends on how far the response had come."""
        state = self._state
        if self._traces:
            self._trace(f"lost: {exc}" if exc is not None else "closed by the target")
        self._state = LOSE[state]
        detail = str(exc) if exc is not None else ""
        if state == AWAITING_HEAD:
            if self._partial.data:
                self._fail(FailureKind.RESPONSE_HEAD_TRUNCATED, detail)
            else:
                # The target may have closed a kept connection before the request arrived there. That says little about the target.
                is_stale = self._was_idle and not self._interim
                self._fail(FailureKind.TARGET_CLOSED if exc is None else FailureKind.TARGET_RESET, detail, is_stale=is_stale)
        elif state == RELAYING_BODY and self._body is not None and self._client is not None:
            if exc is None and self._body.at_close():
                self._client.write_body([], True, [])
                self._wake()
            else:
                self._fail(FailureKind.RESPONSE_BODY_TRUNCATED, detail)

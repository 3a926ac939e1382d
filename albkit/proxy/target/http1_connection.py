"""One connection to a target, HTTP/1.1, for one exchange after the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from albkit.errors import Failure, FailureKind
from albkit.model.limits import Limits
from albkit.model.message import ClientAddress, ResponseHead
from albkit.proxy.target.small_reads import SmallReadProtocol
from albkit.proxy.tls.transport import TlsTransport
from albkit.proxy.transports import bound_buffers, send
from albkit.state.counters import Counters
from albkit.state.target import TargetState
from albkit.wire.http1.framing import Body, ChunkedBody, FramingError, SizedBody, UntilCloseBody
from albkit.wire.http1.response import check_partial_head, read_response

if TYPE_CHECKING:
    from albkit.proxy.downstream import DownstreamExchange
    from albkit.proxy.target.connection_pool import ConnectionPool

__all__ = ("Http1TargetConnection", "RawConnection")

_NEW: Final = -1
"""No request was sent yet."""
_IDLE: Final = 0
_HEAD: Final = 1
"""A request was sent; its response head is awaited."""
_HELD: Final = 2
"""The response head has come; its body waits for somebody to take it."""
_BODY: Final = 3
_LEFT: Final = 4
"""Closed, or given to a tunnel."""

_HEAD_END: Final = b"\r\n\r\n"
_MOST_INTERIM = 100
"""1xx heads before one response: more is a target gone mad."""


class Http1TargetConnection(asyncio.Protocol):
    """Sends requests to one target and reads its responses.

    It never speaks of itself: whoever began an exchange is told, through the future that was given, of the response head and of the
    end of the body, or of the failure.
    """

    __slots__ = (
        "_behind",
        "_body",
        "_buffer",
        "_clean",
        "_client",
        "_connections",
        "_counters",
        "_has_ended",
        "_interim",
        "_limits",
        "_loss",
        "_method",
        "_part",
        "_paused",
        "_phase",
        "_resting",
        "_small_reads",
        "_waiter",
        "active",
        "idle_limit",
        "idle_since",
        "is_full",
        "is_last",
        "member",
        "owner",
        "response",
        "transport",
    )

    response: ResponseHead

    def __init__(self, member: TargetState, connections: ConnectionPool, counters: Counters, limits: Limits) -> None:
        self.member = member
        self.owner: ClientAddress | None = None
        """Whom alone it serves, because its target was told of that client."""
        self.transport: asyncio.Transport | None = None
        self.active = True
        self.is_full = False
        self.is_last = False
        """Whether it serves no further request."""
        self.idle_since = 0.0
        self.idle_limit = 0.0
        self._connections = connections
        self._counters = counters
        self._limits = limits
        self._client: DownstreamExchange | None = None
        self._waiter: asyncio.Future[object] | None = None
        self._phase = _NEW
        self._part = bytearray()
        """Of a head that is not whole yet, or of what has come before it was asked for. It grows in place: a head that comes byte by byte
        is not copied for each of them."""
        self._buffer = b""
        """What has come behind a held head with it."""
        self._behind: list[bytes] | None = None
        """What has come behind a held head after it came."""
        self._body: Body | None = None
        self._method = ""
        self._paused = False
        self._resting = False
        """Nothing is read until all others have had a turn."""
        self._small_reads = False
        self._has_ended = False
        self._clean = True
        self._interim = 0
        self._loss: Exception | None = None

    def hand_over_to(self, below: asyncio.Protocol) -> None:
        """Let another protocol read the transport from now on, and what has come of it already; this one is to stand above it."""
        if self.transport is None:
            return
        self.transport.set_protocol(below)
        if self._part:
            part = bytes(self._part)
            self._part.clear()
            self.resume_reading()
            below.data_received(part)

    @property
    def client(self) -> DownstreamExchange | None:
        """Whose exchange it serves now."""
        return self._client

    # What the exchange does.

    def begin(self, client: DownstreamExchange, method: str, waiter: asyncio.Future[object]) -> None:
        """Await the response to the request that is written next; its head will be `response` when `waiter` is done."""
        self._client = client
        self._method = method
        self._waiter = waiter
        self._phase = _HEAD
        self._interim = 0
        client.upstream = self
        if self.transport is None:
            self._fail(FailureKind.TARGET_UNREACHABLE, "closed before the request was sent")
        elif self._part:
            self._fail_early(bytes(self._part))

    def _fail_early(self, part: bytes) -> None:
        """It spoke before it was asked, as mail servers and SSH do. Be it an answer, whose it is nobody knows."""
        try:
            check_partial_head(part)
        except Failure as failure:
            self._fail(failure.kind, failure.detail)
        else:
            self._fail(FailureKind.TARGET_CLOSED, "it had answered before it was asked")

    def write(self, data: bytes) -> None:
        """Send something of the request."""
        if self.transport is not None:
            self.transport.write(data)

    def write_pieces(self, pieces: list[bytes]) -> None:
        """Send something of the request that lies in pieces."""
        if self.transport is not None:
            send(self.transport, pieces, sum(map(len, pieces)))

    def first_pieces(self) -> tuple[list[bytes], bool, list[bytes]]:
        """What has come of the response's body: its pieces, whether it is over, and its trailers.

        Raises:
            Failure: the body is malformed.
        """
        response = self.response
        length = response.content_length
        data = self._buffer
        self._buffer = b""
        behind = self._behind
        if length == len(data) and behind is None:
            self._phase = _IDLE
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
            if behind is not None:
                self._behind = None
                data = b"".join((data, *behind))
            pieces = body.feed(data) if data else []
        except FramingError as error:
            raise Failure(FailureKind.RESPONSE_MALFORMED, str(error)) from None
        if body.over:
            self._end_of_body(body)
        return pieces, body.over, body.trailers

    def relay_body(self, waiter: asyncio.Future[object]) -> None:
        """Pass the rest of the body to the client as it comes; `waiter` is done when all has come."""
        self._waiter = waiter
        self._phase = _BODY
        if self.transport is None and not self._is_behind:
            self._lost(self._loss)
        elif self._client is None or not self._client.is_full:
            self.resume_reading()

    def release(self) -> None:
        """The exchange is over: keep the connection for another one, where that is safe, or close it."""
        response = self.response
        # Whom a trusted proxy tells of may not be the one that it tells of next.
        alone = self.owner is not None and self._client is not None and (self._client.has_left or self.owner is not self._client.address)
        self._unbind()
        if self.transport is None:
            return
        if (
            self._clean
            and not self.is_last
            and not alone
            and response.keep_alive
            and self._phase == _IDLE
            and not self._buffer
            and self._behind is None
            and self.transport.get_write_buffer_size() == 0
        ):
            self._body = None
            self.active = True
            if self._paused:
                self.resume_reading()
            self._connections.keep(self, response.keep_alive_timeout)
        else:
            self.abort()

    def detach(self) -> tuple[asyncio.Transport, bytes, bool]:
        """Give the connection away to a tunnel: its transport, what came behind the 101, and whether FIN came behind that.

        Raises:
            Failure: the target has closed it already.
        """
        self._unbind()
        transport = self.transport
        if transport is None:
            raise Failure(FailureKind.TARGET_CLOSED)
        self._phase = _LEFT
        self.transport = None
        self._connections.forget(self)
        return transport, b"".join((self._buffer, *(self._behind or ()))), self._has_ended

    def abort(self) -> None:
        """Close now, whatever is going on."""
        self._unbind()
        self._phase = _LEFT
        if self.transport is not None:
            self.transport.abort()

    def _unbind(self) -> None:
        if self._client is not None:
            if self._client.upstream is self:
                self._client.upstream = None
            self._client = None
        self._waiter = None

    def _fail(self, kind: FailureKind, detail: str = "") -> None:
        self._phase = _LEFT
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(Failure(kind, detail))
        if self.transport is not None:
            self.transport.abort()

    # What the loop says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance.
        bound_buffers(self.transport, self._limits.in_flight)

    def data_received(self, data: bytes) -> None:
        self.active = True
        phase = self._phase
        if phase == _BODY:
            self._relay(data)
        elif phase == _HEAD:
            self._read_head(data)
        elif phase == _HELD:
            if self._behind is None:
                self._behind = []
            self._behind.append(data)
            if not self._paused:
                self.pause_reading()
        elif phase == _NEW:
            self._part += data
            if not self._paused:
                self.pause_reading()
        elif phase == _IDLE:
            # Bytes nobody asked for: whatever they are, they must not become the start of another client's response.
            self._clean = False
            if self._client is None:
                self.abort()

    def eof_received(self) -> bool:
        """FIN. Behind a 101 it is the tunnel's to pass on; else the connection is over."""
        self._has_ended = self._phase == _HELD and self.response.status == 101
        return self._has_ended

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._loss = exc
        self._connections.forget(self)
        # What has come and was not read yet is read first.
        if self._phase != _LEFT and not self._is_behind:
            self._lost(exc)

    def pause_writing(self) -> None:
        self.is_full = True
        self._counters.reading_was_paused()
        if self._client is not None:
            self._client.pause_body()

    def resume_writing(self) -> None:
        self.is_full = False
        if self._client is not None:
            self._client.resume_body()

    def pause_reading(self) -> None:
        self._paused = True
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        if self._resting:
            return
        if self._is_behind or (self.transport is None and self._phase == _BODY):
            self._rest()
        elif self.transport is not None:
            self.transport.resume_reading()

    def read_in_small_chunks(self) -> None:
        """The client is slow: read the rest of its response in small parts."""
        if self._phase == _BODY and not self._small_reads:
            self._small_reads = True
            self._set_small_reads(True)

    def _set_small_reads(self, sips: bool) -> None:
        if self.transport is None:
            return
        transport = self.transport
        reader: asyncio.Protocol = self
        if isinstance(transport, TlsTransport):
            reader, transport = transport, transport.below
        # uvloop goes on as it did until reading begins anew.
        transport.pause_reading()
        transport.set_protocol(SmallReadProtocol(reader, self._connections.small_read_buffer) if sips else reader)
        if not (self._paused or self._resting):
            transport.resume_reading()

    def sweep(self, now: float) -> None:
        """Close what has been idle for too long. During an exchange the client's sweep looks after both."""
        if self._client is not None or self._phase != _IDLE:
            return
        if self.active:
            self.active = False
            self.idle_since = now
        elif now - self.idle_since >= self.idle_limit:
            self._counters.idle_connection_closed()
            self.abort()

    # The parts of a response.

    def _read_head(self, data: bytes) -> None:
        part = self._part
        if part:
            part += data
            if part.find(_HEAD_END, max(0, len(part) - len(data) - 3)) < 0:
                self._look_at(part, len(data))
                return
            data = bytes(part)
            part.clear()
        while True:
            end = data.find(_HEAD_END)
            if end < 0 or end > self._limits.response_head:
                part += data
                self._look_at(part, len(part))
                return
            end += 4
            head, data = (data, b"") if end == len(data) else (data[:end], data[end:])
            try:
                response = read_response(head, self._method)
            except Failure as failure:
                self._fail(failure.kind, failure.detail)
                return
            if response.status >= 200 or response.status == 101:
                break
            if not self._pass_interim(response):
                return
        self._hold(response, data)

    def _look_at(self, part: bytearray, fresh: int) -> None:
        """Go on waiting for the rest of a head, unless its last `fresh` bytes show that it will be none."""
        try:
            check_partial_head(part, len(part) - fresh)
        except Failure as failure:
            self._fail(failure.kind, failure.detail)
            return
        if len(part) > self._limits.response_head:
            self._fail(FailureKind.RESPONSE_HEAD_TOO_LARGE)

    def _pass_interim(self, response: ResponseHead) -> bool:
        """Pass a 1xx on; 100 is not, because the client was told to continue before."""
        self._interim += 1
        if self._interim > _MOST_INTERIM:
            self._fail(FailureKind.RESPONSE_MALFORMED, "no final response behind so many interim ones")
            return False
        if response.status != 100 and self._client is not None:
            self._client.send_interim(response)
        return True

    def _hold(self, response: ResponseHead, rest: bytes) -> None:
        self.response = response
        self._buffer = rest
        self._phase = _HELD
        if response.content_length > len(rest):
            # What comes until the exchange goes on may wait in the kernel.
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
            self._end_of_body(body)
            self._body_done()
        elif body.is_behind:
            self._rest()

    @property
    def _is_behind(self) -> bool:
        return self._phase == _BODY and self._body is not None and self._body.is_behind

    def _rest(self) -> None:
        """So much has come in so small parts that all others have a turn before the rest of it is read."""
        if not self._resting:
            self._resting = True
            if self.transport is not None:
                self.transport.pause_reading()
            self._connections.soon(self._rested)

    def _rested(self) -> None:
        self._resting = False
        if self._phase == _BODY and not self._paused:
            self._relay(b"")
        if self._resting or self._paused:
            return
        if self.transport is not None:
            self.transport.resume_reading()
        elif self._phase == _BODY:
            self._lost(self._loss)

    def _end_of_body(self, body: Body) -> None:
        self._phase = _IDLE
        if self._small_reads:
            self._small_reads = False
            self._set_small_reads(False)
        if body.rest():
            self._clean = False

    def _body_done(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _lost(self, exc: Exception | None) -> None:
        """The target's connection ended: what that means depends on how far the response had come."""
        detail = str(exc) if exc is not None else ""
        if self._phase == _HEAD:
            if self._part:
                self._fail(FailureKind.RESPONSE_HEAD_TRUNCATED, detail)
            else:
                self._fail(FailureKind.TARGET_CLOSED if exc is None else FailureKind.TARGET_RESET, detail)
        elif self._phase == _HELD:
            self._clean = False
        elif self._phase == _BODY and self._body is not None and self._client is not None:
            if exc is None and self._body.at_close():
                self._phase = _LEFT
                self._client.write_body([], True, [])
                self._body_done()
            else:
                self._fail(FailureKind.RESPONSE_BODY_TRUNCATED, detail)


class RawConnection(Http1TargetConnection):
    """A connection that becomes a tunnel without any exchange before: what the target says first is kept for that."""

    __slots__ = ()

    def __init__(self, member: TargetState, connections: ConnectionPool, counters: Counters, limits: Limits) -> None:
        super().__init__(member, connections, counters, limits)
        self._phase = _HELD

    def eof_received(self) -> bool:
        self._has_ended = True
        return True

    def hand_over_to(self, below: asyncio.Protocol) -> None:
        """Let another protocol read the transport from now on, and what has come of it already; this one is to stand above it."""
        transport = self.transport
        if transport is None:
            return
        transport.set_protocol(below)
        behind, self._behind = self._behind, None
        has_ended, self._has_ended = self._has_ended, False
        if behind is not None:
            self.resume_reading()
            below.data_received(b"".join(behind))
        if has_ended:
            below.eof_received()

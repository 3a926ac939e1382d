"""A client's connection, HTTP/1.0 and 1.1: one exchange after the other, pipelined requests in their order.

The largest room of the house, because everything in it turns on one thing, the phase that the connection is in: what arriving bytes
mean, who waits, what a silence is blamed on and how the connection may end. What does not depend on the phase has rooms of its own:
`inbox` (bytes that nobody has taken yet), `stillness` (how long nothing has moved), `taken_body` (a body that a hook has read).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, cast

from albkit.errors import Failure, FailureKind
from albkit.model.extensions import BodyTooLarge
from albkit.model.message import ClientAddress, RequestHead, ResponseHead
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.client.buffered_body import BufferedBody
from albkit.proxy.client.idle_tracker import IdleTracker
from albkit.proxy.client.min_body_rate import MinBodyRate
from albkit.proxy.client.receive_buffer import ReceiveBuffer
from albkit.proxy.downstream import NO_BODY, BodySink, Upstream, WholeBody
from albkit.proxy.lingering_close import LingeringClose
from albkit.proxy.target.request_body_writer import LARGEST_WHOLE
from albkit.proxy.tls.transport import TlsTransport
from albkit.proxy.transports import SMALL, bound_buffers, locate, peer_has_left, reset, send, send_fin, unacknowledged
from albkit.wire.http1.framing import Body, ChunkedBody, FramingError, SizedBody, encode_chunk, encode_last_chunk
from albkit.wire.http1.response import UPGRADE_OPTION

__all__ = ("Http1ClientConnection",)

_AWAITING: Final = 0
"""No exchange is going on; a request head is awaited or coming."""
_BUSY: Final = 1
"""An exchange is going on; what comes is kept, up to a bound."""
_BODY: Final = 2
"""The request body goes to the exchange as it comes."""
_LINGERING: Final = 3
"""Our last byte is written, and FIN or, where that would mislead, RST goes behind it; what still comes is thrown away."""
_LEFT: Final = 4
"""Closed, or given to a tunnel."""

_AT_A_TIME: Final = 4
"""Requests of one client that are answered without waiting for anything, before all others have a turn."""

_HEAD_END = b"\r\n\r\n"

_MOST_READ = 1024 * 1024
"""Bytes of a body that a hook gets unless it asks for more."""

Serve = Callable[["Http1ClientConnection", ListenerRuntime], Awaitable[None]]


class Http1ClientConnection(asyncio.Protocol):
    """Fulfils `client.Client` for HTTP/1.x.

    Args:
        listener: The listener's.
        serve: Runs as this connection's task.
        address: Whom it comes from, where it was let in already; else it is let in when it is made.
    """

    __slots__ = (
        "_admitted",
        "_body",
        "_buffered",
        "_chunked",
        "_done",
        "_expires",
        "_failure",
        "_head_lines",
        "_head_since",
        "_idle_timeout",
        "_idle_tracker",
        "_keep",
        "_last",
        "_limits",
        "_lingering",
        "_listener",
        "_min_body_rate",
        "_owes_reset",
        "_paused",
        "_phase",
        "_receive_buffer",
        "_request",
        "_resting",
        "_serve",
        "_served",
        "_sink",
        "_task",
        "_transport",
        "_until_close",
        "_waiter",
        "active",
        "address",
        "forwarded",
        "has_left",
        "interrupt",
        "is_full",
        "is_trusted_proxy",
        "received_bytes",
        "response_started",
        "sent_bytes",
        "upstream",
    )

    def __init__(self, listener: ListenerRuntime, serve: Serve, address: ClientAddress | None = None) -> None:
        self._listener = listener
        self._serve = serve
        self._admitted = address
        self._idle_timeout = listener.runtime.settings.idle_timeout
        self._limits = listener.runtime.settings.limits
        self._phase = _AWAITING
        self._receive_buffer = ReceiveBuffer(self._limits)
        self._request: RequestHead | None = None
        self._body: Body | None = None
        self._sink: BodySink | None = None
        self._buffered: BufferedBody | None = None
        self.interrupt: Callable[[], None] | None = None
        self._waiter: asyncio.Future[object] | None = None
        self._failure: Failure | None = None
        self._head_lines: list[bytes] | None = None
        self._keep = False
        self._chunked = False
        self._until_close = False
        """Only the end of the connection tells the client where the response ends."""
        self._owes_reset = False
        """Behind what was written the connection is reset."""
        self._last = False
        """The next response is the connection's last one."""
        self._done = False
        """No further request is taken."""
        self.has_left = False
        self._paused = False
        self._resting = False
        """Nothing is read until all others have had a turn."""
        self.is_full = False
        self._served = 0
        self._idle_tracker = IdleTracker()
        self._lingering: LingeringClose | None = None
        self._min_body_rate = MinBodyRate(self._limits.request_body_rate) if self._limits.request_body_rate else None
        self._head_since = 0.0
        self._expires = 0.0
        self.active = True
        self.received_bytes = self.sent_bytes = 0
        self.response_started = False
        self.upstream: Upstream | None = None
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Future[None] | None = None

    @property
    def listener(self) -> ListenerRuntime:
        """Where it came in."""
        return self._listener

    # What the loop says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance.
        runtime = self._listener.runtime
        address = self._admitted or self._listener.admit(transport)
        if address is None:
            self._phase = _LEFT
            transport.abort()
            return
        self._transport = transport
        bound_buffers(transport, self._limits.in_flight)
        self.address = address
        self.is_trusted_proxy = self._listener.is_trusted_proxy(address, transport)
        self.forwarded = self._listener.forwarded_fields(address, is_trusted_proxy=self.is_trusted_proxy)
        self._expires = runtime.clock.monotonic() + runtime.settings.client_keep_alive
        runtime.clients.add(self)
        runtime.sweep.add(self)
        self._task = runtime.loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._serve(self, self._listener)
        finally:
            self._task = None
            if self._phase not in (_LINGERING, _LEFT):
                self._abort()
            self._leave_runtime()

    def data_received(self, data: bytes) -> None:
        self.active = True
        phase = self._phase
        if phase == _BODY:
            self._feed_body(data)
        elif phase < _BODY:
            if self._receive_buffer.add(data) > self._limits.early_bytes and not self._paused:
                self._listener.runtime.counters.reading_was_paused()
                self._pause_reading()
            if phase == _AWAITING:
                self._wake()

    def eof_received(self) -> bool:
        """The client sent FIN. As with nginx and Envoy that means it has left, but a body that ends short is still answered."""
        self.has_left = True
        if self._phase == _AWAITING:
            self._wake()
            return len(self._receive_buffer) > 0
        if self._phase in (_BUSY, _BODY):
            if self.body_over or self.response_started:
                self._fail_left()
            else:
                self.fail(Failure(FailureKind.REQUEST_BODY_TRUNCATED))
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        phase = self._phase
        if self._transport is None:
            return  # It was turned away.
        self._listener.release(self.address.host)
        self._lose_transport()
        self.has_left = True
        if phase == _AWAITING:
            self._wake()
        elif phase in (_BUSY, _BODY):
            self._fail_left(str(exc) if exc is not None else "")

    def pause_writing(self) -> None:
        self.is_full = True
        self._listener.runtime.counters.reading_was_paused()
        if self.upstream is not None:
            self.upstream.pause_reading()

    def resume_writing(self) -> None:
        self.is_full = False
        if self.upstream is not None:
            self.upstream.resume_reading()
        elif self._phase == _AWAITING:
            self._wake()

    # The request.

    async def head(self) -> bytes | None:
        self._phase = _AWAITING
        self._request = None
        self._failure = None
        self.response_started = False
        self.received_bytes = self.sent_bytes = 0
        if self._served % _AT_A_TIME == 0 and self._receive_buffer:
            await asyncio.sleep(0)
            if self._transport is None:
                return None
        while True:
            # A client that pipelines and does not read gets nothing more to read.
            head = self._receive_buffer.next_head() if not self.is_full else None
            if head is not None:
                break
            if self.has_left and self._receive_buffer:
                raise Failure(FailureKind.REQUEST_HEAD_TRUNCATED)
            if self.has_left or self._done:
                return None
            if self._paused and len(self._receive_buffer) <= self._limits.early_bytes:
                self._resume_reading()
            await self.wait()
        self._phase = _BUSY
        self._served += 1
        self._head_since = 0.0
        self.received_bytes = len(head)
        return head

    def begin(self, request: RequestHead) -> None:
        self._request = request
        length = request.content_length
        if length:
            self._body = SizedBody(length) if length > 0 else ChunkedBody()

    @property
    def body_over(self) -> bool:
        return self._body is None or self._body.over

    def whole_body(self) -> WholeBody | None:
        request = self._request
        if request is None or (self._body is None and self._buffered is None):
            return NO_BODY
        if self._buffered is not None:
            return (self._buffered.pieces, self._buffered.trailers) if self._buffered.over else None
        length = request.content_length
        body = self._receive_buffer.take(length) if 0 < length <= LARGEST_WHOLE else None
        if body is None:
            return None
        self._body = None
        self.received_bytes += len(body)
        return [body], []

    async def read_body(self, limit: int = _MOST_READ) -> bytes:
        request = self._request
        if request is None or not request.has_body:
            return b""
        if request.expects_continue:
            request.expects_continue = False
            self.send_continue()
        taken = self._buffered
        if taken is None:
            taken = self._buffered = BufferedBody()
        if not taken.over:
            self.pump_body(taken)
            while not taken.over and taken.size <= limit:
                taken.arrived = self.wait()
                try:
                    await taken.arrived
                except Failure as failure:
                    self._failure = failure  # A hook that swallows it does not get past it.
                    raise
            self.park_body()
        if taken.size > limit:
            raise BodyTooLarge(f"the request body has more than {limit} bytes")
        return b"".join(taken.pieces)

    def pump_body(self, sink: BodySink) -> None:
        self._sink = sink
        taken = self._buffered
        if taken is not None and sink is not taken and taken.pieces:
            # What a hook has read goes first.
            sink.feed(taken.pieces, taken.over, taken.trailers)
            taken.pieces = []
        if self.body_over:
            return
        self._phase = _BODY
        data = self._receive_buffer.take_all()
        if data or (self._body is not None and self._body.is_behind):
            self._feed_body(data)
        if self._phase == _BODY:
            # A target's connection that has been full since before has no reason to say so again.
            if self.upstream is not None and self.upstream.is_full:
                self._pause_reading()
            elif self._paused:
                self._resume_reading()

    def park_body(self) -> None:
        self._sink = None
        if self._phase == _BODY:
            self._phase = _BUSY
            if self._paused:
                self._resume_reading()

    def _feed_body(self, data: bytes) -> None:
        body = self._body
        sink = self._sink
        if body is None or sink is None:
            return
        try:
            pieces = body.feed(data)
        except FramingError as error:
            self._phase = _BUSY
            self.fail(Failure(FailureKind.REQUEST_BODY_MALFORMED, str(error)))
            return
        self.received_bytes += len(data)
        if body.over:
            rest = body.rest()
            self._receive_buffer.add(rest)
            self.received_bytes -= len(rest)
            self._phase = _BUSY
        sink.feed(pieces, body.over, body.trailers)
        if body.is_behind:
            self._rest()

    def _rest(self) -> None:
        """So much has come in so small parts that all others have a turn before the rest of it is read."""
        if not self._resting and self._transport is not None:
            self._resting = True
            self._transport.pause_reading()
            self._listener.runtime.loop.call_soon(self._rested)

    def _rested(self) -> None:
        self._resting = False
        if self._phase == _BODY and not self._paused:
            self._feed_body(b"")
        if not self._resting and not self._paused:
            self._resume_reading()

    def pause_body(self) -> None:
        if self._phase == _BODY:
            self._pause_reading()

    def resume_body(self) -> None:
        if self._phase == _BODY:
            self._resume_reading()

    def _pause_reading(self) -> None:
        self._paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        self._paused = False
        if self._resting:
            return
        if self._phase == _BODY and self._body is not None and self._body.is_behind:
            self._rest()
        elif self._transport is not None:
            self._transport.resume_reading()

    # Waiting.

    def locate(self) -> ClientAddress:
        return locate(self.address if self._request is None else self._request.client, self._transport)

    def wait(self) -> asyncio.Future[object]:
        waiter = self._waiter = self._listener.runtime.loop.create_future()
        if self._failure is not None:
            waiter.set_exception(self._failure)
            self._failure = None
        return waiter

    def fail(self, failure: Failure) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._failure = self._failure or failure
            if self.interrupt is not None:
                self.interrupt()
        else:
            waiter.set_exception(failure)

    def _fail_left(self, detail: str = "") -> None:
        """The client has gone, before its response or in it."""
        self.fail(Failure(FailureKind.CLIENT_CLOSED_IN_RESPONSE if self.response_started else FailureKind.CLIENT_CLOSED, detail))

    def raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # The response.

    def send_continue(self) -> None:
        if self._body is not None and not self._body.over:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send_interim(self, response: ResponseHead) -> None:
        if self._request is not None and not self._request.http_1_0:
            self._write(b"\r\n".join(response.lines) + _HEAD_END)

    def start_response(self, response: ResponseHead, fields: bytes) -> None:
        lines, length = response.lines, response.content_length
        request = self._request
        http_1_0 = request is not None and request.http_1_0
        self._chunked = length < 0 and not http_1_0
        self._keep = (
            request is not None
            and request.keep_alive
            and not request.close_after
            and not self._last
            and self.body_over
            and (length >= 0 or self._chunked)
        )
        if self._chunked:
            fields = fields + b"\r\nTransfer-Encoding: chunked" if fields else b"Transfer-Encoding: chunked"
        if not self._keep:
            self._until_close = http_1_0 and length < 0
        if not self._keep or http_1_0:
            option = b"Connection: keep-alive" if self._keep else b"Connection: close"
            if UPGRADE_OPTION in lines:
                lines.remove(UPGRADE_OPTION)
                option = UPGRADE_OPTION + option.replace(b"Connection:", b",")
            fields = fields + b"\r\n" + option if fields else option
        if fields:
            lines.append(fields)
        self._head_lines = lines

    def write_body(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        if self._chunked:
            pieces = encode_chunk(pieces) if pieces else []
            if over:
                pieces.append(encode_last_chunk(trailers))
        lines = self._head_lines
        if lines is not None:
            self._head_lines = None
            self.response_started = True
            if len(pieces) == 1 and len(pieces[0]) <= SMALL:
                # A small body leaves with the same copy as the head. The empty line between them comes from the second join.
                lines.append(b"\r\n" + pieces[0])
                pieces = [b"\r\n".join(lines)]
            else:
                lines.append(b"\r\n")
                pieces = [b"\r\n".join(lines), *pieces]
        if len(pieces) == 1:
            self._write(pieces[0])
        elif pieces and self._transport is not None:
            size = sum(map(len, pieces))
            self.sent_bytes += size
            send(self._transport, pieces, size)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self.sent_bytes += len(data)
            self._transport.write(data)

    def response_over(self) -> bool:
        if self._keep and self._transport is not None and not self.has_left:
            self._body = self._sink = self._buffered = None
            return True
        self.finish()
        return False

    # Ends.

    def finish(self) -> None:
        """Send FIN behind what was written, then read what still comes for a while, so that no RST eats the answer."""
        transport = self._transport
        if transport is None:
            return
        self._phase = _LINGERING
        request = self._request
        # A client that has said it sends nothing more, and has not, needs no lingering.
        silent = request is not None and not request.keep_alive and self.body_over and not self._receive_buffer
        self._receive_buffer.take_all()
        if silent or self.has_left or not transport.can_write_eof():
            transport.close()
            return
        self._lingering = LingeringClose()
        send_fin(transport)
        if self._paused:
            self._resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._phase = _LINGERING
            self._transport.close()

    def cut(self) -> None:
        """End an unfinished response: what has come of it still goes out, and behind it an end that does not make it look whole."""
        transport = self._transport
        if self.has_left or not self.response_started or transport is None or transport.is_closing():
            self._abort()
        elif self._until_close:
            self._phase = _LINGERING
            self._owes_reset = True
            self._receive_buffer.take_all()
            if self._paused:
                self._resume_reading()
            self._sweep_end(transport, self._listener.runtime.clock.monotonic())
        else:
            # The length, or the last chunk that is missing, tells the client; over TLS so does a goodbye that is missing.
            if isinstance(transport, TlsTransport):
                transport.forgo_goodbye()
            self.finish()

    def _abort(self) -> None:
        """End now, whatever is still to be sent."""
        transport = self._transport
        whole = self._phase == _LINGERING and not self._owes_reset
        self._phase = _LEFT
        if transport is None:
            return
        if self._until_close and not (whole and transport.get_write_buffer_size() == 0):
            reset(transport)
        else:
            transport.abort()

    def stop(self) -> None:
        """The load balancer stops: no further exchange. An idle connection closes now."""
        self._last = self._done = True
        if self._phase == _AWAITING:
            self._wake()

    def abandon(self) -> None:
        """The load balancer has waited long enough: end now, with whatever is going on."""
        if self._phase in (_BUSY, _BODY):
            self.fail(Failure(FailureKind.STOPPED_IN_RESPONSE if self.response_started else FailureKind.STOPPED))
        self._abort()

    def open_tunnel(self, response: ResponseHead, fields: bytes) -> tuple[asyncio.Transport, bytes, bytes]:
        transport = self._transport
        if transport is None or self.has_left:
            raise Failure(FailureKind.CLIENT_CLOSED)
        transport.pause_reading()
        early = self._receive_buffer.take_all()
        self._phase = _LEFT
        self._lose_transport()
        lines = [*response.lines, b"Connection: Upgrade\r\nUpgrade: " + response.upgrade]
        if fields:
            lines.append(fields)
        return transport, b"\r\n".join(lines) + _HEAD_END, early

    def _lose_transport(self) -> None:
        runtime = self._listener.runtime
        self._transport = None
        runtime.connections.drop_owned(self.address)
        runtime.counters.connection_closed()
        runtime.sweep.discard(self)
        self._leave_runtime()

    def _leave_runtime(self) -> None:
        """The runtime waits for the task as well as for the socket, so that all is counted when it has stopped."""
        if self._transport is None and self._task is None:
            self._listener.runtime.remove_client(self)

    # Deadlines.

    def sweep(self, now: float) -> None:
        transport = self._transport
        if transport is None:
            return
        if self._phase == _LINGERING:
            self._sweep_end(transport, now)
            return
        if now >= self._expires:
            self._last = True
        if self._phase == _AWAITING and self._receive_buffer:
            self._sweep_slow_head(now)
        awaited = self._phase == _BODY and not self._paused
        if self._min_body_rate is not None and self._min_body_rate.is_too_slow(now, self._served, self.received_bytes, awaited=awaited):
            self.fail(Failure(FailureKind.REQUEST_BODY_TOO_SLOW, f"less than {self._limits.request_body_rate:g} bytes a second"))
        unsent = transport.get_write_buffer_size()
        if self.is_full and self.upstream is not None:
            self.upstream.read_in_small_chunks()
        still = self._idle_tracker.seconds(now, unsent, self.upstream, received=self.active)
        self.active = False
        if still >= self._idle_timeout:
            self._too_still(transport, unsent)
        if self._paused and self._phase in (_BUSY, _BODY) and peer_has_left(transport):
            self._fail_left("seen while reading was paused")

    def _sweep_end(self, transport: asyncio.Transport, now: float) -> None:
        """The end is on its way: what was written has the idle timeout, and then the client the time to hear of it."""
        unsent = transport.get_write_buffer_size()
        if self._owes_reset:
            # A reset takes back even what the kernel still has to send.
            unsent += unacknowledged(transport)
        heard, self.active = self.active, False
        if unsent:
            # What comes in is thrown away: only what goes out counts.
            over = self._idle_tracker.seconds(now, unsent, None, received=False) >= self._idle_timeout
        elif self._lingering is not None:
            over = self._lingering.is_over(now, heard=heard) or (self._done and not heard)
        else:
            over = self._owes_reset
        if over:
            self._abort()

    def _sweep_slow_head(self, now: float) -> None:
        if self._head_since == 0.0 or self.is_full:
            # While it does not take its answers, its next head is not looked at, whole or not.
            self._head_since = now
            return
        most = self._limits.request_head_timeout or self._idle_timeout
        if now - self._head_since >= most:
            self.fail(Failure(FailureKind.REQUEST_HEAD_TIMEOUT, f"the whole head has {most:g} s from its first byte"))

    def _too_still(self, transport: asyncio.Transport, unsent: int) -> None:
        """Nothing has moved for the idle timeout: who is to blame depends on what was awaited."""
        phase = self._phase
        if phase == _AWAITING and unsent:
            transport.abort()
        elif phase == _AWAITING:
            if self._served and not self._receive_buffer:
                self._done = True
                self._wake()
            else:
                self.fail(Failure(FailureKind.REQUEST_HEAD_TIMEOUT))
        elif self.response_started:
            self.fail(Failure(FailureKind.CLIENT_STALLED if unsent else FailureKind.RESPONSE_BODY_TIMEOUT))
            if unsent:
                self._abort()
        elif phase == _BODY and not self._paused:
            self.fail(Failure(FailureKind.REQUEST_BODY_TIMEOUT))
        else:
            self.fail(Failure(FailureKind.TARGET_TIMEOUT))

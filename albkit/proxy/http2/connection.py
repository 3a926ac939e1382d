"""Frames in and out: what an HTTP/2 connection with a client and one with a target have in common (RFC 9113).

`client.http2_connection` and `target.http2_connection` derive from this class. They say what a header block means, and what happens to
their streams if the connection ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Final, cast

from albkit.model.limits import Limits
from albkit.proxy.http2.buffer_budget import BufferBudget
from albkit.proxy.http2.flood_guard import FloodGuard
from albkit.proxy.http2.stream import Http2Stream
from albkit.proxy.transports import send
from albkit.wire.http2 import frames
from albkit.wire.http2.frames import DEFAULT_WINDOW, LARGEST_WINDOW, MAX_FRAME, ErrorCode, Http2Error, StreamError
from albkit.wire.http2.hpack_decoder import HpackDecoder
from albkit.wire.http2.hpack_encoder import TABLE_SIZE_ZERO

__all__ = ("CONNECTION_WINDOW", "Http2Connection")

CONNECTION_WINDOW: Final = 1024 * 1024
"""Bytes of DATA that a peer may send on all streams before it has to wait for an update, which it gets as soon as they arrive. The windows
of the streams bound what is kept; that of the connection must never stop one stream because another one is slow."""

_FRAMES_PER_TURN: Final = 500
"""Frames that are read in one turn of the event loop. Then other connections are served first."""
_HEAD: Final = 9
"""Bytes of the head of a frame."""
_ID: Final = 0x7FFFFFFF
_MOST_REMEMBERED: Final = 256
"""Streams that were reset here and that are remembered: the peer may send frames of them until it has seen the reset."""

_log = logging.getLogger("albkit")


class _HeaderBlock:
    """A header block that continues in CONTINUATION frames."""

    __slots__ = ("block", "ended", "stream_id")

    def __init__(self, stream_id: int, ended: bool, block: bytes) -> None:
        self.stream_id = stream_id
        self.ended = ended
        self.block = bytearray(block)


class Http2Connection(asyncio.Protocol):
    """Reads frames, checks them, and hands them to streams; collects the frames to send, and writes them once per turn of the event loop.

    Args:
        loop: The event loop.
        limits: The limits in force when the connection was made.
        budget: Bounds what waits in all connections.
        awaits_preface: Whether the peer begins with the client's preface.
    """

    __slots__ = (
        "_blocked",
        "_budget",
        "_flush_is_due",
        "_is_resting",
        "_loop",
        "_out",
        "_preface_left",
        "_received",
        "_remembered",
        "_settings_seen",
        "_table_update",
        "closes_when_empty",
        "decoder",
        "guard",
        "header_block",
        "initial_window",
        "is_active",
        "is_ending",
        "is_full",
        "last_stream",
        "limits",
        "max_frame",
        "receive_window",
        "send_window",
        "stream_window",
        "streams",
        "transport",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits, budget: BufferBudget, *, awaits_preface: bool) -> None:
        self._loop = loop
        self._budget = budget
        self.limits = limits
        self.transport: asyncio.Transport | None = None
        """`None` before the connection is made, and after it is lost."""
        self.is_ending = False
        """Whether the connection takes no more frames: it failed, or its end was sent."""
        self.closes_when_empty = False
        """Whether `emptied` is called when the last stream is over."""
        self.is_active = False
        """Whether HEADERS or DATA came since the last sweep. A PING is no activity (docs/alb.md 2.2)."""
        self.guard = FloodGuard(limits)
        self.decoder = HpackDecoder(limits.request_head, limits.http2_field)
        self.streams: dict[int, Http2Stream] = {}
        """The open streams by their numbers."""
        self.last_stream = 0
        """The highest number of a stream that the peer, or this side, has opened."""
        self.header_block: _HeaderBlock | None = None
        self._received = b""
        """The beginning of a frame."""
        self._preface_left = frames.PREFACE if awaits_preface else b""
        self._settings_seen = False
        self._is_resting = False
        self._remembered: dict[int, None] = {}
        # Flow control and settings.
        self.stream_window = limits.in_flight
        """The window that the peer gets for each stream."""
        self.receive_window = CONNECTION_WINDOW
        self.send_window = DEFAULT_WINDOW
        self.initial_window = DEFAULT_WINDOW
        """The window that the peer gives for each stream."""
        self.max_frame = MAX_FRAME
        self._table_update = b""
        self._blocked: dict[Http2Stream, None] = {}
        """Streams that wait for the window of the connection; the longest waiting one first."""
        # Sending.
        self.is_full = False
        """Whether the transport has as much to send as it may have."""
        self._out: list[bytes] = []
        self._flush_is_due = False

    # What the two kinds of connections do differently.

    def headers_received(self, stream_id: int, block: bytes, ended: bool) -> None:
        """Take a whole header block. It must be decoded, or the decoder's table would differ from that of the peer.

        Raises:
            Http2Error: the connection cannot continue.
            StreamError: only the stream cannot.
        """
        raise NotImplementedError

    def is_idle_stream(self, stream_id: int) -> bool:
        """Whether no stream of that number was ever opened (RFC 9113 section 5.1)."""
        raise NotImplementedError

    def settings_received(self, settings: Sequence[tuple[int, int]]) -> None:
        """The peer's settings have come. They are in force."""

    def goaway_received(self, last_stream: int, code: int, debug: bytes) -> None:
        """The peer takes no more streams."""

    def emptied(self) -> None:
        """The last stream is over, and `closes_when_empty` is set. The frames that ended it are written."""

    def ping_acknowledged(self) -> None:
        """The peer has answered a PING."""

    def stream_over(self, stream: Http2Stream) -> None:
        """A stream has ended in good order and is no longer in `streams`."""

    def stream_failed(self, stream_id: int, error: StreamError) -> None:
        """A stream violated the protocol. It was reset."""

    def failed(self, error: Http2Error) -> None:
        """The peer violated the protocol. GOAWAY was written, and nothing more is read: end the connection and its streams."""
        raise NotImplementedError

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit from asyncio.Transport.

    def data_received(self, data: bytes) -> None:
        if self.is_ending:
            self.is_active = True
            return
        if self._received:
            data = self._received + data
            self._received = b""
        try:
            if self._preface_left:
                data = self._read_preface(data)
            rest = self._read_frames(data)
        except Http2Error as error:
            self.fail(error)
            return
        # `_read_frames` may have been the last thing that this connection does.
        if not self.is_ending:
            self._received = rest
            if self._is_resting:
                self._loop.call_soon(self._rested)

    def _rested(self) -> None:
        """Other connections were served after a read of many frames."""
        self._is_resting = False
        self.data_received(b"")
        if not self._is_resting and self.transport is not None:
            self.transport.resume_reading()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.transport = None
        self.is_ending = True
        self._received = b""
        self._out = []
        self._blocked.clear()
        self._budget.release(self)

    def pause_writing(self) -> None:
        self.is_full = True
        self._tell_tunnels()

    def resume_writing(self) -> None:
        self.is_full = False
        self._tell_tunnels()

    def _tell_tunnels(self) -> None:
        """`is_full` has changed. The two kinds of connections do the same for their exchanges."""
        for stream in tuple(self.streams.values()):
            if stream.tunnel is not None:
                stream.tunnel.writing_changed()

    # Reading.

    @property
    def has_preface(self) -> bool:
        """Whether the peer's preface has come."""
        return not self._preface_left

    def _read_preface(self, data: bytes) -> bytes:
        expected = self._preface_left
        size = min(len(data), len(expected))
        if data[:size] != expected[:size]:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "the connection does not start with the preface of HTTP/2")
        self._preface_left = expected[size:]
        return data[size:]

    def _read_frames(self, data: bytes) -> bytes:
        """Read whole frames, and return the beginning of the next one."""
        position = 0
        size = len(data)
        left = _FRAMES_PER_TURN
        while size - position >= _HEAD:
            high, low, kind, flags, stream_id = frames.unpack_head(data, position)
            start = position + _HEAD
            end = start + (high << 8 | low)
            if end - start > MAX_FRAME:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {end - start} bytes")
            if end > size:
                break
            stream_id &= _ID
            if self.header_block is not None and (kind != frames.CONTINUATION or stream_id != self.header_block.stream_id):
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "another frame within a header block")
            if not self._settings_seen and (kind != frames.SETTINGS or flags & frames.ACK):
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            position = end
            try:
                if kind == frames.DATA:
                    self._data(data, start, end, flags, stream_id)
                elif kind == frames.HEADERS:
                    self._headers(data, start, end, flags, stream_id)
                else:
                    self._other(kind, data[start:end], flags, stream_id)
            except StreamError as error:
                self._end_violated(stream_id, error)
            if self.is_ending:
                return b""
            left -= 1
            if not left and size - position >= _HEAD:
                self._rest()
                break
        return data[position:] if position else data

    def _rest(self) -> None:
        if self.transport is not None:
            self._is_resting = True
            self.transport.pause_reading()

    def _data(self, data: bytes, start: int, end: int, flags: int, stream_id: int) -> None:
        size = end - start
        if flags & frames.PADDED:
            start, end = frames.strip_padding(data, start, end)
        self.is_active = True
        self.receive_window -= size
        if self.receive_window < 0:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the window of the connection")
        if self.receive_window * 2 <= CONNECTION_WINDOW:
            self.write((frames.window_update(0, CONNECTION_WINDOW - self.receive_window),))
            self.receive_window = CONNECTION_WINDOW
        ended = bool(flags & frames.END_STREAM)
        if start == end and not ended:
            self.guard.control_frame()
        else:
            self.guard.useful_frame()
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.data_received(data[start:end], size, ended)
        elif stream_id not in self._remembered:
            self._refuse_frame_of_closed(stream_id, "DATA")

    def _headers(self, data: bytes, start: int, end: int, flags: int, stream_id: int) -> None:
        if not stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
        if flags & frames.PADDED:
            start, end = frames.strip_padding(data, start, end)
        if flags & frames.PRIORITY_FLAG:
            if start + 5 > end:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "HEADERS without the whole priority")
            if int.from_bytes(data[start : start + 4], "big") & _ID == stream_id:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")
            start += 5
        self.is_active = True
        ended = bool(flags & frames.END_STREAM)
        if flags & frames.END_HEADERS:
            self.headers_received(stream_id, data[start:end], ended)
        else:
            self.header_block = _HeaderBlock(stream_id, ended, data[start:end])

    def _other(self, kind: int, payload: bytes, flags: int, stream_id: int) -> None:
        if kind == frames.WINDOW_UPDATE:
            self._window_update(payload, stream_id)
        elif kind == frames.RST_STREAM:
            self._rst_stream(payload, stream_id)
        elif kind == frames.SETTINGS:
            self._settings(payload, flags, stream_id)
        elif kind == frames.PING:
            self._ping(payload, flags, stream_id)
        elif kind == frames.CONTINUATION:
            self._continuation(payload, flags)
        elif kind == frames.PRIORITY:
            self._priority(payload, stream_id)
        elif kind == frames.GOAWAY:
            if stream_id or len(payload) < 8:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR if stream_id else ErrorCode.FRAME_SIZE_ERROR, "GOAWAY")
            self.guard.control_frame()
            self.goaway_received(int.from_bytes(payload[:4], "big") & _ID, int.from_bytes(payload[4:8], "big"), payload[8:])
        elif kind == frames.PUSH_PROMISE:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE")
        else:
            # Unknown kinds are ignored (RFC 9113 section 4.1), but not for ever.
            self.guard.control_frame()

    def _continuation(self, payload: bytes, flags: int) -> None:
        block = self.header_block
        if block is None:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        self.guard.control_frame()
        block.block += payload
        if len(block.block) > self.limits.request_head:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, f"a header block of more than {self.limits.request_head} bytes")
        if flags & frames.END_HEADERS:
            self.header_block = None
            self.headers_received(block.stream_id, bytes(block.block), block.ended)

    def _window_update(self, payload: bytes, stream_id: int) -> None:
        if len(payload) != 4:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE")
        self.guard.control_frame()
        increment = int.from_bytes(payload, "big") & _ID
        if not stream_id:
            if not increment:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE of 0")
            self.send_window += increment
            if self.send_window > LARGEST_WINDOW:
                raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "the window of the connection exceeds 2^31-1")
            self._serve_blocked()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if self.is_idle_stream(stream_id):
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of an idle stream")
        elif not increment:
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE of 0")
        else:
            stream.increase_window(increment)

    def _rst_stream(self, payload: bytes, stream_id: int) -> None:
        if len(payload) != 4:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM")
        if not stream_id or self.is_idle_stream(stream_id):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "RST_STREAM of an idle stream")
        self.guard.stream_reset()
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._forget(stream)
            stream.was_reset(int.from_bytes(payload, "big"))

    def _settings(self, payload: bytes, flags: int, stream_id: int) -> None:
        if stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "SETTINGS of a stream")
        self.guard.control_frame()
        if flags & frames.ACK:
            if payload:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS with ACK and a payload")
            return
        settings = frames.read_settings(payload)
        self._settings_seen = True
        for name, value in settings:
            if name == frames.SETTINGS_INITIAL_WINDOW_SIZE:
                self._change_initial_window(value)
            elif name == frames.SETTINGS_MAX_FRAME_SIZE:
                self.max_frame = value
            elif name == frames.SETTINGS_HEADER_TABLE_SIZE and value < 4096:
                # The encoder uses no table. But a peer that makes its table smaller expects to hear of it (RFC 7541 section 4.2).
                self._table_update = TABLE_SIZE_ZERO
        self.settings_received(settings)
        self.write((frames.SETTINGS_ACK,))

    def _change_initial_window(self, size: int) -> None:
        change = size - self.initial_window
        self.initial_window = size
        for stream in tuple(self.streams.values()):
            try:
                stream.increase_window(change)
            except StreamError as error:
                # RFC 9113 section 6.9.2.
                raise Http2Error(error.code, error.reason) from None

    def _ping(self, payload: bytes, flags: int, stream_id: int) -> None:
        if stream_id or len(payload) != 8:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR if stream_id else ErrorCode.FRAME_SIZE_ERROR, "PING")
        self.guard.control_frame()
        if flags & frames.ACK:
            self.ping_acknowledged()
        else:
            self.write((frames.ping(payload, ack=True),))

    def _priority(self, payload: bytes, stream_id: int) -> None:
        if not stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        self.guard.control_frame()
        # For the stream these would be errors of the stream. But it may be idle, and then RST_STREAM must not be sent.
        if len(payload) != 5:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY")
        if int.from_bytes(payload[:4], "big") & _ID == stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")

    def _refuse_frame_of_closed(self, stream_id: int, kind: str) -> None:
        if not stream_id or self.is_idle_stream(stream_id):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, f"{kind} of an idle stream")
        raise Http2Error(ErrorCode.STREAM_CLOSED, f"{kind} of a closed stream")

    def _end_violated(self, stream_id: int, error: StreamError) -> None:
        """Reset a stream whose peer violated the protocol."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.reset_stream(stream, error.code)
            stream.was_reset(error.code, error.reason)
        else:
            self.refuse_stream(stream_id, error.code)
        self.guard.stream_reset()
        self.stream_failed(stream_id, error)

    # Streams.

    def check_over(self, stream: Http2Stream) -> None:
        """Remove a stream if both sides have ended it."""
        if stream.ended_receiving and stream.ended_sending and not stream.pending_bytes and self._forget(stream):
            self.guard.stream_completed()
            self.stream_over(stream)

    def reset_stream(self, stream: Http2Stream, code: int) -> None:
        """Send RST_STREAM, and forget the stream. Does nothing if it is over."""
        if self._forget(stream):
            self.refuse_stream(stream.id, code)

    def refuse_stream(self, stream_id: int, code: int) -> None:
        """Send RST_STREAM for a stream that is not in `streams`, and ignore what still comes of it."""
        remembered = self._remembered
        if len(remembered) >= _MOST_REMEMBERED:
            del remembered[next(iter(remembered))]
        remembered[stream_id] = None
        self.write((frames.rst_stream(stream_id, code),))

    def was_reset_here(self, stream_id: int) -> bool:
        """Whether frames of this stream may still come, because this side has reset it lately."""
        return stream_id in self._remembered

    def _forget(self, stream: Http2Stream) -> bool:
        """Remove a stream, and what waits in it. Returns whether it was open."""
        if not stream.is_open:
            return False
        stream.is_open = False
        del self.streams[stream.id]
        self._blocked.pop(stream, None)
        if stream.pending_bytes:
            stream.drop_pending()
        if self.closes_when_empty and not self.streams:
            self._loop.call_soon(self.emptied)
        return True

    def take_streams(self) -> Iterable[Http2Stream]:
        """Remove and return all streams, because the connection ends."""
        streams, self.streams = self.streams, {}
        self._blocked.clear()
        for stream in streams.values():
            stream.is_open = False
            stream.drop_pending()
        return streams.values()

    # Flow control.

    def wait_for_window(self, stream: Http2Stream) -> None:
        """Let a stream continue when the window of the connection has grown."""
        self._blocked[stream] = None

    def _serve_blocked(self) -> None:
        """Let the streams that wait send in turns, one frame each, so that a large response does not hold up the others."""
        blocked = self._blocked
        while blocked and self.send_window > 0:
            stream = next(iter(blocked))
            del blocked[stream]
            stream.send_waiting(1)

    def hold(self, size: int) -> None:
        """Count bytes that wait for a window; a negative size takes some away."""
        self._budget.change(self, size)

    # Sending.

    def take_table_update(self) -> bytes:
        """What has to stand at the start of the next header block."""
        update = self._table_update
        if update:
            self._table_update = b""
        return update

    def write(self, pieces: Iterable[bytes]) -> None:
        """Send frames with all others of this turn of the event loop, in one write."""
        if self.is_ending:
            return
        self._out += pieces
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what was collected."""
        self._flush_is_due = False
        out, self._out = self._out, []
        if out and self.transport is not None:
            send(self.transport, out, sum(map(len, out)))

    def fail(self, error: Http2Error) -> None:
        """End the connection with GOAWAY: the peer has violated the protocol, or exceeds a limit."""
        if self.is_ending:
            return
        self.write((frames.goaway(self.last_stream, error.code, error.reason.encode()),))
        self.flush()
        self.is_ending = True
        self._received = b""
        self.header_block = None
        self.failed(error)

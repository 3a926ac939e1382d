"""Frames in and out: what an HTTP/2 connection with a client and one with a target have in common (RFC 9113).

`client.http2_connection` and `target.http2_connection` derive from this class. They say what a header block means, and what happens to
their streams if the connection ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from albkit.model.limits import Limits
from albkit.proxy.http2.buffer_budget import BufferBudget
from albkit.proxy.http2.frame_reader import FrameReader
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

_STREAMS_PER_FRAME: Final = 16
"""Open streams for which a change of their windows counts as one more control frame."""
_MOST_QUEUED: Final = 64 * 1024
"""Bytes of DATA that are collected for one write. More are written at once, so that a full socket is noticed."""
_MOST_REMEMBERED: Final = 256
"""Streams that were reset here and that are remembered: the peer may send frames of them until it has seen the reset."""


class Http2Connection(FrameReader):
    """Hands frames to streams; collects the frames to send, and writes them once per turn of the event loop.

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
        "_out",
        "_queued",
        "_remembered",
        "closes_when_empty",
        "has_table_update",
        "initial_window",
        "is_full",
        "last_stream",
        "max_frame",
        "receive_window",
        "send_window",
        "stream_window",
        "streams",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits, budget: BufferBudget, *, awaits_preface: bool) -> None:
        super().__init__(loop, limits, awaits_preface=awaits_preface)
        self._budget = budget
        self.closes_when_empty = False
        """Whether `emptied` is called when the last stream is over."""
        self.decoder = HpackDecoder(limits.request_head, limits.http2_field)
        self.streams: dict[int, Http2Stream] = {}
        """The open streams by their numbers."""
        self.last_stream = 0
        """The highest number of a stream that the peer, or this side, has opened."""
        self._remembered: dict[int, None] = {}
        # Flow control and settings.
        self.stream_window = DEFAULT_WINDOW
        """The window that the peer has for each new stream. `Limits.in_flight` is in force when it has acknowledged the settings."""
        self.receive_window = CONNECTION_WINDOW
        self.send_window = DEFAULT_WINDOW
        self.initial_window = DEFAULT_WINDOW
        """The window that the peer gives for each stream."""
        self.max_frame = MAX_FRAME
        self.has_table_update = False
        """Whether the next header block has to start with a size update."""
        self._blocked: dict[Http2Stream, None] = {}
        """Streams that wait for the window of the connection, or for the socket; the longest waiting one first."""
        # Sending.
        self.is_full = False
        """Whether the transport has as much to send as it may have."""
        self._out: list[bytes] = []
        self._queued = 0
        """Bytes of DATA in `_out`."""
        self._flush_is_due = False

    # What the two kinds of connections do differently.

    def settings_received(self, settings: Sequence[tuple[int, int]]) -> None:
        """The peer's settings have come. They are in force."""

    def emptied(self) -> None:
        """The last stream is over, and `closes_when_empty` is set. The frames that ended it are written."""

    def stream_over(self, stream: Http2Stream) -> None:
        """A stream has ended in good order and is no longer in `streams`."""

    def stream_failed(self, stream_id: int, error: StreamError) -> None:
        """A stream that is not in `streams` violated the protocol. It was reset."""

    def failed(self, error: Http2Error) -> None:
        """The peer violated the protocol. GOAWAY was written, and nothing more is read: end the connection and its streams."""
        raise NotImplementedError

    # What the event loop calls.

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
        self._serve_blocked()

    def _tell_tunnels(self) -> None:
        """`is_full` has changed. The two kinds of connections do the same for their exchanges."""
        for stream in tuple(self.streams.values()):
            if stream.tunnel is not None:
                stream.tunnel.writing_changed()

    # Frames (see `FrameReader`).

    def data_frame_received(self, stream_id: int, data: bytes, size: int, ended: bool) -> None:
        self.receive_window -= size
        if self.receive_window < 0:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the window of the connection")
        if self.receive_window * 2 <= CONNECTION_WINDOW:
            self.write((frames.window_update(0, CONNECTION_WINDOW - self.receive_window),))
            self.receive_window = CONNECTION_WINDOW
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.data_received(data, size, ended)
        elif not self.was_reset_here(stream_id):
            if not stream_id or self.is_idle_stream(stream_id):
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "DATA of an idle stream")
            raise Http2Error(ErrorCode.STREAM_CLOSED, "DATA of a closed stream")

    def window_update_received(self, stream_id: int, increment: int) -> None:
        if not stream_id:
            if not increment:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE of 0")
            self.send_window += increment
            if self.send_window > LARGEST_WINDOW:
                raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "the window of the connection exceeds 2^31-1")
            if self._blocked:
                self._flush_soon()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if self.is_idle_stream(stream_id):
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of an idle stream")
        elif not increment:
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE of 0")
        else:
            stream.increase_window(increment)

    def rst_stream_received(self, stream_id: int, code: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._forget(stream)
            stream.was_reset(code)

    def settings_frame_received(self, settings: Sequence[tuple[int, int]]) -> None:
        window = self.initial_window
        for name, value in settings:
            if name == frames.SETTINGS_INITIAL_WINDOW_SIZE:
                window = value
            elif name == frames.SETTINGS_MAX_FRAME_SIZE:
                self.max_frame = value
            elif name == frames.SETTINGS_HEADER_TABLE_SIZE and value < 4096:
                # The encoder uses no table. But a peer that makes its table smaller expects to hear of it (RFC 7541 section 4.2).
                self.has_table_update = True
        # Once per frame, however often it stands there: this costs time for each stream.
        if window != self.initial_window:
            self.guard.control_frame(len(self.streams) // _STREAMS_PER_FRAME)
            self._change_initial_window(window)
        self.settings_received(settings)
        self.write((frames.SETTINGS_ACK,))

    def settings_acknowledged(self) -> None:
        change = self.limits.in_flight - self.stream_window
        if not change:
            return
        self.stream_window += change
        for stream in self.streams.values():
            stream.receive_window += change

    def ping_received(self, payload: bytes) -> None:
        self.write((frames.ping(payload, ack=True),))

    def _change_initial_window(self, size: int) -> None:
        change = size - self.initial_window
        self.initial_window = size
        for stream in tuple(self.streams.values()):
            try:
                stream.increase_window(change)
            except StreamError as error:
                # RFC 9113 section 6.9.2.
                raise Http2Error(error.code, error.reason) from None

    def stream_violated(self, stream_id: int, error: StreamError) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.reset_stream(stream, error.code)
            stream.was_reset(error.code, error.reason)
        else:
            self.refuse_stream(stream_id, error.code)
            self.stream_failed(stream_id, error)
        self.guard.stream_reset()

    # Streams.

    def check_over(self, stream: Http2Stream) -> None:
        """Remove a stream if both sides have ended it."""
        if stream.ended_receiving and stream.ended_sending and stream.is_open and not stream.pending:
            self._forget(stream)
            if self.guard.is_spent:
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
        if stream.pending:
            self._blocked.pop(stream, None)
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
        """Let a stream continue when the window of the connection has grown, or the socket has room."""
        self._blocked[stream] = None

    def window_grew(self, stream: Http2Stream) -> None:
        """The window of a stream that has something to send has grown. It sends at the end of this turn of the event loop, because further
        updates may follow: many small ones must not make many small frames."""
        self._blocked[stream] = None
        self._flush_soon()

    def _serve_blocked(self) -> None:
        """Let the streams that wait send in turns, one frame each, so that a large response does not hold up the others."""
        blocked = self._blocked
        while blocked and self.send_window > 0 and not self.is_full:
            stream = next(iter(blocked))
            del blocked[stream]
            stream.send_waiting()

    def hold(self, size: int) -> None:
        """Count bytes that wait for a window; a negative size takes some away."""
        self._budget.change(self, size)

    # Sending.

    def take_table_update(self) -> bytes:
        """What has to stand at the start of the next header block."""
        if not self.has_table_update:
            return b""
        self.has_table_update = False
        return TABLE_SIZE_ZERO

    def write(self, pieces: Iterable[bytes], size: int = 0) -> None:
        """Send frames with all others of this turn of the event loop, in one write; at once if there is no other stream to wait for.

        Args:
            pieces: The frames.
            size: Bytes of DATA in them.
        """
        if self.is_ending:
            return
        self._out += pieces
        self._queued += size
        if self._queued > _MOST_QUEUED or len(self.streams) < 2:
            self._write_out()
        elif not self._flush_is_due:
            self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush_collected)

    def _flush_collected(self) -> None:
        self._flush_is_due = False
        self.flush()

    def flush(self) -> None:
        """Send what was collected, and what waits as far as the windows allow."""
        if self._blocked:
            self._serve_blocked()
        self._write_out()

    def _write_out(self) -> None:
        out, self._out = self._out, []
        self._queued = 0
        if out and self.transport is not None:
            send(self.transport, out, sum(map(len, out)))

    def fail(self, error: Http2Error) -> None:
        if self.is_ending:
            return
        self.write((frames.goaway(self.last_stream, error.code, error.reason.encode()),))
        self._write_out()
        self.is_ending = True
        self._received = b""
        self.header_block = None
        self.failed(error)

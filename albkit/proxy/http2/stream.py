"""One stream of an HTTP/2 connection: flow control in both directions (RFC 9113 section 5.2).

The stream of a client (`client.http2_exchange`) and the stream of a target (`target.http2_exchange`) derive from this class.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

from albkit.model.limits import Limits
from albkit.proxy.http2.flood_guard import LARGE_FRAME, PER_USEFUL_FRAME, FloodGuard
from albkit.wire.http2.frames import LARGEST_WINDOW, MAX_FRAME, ErrorCode, StreamError, headers_frames, window_update

__all__ = ("Http2Stream", "Owner", "TunnelEvents")

_DATA: Final = b"\0\0"
_DATA_AT_END: Final = b"\0\1"
"""Kind and flags of a DATA frame, without and with END_STREAM."""
_HEADERS: Final = b"\1\4"
"""Kind and flags of a HEADERS frame with the whole block."""
_TWO_HEADS: Final = 18
"""Bytes of the heads of two frames."""


class TunnelEvents(Protocol):
    """What a stream reports to the tunnel that it carries (`stream_transport`)."""

    def data_received(self, data: bytes, ended: bool) -> None:
        """Data came; `ended` says that it is the last."""

    def writing_changed(self) -> None:
        """More or less waits to be sent than before."""

    def end_sent(self) -> None:
        """The frame with END_STREAM was written."""

    def was_reset(self, code: int, detail: str = "") -> None:
        """As for `Http2Stream`."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""


class Owner(Protocol):
    """What a stream needs of its connection (`Http2Connection`, which documents each)."""

    limits: Limits
    guard: FloodGuard
    is_full: bool
    initial_window: int
    stream_window: int
    send_window: int
    max_frame: int
    has_table_update: bool

    @property
    def transport(self) -> asyncio.Transport | None: ...
    def check_over(self, stream: Http2Stream) -> None: ...
    def reset_stream(self, stream: Http2Stream, code: int) -> None: ...
    def wait_for_window(self, stream: Http2Stream) -> None: ...
    def window_grew(self, stream: Http2Stream) -> None: ...
    def hold(self, size: int) -> None: ...
    def take_table_update(self) -> bytes: ...
    def write(self, pieces: Iterable[bytes], size: int = 0) -> None: ...


class Http2Stream:
    """Sends and receives DATA frames, within the windows of the stream and of the connection.

    What the windows do not let pass waits here. `sending_paused` and `sending_resumed` report that, so that the other side of the exchange
    stops sending meanwhile.
    """

    __slots__ = (
        "_id_bytes",
        "_offset",
        "_sent_end",
        "_trailers",
        "_ungranted",
        "connection",
        "ended_receiving",
        "ended_sending",
        "id",
        "is_granting",
        "is_open",
        "length_left",
        "pending",
        "receive_window",
        "send_window",
        "tunnel",
    )

    connection: Owner
    id: int

    def open_stream(self, stream_id: int, *, ended_receiving: bool, length: int) -> None:
        """Begin a stream. The caller enters it in `connection.streams`.

        Args:
            stream_id: Its number.
            ended_receiving: Whether the peer has sent END_STREAM already.
            length: Bytes of DATA that the peer will send; -1 if it did not say (Content-Length).
        """
        connection = self.connection
        self.id = stream_id
        self._id_bytes = stream_id.to_bytes(4, "big")
        self.is_open = True
        """Whether frames of the stream can still be sent. The connection changes this."""
        self.ended_receiving = ended_receiving
        self.ended_sending = False
        """Whether END_STREAM was handed to `send`. Some of the data may still wait."""
        self.length_left = length
        self.send_window = connection.initial_window
        self.receive_window = connection.stream_window
        self.is_granting = True
        """Whether the peer gets back the window for what it sent. False while the other side of the exchange is full."""
        self._ungranted = 0
        self.pending = b""
        """Data that waits for a window, from `_offset` on."""
        self._offset = 0
        self._trailers = b""
        self._sent_end = False
        self.tunnel: TunnelEvents | None = None

    # What the two kinds of streams do differently.

    def receive(self, data: bytes, ended: bool) -> None:
        """Take a piece of the body; `ended` says that it is the last."""
        raise NotImplementedError

    def sending_paused(self) -> None:
        """Data waits for a window. Stop the side that it comes from."""
        raise NotImplementedError

    def sending_resumed(self) -> None:
        """No data waits any more."""
        raise NotImplementedError

    def was_reset(self, code: int, detail: str = "") -> None:
        """The stream is over, and nothing more can be sent or received on it. It is no longer in `connection.streams`.

        Args:
            code: The code of the peer's RST_STREAM, or of ours if the peer violated the protocol.
            detail: The reason, if there is more to say.
        """
        raise NotImplementedError

    def sending_ended(self) -> None:
        """The last frame of this side was written."""
        self.connection.check_over(self)

    def _report_end(self) -> None:
        """The last frame was written. A tunnel gets the events of its stream, except `was_reset`: the two kinds of streams pass that on."""
        if self.tunnel is None:
            self.sending_ended()
        else:
            self.connection.check_over(self)
            self.tunnel.end_sent()

    # Receiving.

    def data_received(self, data: bytes, size: int, ended: bool) -> None:
        """Take a DATA frame.

        Args:
            data: Its data.
            size: Bytes of the whole payload, padding included: all of it counts for flow control (RFC 9113 section 6.1).
            ended: Whether it has END_STREAM.

        Raises:
            StreamError: the peer violated the protocol; the caller resets the stream.
        """
        if self.ended_receiving:
            raise StreamError(ErrorCode.STREAM_CLOSED, "DATA after END_STREAM")
        self.receive_window -= size
        # The window may be negative already, if new settings have made it smaller (RFC 9113 section 6.9.2).
        if self.receive_window < 0 and size:
            raise StreamError(ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the window of the stream")
        if self.length_left >= 0:
            self.length_left -= len(data)
            if self.length_left < 0 or (ended and self.length_left):
                raise StreamError(ErrorCode.PROTOCOL_ERROR, "the body does not have the length of its Content-Length")
        self.ended_receiving = ended
        self._ungranted += size
        if self.tunnel is not None:
            self.tunnel.data_received(data, ended)
        else:
            self.receive(data, ended)
        if self.is_granting and self._ungranted * 2 >= self.connection.stream_window:
            self.grant()
        if ended:
            self.connection.check_over(self)

    def grant(self) -> None:
        """Let the peer send as many bytes as were taken."""
        size = self._ungranted
        if size and not self.ended_receiving and self.is_open:
            self._ungranted = 0
            self.receive_window += size
            self.connection.write((window_update(self.id, size),))

    def pause_receiving(self) -> None:
        """Let the peer send no more than its window still allows."""
        self.is_granting = False

    def resume_receiving(self) -> None:
        """Let the peer continue."""
        self.is_granting = True
        self.grant()

    # Sending.

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for a window."""
        return len(self.pending) - self._offset

    def send_block(self, block: bytes, *, over: bool) -> int:
        """Send a header block. Returns the bytes of its frames.

        Args:
            block: The header block.
            over: Whether nothing follows.
        """
        connection = self.connection
        frames = headers_frames(self.id, connection.take_table_update() + block, end_stream=over, max_frame=connection.max_frame)
        connection.write(frames)
        if over:
            self.ended_sending = self._sent_end = True
            self.sending_ended()
        return sum(map(len, frames))

    def send_whole(self, block: bytes, data: bytes) -> int:
        """Send a header block and a whole small body. Most messages end so.

        Returns:
            The bytes of the frames; 0 if a window or a limit prevents it, and nothing was sent.
        """
        connection = self.connection
        size = len(data)
        if not 0 < size <= MAX_FRAME or size > self.send_window or size > connection.send_window or len(block) > MAX_FRAME:
            return 0
        if connection.has_table_update or connection.is_full:
            return 0
        connection.send_window -= size
        connection.guard.earned += PER_USEFUL_FRAME
        self.ended_sending = self._sent_end = True
        number = self._id_bytes
        out = (len(block).to_bytes(3, "big") + _HEADERS, number, block, size.to_bytes(3, "big") + _DATA_AT_END, number, data)
        connection.write(out, size)
        self.sending_ended()
        return len(block) + size + _TWO_HEADS

    def send_data(self, pieces: list[bytes], over: bool, trailers: bytes = b"") -> None:
        """Send a part of the body, as far as the windows allow; the rest waits.

        Args:
            pieces: May be empty.
            over: Whether nothing follows but the trailers.
            trailers: The header block of the trailers; empty for none.
        """
        if self.ended_sending:
            return
        self.ended_sending = over
        connection = self.connection
        waited = self.pending
        if pieces and not waited:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            size = len(data)
            # Most bodies are small: one frame, and nothing waits.
            fits = 0 < size <= MAX_FRAME and size <= self.send_window and size <= connection.send_window
            if fits and not connection.is_full and not trailers:
                self.send_window -= size
                connection.send_window -= size
                connection.guard.earned += PER_USEFUL_FRAME + (size >> LARGE_FRAME)
                connection.write((size.to_bytes(3, "big") + (_DATA_AT_END if over else _DATA), self._id_bytes, data), size)
                if over:
                    self._sent_end = True
                    self._report_end()
                return
            self.pending = data
            connection.hold(size)
        elif pieces:
            data = b"".join(pieces)
            self.pending = self.pending[self._offset :] + data
            self._offset = 0
            connection.hold(len(data))
        self._trailers = trailers
        out: list[bytes] = []
        before = self.pending_bytes
        while self.pending and self._add_frame(out):
            pass
        self._write(out, before - self.pending_bytes)
        if self.pending:
            self._wait()
        if self.tunnel is not None:
            self.tunnel.writing_changed()
        elif self.pending:
            self.sending_paused()
        elif waited and not over:
            # A window had grown, and what waited was to be sent at the end of this turn. It left with these pieces.
            self.sending_resumed()

    def send_waiting(self) -> None:
        """Send one frame of what waits, after a window has grown."""
        if not self.pending:
            return
        out: list[bytes] = []
        before = self.pending_bytes
        self._add_frame(out)
        self._write(out, before - self.pending_bytes)
        if self.pending:
            self._wait()
        elif not self.ended_sending and self.tunnel is None:
            self.sending_resumed()
        if self.tunnel is not None:
            self.tunnel.writing_changed()

    def _wait(self) -> None:
        """Wait for the connection, if the window of the stream is open. If not, a WINDOW_UPDATE of the stream continues."""
        if self.send_window > 0:
            self.connection.wait_for_window(self)

    def _add_frame(self, out: list[bytes]) -> bool:
        """Add one DATA frame. Returns `False` if a window is closed, or the socket is full."""
        connection = self.connection
        left = self.pending_bytes
        size = min(left, MAX_FRAME, self.send_window, connection.send_window)
        if size <= 0 or connection.is_full:
            return False
        self.send_window -= size
        connection.send_window -= size
        end = self._offset + size
        is_last = size == left
        self._sent_end = is_last and self.ended_sending and not self._trailers
        out += (size.to_bytes(3, "big") + (_DATA_AT_END if self._sent_end else _DATA), self._id_bytes, self.pending[self._offset : end])
        if is_last or size == MAX_FRAME:
            connection.guard.earned += PER_USEFUL_FRAME + (size >> LARGE_FRAME)
        else:
            connection.guard.cut_frame(size)
        self._offset = end
        if is_last:
            self.pending = b""
            self._offset = 0
        connection.hold(-size)
        return True

    def _write(self, out: list[bytes], size: int) -> None:
        """Write frames with so many bytes of data, and the end of the stream behind the last of it."""
        connection = self.connection
        is_end = self.ended_sending and not self.pending
        if is_end and not self._sent_end:
            self._sent_end = True
            trailers = self._trailers
            if trailers:
                block = connection.take_table_update() + trailers
                out += headers_frames(self.id, block, end_stream=True, max_frame=connection.max_frame)
            else:
                out += (b"\0\0\0" + _DATA_AT_END, self._id_bytes)
        if out:
            connection.write(out, size)
        if is_end:
            self._report_end()

    def increase_window(self, increment: int) -> None:
        """Handle a WINDOW_UPDATE of this stream, or a change of the initial window, which may be negative.

        Raises:
            StreamError: the window exceeds its limit.
        """
        self.send_window += increment
        if self.send_window > LARGEST_WINDOW:
            raise StreamError(ErrorCode.FLOW_CONTROL_ERROR, "the window of the stream exceeds 2^31-1")
        if self.pending and self.send_window > 0:
            self.connection.window_grew(self)

    def drop_pending(self) -> None:
        """Forget what waits, because the stream or the connection is over."""
        waiting = self.pending_bytes
        self.pending = b""
        self._offset = 0
        self.ended_sending = self._sent_end = True
        if waiting:
            self.connection.hold(-waiting)

    def reset(self, code: int) -> None:
        """Reset the stream, unless it is over. Nothing is reported to this object."""
        self.connection.reset_stream(self, code)

"""An HTTP/2 stream as a transport, so that a tunnel can use it like a socket (RFC 8441 section 5).

END_STREAM is what FIN is to a TCP connection, and RST_STREAM is what RST is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from albkit.proxy.http2.stream import Http2Stream
from albkit.wire.http2.frames import ErrorCode

__all__ = ("StreamTransport",)

_LOW_PART = 4
"""The low mark of the write buffer is this part of the high mark, as in asyncio."""


class StreamTransport(asyncio.Transport):
    """One stream, of a client or of a target, for a tunnel. Reading is paused at first.

    Data that comes while reading is paused is kept. The window of the stream bounds it.

    Args:
        stream: An open stream. From now on it reports its events to this object (`Http2Stream.tunnel`).
        loop: The event loop.
    """

    __slots__ = (
        "_closing",
        "_eof_delivered",
        "_high",
        "_is_lost",
        "_kept",
        "_loop",
        "_low",
        "_paused",
        "_protocol",
        "_sent_eof",
        "_stream",
        "_writing_paused",
    )

    def __init__(self, stream: Http2Stream, loop: asyncio.AbstractEventLoop) -> None:
        self._stream = stream
        self._loop = loop
        self._protocol: Any = None
        self._kept: bytearray | None = None
        """Data that came while reading was paused; it is delivered first. A bytearray, because the peer chose the size of the pieces."""
        self._paused = True
        self._eof_delivered = False
        self._sent_eof = stream.ended_sending
        self._closing = False
        self._is_lost = False
        """Whether `connection_lost` was called, or is about to be."""
        connection = stream.connection
        self._high = connection.limits.in_flight
        self._low = self._high // _LOW_PART
        # The caller has told the protocol whether the stream is full, and this object reports when it has room again.
        self._writing_paused = connection.is_full or stream.pending_bytes > 0
        stream.tunnel = self
        stream.pause_receiving()

    def __repr__(self) -> str:
        state = "lost" if self._is_lost else "closing" if self._closing else "paused" if self._paused else "open"
        return f"<{type(self).__name__} of stream {self._stream.id}: {state}>"

    # Called by the stream.

    def data_received(self, data: bytes, ended: bool) -> None:
        """Take the payload of a DATA frame; `ended` says whether it has END_STREAM."""
        if self._closing:
            return
        if self._paused or self._kept is not None:
            if data:
                if self._kept is None:
                    self._kept = bytearray()
                self._kept += data
            return
        if data:
            self._protocol.data_received(data)
        if ended:
            self._deliver_end()

    def writing_changed(self) -> None:
        """Pause or resume the protocol: what waits for a window has changed, or the write buffer of the connection has."""
        if self._closing:
            return
        stream = self._stream
        waiting = stream.pending_bytes
        is_full = stream.connection.is_full
        if not self._writing_paused:
            if is_full or waiting > self._high:
                self._writing_paused = True
                if self._protocol is not None:
                    self._protocol.pause_writing()
        elif not is_full and waiting <= self._low:
            self._writing_paused = False
            if self._protocol is not None:
                self._protocol.resume_writing()

    def end_sent(self) -> None:
        """The frame with END_STREAM was written."""
        if self._closing:
            self._end_close()

    def was_reset(self, code: int, detail: str = "") -> None:
        """The stream was reset.

        Args:
            code: The code of RST_STREAM.
            detail: Why this side has reset it, if it has.
        """
        if code == ErrorCode.NO_ERROR and self._stream.ended_receiving:
            self._lose_soon(None)
        else:
            self._lose_soon(ConnectionResetError(f"RST_STREAM with code {code}{': ' if detail else ''}{detail}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection was lost. Without END_STREAM, that is no end in good order, even if it was FIN."""
        if exc is None and not self._stream.ended_receiving:
            exc = ConnectionResetError("the connection was closed before the end of the stream")
        self._lose_soon(exc)

    # Reading.

    def pause_reading(self) -> None:
        if not self._paused and not self._closing:
            self._paused = True
            self._stream.pause_receiving()

    def resume_reading(self) -> None:
        if not self._paused or self._closing:
            return
        self._paused = False
        if self._kept is not None or self._stream.ended_receiving:
            # Not at once, because the caller of resume_reading() does not expect data_received() before it returns.
            self._loop.call_soon(self._deliver_kept)
        else:
            self._stream.resume_receiving()

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def _deliver_kept(self) -> None:
        if self._paused or self._closing:
            return
        kept, self._kept = self._kept, None
        if kept is not None:
            self._protocol.data_received(bytes(kept))
        # The protocol may have paused or closed.
        if self._paused or self._closing:
            return
        # Only now: what is kept never exceeds one window.
        self._stream.resume_receiving()
        if self._stream.ended_receiving:
            self._deliver_end()

    def _deliver_end(self) -> None:
        if self._paused or self._closing or self._eof_delivered:
            return
        self._eof_delivered = True
        if not self._protocol.eof_received():
            self.close()

    # Writing.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self._sent_eof and not self._closing:
            self._stream.send_data([bytes(data)], False)

    def writelines(self, pieces: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        """Send END_STREAM after what was written. The peer may still send."""
        if not self._sent_eof and not self._closing:
            self._sent_eof = True
            self._stream.send_data([], True)

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return self._stream.pending_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = self._stream.connection.limits.in_flight if low is None else _LOW_PART * low
        self._low = high // _LOW_PART if low is None else low
        self._high = high
        self.writing_changed()

    # Closing, and the rest of the interface.

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._kept = None
        # What still comes is discarded. Without this, a peer that reads slowly could send for ever.
        self._stream.pause_receiving()
        if not self._sent_eof:
            self._sent_eof = True
            self._stream.send_data([], True)  # Calls `end_sent` if nothing waits.
        elif not self._stream.pending_bytes:
            self._end_close()

    def _end_close(self) -> None:
        """End the stream, because everything was sent. If the peer has not ended its side, it is asked not to continue."""
        if not self._is_lost:
            self._stream.reset(ErrorCode.NO_ERROR)
            self._lose_soon(None)

    def abort(self) -> None:
        if not self._is_lost:
            self._closing = True
            self._kept = None
            self._stream.reset(ErrorCode.CANCEL)
            self._lose_soon(None)

    def is_closing(self) -> bool:
        return self._closing

    def _lose_soon(self, exc: Exception | None) -> None:
        """Report the end in the next turn of the event loop: the caller may be in a call of the protocol."""
        if not self._is_lost:
            self._is_lost = True
            if not self._closing:
                # A socket that was reset still yields what came before.
                self._closing = True
                self._loop.call_soon(self._lose, exc, True)
            else:
                self._loop.call_soon(self._lose, exc, False)

    def _lose(self, exc: Exception | None, with_rest: bool) -> None:
        # Cleared first, so that the protocol can be collected, and is not called again.
        protocol, self._protocol = self._protocol, None
        kept, self._kept = self._kept, None
        if protocol is not None:
            if with_rest and kept is not None:
                protocol.data_received(bytes(kept))
            if with_rest and self._stream.ended_receiving and not self._eof_delivered:
                protocol.eof_received()
            protocol.connection_lost(exc)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        # The socket belongs to all streams of the connection: nobody may reset it, or read what the kernel has sent.
        transport = self._stream.connection.transport
        return default if name == "socket" or transport is None else transport.get_extra_info(name, default)

"""Reads the frames of an HTTP/2 connection, and checks each by itself (RFC 9113 sections 4 and 6)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, cast

from albkit.model.limits import Limits
from albkit.proxy.http2.flood_guard import PER_USEFUL_FRAME, FloodGuard
from albkit.wire.http2 import frames
from albkit.wire.http2.frames import MAX_FRAME, ErrorCode, Http2Error, StreamError
from albkit.wire.http2.hpack_decoder import HpackDecoder

__all__ = ("FrameReader",)

_FRAMES_PER_TURN: Final = 250
"""Frames that are read in one turn of the event loop. Then other connections are served first."""
_DECODED_PER_FRAME: Final = 6
"""Bytes of decoded fields that count as one more frame, as a shift: a small block can hold a thousand references to fields."""
_HEAD: Final = 9
"""Bytes of the head of a frame."""
_ID: Final = 0x7FFFFFFF
_WHOLE_REQUEST: Final = frames.END_HEADERS | frames.END_STREAM


class _HeaderBlock:
    """A header block that continues in CONTINUATION frames."""

    __slots__ = ("block", "ended", "stream_id")

    def __init__(self, stream_id: int, ended: bool, block: bytes) -> None:
        self.stream_id = stream_id
        self.ended = ended
        self.block = bytearray(block)


class FrameReader(asyncio.Protocol):
    """Finds the frames in what arrives. `Http2Connection` says what they do, and creates `decoder`.

    Args:
        loop: The event loop.
        limits: The limits in force when the connection was made.
        awaits_preface: Whether the peer begins with the client's preface.
    """

    __slots__ = (
        "_is_resting",
        "_loop",
        "_preface_left",
        "_received",
        "_settings_seen",
        "decoder",
        "guard",
        "header_block",
        "is_active",
        "is_ending",
        "is_paused",
        "largest_block",
        "limits",
        "transport",
    )

    decoder: HpackDecoder

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits, *, awaits_preface: bool) -> None:
        self._loop = loop
        self.limits = limits
        self.guard = FloodGuard(limits)
        self.transport: asyncio.Transport | None = None
        """`None` before the connection is made, and after it is lost."""
        self.is_ending = False
        """Whether the connection takes no more frames: it failed, or its end was sent."""
        self.is_active = False
        """Whether HEADERS or DATA came since the last sweep. A PING is no activity (docs/alb.md 2.2)."""
        self.header_block: _HeaderBlock | None = None
        """A header block that has begun."""
        self.largest_block = limits.request_head
        """Bytes of a header block that comes in several frames."""
        self._received = b""
        """The beginning of a frame."""
        self._preface_left = frames.PREFACE if awaits_preface else b""
        self._settings_seen = False
        self._is_resting = False
        self.is_paused = False
        """Whether the connection is not read for another reason than a rest. A subclass changes this."""

    # What the frames do. `Http2Connection` implements these.

    def fail(self, error: Http2Error) -> None:
        """End the connection with GOAWAY: the peer has violated the protocol, or exceeds a limit."""
        raise NotImplementedError

    def stream_violated(self, stream_id: int, error: StreamError) -> None:
        """Reset a stream whose peer has violated the protocol."""
        raise NotImplementedError

    def data_frame_received(self, stream_id: int, data: bytes, size: int, ended: bool) -> None:
        """DATA came. `size` includes the padding: all of it counts for flow control (RFC 9113 section 6.1)."""
        raise NotImplementedError

    def headers_received(self, stream_id: int, block: bytes, ended: bool) -> None:
        """Take a whole header block. It must be decoded, or the decoder's table would differ from that of the peer.

        Raises:
            Http2Error: the connection cannot continue.
            StreamError: only the stream cannot.
        """
        raise NotImplementedError

    def window_update_received(self, stream_id: int, increment: int) -> None:
        """A window has grown: that of a stream, or of the connection if the number is 0. The increment may be 0, which is an error."""
        raise NotImplementedError

    def rst_stream_received(self, stream_id: int, code: int) -> None:
        """The peer has reset a stream."""
        raise NotImplementedError

    def settings_frame_received(self, settings: Sequence[tuple[int, int]]) -> None:
        """The peer has sent settings, which are valid."""
        raise NotImplementedError

    def settings_acknowledged(self) -> None:
        """The peer has put the settings of this side into force."""
        raise NotImplementedError

    def ping_received(self, payload: bytes) -> None:
        """The peer expects an answer."""
        raise NotImplementedError

    def ping_acknowledged(self) -> None:
        """The peer has answered a PING."""

    def goaway_received(self, last_stream: int, code: int, debug: bytes) -> None:
        """The peer takes no more streams."""

    def is_idle_stream(self, stream_id: int) -> bool:
        """Whether no stream of that number was ever opened (RFC 9113 section 5.1)."""
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
        self.continue_reading()

    def continue_reading(self) -> None:
        """Read again, unless there is still a reason not to."""
        transport = self.transport
        if transport is not None and not (self._is_resting or self.is_paused or transport.is_closing()):
            transport.resume_reading()

    def eof_received(self) -> bool:
        return False

    # Frames.

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
        decoder = self.decoder
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
                elif kind == frames.HEADERS and flags == _WHOLE_REQUEST and stream_id:
                    # Most requests: one frame, without padding, priority or a body.
                    self.is_active = True
                    self.headers_received(stream_id, data[start:end], True)
                elif kind == frames.HEADERS:
                    self._headers(data, start, end, flags, stream_id)
                else:
                    self._other(kind, data[start:end], flags, stream_id)
            except StreamError as error:
                self.stream_violated(stream_id, error)
            if self.is_ending:
                return b""
            left -= 1
            if decoder.decoded_bytes:
                left -= decoder.decoded_bytes >> _DECODED_PER_FRAME
                decoder.decoded_bytes = 0
            if left <= 0 and size - position >= _HEAD:
                self._rest()
                break
        return data[position:] if position else data

    def _rest(self) -> None:
        transport = self.transport
        if transport is not None and not transport.is_closing():
            self._is_resting = True
            transport.pause_reading()

    def _data(self, data: bytes, start: int, end: int, flags: int, stream_id: int) -> None:
        size = end - start
        if flags & frames.PADDED:
            start, end = frames.strip_padding(data, start, end)
        self.is_active = True
        ended = bool(flags & frames.END_STREAM)
        if start == end and not ended:
            self.guard.control_frame()
        else:
            self.guard.earned += PER_USEFUL_FRAME
        self.data_frame_received(stream_id, data[start:end], size, ended)

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
        if len(block.block) > self.largest_block:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, f"a header block of more than {self.largest_block} bytes")
        if flags & frames.END_HEADERS:
            self.header_block = None
            self.headers_received(block.stream_id, bytes(block.block), block.ended)

    def _window_update(self, payload: bytes, stream_id: int) -> None:
        if len(payload) != 4:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE")
        self.guard.control_frame()
        self.window_update_received(stream_id, int.from_bytes(payload, "big") & _ID)

    def _rst_stream(self, payload: bytes, stream_id: int) -> None:
        if len(payload) != 4:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM")
        if not stream_id or self.is_idle_stream(stream_id):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "RST_STREAM of an idle stream")
        self.guard.stream_reset()
        self.rst_stream_received(stream_id, int.from_bytes(payload, "big"))

    def _settings(self, payload: bytes, flags: int, stream_id: int) -> None:
        if stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "SETTINGS of a stream")
        self.guard.control_frame()
        if not flags & frames.ACK:
            settings = frames.read_settings(payload)
            self._settings_seen = True
            self.settings_frame_received(settings)
        elif payload:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS with ACK and a payload")
        else:
            self.settings_acknowledged()

    def _ping(self, payload: bytes, flags: int, stream_id: int) -> None:
        if stream_id or len(payload) != 8:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR if stream_id else ErrorCode.FRAME_SIZE_ERROR, "PING")
        self.guard.control_frame()
        if flags & frames.ACK:
            self.ping_acknowledged()
        else:
            self.ping_received(payload)

    def _priority(self, payload: bytes, stream_id: int) -> None:
        if not stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        self.guard.control_frame()
        # For the stream these would be errors of the stream. But it may be idle, and then RST_STREAM must not be sent.
        if len(payload) != 5:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY")
        if int.from_bytes(payload[:4], "big") & _ID == stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")

"""One HTTP/2 connection with one stream, for a health check (RFC 9113). Everything that the target sends is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from albkit.errors import Failure
from albkit.wire.http2 import frames
from albkit.wire.http2.fields import trailer_lines
from albkit.wire.http2.frames import DEFAULT_WINDOW, MAX_FRAME, ErrorCode, Http2Error, StreamError
from albkit.wire.http2.hpack_decoder import HpackDecoder
from albkit.wire.http2.hpack_encoder import encode_field
from albkit.wire.http2.response import response_head

__all__ = ("ENABLE_HTTP2", "ProbeStream")

_STREAM: Final = 1
"""The one stream of the connection; those of a client have odd numbers (RFC 9113 section 5.1.1)."""
_FRAME_HEAD = 9
"""Bytes of a frame before its payload."""
_LARGEST_HEADERS = 32 * 1024
"""Bytes of a header section, as sent, and as decoded."""
_OPENING: Final = frames.PREFACE + frames.settings_frame(
    ((frames.SETTINGS_ENABLE_PUSH, 0), (frames.SETTINGS_MAX_HEADER_LIST_SIZE, _LARGEST_HEADERS)),
)
_MOST_FRAMES = 500
"""Frames of the target in all; a server sends about ten for a small response."""
_MOST_BYTES = 256 * 1024
"""Bytes of all these frames."""
_MOST_INTERIM = 10
_SHOWN = 60

ENABLE_HTTP2: Final = "enable HTTP/2 on it, or set the group's protocol_version to HTTP1"
"""What to do about a target that does not use HTTP/2."""


class ProbeStream:
    """A connection to a target for one request over HTTP/2.

    Call `open`, then `send`, then `read_head` or `read_to_end`, and at last `close`. Time is bounded by the caller, everything else here.
    All of them raise `ConnectionError` with a description if the target breaks a rule, exceeds a bound, or ends the connection or the
    stream too early.

    Args:
        reader: The connection, TLS removed.
        writer: The same.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = HpackDecoder(_LARGEST_HEADERS, _LARGEST_HEADERS)
        self.target_window = DEFAULT_WINDOW
        """Bytes of DATA that the target accepts, by its SETTINGS."""
        self.offers_extended_connect = False
        """Whether the target's SETTINGS offer extended CONNECT (RFC 8441)."""
        self.status = 0
        """The status of the final response; 0 before it."""
        self.fields: list[tuple[bytes, bytes]] = []
        """The fields of the final response, later also those of the trailers."""
        self.body = bytearray()
        self.has_ended = False
        """Whether the target ended its half of the stream."""
        self._has_settings = False
        self._frames = self._bytes = self._interim = 0
        self._window = DEFAULT_WINDOW
        self._block = bytearray()
        """The header section that is being received."""
        self._block_goes_on = False
        """Whether a CONTINUATION frame must come next."""
        self._block_ends = False
        """Whether END_STREAM is set on that header section."""
        self._goaway = ""
        """What a GOAWAY of the target says."""
        self._is_open = self._has_sent = self._has_closed = False
        """Whether we have opened the connection, opened the stream, and ended our half of it."""

    def open(self) -> None:
        """Send the preface and SETTINGS. A client need not wait for those of the server (RFC 9113 section 3.4)."""
        self._write(_OPENING)
        self._is_open = True

    def send(self, fields: Iterable[tuple[bytes, bytes]], body: bytes = b"", *, end: bool = True) -> None:
        """Send the request.

        Args:
            fields: The pseudo-header fields, then the others.
            body: At most the initial window of the target.
            end: Whether the stream ends with it.
        """
        block = b"".join([encode_field(name, value) for name, value in fields])
        self._write(b"".join(frames.headers_frames(_STREAM, block, end_stream=end and not body, max_frame=MAX_FRAME)))
        self._has_sent, self._has_closed = True, end
        if body:
            self.send_data(body, end=end)

    def send_data(self, data: bytes, *, end: bool) -> None:
        """Send one DATA frame."""
        self._has_closed = end
        self._write(frames.frame(frames.DATA, frames.END_STREAM if end else 0, _STREAM, data))

    async def read_settings(self) -> None:
        """Wait for the target's SETTINGS."""
        while not self._has_settings:
            await self._read_frame()

    async def read_head(self) -> int:
        """Wait for the head of the final response, and return its status."""
        while not self.status:
            await self._read_frame()
        return self.status

    async def read_to_end(self) -> None:
        """Wait until the target has ended the stream."""
        while not self.has_ended:
            if not self._window:
                raise ConnectionError(f"the target's answer has a body of more than {DEFAULT_WINDOW - 1} bytes")
            await self._read_frame()

    async def close(self, patience: float) -> None:
        """Let the target finish its response, and close so that it sees the end of a connection that is in order.

        A reset, or a stream without an end, would show up in the log of the target at every check.

        Args:
            patience: Seconds for all of it.
        """
        with suppress(OSError, EOFError):  # TimeoutError is an OSError.
            async with asyncio.timeout(patience):
                with suppress(OSError):
                    async with asyncio.timeout(patience / 2):
                        if self._has_closed:
                            await self.read_to_end()
                if self._has_sent and not self.has_ended:
                    self._write(frames.rst_stream(_STREAM, ErrorCode.CANCEL))
                if self._is_open:
                    self._send_goaway(ErrorCode.NO_ERROR)
                if self._writer.is_closing():
                    return
                if not self._writer.can_write_eof():
                    # TLS: this sends close_notify, and reads until the target has sent its own. Some servers send none (grpcio).
                    self._writer.close()
                    async with asyncio.timeout(patience / 4):
                        await self._writer.wait_closed()
                    return
                self._writer.write_eof()
                left = DEFAULT_WINDOW
                while left > 0 and (data := await self._reader.read(MAX_FRAME)):
                    left -= len(data)

    async def _read_frame(self) -> None:
        """Read one frame and act on it."""
        try:
            await self._read_one()
        except asyncio.IncompleteReadError as error:
            raise ConnectionError(self._goaway or self._cut(error.partial)) from None
        except (Http2Error, StreamError) as error:
            self._send_goaway(error.code)
            raise ConnectionError(f"the target breaks the rules of HTTP/2: {error.reason} ({error.code.name})") from None

    async def _read_one(self) -> None:
        head = await self._reader.readexactly(_FRAME_HEAD)
        size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        stream = int.from_bytes(head[5:], "big") & 0x7FFFFFFF
        if not self._has_settings and (kind != frames.SETTINGS or stream or flags & frames.ACK or size > MAX_FRAME):
            raise ConnectionError(_describe(head))
        if size > MAX_FRAME:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, f"a frame has more than {MAX_FRAME} bytes")
        self._frames += 1
        self._bytes += _FRAME_HEAD + size
        if self._frames > _MOST_FRAMES or self._bytes > _MOST_BYTES:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, f"it sends more than {_MOST_FRAMES} frames or {_MOST_BYTES} bytes")
        payload = await self._reader.readexactly(size)
        if self._block_goes_on is not (kind == frames.CONTINUATION):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "CONTINUATION is missing or follows no HEADERS")
        if kind in _OF_STREAM:
            if stream != _STREAM:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, f"a frame belongs to stream {stream}, which is not open")
        elif kind in _OF_CONNECTION and stream:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a frame of the connection names a stream")
        self._act(kind, flags, payload)

    def _act(self, kind: int, flags: int, payload: bytes) -> None:
        match kind:
            case frames.DATA:
                self._on_data(flags, payload)
            case frames.HEADERS:
                self._on_headers(flags, payload)
            case frames.CONTINUATION:
                self._on_header_block(flags, payload)
            case frames.RST_STREAM:
                self._on_reset(payload)
            case frames.SETTINGS:
                self._on_settings(flags, payload)
            case frames.PING:
                self._on_ping(flags, payload)
            case frames.GOAWAY:
                self._on_goaway(payload)
            case frames.PUSH_PROMISE:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "it sends PUSH_PROMISE, which the settings forbid")
            case _:
                pass  # PRIORITY, WINDOW_UPDATE and unknown frames change nothing here.

    def _on_data(self, flags: int, payload: bytes) -> None:
        self._window -= len(payload)
        if self._window < 0:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "it sends more than the window allows")
        if not self.status:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "DATA comes before the head of the response")
        self.body += _without_padding(flags, payload)
        self.has_ended = bool(flags & frames.END_STREAM)

    def _on_headers(self, flags: int, payload: bytes) -> None:
        payload = _without_padding(flags, payload)
        if flags & frames.PRIORITY_FLAG:
            if len(payload) < 5:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "HEADERS are too short for their priority")
            payload = payload[5:]
        self._block = bytearray()
        self._block_ends = bool(flags & frames.END_STREAM)
        self._on_header_block(flags, payload)

    def _on_header_block(self, flags: int, payload: bytes) -> None:
        self._block += payload
        if len(self._block) > _LARGEST_HEADERS:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, f"a header section has more than {_LARGEST_HEADERS} bytes")
        self._block_goes_on = not flags & frames.END_HEADERS
        if not self._block_goes_on:
            self._on_fields(self._decoder.decode(bytes(self._block)))
            self.has_ended = self._block_ends

    def _on_fields(self, fields: list[tuple[bytes, bytes]]) -> None:
        """A whole header section: an interim response, the head of the final one, or trailers."""
        if self.status:
            if not self._block_ends:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "the trailers do not end the stream")
            trailer_lines(fields)
            self.fields += fields
            return
        try:
            status = response_head(fields, "GET", ended=self._block_ends).status
        except Failure as error:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, f"the head of the response is malformed, {error.detail}") from None
        if status >= 200:
            self.status, self.fields = status, fields[1:]
            return
        self._interim += 1
        if self._interim > _MOST_INTERIM:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, f"it sends more than {_MOST_INTERIM} interim responses")

    def _on_reset(self, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM does not have 4 bytes")
        self.has_ended = True
        raise ConnectionError(f"the target reset the stream ({_name(payload)})")

    def _on_settings(self, flags: int, payload: bytes) -> None:
        if flags & frames.ACK:
            if payload:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "the acknowledgement of SETTINGS is not empty")
            return
        for name, value in frames.read_settings(payload):
            if name == frames.SETTINGS_INITIAL_WINDOW_SIZE:
                self.target_window = value
            elif name == frames.SETTINGS_ENABLE_CONNECT_PROTOCOL:
                self.offers_extended_connect = value == 1
        self._has_settings = True
        self._write(frames.SETTINGS_ACK)

    def _on_ping(self, flags: int, payload: bytes) -> None:
        if len(payload) != 8:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "PING does not have 8 bytes")
        if not flags & frames.ACK:
            self._write(frames.ping(payload, ack=True))

    def _on_goaway(self, payload: bytes) -> None:
        if len(payload) < 8:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY has less than 8 bytes")
        said = f": {payload[8:][:_SHOWN]!r}" if payload[8:] else ""
        self._goaway = f"the target closed the connection with GOAWAY ({_name(payload[4:8])}{said})"
        if int.from_bytes(payload[:4], "big") & 0x7FFFFFFF < _STREAM:
            raise ConnectionError(self._goaway)

    def _send_goaway(self, code: ErrorCode) -> None:
        """Say that no more frames come, and that no stream of the target was processed."""
        self._write(frames.goaway(0, code))

    def _write(self, data: bytes) -> None:
        # A write to a lost connection raises RuntimeError in uvloop. What has come before the loss can still be read.
        if not self._writer.is_closing():
            self._writer.write(data)

    def _cut(self, partial: bytes) -> str:
        if self._has_settings:
            return "the target closed the connection without a whole answer"
        return _describe(partial) if partial else "the target closed the connection without sending HTTP/2"


_OF_STREAM: Final = frozenset((frames.DATA, frames.HEADERS, frames.RST_STREAM, frames.CONTINUATION))
_OF_CONNECTION: Final = frozenset((frames.SETTINGS, frames.PING, frames.GOAWAY))


def _describe(beginning: bytes) -> str:
    """Say what a target sends that does not begin with SETTINGS."""
    if beginning.startswith(b"HTTP/"):
        return f"the target answers in HTTP/1; {ENABLE_HTTP2}"
    if beginning[:2] == b"\x15\x03":
        return "the target answers with a TLS alert; it may expect TLS, so set the protocol to HTTPS"
    return f"the target does not answer in HTTP/2; it begins with {beginning!r}"


def _without_padding(flags: int, payload: bytes) -> bytes:
    if not flags & frames.PADDED:
        return payload
    start, end = frames.strip_padding(payload, 0, len(payload))
    return payload[start:end]


def _name(code: bytes) -> str:
    number = int.from_bytes(code, "big")
    try:
        return ErrorCode(number).name
    except ValueError:
        return f"code {number}"

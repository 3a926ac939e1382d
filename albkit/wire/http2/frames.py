"""Frames of HTTP/2 (RFC 9113): their numbers, error codes, and functions that build and check them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final

__all__ = (
    "ACK",
    "CONTINUATION",
    "DATA",
    "DEFAULT_WINDOW",
    "END_HEADERS",
    "END_STREAM",
    "GOAWAY",
    "HEADERS",
    "LARGEST_WINDOW",
    "MAX_FRAME",
    "PADDED",
    "PING",
    "PREFACE",
    "PRIORITY",
    "PRIORITY_FLAG",
    "PUSH_PROMISE",
    "RST_STREAM",
    "SETTINGS",
    "SETTINGS_ACK",
    "SETTINGS_ENABLE_CONNECT_PROTOCOL",
    "SETTINGS_ENABLE_PUSH",
    "SETTINGS_HEADER_TABLE_SIZE",
    "SETTINGS_INITIAL_WINDOW_SIZE",
    "SETTINGS_MAX_CONCURRENT_STREAMS",
    "SETTINGS_MAX_FRAME_SIZE",
    "SETTINGS_MAX_HEADER_LIST_SIZE",
    "WINDOW_UPDATE",
    "ErrorCode",
    "Http2Error",
    "StreamError",
    "frame",
    "goaway",
    "headers_frames",
    "ping",
    "read_settings",
    "rst_stream",
    "settings_frame",
    "strip_padding",
    "unpack_head",
    "window_update",
)

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first bytes of a client (RFC 9113 section 3.4)."""

# Frame types (RFC 9113 section 6).
DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

# Flags.
END_STREAM: Final = 0x01
ACK: Final = 0x01
END_HEADERS: Final = 0x04
PADDED: Final = 0x08
PRIORITY_FLAG: Final = 0x20

# Settings (RFC 9113 section 6.5.2, RFC 8441 section 3).
SETTINGS_HEADER_TABLE_SIZE: Final = 1
SETTINGS_ENABLE_PUSH: Final = 2
SETTINGS_MAX_CONCURRENT_STREAMS: Final = 3
SETTINGS_INITIAL_WINDOW_SIZE: Final = 4
SETTINGS_MAX_FRAME_SIZE: Final = 5
SETTINGS_MAX_HEADER_LIST_SIZE: Final = 6
SETTINGS_ENABLE_CONNECT_PROTOCOL: Final = 8

MAX_FRAME: Final = 16_384
"""Bytes of a frame's payload, unless the receiver allows more in its settings (RFC 9113 section 4.2)."""
DEFAULT_WINDOW: Final = 65_535
"""Bytes. The flow-control window of a connection and of each stream at the start (RFC 9113 section 6.9.2)."""
LARGEST_WINDOW: Final = 2**31 - 1
"""Bytes. A window must not grow beyond this (RFC 9113 section 6.9.1)."""

_LARGEST_FRAME: Final = 2**24 - 1
_MAX_SETTINGS: Final = 32
"""Entries of one SETTINGS frame. Eight settings are in use; each entry costs work, and a frame can hold 2,730."""

_HEAD = struct.Struct(">HBBBL")
_SETTING = struct.Struct(">HL")
_TWO_NUMBERS = struct.Struct(">LL")

unpack_head = _HEAD.unpack_from
"""Unpack the nine bytes before a payload: the upper 16 bits of its length, the lower 8, the type, the flags and the stream identifier. The
caller ignores the highest bit of the identifier (RFC 9113 section 4.1)."""


class ErrorCode(IntEnum):
    """Why a stream or connection ends (RFC 9113 section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class Http2Error(Exception):
    """The peer broke the protocol. Send GOAWAY with the code, and close the connection (RFC 9113 section 5.4.1)."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        """For the log."""

    def __str__(self) -> str:
        return f"{self.code.name}: {self.reason}"


class StreamError(Exception):
    """One stream is broken. Send RST_STREAM with the code; the connection goes on (RFC 9113 section 5.4.2)."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        """For the log."""

    def __str__(self) -> str:
        return f"{self.code.name}: {self.reason}"


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return a frame. The caller makes sure that the receiver allows a payload of this size."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream_id) + payload


SETTINGS_ACK: Final = frame(SETTINGS, ACK, 0)


def settings_frame(settings: Mapping[int, int] | Sequence[tuple[int, int]]) -> bytes:
    """Return a SETTINGS frame with these identifiers and values."""
    pairs = settings.items() if isinstance(settings, Mapping) else settings
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in pairs))


def window_update(stream_id: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame.

    Args:
        stream_id: 0 for the window of the connection.
        increment: Bytes, from 1 to 2,147,483,647.
    """
    return _HEAD.pack(0, 4, WINDOW_UPDATE, 0, stream_id) + increment.to_bytes(4, "big")


def rst_stream(stream_id: int, code: int) -> bytes:
    """Return a RST_STREAM frame."""
    return _HEAD.pack(0, 4, RST_STREAM, 0, stream_id) + code.to_bytes(4, "big")


def goaway(last_stream_id: int, code: int, debug: bytes = b"") -> bytes:
    """Return a GOAWAY frame.

    Args:
        last_stream_id: The highest stream that was or may yet be processed.
        code: The error code.
        debug: A text for the peer's log.
    """
    return frame(GOAWAY, 0, 0, _TWO_NUMBERS.pack(last_stream_id, code) + debug)


def ping(payload: bytes, ack: bool) -> bytes:
    """Return a PING frame with eight bytes of payload, or the answer to one."""
    return frame(PING, ACK if ack else 0, 0, payload)


def headers_frames(stream_id: int, block: bytes, *, end_stream: bool, max_frame: int) -> list[bytes]:
    """Return a field block as pieces to write one after the other: a HEADERS frame, with CONTINUATION frames if it is too large for one.

    No other frame of the connection may come in between (RFC 9113 section 6.10).

    Args:
        stream_id: The stream.
        block: The encoded fields.
        end_stream: Whether nothing follows on this stream.
        max_frame: The largest payload that the peer accepts: its SETTINGS_MAX_FRAME_SIZE.
    """
    size = len(block)
    if size <= max_frame:
        return [_HEAD.pack(size >> 8, size & 0xFF, HEADERS, END_HEADERS | end_stream, stream_id) + block]
    pieces = [frame(HEADERS, int(end_stream), stream_id, block[:max_frame])]
    last = (size - 1) // max_frame * max_frame
    pieces += [frame(CONTINUATION, 0, stream_id, block[start : start + max_frame]) for start in range(max_frame, last, max_frame)]
    pieces.append(frame(CONTINUATION, END_HEADERS, stream_id, block[last:]))
    return pieces


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Return identifiers and values of a SETTINGS frame, in their order. Unknown identifiers are among them; the caller ignores those.

    Raises:
        Http2Error: The length is wrong, a value is out of range, or there are more than 32 entries (RFC 9113 section 6.5.2).
    """
    if len(payload) % _SETTING.size:
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
    if len(payload) > _MAX_SETTINGS * _SETTING.size:
        raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, f"SETTINGS with more than {_MAX_SETTINGS} entries")
    settings: list[tuple[int, int]] = list(_SETTING.iter_unpack(payload))
    for setting, value in settings:
        if setting == SETTINGS_INITIAL_WINDOW_SIZE:
            if value > LARGEST_WINDOW:
                raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, f"SETTINGS_INITIAL_WINDOW_SIZE {value}")
        elif setting in (SETTINGS_ENABLE_PUSH, SETTINGS_ENABLE_CONNECT_PROTOCOL):
            if value > 1:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, f"setting {setting} must be 0 or 1, not {value}")
        elif setting == SETTINGS_MAX_FRAME_SIZE and not MAX_FRAME <= value <= _LARGEST_FRAME:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE {value}")
    return settings


def strip_padding(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Return where the payload of a DATA or HEADERS frame with the PADDED flag begins and ends without its padding.

    Args:
        data: Received bytes.
        start: Where the payload begins.
        end: Where it ends.

    Raises:
        Http2Error: The padding does not fit into the payload (RFC 9113 section 6.1).
    """
    if start >= end:
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "a padded frame is empty")
    end -= data[start]
    if end <= start:
        raise Http2Error(ErrorCode.PROTOCOL_ERROR, "the padding is larger than the frame")
    return start + 1, end

"""HTTP/2 frames as bytes, right or wrong: nothing here is checked, so that a test can send what no library would build.

Field blocks are literals without indexing and without Huffman coding (RFC 7541, section 6.2.2). They need no state: a frame is a value, and
a table of cases can hold it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)
ENABLE_CONNECT_PROTOCOL = 8

(
    NO_ERROR,
    PROTOCOL_ERROR,
    INTERNAL_ERROR,
    FLOW_CONTROL_ERROR,
    SETTINGS_TIMEOUT,
    STREAM_CLOSED,
    FRAME_SIZE_ERROR,
    REFUSED_STREAM,
    CANCEL,
    COMPRESSION_ERROR,
    CONNECT_ERROR,
    ENHANCE_YOUR_CALM,
    INADEQUATE_SECURITY,
    HTTP_1_1_REQUIRED,
) = range(14)

Field = tuple[str, str]
"""Name and value; latin-1 on the wire."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Any frame. `stream` may have the reserved bit set."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def integer(value: int, bits: int, first: int) -> bytes:
    """An HPACK integer with a prefix of so many bits; `first` holds the other bits of the first byte."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    out = bytearray([first | limit])
    value -= limit
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value: str | bytes) -> bytes:
    """An HPACK string without Huffman coding."""
    raw = value.encode("latin-1") if isinstance(value, str) else value
    return integer(len(raw), 7, 0) + raw


def literal(name: str, value: str, *, first: int = 0x00) -> bytes:
    """A literal field with a new name: 0x00 without indexing, 0x40 with indexing, 0x10 never indexed."""
    return bytes([first]) + text(name) + text(value)


def block(fields: Iterable[Field]) -> bytes:
    """A field block."""
    return b"".join(literal(name, value) for name, value in fields)


def request_fields(method: str = "GET", path: str = "/", *more: Field, authority: str = "example.com", scheme: str = "http") -> list[Field]:
    """The fields of a request."""
    return [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority), *more]


def padded(payload: bytes, padding: int | None) -> bytes:
    """The payload of a frame with the PADDED flag; without the flag if `padding` is None."""
    return payload if padding is None else bytes([padding]) + payload + bytes(padding)


def data(stream: int, payload: bytes = b"test", *, end: bool = False, padding: int | None = None) -> bytes:
    """DATA."""
    return frame(DATA, END_STREAM * end | PADDED * (padding is not None), stream, padded(payload, padding))


def headers(
    stream: int,
    fields: bytes | Iterable[Field],
    *,
    end: bool = True,
    whole: bool = True,
    padding: int | None = None,
    priority: bytes | None = None,
) -> bytes:
    """HEADERS with these fields or this block; `whole` is END_HEADERS, `priority` what `dependency` gives."""
    payload = (priority or b"") + (fields if isinstance(fields, bytes) else block(fields))
    flags = END_STREAM * end | END_HEADERS * whole | PADDED * (padding is not None) | PRIORITIZED * (priority is not None)
    return frame(HEADERS, flags, stream, padded(payload, padding))


def continuation(stream: int, fields: bytes | Iterable[Field], *, whole: bool = True) -> bytes:
    """CONTINUATION."""
    return frame(CONTINUATION, END_HEADERS * whole, stream, fields if isinstance(fields, bytes) else block(fields))


def dependency(stream: int = 0, *, weight: int = 16, exclusive: bool = False) -> bytes:
    """The five bytes of a priority."""
    return struct.pack(">IB", stream | exclusive << 31, weight - 1)


def priority(stream: int, on: int = 0, *, weight: int = 16, exclusive: bool = False) -> bytes:
    """PRIORITY."""
    return frame(PRIORITY, 0, stream, dependency(on, weight=weight, exclusive=exclusive))


def rst_stream(stream: int, code: int = CANCEL) -> bytes:
    """RST_STREAM."""
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def settings(*pairs: tuple[int, int], ack: bool = False) -> bytes:
    """SETTINGS: identifiers and values."""
    return frame(SETTINGS, ACK * ack, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def ping(payload: bytes = b"12345678", *, ack: bool = False, stream: int = 0) -> bytes:
    """PING."""
    return frame(PING, ACK * ack, stream, payload)


def go_away(last: int = 0, code: int = NO_ERROR, *, stream: int = 0) -> bytes:
    """GOAWAY."""
    return frame(GOAWAY, 0, stream, struct.pack(">II", last, code))


def window_update(stream: int, increment: int) -> bytes:
    """WINDOW_UPDATE."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def get(stream: int = 1, path: str = "/", *more: Field, **options: bool) -> bytes:
    """A whole GET request."""
    return headers(stream, request_fields("GET", path, *more), **options)


def post(stream: int = 1, path: str = "/", *more: Field) -> bytes:
    """The head of a POST request, whose body follows."""
    return headers(stream, request_fields("POST", path, *more), end=False)

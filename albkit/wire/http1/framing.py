"""Finds the end of a message body (RFC 9112 sections 6 and 7): of a known length, chunked, or until the connection closes.

Each class takes the bytes of the connection and returns the data of the body. Bytes after the body are kept for the next message. Chunked
bodies are always decoded and encoded again. So what is forwarded has the same meaning for every server, no matter what the sender wrote.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from albkit.wire.http1.grammar import FIELD_LINE, TOKEN

__all__ = (
    "DROPPED_TRAILERS",
    "LAST_CHUNK",
    "MANY_CHUNKS",
    "MAX_TRAILERS",
    "REJECTED_TRAILERS",
    "Body",
    "ChunkedBody",
    "FramingError",
    "SizedBody",
    "UntilCloseBody",
    "encode_chunk",
    "encode_last_chunk",
)

LAST_CHUNK = b"0\r\n\r\n"

MANY_CHUNKS: Final = 500
"""Chunks and trailers that one call of `feed` decodes. A sender of tiny chunks would otherwise block the event loop for all connections."""
_MAX_STEPS = 2 * MANY_CHUNKS
"""Turns of the loop in one call of `feed`. Chunks in unusual form take several each."""
_MAX_PIECES = 16
"""More pieces than this are joined: for the code that sends them, each piece has a price."""

_TOKEN = TOKEN.pattern
_CHUNK_LINE = re.compile(
    rb'([0-9A-Fa-f]{1,16})(?:[ \t]*;[ \t]*%s(?:[ \t]*=[ \t]*(?:%s|"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"))?)*'
    % (_TOKEN, _TOKEN),
)
_MAX_CHUNK = 2**63 - 1
_MAX_LINE = 4096
"""Bytes of a chunk size with its extensions, which are dropped."""
_MAX_OVERHEAD = 64 * 1024
"""Bytes of chunk extensions in one body. Without a limit, a sender could keep the load balancer reading without sending data (the class of
CVE-2023-39326)."""
MAX_TRAILERS = 16 * 1024
"""Bytes of the trailers of one message."""

REJECTED_TRAILERS = frozenset(
    (
        b"transfer-encoding",
        b"content-length",
        b"host",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
        b"expect",
        b"content-encoding",
        b"content-type",
        b"content-range",
    ),
)
"""Fields for framing, routing and content processing must not be trailers (RFC 9110 section 6.5.1). The sender is broken or malicious, so
the body is rejected."""
DROPPED_TRAILERS = (b"x-forwarded-", b"x-amzn-", b"authorization", b"proxy-auth", b"cookie", b"set-cookie", b"forwarded")
"""Prefixes of fields for authentication and trust. As trailers they have not been checked, and a target that merges trailers into the
header fields would believe them."""


class FramingError(Exception):
    """The bytes do not match the framing of the body. The connection cannot be used any more."""


class Body(Protocol):
    """Decodes one body."""

    over: bool
    """Whether the end of the body was reached."""
    trailers: list[bytes]
    """The trailer fields to forward. Complete when `over` is true."""

    @property
    def is_behind(self) -> bool:
        """Whether `feed` has stopped before the end of what it was given. If so, call `feed(b"")` in a later turn of the event loop."""

    def feed(self, data: bytes) -> list[bytes]:
        """Decode the next bytes of the connection, and return the data in pieces.

        Raises:
            FramingError: the bytes do not match the framing.
        """

    def rest(self) -> bytes:
        """Return the bytes that were received after the end of the body."""

    def at_close(self) -> bool:
        """Whether the body is complete if the connection is closed now, by a FIN and not by a reset."""


_MAX_PLAIN_SIZE = 10
"""Bytes: up to 8 hexadecimal digits and CR LF. A chunk with more digits (4 GiB) is never received in one piece."""
# Shared by all bodies that cannot have trailers. Nothing may be appended to it.
_NO_TRAILERS: list[bytes] = []


class SizedBody:
    """A body of a known length."""

    __slots__ = ("_remaining", "_rest", "over", "trailers")

    is_behind: Final = False

    def __init__(self, length: int) -> None:
        self._remaining = length
        self._rest = b""
        self.over = length == 0
        self.trailers = _NO_TRAILERS

    def feed(self, data: bytes) -> list[bytes]:
        remaining = self._remaining - len(data)
        if remaining > 0:
            self._remaining = remaining
            return [data]
        self.over = True
        # A negative number of remaining bytes is an index from the end: where the next message begins.
        if remaining < 0:
            self._rest = data[remaining:]
            data = data[:remaining]
        self._remaining = 0
        return [data] if data else []

    def rest(self) -> bytes:
        return self._rest

    def at_close(self) -> bool:
        return self.over


class UntilCloseBody:
    """A response body that ends with its connection."""

    __slots__ = ("over", "trailers")

    is_behind: Final = False

    def __init__(self) -> None:
        self.over = False
        self.trailers = _NO_TRAILERS

    def feed(self, data: bytes) -> list[bytes]:
        return [data]

    def rest(self) -> bytes:
        return b""

    def at_close(self) -> bool:
        return True


def _take_whole_chunks(data: bytes, pos: int, pieces: list[bytes]) -> int:
    """The fast path: take chunks that are complete and in their usual form, which nearly all are.

    Args:
        data: The bytes.
        pos: Where in `data` to begin.
        pieces: The data of the chunks is appended to it.

    Returns:
        The position of the first other chunk.
    """
    find = data.find
    while len(pieces) < MANY_CHUNKS:
        end = find(b"\r\n", pos, pos + _MAX_PLAIN_SIZE)
        size = data[pos:end] if end > pos else b""
        # `int` also accepts signs, whitespace and underscores, which other servers do not (or read otherwise).
        if not size.isalnum() or size.translate(None, b"0123456789abcdefABCDEF"):
            return pos
        start = end + 2
        end = start + int(size, 16)
        if end == start or data[end : end + 2] != b"\r\n":
            return pos
        pieces.append(data[start:end])
        pos = end + 2
    return pos


class ChunkedBody:
    """A body in chunks, decoded (RFC 9112 section 7.1)."""

    __slots__ = ("_in_trailers", "_overhead", "_remaining", "_trailer_bytes", "_unread", "is_behind", "over", "trailers")

    def __init__(self) -> None:
        self._unread = b""
        """Bytes for the next call: the beginning of a line, or what `feed` did not get to. When `over`, the bytes after the body."""
        self._remaining = -1
        """Bytes of the current chunk still to come. 0 if only its CR LF is missing, -1 if a size (or a trailer) is next."""
        self._overhead = 0
        """Bytes of chunk extensions so far."""
        self._in_trailers = False
        self._trailer_bytes = 0
        self.is_behind = False
        self.over = False
        self.trailers: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        if self._unread:
            data = self._unread + data if data else self._unread
            self._unread = b""
        pieces = self._read(data)
        return pieces if len(pieces) <= _MAX_PIECES else [b"".join(pieces)]

    def _read(self, data: bytes) -> list[bytes]:
        # A turn of the loop handles one of: many whole chunks and the next line (size or trailer), data of a chunk, its CR LF.
        pieces: list[bytes] = []
        pos = steps = 0
        size = len(data)
        self.is_behind = False
        while pos < size and not self.over:
            steps += 1
            if len(pieces) >= MANY_CHUNKS or steps > _MAX_STEPS:
                self.is_behind = True
                break
            if self._remaining < 0 and not self._in_trailers:
                pos = _take_whole_chunks(data, pos, pieces)
                if pos == size:
                    break
            if self._remaining > 0:
                end = pos + self._remaining
                if end > size:
                    # Without a copy if the whole of `data` belongs to the chunk, as with large chunks.
                    pieces.append(data[pos:] if pos else data)
                    self._remaining = end - size
                    return pieces
                pieces.append(data[pos:end])
                self._remaining = 0
                pos = end
                continue
            if self._remaining == 0:
                # An LF alone is not accepted here either. Whether the CR is right is known without waiting for the LF.
                if size - pos < 2:
                    if data[pos] != 0x0D:
                        raise FramingError("a chunk is longer than its size")
                    break
                if data[pos : pos + 2] != b"\r\n":
                    raise FramingError("a chunk is longer than its size")
                self._remaining = -1
                pos += 2
                continue
            end = data.find(b"\n", pos)
            if end < 0:
                self._check_unfinished_line(data, pos)
                break
            # Some servers end lines with LF alone, others do not: chunks would then have two meanings (CVE-2025-22871).
            if data[end - 1 : end] != b"\r" or end - 1 < pos:
                raise FramingError("a line of the chunked coding ends without CR")
            self._take_line(data[pos : end - 1])
            pos = end + 1
        self._unread = data[pos:]
        return pieces

    def rest(self) -> bytes:
        return self._unread

    def at_close(self) -> bool:
        return self.over

    def _check_unfinished_line(self, data: bytes, pos: int) -> None:
        """Reject a line that can never become valid, instead of buffering it without limit."""
        # One more byte, for a CR at the end.
        if len(data) - pos > (MAX_TRAILERS if self._in_trailers else _MAX_LINE) + 1:
            raise FramingError("a line of the chunked coding is too long")
        if not self._in_trailers and data[pos] not in b"0123456789abcdefABCDEF":
            raise FramingError("a chunk has no size")

    def _take_line(self, line: bytes) -> None:
        if self._in_trailers:
            self._take_trailer(line)
            return
        match = _CHUNK_LINE.fullmatch(line) if len(line) <= _MAX_LINE else None
        if match is None:
            raise FramingError(f"invalid chunk size {line[:50]!r}")
        # Everything but the digits is counted, so that the limit also covers whitespace.
        self._overhead += len(line) - len(match[1])
        length = int(match[1], 16)
        # A larger number could overflow in a server that uses signed 64-bit integers, and become a small one there.
        if length > _MAX_CHUNK or self._overhead > _MAX_OVERHEAD:
            raise FramingError("a chunk is too large" if length > _MAX_CHUNK else "too many chunk extensions")
        if length:
            self._remaining = length
        else:
            self._in_trailers = True

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.over = True
            return
        self._trailer_bytes += len(line) + 2
        match = FIELD_LINE.fullmatch(line)
        if match is None or self._trailer_bytes > MAX_TRAILERS:
            raise FramingError(f"invalid trailer {line[:50]!r}, or more than {MAX_TRAILERS} bytes of trailers")
        name = match[1].lower()
        if name in REJECTED_TRAILERS:
            raise FramingError(f"the field {name.decode('ascii')} must not be a trailer")
        if not name.startswith(DROPPED_TRAILERS):
            self.trailers.append(b"%s: %s" % (match[1], match[2].strip(b" \t")))


def encode_chunk(pieces: list[bytes]) -> list[bytes]:
    """Encode data as one chunk. The data must not be empty: an empty chunk ends the body."""
    return [b"%x\r\n" % sum(map(len, pieces)), *pieces, b"\r\n"]


def encode_last_chunk(trailers: list[bytes]) -> bytes:
    """Encode the end of a chunked body.

    Args:
        trailers: Field lines without line ends; may be empty.
    """
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n" + b"\r\n".join(trailers) + b"\r\n\r\n"

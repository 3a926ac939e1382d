"""Where a body ends (RFC 9112 sections 6 and 7). Each body takes the bytes that came and gives back its data; what lies behind it is left.

Chunked bodies are always decoded and coded anew: what is sent on then has one reading only, whatever the sender wrote.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from albkit.wire.http1.grammar import FIELD_LINE, TOKEN

__all__ = (
    "LAST_CHUNK",
    "MANY_CHUNKS",
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
"""Chunks, and trailers, that are read at a time, so that a sender of tiny ones does not keep everybody else waiting."""
_MOST_STEPS = 2 * MANY_CHUNKS
"""Of chunks that are not plain each takes several."""
_FEW_PIECES = 16
"""More than that are put together at once: whoever sends them on pays for each."""

_TOKEN = TOKEN.pattern
_CHUNK_LINE = re.compile(
    rb'([0-9A-Fa-f]{1,16})(?:[ \t]*;[ \t]*%s(?:[ \t]*=[ \t]*(?:%s|"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"))?)*'
    % (_TOKEN, _TOKEN),
)
_LARGEST_CHUNK = 2**63 - 1
_LONGEST_LINE = 4096
"""Of a size with its extensions: they mean nothing to us and are dropped."""
_MOST_OVERHEAD = 64 * 1024
"""Bytes of extensions in one body, so that a sender cannot have us read for ever without data."""
_LARGEST_TRAILERS = 16 * 1024

_REFUSED_TRAILERS = frozenset(
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
"""Framing, routing and content processing (RFC 9110 section 6.5.1): whoever sends these behind a body means harm or is broken."""
_DROPPED_TRAILERS = (b"x-forwarded-", b"x-amzn-", b"authorization", b"proxy-auth", b"cookie", b"set-cookie", b"forwarded")
"""Trust and authentication, by prefix: too late behind a body, and dangerous to a target that merges trailers into its fields."""


class FramingError(Exception):
    """The body is not what its framing says; the connection cannot be used any further."""


class Body(Protocol):
    """A body being read."""

    over: bool
    """Whether its end has been seen."""
    trailers: list[bytes]
    """Field lines behind the last chunk, to be passed on."""

    @property
    def is_behind(self) -> bool:
        """Whether there is more of what came than was read at a time: feed nothing, later, to have that read."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the connection; their data, in pieces.

        Raises:
            FramingError: the bytes are not those of such a body.
        """

    def rest(self) -> bytes:
        """What came behind the end of the body."""

    def at_close(self) -> bool:
        """Whether the body is complete if the connection ends now, in good order."""


_LONGEST_PLAIN_SIZE = 10
"""Bytes in which the line end of a chunk size without extensions and leading zeros lies, if the chunk is to be whole."""
_NO_TRAILERS: list[bytes] = []


class SizedBody:
    """A body of a known length."""

    __slots__ = ("_missing", "_rest", "over", "trailers")

    is_behind: Final = False

    def __init__(self, length: int) -> None:
        self._missing = length
        self._rest = b""
        self.over = length == 0
        self.trailers = _NO_TRAILERS

    def feed(self, data: bytes) -> list[bytes]:
        missing = self._missing - len(data)
        if missing > 0:
            self._missing = missing
            return [data]
        self.over = True
        if missing < 0:
            self._rest = data[missing:]
            data = data[:missing]
        self._missing = 0
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


def _take_whole_chunks(data: bytes, place: int, pieces: list[bytes]) -> int:
    """Take the chunks that are whole and plain, as nearly all are, up to a bound; where the first other one begins."""
    find = data.find
    while len(pieces) < MANY_CHUNKS:
        end = find(b"\r\n", place, place + _LONGEST_PLAIN_SIZE)
        size = data[place:end] if end > place else b""
        # int() alone would also take signs, blanks and underscores.
        if not size.isalnum() or size.translate(None, b"0123456789abcdefABCDEF"):
            return place
        start = end + 2
        end = start + int(size, 16)
        if end == start or data[end : end + 2] != b"\r\n":
            return place
        pieces.append(data[start:end])
        place = end + 2
    return place


class ChunkedBody:
    """A body in chunks, decoded (RFC 9112 section 7.1)."""

    __slots__ = ("_held", "_in_trailers", "_missing", "_overhead", "_trailer_bytes", "is_behind", "over", "trailers")

    def __init__(self) -> None:
        self._held = b""
        """The beginning of a line, what was not read yet, or what lies behind the body once it is over."""
        self._missing = -1
        """Bytes still to come of the open chunk; 0 when only its line end is; -1 when a size is next."""
        self._overhead = 0
        self._in_trailers = False
        self._trailer_bytes = 0
        self.is_behind = False
        self.over = False
        self.trailers: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        if self._held:
            data = self._held + data if data else self._held
            self._held = b""
        pieces = self._read(data)
        return pieces if len(pieces) <= _FEW_PIECES else [b"".join(pieces)]

    def _read(self, data: bytes) -> list[bytes]:
        pieces: list[bytes] = []
        place = steps = 0
        size = len(data)
        self.is_behind = False
        while place < size and not self.over:
            steps += 1
            if len(pieces) >= MANY_CHUNKS or steps > _MOST_STEPS:
                self.is_behind = True
                break
            if self._missing < 0 and not self._in_trailers:
                place = _take_whole_chunks(data, place, pieces)
                if place == size:
                    break
            if self._missing > 0:
                end = place + self._missing
                if end > size:
                    pieces.append(data[place:] if place else data)
                    self._missing = end - size
                    return pieces
                pieces.append(data[place:end])
                self._missing = 0
                place = end
                continue
            if self._missing == 0:
                if size - place < 2:
                    if data[place] != 0x0D:
                        raise FramingError("a chunk is longer than its size")
                    break
                if data[place : place + 2] != b"\r\n":
                    raise FramingError("a chunk is longer than its size")
                self._missing = -1
                place += 2
                continue
            end = data.find(b"\n", place)
            if end < 0:
                self._check_unfinished_line(data, place)
                break
            if data[end - 1 : end] != b"\r" or end - 1 < place:
                raise FramingError("a line of the chunked coding ends without CR")
            self._take_line(data[place : end - 1])
            place = end + 1
        self._held = data[place:]
        return pieces

    def rest(self) -> bytes:
        return self._held

    def at_close(self) -> bool:
        return self.over

    def _check_unfinished_line(self, data: bytes, place: int) -> None:
        held = len(data) - place
        if held > (_LARGEST_TRAILERS if self._in_trailers else _LONGEST_LINE) + 1:  # and its CR
            raise FramingError("a line of the chunked coding is too long")
        if not self._in_trailers and data[place] not in b"0123456789abcdefABCDEF":
            raise FramingError("a chunk has no size")

    def _take_line(self, line: bytes) -> None:
        if self._in_trailers:
            self._take_trailer(line)
            return
        match = _CHUNK_LINE.fullmatch(line) if len(line) <= _LONGEST_LINE else None
        if match is None:
            raise FramingError(f"chunk size {line[:50]!r}")
        self._overhead += len(line) - len(match[1])
        length = int(match[1], 16)
        if length > _LARGEST_CHUNK or self._overhead > _MOST_OVERHEAD:
            raise FramingError("a chunk is too large" if length > _LARGEST_CHUNK else "too many chunk extensions")
        if length:
            self._missing = length
        else:
            self._in_trailers = True

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.over = True
            return
        self._trailer_bytes += len(line) + 2
        match = FIELD_LINE.fullmatch(line)
        if match is None or self._trailer_bytes > _LARGEST_TRAILERS:
            raise FramingError(f"trailer {line[:50]!r}")
        name = match[1].lower()
        if name in _REFUSED_TRAILERS:
            raise FramingError(f"{name.decode('ascii')} among the trailers")
        if not name.startswith(_DROPPED_TRAILERS):
            self.trailers.append(b"%s: %s" % (match[1], match[2].strip(b" \t")))


def encode_chunk(pieces: list[bytes]) -> list[bytes]:
    """The pieces as one chunk."""
    return [b"%x\r\n" % sum(map(len, pieces)), *pieces, b"\r\n"]


def encode_last_chunk(trailers: list[bytes]) -> bytes:
    """The end of a chunked body."""
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n" + b"\r\n".join(trailers) + b"\r\n\r\n"

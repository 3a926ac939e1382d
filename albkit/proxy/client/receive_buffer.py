"""Bytes that arrived from a client and were not taken yet."""

from __future__ import annotations

from albkit.errors import Failure, FailureKind
from albkit.model.limits import Limits
from albkit.wire.http1.grammar import LONGEST_METHOD, TOKEN_BYTES
from albkit.wire.proxy_protocol.signatures import PROXY_HEADERS, unexpected_proxy_header

__all__ = ("ReceiveBuffer",)

_MOST_BLANK_LINES = 8
"""Empty lines that are ignored before a request line. RFC 9112 section 2.2 asks to ignore at least one."""
_HANDSHAKE = 0x16
"""The first byte of every TLS connection: the record type of a handshake (RFC 8446 section 5.1)."""
_SHOWN = 60
"""How many bytes of something that is not a request the log shows."""


class ReceiveBuffer:
    """Keeps bytes in order, and finds the end of a request head.

    It searches no byte twice, so that a client that sends byte by byte costs linear time."""

    __slots__ = ("_blank_lines", "_data", "_harmless", "_limits", "_place", "_scanned")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._harmless = min(limits.request_line, limits.request_head)
        """Up to this size, neither the request line nor the head can be too long."""
        self._data = b""
        self._place = 0
        """Where the next request or body starts in `_data`."""
        self._scanned = 0
        """Up to where the end of a head was searched for."""
        self._blank_lines = 0
        """Empty lines since the last head."""

    def __len__(self) -> int:
        return len(self._data) - self._place

    def add(self, data: bytes) -> int:
        """Append bytes. Returns how many are kept now."""
        if self._data:
            data = (self._data[self._place :] if self._place else self._data) + data
            self._scanned -= self._place
            self._place = 0
        self._data = data
        return len(data)

    def take_all(self) -> bytes:
        """Remove and return everything."""
        data = self._data[self._place :] if self._place else self._data
        self._data = b""
        self._place = self._scanned = 0
        return data

    def take(self, size: int) -> bytes | None:
        """Remove and return exactly `size` bytes; `None` if they have not all arrived."""
        end = self._place + size
        if end > len(self._data):
            return None
        data = self._data[self._place : end]
        self._place = self._scanned = end
        return data

    def next_head(self) -> bytes | None:
        """Remove and return the next complete request head without the empty lines before it; `None` if it is not complete.

        Raises:
            Failure: the head exceeds a limit, or the bytes cannot become a head.
        """
        data = self._data
        if not data:
            return None
        place = self._place
        if place == len(data):
            return None  # Everything in it was taken as a body.
        if data[place] not in TOKEN_BYTES:
            place = self._behind_blank_lines(place)
            if place < 0:
                return None
        # The CR LF CR LF may have started in the last three bytes of the previous read.
        start = self._scanned - 3
        end = data.find(b"\r\n\r\n", start if start > place else place)  # noqa: FURB136 - a call to max() costs more than the search
        size = (end if end >= 0 else len(data)) - place
        if size > self._harmless:
            self._judge_size(place, size)
        if end < 0:
            self._judge_beginning(place, self._scanned)
            self._scanned = len(data)
            return None
        self._blank_lines = 0
        end += 4
        if end == len(data):
            self._data = b""
            self._place = self._scanned = 0
            return data[place:] if place else data
        self._place = self._scanned = end
        return data[place:end]

    def _behind_blank_lines(self, place: int) -> int:
        """Where the request line starts, after empty lines; -1 if it has not arrived.

        Raises:
            Failure: the request line cannot start there. Only complete empty lines may come before it, so that the first line of a head is
                always the request line.
        """
        data = self._data
        while data.startswith(b"\r\n", place) and self._blank_lines <= _MOST_BLANK_LINES:
            place += 2
            self._blank_lines += 1
        if self._blank_lines > _MOST_BLANK_LINES:
            raise Failure(FailureKind.REQUEST_MALFORMED, "too many blank lines")
        self._place = place
        if len(data) == place or data[place:] == b"\r":
            return -1
        first = data[place]
        if first in TOKEN_BYTES:
            return place
        if first == _HANDSHAKE:
            raise Failure(FailureKind.TLS_ON_PLAIN_PORT, "let the client use http://, or give the listener protocol='HTTPS'")
        if data.startswith(PROXY_HEADERS, place):
            raise unexpected_proxy_header()
        raise Failure(FailureKind.REQUEST_MALFORMED, f"first byte {first:#04x}")

    def _judge_beginning(self, place: int, scanned: int) -> None:
        """Check the part of a head that has arrived since the last check: can it become a head?"""
        data = self._data
        feed = data.find(b"\n", max(scanned, place))
        if feed < 0:
            return
        if data.find(b"\n", place, feed) < 0 and b" HTTP/" not in data[place:feed]:
            # The first line is complete. Clients of SSH, SMTP or HTTP/0.9 would wait for an answer while this side waits for more.
            if data.startswith(PROXY_HEADERS, place):
                raise unexpected_proxy_header()
            raise Failure(FailureKind.REQUEST_MALFORMED, f"no request line: {data[place : min(feed, place + _SHOWN)]!r}")
        while feed >= 0:
            if data[feed - 1] != 0x0D:
                raise Failure(FailureKind.REQUEST_BARE_LF, f"behind {data[max(place, feed - _SHOWN) : feed]!r}")
            feed = data.find(b"\n", feed + 1)

    def _judge_size(self, place: int, size: int) -> None:
        data = self._data
        line_end = data.find(b"\n", place)
        if (line_end if line_end >= 0 else len(data)) - place > self._limits.request_line:
            if b" " not in data[place : place + LONGEST_METHOD + 1]:
                raise Failure(FailureKind.REQUEST_MALFORMED, "the method is too long")
            raise Failure(FailureKind.REQUEST_TARGET_TOO_LONG)
        if size > self._limits.request_head:
            raise Failure(FailureKind.REQUEST_HEAD_TOO_LARGE, f"more than {self._limits.request_head} bytes")

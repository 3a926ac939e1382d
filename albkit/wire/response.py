"""A response head, read and judged at least as strictly as a request (RFC 9112).

aiohttp's response parser is lenient by nature: it joins folded lines, takes blanks before a colon and lets control bytes through, so
that all of a head has to be judged beside it anyway. One expression judges it as well and in less time, and then nothing is left for the
parser to do: responses are read here alone.
"""

from __future__ import annotations

import re
from typing import Final

from albkit.errors import Failure, FailureKind
from albkit.model.message import ResponseHead
from albkit.state.memory import Memory
from albkit.wire import fields
from albkit.wire.fields import RESPONSE_FIELDS, connection_options, drop_named

__all__ = ("read_response",)

_LARGEST_LENGTH = 2**63 - 1
_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [\t -~\x80-\xff]*+)?\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t -~\x80-\xff]*+\r\n)*+\r\n",
)
"""Version 1.0 or 1.1, a status of 100 to 599, fields without folding, blanks before the colon or control bytes, every line ended by CR
LF. Possessive throughout: a head that does not match costs no more than one that does."""
_DATE = re.compile(rb"\r\n(Date: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT)\r\n")
"""Whatever else changes from one answer of a target to the next of the same kind, and says nothing to us."""
_KEEP_ALIVE_TIMEOUT = re.compile(rb"(?i)(?:^|[,;\s])timeout\s*=\s*([0-9]{1,9})")
_REMOVED = frozenset((fields.DROP, fields.CONNECTION, fields.KEEP_ALIVE, fields.TRANSFER_ENCODING, fields.UPGRADE))


class _Known:
    """What was read of a head whose like has come before: all of it but the date is the same."""

    __slots__ = ("chunked", "content_length", "date", "keep_alive", "keep_alive_timeout", "lines", "status")

    def __init__(self, response: ResponseHead, date: bytes) -> None:
        self.status = response.status
        self.lines = response.lines[:]
        self.content_length = response.content_length
        self.chunked = response.chunked
        self.keep_alive = response.keep_alive
        self.keep_alive_timeout = response.keep_alive_timeout
        self.date = self.lines.index(date)
        """Which of the lines tells the date."""


_known: Memory[bytes, _Known] = Memory()
_OBJECT: Final = 128
"""Bytes that each line of a remembered head takes beside its text."""


def read_response(head: bytes, method: str) -> ResponseHead:
    """The response behind a raw head.

    Args:
        head: From the first byte of the status line to the empty line.
        method: Of the request that it answers.

    Raises:
        Failure: 502, the head is not one that every client would read in the same way.
    """
    date = _DATE.search(head)
    if date is None or method == "HEAD":
        return _read(head, method)
    start, end = date.span(1)
    key = head[:start] + head[end:]
    known = _known.recall(key)
    if known is not None:
        _known.count()
        response = ResponseHead()
        response.status = known.status
        response.lines = known.lines[:]
        response.lines[known.date] = date[1]
        response.content_length = known.content_length
        response.chunked = known.chunked
        response.keep_alive = known.keep_alive
        response.keep_alive_timeout = known.keep_alive_timeout
        response.has_date = True
        response.bodiless = False
        response.upgrade = b""
        return response
    response = _read(head, method)
    if not (_known.rests() or response.bodiless or b"\r\nSet-Cookie:" in head):
        _known.remember(key, _Known(response, date[1]), len(head) + _OBJECT * len(response.lines))
    return response


def _read(head: bytes, method: str) -> ResponseHead:
    """The same for a head that is not known."""
    match = _HEAD.fullmatch(head)
    if match is None:
        raise Failure(FailureKind.RESPONSE_MALFORMED, f"not a well-formed head: {head[:100]!r}")
    version, code = match.groups()
    http_1_0 = version == b"0"
    response = ResponseHead()
    response.status = status = int(code)
    response.lines = lines = head.split(b"\r\n")
    if http_1_0:
        lines[0] = b"HTTP/1.1 " + lines[0][9:]
    if len(lines[0]) == 12:
        lines[0] += b" "  # RFC 9112 section 4: the blank stays where the reason is empty.

    found = _sort_fields(lines)
    response.has_date = fields.DATE in found
    response.bodiless = status < 200 or status in (204, 304) or method == "HEAD"
    _read_body(response, found, http_1_0=http_1_0)
    _read_connection(response, found, http_1_0=http_1_0)
    return response


def _sort_fields(lines: list[bytes]) -> dict[int, bytes]:
    """Take out of `lines` what ends here; the values of the fields that mean something, by kind."""
    found: dict[int, bytes] = {}
    position = 0
    for line in lines[1:-2]:
        position += 1
        colon = line.index(b":")
        kind = RESPONSE_FIELDS[line[:colon]]
        if kind >= fields.SINGLETON:
            if kind in found:
                raise Failure(FailureKind.RESPONSE_MALFORMED, f"more than one field {line[:50]!r}")
            found[kind] = line
        elif kind:
            value = line[colon + 1 :].strip(b" ")  # A tab stays: parsers differ on `chunked` and a tab.
            found[kind] = found[kind] + b", " + value if kind in found else value
            if kind in _REMOVED:
                del lines[position]
                position -= 1
    return found


def _read_body(response: ResponseHead, found: dict[int, bytes], *, http_1_0: bool) -> None:
    """How long the body is (RFC 9112 section 6.3)."""
    response.chunked = False
    response.content_length = -1
    length = found.get(fields.CONTENT_LENGTH)
    coding = found.get(fields.TRANSFER_ENCODING)
    if coding is not None:
        if length is not None or coding.lower() != b"chunked" or http_1_0:
            raise Failure(FailureKind.RESPONSE_MALFORMED, f"Transfer-Encoding {coding[:50]!r}")
        response.chunked = True
    elif length is not None:
        if not length.isdigit() or len(length) > 19 or int(length) > _LARGEST_LENGTH:
            raise Failure(FailureKind.RESPONSE_MALFORMED, f"Content-Length {length[:50]!r}")
        response.content_length = int(length)
    if response.bodiless:
        response.chunked = False
        if length is not None and (response.status == 204 or response.status < 200):
            # RFC 9110 section 8.6: no length where there can be no content.
            response.lines[1:-2] = [line for line in response.lines[1:-2] if line[:15].lower() != b"content-length:"]
        response.content_length = 0


def _read_connection(response: ResponseHead, found: dict[int, bytes], *, http_1_0: bool) -> None:
    """Whether the target keeps its connection, for how long, and what it switched to."""
    response.keep_alive_timeout = None
    response.upgrade = b""
    connection = found.get(fields.CONNECTION)
    if connection is None:
        response.keep_alive = not http_1_0
    else:
        options = connection_options(connection)
        response.keep_alive = not options.close and (options.keep_alive or not http_1_0)
        if options.upgrade and response.status == 101:
            response.upgrade = found.get(fields.UPGRADE, b"")
        if options.named:
            drop_named(response.lines, options.named)
    if fields.KEEP_ALIVE in found:
        match = _KEEP_ALIVE_TIMEOUT.search(found[fields.KEEP_ALIVE])
        response.keep_alive_timeout = float(match[1]) if match else None

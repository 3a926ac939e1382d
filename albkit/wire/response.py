"""A parsed response head, judged at least as strictly as a request and made ready to be passed on (RFC 9112).

The response parser is lenient: it joins folded lines, takes blanks before a colon and lets control bytes through. So the raw head is
judged here as well, and only then are its lines copied.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from albkit.errors import Failure, FailureKind
from albkit.model.message import ResponseHead
from albkit.wire import fields
from albkit.wire.fields import RESPONSE_FIELDS, connection_options, drop_named
from albkit.wire.grammar import has_stray_controls

__all__ = ("ParsedResponse", "read_response")

_LARGEST_LENGTH = 2**63 - 1
_KEEP_ALIVE_TIMEOUT = re.compile(rb"(?i)(?:^|[,;\s])timeout\s*=\s*([0-9]{1,9})")
_REMOVED = frozenset((fields.DROP, fields.CONNECTION, fields.KEEP_ALIVE, fields.TRANSFER_ENCODING, fields.UPGRADE))


class ParsedResponse(Protocol):
    """What this room needs of a parser's message."""

    @property
    def code(self) -> int: ...
    @property
    def version(self) -> tuple[int, int]: ...
    @property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]: ...
    @property
    def chunked(self) -> bool: ...


def read_response(message: ParsedResponse, head: bytes, method: str) -> ResponseHead:
    """The response behind a parsed head.

    Args:
        message: What the parser made of `head`.
        head: The raw head, from the first byte of the status line to the empty line.
        method: Of the request that it answers.

    Raises:
        Failure: 502, the head is not one that every client would read in the same way.
    """
    response = ResponseHead()
    response.status = status = message.code
    response.lines = lines = head.split(b"\r\n")
    _judge_head(message, head, lines)

    found = _sort_fields(message.raw_headers, lines)
    response.has_date = fields.DATE in found
    response.bodiless = status < 200 or status in (204, 304) or method == "HEAD"
    _read_body(response, message, found)
    _read_connection(response, message, found)
    return response


def _judge_head(message: ParsedResponse, head: bytes, lines: list[bytes]) -> None:
    major, minor = message.version
    if major != 1 or minor > 1 or not 100 <= message.code <= 599 or lines[0][:7] != b"HTTP/1.":
        raise Failure(FailureKind.RESPONSE_MALFORMED, f"status line {lines[0][:50]!r}")
    if has_stray_controls(head, len(lines) - 1):
        raise Failure(FailureKind.RESPONSE_MALFORMED, "a control byte or a bare line end in the head")
    if b"\n " in head or b"\n\t" in head or len(message.raw_headers) != len(lines) - 3:
        raise Failure(FailureKind.RESPONSE_MALFORMED, "a folded or blank line in the head")
    if lines[0][:9] != b"HTTP/1.1 ":
        lines[0] = b"HTTP/1.1 " + lines[0][9:]
    if len(lines[0]) == 12:
        lines[0] += b" "  # RFC 9112 section 4: the blank stays where the reason is empty.


def _sort_fields(raw_headers: Sequence[tuple[bytes, bytes]], lines: list[bytes]) -> dict[int, bytes]:
    """Take out of `lines` what ends here; the values of the fields that mean something, by kind."""
    found: dict[int, bytes] = {}
    position = 0
    for name, value in raw_headers:
        position += 1
        kind = RESPONSE_FIELDS[name]
        if kind:
            if kind == fields.BAD or (kind >= fields.SINGLETON and kind in found):
                raise Failure(FailureKind.RESPONSE_MALFORMED, f"field {name[:50]!r}")
            found[kind] = found[kind] + b", " + value if kind in found else value
            if kind in _REMOVED:
                del lines[position]
                position -= 1
    return found


def _read_body(response: ResponseHead, message: ParsedResponse, found: dict[int, bytes]) -> None:
    """How long the body is (RFC 9112 section 6.3)."""
    response.chunked = False
    response.content_length = -1
    length = found.get(fields.CONTENT_LENGTH)
    coding = found.get(fields.TRANSFER_ENCODING)
    if coding is not None:
        # The parser's word and the field's must agree: it takes `chunked` and a tab for no chunked at all.
        if length is not None or coding.lower() != b"chunked" or not (message.chunked or response.bodiless) or message.version[1] == 0:
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


def _read_connection(response: ResponseHead, message: ParsedResponse, found: dict[int, bytes]) -> None:
    """Whether the target keeps its connection, for how long, and what it switched to."""
    response.keep_alive_timeout = None
    response.upgrade = b""
    connection = found.get(fields.CONNECTION)
    if connection is None:
        response.keep_alive = message.version[1] == 1
    else:
        options = connection_options(connection)
        response.keep_alive = not options.close and (options.keep_alive or message.version[1] == 1)
        if options.upgrade and response.status == 101:
            response.upgrade = found.get(fields.UPGRADE, b"")
        if options.named:
            drop_named(response.lines, options.named)
    if fields.KEEP_ALIVE in found:
        match = _KEEP_ALIVE_TIMEOUT.search(found[fields.KEEP_ALIVE])
        response.keep_alive_timeout = float(match[1]) if match else None

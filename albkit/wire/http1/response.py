"""The response parser, at least as strict as that for requests (RFC 9112).

It does not use aiohttp's parser. That one is lenient with responses: it joins folded lines, accepts whitespace before a colon and lets
control bytes through. So everything would have to be checked a second time. One regular expression does that in less time, and after it
nothing is left for another parser to do.
"""

from __future__ import annotations

import re
from typing import Final

from albkit.errors import Failure, FailureKind
from albkit.model.message import ResponseHead
from albkit.state.bounded_cache import BoundedCache
from albkit.wire.http1 import fields
from albkit.wire.http1.fields import RESPONSE_FIELDS, connection_options, drop_named
from albkit.wire.http1.upgrade import protocols_to_offer

__all__ = ("UPGRADE_OPTION", "check_partial_head", "read_response")

UPGRADE_OPTION = b"Connection: Upgrade"
"""The line of a 426 that has an Upgrade field. To send `close` as well, replace it by one line with both options."""

_MAX_LENGTH = 2**63 - 1
_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [\t -~\x80-\xff]*+)?\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t -~\x80-\xff]*+\r\n)*+\r\n",
)
"""Version 1.0 or 1.1, a status from 100 to 599, fields without folding, whitespace before the colon or control bytes, each line ended by CR
LF. All quantifiers are possessive, so there is no backtracking: a head that does not match costs no more than one that does."""
_BEGINNING = b"HTTP/1."
_BARE_LF = re.compile(rb"(?<!\r)\n")
_SHOWN = 100
_DATE = re.compile(rb"\r\n(Date: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT)\r\n")
"""The one field that differs between otherwise equal responses of a target. The load balancer does not use its value."""
_KEEP_ALIVE_TIMEOUT = re.compile(rb"(?i)(?:^|[,;\s])timeout\s*=\s*([0-9]{1,9})")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_BLANK = ord(" ")
_UNUSUAL_LENGTH = -1
"""Used like a kind of field: Content-Length has other whitespace than one space before its value, and is written anew."""
_UPGRADE_REQUIRED = 426
# Upgrade is written anew with a 101 and a 426, Transfer-Encoding by the client's side, which decides about the framing there.
_REMOVED = frozenset((fields.DROP, fields.CONNECTION, fields.KEEP_ALIVE, fields.TRANSFER_ENCODING, fields.UPGRADE))


class _CachedHead:
    """A parsed head, for later ones that are equal except for the date."""

    __slots__ = ("chunked", "content_length", "date", "keep_alive", "keep_alive_timeout", "lines", "status")

    def __init__(self, response: ResponseHead, date: bytes) -> None:
        self.status = response.status
        self.lines = response.lines[:]
        self.content_length = response.content_length
        self.chunked = response.chunked
        self.keep_alive = response.keep_alive
        self.keep_alive_timeout = response.keep_alive_timeout
        self.date = self.lines.index(date)
        """The index of the Date line."""


_cache: BoundedCache[bytes, _CachedHead] = BoundedCache()
_LINE_OVERHEAD: Final = 128
"""Bytes that each line of a cached head takes in addition to its text."""


def read_response(head: bytes, method: str) -> ResponseHead:
    """Parse a head. The result is a new object that the caller may change.

    Args:
        head: From the first byte of the status line to the empty line.
        method: The method of the request.

    Raises:
        Failure: 502, clients could disagree about what the head means.
    """
    date = _DATE.search(head)
    # A response to HEAD has no body whatever its fields say, so it must not share cached heads with those to GET.
    if date is None or method == "HEAD":
        return _parse(head, method)
    start, end = date.span(1)
    key = head[:start] + head[end:]
    known = _cache.get(key)
    if known is not None:
        _cache.count_hit()
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
    response = _parse(head, method)
    # Set-Cookie usually differs with each response.
    if not (_cache.skip_put() or response.bodiless or b"\r\nSet-Cookie:" in head):
        _cache.put(key, _CachedHead(response, date[1]), len(head) + _LINE_OVERHEAD * len(response.lines))
    return response


def check_partial_head(part: bytes | bytearray, looked_at: int = 0) -> None:
    """Reject what can never become a response head, without waiting for the end of the head.

    A server that speaks another protocol may wait for the load balancer, and one that ends lines with LF never sends CR LF CR LF. Without
    this check, the exchange would end with a timeout that says nothing about the cause.

    Args:
        part: The bytes received so far; may be empty.
        looked_at: How many of them were checked before.

    Raises:
        Failure: 502, the bytes are not HTTP/1, or a line ends in LF alone.
    """
    if looked_at < len(_BEGINNING) and not (part.startswith(_BEGINNING) or _BEGINNING.startswith(part)):
        raise Failure(FailureKind.RESPONSE_NOT_HTTP, repr(bytes(part[:_SHOWN])))
    bare = _BARE_LF.search(part, looked_at)
    if bare is not None:
        raise Failure(FailureKind.RESPONSE_BARE_LF, repr(bytes(part[max(0, bare.end() - _SHOWN) : bare.end()])))


def _parse(head: bytes, method: str) -> ResponseHead:
    """Parse a head that is not cached."""
    match = _HEAD.fullmatch(head)
    if match is None:
        check_partial_head(head)
        raise Failure(FailureKind.RESPONSE_MALFORMED, f"not a well-formed head: {head[:_SHOWN]!r}")
    version, code = match.groups()
    http_1_0 = version == b"0"
    response = ResponseHead()
    response.status = status = int(code)
    response.lines = lines = head[:-4].split(b"\r\n")
    if http_1_0:
        # A proxy sends its own version (RFC 9110 section 2.5).
        lines[0] = b"HTTP/1.1 " + lines[0][9:]
    if len(lines[0]) == 12:
        # RFC 9112 section 4: the space after the status is required even if there is no reason phrase.
        lines[0] += b" "

    found = _scan_fields(lines)
    response.has_date = fields.DATE in found
    # RFC 9112 section 6.3, rule 1.
    response.bodiless = status < 200 or status in (204, 304) or method == "HEAD"
    _read_body(response, found, http_1_0=http_1_0)
    _read_connection(response, found, http_1_0=http_1_0)
    return response


def _scan_fields(lines: list[bytes]) -> dict[int, bytes]:
    """Remove hop-by-hop fields from `lines`, and return the values of all fields that are not PLAIN, by kind."""
    found: dict[int, bytes] = {}
    position = 0
    for line in lines[1:]:
        position += 1
        colon = line.index(b":")
        kind = RESPONSE_FIELDS[line[:colon]]
        if kind:
            raw = line[colon + 1 :]
            value = raw.strip(b" \t")
            if kind == fields.CONTENT_LENGTH and raw != value and (raw[1:] != value or raw[0] != _BLANK):
                found[_UNUSUAL_LENGTH] = raw
            found[kind] = found[kind] + b", " + value if kind in found else value
            if kind in _REMOVED:
                del lines[position]
                position -= 1
    return found


def _read_body(response: ResponseHead, found: dict[int, bytes], *, http_1_0: bool) -> None:
    """Determine the length of the body, and rewrite an unusual Content-Length so that all clients read it alike (RFC 9112 section 6.3)."""
    response.chunked = False
    response.content_length = -1
    length = found.get(fields.CONTENT_LENGTH)
    coding = found.get(fields.TRANSFER_ENCODING)
    if coding is not None:
        # RFC 9112 section 6.1: with Content-Length, or in HTTP/1.0, a Transfer-Encoding is an error, and maybe response splitting.
        if length is not None or coding.lower() != b"chunked" or http_1_0:
            raise Failure(FailureKind.RESPONSE_MALFORMED, f"Transfer-Encoding {coding[:50]!r}")
        response.chunked = True
    elif length is not None:
        if is_clean := _LENGTH.fullmatch(length) is not None:
            response.content_length = int(length)
        else:
            response.content_length = _parse_length(length)
        # RFC 9110 section 8.6: a 1xx or 204 must not have a Content-Length.
        without = response.status == 204 or response.status < 200
        if without or not is_clean or _UNUSUAL_LENGTH in found:
            response.lines[1:] = [line for line in response.lines[1:] if line[:15].lower() != b"content-length:"]
            if not without:
                response.lines.append(b"Content-Length: %d" % response.content_length)
    # Last of all: the fields of a response without a body describe what a GET would have returned, and are passed on.
    if response.bodiless:
        response.chunked = False
        response.content_length = 0


def _parse_length(value: bytes) -> int:
    """Parse a Content-Length that may be a list of equal values (RFC 9110 section 8.6).

    Raises:
        Failure: 502, a value is not a number or too large, or the values differ.
    """
    first, *others = value.split(b",") if b"," in value else (value,)
    first = first.strip(b" \t")
    if not first.isdigit() or len(first) > 19 or int(first) > _MAX_LENGTH or any(other.strip(b" \t") != first for other in others):
        raise Failure(FailureKind.RESPONSE_MALFORMED, f"Content-Length {value[:50]!r}")
    return int(first)


def _read_connection(response: ResponseHead, found: dict[int, bytes], *, http_1_0: bool) -> None:
    """Determine whether and for how long the target keeps its connection, and the protocol that a 101 switches to."""
    response.keep_alive_timeout = None
    response.upgrade = b""
    connection = found.get(fields.CONNECTION)
    # RFC 9112 section 9.3: persistent by default in HTTP/1.1, on request in HTTP/1.0.
    if connection is None:
        response.keep_alive = not http_1_0
    else:
        options = connection_options(connection)
        response.keep_alive = not options.close and (options.keep_alive or not http_1_0)
        if options.upgrade and response.status == 101:
            response.upgrade = found.get(fields.UPGRADE, b"")
        if options.named:
            drop_named(response.lines, options.named)
    if response.status == _UPGRADE_REQUIRED and fields.UPGRADE in found:
        # Upgrade is hop-by-hop, but a 426 must tell the client what to upgrade to (RFC 9110 section 15.5.22). Protocols that the load
        # balancer does not tunnel are left out.
        offered = protocols_to_offer(found[fields.UPGRADE])
        if offered:
            response.lines += (b"Upgrade: " + offered, UPGRADE_OPTION)
    if fields.KEEP_ALIVE in found:
        match = _KEEP_ALIVE_TIMEOUT.search(found[fields.KEEP_ALIVE])
        response.keep_alive_timeout = float(match[1]) if match else None

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
from albkit.state.bounded_cache import BoundedCache
from albkit.wire.http1 import fields
from albkit.wire.http1.fields import RESPONSE_FIELDS, connection_options, drop_named
from albkit.wire.http1.upgrade import protocols_to_offer

__all__ = ("UPGRADE_OPTION", "check_begun", "read_response")

UPGRADE_OPTION = b"Connection: Upgrade"
"""Stands in a 426 that says what to upgrade to. Whoever adds another option for the connection writes one line of both."""

_LARGEST_LENGTH = 2**63 - 1
_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [\t -~\x80-\xff]*+)?\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t -~\x80-\xff]*+\r\n)*+\r\n",
)
"""Version 1.0 or 1.1, a status of 100 to 599, fields without folding, blanks before the colon or control bytes, every line ended by CR
LF. Possessive throughout: a head that does not match costs no more than one that does."""
_BEGINNING = b"HTTP/1."
_BARE_LF = re.compile(rb"(?<!\r)\n")
_SHOWN = 100
_DATE = re.compile(rb"\r\n(Date: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT)\r\n")
"""Whatever else changes from one answer of a target to the next of the same kind, and says nothing to us."""
_KEEP_ALIVE_TIMEOUT = re.compile(rb"(?i)(?:^|[,;\s])timeout\s*=\s*([0-9]{1,9})")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_BLANK = ord(" ")
_UNCLEAN = -1
"""Among the kinds of fields: a length stands there that is to be written anew."""
_UPGRADE_REQUIRED = 426
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


_known: BoundedCache[bytes, _Known] = BoundedCache()
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


def check_begun(part: bytes | bytearray, looked_at: int = 0) -> None:
    """Refuse what can become no response head, as soon as that shows: whoever sent it may wait for us in turn.

    Args:
        part: What has come of the head; empty where nothing has.
        looked_at: How many of its bytes were let pass before.

    Raises:
        Failure: 502, it does not begin as HTTP/1 does, or has a line that ends in LF alone.
    """
    if looked_at < len(_BEGINNING) and not (part.startswith(_BEGINNING) or _BEGINNING.startswith(part)):
        raise Failure(FailureKind.RESPONSE_NOT_HTTP, repr(bytes(part[:_SHOWN])))
    bare = _BARE_LF.search(part, looked_at)
    if bare is not None:
        raise Failure(FailureKind.RESPONSE_BARE_LF, repr(bytes(part[max(0, bare.end() - _SHOWN) : bare.end()])))


def _read(head: bytes, method: str) -> ResponseHead:
    """The same for a head that is not known."""
    match = _HEAD.fullmatch(head)
    if match is None:
        check_begun(head)
        raise Failure(FailureKind.RESPONSE_MALFORMED, f"not a well-formed head: {head[:_SHOWN]!r}")
    version, code = match.groups()
    http_1_0 = version == b"0"
    response = ResponseHead()
    response.status = status = int(code)
    response.lines = lines = head[:-4].split(b"\r\n")
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
    for line in lines[1:]:
        position += 1
        colon = line.index(b":")
        kind = RESPONSE_FIELDS[line[:colon]]
        if kind:
            raw = line[colon + 1 :]
            value = raw.strip(b" \t")
            if kind == fields.CONTENT_LENGTH and raw != value and (raw[1:] != value or raw[0] != _BLANK):
                found[_UNCLEAN] = raw
            found[kind] = found[kind] + b", " + value if kind in found else value
            if kind in _REMOVED:
                del lines[position]
                position -= 1
    return found


def _read_body(response: ResponseHead, found: dict[int, bytes], *, http_1_0: bool) -> None:
    """How long the body is, and that in one line which nobody can read in another way (RFC 9112 section 6.3)."""
    response.chunked = False
    response.content_length = -1
    length = found.get(fields.CONTENT_LENGTH)
    coding = found.get(fields.TRANSFER_ENCODING)
    if coding is not None:
        if length is not None or coding.lower() != b"chunked" or http_1_0:
            raise Failure(FailureKind.RESPONSE_MALFORMED, f"Transfer-Encoding {coding[:50]!r}")
        response.chunked = True
    elif length is not None:
        if is_clean := _LENGTH.fullmatch(length) is not None:
            response.content_length = int(length)
        else:
            response.content_length = _one_length(length)
        # RFC 9110 section 8.6: no length where there can be no content.
        without = response.status == 204 or response.status < 200
        if without or not is_clean or _UNCLEAN in found:
            response.lines[1:] = [line for line in response.lines[1:] if line[:15].lower() != b"content-length:"]
            if not without:
                response.lines.append(b"Content-Length: %d" % response.content_length)
    if response.bodiless:
        response.chunked = False
        response.content_length = 0


def _one_length(value: bytes) -> int:
    """The one number that a length says, or several in a list or on several lines, if they say it in the same digits.

    Raises:
        Failure: 502, it is no number, too great a one, or there is more than one.
    """
    first, *others = value.split(b",") if b"," in value else (value,)
    first = first.strip(b" \t")
    if not first.isdigit() or len(first) > 19 or int(first) > _LARGEST_LENGTH or any(other.strip(b" \t") != first for other in others):
        raise Failure(FailureKind.RESPONSE_MALFORMED, f"Content-Length {value[:50]!r}")
    return int(first)


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
    if response.status == _UPGRADE_REQUIRED and fields.UPGRADE in found:
        # What is required is said hop by hop (RFC 9110 section 15.5.22): the client asks us, and we never offer some of it.
        offered = protocols_to_offer(found[fields.UPGRADE])
        if offered:
            response.lines += (b"Upgrade: " + offered, UPGRADE_OPTION)
    if fields.KEEP_ALIVE in found:
        match = _KEEP_ALIVE_TIMEOUT.search(found[fields.KEEP_ALIVE])
        response.keep_alive_timeout = float(match[1]) if match else None

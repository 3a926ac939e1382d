"""Responses: from a head to a field block for a client, and from a target's decoded fields to a head (RFC 9113 section 8.3.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from albkit.errors import Failure, FailureKind
from albkit.model.message import ResponseHead
from albkit.wire.http1.responses import reason
from albkit.wire.http2.fields import CONNECTION_SPECIFIC, LENGTH, FieldLines
from albkit.wire.http2.frames import StreamError
from albkit.wire.http2.hpack_encoder import EncodedLines, encode_status

__all__ = ("response_block", "response_head")

_STATUS: Final = b":status"
_STATUS_CODE = re.compile(rb"[1-5][0-9][0-9]")
_SWITCHING_PROTOCOLS: Final = 101
_STATUS_LINES: Final = {status: f"HTTP/1.1 {status} {reason(status)}".encode() for status in range(100, 600)}
_SHOWN: Final = 50

_encoded: Final = EncodedLines(CONNECTION_SPECIFIC)
# `te` and `proxy-authenticate` are hop-by-hop and left out, as from a target that uses HTTP/1.1.
_lines: Final = FieldLines(frozenset((b"content-length", b"date", b"te", b"proxy-authenticate")))


def response_block(lines: Sequence[bytes], status: int) -> bytes:
    """Encode a response for a client.

    Args:
        lines: `ResponseHead.lines`: the status line, then fields. An item may hold several fields, joined by CR LF.
        status: The status.

    Raises:
        ValueError: A line contains bytes that cannot be sent, such as a CR, LF or NUL in a value.
    """
    return encode_status(status) + b"".join(map(_encoded.__getitem__, lines[1:]))


def response_head(fields: Sequence[tuple[bytes, bytes]], method: str, *, ended: bool) -> ResponseHead:
    """Check the fields of a target's response, and return its head.

    A response that ended without a Content-Length gets one of 0, so that clients of HTTP/1.1 need no chunks for it.

    Args:
        fields: Names and values in their order.
        method: The method of the request.
        ended: Whether the stream ended with them (END_STREAM).

    Raises:
        Failure: 502, the response is malformed.
    """
    if not fields or fields[0][0] != _STATUS or not _STATUS_CODE.fullmatch(fields[0][1]):
        raise _malformed(f"the first field is {fields[0]!r:.100}" if fields else "no fields")
    response = ResponseHead()
    response.status = status = int(fields[0][1])
    response.lines = lines = [_STATUS_LINES[status]]
    length = -1
    response.has_date = False
    try:
        for field in fields[1:]:
            line = _lines[field]
            if line:
                lines.append(line)
                continue
            name, value = field
            if name == b"content-length":
                if length >= 0 or not LENGTH.fullmatch(value):
                    raise _malformed(f"content-length {value[:_SHOWN]!r}, or more than one")
                length = int(value)
                # RFC 9110 section 8.6: a 1xx or 204 must not have a Content-Length.
                if status >= 200 and status != 204:
                    lines.append(b"content-length: " + value)
            elif name == b"date":
                response.has_date = True
                lines.append(b"date: " + value)
    except StreamError as error:
        raise _malformed(error.reason) from None
    if status == _SWITCHING_PROTOCOLS or (status < 200 and ended):
        raise _malformed(f"status {status} with END_STREAM, or 101")
    response.chunked = False
    response.bodiless = status < 200 or status in (204, 304) or method == "HEAD"
    if response.bodiless:
        length = 0
    elif ended:
        if length > 0:
            raise _malformed(f"END_STREAM with a content-length of {length}")
        if length < 0:
            lines.append(b"content-length: 0")
        length = 0
    response.content_length = length
    response.keep_alive = True
    response.keep_alive_timeout = None
    response.upgrade = b""
    return response


def _malformed(why: str) -> Failure:
    return Failure(FailureKind.RESPONSE_MALFORMED, why)

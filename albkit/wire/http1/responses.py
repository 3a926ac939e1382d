"""Builds the responses that the load balancer sends itself (docs/alb.md 2.11)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from multidict import CIMultiDict

from albkit.clock import http_date
from albkit.errors import told
from albkit.model.extensions import Response
from albkit.model.message import ResponseHead
from albkit.wire.http1.grammar import TOKEN
from albkit.wire.http1.response import UPGRADE_OPTION

__all__ = (
    "WITHOUT_BODY",
    "ResponseFields",
    "error_page",
    "grpc_response",
    "hook_response",
    "local_response",
    "plain_http_response",
    "validated_response",
)

_REASONS = {
    460: "Client Closed Request",
    463: "Too Many X-Forwarded-For Addresses",
    464: "Incompatible Protocol Version",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
    # RFC 9110's phrase, for Python before 3.13.
    414: "URI Too Long",
}
"""Phrases that ALB uses instead of the registered ones, and phrases for its own statuses."""


WITHOUT_BODY = (204, 205, 304)
"""Statuses whose responses have no body, whatever was configured (RFC 9110 section 15). A 205 has a Content-Length of 0."""


_GRPC_CODES = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
"""gRPC codes by HTTP status: gRPC's own table, which docs/alb.md 2.11 links to."""
_GRPC_UNKNOWN = 2
_GRPC_MESSAGES = {
    2: b"unknown",
    7: b"permission denied",
    12: b"unimplemented",
    13: b"internal",
    14: b"unavailable",
    16: b"unauthenticated",
}
"""None has a character that `grpc-message` would have to percent-encode."""


def reason(status: int) -> str:
    """Return the reason phrase of a status; empty if it has none."""
    if status in _REASONS:
        return _REASONS[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def error_page(status: int) -> bytes:
    """Return the HTML error page for a status, byte for byte that of ALB."""
    title = f"{status} {reason(status)}"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    ).encode()


def local_response(status: int, body: bytes, content_type: str, second: int, extra_lines: tuple[bytes, ...] = ()) -> ResponseHead:
    """Build the head of a redirect, a fixed response or an error page.

    Args:
        status: The status.
        body: The body. Only its length is used here.
        content_type: The media type of the body.
        second: The time for Date, in whole seconds since 1970.
        extra_lines: More field lines.
    """
    lines = [
        f"HTTP/1.1 {status} {reason(status)}".encode(),
        b"Server: awselb/2.0",
        b"Date: " + http_date(second),
    ]
    # A 204 must not have a Content-Length (RFC 9110 section 8.6).
    if status != 204:
        lines.append(b"Content-Type: " + content_type.encode())
        lines.append(b"Content-Length: %d" % len(body))
    return _local_head(status, [*lines, *extra_lines], 0 if status in (204, 304) else len(body))


def grpc_response(status: int, second: int) -> ResponseHead:
    """Build the whole response that tells a gRPC client about a failure: a head with `grpc-status`, without a body.

    "gRPC over HTTP2", the specification of gRPC, calls this form "Trailers-Only".

    Args:
        status: The status that another client would get.
        second: As in `local_response`.
    """
    code = _GRPC_CODES.get(status, _GRPC_UNKNOWN)
    lines = [
        b"HTTP/1.1 200 OK",
        b"Server: awselb/2.0",
        b"Date: " + http_date(second),
        b"Content-Type: application/grpc",
        b"grpc-status: %d" % code,
        b"grpc-message: " + _GRPC_MESSAGES[code],
    ]
    return _local_head(200, lines, 0)


def plain_http_response(second: int) -> bytes:
    """Build the whole response, head and body, to a plain HTTP request on a TLS port."""
    title = f"400 {reason(400)}"
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "<center>A plain HTTP request was sent to an HTTPS port; use https://</center>\r\n</body>\r\n</html>\r\n"
    ).encode()
    return b"\r\n".join([*local_response(400, page, "text/html", second, (b"Connection: close",)).lines, b"", page])


_FIELD_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_UPGRADE_REQUIRED = 426
# Set by the load balancer. With these a hook could break the framing of the response, and so the next response on the connection.
_FRAMING = frozenset(("connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"))


def validated_response(result: object) -> Response | str:
    """Check what a hook returned, before any byte of it is sent.

    The result consists of plain strings, integers and bytes. An instance of a subclass could change its value after it was checked, and so
    inject a line into the head (response splitting, CWE-113).

    Args:
        result: What the hook returned. Not `None`.

    Returns:
        A copy of the response. If it cannot be sent, a text for the log that completes the sentence "the hook returned ...".

    Raises:
        BaseException: whatever an attribute or a method of the objects raises.
    """
    if not isinstance(result, Response):
        return f"{told(result)}; return an albkit.Response or None"
    status, body, headers = result.status, result.body, result.headers
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        return f"the status {told(status)}; it must be an int from 200 to 599"
    if not isinstance(body, bytes):
        return f"a body of type {type(body).__name__}; it must be bytes"
    if headers is not None and not isinstance(headers, Mapping):
        return f"headers of type {type(headers).__name__}; they must be a mapping or None"
    fields: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items() if headers is not None else ():
        good = isinstance(name, str) and isinstance(value, str)
        # The methods of `str`, `int` and `bytes` themselves, because a subclass may override its own.
        plain_name, plain_value = (str.__str__(name), str.__str__(value)) if good else ("", "")
        if not plain_name.isascii() or not TOKEN.fullmatch(plain_name.encode()) or not _FIELD_VALUE.fullmatch(plain_value):
            return f"the header field {told(name)}: {told(value)}; names must be tokens, and values Latin-1 text without control characters"
        if plain_name.lower() in _FRAMING and not (status == _UPGRADE_REQUIRED and plain_name.lower() == "upgrade"):
            return f"the header field {plain_name}; remove it, the load balancer writes this field itself"
        fields.add(plain_name, plain_value)
    return Response(int.__int__(status), headers=fields, body=bytes.__getitem__(body, slice(None)))


def hook_response(answer: Response, second: int) -> ResponseHead:
    """Build the head of a response that a hook returned.

    Args:
        answer: The result of `validated_response`.
        second: The time for Date, in whole seconds since 1970. A Date of the hook's takes precedence.
    """
    given = answer.headers or {}
    names = {name.lower() for name in given}
    lines = [f"HTTP/1.1 {answer.status} {reason(answer.status)}".encode()]
    if "server" not in names:
        lines.append(b"Server: awselb/2.0")
    if "date" not in names:
        lines.append(b"Date: " + http_date(second))
    # `validated_response` has excluded characters that Latin-1 cannot encode.
    lines += [f"{name}: {value}".encode("latin-1") for name, value in given.items()]
    if answer.status == _UPGRADE_REQUIRED and "upgrade" in names:
        lines.append(UPGRADE_OPTION)
    if answer.status == 205:
        lines.append(b"Content-Length: 0")
    elif answer.status not in WITHOUT_BODY:
        lines.append(b"Content-Length: %d" % len(answer.body))
    return _local_head(answer.status, lines, 0 if answer.status in WITHOUT_BODY else len(answer.body))


def _local_head(status: int, lines: list[bytes], content_length: int) -> ResponseHead:
    response = ResponseHead()
    response.status = status
    response.lines = lines
    response.content_length = content_length
    # Set, so that the exchange does not add a second one.
    response.has_date = True
    return response


class ResponseFields:
    """The fields that a listener sets on every response (docs/alb.md 1.3).

    Args:
        fields: Names and values. The value `None` removes a field that the load balancer writes, which is only `Server`.
    """

    __slots__ = ("_lines", "_names", "_omitted")

    def __init__(self, fields: Sequence[tuple[str, str | None]]) -> None:
        self._lines = [f"{name}: {value}".encode("ascii") for name, value in fields if value is not None]
        self._names = frozenset(name.lower().encode() for name, value in fields if value is not None)
        self._omitted = frozenset(name.lower().encode() + b": awselb/2.0" for name, value in fields if value is None)

    def apply_to(self, lines: list[bytes]) -> None:
        """Add the fields to the lines of a head, in place. They replace fields of the same names."""
        kept = [line for line in lines[1:] if line.partition(b":")[0].lower() not in self._names and line.lower() not in self._omitted]
        lines[1:] = kept + self._lines

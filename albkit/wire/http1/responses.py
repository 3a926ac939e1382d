"""Answers that the load balancer gives itself, as bytes (docs/alb.md 2.11)."""

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

__all__ = ("WITHOUT_BODY", "ResponseFields", "as_response", "error_page", "own_answer", "plain_http_answer", "program_answer")

_REASONS = {
    460: "Client Closed Request",
    463: "Too Many X-Forwarded-For Addresses",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
    # Python 3.13 renamed this one to RFC 9110's words.
    414: "URI Too Long",
}
"""Where ALB's words are not the registered ones."""


WITHOUT_BODY = (204, 205, 304)
"""Statuses of answers that have none, whatever was configured (RFC 9110 section 15). A 205 says so, with a length of 0."""


def reason(status: int) -> str:
    """The reason phrase of a status; empty for one that nobody has named."""
    if status in _REASONS:
        return _REASONS[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def error_page(status: int) -> bytes:
    """The page that tells a person which status it was."""
    title = f"{status} {reason(status)}"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    ).encode()


def own_answer(status: int, body: bytes, content_type: str, second: int, further: tuple[bytes, ...] = ()) -> ResponseHead:
    """The head of a response that the load balancer makes.

    Args:
        status: Of the answer.
        body: Decides the length only.
        content_type: Of the body.
        second: Seconds since 1970, for the Date.
        further: More field lines.
    """
    lines = [
        f"HTTP/1.1 {status} {reason(status)}".encode(),
        b"Server: awselb/2.0",
        b"Date: " + http_date(second),
    ]
    if status != 204:
        lines.append(b"Content-Type: " + content_type.encode())
        lines.append(b"Content-Length: %d" % len(body))
    return _own_head(status, [*lines, *further], 0 if status in (204, 304) else len(body))


def plain_http_answer(second: int) -> bytes:
    """The whole answer to a plain HTTP request on a port that speaks HTTPS."""
    title = f"400 {reason(400)}"
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "<center>A plain HTTP request was sent to an HTTPS port; use https://</center>\r\n</body>\r\n</html>\r\n"
    ).encode()
    return b"\r\n".join([*own_answer(400, page, "text/html", second, (b"Connection: close",)).lines, b"", page])


_FIELD_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_UPGRADE_REQUIRED = 426
_FRAMING = frozenset(("connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"))


def as_response(answer: object) -> Response | str:
    """An answer of the program's own, made of plain values that do not change any more; text where it cannot be sent, which says why.

    Raises:
        BaseException: whatever the objects of the program's own raise when they are looked at.
    """
    if not isinstance(answer, Response):
        return f"{told(answer)}, which is neither a Response nor None"
    status, body, headers = answer.status, answer.body, answer.headers
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        return f"the status {told(status)}; 200 to 599"
    if not isinstance(body, bytes):
        return f"a body that is not bytes but {type(body).__name__}"
    if headers is not None and not isinstance(headers, Mapping):
        return f"headers that are not a mapping but {type(headers).__name__}"
    fields: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items() if headers is not None else ():
        good = isinstance(name, str) and isinstance(value, str)
        plain_name, plain_value = (str.__str__(name), str.__str__(value)) if good else ("", "")
        if not plain_name.isascii() or not TOKEN.fullmatch(plain_name.encode()) or not _FIELD_VALUE.fullmatch(plain_value):
            return f"the field {told(name)}: {told(value)}, which cannot be sent"
        if plain_name.lower() in _FRAMING and not (status == _UPGRADE_REQUIRED and plain_name.lower() == "upgrade"):
            return f"the field {plain_name}, which is ours to write"
        fields.add(plain_name, plain_value)
    return Response(int.__int__(status), headers=fields, body=bytes.__getitem__(body, slice(None)))


def program_answer(answer: Response, second: int) -> ResponseHead:
    """The head of a response that an action of the program returned."""
    given = answer.headers or {}
    names = {name.lower() for name in given}
    lines = [f"HTTP/1.1 {answer.status} {reason(answer.status)}".encode()]
    if "server" not in names:
        lines.append(b"Server: awselb/2.0")
    if "date" not in names:
        lines.append(b"Date: " + http_date(second))
    lines += [f"{name}: {value}".encode("latin-1") for name, value in given.items()]
    if answer.status == _UPGRADE_REQUIRED and "upgrade" in names:
        lines.append(UPGRADE_OPTION)
    if answer.status == 205:
        lines.append(b"Content-Length: 0")
    elif answer.status not in WITHOUT_BODY:
        lines.append(b"Content-Length: %d" % len(answer.body))
    return _own_head(answer.status, lines, 0 if answer.status in WITHOUT_BODY else len(answer.body))


def _own_head(status: int, lines: list[bytes], content_length: int) -> ResponseHead:
    response = ResponseHead()
    response.status = status
    response.lines = lines
    response.content_length = content_length
    response.has_date = True
    return response


class ResponseFields:
    """The fields that a listener puts on every response (docs/alb.md 1.3).

    Args:
        fields: Names and values; a value of `None` leaves out our own field of that name.
    """

    __slots__ = ("_lines", "_names", "_omitted")

    def __init__(self, fields: Sequence[tuple[str, str | None]]) -> None:
        self._lines = [f"{name}: {value}".encode("ascii") for name, value in fields if value is not None]
        self._names = frozenset(name.lower().encode() for name, value in fields if value is not None)
        self._omitted = frozenset(name.lower().encode() + b": awselb/2.0" for name, value in fields if value is None)

    def put_on(self, lines: list[bytes]) -> None:
        """Replace the fields of the same names in the lines of a head, or add them."""
        kept = [line for line in lines[1:] if line.partition(b":")[0].lower() not in self._names and line.lower() not in self._omitted]
        lines[1:] = kept + self._lines

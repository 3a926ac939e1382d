"""Answers that the load balancer gives itself, as bytes (alb-reference 2.11)."""

from __future__ import annotations

from http import HTTPStatus

from albkit.clock import http_date

__all__ = ("error_page", "own_answer")

_REASONS = {
    460: "Client Closed Request",
    463: "Too Many X-Forwarded-For Addresses",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
    # Python 3.13 renamed this one to RFC 9110's words.
    414: "URI Too Long",
}
"""Where ALB's words are not the registered ones."""


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


def own_answer(status: int, body: bytes, content_type: str, second: int, further: tuple[bytes, ...] = ()) -> list[bytes]:
    """The lines of an answer of our own, with the two last places to be filled as in a `ResponseHead`.

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
    return [*lines, *further, b"", b""]

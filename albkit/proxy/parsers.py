"""The one room that touches aiohttp's half-private parser.

It runs head-only: it is fed exactly one complete head and never a body, so nothing of one message can leak into the next. That also
makes one parser enough for all connections of a load balancer: between two heads it holds no state, and where a head leaves it in one
(an upgrade, an announced close, an error) it is made anew. An idle connection thus costs no parser.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiohttp.http import HttpProcessingError, HttpRequestParser
from aiohttp.http_exceptions import LineTooLong

from albkit.errors import Failure, FailureKind
from albkit.model.limits import Limits
from albkit.wire.desync import reason_for_refusal
from albkit.wire.grammar import CLEAN_HEAD
from albkit.wire.request import ParsedRequest

__all__ = ("RequestParser", "require_c_parsers")

_LONGEST_METHOD = 64
_UNUSED_PAYLOAD_LIMIT = 65536


def require_c_parsers() -> None:
    """Refuse to run on aiohttp's Python parsers, which follow other rules.

    Raises:
        RuntimeError: aiohttp was installed without its C extension, or AIOHTTP_NO_EXTENSIONS is set.
    """
    if HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise RuntimeError(
            "albkit needs aiohttp's C extension: install aiohttp from a wheel (or with a C compiler at hand) "
            "and unset AIOHTTP_NO_EXTENSIONS",
        )


class RequestParser:
    """Parses request heads, strictly."""

    __slots__ = ("_limits", "_loop", "_parser")

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits | None = None) -> None:
        require_c_parsers()
        self._loop = loop
        self._limits = limits or Limits()
        self._renew()

    def _renew(self) -> None:
        self._parser: Any = HttpRequestParser(
            cast("Any", None),
            self._loop,
            _UNUSED_PAYLOAD_LIMIT,
            max_line_size=self._limits.request_line,
            max_headers=self._limits.request_fields,
            max_field_size=self._limits.request_field,
            response_with_body=False,
            auto_decompress=False,
        )

    def parse(self, head: bytes) -> ParsedRequest:
        """The message of one complete head, from the request line to the empty line.

        Raises:
            Failure: the head is refused, with the status to answer.
        """
        try:
            messages, upgraded, _ = self._parser.feed_data(head)
        except HttpProcessingError as error:
            self._renew()
            return self._beyond_the_parser(head, error)
        if len(messages) != 1:
            self._renew()
            raise _not_one_message(head)
        message: Any = messages[0][0]
        if upgraded or message.upgrade or message.should_close:
            self._renew()
        parsed: ParsedRequest = message
        return parsed

    def _beyond_the_parser(self, head: bytes, error: HttpProcessingError) -> ParsedRequest:
        """ALB takes custom methods and bytes >= 0x80 in the target; the parser does not.

        On a head that is clean otherwise the parser judges all but the request line, behind a request line of our own.
        """
        if isinstance(error, LineTooLong):
            raise self._too_long(head)
        if head.count(b"\r\n") - 2 > self._limits.request_fields:
            raise Failure(FailureKind.REQUEST_HEAD_TOO_LARGE, f"more than {self._limits.request_fields} fields")
        if not CLEAN_HEAD.fullmatch(head):
            raise Failure(FailureKind.REQUEST_MALFORMED, reason_for_refusal(head))
        request_line, _, rest = head.partition(b"\r\n")
        method, target, version = request_line.split(b" ")
        if len(method) > _LONGEST_METHOD:
            raise Failure(FailureKind.REQUEST_MALFORMED, "the method is too long")
        try:
            messages, _, _ = self._parser.feed_data(b"POST / " + version + b"\r\n" + rest)
        except HttpProcessingError:
            raise Failure(FailureKind.REQUEST_MALFORMED, reason_for_refusal(head)) from None
        finally:
            self._renew()
        path = target.decode("utf-8", "surrogateescape")
        return cast("ParsedRequest", messages[0][0]._replace(method=method.decode("ascii"), path=path))

    def _too_long(self, head: bytes) -> Failure:
        """Which line is too long: the request line is a 414, any other a 400."""
        if head.find(b"\r\n") > self._limits.request_line:
            return Failure(FailureKind.REQUEST_TARGET_TOO_LONG)
        return Failure(FailureKind.REQUEST_HEAD_TOO_LARGE, "one field")


def _not_one_message(head: bytes) -> Failure:
    if head.startswith(b"PRI * HTTP/2.0"):
        return Failure(FailureKind.REQUEST_VERSION_UNSUPPORTED, "HTTP/2 preface")
    return Failure(FailureKind.REQUEST_MALFORMED, reason_for_refusal(head))

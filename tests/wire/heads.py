"""Raw heads for the tests of this floor."""

from __future__ import annotations

import contextlib
import re
from functools import partial
from typing import Any

import pytest

import albkit as alb
from albkit.errors import Failure, FailureKind
from albkit.model.message import RequestHead, ResponseHead
from albkit.model.settings import Settings
from albkit.policy.desync import verdict
from albkit.wire.http1.request import RequestReader
from albkit.wire.http1.response import _parse, read_response

HOST = b"Host: example.com"


def head(*lines: bytes) -> bytes:
    """The lines as one head."""
    return b"\r\n".join(lines) + b"\r\n\r\n"


def get(*fields: bytes, method: bytes = b"GET", target: bytes = b"/") -> bytes:
    """A request with a Host and further fields."""
    return head(method + b" " + target + b" HTTP/1.1", HOST, *fields)


_LENGTH = re.compile(rb"(?i)(\r\ncontent-length: )[1-9][0-9]*(?=\r\n)")
_DATE = re.compile(rb"\r\nDate: [^\r\n]*\r\n")


def contents(message: RequestHead | ResponseHead) -> dict[str, Any]:
    """All that is known of a message behind its head."""
    known = {name: getattr(message, name) for name in type(message).__slots__ if name != "_headers" and hasattr(message, name)}
    return known | {"headers": list(message.headers.items())} if isinstance(message, RequestHead) else known


class Reading:
    """Raw heads in, judged heads or kinds of failure out."""

    def request(self, raw: bytes, *, port: int = 80, **settings: Any) -> RequestHead:
        """What a listener on `port` makes of a request head; raises Failure.

        It makes the same of it where the fields have come before, behind other request lines and with a body of another length.
        """
        warm = self.reader(port=port, **settings)
        fields = _LENGTH.sub(rb"\g<1>7", raw[max(raw.find(b"\r\n"), 0) :])
        for line in (b"PUT /before?it HTTP/1.1", b"GET /before?it HTTP/1.1"):
            with contextlib.suppress(Failure):
                warm.read(line + fields)
        request, kind = self._outcome(self.reader(port=port, **settings), raw)
        recalled, kind_recalled = self._outcome(warm, raw)
        assert kind_recalled is kind
        if request is None:
            assert kind is not None
            raise Failure(kind, self._detail)
        assert recalled is not None
        assert contents(recalled) == contents(request)
        return request

    def reader(self, *, port: int = 80, reserved: tuple[str, ...] = (), peers: str = "anybody", **settings: Any) -> RequestReader:
        """Of a listener on `port`, which has read nothing yet."""
        described = Settings(alb.Listener(port, alb.FixedResponse(200)), **settings)
        return RequestReader(described, port, partial(verdict, described.desync_mitigation_mode), reserved, peers)

    def _outcome(self, reader: RequestReader, raw: bytes) -> tuple[RequestHead | None, FailureKind | None]:
        try:
            return reader.read(raw), None
        except Failure as failure:
            self._detail = failure.detail
            return None, failure.kind

    def lines(self, raw: bytes, *, port: int = 80, **settings: Any) -> list[bytes]:
        """The lines that are copied to the target."""
        return self.request(raw, port=port, **settings).lines

    def refusal(self, raw: bytes, *, port: int = 80, **settings: Any) -> FailureKind | None:
        """How a request is refused, `None` where it is not."""
        try:
            self.request(raw, port=port, **settings)
        except Failure as failure:
            return failure.kind
        return None

    def response(self, raw: bytes, method: str = "GET") -> ResponseHead:
        """What is made of a response head; raises Failure.

        It is the same where its like has come before, on another day.
        """
        with contextlib.suppress(Failure):
            read_response(_DATE.sub(b"\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n", raw), "GET")
        try:
            response = read_response(raw, method)
        except Failure:
            with pytest.raises(Failure):
                _parse(raw, method)
            raise
        assert contents(response) == contents(_parse(raw, method))
        return response

    def response_refusal(self, raw: bytes, method: str = "GET") -> FailureKind | None:
        """How a response is refused, `None` where it is not."""
        try:
            self.response(raw, method)
        except Failure as failure:
            return failure.kind
        return None

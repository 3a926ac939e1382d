"""Raw heads for the tests of this floor."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import albkit as alb
from albkit.errors import Failure, FailureKind
from albkit.model.message import RequestHead, ResponseHead
from albkit.model.settings import Settings
from albkit.policy.desync import verdict
from albkit.proxy.parsers import RequestParser
from albkit.wire.request import RequestReader
from albkit.wire.response import read_response

HOST = b"Host: example.com"


def head(*lines: bytes) -> bytes:
    """The lines as one head."""
    return b"\r\n".join(lines) + b"\r\n\r\n"


def get(*fields: bytes, method: bytes = b"GET", target: bytes = b"/") -> bytes:
    """A request with a Host and further fields."""
    return head(method + b" " + target + b" HTTP/1.1", HOST, *fields)


class Reading:
    """Raw heads in, judged heads or kinds of failure out; through the real parsers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._requests = RequestParser(loop)

    def request(self, raw: bytes, *, port: int = 80, **settings: Any) -> RequestHead:
        """What a listener on `port` makes of a request head; raises Failure."""
        described = Settings(alb.Listener(port, alb.FixedResponse(200)), **settings)
        reader = RequestReader(described, port, partial(verdict, described.desync_mitigation_mode))
        return reader.read(self._requests.parse(raw), raw)

    def lines(self, raw: bytes, *, port: int = 80, **settings: Any) -> list[bytes]:
        """The lines that are copied to the target; the two last places are still to be filled."""
        return self.request(raw, port=port, **settings).lines[:-2]

    def refusal(self, raw: bytes, *, port: int = 80, **settings: Any) -> FailureKind | None:
        """How a request is refused, `None` where it is not."""
        try:
            self.request(raw, port=port, **settings)
        except Failure as failure:
            return failure.kind
        return None

    def response(self, raw: bytes, method: str = "GET") -> ResponseHead:
        """What is made of a response head; raises Failure."""
        return read_response(raw, method)

    def response_refusal(self, raw: bytes, method: str = "GET") -> FailureKind | None:
        """How a response is refused, `None` where it is not."""
        try:
            self.response(raw, method)
        except Failure as failure:
            return failure.kind
        return None

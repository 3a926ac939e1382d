"""The cost of each step that every request passes, alone and without sockets. `pytest benchmarks/micro`; see README.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from multidict import CIMultiDict, CIMultiDictProxy

from albkit.model.message import ClientAddress, RequestHead
from benchmarks.work import BROWSER

__all__ = ("BROWSER_HEAD", "NOW", "WRK_HEAD", "Benchmark", "a_request")

Result = TypeVar("Result")

NOW = 1_790_000_000.5
"""Seconds since 1970."""
WRK_HEAD = b"GET /x HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
BROWSER_HEAD = "".join(["GET /x HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in BROWSER.items()), "\r\n"]).encode()


class Benchmark(Protocol):
    """pytest-benchmark's fixture: calls a function repeatedly, and returns its result."""

    def __call__(self, function: Callable[..., Result], *arguments: Any) -> Result: ...

    def pedantic(
        self,
        function: Callable[..., Result],
        *,
        setup: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]],
        rounds: int,
        warmup_rounds: int,
    ) -> Result: ...


def a_request(cookie: bytes = b"") -> RequestHead:
    """A browser's request as the parser returns it, complete enough for choosing a target."""
    request = RequestHead()
    request.method = "GET"
    request.path, request.query_string = "/x", ""
    request.host = "www.example.com"
    request.headers = CIMultiDictProxy(CIMultiDict(BROWSER))
    request.client = ClientAddress("192.0.2.1", 40000)
    request.cookie = cookie
    request.upgrade = b""
    return request

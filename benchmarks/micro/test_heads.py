"""Parsing the heads of requests and responses, and their headers."""

from __future__ import annotations

from functools import partial
from itertools import count

import pytest

import albkit as alb
from albkit.errors import Failure
from albkit.model.message import RequestHead
from albkit.model.settings import Settings
from albkit.policy.desync import verdict
from albkit.wire.http1.fields import REQUEST_FIELDS, connection_options
from albkit.wire.http1.request import RequestReader
from albkit.wire.http1.response import read_response
from benchmarks.micro import BROWSER_HEAD, WRK_HEAD, Benchmark

_HEADS = {"wrk": WRK_HEAD, "browser": BROWSER_HEAD}
_NAMES = [line.partition(b":")[0] for line in BROWSER_HEAD.split(b"\r\n")[1:-2]]
_RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Fri, 20 Nov 2026 12:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 64\r\nConnection: keep-alive\r\n\r\n"
)


@pytest.fixture
def reader() -> RequestReader:
    """A listener's parser, with all defaults."""
    settings = Settings(alb.Listener(80, alb.FixedResponse(200)))
    return RequestReader(settings, 80, partial(verdict, settings.desync_mitigation_mode))


@pytest.mark.parametrize("head", _HEADS.values(), ids=_HEADS)
def test_reading_a_request_head(benchmark: Benchmark, reader: RequestReader, head: bytes) -> None:
    """Headers that were not seen before: they are checked and prepared for forwarding."""
    numbers = count()
    start = head[:-2] + b"X-Number: "

    def read() -> RequestHead:
        return reader.read(b"%s%d\r\n\r\n" % (start, next(numbers)))

    assert benchmark(read).host == "www.example.com"


@pytest.mark.parametrize("head", _HEADS.values(), ids=_HEADS)
def test_recalling_a_request_head(benchmark: Benchmark, reader: RequestReader, head: bytes) -> None:
    """Headers that were seen before."""
    reader.read(head)
    assert benchmark(reader.read, head).host == "www.example.com"


def test_recalling_a_request_head_with_a_body_of_another_length(benchmark: Benchmark, reader: RequestReader) -> None:
    """A POST again and again."""
    numbers = count(1)
    start = BROWSER_HEAD.replace(b"GET", b"POST", 1)[:-2] + b"Content-Length: "

    def read() -> RequestHead:
        return reader.read(b"%s%d\r\n\r\n" % (start, next(numbers)))

    assert benchmark(read).content_length > 0


def test_refusing_a_request_head(benchmark: Benchmark, reader: RequestReader) -> None:
    """An invalid head is parsed a second time, to name what is wrong."""
    head = BROWSER_HEAD[:-2] + b"A(: b\r\n\r\n"

    def refuse() -> str:
        try:
            reader.read(head)
        except Failure as failure:
            return failure.detail
        return ""

    assert benchmark(refuse).startswith("NonCompliantHeader")


def test_reading_a_response_head(benchmark: Benchmark) -> None:
    """As nginx writes it."""
    assert benchmark(read_response, _RESPONSE, "GET").content_length == 64


def test_looking_up_twelve_field_names(benchmark: Benchmark) -> None:
    """A browser's."""

    def all_of_them() -> int:
        return sum(REQUEST_FIELDS[name] > 0 for name in _NAMES)

    assert benchmark(all_of_them) >= 3


def test_reading_a_connection_field(benchmark: Benchmark) -> None:
    """The value that nearly every browser sends."""
    assert benchmark(connection_options, b"keep-alive").keep_alive

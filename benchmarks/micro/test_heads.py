"""Reading the heads of requests and responses, and their fields."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial

import pytest

import albkit as alb
from albkit.model.message import RequestHead
from albkit.model.settings import Settings
from albkit.policy.desync import verdict
from albkit.proxy.parsers import RequestParser
from albkit.wire.fields import REQUEST_FIELDS, connection_options
from albkit.wire.request import RequestReader
from albkit.wire.response import read_response
from benchmarks.micro import BROWSER_HEAD, WRK_HEAD, Benchmark

_HEADS = {"wrk": WRK_HEAD, "browser": BROWSER_HEAD}
_NAMES = [line.partition(b":")[0] for line in BROWSER_HEAD.split(b"\r\n")[1:-2]]
_RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Fri, 20 Nov 2026 12:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 64\r\nConnection: keep-alive\r\n\r\n"
)


@pytest.fixture
def parser() -> Iterator[RequestParser]:
    """The one that all connections share."""
    loop = asyncio.new_event_loop()
    yield RequestParser(loop)
    loop.close()


@pytest.fixture
def reader() -> RequestReader:
    """A listener's, with every default."""
    settings = Settings(alb.Listener(80, alb.FixedResponse(200)))
    return RequestReader(settings, 80, partial(verdict, settings.desync_mitigation_mode))


@pytest.mark.parametrize("head", _HEADS.values(), ids=_HEADS)
def test_parsing_a_request_head(benchmark: Benchmark, parser: RequestParser, head: bytes) -> None:
    """aiohttp's parser alone."""
    assert benchmark(parser.parse, head).path == "/x"


@pytest.mark.parametrize("head", _HEADS.values(), ids=_HEADS)
def test_reading_a_parsed_request_head(benchmark: Benchmark, parser: RequestParser, reader: RequestReader, head: bytes) -> None:
    """What is judged, and made ready to be sent on."""
    read: Callable[..., RequestHead] = reader.read
    assert benchmark(read, parser.parse(head), head).host == "www.example.com"


@pytest.mark.parametrize("head", _HEADS.values(), ids=_HEADS)
def test_recalling_a_request_head(benchmark: Benchmark, parser: RequestParser, reader: RequestReader, head: bytes) -> None:
    """What is done instead of both where its fields have come before."""
    reader.read(parser.parse(head), head)
    recalled = benchmark(reader.recall, head)
    assert recalled is not None
    assert recalled.host == "www.example.com"


def test_reading_a_parsed_request_head_with_a_body(benchmark: Benchmark, parser: RequestParser, reader: RequestReader) -> None:
    """A field that means something takes the longer way."""
    head = BROWSER_HEAD.replace(b"GET", b"POST", 1).replace(b"\r\n\r\n", b"\r\nContent-Length: 1024\r\n\r\n")
    assert benchmark(reader.read, parser.parse(head), head).content_length == 1024


def test_reading_a_response_head(benchmark: Benchmark) -> None:
    """As nginx writes it."""
    assert benchmark(read_response, _RESPONSE, "GET").content_length == 64


def test_looking_up_twelve_field_names(benchmark: Benchmark) -> None:
    """A browser's."""

    def all_of_them() -> int:
        return sum(REQUEST_FIELDS[name] > 0 for name in _NAMES)

    assert benchmark(all_of_them) >= 3


def test_reading_a_connection_field(benchmark: Benchmark) -> None:
    """The one that nearly every browser sends."""
    assert benchmark(connection_options, b"keep-alive").keep_alive

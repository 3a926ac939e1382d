"""The facts about aiohttp's parsers that the house stands on, one test each: an aiohttp update is safe when these pass."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import pytest
from aiohttp.http import HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from albkit.errors import Failure, FailureKind
from albkit.model.limits import Limits
from albkit.proxy import parsers
from albkit.proxy.parsers import RequestParser, require_c_parsers

_HOST = b"Host: example.com"


def _head(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _get(*fields: bytes) -> bytes:
    return _head(b"GET / HTTP/1.1", _HOST, *fields)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def requests(loop: asyncio.AbstractEventLoop) -> RequestParser:
    """One parser for all tests here, as a load balancer has one for all connections."""
    return RequestParser(loop)


def _refusal(parser: RequestParser, head: bytes) -> FailureKind | None:
    try:
        parser.parse(head)
    except Failure as failure:
        return failure.kind
    return None


def _request_outcome(parser: RequestParser, head: bytes) -> Any:
    try:
        message = parser.parse(head)
    except Failure as failure:
        return failure.kind, failure.detail
    return message.method, message.path, tuple(message.version), tuple(message.raw_headers), message.chunked, tuple(message.headers.items())


# What a head becomes


def test_request_head_becomes_its_parts(requests: RequestParser) -> None:
    """Method, target as it came, version, and fields in order and case with the blanks around their values gone."""
    message = requests.parse(_head(b"POST /a%2Fb?c HTTP/1.1", b"hOST: \t a ", b"X-y:z", b"X-Y: \xff", b"Transfer-Encoding: chunked"))
    assert (message.method, message.path, tuple(message.version), message.chunked) == ("POST", "/a%2Fb?c", (1, 1), True)
    assert list(message.raw_headers) == [(b"hOST", b"a"), (b"X-y", b"z"), (b"X-Y", b"\xff"), (b"Transfer-Encoding", b"chunked")]
    assert message.headers["x-Y"] == "z"


@pytest.mark.parametrize("target", [b"//b/x", b"/%0A%00%zz%2F..%2f", b'/"<>\\^{}|[]`', b"*", b"http://b:80/x?y"])
def test_request_target_is_kept_byte_for_byte(requests: RequestParser, target: bytes) -> None:
    """Engine notes A5: `path` is right where the parsed URL is not."""
    assert requests.parse(_head(b"OPTIONS " + target + b" HTTP/1.1", _HOST)).path == target.decode()


@pytest.mark.parametrize("method", [b"FROB", b"get", b"BREW", b"X-1"])
@pytest.mark.parametrize("target", [b"/", b"/\xc3\xa9", b"/\xff\xfe"])
def test_request_beyond_the_parser_is_taken_when_it_is_clean_otherwise(requests: RequestParser, method: bytes, target: bytes) -> None:
    """Engine notes A5: custom methods and bytes >= 0x80 are refused by the parser and taken by ALB."""
    message = requests.parse(_head(method + b" " + target + b" HTTP/1.1", _HOST, b"A: b", b"Transfer-Encoding: chunked"))
    assert message.method == method.decode()
    assert message.path.encode("utf-8", "surrogateescape") == target
    assert list(message.raw_headers) == [(b"Host", b"example.com"), (b"A", b"b"), (b"Transfer-Encoding", b"chunked")]
    assert message.chunked


@pytest.mark.parametrize("method", [b"FROB", b"GET"])
@pytest.mark.parametrize(
    "fields",
    [
        (b"A b: c",),
        (b"A: b", b" c"),
        (b"A: \x01",),
        (b"Content-Length: +5",),
        (b"Content-Length: 5", b"Content-Length: 5"),
        (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked, chunked",),
        (_HOST,),
        (b"Sec-WebSocket-Key1: x",),
    ],
)
def test_request_beyond_the_parser_is_judged_like_any_other(requests: RequestParser, method: bytes, fields: tuple[bytes, ...]) -> None:
    """A strange request line is no way round the rules for fields."""
    assert _refusal(requests, _head(method + b" /\xff HTTP/1.1", _HOST, *fields)) is FailureKind.REQUEST_MALFORMED


# What the parser refuses


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(_head(b"GET / HTTP/1.1"), id="no Host"),
        pytest.param(_get(_HOST), id="Host twice"),
        pytest.param(_get(b"Content-Length: 5", b"Content-Length: 5"), id="length twice"),
        pytest.param(_get(b"Content-Length: 5", b"Transfer-Encoding: chunked"), id="CL and TE"),
        pytest.param(_get(b"Transfer-Encoding: chunked", b"Content-Length: 5"), id="TE and CL"),
        pytest.param(_get(b"Content-Length: 5, 5"), id="list of lengths"),
        pytest.param(_get(b"Content-Length: +5"), id="signed length"),
        pytest.param(_get(b"Content-Length: 18446744073709551616"), id="2^64"),
        pytest.param(_get(b"Content-Type: a", b"Content-Type: b"), id="type twice"),
        pytest.param(_get(b"A : b"), id="blank before the colon"),
        pytest.param(_get(b"A: b", b" c"), id="obs-fold"),
        pytest.param(_get(b"A: \0"), id="NUL"),
        pytest.param(_get(b"A: b\rc"), id="CR"),
        pytest.param(b"GET / HTTP/1.1\nHost: a\r\n\r\n", id="bare LF"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n", id="bare LF behind a field"),
        pytest.param(_head(b"GET /a b HTTP/1.1", _HOST), id="blank in the target"),
        pytest.param(_head(b"GET /\x7f HTTP/1.1", _HOST), id="DEL in the target"),
        pytest.param(_head(b" GET / HTTP/1.1", _HOST), id="blank before the method"),
        pytest.param(_head(b"GET / HTTP/1.1 ", _HOST), id="blank behind the version"),
        pytest.param(_head(b"GET / HTTP/1.2", _HOST), id="version 1.2"),
        pytest.param(_head(b"GET / http/1.1", _HOST), id="version in lower case"),
        pytest.param(_head(b"G(T / HTTP/1.1", _HOST), id="method that is no token"),
        pytest.param(_head(b"RTSP / RTSP/1.0", _HOST), id="RTSP"),
        pytest.param(_head(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), id="TLS"),
        pytest.param(_head(b"SSH-2.0-OpenSSH"), id="SSH"),
        pytest.param(_head(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2"), id="PROXY header"),
        pytest.param(b"\r\n\r\n", id="nothing but line ends"),
        pytest.param(_head(b"\0" * 1_000), id="NULs"),
        pytest.param(_head(b"\xff" * 1_000), id="high bytes"),
    ],
)
def test_request_head_that_is_malformed_is_a_400(requests: RequestParser, raw: bytes) -> None:
    """Engine notes A3, A5, A6; the detail is for the log and is small."""
    with pytest.raises(Failure) as raised:
        requests.parse(raw)
    assert raised.value.kind is FailureKind.REQUEST_MALFORMED
    assert len(raised.value.detail) < 300


def test_http2_preface_is_a_505(requests: RequestParser) -> None:
    """Engine notes 0: the parser waits for more, we do not (alb-reference 2.3), and the next head is none the worse."""
    assert _refusal(requests, b"PRI * HTTP/2.0\r\n\r\n") is FailureKind.REQUEST_VERSION_UNSUPPORTED
    assert _refusal(requests, _get()) is None


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9"])
def test_version_is_parsed_for_us_to_judge(requests: RequestParser, version: bytes) -> None:
    """Engine notes A5: these versions pass the parser, so the reader must look."""
    assert tuple(requests.parse(_head(b"GET / " + version, _HOST)).version) != (1, 1)


@pytest.mark.parametrize("coding", [b"gzip", b"foo", b"identity"])
def test_coding_is_parsed_for_us_to_judge(requests: RequestParser, coding: bytes) -> None:
    """Engine notes 0: head-only the parser lets other codings through, never as chunked."""
    assert not requests.parse(_get(b"Transfer-Encoding: " + coding)).chunked


# Bounds


def test_request_target_over_16_k_is_a_414(requests: RequestParser) -> None:
    """alb-reference 2.3, 6."""
    assert _refusal(requests, _head(b"GET /" + b"a" * 16_000 + b" HTTP/1.1", _HOST)) is None
    assert _refusal(requests, _head(b"GET /" + b"a" * 16_384 + b" HTTP/1.1", _HOST)) is FailureKind.REQUEST_TARGET_TOO_LONG


@pytest.mark.parametrize("position", [0, 1, 5])
@pytest.mark.parametrize("name", [b"A", b"Cookie"])
def test_request_field_over_16_k_is_a_400(requests: RequestParser, name: bytes, position: int) -> None:
    """alb-reference 2.3: one header line, whichever it is, by its value or its name."""
    before = [b"B: c"] * position
    assert _refusal(requests, _get(*before, name + b": " + b"a" * 16_000)) is None
    assert _refusal(requests, _get(*before, name + b": " + b"a" * 16_385)) is FailureKind.REQUEST_HEAD_TOO_LARGE
    assert _refusal(requests, _get(*before, b"A" * 16_385 + b": a")) is FailureKind.REQUEST_HEAD_TOO_LARGE


def test_request_fields_over_200_are_a_400(requests: RequestParser) -> None:
    """Design 4: the number of fields, Host among them; it is the size that is refused, not the form."""
    assert _refusal(requests, _get(*[b"A: b"] * 199)) is None
    kind = _refusal(requests, _get(*[b"A: b"] * 200))
    assert kind is FailureKind.REQUEST_HEAD_TOO_LARGE
    assert kind.status == 400


def test_request_bounds_are_settings(loop: asyncio.AbstractEventLoop) -> None:
    """Each bound has a setting, and it bites (design 4)."""
    small = RequestParser(loop, Limits(request_line=100, request_field=100, request_fields=5))
    assert _refusal(small, _get(b"A: b")) is None
    assert _refusal(small, _head(b"GET /" + b"a" * 200 + b" HTTP/1.1", _HOST)) is FailureKind.REQUEST_TARGET_TOO_LONG
    assert _refusal(small, _get(b"A: " + b"b" * 200)) is FailureKind.REQUEST_HEAD_TOO_LARGE
    assert _refusal(small, _get(*[b"A: b"] * 5)) is not None


# One parser for all: nothing of one message may be found in another

_REQUESTS = [
    _get(),
    _get(b"A: b", b"Cookie: c=d"),
    _head(b"POST / HTTP/1.1", _HOST, b"Content-Length: 5"),
    _head(b"POST / HTTP/1.1", _HOST, b"Content-Length: 18446744073709551615"),
    _head(b"POST / HTTP/1.1", _HOST, b"Transfer-Encoding: chunked", b"Trailer: X"),
    _get(b"Transfer-Encoding: gzip"),
    _get(b"Connection: close"),
    _get(b"Connection: close, Upgrade", b"Upgrade: foo"),
    _get(b"Connection: Upgrade", b"Upgrade: websocket"),
    _get(b"Connection: Upgrade", b"Upgrade: foo, websocket"),
    _get(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 3"),
    _get(b"Upgrade: websocket"),
    _head(b"POST / HTTP/1.1", _HOST, b"Connection: Upgrade", b"Upgrade: websocket", b"Transfer-Encoding: chunked"),
    _head(b"GET / HTTP/1.0"),
    _head(b"GET / HTTP/1.0", b"Connection: keep-alive", b"Host: a"),
    _head(b"GET / HTTP/1.0", b"Connection: Upgrade", b"Upgrade: websocket"),
    _head(b"GET /"),
    _head(b"GET / HTTP/2.0", _HOST),
    _head(b"CONNECT a:443 HTTP/1.1", b"Host: a:443"),
    _head(b"OPTIONS * HTTP/1.1", _HOST),
    _head(b"FROB /x HTTP/1.1", _HOST, b"Connection: close"),
    _head(b"GET /\xff HTTP/1.1", _HOST, b"Connection: Upgrade", b"Upgrade: websocket"),
    b"PRI * HTTP/2.0\r\n\r\n",
    b"\r\n\r\n",
    _head(b"GET / HTTP/1.1"),
    _get(_HOST),
    _get(b"A: \0"),
    _get(b"Content-Length: 5", b"Content-Length: 6"),
    _get(b"X-Late: evil", b"Content-Length: nonsense"),
    _head(b"GET /" + b"a" * 20_000 + b" HTTP/1.1", _HOST),
    _get(*[b"A: b"] * 300),
    _head(b"\x16\x03\x01"),
]


@pytest.fixture(scope="module")
def fresh_requests(loop: asyncio.AbstractEventLoop) -> dict[bytes, Any]:
    """What a parser that has seen nothing else makes of each head."""
    return {head: _request_outcome(RequestParser(loop), head) for head in _REQUESTS}


@given(st.lists(st.sampled_from(_REQUESTS), max_size=12))
@example([head for pair in zip(_REQUESTS, [_get()] * len(_REQUESTS), strict=True) for head in pair])
def test_shared_request_parser_is_as_good_as_fresh_ones(
    loop: asyncio.AbstractEventLoop, fresh_requests: dict[bytes, Any], heads: list[bytes]
) -> None:
    """Whatever heads come in whatever order, each is read as if it were the first (engine notes B3: not so with bodies)."""
    shared = RequestParser(loop)
    assert [_request_outcome(shared, head) for head in heads] == [fresh_requests[head] for head in heads]


@pytest.mark.parametrize("first", _REQUESTS, ids=lambda head: repr(head[:40]))
def test_request_is_read_right_behind_any_other(loop: asyncio.AbstractEventLoop, fresh_requests: dict[bytes, Any], first: bytes) -> None:
    """Every pair of heads."""
    for second in _REQUESTS:
        shared = RequestParser(loop)
        _request_outcome(shared, first)
        assert _request_outcome(shared, second) == fresh_requests[second]


# The C extension and debug mode


def test_c_parsers_are_in_use() -> None:
    """Here they are, and the aiohttp that these facts are of is the one that is asked for."""
    require_c_parsers()
    (wanted,) = [text for text in metadata.requires("albkit") or [] if text.startswith("aiohttp")]
    assert "3.14.5" in wanted
    assert "<3.15" in wanted.replace(" ", "")


def test_parser_refuses_to_stand_on_the_python_parser(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python parser follows other rules (engine notes 0)."""

    class Other(HttpRequestParser):
        pass

    Other.__module__ = "aiohttp.http_parser"
    monkeypatch.setattr(parsers, "HttpRequestParser", Other)
    with pytest.raises(RuntimeError, match="C extension"):
        RequestParser(loop)


_START = """
import asyncio
import albkit as alb

async def main():
    async with alb.LoadBalancer(alb.Listener(0, alb.FixedResponse(200), host="127.0.0.1")):
        print("started")

asyncio.run(main())
"""


@pytest.mark.parametrize(("extensions", "starts"), [("", True), ("1", False)], ids=["with", "without"])
def test_load_balancer_starts_only_with_the_c_extension(extensions: str, starts: bool) -> None:
    """Where it is missing the start fails, and says what to do."""
    environment = {**os.environ, "AIOHTTP_NO_EXTENSIONS": extensions}
    run = subprocess.run([sys.executable, "-c", _START], env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (run.returncode == 0) is starts
    assert ("started" in run.stdout) is starts
    if not starts:
        last = run.stderr.strip().splitlines()[-1]
        assert last.startswith("RuntimeError: ")
        assert "C extension" in last
        assert "AIOHTTP_NO_EXTENSIONS" in last

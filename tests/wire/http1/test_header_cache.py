"""Blocks of fields that have come before. `tests.wire.heads.Reading` compares each head of this folder with what is recalled of it."""

from __future__ import annotations

import re

import pytest

from albkit.wire.http1.header_cache import HeaderCache
from tests.wire.heads import HOST, Reading, contents, get, head

_LONGEST = 16_384


def _known(reading: Reading, *heads: bytes) -> HeaderCache:
    known = HeaderCache(_LONGEST)
    for raw in heads:
        known.put(raw, reading.request(raw), any_method=b"content-length" not in raw.lower())
    return known


@pytest.mark.parametrize(
    "raw",
    [
        get(target=b"/a/b?c=d"),
        get(target=b"/%2F/..//?%zz?"),
        get(method=b"DELETE", target=b"/-._~!$&'()*+,;=:@"),
        get(method=b"OPTIONS"),
        get(b"Cookie: a=1", b"Connection: keep-alive", b"Accept: */*", target=b"/x"),
    ],
)
def test_head_with_known_fields_is_recalled_as_it_would_be_read(reading: Reading, raw: bytes) -> None:
    """Whatever its line says, all that is known of it is what the parser and the reader would say."""
    known = _known(reading, get(target=b"/first") if raw.count(b"\r\n") == 3 else get(*raw.split(b"\r\n")[2:-2], target=b"/first"))
    recalled = known.get(raw)
    assert recalled is not None
    assert contents(recalled) == contents(reading.request(raw))


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.0",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"get / HTTP/1.1",
        b"TRACE / HTTP/1.1",
        b"CONNECT / HTTP/1.1",
        b"FROB / HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET http://other.example/ HTTP/1.1",
        b"GET /a#b HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET /a\tb HTTP/1.1",
        b"GET /a\x00b HTTP/1.1",
        b"GET /a\nb HTTP/1.1",
        b'GET /" HTTP/1.1',
        b"GET / HTTP/2.0",
        b"GET /",
        b"",
    ],
)
def test_line_that_is_not_plain_is_left_to_the_parser(reading: Reading, line: bytes) -> None:
    """Nothing is said of it, known fields or not."""
    known = _known(reading, get())
    assert known.get(get()) is not None
    assert known.get(head(line, HOST)) is None


@pytest.mark.parametrize(
    "line", [b"GET http://other.example/ HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET /\xc3\xa9 HTTP/1.1", b'GET /" HTTP/1.1']
)
def test_fields_behind_a_line_that_is_not_plain_are_not_remembered(reading: Reading, line: bytes) -> None:
    """An absolute-form target names the host that the fields do not."""
    assert _known(reading, head(line, HOST)).get(get()) is None


_POSTS = [
    get(b"Content-Length: 5", method=b"POST"),
    get(b"Content-Type: text/plain", b"content-length: 12345678901234567", b"Accept: */*", method=b"PATCH"),
    get(b"CONTENT-LENGTH: 1", b"Cookie: a=1", b"Connection: close", method=b"PUT", target=b"/a?b"),
]


@pytest.mark.parametrize("raw", _POSTS)
@pytest.mark.parametrize("before", [b"5", b"1", b"987654"])
def test_body_may_have_another_length(reading: Reading, raw: bytes, before: bytes) -> None:
    """All else that is known is the same, and the fields say how long this one is."""
    other = re.sub(rb"(?i)(content-length: )\d+", rb"\g<1>" + before, raw)
    recalled = _known(reading, b"POST /first" + other[other.find(b" HTTP/1.1") :]).get(raw)
    assert recalled is not None
    assert contents(recalled) == contents(reading.request(raw))


@pytest.mark.parametrize("length", [b"0", b"05", b"+5", b"5 ", b" 5", b"5, 5", b"0x5", b"1" * 19, b"", b"-1", b"5\t"])
def test_length_that_is_not_plain_is_left_to_the_parser(reading: Reading, length: bytes) -> None:
    """Whatever it may mean."""
    known = _known(reading, get(b"Content-Length: 5", method=b"POST"))
    assert known.get(get(b"Content-Length: 6", method=b"POST")) is not None
    assert known.get(get(b"Content-Length: " + length, method=b"POST")) is None
    assert known.get(get(b"Content-Length:5", method=b"POST")) is None


@pytest.mark.parametrize(
    "fields",
    [(b"Content-Length: 5", b"Content-Length: 5"), (b"Content-Length: 5", b"Transfer-Encoding: chunked"), (b"X: y", b" Content-Length: 5")],
)
def test_second_length_is_left_to_the_parser(reading: Reading, fields: tuple[bytes, ...]) -> None:
    """As is a coding beside it, and a length that continues another line."""
    known = _known(reading, get(b"Content-Length: 5", method=b"POST"))
    assert known.get(get(*fields, method=b"POST")) is None


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"HEAD", b"OPTIONS"])
def test_body_of_a_method_that_needs_none_is_left_to_the_parser(reading: Reading, method: bytes) -> None:
    """Desync mitigation has its own mind about some of them."""
    known = _known(reading, get(b"Content-Length: 5", method=b"POST"), get(b"Content-Length: 5", method=method))
    assert known.get(get(b"Content-Length: 5", method=method)) is None
    assert known.get(get(b"Content-Length: 5", method=b"POST")) is not None


def test_connection_field_cannot_take_the_length_away(reading: Reading) -> None:
    """A client that names it there has it passed on all the same, remembered or not."""
    raw = get(b"Connection: content-length", b"Content-Length: 6", method=b"POST")
    recalled = _known(reading, get(b"Connection: content-length", b"Content-Length: 5", method=b"POST")).get(raw)
    assert recalled is not None
    assert b"Content-Length: 6" in recalled.lines
    assert contents(recalled) == contents(reading.request(raw))


def test_line_that_is_too_long_is_left_to_the_parser(reading: Reading) -> None:
    """Which refuses it."""
    known = _known(reading, get())
    assert known.get(get(target=b"/" + b"a" * (_LONGEST - 14))) is not None
    assert known.get(get(target=b"/" + b"a" * (_LONGEST - 13))) is None


def test_fields_that_differ_in_a_byte_are_not_known(reading: Reading) -> None:
    """A blank more, or a letter of another case."""
    known = _known(reading, get(b"Accept: a"))
    assert [known.get(get(field)) for field in (b"Accept:  a", b"accept: a", b"Accept: b", b"Accept: a", b"X: y")][0:3] == [None] * 3
    assert known.get(get(b"Accept: a")) is not None
    assert known.get(get()) is None


def test_what_is_done_with_one_request_changes_no_other(reading: Reading) -> None:
    """Lines are added to a request and rewritten."""
    raw = get(b"Accept: a")
    known = HeaderCache(_LONGEST)
    first = reading.request(raw)
    known.put(raw, first, any_method=True)
    first.lines.append(b"X: ours")
    second = known.get(raw)
    assert second is not None
    second.lines[1] = b"Host: elsewhere"
    second.lines.append(b"X: ours")
    assert second.host == "example.com"
    assert contents(known.get(raw)) == contents(reading.request(raw))  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["monitor", "defensive", "strictest"])
def test_length_of_nothing_is_recalled_for_no_method_that_it_says_something_of(reading: Reading, mode: str) -> None:
    """Somebody's POST must not let a GET with the same fields pass without a judgement."""
    for before in (b"POST", b"PUT", b"DELETE"):
        known = HeaderCache(_LONGEST)
        raw = get(b"Content-Length: 0", method=before)
        known.put(raw, reading.request(raw, desync_mitigation_mode=mode), any_method=False)
        assert known.get(get(b"Content-Length: 0", method=b"POST")) is not None
        assert known.get(get(b"Content-Length: 0", method=b"GET")) is None
        assert known.get(get(b"Content-Length: 0", method=b"HEAD")) is None


@pytest.mark.parametrize("raw", [get(), *_POSTS, get(b"Content-Length: 0", method=b"POST"), get(method=b"POST")])
def test_what_a_trusted_proxy_tells_is_read_with_each_request(reading: Reading, raw: bytes) -> None:
    """That it tells nothing is told, too: a request that was recalled would say nothing of it."""
    reader = reading.reader(peers="trusted")
    for _ in range(2):
        told = reader.read(raw).told
        assert (told.host, told.port, told.protocol) == (b"", 0, "")

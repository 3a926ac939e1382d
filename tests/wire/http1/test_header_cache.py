"""The header cache. `tests.wire.heads.Reading` also compares each head of this folder with the result from a cache that has its fields."""

from __future__ import annotations

import re

import pytest

from albkit.wire.http1.header_cache import HeaderCache
from tests.wire.heads import HOST, Reading, contents, get, head

_LONGEST = 16_384


def _filled(reading: Reading, *heads: bytes) -> HeaderCache:
    cache = HeaderCache(_LONGEST)
    for raw in heads:
        cache.put(raw, reading.request(raw), any_method=b"content-length" not in raw.lower())
    return cache


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
def test_head_with_cached_fields_is_returned_as_it_would_be_parsed(reading: Reading, raw: bytes) -> None:
    """With another request line, the cache returns what the parser would return."""
    cache = _filled(reading, get(target=b"/first") if raw.count(b"\r\n") == 3 else get(*raw.split(b"\r\n")[2:-2], target=b"/first"))
    cached = cache.get(raw)
    assert cached is not None
    assert contents(cached) == contents(reading.request(raw))


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
    """Even if its fields are cached."""
    cache = _filled(reading, get())
    assert cache.get(get()) is not None
    assert cache.get(head(line, HOST)) is None


@pytest.mark.parametrize(
    "line", [b"GET http://other.example/ HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET /\xc3\xa9 HTTP/1.1", b'GET /" HTTP/1.1']
)
def test_fields_behind_a_line_that_is_not_plain_are_not_remembered(reading: Reading, line: bytes) -> None:
    """An absolute-form target names the host that the fields do not."""
    assert _filled(reading, head(line, HOST)).get(get()) is None


_POSTS = [
    get(b"Content-Length: 5", method=b"POST"),
    get(b"Content-Type: text/plain", b"content-length: 12345678901234567", b"Accept: */*", method=b"PATCH"),
    get(b"CONTENT-LENGTH: 1", b"Cookie: a=1", b"Connection: close", method=b"PUT", target=b"/a?b"),
]


@pytest.mark.parametrize("raw", _POSTS)
@pytest.mark.parametrize("before", [b"5", b"1", b"987654"])
def test_body_may_have_another_length(reading: Reading, raw: bytes, before: bytes) -> None:
    """The length is that of the head, and everything else that of the cached fields."""
    other = re.sub(rb"(?i)(content-length: )\d+", rb"\g<1>" + before, raw)
    cached = _filled(reading, b"POST /first" + other[other.find(b" HTTP/1.1") :]).get(raw)
    assert cached is not None
    assert contents(cached) == contents(reading.request(raw))


@pytest.mark.parametrize("length", [b"0", b"05", b"+5", b"5 ", b" 5", b"5, 5", b"0x5", b"1" * 19, b"", b"-1", b"5\t"])
def test_length_that_is_not_plain_is_left_to_the_parser(reading: Reading, length: bytes) -> None:
    """The cache does not interpret it."""
    cache = _filled(reading, get(b"Content-Length: 5", method=b"POST"))
    assert cache.get(get(b"Content-Length: 6", method=b"POST")) is not None
    assert cache.get(get(b"Content-Length: " + length, method=b"POST")) is None
    assert cache.get(get(b"Content-Length:5", method=b"POST")) is None


@pytest.mark.parametrize(
    "fields",
    [(b"Content-Length: 5", b"Content-Length: 5"), (b"Content-Length: 5", b"Transfer-Encoding: chunked"), (b"X: y", b" Content-Length: 5")],
)
def test_second_length_is_left_to_the_parser(reading: Reading, fields: tuple[bytes, ...]) -> None:
    """So is a Transfer-Encoding in addition to it, and a length in a folded line."""
    cache = _filled(reading, get(b"Content-Length: 5", method=b"POST"))
    assert cache.get(get(*fields, method=b"POST")) is None


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"HEAD", b"OPTIONS"])
def test_body_of_a_method_that_needs_none_is_left_to_the_parser(reading: Reading, method: bytes) -> None:
    """Desync mitigation classifies some of them."""
    cache = _filled(reading, get(b"Content-Length: 5", method=b"POST"), get(b"Content-Length: 5", method=method))
    assert cache.get(get(b"Content-Length: 5", method=method)) is None
    assert cache.get(get(b"Content-Length: 5", method=b"POST")) is not None


def test_connection_field_cannot_take_the_length_away(reading: Reading) -> None:
    """Content-Length is forwarded even if Connection names it, cached or not."""
    raw = get(b"Connection: content-length", b"Content-Length: 6", method=b"POST")
    cached = _filled(reading, get(b"Connection: content-length", b"Content-Length: 5", method=b"POST")).get(raw)
    assert cached is not None
    assert b"Content-Length: 6" in cached.lines
    assert contents(cached) == contents(reading.request(raw))


def test_line_that_is_too_long_is_left_to_the_parser(reading: Reading) -> None:
    """The parser rejects it."""
    cache = _filled(reading, get())
    assert cache.get(get(target=b"/" + b"a" * (_LONGEST - 14))) is not None
    assert cache.get(get(target=b"/" + b"a" * (_LONGEST - 13))) is None


def test_fields_that_differ_in_a_byte_are_not_filled(reading: Reading) -> None:
    """One more space, or a letter in another case."""
    cache = _filled(reading, get(b"Accept: a"))
    assert [cache.get(get(field)) for field in (b"Accept:  a", b"accept: a", b"Accept: b", b"Accept: a", b"X: y")][0:3] == [None] * 3
    assert cache.get(get(b"Accept: a")) is not None
    assert cache.get(get()) is None


def test_what_is_done_with_one_request_changes_no_other(reading: Reading) -> None:
    """Lines are added to a request and rewritten."""
    raw = get(b"Accept: a")
    cache = HeaderCache(_LONGEST)
    first = reading.request(raw)
    cache.put(raw, first, any_method=True)
    first.lines.append(b"X: ours")
    second = cache.get(raw)
    assert second is not None
    second.lines[1] = b"Host: elsewhere"
    second.lines.append(b"X: ours")
    assert second.host == "example.com"
    assert contents(cache.get(raw)) == contents(reading.request(raw))  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["monitor", "defensive", "strictest"])
def test_cached_length_of_0_is_not_used_for_get_and_head(reading: Reading, mode: str) -> None:
    """A GET with the fields of an earlier POST must be classified."""
    for before in (b"POST", b"PUT", b"DELETE"):
        cache = HeaderCache(_LONGEST)
        raw = get(b"Content-Length: 0", method=before)
        cache.put(raw, reading.request(raw, desync_mitigation_mode=mode), any_method=False)
        assert cache.get(get(b"Content-Length: 0", method=b"POST")) is not None
        assert cache.get(get(b"Content-Length: 0", method=b"GET")) is None
        assert cache.get(get(b"Content-Length: 0", method=b"HEAD")) is None


@pytest.mark.parametrize("raw", [get(), *_POSTS, get(b"Content-Length: 0", method=b"POST"), get(method=b"POST")])
def test_requests_of_trusted_proxies_are_not_cached(reading: Reading, raw: bytes) -> None:
    """Each has what its proxy reports about the client, even if that is nothing. A cached request would not."""
    reader = reading.reader(peers="trusted")
    for _ in range(2):
        report = reader.read(raw).proxy_report
        assert (report.host, report.port, report.protocol) == (b"", 0, "")

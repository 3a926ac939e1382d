from __future__ import annotations

import pytest

from albkit.errors import Failure, FailureKind
from albkit.wire.response import read_response
from tests.wire.heads import Reading, head

_OK = b"HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    ("line", "passed"),
    [
        (b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK"),
        (b"HTTP/1.1 200 ", b"HTTP/1.1 200 "),
        (b"HTTP/1.1 200", b"HTTP/1.1 200 "),
        (b"HTTP/1.0 200 OK", b"HTTP/1.1 200 OK"),
        (b"HTTP/1.0 404", b"HTTP/1.1 404 "),
        (b"HTTP/1.1 299 What ever: it is", b"HTTP/1.1 299 What ever: it is"),
        (b"HTTP/1.1 500 \xc3\xa9\xff", b"HTTP/1.1 500 \xc3\xa9\xff"),
        (b"HTTP/1.1 599 x", b"HTTP/1.1 599 x"),
        (b"HTTP/1.1 100 Continue", b"HTTP/1.1 100 Continue"),
    ],
    ids=repr,
)
def test_status_line_is_passed_on_in_our_version(reading: Reading, line: bytes, passed: bytes) -> None:
    """Code and reason as the target gave them; the blank behind the code is always there (RFC 9112 section 4)."""
    response = reading.response(head(line, b"A: b"))
    assert response.lines == [passed, b"A: b", b"", b""]
    assert response.status == int(line[9:12])


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 000 x",
        b"HTTP/1.1 099 x",
        b"HTTP/1.1 600 x",
        b"HTTP/1.1 999 x",
        b"HTTP/1.1 20 x",
        b"HTTP/1.1 2000 x",
        b"HTTP/1.1 2OO x",
        b"HTTP/1.1 +20 x",
        b"HTTP/1.1 -20 x",
        b"HTTP/1.1  200 x",
        b"HTTP/1.1 200x",
        b"HTTP/1.1\t200 x",
        b"HTTP/1.1 200\tx",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/0.9 200 x",
        b"HTTP/1.2 200 x",
        b"HTTP/1.10 200 x",
        b"HTTP/2.0 200 x",
        b"HTTP/2 200 x",
        b"HTTP/3.0 200 x",
        b"http/1.1 200 x",
        b"RTSP/1.0 200 x",
        b"RTSP/1.1 200 x",
        b"ICE/1.0 200 x",
        b"ICY 200 x",
        b"HTTPS/1.1 200 x",
        b" HTTP/1.1 200 x",
        b"200 x",
        b"GET / HTTP/1.1",
        b"",
        b"HTTP/1.1 200 a\0b",
        b"HTTP/1.1 200 a\x01b",
        b"HTTP/1.1 200 a\x7fb",
        b"HTTP/1.1 200 a\rb",
        b"\r\nHTTP/1.1 200 x",
        b"\x16\x03\x01",
    ],
    ids=repr,
)
def test_status_line_that_is_none_is_a_502(reading: Reading, line: bytes) -> None:
    """Versions, codes and reasons that a client might read in another way (engine notes B2)."""
    assert reading.response_refusal(head(line, b"A: b")) is FailureKind.RESPONSE_MALFORMED


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"HTTP/1.1 200 OK\nA: b\r\n\r\n", id="bare LF behind the status line"),
        pytest.param(head(_OK, b"A: b\nC: d"), id="bare LF behind a field"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\n\r\n\r\n", id="LF CR LF"),
        pytest.param(b"HTTP/1.1 200 OK\n\nHTTP/1.1 200 OK\r\n\r\n", id="a head that ends in bare LF"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\r\n\nC: d\r\n\r\n", id="an empty line by bare LF"),
        pytest.param(head(_OK, b"A: b\rC: d"), id="bare CR"),
        pytest.param(head(_OK, b"A: b", b" folded"), id="folded with a blank"),
        pytest.param(head(_OK, b"A: b", b"\tfolded"), id="folded with a tab"),
        pytest.param(head(_OK, b" A: b"), id="folded at once"),
        pytest.param(head(_OK, b"A : b"), id="blank before a colon"),
        pytest.param(head(_OK, b"Content-Length : 5"), id="blank before the colon of a length"),
        pytest.param(head(_OK, b"Content-Length\t: 5"), id="tab before the colon of a length"),
        pytest.param(head(_OK, b"Transfer-Encoding : chunked"), id="blank before the colon of TE"),
        pytest.param(head(_OK, b"Connection : close"), id="blank before the colon of Connection"),
        pytest.param(head(_OK, b"Set-Cookie : a=b"), id="blank before the colon of a cookie"),
        pytest.param(head(_OK, b"A"), id="no colon"),
        pytest.param(head(_OK, b": b"), id="no name"),
        pytest.param(head(_OK, b"A(: b"), id="no token as name"),
        pytest.param(head(_OK, b"\xc3\xa9: b"), id="high bytes in a name"),
        pytest.param(head(_OK, b"A: b\0"), id="NUL"),
        *(
            pytest.param(head(_OK, b"A: b%cc" % byte), id=f"control byte {byte:#04x}")
            for byte in (*range(1, 9), 11, 12, *range(14, 32), 127)
        ),
    ],
)
def test_head_that_is_malformed_is_a_502(reading: Reading, raw: bytes) -> None:
    """The lenient parser lets many of these through (engine notes B2); every client must read what is passed on alike."""
    assert reading.response_refusal(raw) is FailureKind.RESPONSE_MALFORMED


@pytest.mark.parametrize("count", [0, 1, 500, 600])
def test_head_of_many_fields_is_passed_on(reading: Reading, count: int) -> None:
    """The number of fields is the target's affair as long as the head is small enough."""
    response = reading.response(head(_OK, *[b"A: b"] * count))
    assert len(response.lines) == count + 3


def test_fields_keep_order_case_and_repeats(reading: Reading) -> None:
    """Cookies above all stay apart."""
    fields = [
        b"set-cookie: a=b",
        b"SET-COOKIE:c=d ",
        b"X-a: \xff",
        b"x-A:",
        b"Trailer: X",
        b"Server: mine",
        b"Date: then",
        b"A_b: c",
        b"Via: 1.1 x",
    ]
    assert reading.response(head(_OK, *fields)).lines == [_OK, *fields, b"", b""]


@pytest.mark.parametrize(
    "name", [b"Content-Type", b"Content-Location", b"Content-Range", b"ETag", b"Max-Forwards", b"Server", b"User-Agent", b"Host"]
)
def test_field_that_may_stand_once_is_judged_as_in_a_request(reading: Reading, name: bytes) -> None:
    """Responses are judged at least as strictly as requests (design 3), and a request with it twice is a 400."""
    assert reading.refusal(head(b"GET / HTTP/1.1", b"Host: example.com", name + b": a", name + b": b")) is not None
    assert reading.response_refusal(head(_OK, name + b": a", name + b": b")) is FailureKind.RESPONSE_MALFORMED


@pytest.mark.parametrize(
    "field",
    [
        b"Connection: keep-alive",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: x",
        b"Upgrade: websocket",
        b"TE: trailers",
        b"Transfer-Encoding: chunked",
    ],
)
def test_field_that_ends_here_is_not_copied(reading: Reading, field: bytes) -> None:
    """Hop-by-hop fields (RFC 9110 section 7.6.1), in any case."""
    for spelling in (field, field.upper()):
        assert reading.response(head(_OK, b"A: b", spelling, b"C: d")).lines == [_OK, b"A: b", b"C: d", b"", b""]


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        pytest.param([b"Connection: x-foo", b"X-Foo: 1", b"A: b", b"x-FOO: 2"], [b"A: b"], id="one"),
        pytest.param([b"Connection: x-foo", b"X-Foo: 1", b"X-Bar: 2", b"connection: close, X-BAR"], [], id="checklist 12 every line"),
        pytest.param([b"Connection: content-length", b"Content-Length: 5"], [b"Content-Length: 5"], id="not the length"),
        pytest.param(
            [b"Connection: content-type, date", b"Content-Type: a", b"Date: b"], [b"Content-Type: a", b"Date: b"], id="not the meaning"
        ),
    ],
)
def test_field_named_by_connection_is_not_copied(reading: Reading, fields: list[bytes], left: list[bytes]) -> None:
    """Both ways (checklist 12)."""
    assert reading.response(head(_OK, *fields)).lines == [_OK, *left, b"", b""]


@pytest.mark.parametrize(
    ("line", "fields", "chunked", "length"),
    [
        # RFC 9112 section 6.3
        pytest.param(_OK, (b"Content-Length: 5",), False, 5, id="length"),
        pytest.param(_OK, (b"Content-Length: 0",), False, 0, id="length 0"),
        pytest.param(_OK, (b"Content-Length: 9223372036854775807",), False, 2**63 - 1, id="greatest length"),
        pytest.param(_OK, (b"Transfer-Encoding: chunked",), True, -1, id="chunked"),
        pytest.param(_OK, (b"transfer-encoding: Chunked",), True, -1, id="chunked in any case"),
        pytest.param(_OK, (), False, -1, id="until close"),
        pytest.param(b"HTTP/1.0 200 OK", (), False, -1, id="1.0 until close"),
        pytest.param(b"HTTP/1.0 200 OK", (b"Content-Length: 5",), False, 5, id="1.0 length"),
        pytest.param(b"HTTP/1.1 205 x", (b"Content-Length: 0",), False, 0, id="205"),
    ],
)
def test_body_is_as_long_as_its_fields_say(reading: Reading, line: bytes, fields: tuple[bytes, ...], chunked: bool, length: int) -> None:
    """Sized, in chunks, or until the target closes."""
    response = reading.response(head(line, *fields))
    assert (response.chunked, response.content_length, response.bodiless) == (chunked, length, False)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param((b"Content-Length: 5", b"Transfer-Encoding: chunked"), id="CL and TE"),
        pytest.param((b"Transfer-Encoding: chunked", b"Content-Length: 5"), id="TE and CL"),
        pytest.param((b"Content-Length: 5", b"Content-Length: 5"), id="twice"),
        pytest.param((b"Content-Length: 5", b"Content-Length: 6"), id="two lengths"),
        pytest.param((b"Content-Length: 5, 5",), id="list"),
        pytest.param((b"Content-Length: +5",), id="sign"),
        pytest.param((b"Content-Length: 0x5",), id="hexadecimal"),
        pytest.param((b"Content-Length: 5_0",), id="underscore"),
        pytest.param((b"Content-Length: 5 5",), id="blank"),
        pytest.param((b"Content-Length:",), id="empty"),
        pytest.param((b"Content-Length: 9223372036854775808",), id="2^63"),
        pytest.param((b"Content-Length: 18446744073709551615",), id="2^64-1"),
        pytest.param((b"Content-Length: " + b"9" * 50,), id="endless"),
        pytest.param((b"Transfer-Encoding: chunked, chunked",), id="chunked twice"),
        pytest.param((b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), id="chunked on two lines"),
        pytest.param((b"Transfer-Encoding: chunked, gzip",), id="chunked not last"),
        pytest.param((b"Transfer-Encoding: gzip, chunked",), id="gzip, chunked"),
        pytest.param((b"Transfer-Encoding: gzip",), id="gzip"),
        pytest.param((b"Transfer-Encoding: identity",), id="identity"),
        pytest.param((b"Transfer-Encoding: identity", b"Content-Length: 5"), id="identity and CL"),
        pytest.param((b"Transfer-Encoding: foo",), id="unknown"),
        pytest.param((b"Transfer-Encoding:",), id="empty TE"),
        pytest.param((b"Transfer-Encoding: chunked\t ",), id="chunked and a tab"),
        pytest.param((b"Transfer-Encoding: chunked;a=b",), id="parameter"),
        pytest.param((b"Transfer-Encoding: xchunked",), id="xchunked"),
    ],
)
@pytest.mark.parametrize("line", [_OK, b"HTTP/1.0 200 OK"], ids=["1.1", "1.0"])
def test_body_framed_in_two_ways_is_a_502(reading: Reading, line: bytes, fields: tuple[bytes, ...]) -> None:
    """Checklist 5: bad or double lengths, both fields, unknown codings."""
    assert reading.response_refusal(head(line, *fields)) is FailureKind.RESPONSE_MALFORMED


def test_body_in_chunks_in_http_1_0_is_a_502(reading: Reading) -> None:
    """RFC 9112 section 6.1: the framing of such a message is faulty."""
    assert reading.response_refusal(head(b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked")) is FailureKind.RESPONSE_MALFORMED


@pytest.mark.parametrize("line", [b"HTTP/1.1 100 x", b"HTTP/1.1 103 x", b"HTTP/1.1 199 x", b"HTTP/1.1 204 x"])
def test_informational_and_204_have_no_body_and_no_length(reading: Reading, line: bytes) -> None:
    """No body follows whatever the fields say, and no length is passed on (RFC 9110 section 8.6)."""
    for fields in ((), (b"Content-Length: 5",), (b"content-length:0",), (b"Transfer-Encoding: chunked",)):
        response = reading.response(head(line, *fields, b"A: b"))
        assert (response.bodiless, response.chunked, response.content_length) == (True, False, 0)
        assert response.lines == [line, b"A: b", b"", b""]


def test_304_and_head_have_no_body_and_keep_their_length(reading: Reading) -> None:
    """The length is of what a GET would have got (RFC 9110 section 8.6, checklist 7)."""
    for line, method in ((b"HTTP/1.1 304 x", "GET"), (b"HTTP/1.1 200 OK", "HEAD"), (b"HTTP/1.1 404 x", "HEAD")):
        response = reading.response(head(line, b"Content-Length: 5"), method)
        assert (response.bodiless, response.chunked, response.content_length) == (True, False, 0)
        assert response.lines == [line, b"Content-Length: 5", b"", b""]
        chunked = reading.response(head(line, b"Transfer-Encoding: chunked"), method)
        assert (chunked.bodiless, chunked.chunked, chunked.content_length) == (True, False, 0)


def test_head_after_head_is_a_response_of_its_own(reading: Reading) -> None:
    """Engine notes B1: a parser that waits for the body of a HEAD would eat the next response."""
    reading.response(head(_OK, b"Content-Length: 5"), "HEAD")
    assert reading.response(head(b"HTTP/1.1 201 Created")).status == 201


@pytest.mark.parametrize(
    ("line", "fields", "stays"),
    [
        pytest.param(_OK, (), True, id="1.1"),
        pytest.param(_OK, (b"Connection: close",), False, id="1.1 close"),
        pytest.param(_OK, (b"Connection: Close, x",), False, id="1.1 close among others"),
        pytest.param(_OK, (b"Connection: keep-alive", b"Connection: close"), False, id="1.1 close on a second line"),
        pytest.param(_OK, (b"Connection: x",), True, id="1.1 another option"),
        pytest.param(b"HTTP/1.0 200 OK", (), False, id="1.0"),
        pytest.param(b"HTTP/1.0 200 OK", (b"Connection: keep-alive",), True, id="1.0 keep-alive"),
        pytest.param(b"HTTP/1.0 200 OK", (b"Connection: keep-alive, close",), False, id="1.0 close wins"),
    ],
)
def test_connection_stays_as_the_target_says(reading: Reading, line: bytes, fields: tuple[bytes, ...], stays: bool) -> None:
    """RFC 9112 section 9.3."""
    assert reading.response(head(line, *fields, b"Content-Length: 0")).keep_alive is stays


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"timeout=5", 5),
        (b"timeout=5, max=100", 5),
        (b"max=100, timeout=5", 5),
        (b"Timeout = 5", 5),
        (b"max=100;timeout=5", 5),
        (b"timeout=0", 0),
        (b"max=100", None),
        (b"timeout", None),
        (b"timeout=", None),
        (b"timeout=x", None),
        (b"timeout=-5", None),
        (b"xtimeout=5", None),
        (b"", None),
    ],
    ids=repr,
)
def test_keep_alive_timeout_is_read(reading: Reading, value: bytes, seconds: float | None) -> None:
    """How long the target keeps an idle connection, where it says so."""
    assert reading.response(head(_OK, b"Keep-Alive: " + value)).keep_alive_timeout == seconds


def test_keep_alive_timeout_is_unknown_without_the_field(reading: Reading) -> None:
    """Most targets do not say."""
    assert reading.response(head(_OK)).keep_alive_timeout is None


@pytest.mark.parametrize(
    ("line", "fields", "upgrade"),
    [
        pytest.param(b"HTTP/1.1 101 x", (b"Connection: Upgrade", b"Upgrade: websocket"), b"websocket", id="101"),
        pytest.param(b"HTTP/1.1 101 x", (b"upgrade: Foo", b"connection: keep-alive, upgrade"), b"Foo", id="101 list of options"),
        pytest.param(b"HTTP/1.1 101 x", (b"Connection: Upgrade", b"Upgrade: a", b"Content-Length: 5"), b"a", id="101 with a length"),
        pytest.param(b"HTTP/1.1 101 x", (b"Upgrade: websocket",), b"", id="101 without Connection"),
        pytest.param(b"HTTP/1.1 101 x", (b"Connection: Upgrade",), b"", id="101 without Upgrade"),
        pytest.param(b"HTTP/1.1 101 x", (b"Connection: close", b"Upgrade: websocket"), b"", id="101 with another option"),
        pytest.param(_OK, (b"Connection: Upgrade", b"Upgrade: websocket"), b"", id="200"),
        pytest.param(b"HTTP/1.1 426 x", (b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 0"), b"", id="426"),
        pytest.param(b"HTTP/1.1 100 x", (b"Connection: Upgrade", b"Upgrade: websocket"), b"", id="100"),
    ],
)
def test_protocol_is_switched_on_a_101_only(reading: Reading, line: bytes, fields: tuple[bytes, ...], upgrade: bytes) -> None:
    """Both fields, and that status (RFC 9110 section 7.8; engine notes B1)."""
    response = reading.response(head(line, *fields, b"Sec-WebSocket-Accept: x"))
    assert response.upgrade == upgrade
    assert b"Sec-WebSocket-Accept: x" in response.lines
    assert not [field for field in response.lines if field.lower().startswith((b"connection", b"upgrade"))]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"HTTP/1.1 200 OK\n\nHTTP/1.1 200 OK\r\n\r\n", id="a second response"),
        pytest.param(b"HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\r\n\r\n", id="a final one behind a 100"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 0\n\nHTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\n\r\n", id="with fields"),
        pytest.param(b"\r\n\r\n", id="none"),
        pytest.param(head(b"HTTP/1.1 200 OK", b"Content-Length: 5", b"Content-Length: 5"), id="length twice"),
        pytest.param(head(b"HTTP/1.1 200 OK", b"Content-Length: 5", b"Transfer-Encoding: chunked"), id="CL and TE"),
        pytest.param(head(b"HTTP/1.1 20 OK"), id="code of two digits"),
        pytest.param(head(b"HTTP/1.1 2000 OK"), id="code of four digits"),
        pytest.param(head(b"garbage"), id="garbage"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", id="a request"),
        pytest.param(head(b"HTTP/1.1 200 OK", b"A(: b"), id="name that is no token"),
        pytest.param(head(b"HTTP/1.1 200 OK", b"A: \0"), id="NUL"),
    ],
)
def test_response_head_that_is_not_one_is_a_502(raw: bytes) -> None:
    """Engine notes 0 and B2: two messages in one head, or none; the detail is for the log and is small."""
    with pytest.raises(Failure) as raised:
        read_response(raw, "GET")
    assert raised.value.kind is FailureKind.RESPONSE_MALFORMED
    assert len(raised.value.detail) < 300
    assert "\n" not in raised.value.detail


def test_response_head_of_32_k_is_taken_whatever_it_is_made_of() -> None:
    """The whole head is bounded elsewhere; within that neither one field nor their number is (alb-reference 2.8)."""
    assert read_response(head(_OK, b"A: " + b"b" * 32_000), "GET").status == 200
    assert read_response(head(_OK, *[b"Set-Cookie: a=b; Path=/; Secure"] * 900), "GET").status == 200
    assert read_response(head(b"HTTP/1.1 200 " + b"x" * 32_000), "GET").status == 200


@pytest.mark.parametrize("raw", [b"\r\n" + head(_OK), b"\n" + head(_OK), b" " + head(_OK), head(_OK) + b"x"], ids=repr)
def test_response_head_with_anything_around_it_is_a_502(raw: bytes) -> None:
    """A blank line before the status line would shift every line behind it."""
    with pytest.raises(Failure):
        read_response(raw, "GET")

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albkit.errors import Failure, FailureKind
from albkit.wire.http1.response import check_partial_head, read_response
from tests.support.effort import cases
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
    assert response.lines == [passed, b"A: b"]
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
    kind = FailureKind.RESPONSE_MALFORMED if line.startswith(b"HTTP/1.") else FailureKind.RESPONSE_NOT_HTTP
    assert reading.response_refusal(head(line, b"A: b")) is kind


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
    kind = FailureKind.RESPONSE_BARE_LF if re.search(rb"(^|[^\r])\n", raw) else FailureKind.RESPONSE_MALFORMED
    assert reading.response_refusal(raw) is kind


@pytest.mark.parametrize("count", [0, 1, 500, 600])
def test_head_of_many_fields_is_passed_on(reading: Reading, count: int) -> None:
    """The number of fields is the target's affair as long as the head is small enough."""
    response = reading.response(head(_OK, *[b"A: b"] * count))
    assert len(response.lines) == count + 1


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
    assert reading.response(head(_OK, *fields)).lines == [_OK, *fields]


@pytest.mark.parametrize(
    "name", [b"Content-Type", b"Content-Location", b"Content-Range", b"ETag", b"Server", b"Date", b"Location", b"Max-Forwards", b"Host"]
)
@pytest.mark.parametrize("values", [(b"a", b"a"), (b"a", b"b"), (b"", b"b", b"")], ids=["alike", "unlike", "empty"])
def test_field_that_says_nothing_of_framing_may_stand_more_than_once(reading: Reading, name: bytes, values: tuple[bytes, ...]) -> None:
    """Many servers send one of these twice, and what it means is the client's affair: they are passed on as they came."""
    fields = [name + b": " + value for value in values]
    assert reading.response(head(_OK, *fields, b"A: b")).lines == [_OK, *fields, b"A: b"]


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
        assert reading.response(head(_OK, b"A: b", spelling, b"C: d")).lines == [_OK, b"A: b", b"C: d"]


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
    assert reading.response(head(_OK, *fields)).lines == [_OK, *left]


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
        pytest.param((b"Content-Length: 5", b"Content-Length: 05"), id="two spellings of a length"),
        pytest.param((b"Content-Length: 5", b"Content-Length:"), id="a length and none"),
        pytest.param((b"Content-Length: 5", b"Server: a", b"content-length: 50"), id="two lengths apart"),
        pytest.param((b"Content-Length: 5", b"Content-Length: 6"), id="two lengths"),
        pytest.param((b"Content-Length: 5, 6",), id="list of two lengths"),
        pytest.param((b"Content-Length: 5,",), id="list with nothing in it"),
        pytest.param((b"Content-Length: 5, -5",), id="list with a sign"),
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
        pytest.param((b"Transfer-Encoding: chunked\t,",), id="chunked, a tab and a comma"),
        pytest.param((b"Transfer-Encoding: chun\tked",), id="a tab within chunked"),
        pytest.param((b"Transfer-Encoding: chunked;a=b",), id="parameter"),
        pytest.param((b"Transfer-Encoding: xchunked",), id="xchunked"),
    ],
)
@pytest.mark.parametrize("line", [_OK, b"HTTP/1.0 200 OK"], ids=["1.1", "1.0"])
def test_body_framed_in_two_ways_is_a_502(reading: Reading, line: bytes, fields: tuple[bytes, ...]) -> None:
    """Checklist 5: bad or double lengths, both fields, unknown codings."""
    assert reading.response_refusal(head(line, *fields)) is FailureKind.RESPONSE_MALFORMED


_ONE_READING = [
    pytest.param([b"Content-Length:\t5"], id="tab before"),
    pytest.param([b"Content-Length: \t 5"], id="blanks and a tab before"),
    pytest.param([b"Content-Length: 5\t"], id="tab behind"),
    pytest.param([b"content-length:5   "], id="blanks behind"),
    pytest.param([b"Content-Length: 05"], id="leading zero"),
    pytest.param([b"Content-Length: 5", b"Content-Length: 5"], id="twice"),
    pytest.param([b"Content-Length: 5", b"Server: a", b"CONTENT-LENGTH:5\t"], id="twice and apart"),
    pytest.param([b"Content-Length: 5, 5"], id="list"),
    pytest.param([b"Content-Length: 5\t,5,5", b"content-length: 5"], id="list and another line"),
]


@pytest.mark.parametrize("fields", _ONE_READING)
@pytest.mark.parametrize(("line", "method"), [(_OK, "GET"), (_OK, "HEAD"), (b"HTTP/1.1 304 x", "GET"), (b"HTTP/1.0 200 OK", "GET")])
def test_length_that_has_one_reading_is_written_clean(reading: Reading, line: bytes, method: str, fields: list[bytes]) -> None:
    """Blanks around it, and the same length twice, are taken; what goes on is one line that no client reads in another way."""
    response = reading.response(head(line, b"A: b", *fields, b"C: d"), method)
    others = [field for field in fields if not field.lower().startswith(b"content-length")]
    first = b"HTTP/1.1" + line[8:]
    assert response.lines == [first, b"A: b", *others, b"C: d", b"Content-Length: 5"]
    assert response.content_length == (0 if response.bodiless else 5)


@pytest.mark.parametrize("field", [b"Content-Length: 5", b"content-length:5", b"CONTENT-LENGTH: 5", b"Content-Length: 0"])
def test_length_that_is_clean_is_passed_on_as_it_came(reading: Reading, field: bytes) -> None:
    """In its place, and in its letters."""
    assert reading.response(head(_OK, b"A: b", field, b"C: d")).lines == [_OK, b"A: b", field, b"C: d"]


@pytest.mark.parametrize("value", [b"chunked\t", b"\tchunked", b"\t chunked \t ", b" CHUNKED  ", b"chunked"], ids=repr)
def test_chunked_with_blanks_around_it_is_chunked(reading: Reading, value: bytes) -> None:
    """The field ends here, and is written anew where the client gets chunks."""
    response = reading.response(head(_OK, b"Transfer-Encoding:" + value, b"A: b"))
    assert (response.chunked, response.content_length) == (True, -1)
    assert response.lines == [_OK, b"A: b"]


def test_body_in_chunks_in_http_1_0_is_a_502(reading: Reading) -> None:
    """RFC 9112 section 6.1: the framing of such a message is faulty."""
    assert reading.response_refusal(head(b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked")) is FailureKind.RESPONSE_MALFORMED


@pytest.mark.parametrize("line", [b"HTTP/1.1 100 x", b"HTTP/1.1 103 x", b"HTTP/1.1 199 x", b"HTTP/1.1 204 x"])
def test_informational_and_204_have_no_body_and_no_length(reading: Reading, line: bytes) -> None:
    """No body follows whatever the fields say, and no length is passed on (RFC 9110 section 8.6)."""
    for fields in ((), (b"Content-Length: 5",), (b"content-length:0",), (b"Transfer-Encoding: chunked",)):
        response = reading.response(head(line, *fields, b"A: b"))
        assert (response.bodiless, response.chunked, response.content_length) == (True, False, 0)
        assert response.lines == [line, b"A: b"]


def test_304_and_head_have_no_body_and_keep_their_length(reading: Reading) -> None:
    """The length is of what a GET would have got (RFC 9110 section 8.6, checklist 7)."""
    for line, method in ((b"HTTP/1.1 304 x", "GET"), (b"HTTP/1.1 200 OK", "HEAD"), (b"HTTP/1.1 404 x", "HEAD")):
        response = reading.response(head(line, b"Content-Length: 5"), method)
        assert (response.bodiless, response.chunked, response.content_length) == (True, False, 0)
        assert response.lines == [line, b"Content-Length: 5"]
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
    ("fields", "upgrade"),
    [
        pytest.param([b"Connection: Upgrade", b"Upgrade: websocket"], b"websocket", id="as it should be"),
        pytest.param([b"Upgrade: websocket"], b"websocket", id="without Connection"),
        pytest.param([b"upgrade:\tTLS/1.0, HTTP/1.1 ", b"Connection: close, Upgrade"], b"TLS/1.0, HTTP/1.1", id="two protocols"),
        pytest.param([b"Upgrade: a", b"Connection: Upgrade, X-Foo", b"X-Foo: 1", b"Upgrade: b"], b"a, b", id="two lines"),
        pytest.param([b"Upgrade: h2c, websocket", b"Connection: Upgrade"], b"websocket", id="h2c among others"),
        pytest.param([b"Upgrade: h2c", b"Connection: Upgrade"], b"", id="h2c alone"),
        pytest.param([b"Upgrade:", b"Connection: Upgrade"], b"", id="nothing"),
        pytest.param([b"Connection: Upgrade"], b"", id="no Upgrade"),
    ],
)
def test_protocol_that_a_426_requires_is_told_the_client(reading: Reading, fields: list[bytes], upgrade: bytes) -> None:
    """Both fields are hop-by-hop, and so written anew (RFC 9110 section 15.5.22); what is never passed on is not offered."""
    response = reading.response(head(b"HTTP/1.1 426 x", b"A: b", *fields, b"Content-Length: 0"))
    told = [b"Upgrade: " + upgrade, b"Connection: Upgrade"] if upgrade else []
    assert response.lines == [b"HTTP/1.1 426 x", b"A: b", b"Content-Length: 0", *told]
    assert response.upgrade == b""


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"HTTP/1.1 200 OK\n\nHTTP/1.1 200 OK\r\n\r\n", id="a second response"),
        pytest.param(b"HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\r\n\r\n", id="a final one behind a 100"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 0\n\nHTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\n\r\n", id="with fields"),
        pytest.param(b"\r\n\r\n", id="none"),
        pytest.param(head(b"HTTP/1.1 200 OK", b"Content-Length: 5", b"Content-Length: 6"), id="two lengths"),
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
    assert raised.value.kind in (FailureKind.RESPONSE_MALFORMED, FailureKind.RESPONSE_NOT_HTTP, FailureKind.RESPONSE_BARE_LF)
    assert len(raised.value.detail) < 500
    assert "\n" not in raised.value.detail


def test_response_head_of_32_k_is_taken_whatever_it_is_made_of() -> None:
    """The whole head is bounded elsewhere; within that neither one field nor their number is (docs/alb.md 2.8)."""
    assert read_response(head(_OK, b"A: " + b"b" * 32_000), "GET").status == 200
    assert read_response(head(_OK, *[b"Set-Cookie: a=b; Path=/; Secure"] * 900), "GET").status == 200
    assert read_response(head(b"HTTP/1.1 200 " + b"x" * 32_000), "GET").status == 200


@pytest.mark.parametrize("raw", [b"\r\n" + head(_OK), b"\n" + head(_OK), b" " + head(_OK), head(_OK) + b"x"], ids=repr)
def test_response_head_with_anything_around_it_is_a_502(raw: bytes) -> None:
    """A blank line before the status line would shift every line behind it."""
    with pytest.raises(Failure):
        read_response(raw, "GET")


@pytest.mark.parametrize(
    ("whole", "kind", "after"),
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2p1\r\n", FailureKind.RESPONSE_NOT_HTTP, 1, id="SSH"),
        pytest.param(b"220 mail.example.com ESMTP\r\n", FailureKind.RESPONSE_NOT_HTTP, 1, id="SMTP"),
        pytest.param(b"HELO", FailureKind.RESPONSE_NOT_HTTP, 2, id="nearly"),
        pytest.param(b"HTTP/2.0 200 OK\r\n", FailureKind.RESPONSE_NOT_HTTP, 6, id="another version"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x46", FailureKind.RESPONSE_NOT_HTTP, 1, id="TLS alert"),
        pytest.param(b"\r\nHTTP/1.1 200 OK\r\n", FailureKind.RESPONSE_NOT_HTTP, 1, id="an empty line"),
        pytest.param(b"HTTP/1.1 200 OK\nA: b\n\n", FailureKind.RESPONSE_BARE_LF, 16, id="LF behind the status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n", FailureKind.RESPONSE_BARE_LF, 22, id="LF behind a field"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\n", FailureKind.RESPONSE_BARE_LF, 18, id="LF alone at the end"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\r\r\nC: d\r\n", None, 0, id="CR CR LF is judged with the whole head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\r\n", None, 0, id="a head that comes"),
        pytest.param(b"", None, 0, id="nothing"),
    ],
)
def test_beginning_is_refused_with_the_first_byte_that_shows_it(whole: bytes, kind: FailureKind | None, after: int) -> None:
    """In pieces of one byte, and at once."""
    part = bytearray()
    refused = None
    for size, byte in enumerate(whole, 1):
        part.append(byte)
        try:
            check_partial_head(part, size - 1)
        except Failure as failure:
            refused = failure.kind, size
            break
    assert refused == (None if kind is None else (kind, after))
    if kind is None:
        check_partial_head(whole)
    else:
        with pytest.raises(Failure) as raised:
            check_partial_head(whole)
        assert raised.value.kind is kind


@pytest.mark.no_cover
def test_beginning_costs_its_own_length_whatever_it_is_made_of() -> None:
    """A million CR, and as many line ends: each byte is looked at once."""
    for filling in (b"\r", b"\r\n", b"a\r\n"):
        part = b"HTTP/1.1 200 OK\r\n" + filling * (1_000_000 // len(filling))
        before = time.process_time()
        check_partial_head(part)
        with pytest.raises(Failure):
            read_response(part, "GET")
        assert time.process_time() - before < 2


_LINE_PIECES = [
    *(b"Content-Length", b"content-length", b"Transfer-Encoding", b"Connection", b"Upgrade", b"Date", b"Server", b"X", b":", b": ", b" "),
    *(b"\t", b"\r\n", b"\n", b"\r", b"5", b"05", b"5, 5", b"chunked", b"close", b"upgrade", b"websocket", b",", b"\0", b"\xff", b"X-A"),
]
_HEADS = st.builds(
    lambda line, pieces: line + b"\r\n" + b"".join(pieces) + b"\r\n\r\n",
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 200", b"HTTP/1.1 426 x", b"HTTP/1.1 204 x", b"HTTP/1.1 304 ", b"HTTP/1.1 101 x"]),
    st.lists(st.sampled_from(_LINE_PIECES), max_size=30),
)
_STRICT = re.compile(rb"HTTP/1\.1 [1-5][0-9]{2} [\t -~\x80-\xff]*(\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*)*")


@given(_HEADS, st.sampled_from(["GET", "HEAD"]))
@settings(max_examples=cases(500, part=5))
def test_whatever_comes_goes_on_in_one_reading_or_not_at_all(raw: bytes, method: str) -> None:
    """By the strict grammar, with one length at most, and that in digits; nothing of hop-by-hop but what we write."""
    try:
        response = read_response(raw, method)
    except Failure:
        return
    lines = response.lines
    assert _STRICT.fullmatch(b"\r\n".join(lines))
    names = [line.partition(b":")[0].lower() for line in lines[1:]]
    lengths = [line.partition(b":")[2] for line in lines[1:] if line.lower().startswith(b"content-length:")]
    assert len(lengths) <= 1
    assert b"transfer-encoding" not in names
    if lengths:
        assert re.fullmatch(rb" ?(0|[1-9][0-9]*)", lengths[0])
        assert response.bodiless or response.content_length == int(lengths[0])
    assert not (lengths and response.chunked)
    hop = [line for line in lines[1:] if line.lower().startswith((b"connection:", b"upgrade:"))]
    assert not hop or (response.status == 426 and len(hop) == 2 and hop[1] == b"Connection: Upgrade")

from __future__ import annotations

import hpack
import pytest

from albkit.errors import Failure, FailureKind
from albkit.model.message import ResponseHead
from albkit.wire.http1.response import read_response
from albkit.wire.http2.response import response_block, response_head
from tests.wire.heads import contents
from tests.wire.http2.test_fields import BAD_FIELDS

Field = tuple[bytes, bytes]

_OK = (b":status", b"200")


def _refused(fields: list[Field], method: str = "GET", *, ended: bool = False) -> None:
    with pytest.raises(Failure) as caught:
        response_head(fields, method, ended=ended)
    assert caught.value.kind is FailureKind.RESPONSE_MALFORMED
    assert caught.value.detail


def _read(*fields: Field, status: bytes = b"200", method: str = "GET", ended: bool = False) -> ResponseHead:
    return response_head([(b":status", status), *fields], method, ended=ended)


# From a target.


def test_response_becomes_a_head() -> None:
    """Every attribute that the reader of HTTP/1.1 sets, with the same meaning."""
    response = _read(
        (b"content-type", b"text/html"), (b"content-length", b"5"), (b"date", b"x"), (b"set-cookie", b"a=b"), (b"set-cookie", b"c=d")
    )
    lines = [b"content-type: text/html", b"content-length: 5", b"date: x", b"set-cookie: a=b", b"set-cookie: c=d"]
    assert response.lines == [b"HTTP/1.1 200 OK", *lines]
    assert contents(response) == contents(read_response(b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""]), "GET"))


def test_response_is_a_new_object_each_time() -> None:
    """The exchange changes its lines."""
    first, second = _read((b"a", b"b")), _read((b"a", b"b"))
    first.lines.append(b"x: y")
    assert second.lines == [b"HTTP/1.1 200 OK", b"a: b"]
    assert _read((b"a", b"b")).lines == [b"HTTP/1.1 200 OK", b"a: b"]


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (b"204", b"HTTP/1.1 204 No Content"),
        (b"404", b"HTTP/1.1 404 Not Found"),
        (b"599", b"HTTP/1.1 599 "),
        (b"299", b"HTTP/1.1 299 "),
        (b"103", b"HTTP/1.1 103 Early Hints"),
    ],
)
def test_status_line_has_the_phrase_of_the_status(status: bytes, line: bytes) -> None:
    """HTTP/2 has none; a blank stays behind an unknown status (RFC 9112 section 4)."""
    response = _read(status=status)
    assert response.lines == [line]
    assert response.status == int(status)


@pytest.mark.parametrize(
    ("fields", "status", "method", "ended", "length", "bodiless", "added"),
    [
        ([], b"200", "GET", False, -1, False, []),
        ([], b"200", "GET", True, 0, False, [b"content-length: 0"]),
        ([(b"content-length", b"5")], b"200", "GET", False, 5, False, [b"content-length: 5"]),
        ([(b"content-length", b"0")], b"200", "GET", True, 0, False, [b"content-length: 0"]),
        ([(b"content-length", b"5")], b"200", "HEAD", True, 0, True, [b"content-length: 5"]),
        ([], b"200", "HEAD", True, 0, True, []),
        ([(b"content-length", b"5")], b"304", "GET", True, 0, True, [b"content-length: 5"]),
        ([], b"304", "GET", False, 0, True, []),
        ([(b"content-length", b"0")], b"204", "GET", True, 0, True, []),
        ([(b"content-length", b"0")], b"103", "GET", False, 0, True, []),
        ([], b"100", "POST", False, 0, True, []),
        ([], b"404", "GET", True, 0, False, [b"content-length: 0"]),
    ],
    ids=repr,
)
def test_length_of_the_body(
    fields: list[Field], status: bytes, method: str, ended: bool, length: int, bodiless: bool, added: list[bytes]
) -> None:
    """-1 if it is not declared. A 1xx and a 204 have no Content-Length (RFC 9110 section 8.6)."""
    response = _read(*fields, status=status, method=method, ended=ended)
    assert (response.content_length, response.bodiless, response.lines[1:]) == (length, bodiless, added)
    assert (response.chunked, response.keep_alive, response.keep_alive_timeout, response.upgrade) == (False, True, None, b"")


def test_date_is_noticed() -> None:
    """The load balancer adds one otherwise."""
    assert _read((b"date", b"x")).has_date
    assert not _read((b"x-date", b"x")).has_date


def test_hop_by_hop_fields_that_are_not_malformed_are_left_out() -> None:
    """As from a target that uses HTTP/1.1."""
    assert _read((b"te", b"trailers"), (b"proxy-authenticate", b"x"), (b"a", b"b")).lines[1:] == [b"a: b"]


@pytest.mark.parametrize("field", BAD_FIELDS, ids=repr)
def test_malformed_field_is_refused(field: Field) -> None:
    """RFC 9113 sections 8.2.1 and 8.2.2."""
    _refused([_OK, field])
    _refused([_OK, (b"a", b"b"), field, (b"c", b"d")])


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"a", b"b")],
        [(b"a", b"b"), _OK],
        [_OK, _OK],
        [_OK, (b"a", b"b"), _OK],
        [_OK, (b":path", b"/")],
        [(b":path", b"/"), _OK],
        [(b":method", b"GET")],
    ],
    ids=repr,
)
def test_status_is_the_only_pseudo_field_and_the_first(fields: list[Field]) -> None:
    """RFC 9113 section 8.3.2."""
    _refused(fields)


@pytest.mark.parametrize(
    "status", [b"", b"20", b"2000", b"099", b"600", b"2xx", b"+20", b" 200", b"200 ", b"200 OK", b"\xb2\xb2\xb2"], ids=repr
)
def test_malformed_status_is_refused(status: bytes) -> None:
    """Three digits, from 100 to 599."""
    _refused([(b":status", status)])


def test_switching_protocols_is_refused() -> None:
    """RFC 9113 section 8.6: HTTP/2 has no 101."""
    _refused([(b":status", b"101")])


@pytest.mark.parametrize("status", [b"100", b"103"])
def test_interim_response_that_ends_the_stream_is_refused(status: bytes) -> None:
    """RFC 9113 section 8.1."""
    _refused([(b":status", status)], ended=True)


@pytest.mark.parametrize("value", [b"", b"x", b"-1", b"05", b"5, 5", b"1" * 19], ids=repr)
def test_malformed_content_length_is_refused(value: bytes) -> None:
    """Or repeated, or with the end of the stream."""
    _refused([_OK, (b"content-length", value)])


def test_contradicting_content_length_is_refused() -> None:
    """RFC 9113 section 8.1.1."""
    _refused([_OK, (b"content-length", b"5"), (b"content-length", b"5")])
    _refused([_OK, (b"content-length", b"5"), (b"content-length", b"6")])
    _refused([_OK, (b"content-length", b"5")], ended=True)


# To a client.


def _decoded(block: bytes) -> list[Field]:
    return [(bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(block, raw=True)]


def test_response_is_encoded_for_a_client() -> None:
    """The status line is not looked at; items may hold several lines."""
    lines = [b"HTTP/1.1 200 OK", b"Content-Type: text/html", b"Set-Cookie: a=b", b"Set-Cookie: c=d", b"Date: x\r\nServer: y"]
    assert _decoded(response_block(lines, 404)) == [
        (b":status", b"404"),
        (b"content-type", b"text/html"),
        (b"set-cookie", b"a=b"),
        (b"set-cookie", b"c=d"),
        (b"date", b"x"),
        (b"server", b"y"),
    ]
    assert _decoded(response_block([b"HTTP/1.1 204 No Content"], 204)) == [(b":status", b"204")]


@pytest.mark.parametrize(
    "line",
    [b"Connection: close, Upgrade", b"Keep-Alive: timeout=5", b"Proxy-Connection: x", b"Transfer-Encoding: chunked", b"Upgrade: websocket"],
    ids=repr,
)
def test_connection_specific_fields_are_left_out(line: bytes) -> None:
    """Those of a 426 too (RFC 9113 section 8.2.2)."""
    assert _decoded(response_block([b"", b"A: b", line, b"C: d\r\n" + line], 426)) == [(b":status", b"426"), (b"a", b"b"), (b"c", b"d")]


@pytest.mark.parametrize("line", [b"A: b\nc", b"A: b\rc", b"A: b\0", b":status: 200", b"A b: c", b"x", b"A: b\r\n\r\n<html>"], ids=repr)
def test_line_that_cannot_be_sent_is_refused(line: bytes) -> None:
    """Rather than sent (CWE-113)."""
    with pytest.raises(ValueError, match=r"not a field line|CR, LF or NUL"):
        response_block([b"HTTP/1.1 200 OK", line], 200)


def test_response_survives_the_way_from_a_target_to_a_client() -> None:
    """The same fields arrive."""
    fields = [_OK, (b"content-type", b"application/grpc"), (b"x", b"y")]
    response = response_head(fields, "POST", ended=False)
    assert _decoded(response_block(response.lines, response.status)) == fields

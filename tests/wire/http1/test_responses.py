from __future__ import annotations

import re
import time
from email.utils import formatdate

import pytest

from albkit.clock import http_date
from albkit.errors import FailureKind
from albkit.model.extensions import Response
from albkit.wire.http1.responses import ResponseFields, error_page, hook_response, local_response, validated_response


@pytest.mark.parametrize(
    ("status", "length", "reason"),
    [
        (400, 122, "Bad Request"),
        (502, 122, "Bad Gateway"),
        (503, 162, "Service Temporarily Unavailable"),
        (504, 132, "Gateway Time-out"),
    ],
)
def test_error_page_has_albs_length_and_words(status: int, length: int, reason: str) -> None:
    """The byte lengths verified on captures (docs/alb.md 2.11)."""
    page = error_page(status)
    assert len(page) == length
    assert f"<title>{status} {reason}</title>".encode() in page


def test_error_page_is_albs_template() -> None:
    """Byte for byte, CRLF line ends (docs/alb.md 2.11)."""
    assert error_page(503) == (
        b"<html>\r\n"
        b"<head><title>503 Service Temporarily Unavailable</title></head>\r\n"
        b"<body>\r\n"
        b"<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n"
        b"</body>\r\n"
        b"</html>\r\n"
    )


@pytest.mark.parametrize("status", sorted({kind.status for kind in FailureKind if kind.status}))
def test_status_of_every_failure_has_a_reason(status: int) -> None:
    """No error page is headed by a bare number."""
    assert re.search(rb"<title>%d [A-Z][A-Za-z-]+" % status, error_page(status))


def test_local_response_has_all_fields_of_a_complete_response() -> None:
    """Status line, Server, Date, type and length, then the extra fields (docs/alb.md 2.11; RFC 9110 section 6.6.1)."""
    assert local_response(405, b"body", "text/html", 1_790_000_123, (b"Allow: GET", b"X: y")).lines == [
        b"HTTP/1.1 405 Method Not Allowed",
        b"Server: awselb/2.0",
        b"Date: " + formatdate(1_790_000_123, usegmt=True).encode(),
        b"Content-Type: text/html",
        b"Content-Length: 4",
        b"Allow: GET",
        b"X: y",
    ]


def test_own_answer_204_has_no_length() -> None:
    """RFC 9110 section 8.6: no Content-Length in a 204."""
    lines = local_response(204, b"", "text/plain", 0).lines
    assert not [line for line in lines if line.lower().startswith((b"content-length", b"content-type"))]


def test_own_answer_without_a_body_says_so() -> None:
    """An empty body has the length 0, so that the connection can go on."""
    assert b"Content-Length: 0" in local_response(200, b"", "text/plain", 0).lines


@pytest.mark.parametrize("status", [299, 499, 599])
def test_own_answer_of_an_unnamed_status_keeps_its_blank(status: int) -> None:
    """RFC 9112 section 4: the blank behind the code stays where there is no reason."""
    assert local_response(status, b"", "text/plain", 0).lines[0] == b"HTTP/1.1 %d " % status


@pytest.mark.parametrize("second", [0, 784111777, 951782400, 1_790_000_123, 4_102_444_799])
def test_http_date_is_the_rfcs(second: int) -> None:
    """IMF-fixdate (RFC 9110 section 5.6.7)."""
    assert http_date(second) == formatdate(second, usegmt=True).encode()


def test_http_date_is_english_in_every_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that embeds the load balancer may set its locale, which only `strftime` heeds; dates on the wire stay as they are."""
    monkeypatch.setattr(time, "strftime", lambda *_: "So, 06 Nov 1994")
    http_date.cache_clear()
    assert http_date(784111777) == b"Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("fields", "before", "after"),
    [
        pytest.param([("X-A", "b")], [b"X-B: c"], [b"X-B: c", b"X-A: b"], id="added"),
        pytest.param([("X-A", "b")], [b"x-a: c", b"X-B: c"], [b"X-B: c", b"X-A: b"], id="alb 1.3 the target's is replaced"),
        pytest.param([("X-A", "b")], [b"X-A: c", b"X-A:d"], [b"X-A: b"], id="every line of it"),
        pytest.param([("X-A", "b")], [b"X-AB: c"], [b"X-AB: c", b"X-A: b"], id="another field stays"),
        pytest.param([("Server", None)], [b"Server: awselb/2.0"], [], id="alb 1.3 our Server left out"),
        pytest.param([("Server", None)], [b"Server: nginx"], [b"Server: nginx"], id="the target's Server stays"),
        pytest.param([("server", "mine")], [b"Server: nginx"], [b"server: mine"], id="Server replaced"),
    ],
)
def test_response_fields_are_put_on_a_head(fields: list[tuple[str, str | None]], before: list[bytes], after: list[bytes]) -> None:
    """Those of the same names that the target sent are replaced, on every response of the listener."""
    lines = [b"HTTP/1.1 200 OK", *before]
    ResponseFields(fields).apply_to(lines)
    assert lines == [b"HTTP/1.1 200 OK", *after]


@pytest.mark.parametrize(
    "answer",
    [
        Response(200),
        Response(599, headers={"X-A": "b", "Server": "mine"}, body=b"\xff\0"),
        Response(301, headers={"Location": "/"}),
        Response(200, headers={"X": "\u00e4\t b"}),
    ],
    ids=repr,
)
def test_answer_of_a_program_that_can_be_sent_has_no_fault(answer: Response) -> None:
    """200 to 599, fields that HTTP allows, bytes."""
    sound = validated_response(answer)
    assert isinstance(sound, Response)
    assert (sound.status, sound.body, dict(sound.headers or {})) == (answer.status, answer.body, answer.headers or {})


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "text",
        200,
        Response,
        Response(199),
        Response(600),
        Response(True),
        Response("200"),  # type: ignore[arg-type]
        Response(200, body="text"),  # type: ignore[arg-type]
        Response(200, headers={"a b": "c"}),
        Response(200, headers={"": "c"}),
        Response(200, headers={"\u00e4": "c"}),
        Response(200, headers={"X": "a\r\nY: b"}),
        Response(200, headers={"X": "\u20ac"}),
        Response(200, headers={"X": 7}),  # type: ignore[dict-item]
        Response(200, headers={7: "X"}),  # type: ignore[dict-item]
        Response(200, headers={"Content-Length": "0"}),
        Response(200, headers={"transfer-encoding": "chunked"}),
        Response(200, headers={"Connection": "close"}),
        Response(200, headers=[("X", "a")]),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_answer_of_a_program_that_cannot_be_sent_has_a_fault(answer: object) -> None:
    """Nonsense of any kind is named, and never raises."""
    assert isinstance(validated_response(answer), str)


def test_answer_of_a_program_becomes_the_lines_of_a_head() -> None:
    """Its own fields as given, Server and Date where it has none, and its length."""
    lines = hook_response(Response(200, headers={"X-A": "b"}, body=b"four"), 1_790_000_000).lines
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert set(lines[1:]) == {b"Server: awselb/2.0", b"Date: " + http_date(1_790_000_000), b"X-A: b", b"Content-Length: 4"}
    own = hook_response(Response(200, headers={"server": "mine", "DATE": "now"}), 0).lines
    assert set(own[1:]) == {b"server: mine", b"DATE: now", b"Content-Length: 0"}


def test_answer_of_a_program_says_what_to_upgrade_to_in_a_426_alone() -> None:
    """It must (RFC 9110 section 15.5.22); elsewhere it would be ours to switch."""
    required = Response(426, headers={"Upgrade": "websocket"})
    assert isinstance(validated_response(required), Response)
    assert hook_response(required, 0).lines[-3:] == [b"Upgrade: websocket", b"Connection: Upgrade", b"Content-Length: 0"]
    assert b"Connection: Upgrade" not in hook_response(Response(426), 0).lines
    assert isinstance(validated_response(Response(200, headers={"Upgrade": "websocket"})), str)
    assert isinstance(validated_response(Response(426, headers={"Connection": "Upgrade"})), str)


def test_answer_of_a_program_with_205_has_no_content() -> None:
    """And says so, for a client would wait for it (RFC 9110 section 15.3.6)."""
    assert b"Content-Length: 0" in hook_response(Response(205, body=b"four"), 0).lines


@pytest.mark.parametrize("status", [204, 304])
def test_answer_of_a_program_without_content_tells_no_length(status: int) -> None:
    """RFC 9110 section 8.6: no Content-Length in a 204."""
    assert not [line for line in hook_response(Response(status), 0).lines if line.startswith(b"Content-Length")]

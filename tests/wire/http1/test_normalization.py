"""Heads with flaws: what passes in which mode, what is sent on then, and by which of ALB's names the rest is refused."""

from __future__ import annotations

import contextlib
import time

import pytest

from albkit.errors import Failure, FailureKind
from tests.wire.heads import HOST, Reading, get, head

_POST = b"POST"
MODES = ("monitor", "defensive", "strictest")


_MENDED_WHERE_MONITORED = [
    # raw head, class, reason, what is sent on behind the Host
    pytest.param(get(b"A: b", b"C(: d"), "Acceptable", "NonCompliantHeader", [b"A: b"], id="a name that is no token"),
    pytest.param(get(b"A : b", b"C: d"), "Acceptable", "NonCompliantHeader", [b"C: d"], id="a blank before the colon"),
    pytest.param(get(b"A\xc3\xa9: b"), "Acceptable", "NonCompliantHeader", [], id="high bytes in a name"),
    pytest.param(get(b"A: b\x01c\x7fd"), "Acceptable", "NonCompliantHeader", [b"A: b c d"], id="control bytes in a value"),
    pytest.param(get(b": b", b"A: b"), "Ambiguous", "EmptyHeader", [b"A: b"], id="no name"),
    pytest.param(get(b":: b"), "Ambiguous", "EmptyHeader", [], id="a colon as a name"),
    pytest.param(get(b"A: b", b" : c"), "Ambiguous", "MultilineHeader", [b"A: b : c"], id="a blank as a name is a folded line"),
    pytest.param(get(b"A", b"B: c"), "Ambiguous", "MissingHeaderColon", [b"B: c"], id="no colon"),
    pytest.param(get(b"A: b", b" c", b"\td "), "Ambiguous", "MultilineHeader", [b"A: b c d"], id="folded lines"),
    pytest.param(get(b"A: b", b" "), "Ambiguous", "MultilineHeader", [b"A: b "], id="a folded line of blanks"),
    pytest.param(get(b"A(: b", b" c", b"D: e"), "Ambiguous", "MultilineHeader", [b"D: e"], id="a line folded behind one that is left out"),
    pytest.param(
        get(b"Content-Length: 5", b"Transfer-Encoding: chunked", method=_POST),
        "Ambiguous",
        "BothTeClPresent",
        [b"Transfer-Encoding: chunked"],
        id="a length and a coding",
    ),
]


@pytest.mark.parametrize(("raw", "level", "reason", "sent"), _MENDED_WHERE_MONITORED)
def test_flaw_that_can_be_written_anew_passes_where_requests_are_monitored(
    reading: Reading, raw: bytes, level: str, reason: str, sent: list[bytes]
) -> None:
    """As ALB lets it, with its class; what is sent on has one reading. Elsewhere it is a 400 by its name."""
    request = reading.request(raw, desync_mitigation_mode="monitor")
    assert request.lines[2:] == sent
    assert request.classification == (level, reason)
    assert request.close_after is (b"Transfer-Encoding" in raw)
    for mode in ("defensive", "strictest"):
        with pytest.raises(Failure, match=reason) as refused:
            reading.request(raw, desync_mitigation_mode=mode)
        assert refused.value.kind.status == 400


@pytest.mark.parametrize(
    ("target", "reason", "sent"),
    [
        (b"/a b  c", "SpaceInUri", b"/a%20b%20%20c"),
        (b"/a\x01", "AmbiguousUri", b"/a%01"),
        (b"/\x7f?a\tb", "AmbiguousUri", b"/%7F?a%09b"),
        (b"/a b\x1f", "AmbiguousUri", b"/a%20b%1F"),
    ],
)
def test_target_is_escaped_where_requests_are_monitored(reading: Reading, target: bytes, reason: str, sent: bytes) -> None:
    """What rules see is what is sent on."""
    request = reading.request(get(target=target), desync_mitigation_mode="monitor")
    assert request.lines[0] == b"GET " + sent + b" HTTP/1.1"
    assert request.path.encode() == sent.partition(b"?")[0]
    assert request.query_string.encode() == sent.partition(b"?")[2]
    assert request.classification is not None
    assert request.classification[1] == reason
    for mode in ("defensive", "strictest"):
        with pytest.raises(Failure, match=reason):
            reading.request(get(target=target), desync_mitigation_mode=mode)


def test_target_that_is_too_long_once_it_is_escaped_is_a_414(reading: Reading) -> None:
    """The limit holds for what is sent on."""
    raw = get(target=b"/" + b"\x01" * 6_000)
    assert reading.refusal(raw, desync_mitigation_mode="monitor") is FailureKind.REQUEST_TARGET_TOO_LONG


def test_both_connections_end_behind_a_request_with_a_length_and_a_coding(reading: Reading) -> None:
    """In every mode that lets it pass (RFC 9112 section 6.1)."""
    raw = get(b"Content-Length: 5", b"Transfer-Encoding: chunked", method=_POST)
    request = reading.request(raw, desync_mitigation_mode="monitor")
    assert (request.chunked, request.close_after) == (True, True)


@pytest.mark.parametrize("mode", MODES)
def test_leading_zeros_of_a_length_pass_where_requests_are_monitored(reading: Reading, mode: str) -> None:
    """ALB finds nothing wrong with them; written anew they are octal to nobody."""
    raw = get(b"Content-Length: 005", method=_POST)
    if mode == "monitor":
        request = reading.request(raw, desync_mitigation_mode=mode)
        assert (request.content_length, request.lines[2:], request.classification) == (5, [b"Content-Length: 5"], None)
        assert reading.request(get(b"Content-Length: 000", method=_POST), desync_mitigation_mode=mode).lines[2:] == [b"Content-Length: 0"]
    else:
        with pytest.raises(Failure, match="leading zeros"):
            reading.request(raw, desync_mitigation_mode=mode)


_REFUSED = [
    pytest.param(get(method=b"G(T"), "BadMethod", id="BadMethod"),
    pytest.param(get(method=b"G\xc3\x89T"), "BadMethod", id="BadMethod high bytes"),
    pytest.param(get(method=b"X" * 65), "BadMethod: the method is too long", id="BadMethod endless"),
    pytest.param(head(b"GET\t/\tHTTP/1.1", HOST), "BadMethod", id="BadMethod tabs"),
    pytest.param(get(target=b"/\0"), "BadUri", id="BadUri NUL"),
    pytest.param(get(target=b"/a\rb"), "BadUri", id="BadUri CR"),
    pytest.param(head(b"GET HTTP/1.1", HOST), "MissingUri", id="MissingUri"),
    pytest.param(head(b"GET", HOST), "BadVersion", id="a method alone"),
    pytest.param(head(b"GET / HTTP/x", HOST), "BadVersion", id="BadVersion"),
    pytest.param(head(b"GET / RTSP/1.0", HOST), "BadVersion", id="BadVersion of another protocol"),
    pytest.param(get(b"A: b\0c"), "BadHeader", id="BadHeader NUL"),
    pytest.param(get(b"A: b\rc"), "BadHeader", id="BadHeader CR"),
    pytest.param(get(b"Connection: close\x01"), "BadHeader", id="a control byte where it would change what happens"),
    pytest.param(get(b"Transfer-Encoding: \x0bchunked", method=_POST), "BadTransferEncoding", id="a control byte before a coding"),
    pytest.param(get(b"Transfer-Encoding : chunked", method=_POST), "SuspiciousHeader", id="SuspiciousHeader blank before colon"),
    pytest.param(get(b"\x01Content-Length: 3", method=_POST), "SuspiciousHeader", id="SuspiciousHeader control"),
    pytest.param(get(b"Content\tLength: 3", method=_POST), "SuspiciousHeader", id="SuspiciousHeader tab"),
    pytest.param(get(b"Transfer-Encoding: chunked", b" ", method=_POST), "MultilineHeader", id="a folded coding"),
    pytest.param(get(b"Transfer-Encoding:", b" chunked", method=_POST), "BadTransferEncoding", id="a coding on a folded line"),
    pytest.param(get(b"Content-Length: 1", b" 0", method=_POST), "MultilineHeader", id="a folded length"),
    pytest.param(head(b"GET / HTTP/1.1", b" ", HOST), "MultilineHeader", id="a folded request line"),
    pytest.param(get(b"Content-Length: +5", method=_POST), "BadContentLength", id="BadContentLength sign"),
    pytest.param(get(b"Content-Length: 5, 5", method=_POST), "BadContentLength", id="BadContentLength list"),
    pytest.param(get(b"Content-Length: 9223372036854775808", method=_POST), "BadContentLength", id="BadContentLength overflow"),
    pytest.param(get(b"Content-Length:", method=_POST), "BadContentLength", id="BadContentLength empty"),
    pytest.param(get(b"Content-Length: 3", b"Content-Length: 4", method=_POST), "MultipleContentLength", id="MultipleContentLength"),
    pytest.param(get(b"Transfer-Encoding: foo", method=_POST), "BadTransferEncoding", id="BadTransferEncoding"),
    pytest.param(get(b"Transfer-Encoding: identity", method=_POST), "BadTransferEncoding", id="BadTransferEncoding identity"),
    pytest.param(get(b"Transfer-Encoding:", method=_POST), "BadTransferEncoding", id="BadTransferEncoding empty"),
    pytest.param(get(b"Transfer-Encoding: chunked, chunked", method=_POST), "MultipleTransferEncodingChunked", id="chunked twice"),
    pytest.param(
        get(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", method=_POST),
        "MultipleTransferEncodingChunked",
        id="chunked on two lines",
    ),
    pytest.param(
        head(b"POST / HTTP/1.0", HOST, b"Transfer-Encoding: chunked"), "UndefinedTransferEncodingSemantics", id="a coding in HTTP/1.0"
    ),
    pytest.param(get(b"A(: b", b"Content-Length: x", method=_POST), "BadContentLength", id="the worst gives its name"),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("raw", "reason"), _REFUSED)
def test_flaw_that_cannot_be_mended_is_refused_by_its_name_in_every_mode(reading: Reading, raw: bytes, reason: str, mode: str) -> None:
    """A reader of the log finds the reason by the name that the guide uses."""
    with pytest.raises(Failure, match=reason) as refused:
        reading.request(raw, desync_mitigation_mode=mode)
    assert refused.value.kind is FailureKind.REQUEST_MALFORMED


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nB: c\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\nB: c\r\n\r\n",
    ],
)
def test_line_that_ends_in_lf_alone_has_a_reason_of_its_own(reading: Reading, raw: bytes, mode: str) -> None:
    """Two readers would find two numbers of lines."""
    assert reading.refusal(raw, desync_mitigation_mode=mode) is FailureKind.REQUEST_BARE_LF


@pytest.mark.parametrize("coding", [b"gzip", b"GZIP, chunked", b"deflate"])
def test_coding_that_exists_and_is_not_known_is_a_501_unless_more_is_wrong(reading: Reading, coding: bytes) -> None:
    """What is wrong on its own account comes first."""
    field = b"Transfer-Encoding: " + coding
    assert reading.refusal(get(field, method=_POST)) is FailureKind.REQUEST_TRANSFER_CODING_UNSUPPORTED
    assert reading.refusal(get(field, b"Content-Length: 5", method=_POST)) is FailureKind.REQUEST_MALFORMED
    assert reading.refusal(get(field, b"A: \0", method=_POST)) is FailureKind.REQUEST_MALFORMED


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "flaw", [b"A \xff: ", b"\0", b"\x01", b" ", b":", b"\r", b"\n", b"\r\n ", b"\r\nA", b"\r\n:", b"\r\nTransfer-Encoding:,"], ids=repr
)
@pytest.mark.timeout(5)
def test_head_full_of_flaws_is_judged_at_once(reading: Reading, flaw: bytes, mode: str) -> None:
    """Whatever came, naming what is wrong with it and writing it anew take no longer than reading it."""
    reader = reading.reader(desync_mitigation_mode=mode)
    full = flaw * (60_000 // len(flaw))
    for raw in (
        b"G" + full + b"\r\n\r\n",
        get(full),
        get(b"A: \x01", b"B: c" + full),
        get(b"A: b" + flaw * 180),
        get(target=b"/" + full[:16_000]),
    ):
        begin = time.thread_time()
        with contextlib.suppress(Failure):
            reader.read(raw)
        assert time.thread_time() - begin < 0.05


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("line", [b"A", b":", b"A(: b", b"Content-Length: 5", b" b"])
def test_lines_that_mending_leaves_out_count_as_fields(reading: Reading, line: bytes, mode: str) -> None:
    """Else whoever sends a control byte besides may send as many as there is room for."""
    assert reading.refusal(get(b"A: \x01", *[line] * 199), desync_mitigation_mode=mode) is FailureKind.REQUEST_HEAD_TOO_LARGE

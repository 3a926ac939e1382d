from __future__ import annotations

import pytest

from albkit.wire.desync import LOOKALIKE_NAME, PADDED_REQUEST_LINE, classify_body, reason_for_refusal, worse
from tests.wire.heads import HOST, get, head


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, ("Acceptable", "GetHeadZeroContentLength")),
        (1, ("Ambiguous", "UndefinedContentLengthSemantics")),
        (-1, ("Ambiguous", "UndefinedTransferEncodingSemantics")),
    ],
)
def test_body_of_get_and_head_is_classified(method: str, length: int, expected: tuple[str, str]) -> None:
    """The three rows of alb-reference 2.4 about GET and HEAD."""
    assert classify_body(method, length) == expected


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FROB", "get"])
@pytest.mark.parametrize("length", [0, 1, -1])
def test_body_of_other_methods_is_compliant(method: str, length: int) -> None:
    """Only GET and HEAD have no use for a body."""
    assert classify_body(method, length) is None


def test_worse_is_the_higher_class_and_the_first_among_equals() -> None:
    """The highest class wins; among equals the first found is reported (alb-reference 2.4)."""
    acceptable, ambiguous = ("Acceptable", "a"), ("Ambiguous", "b")
    assert worse(None, None) is None
    assert worse(None, acceptable) == worse(acceptable, None) == acceptable
    assert worse(acceptable, ambiguous) == worse(ambiguous, acceptable) == ambiguous
    assert worse(acceptable, ("Acceptable", "c")) == acceptable
    assert worse(ambiguous, ("Ambiguous", "c")) == ambiguous


def test_evidence_constants_are_of_albs_classes() -> None:
    """Padding is Acceptable, a framing field's double is Ambiguous (alb-reference 2.4)."""
    assert PADDED_REQUEST_LINE == ("Acceptable", "NonCompliantVersion")
    assert LOOKALIKE_NAME == ("Ambiguous", "SuspiciousHeader")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        # alb-reference 2.4, the rows that the parser refuses, one flaw each
        pytest.param(get(b"A(: b"), "NonCompliantHeader", id="NonCompliantHeader name"),
        pytest.param(get(b"A: \x01"), "NonCompliantHeader", id="NonCompliantHeader value"),
        pytest.param(get(target=b"/a b"), "SpaceInUri", id="SpaceInUri"),
        pytest.param(head(b"GET / HTTP/1.2", HOST), "NonCompliantVersion", id="NonCompliantVersion 1.2"),
        pytest.param(head(b"GET / HTTP/1.9", HOST), "NonCompliantVersion", id="NonCompliantVersion 1.9"),
        pytest.param(head(b"GET / HTTP/1.1 ", HOST), "NonCompliantVersion", id="NonCompliantVersion padded"),
        pytest.param(b"GET / HTTP/1.1\nHost: a\r\n\r\n", "NonCrLfLineTermination", id="NonCrLfLineTermination request line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n", "NonCrLfLineTermination", id="NonCrLfLineTermination field"),
        pytest.param(get(b": b"), "EmptyHeader", id="EmptyHeader"),
        pytest.param(get(b":: b"), "EmptyHeader", id="EmptyHeader colon"),
        pytest.param(get(target=b"/\x01"), "AmbiguousUri", id="AmbiguousUri control"),
        pytest.param(get(target=b"/\x7f"), "AmbiguousUri", id="AmbiguousUri DEL"),
        pytest.param(get(b"Content-Length: 3", b"Content-Length: 3"), "DuplicateContentLength", id="DuplicateContentLength"),
        pytest.param(get(b"Transfer-Encoding: chunked", b"Content-Length: 3"), "BothTeClPresent", id="BothTeClPresent"),
        pytest.param(get(b"Content-Length: 3", b"Transfer-Encoding: chunked"), "BothTeClPresent", id="BothTeClPresent the other way"),
        pytest.param(get(b"Transfer-Encoding : chunked"), "SuspiciousHeader", id="SuspiciousHeader blank before colon"),
        pytest.param(get(b"\x01Content-Length: 3"), "SuspiciousHeader", id="SuspiciousHeader control"),
        pytest.param(get(b"A: b", b" c"), "MultilineHeader", id="MultilineHeader"),
        pytest.param(get(b"A"), "MissingHeaderColon", id="MissingHeaderColon"),
        pytest.param(head(b"GET HTTP/1.1", HOST), "MissingUri", id="MissingUri"),
        pytest.param(get(b"A: b\0c"), "BadHeader", id="BadHeader NUL"),
        pytest.param(get(b"A: b\rc"), "BadHeader", id="BadHeader CR"),
        pytest.param(get(target=b"/\0"), "BadUri", id="BadUri NUL"),
        pytest.param(get(target=b"/a\rb"), "BadUri", id="BadUri CR"),
        pytest.param(get(method=b"G(T"), "BadMethod", id="BadMethod"),
        pytest.param(head(b"GET / HTTP/x", HOST), "BadVersion", id="BadVersion"),
        pytest.param(head(b"GET / HTTP/3.0", HOST), "BadVersion", id="BadVersion 3.0"),
        pytest.param(get(b"Content-Length: +5"), "BadContentLength", id="BadContentLength sign"),
        pytest.param(get(b"Content-Length: 0x5"), "BadContentLength", id="BadContentLength hexadecimal"),
        pytest.param(get(b"Content-Length: 5, 5"), "BadContentLength", id="BadContentLength list"),
        pytest.param(get(b"Content-Length: 99999999999999999999"), "BadContentLength", id="BadContentLength overflow"),
        pytest.param(get(b"Content-Length: 3", b"Content-Length: 4"), "MultipleContentLength", id="MultipleContentLength"),
        pytest.param(get(b"Transfer-Encoding: foo"), "BadTransferEncoding", id="BadTransferEncoding"),
        pytest.param(get(b"Transfer-Encoding: chunked, chunked"), "MultipleTransferEncodingChunked", id="MultipleTransferEncodingChunked"),
        pytest.param(
            get(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
            "MultipleTransferEncodingChunked",
            id="MultipleTransferEncodingChunked on two lines",
        ),
    ],
)
def test_refused_head_is_logged_with_the_classifiers_word(raw: bytes, reason: str) -> None:
    """A reader of the log finds the reason by the name that the guide uses (alb-reference 2.4)."""
    assert reason_for_refusal(raw) == reason


@pytest.mark.parametrize(
    "raw", [b"", b"\r\n\r\n", b"\n\n", b"\0" * 100, b"\xff" * 1_000, b" ", b":", get()], ids=lambda raw: repr(raw[:10])
)
def test_refused_head_of_any_bytes_gets_some_word(raw: bytes) -> None:
    """Whatever came, naming it never fails."""
    assert reason_for_refusal(raw).isalnum()

from __future__ import annotations

import pytest

from albkit.wire.http1.desync import Flaw, classify_body, worse


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
    """The three rows of docs/alb.md 2.4 about GET and HEAD."""
    assert classify_body(method, length) == expected


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FROB", "get"])
@pytest.mark.parametrize("length", [0, 1, -1])
def test_body_of_other_methods_is_compliant(method: str, length: int) -> None:
    """Only GET and HEAD have no use for a body."""
    assert classify_body(method, length) is None


def test_worse_is_the_higher_class_and_the_first_among_equals() -> None:
    """The highest class wins; among equals the first found is reported (docs/alb.md 2.4)."""
    acceptable, ambiguous, severe = ("Acceptable", "a"), ("Ambiguous", "b"), ("Severe", "c")
    assert worse(None, None) is None
    assert worse(None, acceptable) == worse(acceptable, None) == acceptable
    assert worse(acceptable, ambiguous) == worse(ambiguous, acceptable) == ambiguous
    assert worse(severe, ambiguous) == worse(ambiguous, severe) == severe
    assert worse(acceptable, ("Acceptable", "c")) == acceptable
    assert worse(ambiguous, ("Ambiguous", "c")) == ambiguous


@pytest.mark.parametrize("flaw", Flaw)
def test_severe_flaw_passes_nowhere_and_others_no_less_where_requests_are_monitored(flaw: Flaw) -> None:
    """`monitor` lets pass whatever another mode does; Severe stays refused in every mode (docs/desync.md)."""
    assert flaw.passes(monitored=True) >= flaw.passes(monitored=False)
    if flaw.level == "Severe":
        assert not flaw.passes(monitored=True)

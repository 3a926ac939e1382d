from __future__ import annotations

import pytest

from albkit.wire.http1.desync import Violation, classify_body, worse


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


@pytest.mark.parametrize("violation", Violation)
def test_monitor_mode_forwards_whatever_other_modes_do_and_nothing_severe(violation: Violation) -> None:
    """Severe requests are rejected in every mode (docs/desync.md)."""
    assert violation.can_be_normalized(monitor=True) >= violation.can_be_normalized(monitor=False)
    if violation.level == "Severe":
        assert not violation.can_be_normalized(monitor=True)

from __future__ import annotations

import pytest

from albkit.model.desync import Verdict
from albkit.policy.desync import verdict


@pytest.mark.parametrize(
    ("mode", "classification", "expected"),
    [
        ("monitor", "Acceptable", Verdict.ALLOW),
        ("monitor", "Ambiguous", Verdict.ALLOW),
        ("monitor", "Severe", Verdict.ALLOW),
        ("defensive", "Acceptable", Verdict.ALLOW),
        ("defensive", "Ambiguous", Verdict.ALLOW_THEN_CLOSE),
        ("defensive", "Severe", Verdict.BLOCK),
        ("strictest", "Acceptable", Verdict.BLOCK),
        ("strictest", "Ambiguous", Verdict.BLOCK),
        ("strictest", "Severe", Verdict.BLOCK),
    ],
)
def test_verdict_is_albs_for_each_mode_and_class(mode: str, classification: str, expected: Verdict) -> None:
    """The table of docs/alb.md 2.4."""
    assert verdict(mode, classification) is expected

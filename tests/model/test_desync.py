from __future__ import annotations

from albkit.model.desync import Verdict


def test_verdicts_are_albs_three() -> None:
    """Allow, allow then close, block (docs/alb.md 2.4)."""
    assert {verdict.name for verdict in Verdict} == {"ALLOW", "ALLOW_THEN_CLOSE", "BLOCK"}

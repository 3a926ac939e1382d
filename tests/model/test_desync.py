from __future__ import annotations

from albkit.model.desync import CLASSES, Verdict
from albkit.wire.http1.desync import Violation


def test_verdicts_are_albs_three() -> None:
    """Allow, allow then close, block (docs/alb.md 2.4)."""
    assert {verdict.name for verdict in Verdict} == {"ALLOW", "ALLOW_THEN_CLOSE", "BLOCK"}


def test_classes_are_those_of_the_parser() -> None:
    """Logs show the class of a rejected request by its reason."""
    assert {violation.reason: violation.level for violation in Violation} == CLASSES

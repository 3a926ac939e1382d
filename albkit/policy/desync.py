"""Decides about requests that two servers might parse differently (docs/alb.md 2.4)."""

from __future__ import annotations

from albkit.model.desync import Verdict

__all__ = ("verdict",)


_VERDICTS = {
    "monitor": {"Acceptable": Verdict.ALLOW, "Ambiguous": Verdict.ALLOW, "Severe": Verdict.ALLOW},
    "defensive": {"Acceptable": Verdict.ALLOW, "Ambiguous": Verdict.ALLOW_THEN_CLOSE, "Severe": Verdict.BLOCK},
    "strictest": {"Acceptable": Verdict.BLOCK, "Ambiguous": Verdict.BLOCK, "Severe": Verdict.BLOCK},
}


def verdict(mode: str, classification: str) -> Verdict:
    """What `mode` does with a request of this class. Compliant requests have no class and need no verdict."""
    return _VERDICTS[mode][classification]

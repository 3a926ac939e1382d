"""The verdicts of desync mitigation, shared by the parser that classifies requests and the policy that decides about them."""

from __future__ import annotations

from enum import Enum

__all__ = ("Verdict",)


class Verdict(Enum):
    """What desync mitigation does with a request."""

    ALLOW = "allow"
    ALLOW_THEN_CLOSE = "allow, then close client and target connections"
    BLOCK = "block"

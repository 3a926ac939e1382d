"""The words that judging and deciding on ambiguous requests share."""

from __future__ import annotations

from enum import Enum

__all__ = ("Verdict",)


class Verdict(Enum):
    """What desync mitigation does with a request of some class."""

    ALLOW = "allow"
    ALLOW_THEN_CLOSE = "allow, then close client and target connections"
    BLOCK = "block"

"""The verdicts of desync mitigation, shared by the parser that classifies requests and the policy that decides about them."""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ("CLASSES", "Verdict")

CLASSES: Final = {
    "NonCompliantVersion": "Acceptable",
    "SpaceInUri": "Acceptable",
    "NonCompliantHeader": "Acceptable",
    "GetHeadZeroContentLength": "Acceptable",
    "NonCrLfLineTermination": "Acceptable",
    "AmbiguousUri": "Ambiguous",
    "MissingUri": "Ambiguous",
    "EmptyHeader": "Ambiguous",
    "MissingHeaderColon": "Ambiguous",
    "MultilineHeader": "Ambiguous",
    "SuspiciousHeader": "Ambiguous",
    "UndefinedContentLengthSemantics": "Ambiguous",
    "UndefinedTransferEncodingSemantics": "Ambiguous",
    "DuplicateContentLength": "Ambiguous",
    "BothTeClPresent": "Ambiguous",
    "BadMethod": "Severe",
    "BadUri": "Severe",
    "BadVersion": "Severe",
    "BadHeader": "Severe",
    "BadContentLength": "Severe",
    "MultipleContentLength": "Severe",
    "BadTransferEncoding": "Severe",
    "MultipleTransferEncodingChunked": "Severe",
}
"""ALB's class of each reason (docs/alb.md 2.4), for logs of requests that were rejected. `wire.http1.desync` decides with its own table."""


class Verdict(Enum):
    """What desync mitigation does with a request."""

    ALLOW = "allow"
    ALLOW_THEN_CLOSE = "allow, then close client and target connections"
    BLOCK = "block"

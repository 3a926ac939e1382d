"""What is wrong with a request, in the words of ALB's classifier (docs/alb.md 2.4), and where it may pass all the same.

ALB's table says what each mode makes of each class. It holds here wherever what is sent on is written anew, so that it has one reading
whatever came. `docs/desync.md` lists where the load balancer is stricter than ALB, and why.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ("Classification", "Flaw", "classify_body", "worse")

Classification = tuple[str, str]
"""Class and reason."""

_RANKS: Final = {"Acceptable": 1, "Ambiguous": 2, "Severe": 3}


class Flaw(Enum):
    """Something that makes a request other than compliant.

    Each has its class, and whether a request with it can be mended: in every mode that lets its class pass, in `monitor` alone, or never.
    """

    NON_COMPLIANT_VERSION = ("Acceptable", "NonCompliantVersion", "always")
    SPACE_IN_URI = ("Acceptable", "SpaceInUri", "monitor")
    NON_COMPLIANT_HEADER = ("Acceptable", "NonCompliantHeader", "monitor")
    GET_HEAD_ZERO_CONTENT_LENGTH = ("Acceptable", "GetHeadZeroContentLength", "always")
    NON_CRLF_LINE_TERMINATION = ("Acceptable", "NonCrLfLineTermination", "never")
    AMBIGUOUS_URI = ("Ambiguous", "AmbiguousUri", "monitor")
    MISSING_URI = ("Ambiguous", "MissingUri", "never")
    EMPTY_HEADER = ("Ambiguous", "EmptyHeader", "monitor")
    MISSING_HEADER_COLON = ("Ambiguous", "MissingHeaderColon", "monitor")
    MULTILINE_HEADER = ("Ambiguous", "MultilineHeader", "monitor")
    MULTILINE_FRAMING = ("Ambiguous", "MultilineHeader", "never")
    """A folded length or coding, or a folded line with no field before it."""
    SUSPICIOUS_HEADER = ("Ambiguous", "SuspiciousHeader", "always")
    UNREADABLE_FRAMING = ("Ambiguous", "SuspiciousHeader", "never")
    """A name that is no token and reads as that of a framing field: without it a body would be lost, with it there are two."""
    UNDEFINED_CONTENT_LENGTH = ("Ambiguous", "UndefinedContentLengthSemantics", "always")
    UNDEFINED_TRANSFER_ENCODING = ("Ambiguous", "UndefinedTransferEncodingSemantics", "always")
    TRANSFER_ENCODING_IN_HTTP_1_0 = ("Ambiguous", "UndefinedTransferEncodingSemantics", "never")
    DUPLICATE_CONTENT_LENGTH = ("Ambiguous", "DuplicateContentLength", "always")
    BOTH_TE_CL_PRESENT = ("Ambiguous", "BothTeClPresent", "monitor")
    BAD_METHOD = ("Severe", "BadMethod", "never")
    BAD_URI = ("Severe", "BadUri", "never")
    BAD_VERSION = ("Severe", "BadVersion", "never")
    BAD_HEADER = ("Severe", "BadHeader", "never")
    BAD_CONTENT_LENGTH = ("Severe", "BadContentLength", "never")
    MULTIPLE_CONTENT_LENGTH = ("Severe", "MultipleContentLength", "never")
    BAD_TRANSFER_ENCODING = ("Severe", "BadTransferEncoding", "never")
    MULTIPLE_CHUNKED = ("Severe", "MultipleTransferEncodingChunked", "never")

    def __init__(self, level: str, reason: str, mended: str) -> None:
        self.level = level
        self.reason = reason
        self.mended = mended

    def passes(self, *, monitored: bool) -> bool:
        """Whether a request with this flaw can be mended: where requests are only monitored, or elsewhere."""
        return self.mended == "always" or (monitored and self.mended == "monitor")

    @property
    def classification(self) -> Classification:
        """Class and reason, as ALB tells them."""
        return self.level, self.reason

    def is_worse_than(self, other: Flaw) -> bool:
        """Whether its class is the higher one."""
        return _RANKS[self.level] > _RANKS[other.level]


_PAIRS: Final = {flaw: flaw.classification for flaw in Flaw}


def classify_body(method: str, content_length: int) -> Classification | None:
    """What a body, announced by a framing field, says about a GET or HEAD request, which have no use for one.

    Args:
        method: The request's.
        content_length: -1 for a chunked body.
    """
    if method not in ("GET", "HEAD"):
        return None
    if content_length < 0:
        return _PAIRS[Flaw.UNDEFINED_TRANSFER_ENCODING]
    return _PAIRS[Flaw.UNDEFINED_CONTENT_LENGTH if content_length else Flaw.GET_HEAD_ZERO_CONTENT_LENGTH]


def worse(first: Classification | None, second: Classification | None) -> Classification | None:
    """The higher class of the two; the first among equals."""
    if first is None or (second is not None and _RANKS[second[0]] > _RANKS[first[0]]):
        return second
    return first

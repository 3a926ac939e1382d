"""Desync mitigation: ALB's classes and reasons for non-compliant requests, and which of them may be forwarded (docs/alb.md 2.4).

If two servers disagree about where a request ends, an attacker can hide a second request in it: request smuggling, also called a desync
attack (CWE-444). ALB classifies requests by how likely that is, and the desync mitigation mode decides for each class whether it is
forwarded. This load balancer never forwards the bytes of a non-compliant request. It normalizes them first, so that every server reads the
result in the same way. `docs/desync.md` lists where it is stricter than ALB, and why.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ("Classification", "Violation", "classify_body", "worse")

Classification = tuple[str, str]
"""Class (`Acceptable`, `Ambiguous` or `Severe`) and reason, as in ALB's access log."""

_RANKS: Final = {"Acceptable": 1, "Ambiguous": 2, "Severe": 3}


class Violation(Enum):
    """What can be wrong with a request.

    Each member has ALB's class and reason, and when such a request is normalized and forwarded: `always` (in every mode that forwards its
    class), in `monitor` mode only, or `never`.
    """

    # The third item is stricter than ALB where a normalized request could still be misread, or would help a request past a filter in
    # front of the load balancer. docs/desync.md has the reason for each.
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
    """A folded Content-Length or Transfer-Encoding, or a folded line that follows no field."""
    SUSPICIOUS_HEADER = ("Ambiguous", "SuspiciousHeader", "always")
    UNREADABLE_FRAMING = ("Ambiguous", "SuspiciousHeader", "never")
    """A field like `Transfer-Encoding : chunked`: the name is not a token, but some servers take it for a framing field.

    Dropping it could turn a body into the next request; keeping it could give the request two different lengths.
    """
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

    def __init__(self, level: str, reason: str, normalized: str) -> None:
        self.level = level
        self.reason = reason
        self.normalized = normalized

    def can_be_normalized(self, *, monitor: bool) -> bool:
        """Whether a request with this violation can be normalized.

        Args:
            monitor: Whether the desync mitigation mode is `monitor`.
        """
        return self.normalized == "always" or (monitor and self.normalized == "monitor")

    @property
    def classification(self) -> Classification:
        """Class and reason."""
        return self.level, self.reason

    def is_worse_than(self, other: Violation) -> bool:
        """Whether its class is more severe."""
        return _RANKS[self.level] > _RANKS[other.level]


# Made once: requests share these tuples.
_CLASSIFICATIONS: Final = {violation: violation.classification for violation in Violation}


def classify_body(method: str, content_length: int) -> Classification | None:
    """Classify a request that has a framing field. Only GET and HEAD are non-compliant: a body has no meaning there (RFC 9110 section 9.3).

    Args:
        method: The request method.
        content_length: The length of the body; -1 if it is chunked.
    """
    if method not in ("GET", "HEAD"):
        return None
    if content_length < 0:
        return _CLASSIFICATIONS[Violation.UNDEFINED_TRANSFER_ENCODING]
    return _CLASSIFICATIONS[Violation.UNDEFINED_CONTENT_LENGTH if content_length else Violation.GET_HEAD_ZERO_CONTENT_LENGTH]


def worse(first: Classification | None, second: Classification | None) -> Classification | None:
    """Return the more severe of two classifications; the first if both have the same class."""
    if first is None or (second is not None and _RANKS[second[0]] > _RANKS[first[0]]):
        return second
    return first

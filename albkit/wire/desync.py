"""Evidence that two servers might read a request in two ways (alb-reference 2.4).

What the parser refuses is a 400 in every mode; what is judged here is what it lets through.
"""

from __future__ import annotations

import re

__all__ = (
    "LOOKALIKE_NAME",
    "PADDED_REQUEST_LINE",
    "classify_body",
    "reason_for_refusal",
    "worse",
)

Classification = tuple[str, str]

PADDED_REQUEST_LINE: Classification = ("Acceptable", "NonCompliantVersion")
"""More blanks around the parts of the request line than one."""
LOOKALIKE_NAME: Classification = ("Ambiguous", "SuspiciousHeader")
_ZERO_LENGTH: Classification = ("Acceptable", "GetHeadZeroContentLength")
_LENGTH: Classification = ("Ambiguous", "UndefinedContentLengthSemantics")
_CODING: Classification = ("Ambiguous", "UndefinedTransferEncodingSemantics")


def classify_body(method: str, content_length: int) -> Classification | None:
    """What a body, announced by a framing field, says about a GET or HEAD request, which have no use for one.

    Args:
        method: The request's.
        content_length: -1 for a chunked body.
    """
    if method not in ("GET", "HEAD"):
        return None
    if content_length < 0:
        return _CODING
    return _LENGTH if content_length else _ZERO_LENGTH


def worse(first: Classification | None, second: Classification | None) -> Classification | None:
    """The higher class of the two; the first among equals."""
    if first is None or (second is not None and first[0] == "Acceptable" != second[0]):
        return second
    return first


def reason_for_refusal(head: bytes) -> str:
    """The classifier's word for what is wrong with a head that the parser refused; for the log, never for a decision."""
    request_line, _, fields = head.partition(b"\n")
    if not request_line.endswith(b"\r") or re.search(rb"[^\r]\n", fields):
        return "NonCrLfLineTermination"
    if re.search(rb"\n[ \t]", b"\n" + fields):
        return "MultilineHeader"
    return _reason_in_request_line(request_line[:-1]) or _reason_in_fields(fields) or "NonCompliant"


def _reason_in_request_line(line: bytes) -> str | None:
    method, _, rest = line.partition(b" ")
    target, _, version = rest.rpartition(b" ")
    if not re.fullmatch(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", method):
        return "BadMethod"
    if not target:
        return "MissingUri"
    if target.endswith(b" ") or not version:
        return "NonCompliantVersion"
    if not re.fullmatch(rb"HTTP/1\.[0-9]", version):
        return "BadVersion"
    if re.search(rb"[\0\r\n]", target):
        return "BadUri"
    if b" " in target:
        return "SpaceInUri"
    if re.search(rb"[\x01-\x1f\x7f]", target):
        return "AmbiguousUri"
    return None if version in (b"HTTP/1.0", b"HTTP/1.1") else "NonCompliantVersion"


def _reason_in_fields(fields: bytes) -> str | None:
    lengths: list[bytes] = []
    codings: list[bytes] = []
    for line in fields.split(b"\r\n"):
        if not line:
            continue
        name, colon, value = line.partition(b":")
        if not colon:
            return "MissingHeaderColon"
        if not name.strip():
            return "EmptyHeader"
        if re.search(rb"[\0\r\n]", line):
            return "BadHeader"
        plain = re.sub(rb"[^0-9a-z]+", b"-", name.lower()).strip(b"-")
        if plain in (b"content-length", b"transfer-encoding") and plain != name.lower():
            return "SuspiciousHeader"
        if plain == b"content-length":
            lengths.append(value.strip())
        if plain == b"transfer-encoding":
            codings += [coding.strip(b" \t").lower() for coding in value.split(b",")]
        if not re.fullmatch(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name) or re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", value):
            return "NonCompliantHeader"
    return _reason_in_framing(lengths, codings)


def _reason_in_framing(lengths: list[bytes], codings: list[bytes]) -> str | None:
    if any(not length.isdigit() or len(length) > 19 for length in lengths):
        return "BadContentLength"
    if lengths and codings:
        return "BothTeClPresent"
    if len(lengths) > 1:
        return "DuplicateContentLength" if len(set(lengths)) == 1 else "MultipleContentLength"
    if codings.count(b"chunked") > 1:
        return "MultipleTransferEncodingChunked"
    return "BadTransferEncoding" if codings else None

"""Normalizes request heads that the strict parser in `request.py` rejects, so that all servers read the result in the same way.

The strict parser accepts well-formed heads only. ALB also accepts others (see `desync.py`). Such a head is rewritten here if its meaning
is clear enough, and then goes through the strict parser. So every byte that a target receives has passed the strict parser, and a mistake
in this module cannot let a smuggled request through. Everything else is rejected with ALB's name for the reason.
"""

from __future__ import annotations

import re
from itertools import pairwise

from albkit.errors import Failure, FailureKind
from albkit.wire.http1 import fields
from albkit.wire.http1.desync import Classification, Violation, worse
from albkit.wire.http1.fields import REQUEST_FIELDS, resembles_framing_field
from albkit.wire.http1.grammar import CONTROLS, LONGEST_METHOD, TOKEN

__all__ = ("Normalized", "normalize")

_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_LATER_MINOR = re.compile(rb"HTTP/1\.[2-9]")
"""Handled as HTTP/1.1, the highest minor version that is implemented (RFC 9110 section 2.5)."""
_NOT_IN_TARGET = bytes((*range(0x21), 0x7F))
"""Bytes that a request target must not contain: control bytes and the space."""
_CONTROL_BYTES = frozenset(CONTROLS)
_SPACES_FOR_CONTROLS = bytes(32 if byte in _CONTROL_BYTES else byte for byte in range(256))
_CHUNKED = [b"chunked"]
_REAL_CODINGS = (b"compress", b"deflate", b"gzip", b"x-compress", b"x-gzip")
_SHOWN = 60
"""Bytes of the offending text that the log shows."""


class Normalized:
    """The result of `normalize`."""

    __slots__ = ("classification", "closes", "head")

    def __init__(self, head: bytes, classification: Classification | None, *, closes: bool) -> None:
        self.head = head
        """The rewritten head, for the strict parser."""
        self.classification = classification
        """That of the most severe violation; `None` if ALB considers the head compliant."""
        self.closes = closes
        """Whether both connections must be closed after the request in every mode (RFC 9112 section 6.1)."""


def normalize(head: bytes, *, monitor: bool) -> Normalized:
    """Rewrite a request head that the strict parser has rejected.

    Args:
        head: From the request line to the empty line.
        monitor: Whether the desync mitigation mode is `monitor`, which forwards more requests.

    Raises:
        Failure: 400, 501 or 505: the head cannot be normalized, or not in this mode. The detail has ALB's name for the reason.
    """
    return _Normalizer(head, monitor=monitor).result()


class _Normalizer:
    """Normalizes one head. It does not stop at the first violation: the log is to name the most severe one."""

    def __init__(self, head: bytes, *, monitor: bool) -> None:
        self._head = head
        self._monitor = monitor
        self._classification: Classification | None = None
        self._rejection: tuple[Violation, str] | None = None
        """The most severe violation that cannot be normalized, and its description."""
        self._lines: list[bytes] = []
        self._lengths: list[bytes] = []
        self._codings: list[bytes] | None = None
        """`None` without a Transfer-Encoding field, which differs from an empty one."""
        self._folds_into: int | None = None
        """The index in `_lines` of the field that a folded line would continue; 0 for a field that was dropped, `None` for a framing field
        or if no field came yet."""
        self._http_1_0 = False
        self._closes = False

    def result(self) -> Normalized:
        lines = self._head[:-4].split(b"\r\n")
        # If a lone LF ended a line for one server and not for another, each would see different fields. Nothing about it can be repaired.
        if any(b"\n" in line for line in lines):
            raise Failure(FailureKind.REQUEST_BARE_LF, Violation.NON_CRLF_LINE_TERMINATION.reason)
        self._request_line(lines[0])
        for line in lines[1:]:
            self._field_line(line)
        self._framing()
        if self._rejection is not None:
            violation, what = self._rejection
            raise Failure(FailureKind.REQUEST_MALFORMED, f"{violation.reason}: {what}")
        return Normalized(b"\r\n".join((*self._lines, b"", b"")), self._classification, closes=self._closes)

    def _add(self, violation: Violation, what: str) -> None:
        """Add a violation. The most severe one gives its name to the request."""
        self._classification = worse(self._classification, violation.classification)
        if violation.can_be_normalized(monitor=self._monitor):
            return
        if self._rejection is None or violation.is_worse_than(self._rejection[0]):
            self._rejection = violation, what

    # The request line (RFC 9112 section 3).

    def _request_line(self, line: bytes) -> None:
        method, _, rest = line.partition(b" ")
        if not TOKEN.fullmatch(method) or len(method) > LONGEST_METHOD:
            what = "the method is too long" if len(method) > LONGEST_METHOD else f"the method {_shown(method)} is not a token"
            self._add(Violation.BAD_METHOD, what)
        target, _, version = rest.strip(b" ").rpartition(b" ")
        target = target.strip(b" ")
        if not target:
            if version and not version.startswith(b"HTTP/"):
                raise Failure(FailureKind.REQUEST_MALFORMED, f"{Violation.NON_COMPLIANT_VERSION.reason}: the request line has no version")
            self._add(Violation.MISSING_URI, "the request line has no target")
        elif line != b" ".join((method, target, version)):
            self._add(Violation.NON_COMPLIANT_VERSION, "the request line has more than two spaces")
        self._lines.append(b" ".join((method, self._target(target), self._version(version))))

    def _version(self, version: bytes) -> bytes:
        self._http_1_0 = version == b"HTTP/1.0"
        if self._http_1_0 or version == b"HTTP/1.1":
            return version
        if _LATER_MINOR.fullmatch(version):
            self._add(Violation.NON_COMPLIANT_VERSION, f"the version {_shown(version)}")
        elif _VERSION.fullmatch(version):
            raise Failure(FailureKind.REQUEST_VERSION_UNSUPPORTED, f"{Violation.BAD_VERSION.reason}: the version {_shown(version)}")
        else:
            self._add(Violation.BAD_VERSION, f"the version {_shown(version)}")
        return b"HTTP/1.1"

    def _target(self, target: bytes) -> bytes:
        """Percent-encode the bytes that some servers take for the end of the target, as a browser would."""
        if len(target) == len(target.translate(None, _NOT_IN_TARGET)):
            return target
        if b"\0" in target or b"\r" in target:
            self._add(Violation.BAD_URI, f"the request target {_shown(target)} contains NUL or CR")
        else:
            if b" " in target:
                self._add(Violation.SPACE_IN_URI, f"the request target {_shown(target)} contains a space")
            if target.translate(None, b" ") != target.translate(None, b" " + CONTROLS + b"\t"):
                self._add(Violation.AMBIGUOUS_URI, f"the request target {_shown(target)} contains a control byte")
        # One pass per distinct byte, of which there are at most 34. One per occurrence would take quadratic time.
        for byte in set(target).intersection(_NOT_IN_TARGET):
            target = target.replace(bytes((byte,)), b"%%%02X" % byte)
        return target

    # Fields (RFC 9112 section 5).

    def _field_line(self, line: bytes) -> None:
        if b"\0" in line or b"\r" in line:
            self._add(Violation.BAD_HEADER, f"NUL or CR in the line {_shown(line)}")
            return
        if line[:1] in (b" ", b"\t"):
            self._unfold(line)
            return
        self._folds_into = 0
        name, colon, value = line.partition(b":")
        if not colon:
            self._add(Violation.MISSING_HEADER_COLON, f"no colon in the line {_shown(line)}")
            return
        if not name.strip(b" \t"):
            self._add(Violation.EMPTY_HEADER, f"no field name in the line {_shown(line)}")
            return
        kind = REQUEST_FIELDS[name]
        if kind == fields.BAD:
            # Drop the field: servers differ in how they read such a name, and no spelling of it would have one meaning.
            framing = resembles_framing_field(name.lower())
            violation = Violation.UNREADABLE_FRAMING if framing else Violation.NON_COMPLIANT_HEADER
            self._add(violation, f"the field name {_shown(name)} is not a token")
        elif kind == fields.CONTENT_LENGTH:
            # Framing fields are not copied. `_framing` writes one from what all of them say, and a folded one is never normalized.
            self._folds_into = None
            self._lengths.append(value.strip(b" \t"))
        elif kind == fields.TRANSFER_ENCODING:
            self._folds_into = None
            self._codings = [*(self._codings or ()), *(coding.strip(b" \t").lower() for coding in value.split(b","))]
        else:
            self._folds_into = len(self._lines)
            self._lines.append(self._clean(line, kind))

    def _clean(self, line: bytes, kind: int) -> bytes:
        """Replace control bytes by spaces (RFC 9110 section 5.5). Never in a field that decides something, such as Connection or Host."""
        clean = line.translate(_SPACES_FOR_CONTROLS)
        if clean != line:
            violation = Violation.NON_COMPLIANT_HEADER if kind in (fields.PLAIN, fields.COOKIE, fields.IRREGULAR) else Violation.BAD_HEADER
            self._add(violation, f"a control byte in the line {_shown(line)}")
        return clean

    def _unfold(self, line: bytes) -> None:
        """Append a folded line to the field before it (RFC 9112 section 5.2)."""
        index = self._folds_into
        violation = Violation.MULTILINE_FRAMING if index is None else Violation.MULTILINE_HEADER
        self._add(violation, f"a line begins with whitespace: {_shown(line)}")
        if index:
            last = self._lines[index]
            kind = REQUEST_FIELDS[last.partition(b":")[0]]
            self._lines[index] = last + b" " + self._clean(line, kind).strip(b" \t")

    # The length of the body (RFC 9112 section 6.3).

    def _framing(self) -> None:
        lengths, codings = self._lengths, self._codings
        for length in lengths:
            if not length.isdigit() or len(length) > 19 or int(length) >= 2**63:
                self._add(Violation.BAD_CONTENT_LENGTH, f"the Content-Length {_shown(length)}")
            elif length[:1] == b"0" and len(length) > 1 and not self._monitor:
                # ALB considers this compliant, so it has no classification. But some servers read it as octal.
                self._rejection = self._rejection or (Violation.BAD_CONTENT_LENGTH, f"leading zeros in the Content-Length {_shown(length)}")
        if len(lengths) > 1:
            violation = Violation.DUPLICATE_CONTENT_LENGTH if len(set(lengths)) == 1 else Violation.MULTIPLE_CONTENT_LENGTH
            self._add(violation, f"{len(lengths)} Content-Length fields")
        if codings is not None:
            self._coding(codings)
        elif lengths:
            self._lines.append(b"Content-Length: %s" % (lengths[0].lstrip(b"0") or b"0"))

    def _coding(self, codings: list[bytes]) -> None:
        if any(first == second == b"chunked" for first, second in pairwise(codings)):
            self._add(Violation.MULTIPLE_CHUNKED, f"the transfer codings {_shown(b', '.join(codings))}")
        elif codings != _CHUNKED:
            self._other_coding(codings)
        if self._lengths:
            # The classic of request smuggling. Transfer-Encoding wins, and a server that forwards such a request must close the connection
            # after it (RFC 9112 section 6.1).
            self._add(Violation.BOTH_TE_CL_PRESENT, "both Content-Length and Transfer-Encoding")
            self._closes = True
        if self._http_1_0:
            self._add(Violation.TRANSFER_ENCODING_IN_HTTP_1_0, "Transfer-Encoding in an HTTP/1.0 request")
        self._lines.append(b"Transfer-Encoding: chunked")

    def _other_coding(self, codings: list[bytes]) -> None:
        """Reject other codings than chunked: 501 if they exist but are not implemented, 400 otherwise (docs/alb.md 2.3)."""
        named = _shown(b", ".join(codings))
        others = codings[:-1] if codings[-1] == b"chunked" else codings
        if others and not self._lengths and not self._http_1_0 and self._rejection is None and all(one in _REAL_CODINGS for one in others):
            raise Failure(FailureKind.REQUEST_TRANSFER_CODING_UNSUPPORTED, named)
        self._add(Violation.BAD_TRANSFER_ENCODING, f"the transfer codings {named}")


def _shown(text: bytes) -> str:
    return repr(text[:_SHOWN])

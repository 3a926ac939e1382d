"""Request heads that the strict reader does not take: what is wrong with them, and the same request in a head with one reading.

The strict reader takes what is right and nothing else. What ALB lets pass beyond that is written anew here, where it can be, and read by
the strict reader once more: no byte of a head reaches a target but through it. What cannot be written anew is refused with its name.
"""

from __future__ import annotations

import re
from itertools import pairwise

from albkit.errors import Failure, FailureKind
from albkit.wire.http1 import fields
from albkit.wire.http1.desync import Classification, Flaw, worse
from albkit.wire.http1.fields import REQUEST_FIELDS, reads_as_framing
from albkit.wire.http1.grammar import CONTROLS, LONGEST_METHOD, TOKEN

__all__ = ("Mended", "mend")

_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_LATER_MINOR = re.compile(rb"HTTP/1\.[2-9]")
"""Read as HTTP/1.1, the highest that is spoken here (RFC 9110 section 2.5)."""
_UNFIT = bytes((*range(0x21), 0x7F))
"""What no target holds."""
_CONTROL_BYTES = frozenset(CONTROLS)
_BLANKS_FOR_CONTROLS = bytes(32 if byte in _CONTROL_BYTES else byte for byte in range(256))
_CHUNKED = [b"chunked"]
_REAL_CODINGS = (b"compress", b"deflate", b"gzip", b"x-compress", b"x-gzip")
_SHOWN = 60
"""Bytes of what is wrong that the log shows."""


class Mended:
    """A head that says the same in one way."""

    __slots__ = ("classification", "closes", "head")

    def __init__(self, head: bytes, classification: Classification | None, *, closes: bool) -> None:
        self.head = head
        self.classification = classification
        """The worst of what was wrong; `None` where ALB finds nothing wrong with it."""
        self.closes = closes
        """Whether both connections must end behind the request, whatever the mode (RFC 9112 section 6.1)."""


def mend(head: bytes, *, monitored: bool) -> Mended:
    """The same request in a head with one reading.

    Args:
        head: From the request line to the empty line; the strict reader has refused it.
        monitored: Whether requests are only monitored, so that more of them pass.

    Raises:
        Failure: it cannot be mended, or not in this mode. The detail names what is wrong as ALB's classifier does.
    """
    return _Mending(head, monitored=monitored).result()


class _Mending:
    """One head on its way."""

    def __init__(self, head: bytes, *, monitored: bool) -> None:
        self._head = head
        self._monitored = monitored
        self._found: Classification | None = None
        self._refused: tuple[Flaw, str] | None = None
        self._lines: list[bytes] = []
        self._lengths: list[bytes] = []
        self._codings: list[bytes] | None = None
        self._folds_into: int | None = None
        """The place of the line that a folded one goes on with; 0 for one that is left out, `None` for none that may be folded."""
        self._http_1_0 = False
        self._closes = False

    def result(self) -> Mended:
        lines = self._head[:-4].split(b"\r\n")
        if any(b"\n" in line for line in lines):
            raise Failure(FailureKind.REQUEST_BARE_LF, Flaw.NON_CRLF_LINE_TERMINATION.reason)
        self._request_line(lines[0])
        for line in lines[1:]:
            self._field_line(line)
        self._framing()
        if self._refused is not None:
            flaw, what = self._refused
            raise Failure(FailureKind.REQUEST_MALFORMED, f"{flaw.reason}: {what}")
        return Mended(b"\r\n".join((*self._lines, b"", b"")), self._found, closes=self._closes)

    def _note(self, flaw: Flaw, what: str) -> None:
        """Something is wrong: the worst of it gives its name to the whole."""
        self._found = worse(self._found, flaw.classification)
        if not flaw.passes(monitored=self._monitored) and (self._refused is None or flaw.is_worse_than(self._refused[0])):
            self._refused = flaw, what

    # The request line (RFC 9112 section 3).

    def _request_line(self, line: bytes) -> None:
        method, _, rest = line.partition(b" ")
        if not TOKEN.fullmatch(method) or len(method) > LONGEST_METHOD:
            what = "the method is too long" if len(method) > LONGEST_METHOD else f"the method {_shown(method)} is no token"
            self._note(Flaw.BAD_METHOD, what)
        target, _, version = rest.strip(b" ").rpartition(b" ")
        target = target.strip(b" ")
        if not target:
            if version and not version.startswith(b"HTTP/"):
                raise Failure(FailureKind.REQUEST_MALFORMED, f"{Flaw.NON_COMPLIANT_VERSION.reason}: the request line has no version")
            self._note(Flaw.MISSING_URI, "no target in the request line")
        elif line != b" ".join((method, target, version)):
            self._note(Flaw.NON_COMPLIANT_VERSION, "more blanks in the request line than two")
        self._lines.append(b" ".join((method, self._target(target), self._version(version))))

    def _version(self, version: bytes) -> bytes:
        self._http_1_0 = version == b"HTTP/1.0"
        if self._http_1_0 or version == b"HTTP/1.1":
            return version
        if _LATER_MINOR.fullmatch(version):
            self._note(Flaw.NON_COMPLIANT_VERSION, f"the version {_shown(version)}")
        elif _VERSION.fullmatch(version):
            raise Failure(FailureKind.REQUEST_VERSION_UNSUPPORTED, f"{Flaw.BAD_VERSION.reason}: the version {_shown(version)}")
        else:
            self._note(Flaw.BAD_VERSION, f"the version {_shown(version)}")
        return b"HTTP/1.1"

    def _target(self, target: bytes) -> bytes:
        """The target without anything that could end it, as a browser would have written it."""
        if len(target) == len(target.translate(None, _UNFIT)):
            return target
        if b"\0" in target or b"\r" in target:
            self._note(Flaw.BAD_URI, f"the request target {_shown(target)} holds NUL or CR")
        else:
            if b" " in target:
                self._note(Flaw.SPACE_IN_URI, f"the request target {_shown(target)} holds a blank")
            if target.translate(None, b" ") != target.translate(None, b" " + CONTROLS + b"\t"):
                self._note(Flaw.AMBIGUOUS_URI, f"the request target {_shown(target)} holds a control byte")
        # Each of these bytes at once: there may be thousands.
        for byte in set(target).intersection(_UNFIT):
            target = target.replace(bytes((byte,)), b"%%%02X" % byte)
        return target

    # Fields (RFC 9112 section 5).

    def _field_line(self, line: bytes) -> None:
        if b"\0" in line or b"\r" in line:
            self._note(Flaw.BAD_HEADER, f"NUL or CR in {_shown(line)}")
            return
        if line[:1] in (b" ", b"\t"):
            self._continue(line)
            return
        self._folds_into = 0
        name, colon, value = line.partition(b":")
        if not colon:
            self._note(Flaw.MISSING_HEADER_COLON, f"no colon in {_shown(line)}")
            return
        if not name.strip(b" \t"):
            self._note(Flaw.EMPTY_HEADER, f"no name in {_shown(line)}")
            return
        kind = REQUEST_FIELDS[name]
        if kind == fields.BAD:
            # It is left out: no server can be told of it in a way that all read alike.
            framing = reads_as_framing(name.lower())
            self._note(Flaw.UNREADABLE_FRAMING if framing else Flaw.NON_COMPLIANT_HEADER, f"the name {_shown(name)} is no token")
        elif kind == fields.CONTENT_LENGTH:
            self._folds_into = None
            self._lengths.append(value.strip(b" \t"))
        elif kind == fields.TRANSFER_ENCODING:
            self._folds_into = None
            self._codings = [*(self._codings or ()), *(coding.strip(b" \t").lower() for coding in value.split(b","))]
        else:
            self._folds_into = len(self._lines)
            self._lines.append(self._clean(line, kind))

    def _clean(self, line: bytes, kind: int) -> bytes:
        clean = line.translate(_BLANKS_FOR_CONTROLS)
        if clean != line:
            flaw = Flaw.NON_COMPLIANT_HEADER if kind in (fields.PLAIN, fields.COOKIE, fields.IRREGULAR) else Flaw.BAD_HEADER
            self._note(flaw, f"a control byte in {_shown(line)}")
        return clean

    def _continue(self, line: bytes) -> None:
        """A folded line goes on with the field before it (RFC 9112 section 5.2)."""
        place = self._folds_into
        self._note(Flaw.MULTILINE_FRAMING if place is None else Flaw.MULTILINE_HEADER, f"a line that begins with a blank: {_shown(line)}")
        if place:
            last = self._lines[place]
            kind = REQUEST_FIELDS[last.partition(b":")[0]]
            self._lines[place] = last + b" " + self._clean(line, kind).strip(b" \t")

    # How long the body is (RFC 9112 section 6.3).

    def _framing(self) -> None:
        lengths, codings = self._lengths, self._codings
        for length in lengths:
            if not length.isdigit() or len(length) > 19 or int(length) >= 2**63:
                self._note(Flaw.BAD_CONTENT_LENGTH, f"the length {_shown(length)}")
            elif length[:1] == b"0" and len(length) > 1 and not self._monitored:
                # To ALB it is compliant; to another server it may be octal.
                self._refused = self._refused or (Flaw.BAD_CONTENT_LENGTH, f"leading zeros in the length {_shown(length)}")
        if len(lengths) > 1:
            flaw = Flaw.DUPLICATE_CONTENT_LENGTH if len(set(lengths)) == 1 else Flaw.MULTIPLE_CONTENT_LENGTH
            self._note(flaw, f"{len(lengths)} lengths")
        if codings is not None:
            self._coding(codings)
        elif lengths:
            self._lines.append(b"Content-Length: %s" % (lengths[0].lstrip(b"0") or b"0"))

    def _coding(self, codings: list[bytes]) -> None:
        if any(first == second == b"chunked" for first, second in pairwise(codings)):
            self._note(Flaw.MULTIPLE_CHUNKED, f"the transfer codings {_shown(b', '.join(codings))}")
        elif codings != _CHUNKED:
            self._other_coding(codings)
        if self._lengths:
            self._note(Flaw.BOTH_TE_CL_PRESENT, "both a length and a transfer coding")
            self._closes = True
        if self._http_1_0:
            self._note(Flaw.TRANSFER_ENCODING_IN_HTTP_1_0, "a transfer coding in an HTTP/1.0 request")
        self._lines.append(b"Transfer-Encoding: chunked")

    def _other_coding(self, codings: list[bytes]) -> None:
        """501 for codings that exist but are not known here, 400 for anything else (docs/alb.md 2.3)."""
        named = _shown(b", ".join(codings))
        others = codings[:-1] if codings[-1] == b"chunked" else codings
        if others and not self._lengths and not self._http_1_0 and self._refused is None and all(one in _REAL_CODINGS for one in others):
            raise Failure(FailureKind.REQUEST_TRANSFER_CODING_UNSUPPORTED, named)
        self._note(Flaw.BAD_TRANSFER_ENCODING, f"the transfer codings {named}")


def _shown(text: bytes) -> str:
    return repr(text[:_SHOWN])

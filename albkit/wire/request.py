"""A parsed request head, judged and made ready to be sent on (alb-reference 2.3 to 2.7; RFC 9112)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from multidict import CIMultiDictProxy

from albkit.errors import Failure, FailureKind
from albkit.model.desync import Verdict
from albkit.model.message import RequestHead
from albkit.model.settings import Settings
from albkit.wire import fields
from albkit.wire.authority import Authorities
from albkit.wire.desync import LOOKALIKE_NAME, PADDED_REQUEST_LINE, classify_body, worse
from albkit.wire.fields import REQUEST_FIELDS, connection_options, drop_named, kinds_without
from albkit.wire.known_heads import KnownHeads
from albkit.wire.upgrade import protocols_to_offer

__all__ = ("ParsedRequest", "RequestReader")

_HTTP_1_1 = (1, 1)
_LARGEST_LENGTH = 2**63 - 1
_MOST_FORWARDED_FOR = 30
_HOST_PLACE = b"\0"
"""Stands where the Host line was; no real line holds a control byte."""
_KNOWN_CODINGS = (b"gzip", b"x-gzip", b"compress", b"x-compress", b"deflate")


class ParsedRequest(Protocol):
    """What this room needs of a parser's message."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def version(self) -> tuple[int, int]: ...
    @property
    def headers(self) -> CIMultiDictProxy[str]: ...
    @property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]: ...
    @property
    def chunked(self) -> bool: ...


_REMOVED = frozenset(
    (
        fields.DROP,
        fields.CONNECTION,
        fields.TRANSFER_ENCODING,
        fields.UPGRADE,
        fields.TE,
        fields.EXPECT,
        fields.FORWARDED_FOR,
        fields.TRACE_ID,
    ),
)
"""Kinds of fields that are not copied to the target: what follows from them is written anew."""


_ORDINARY = frozenset((fields.HOST, fields.CONNECTION, fields.COOKIE))
"""Where no other field means anything there is no body, nothing to expect and nothing to judge: most requests."""
_ORDINARY_WITH_BODY = _ORDINARY | {fields.CONTENT_LENGTH}


class RequestReader:
    """Reads the request heads of one listener.

    Args:
        settings: The load balancer's.
        port: The port that clients connect to.
        verdict: What desync mitigation does with a class of requests, given its name.
        ours: Names of further fields that only the load balancer may set.
    """

    __slots__ = ("_authorities", "_fallback_host", "_kinds", "_known", "_preserve_host", "_removed", "_verdict", "recall")

    def __init__(self, settings: Settings, port: int, verdict: Callable[[str], Verdict], ours: Sequence[str] = ()) -> None:
        self._kinds = kinds_without(name.lower().encode("ascii") for name in ours) if ours else REQUEST_FIELDS
        self._authorities = Authorities(port)
        self._known = KnownHeads(settings.limits.request_line)
        self.recall = self._known.recall
        """The request of a raw head whose fields have been read before; `None` for any other."""
        self._fallback_host = settings.name.encode()
        self._preserve_host = settings.preserve_host_header
        self._verdict = verdict
        self._removed = _REMOVED
        if settings.drop_invalid_header_fields:
            self._removed |= {fields.IRREGULAR, fields.IRREGULAR_LOOKALIKE}
        if settings.xff_header_processing == "preserve":
            self._removed -= {fields.FORWARDED_FOR}

    def read(self, message: ParsedRequest, head: bytes) -> RequestHead:
        """The request behind a parsed head.

        Args:
            message: What the parser made of `head`.
            head: The raw head, from the first byte of the request line to the empty line.

        Raises:
            Failure: the request is refused, with the status to answer.
        """
        request = RequestHead()
        request.method = message.method
        request.headers = message.headers
        version = message.version
        request.http_1_0 = version != _HTTP_1_1 and _is_http_1_0(version)
        request.lines = lines = head.split(b"\r\n")
        padded = lines[0].count(b" ") != 2

        found = self._sort_fields(message.raw_headers, lines)
        if fields.CONNECTION in found:
            # Before any line of ours is added: a client must not be able to name one of those.
            named = connection_options(found[fields.CONNECTION]).named
            if named:
                drop_named(lines, named)
        self._read_target(request, message.path, padded=padded)
        self._read_host(request, found.get(fields.HOST))
        if found.keys() <= _ORDINARY and not padded:
            request.chunked = request.expects_continue = request.close_after = False
            request.irregular_names = request.dropped_names = False
            request.content_length = 0
            request.cookie = found.get(fields.COOKIE, b"")
            request.trace_id = request.forwarded_for = b""
            request.classification = None
            self._read_connection(request, found)
            if not request.http_1_0 and not request.upgrade:
                self._known.remember(head, request)
        else:
            self._read_body(request, found, message.chunked)
            self._read_connection(request, found)
            self._read_rest(request, found)
            self._judge(request, found, padded=padded)
            if found.keys() <= _ORDINARY_WITH_BODY and request.classification is None and not request.http_1_0 and not request.upgrade:
                self._known.remember(head, request)
        return request

    def _sort_fields(self, raw_headers: Sequence[tuple[bytes, bytes]], lines: list[bytes]) -> dict[int, bytes]:
        """One pass over the names, nearly all of which are PLAIN and cost a look-up.

        Takes out of `lines` what is not copied, writes Host's place over with an empty mark, and returns the values of the fields
        that mean something, by kind; several fields of a kind are joined.
        """
        found: dict[int, bytes] = {}
        kinds = self._kinds
        position = 0
        for name, value in raw_headers:
            position += 1
            kind = kinds[name]
            if kind:
                if kind in found:
                    value = found[kind] + (b"; " if kind == fields.COOKIE else b", ") + value
                found[kind] = value
                if kind in self._removed:
                    del lines[position]
                    position -= 1
                elif kind == fields.HOST:
                    lines[position] = _HOST_PLACE
        return found

    def _read_target(self, request: RequestHead, target: str, *, padded: bool) -> None:
        """Method and target: origin-form, absolute-form, and `*` for OPTIONS (RFC 9112 section 3.2)."""
        method = request.method
        request.host = ""
        if target[0:1] == "/" or (target == "*" and method == "OPTIONS"):
            rewritten = padded or request.http_1_0
        else:
            target = self._from_absolute_form(request, target)
            rewritten = True
        if method in ("CONNECT", "TRACE"):
            raise Failure(FailureKind.REQUEST_METHOD_REFUSED, method)
        if "#" in target:
            raise Failure(FailureKind.REQUEST_MALFORMED, "a fragment in the request target")
        if rewritten:
            request.lines[0] = f"{method} {target} HTTP/1.1".encode("utf-8", "surrogateescape")
        request.path, _, request.query_string = target.partition("?")

    def _from_absolute_form(self, request: RequestHead, target: str) -> str:
        scheme, separator, rest = target.partition("://")
        if request.method == "CONNECT":
            raise Failure(FailureKind.REQUEST_METHOD_REFUSED, "CONNECT")
        if not separator or scheme.lower() not in ("http", "https"):
            raise Failure(FailureKind.REQUEST_MALFORMED, f"request target {target[:100]!r}")
        end = min((place for place in (rest.find("/"), rest.find("?"), rest.find("#")) if place >= 0), default=len(rest))
        request.host = rest[:end]
        if not request.host:
            raise Failure(FailureKind.REQUEST_HOST_INVALID, "no host in an absolute-form target")
        path = rest[end:]
        if not path and request.method == "OPTIONS":
            return "*"  # RFC 9112 section 3.2.4
        return path if path.startswith("/") else "/" + path

    def _read_host(self, request: RequestHead, host: bytes | None) -> None:
        """Who is asked for. An absolute-form target outranks the Host field (RFC 9112 section 3.2.2)."""
        if host is not None:
            authority = self._authorities.read(host)
            raw = host
        elif not request.http_1_0:
            raise Failure(FailureKind.REQUEST_HOST_INVALID, "no Host in an HTTP/1.1 request")
        else:
            authority = self._authorities.read(self._fallback_host)
            raw = self._fallback_host
        if request.host:
            raw = request.host.encode("utf-8", "surrogateescape")
            authority = self._authorities.read(raw)
        request.host = authority.host
        line = b"Host: " + raw if self._preserve_host else authority.line
        if host is None:
            request.lines.insert(1, line)
        else:
            request.lines[request.lines.index(_HOST_PLACE)] = line

    @staticmethod
    def _read_body(request: RequestHead, found: dict[int, bytes], parsed_chunked: bool) -> None:
        """How long the body is (RFC 9112 section 6.3)."""
        request.chunked = False
        request.content_length = 0
        length = found.get(fields.CONTENT_LENGTH)
        coding = found.get(fields.TRANSFER_ENCODING)
        if coding is not None:
            if request.http_1_0:
                raise Failure(FailureKind.REQUEST_MALFORMED, "Transfer-Encoding in an HTTP/1.0 request")
            if length is not None:
                raise Failure(FailureKind.REQUEST_MALFORMED, "both Content-Length and Transfer-Encoding")
            codings = [part.strip(b" \t").lower() for part in coding.split(b",")]
            if codings == [b"chunked"] and parsed_chunked:
                request.chunked = True
                request.content_length = -1
                request.lines.insert(-2, b"Transfer-Encoding: chunked")
            elif codings != [b"identity"]:
                raise _refused_coding(codings)
        elif length is not None:
            # The parser has refused signs and lists; a leading zero may be octal to the next server.
            if not length.isdigit() or len(length) > 19 or int(length) > _LARGEST_LENGTH or (length[:1] == b"0" and len(length) > 1):
                raise Failure(FailureKind.REQUEST_MALFORMED, f"Content-Length {length[:50]!r}")
            request.content_length = int(length)

    @staticmethod
    def _read_connection(request: RequestHead, found: dict[int, bytes]) -> None:
        """Whether the connection stays, whether it is to be upgraded, and which further fields end here."""
        request.upgrade = b""
        connection = found.get(fields.CONNECTION)
        if connection is None:
            request.keep_alive = not request.http_1_0
            return
        options = connection_options(connection)
        request.keep_alive = not options.close and (options.keep_alive or not request.http_1_0)
        upgrade = found.get(fields.UPGRADE)
        if options.upgrade and upgrade and not request.http_1_0 and request.content_length >= 0:
            request.upgrade = protocols_to_offer(upgrade)

    def _read_rest(self, request: RequestHead, found: dict[int, bytes]) -> None:
        """Cookies, what earlier proxies said, and the expectations that are or are not ours to meet."""
        request.cookie = found.get(fields.COOKIE, b"")
        request.trace_id = found.get(fields.TRACE_ID, b"")
        request.irregular_names = fields.IRREGULAR in found or fields.IRREGULAR_LOOKALIKE in found
        request.dropped_names = request.irregular_names and fields.IRREGULAR in self._removed
        request.expects_continue = False
        request.forwarded_for = found.get(fields.FORWARDED_FOR, b"")
        if request.forwarded_for.count(b",") >= _MOST_FORWARDED_FOR:
            raise Failure(FailureKind.REQUEST_FORWARDED_FOR_TOO_LONG, f"{request.forwarded_for.count(b',') + 1} addresses")
        if fields.EXPECT in found:
            expectation = found[fields.EXPECT]
            if all(part.strip(b" \t").lower() == b"100-continue" for part in expectation.split(b",")):
                request.expects_continue = not request.http_1_0 and request.has_body
            else:
                request.lines.insert(-2, b"Expect: " + expectation)
        if fields.TE in found and b"trailers" in (option.strip(b" \t").lower() for option in found[fields.TE].split(b",")):
            request.lines.insert(-2, b"TE: trailers")

    def _judge(self, request: RequestHead, found: dict[int, bytes], *, padded: bool) -> None:
        """Desync mitigation: the highest class that the evidence supports, and what the mode makes of it."""
        request.close_after = False
        request.classification = None
        if fields.BAD in found:
            raise Failure(FailureKind.REQUEST_MALFORMED, "a field name is not a token")
        classification = PADDED_REQUEST_LINE if padded else None
        if fields.TRANSFER_ENCODING in found:
            classification = worse(classification, classify_body(request.method, -1))
        elif fields.CONTENT_LENGTH in found:
            classification = worse(classification, classify_body(request.method, request.content_length))
        if fields.LOOKALIKE in found or fields.IRREGULAR_LOOKALIKE in found:
            classification = worse(classification, LOOKALIKE_NAME)
        if classification is not None:
            request.classification = classification
            verdict = self._verdict(classification[0])
            if verdict is Verdict.BLOCK:
                raise Failure(FailureKind.REQUEST_AMBIGUOUS, ": ".join(classification))
            request.close_after = verdict is Verdict.ALLOW_THEN_CLOSE


def _is_http_1_0(version: tuple[int, int]) -> bool:
    if version[0] != 1:
        raise Failure(FailureKind.REQUEST_VERSION_UNSUPPORTED, f"HTTP/{version[0]}.{version[1]}")
    return version[1] == 0


def _refused_coding(codings: list[bytes]) -> Failure:
    """501 for codings that exist but are not known here, 400 for anything else (alb-reference 2.3)."""
    named = repr(b", ".join(codings)[:100])
    real = codings[:-1] if codings[-1] == b"chunked" else codings
    if real and all(coding in _KNOWN_CODINGS for coding in real):
        return Failure(FailureKind.REQUEST_TRANSFER_CODING_UNSUPPORTED, named)
    return Failure(FailureKind.REQUEST_MALFORMED, "Transfer-Encoding " + named)

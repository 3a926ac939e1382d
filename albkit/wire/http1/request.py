"""The one reader of request heads: what is right is read, judged and made ready to be sent on (docs/alb.md 2.3 to 2.7; RFC 9112).

What it reads are the very lines that a target gets, so that nothing can be read here in one way and there in another. It is strict: a
head with any flaw in its grammar is none. `mending` writes anew what may pass all the same, and it is read here again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from albkit.errors import Failure, FailureKind
from albkit.model.desync import Verdict
from albkit.model.message import RequestHead
from albkit.model.settings import Settings
from albkit.wire.http1 import fields
from albkit.wire.http1.authority import Authorities
from albkit.wire.http1.desync import Classification, Flaw, classify_body, worse
from albkit.wire.http1.fields import REQUEST_FIELDS, ConnectionOptions, connection_options, drop_named, kinds_without
from albkit.wire.http1.grammar import CONTROLS, LONGEST_METHOD, TOKEN
from albkit.wire.http1.header_cache import METHODS, HeaderCache
from albkit.wire.http1.normalization import mend
from albkit.wire.http1.trusted_proxy import Told
from albkit.wire.http1.upgrade import protocols_to_offer

__all__ = ("RequestReader",)

_LARGEST_LENGTH = 2**63 - 1
_MOST_FORWARDED_FOR = 30
_LINES_BESIDE_FIELDS = 1
"""The request line, and the two empty ones behind the last field's."""
_NO_NAMES: frozenset[bytes] = frozenset()

_REMOVED = frozenset(
    (
        fields.DROP,
        fields.CONNECTION,
        fields.TRANSFER_ENCODING,
        fields.UPGRADE,
        fields.TE,
        fields.EXPECT,
        fields.FORWARDED_FOR,
        fields.FORWARDED_PROTO,
        fields.FORWARDED_PORT,
        fields.TRACE_ID,
        fields.OURS,
        fields.IRREGULAR_FORWARDED,
    ),
)
"""Kinds of fields that are not copied to the target: what follows from them is written anew."""
_DROPPED = frozenset((fields.IRREGULAR, fields.IRREGULAR_LOOKALIKE, fields.IRREGULAR_FORWARDED))

_ORDINARY = frozenset((fields.HOST, fields.CONNECTION, fields.COOKIE))
"""Where no other field means anything there is no body, nothing to expect and nothing to judge: most requests."""
_ORDINARY_WITH_BODY = _ORDINARY | {fields.CONTENT_LENGTH}


class _Unclean(Exception):
    """The head has a flaw."""


class RequestReader:
    """Reads the request heads of one listener.

    Args:
        settings: The load balancer's.
        port: The port that clients connect to.
        verdict: What desync mitigation does with a class of requests, given its name.
        ours: Names of further fields that only the load balancer may set.
        peers: Who sends them: `"anybody"`; where some are trusted proxies that tell of their clients, `"trusted"` or `"others"`.
    """

    __slots__ = (
        "_authorities",
        "_believes",
        "_drops_irregular",
        "_fallback_host",
        "_kinds",
        "_known",
        "_longest_field",
        "_longest_line",
        "_monitored",
        "_most_lines",
        "_port",
        "_preserve_host",
        "_removed",
        "_unseen",
        "_verdict",
    )

    def __init__(
        self, settings: Settings, port: int, verdict: Callable[[str], Verdict], ours: Sequence[str] = (), peers: str = "anybody"
    ) -> None:
        limits = settings.limits
        self._longest_line = limits.request_line
        self._longest_field = limits.request_field
        self._most_lines = limits.request_fields + _LINES_BESIDE_FIELDS
        self._kinds = kinds_without(name.lower().encode("ascii") for name in ours) if ours else REQUEST_FIELDS
        self._port = port
        self._believes = peers == "trusted"
        self._authorities = Authorities(port)
        self._known = HeaderCache(limits.request_line)
        self._fallback_host = settings.name.encode()
        self._preserve_host = settings.preserve_host_header
        self._verdict = verdict
        self._monitored = settings.desync_mitigation_mode == "monitor"
        self._drops_irregular = settings.drop_invalid_header_fields
        removed, unseen = _REMOVED, frozenset((fields.OURS,))
        if self._drops_irregular:
            removed |= _DROPPED
            unseen |= _DROPPED
        if settings.xff_header_processing == "preserve":
            removed -= {fields.FORWARDED_FOR}
        if peers == "others":
            # A target that believes the proxies would believe it, too.
            removed |= {fields.FORWARDED_HOST}
        self._removed = removed
        self._unseen = unseen

    def read(self, head: bytes) -> RequestHead:
        """The request behind a raw head, from the first byte of the request line to the empty line.

        Raises:
            Failure: the request is refused, with the status to answer.
        """
        request = self._known.recall(head)
        if request is None:
            try:
                request = self._read(head, None)
            except _Unclean:
                return self._read_mended(head)
        return request

    def _read_mended(self, head: bytes) -> RequestHead:
        """The same for a head with flaws."""
        mended = mend(head, monitored=self._monitored)
        if mended.head.find(b"\r\n") > self._longest_line:
            raise Failure(FailureKind.REQUEST_TARGET_TOO_LONG)
        try:
            request = self._read(mended.head, mended.classification)
        except _Unclean:
            # Whatever it is, nobody has a name for it.
            raise Failure(FailureKind.REQUEST_MALFORMED, "NonCompliant") from None
        request.close_after |= mended.closes
        return request

    def _read(self, head: bytes, classification: Classification | None) -> RequestHead:
        """The same for a head without any flaw.

        Raises:
            _Unclean: it has one.
            Failure: as in `read`.
        """
        lines = head[:-4].split(b"\r\n")
        # Before any flaw is found: nothing of a head without bounds is mended.
        self._judge_size(head, lines)
        # No control byte but the CR and LF between the lines.
        if len(head) - len(head.translate(None, CONTROLS)) != 2 * len(lines) + 2:
            raise _Unclean
        request = RequestHead()
        request.head = head
        request.lines = lines
        target = self._read_line(request, lines[0])
        found = self._sort_fields(request, lines)
        if fields.CONNECTION in found:
            # Before any line of ours is added: a client must not be able to name one of those.
            options = connection_options(found[fields.CONNECTION])
            if options.named:
                drop_named(lines, options.named)
        else:
            options = None
        self._read_target(request, target)
        self._read_host(request, found)
        if found.keys() <= _ORDINARY:
            request.chunked = request.expects_continue = request.close_after = False
            request.irregular_names = request.dropped_names = False
            request.content_length = 0
            request.cookie = found.get(fields.COOKIE, b"")
            request.trace_id = request.forwarded_for = b""
            request.classification = None
            self._read_connection(request, found, options)
            if classification is not None:
                self._judge(request, found, classification)
            elif not (request.http_1_0 or self._believes):
                self._known.remember(head, request, any_method=True)
        else:
            self._read_body(request, found)
            self._read_connection(request, found, options)
            self._read_rest(request, found)
            self._judge(request, found, classification)
            if found.keys() <= _ORDINARY_WITH_BODY and request.classification is None and not (request.http_1_0 or self._believes):
                self._known.remember(head, request, any_method=False)
        return request

    def _judge_size(self, head: bytes, lines: list[bytes]) -> None:
        if len(lines) > self._most_lines:
            raise Failure(FailureKind.REQUEST_HEAD_TOO_LARGE, f"more than {self._most_lines - _LINES_BESIDE_FIELDS} fields")
        if len(head) > self._longest_field and max(map(len, lines[1:]), default=0) > self._longest_field:
            raise Failure(FailureKind.REQUEST_HEAD_TOO_LARGE, f"one field has more than {self._longest_field} bytes")

    @staticmethod
    def _read_line(request: RequestHead, line: bytes) -> bytes:
        """Method and version; the target, as it came (RFC 9112 section 3)."""
        try:
            method, target, version = line.split(b" ")
        except ValueError:
            raise _Unclean from None
        request.http_1_0 = version == b"HTTP/1.0"
        name = METHODS.get(method)
        if name is None:
            if not TOKEN.fullmatch(method) or len(method) > LONGEST_METHOD:
                raise _Unclean
            name = method.decode("ascii")
        request.method = name
        if not target or b"\t" in target or (version != b"HTTP/1.1" and not request.http_1_0):
            raise _Unclean
        return target

    def _sort_fields(self, request: RequestHead, lines: list[bytes]) -> dict[int, bytes]:
        """One pass over the fields, nearly all of which are PLAIN and cost a look-up.

        Takes out of `lines` what is not copied, and returns the values of the fields that mean something, by kind; several fields of a
        kind are joined.
        """
        found: dict[int, bytes] = {}
        kinds = self._kinds
        position = 0
        request.unseen = _NO_NAMES
        try:
            for line in lines[1:]:
                position += 1
                colon = line.index(b":")
                kind = kinds[line[:colon]]
                if kind:
                    value = line[colon + 1 :].strip(b" \t")
                    if kind in found:
                        value = found[kind] + (b"; " if kind == fields.COOKIE else b", ") + value
                    found[kind] = value
                    if kind >= fields.OURS:
                        self._note_odd_name(request, kind, line[:colon])
                    if kind in self._removed:
                        del lines[position]
                        position -= 1
        except ValueError:
            # No colon.
            raise _Unclean from None
        return found

    def _note_odd_name(self, request: RequestHead, kind: int, name: bytes) -> None:
        if kind == fields.BAD:
            raise _Unclean
        if kind in self._unseen:
            request.unseen |= {name}

    def _read_target(self, request: RequestHead, raw: bytes) -> None:
        """Origin-form, absolute-form, and `*` for OPTIONS (RFC 9112 section 3.2)."""
        method = request.method
        target = raw.decode("utf-8", "surrogateescape")
        request.host = ""
        if target[0] == "/" or (target == "*" and method == "OPTIONS"):
            rewritten = request.http_1_0
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

    def _read_host(self, request: RequestHead, found: dict[int, bytes]) -> None:
        """Who is asked for. An absolute-form target outranks the Host field (RFC 9112 section 3.2.2)."""
        lines = request.lines
        host = found.get(fields.HOST)
        if host is None:
            if not request.http_1_0:
                raise Failure(FailureKind.REQUEST_HOST_INVALID, "no Host in an HTTP/1.1 request")
            lines.insert(1, b"Host:")
            host = self._fallback_host
        authorities = self._authorities
        if self._believes:
            request.told = Told(found)
            authorities = authorities.seen_at(request.told.port or self._port)
        authority = authorities.read(host)
        if request.host:
            host = request.host.encode("utf-8", "surrogateescape")
            authority = authorities.read(host)
        request.host = authority.host
        if self._believes and request.told.host:
            request.host = authorities.read(request.told.host).host
        line = b"Host: " + host if self._preserve_host else authority.line
        place = 1
        while lines[place][:5].lower() != b"host:":
            place += 1
        lines[place] = line

    @staticmethod
    def _read_body(request: RequestHead, found: dict[int, bytes]) -> None:
        """How long the body is (RFC 9112 section 6.3)."""
        request.chunked = False
        request.content_length = 0
        length = found.get(fields.CONTENT_LENGTH)
        coding = found.get(fields.TRANSFER_ENCODING)
        if coding is not None:
            if length is not None or request.http_1_0 or coding.lower() != b"chunked":
                raise _Unclean
            request.chunked = True
            request.content_length = -1
            request.lines.append(b"Transfer-Encoding: chunked")
        elif length is not None:
            # A leading zero may be octal to the next server.
            if not length.isdigit() or len(length) > 19 or int(length) > _LARGEST_LENGTH or (length[:1] == b"0" and len(length) > 1):
                raise _Unclean
            request.content_length = int(length)

    @staticmethod
    def _read_connection(request: RequestHead, found: dict[int, bytes], options: ConnectionOptions | None) -> None:
        """Whether the connection stays, and whether it is to be upgraded."""
        request.upgrade = b""
        if options is None:
            request.keep_alive = not request.http_1_0
            return
        request.keep_alive = not options.close and (options.keep_alive or not request.http_1_0)
        upgrade = found.get(fields.UPGRADE)
        if options.upgrade and upgrade and not request.http_1_0 and request.content_length >= 0:
            request.upgrade = protocols_to_offer(upgrade)

    def _read_rest(self, request: RequestHead, found: dict[int, bytes]) -> None:
        """Cookies, what earlier proxies said, and the expectations that are ours to meet."""
        request.cookie = found.get(fields.COOKIE, b"")
        request.trace_id = found.get(fields.TRACE_ID, b"")
        irregular = fields.IRREGULAR in found or fields.IRREGULAR_LOOKALIKE in found
        request.irregular_names = irregular or (self._drops_irregular and fields.IRREGULAR_FORWARDED in found)
        request.dropped_names = request.irregular_names and self._drops_irregular
        request.expects_continue = False
        request.forwarded_for = found.get(fields.FORWARDED_FOR, b"")
        if request.forwarded_for.count(b",") >= _MOST_FORWARDED_FOR:
            raise Failure(FailureKind.REQUEST_FORWARDED_FOR_TOO_LONG, f"{request.forwarded_for.count(b',') + 1} addresses")
        if fields.EXPECT in found and not request.http_1_0:
            expectation = found[fields.EXPECT]
            if not all(part.strip(b" \t").lower() == b"100-continue" for part in expectation.split(b",")):
                raise Failure(FailureKind.REQUEST_EXPECTATION_UNKNOWN, repr(expectation[:100]))
            request.expects_continue = request.has_body
        if fields.TE in found and not request.upgrade:
            options = (option.strip(b" \t").lower() for option in found[fields.TE].split(b","))
            if b"trailers" in options:
                # Whoever sends it has to name it (RFC 9110 section 10.1.4).
                request.lines.append(b"Connection: TE\r\nTE: trailers")

    def _judge(self, request: RequestHead, found: dict[int, bytes], classification: Classification | None) -> None:
        """Desync mitigation: the highest class that the evidence supports, and what the mode makes of it."""
        request.close_after = False
        if fields.TRANSFER_ENCODING in found:
            classification = worse(classification, classify_body(request.method, -1))
        elif fields.CONTENT_LENGTH in found:
            classification = worse(classification, classify_body(request.method, request.content_length))
        if fields.LOOKALIKE in found or fields.IRREGULAR_LOOKALIKE in found:
            classification = worse(classification, Flaw.SUSPICIOUS_HEADER.classification)
        request.classification = classification
        if classification is not None:
            verdict = self._verdict(classification[0])
            if verdict is Verdict.BLOCK:
                raise Failure(FailureKind.REQUEST_AMBIGUOUS, ": ".join(classification))
            request.close_after = verdict is Verdict.ALLOW_THEN_CLOSE

"""The request parser: parses a head, checks it and prepares the lines for the target (docs/alb.md 2.3 to 2.7; RFC 9112).

This is the only parser of request heads, and it works on the same lines that the target receives. So load balancer and target cannot read
a request in two ways, which is what request smuggling needs. It is strict: a head with any error in its grammar is not parsed.
`normalization.py` rewrites such heads if they may be forwarded, and the result is parsed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from albkit.errors import Failure, FailureKind
from albkit.model.desync import Verdict
from albkit.model.message import RequestHead
from albkit.model.settings import Settings
from albkit.wire.http1 import fields
from albkit.wire.http1.authority import AuthorityReader
from albkit.wire.http1.desync import Classification, Violation, classify_body, worse
from albkit.wire.http1.fields import REQUEST_FIELDS, ConnectionOptions, connection_options, drop_named, kinds_reserving
from albkit.wire.http1.grammar import CONTROLS, LONGEST_METHOD, TOKEN
from albkit.wire.http1.header_cache import METHODS, HeaderCache
from albkit.wire.http1.normalization import normalize
from albkit.wire.http1.trusted_proxy import ForwardedInfo
from albkit.wire.http1.upgrade import protocols_to_offer

__all__ = ("RequestReader",)

_MAX_LENGTH = 2**63 - 1
_MAX_FORWARDED_FOR = 30
_LINES_BESIDE_FIELDS = 1
"""The request line, which is not a field."""
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
        fields.RESERVED,
        fields.IRREGULAR_FORWARDED,
    ),
)
"""Kinds of fields that are not copied to the target. If they mean something to it, the load balancer writes its own."""
_DROPPED = frozenset((fields.IRREGULAR, fields.IRREGULAR_LOOKALIKE, fields.IRREGULAR_FORWARDED))

_ORDINARY = frozenset((fields.HOST, fields.CONNECTION, fields.COOKIE))
"""If a request has no fields of other kinds, it has no body, no expectation and nothing to classify. That is true for most requests."""
_ORDINARY_WITH_BODY = _ORDINARY | {fields.CONTENT_LENGTH}


class _NeedsNormalization(Exception):
    """The head is not well-formed; `normalize` decides what becomes of it."""


class RequestReader:
    """Parses the request heads of one listener.

    Args:
        settings: The settings of the load balancer.
        port: The port that clients connect to.
        verdict: Returns what desync mitigation does with requests of a class, given the name of the class. `None` for requests of HTTP/2,
            whose heads albkit writes itself: they are always compliant (docs/alb.md 2.4).
        reserved: Names of more fields that only the load balancer may set.
        peers: Who sends these requests. `"anybody"` if the listener has no `trusted_networks`. If it has some, `"trusted"` for connections
            of these proxies, which report the address of their clients, and `"others"` for all other connections.
    """

    __slots__ = (
        "_authorities",
        "_cache",
        "_default_host",
        "_drops_irregular",
        "_hidden_kinds",
        "_kinds",
        "_max_field",
        "_max_line",
        "_max_lines",
        "_monitor",
        "_port",
        "_preserve_host",
        "_removed",
        "_trusts_peers",
        "_verdict",
    )

    def __init__(
        self, settings: Settings, port: int, verdict: Callable[[str], Verdict] | None, reserved: Sequence[str] = (), peers: str = "anybody"
    ) -> None:
        limits = settings.limits
        self._max_line = limits.request_line
        self._max_field = limits.request_field
        self._max_lines = limits.request_fields + _LINES_BESIDE_FIELDS
        self._kinds = kinds_reserving(name.lower().encode("ascii") for name in reserved) if reserved else REQUEST_FIELDS
        self._port = port
        self._trusts_peers = peers == "trusted"
        self._authorities = AuthorityReader(port)
        self._cache = HeaderCache(limits.request_line)
        self._default_host = settings.name.encode()
        self._preserve_host = settings.preserve_host_header
        self._verdict = verdict
        self._monitor = settings.desync_mitigation_mode == "monitor"
        self._drops_irregular = settings.drop_invalid_header_fields
        removed, hidden = _REMOVED, frozenset((fields.RESERVED,))
        if self._drops_irregular:
            removed |= _DROPPED
            # A field that the target never receives must not decide where the request goes, either.
            hidden |= _DROPPED
        if settings.xff_header_processing == "preserve":
            removed -= {fields.FORWARDED_FOR}
        if peers == "others":
            # A target that trusts this field when the proxies send it cannot tell that another client has sent it.
            removed |= {fields.FORWARDED_HOST}
        self._removed = removed
        self._hidden_kinds = hidden

    def read(self, head: bytes) -> RequestHead:
        """Parse a head.

        Args:
            head: From the first byte of the request line to the empty line.

        Raises:
            Failure: the request is rejected. `kind.status` is the status for the client.
        """
        request = self._cache.get(head)
        if request is None:
            try:
                request = self._parse(head, None)
            except _NeedsNormalization:
                if self._verdict is None:
                    raise Failure(FailureKind.REQUEST_MALFORMED) from None
                return self._parse_normalized(head)
        return request

    def _parse_normalized(self, head: bytes) -> RequestHead:
        """Normalize a head and parse the result."""
        normalized = normalize(head, monitor=self._monitor)
        # Percent-encoding may have made the request line longer than the limit.
        if normalized.head.find(b"\r\n") > self._max_line:
            raise Failure(FailureKind.REQUEST_TARGET_TOO_LONG)
        try:
            request = self._parse(normalized.head, normalized.classification)
        except _NeedsNormalization:
            # `normalize` has missed something. Failing closed keeps such a head away from the targets.
            raise Failure(FailureKind.REQUEST_MALFORMED, "NonCompliant") from None
        request.close_after |= normalized.closes
        return request

    def _parse(self, head: bytes, classification: Classification | None) -> RequestHead:
        """Parse a well-formed head.

        Args:
            head: As in `read`.
            classification: What `normalize` has found; `None` if the head is the client's own.

        Raises:
            _NeedsNormalization: it is not well-formed.
            Failure: as in `read`.
        """
        lines = head[:-4].split(b"\r\n")
        # First of all, so that a head with an unlimited number of fields is neither parsed nor normalized.
        self._check_size(head, lines)
        # Two control bytes per line are its CR and LF. If there are more, the head is not well-formed. One `translate` of the whole head
        # is cheaper than a look at each line.
        if len(head) - len(head.translate(None, CONTROLS)) != 2 * len(lines) + 2:
            raise _NeedsNormalization
        request = RequestHead()
        request.head = head
        request.lines = lines
        target = self._parse_request_line(request, lines[0])
        found = self._scan_fields(request, lines)
        if fields.CONNECTION in found:
            # Before the load balancer adds lines: otherwise a client could name X-Forwarded-For here and so have it removed.
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
                self._classify(request, found, classification)
            # The cache does not keep what a trusted proxy reports about its client.
            elif not (request.http_1_0 or self._trusts_peers):
                self._cache.put(head, request, any_method=True)
        else:
            self._read_body(request, found)
            self._read_connection(request, found, options)
            self._read_rest(request, found)
            self._classify(request, found, classification)
            if found.keys() <= _ORDINARY_WITH_BODY and request.classification is None and not (request.http_1_0 or self._trusts_peers):
                self._cache.put(head, request, any_method=False)
        return request

    def _check_size(self, head: bytes, lines: list[bytes]) -> None:
        """Enforce the limits on fields. The receive buffer has enforced those on the request line and on the whole head."""
        if len(lines) > self._max_lines:
            raise Failure(FailureKind.REQUEST_HEAD_TOO_LARGE, f"more than {self._max_lines - _LINES_BESIDE_FIELDS} fields")
        if len(head) > self._max_field and max(map(len, lines[1:]), default=0) > self._max_field:
            raise Failure(FailureKind.REQUEST_HEAD_TOO_LARGE, f"a field has more than {self._max_field} bytes")

    @staticmethod
    def _parse_request_line(request: RequestHead, line: bytes) -> bytes:
        """Set method and version, and return the request target unchanged (RFC 9112 section 3)."""
        try:
            method, target, version = line.split(b" ")
        except ValueError:
            raise _NeedsNormalization from None
        request.http_1_0 = version == b"HTTP/1.0"
        name = METHODS.get(method)
        if name is None:
            if not TOKEN.fullmatch(method) or len(method) > LONGEST_METHOD:
                raise _NeedsNormalization
            name = method.decode("ascii")
        request.method = name
        if not target or b"\t" in target or (version != b"HTTP/1.1" and not request.http_1_0):
            raise _NeedsNormalization
        return target

    def _scan_fields(self, request: RequestHead, lines: list[bytes]) -> dict[int, bytes]:
        """Go through the fields once. Nearly all are PLAIN and cost a single look-up.

        Args:
            request: Gets the names of the fields that rules and hooks must not see.
            lines: Fields that are not copied to the target are removed from it.

        Returns:
            The values of all fields that are not PLAIN, by kind. Several fields of a kind are joined.
        """
        found: dict[int, bytes] = {}
        kinds = self._kinds
        position = 0
        request.hidden_names = _NO_NAMES
        try:
            for line in lines[1:]:
                position += 1
                colon = line.index(b":")
                kind = kinds[line[:colon]]
                if kind:
                    value = line[colon + 1 :].strip(b" \t")
                    if kind in found:
                        # RFC 9110 section 5.3, and RFC 6265 section 5.4 for Cookie.
                        value = found[kind] + (b"; " if kind == fields.COOKIE else b", ") + value
                    found[kind] = value
                    if kind >= fields.RESERVED:
                        self._check_odd_name(request, kind, line[:colon])
                    if kind in self._removed:
                        del lines[position]
                        position -= 1
        except ValueError:
            # `index` found no colon.
            raise _NeedsNormalization from None
        return found

    def _check_odd_name(self, request: RequestHead, kind: int, name: bytes) -> None:
        if kind == fields.BAD:
            raise _NeedsNormalization
        if kind in self._hidden_kinds:
            request.hidden_names |= {name}

    def _read_target(self, request: RequestHead, raw: bytes) -> None:
        """Parse the request target: origin-form, absolute-form, or `*` for OPTIONS (RFC 9112 section 3.2)."""
        method = request.method
        # Bytes above 0x7F pass, as in ALB. Surrogates keep those that are not UTF-8.
        target = raw.decode("utf-8", "surrogateescape")
        request.host = ""
        if target[0] == "/" or (target == "*" and method == "OPTIONS"):
            rewritten = request.http_1_0
        else:
            target = self._parse_absolute_form(request, target)
            rewritten = True
        if method in ("CONNECT", "TRACE"):
            raise Failure(FailureKind.REQUEST_METHOD_REFUSED, method)
        if "#" in target:
            raise Failure(FailureKind.REQUEST_MALFORMED, "the request target has a fragment")
        if rewritten:
            request.lines[0] = f"{method} {target} HTTP/1.1".encode("utf-8", "surrogateescape")
        request.path, _, request.query_string = target.partition("?")

    def _parse_absolute_form(self, request: RequestHead, target: str) -> str:
        """Set `request.host` to the authority of an absolute-form target, and return the target in origin-form."""
        scheme, separator, rest = target.partition("://")
        if request.method == "CONNECT":
            raise Failure(FailureKind.REQUEST_METHOD_REFUSED, "CONNECT")
        if not separator or scheme.lower() not in ("http", "https"):
            raise Failure(FailureKind.REQUEST_MALFORMED, f"request target {target[:100]!r}")
        end = min((place for place in (rest.find("/"), rest.find("?"), rest.find("#")) if place >= 0), default=len(rest))
        request.host = rest[:end]
        if not request.host:
            raise Failure(FailureKind.REQUEST_HOST_INVALID, "the absolute-form target has no host")
        path = rest[end:]
        if not path and request.method == "OPTIONS":
            # RFC 9112 section 3.2.4.
            return "*"
        return path if path.startswith("/") else "/" + path

    def _read_host(self, request: RequestHead, found: dict[int, bytes]) -> None:
        """Set the host for routing and the Host line for the target. An absolute-form target overrides Host (RFC 9112 section 3.2.2)."""
        lines = request.lines
        host = found.get(fields.HOST)
        if host is None:
            if not request.http_1_0:
                raise Failure(FailureKind.REQUEST_HOST_INVALID, "an HTTP/1.1 request has no Host field")
            lines.insert(1, b"Host:")
            host = self._default_host
        authorities = self._authorities
        if self._trusts_peers:
            request.proxy_report = ForwardedInfo(found)
            authorities = authorities.for_port(request.proxy_report.port or self._port)
        # Also if an absolute-form target overrides it: an invalid or repeated Host is a 400 in any case (RFC 9112 section 3.2).
        authority = authorities.read(host)
        if request.host:
            host = request.host.encode("utf-8", "surrogateescape")
            authority = authorities.read(host)
        request.host = authority.host
        if self._trusts_peers and request.proxy_report.host:
            request.host = authorities.read(request.proxy_report.host).host
        line = b"Host: " + host if self._preserve_host else authority.line
        index = 1
        while lines[index][:5].lower() != b"host:":
            index += 1
        lines[index] = line

    @staticmethod
    def _read_body(request: RequestHead, found: dict[int, bytes]) -> None:
        """Determine the length of the body (RFC 9112 section 6.3)."""
        request.chunked = False
        request.content_length = 0
        length = found.get(fields.CONTENT_LENGTH)
        coding = found.get(fields.TRANSFER_ENCODING)
        if coding is not None:
            if length is not None or request.http_1_0 or coding.lower() != b"chunked":
                raise _NeedsNormalization
            request.chunked = True
            request.content_length = -1
            request.lines.append(b"Transfer-Encoding: chunked")
        elif length is not None:
            # Some servers read a number with a leading zero as octal.
            if not length.isdigit() or len(length) > 19 or int(length) > _MAX_LENGTH or (length[:1] == b"0" and len(length) > 1):
                raise _NeedsNormalization
            request.content_length = int(length)

    @staticmethod
    def _read_connection(request: RequestHead, found: dict[int, bytes], options: ConnectionOptions | None) -> None:
        """Determine whether the client keeps its connection, and which protocols it offers to upgrade to."""
        request.upgrade = b""
        if options is None:
            request.keep_alive = not request.http_1_0
            return
        request.keep_alive = not options.close and (options.keep_alive or not request.http_1_0)
        upgrade = found.get(fields.UPGRADE)
        # With a chunked body (length -1) the request is forwarded as an ordinary one, without Upgrade (docs/tunnels.md).
        if options.upgrade and upgrade and not request.http_1_0 and request.content_length >= 0:
            request.upgrade = protocols_to_offer(upgrade)

    def _read_rest(self, request: RequestHead, found: dict[int, bytes]) -> None:
        """Parse cookies, the fields of earlier proxies, Expect and TE."""
        request.cookie = found.get(fields.COOKIE, b"")
        request.trace_id = found.get(fields.TRACE_ID, b"")
        irregular = fields.IRREGULAR in found or fields.IRREGULAR_LOOKALIKE in found
        request.irregular_names = irregular or (self._drops_irregular and fields.IRREGULAR_FORWARDED in found)
        request.dropped_names = request.irregular_names and self._drops_irregular
        request.expects_continue = False
        request.forwarded_for = found.get(fields.FORWARDED_FOR, b"")
        if request.forwarded_for.count(b",") >= _MAX_FORWARDED_FOR:
            raise Failure(FailureKind.REQUEST_FORWARDED_FOR_TOO_LONG, f"{request.forwarded_for.count(b',') + 1} addresses")
        if fields.EXPECT in found and not request.http_1_0:
            expectation = found[fields.EXPECT]
            if not all(part.strip(b" \t").lower() == b"100-continue" for part in expectation.split(b",")):
                raise Failure(FailureKind.REQUEST_EXPECTATION_UNKNOWN, repr(expectation[:100]))
            request.expects_continue = request.has_body
        if fields.TE in found and not request.upgrade:
            options = (option.strip(b" \t").lower() for option in found[fields.TE].split(b","))
            if b"trailers" in options:
                # A sender of TE must name it in Connection (RFC 9110 section 10.1.4).
                request.lines.append(b"Connection: TE\r\nTE: trailers")

    def _classify(self, request: RequestHead, found: dict[int, bytes], classification: Classification | None) -> None:
        """Desync mitigation: classify the request, and reject it or have it close the connections if the mode says so."""
        request.close_after = False
        if self._verdict is None:
            request.classification = None
            return
        if fields.TRANSFER_ENCODING in found:
            classification = worse(classification, classify_body(request.method, -1))
        elif fields.CONTENT_LENGTH in found:
            classification = worse(classification, classify_body(request.method, request.content_length))
        if fields.LOOKALIKE in found or fields.IRREGULAR_LOOKALIKE in found:
            classification = worse(classification, Violation.SUSPICIOUS_HEADER.classification)
        request.classification = classification
        if classification is not None:
            verdict = self._verdict(classification[0])
            if verdict is Verdict.BLOCK:
                raise Failure(FailureKind.REQUEST_AMBIGUOUS, ": ".join(classification))
            request.close_after = verdict is Verdict.ALLOW_THEN_CLOSE

"""Classifies header fields by name: which of them a proxy acts on, removes or passes on (RFC 9110 section 7.6.1).

Every field of every message is looked up, so each spelling of a name is classified once and cached. The cache is bounded, because an
attacker chooses the names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from albkit.state.bounded_cache import SHARED_BUDGET, BoundedCache
from albkit.wire.http1.grammar import TOKEN

__all__ = (
    "BAD",
    "CONNECTION",
    "CONTENT_LENGTH",
    "COOKIE",
    "DATE",
    "DROP",
    "EXPECT",
    "FORWARDED_FOR",
    "FORWARDED_HOST",
    "FORWARDED_PORT",
    "FORWARDED_PROTO",
    "HOST",
    "IRREGULAR",
    "IRREGULAR_FORWARDED",
    "IRREGULAR_LOOKALIKE",
    "KEEP_ALIVE",
    "LOOKALIKE",
    "PLAIN",
    "REQUEST_FIELDS",
    "RESERVED",
    "RESPONSE_FIELDS",
    "TE",
    "TRACE_ID",
    "TRANSFER_ENCODING",
    "UPGRADE",
    "ConnectionOptions",
    "connection_options",
    "drop_named",
    "kinds_reserving",
    "resembles_framing_field",
)

# The kinds. They are plain integers and PLAIN is 0, so that the reader of a head can skip most fields with `if kind:`.

PLAIN: Final = 0
"""Passed on unchanged."""
DROP: Final = 1
"""Removed, because it is hop-by-hop."""
HOST: Final = 2
CONNECTION: Final = 3
CONTENT_LENGTH: Final = 4
TRANSFER_ENCODING: Final = 5
COOKIE: Final = 6
UPGRADE: Final = 7
TE: Final = 8
EXPECT: Final = 9
FORWARDED_FOR: Final = 10
FORWARDED_PROTO: Final = 11
FORWARDED_PORT: Final = 12
FORWARDED_HOST: Final = 13
TRACE_ID: Final = 14
KEEP_ALIVE: Final = 15
DATE: Final = 16
LOOKALIKE: Final = 17
"""Not a framing field, but similar enough that some servers take it for one."""
# Kinds from here on may be invisible to rules and hooks (`RequestHead.hidden_names`). The reader of a head compares with `>=`.
RESERVED: Final = 20
"""Removed, because only the load balancer may set it."""
IRREGULAR: Final = 21
"""A token with characters other than letters, digits and hyphens."""
IRREGULAR_LOOKALIKE: Final = 22
"""Irregular, and similar to a framing field."""
IRREGULAR_FORWARDED: Final = 23
"""Removed: irregular, and similar to a field that the load balancer writes."""
BAD: Final = 24
"""Not a token."""

_MAX_CACHED_NAME = 64
"""Bytes. Longer names are classified each time."""
_MAX_CACHED_OPTIONS = 256
"""Bytes of a Connection field. Longer ones are parsed each time."""
_OBJECT_OVERHEAD = 64
"""Bytes that a small object takes."""

_REQUEST_KNOWN = {
    b"host": HOST,
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"cookie": COOKIE,
    b"upgrade": UPGRADE,
    b"te": TE,
    b"expect": EXPECT,
    b"x-forwarded-for": FORWARDED_FOR,
    b"x-amzn-trace-id": TRACE_ID,
    b"keep-alive": DROP,
    # Never standardized, but some old clients send it instead of Connection.
    b"proxy-connection": DROP,
    b"proxy-authenticate": DROP,
    b"proxy-authorization": DROP,
    # Belongs to an upgrade to h2c (RFC 7540 section 3.2.1), which is refused.
    b"http2-settings": DROP,
    b"x-forwarded-proto": FORWARDED_PROTO,
    b"x-forwarded-port": FORWARDED_PORT,
    b"x-forwarded-host": FORWARDED_HOST,
}
_RESERVED_PREFIXES = (b"x-amzn-mtls-", b"x-amzn-tls-", b"x-amzn-oidc-")
"""Targets trust these fields, because only the load balancer sets them (docs/alb.md 1.11, 4.4). A client's own are always removed."""
_GENERATED = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-host", b"x-amzn-trace-id"))
"""Fields that the load balancer writes. A server that reads `X_Forwarded_For` as `X-Forwarded-For` would mix a client's with them."""

_RESPONSE_KNOWN = {
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"upgrade": UPGRADE,
    b"keep-alive": KEEP_ALIVE,
    b"date": DATE,
    b"proxy-connection": DROP,
    b"proxy-authenticate": DROP,
    b"te": DROP,
}

_REGULAR = re.compile(rb"[-A-Za-z0-9]+")
_FRAMING_NAMES = (b"transfer-encoding", b"content-length")
_NOT_ALPHANUMERIC = re.compile(rb"[^0-9a-z]+")


class _FieldKinds(dict[bytes, int]):
    """The kind of each spelling of a name, classified at its first look-up.

    A `dict` with `__missing__`, so that looking up a known name is a single operation of the interpreter, without a call.
    """

    def __init__(self, classify: Callable[[bytes], int]) -> None:
        super().__init__()
        self._classify = classify
        self.size_bytes = 0
        SHARED_BUDGET.register(self)

    def __missing__(self, name: bytes) -> int:
        kind = self._classify(name)
        if len(name) <= _MAX_CACHED_NAME:
            # Before `charge`, which may clear this cache.
            self[name] = kind
            SHARED_BUDGET.charge(self, len(name) + 2 * _OBJECT_OVERHEAD)
        return kind

    def clear(self) -> None:
        """Remove every name, and release their bytes."""
        super().clear()
        SHARED_BUDGET.release(self)


def _as_cgi_name(lower: bytes) -> bytes:
    """Return the name as the least strict servers see it.

    CGI and WSGI put fields into variables like `HTTP_X_FORWARDED_FOR`, where an underscore and a hyphen are the same (RFC 3875 section
    4.1.18). Some implementations replace every other character as well.
    """
    return _NOT_ALPHANUMERIC.sub(b"-", lower)


def resembles_framing_field(lower: bytes) -> bool:
    """Whether some server may take this field, given in lower case, for one of the two that determine the length of a body."""
    return _as_cgi_name(lower).strip(b"-") in _FRAMING_NAMES


def _classify_request_field(name: bytes) -> int:
    lower = name.lower()
    if lower in _REQUEST_KNOWN:
        return _REQUEST_KNOWN[lower]
    if not TOKEN.fullmatch(name):
        return BAD
    read = _as_cgi_name(lower)
    if read.startswith(_RESERVED_PREFIXES):
        return RESERVED
    regular = _REGULAR.fullmatch(name)
    # Such as `Content_Length` or `Transfer-Encoding-`. They count for desync mitigation, and are passed on unless they are dropped as
    # irregular: the strict parser has determined the length of the body without them.
    if resembles_framing_field(lower):
        return LOOKALIKE if regular else IRREGULAR_LOOKALIKE
    if regular:
        return PLAIN
    return IRREGULAR_FORWARDED if read in _GENERATED else IRREGULAR


def _classify_response_field(name: bytes) -> int:
    # Fewer kinds than for requests: targets are trusted, so their fields need no protection against forgery.
    return _RESPONSE_KNOWN.get(name.lower(), PLAIN) if TOKEN.fullmatch(name) else BAD


def kinds_reserving(names: Iterable[bytes]) -> dict[bytes, int]:
    """Return a mapping like `REQUEST_FIELDS` in which more fields are `RESERVED`.

    Args:
        names: Their names, in lower case.
    """
    reserved = frozenset(map(_as_cgi_name, names))

    def classify(name: bytes) -> int:
        kind = REQUEST_FIELDS[name]
        # BAD comes first: a head with such a name is rejected, not stripped of it.
        return RESERVED if kind != BAD and _as_cgi_name(name.lower()) in reserved else kind

    return _FieldKinds(classify)


REQUEST_FIELDS: dict[bytes, int] = _FieldKinds(_classify_request_field)
"""The kind of each field of a request. Look up any name, in any case."""
RESPONSE_FIELDS: dict[bytes, int] = _FieldKinds(_classify_response_field)
"""The kind of each field of a response."""


class ConnectionOptions:
    """The parsed Connection fields of one message."""

    __slots__ = ("close", "keep_alive", "named", "upgrade")

    def __init__(self, value: bytes) -> None:
        options = {option.strip(b" \t").lower() for option in value.split(b",")}
        self.close = b"close" in options
        self.keep_alive = b"keep-alive" in options
        self.upgrade = b"upgrade" in options
        self.named = frozenset(options - {b"", b"close", b"keep-alive", b"upgrade"})
        """Names of fields that are hop-by-hop in this message, in lower case."""


_options: BoundedCache[bytes, ConnectionOptions] = BoundedCache()


def connection_options(value: bytes) -> ConnectionOptions:
    """Parse the value of a Connection field, or of several joined with commas (RFC 9110 section 7.6.1). The result is cached and shared."""
    options = _options.get(value)
    if options is not None:
        _options.count_hit()
        return options
    options = ConnectionOptions(value)
    if len(value) <= _MAX_CACHED_OPTIONS and not _options.skip_put():
        _options.put(value, options, len(value) + (1 + len(options.named)) * 2 * _OBJECT_OVERHEAD)
    return options


_END_TO_END = frozenset((b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"date"))
"""Never hop-by-hop, even if a Connection field names them. Otherwise a client could have the proxy remove the fields that give the message
its meaning (hop-by-hop header abuse)."""


def drop_named(lines: list[bytes], named: frozenset[bytes]) -> None:
    """Remove the fields that a Connection field named from the lines of a head, in place.

    Args:
        lines: The first is the request or status line.
        named: `ConnectionOptions.named`.
    """
    named = named - _END_TO_END
    if not named:
        return
    lines[1:] = [line for line in lines[1:] if line.partition(b":")[0].lower() not in named]

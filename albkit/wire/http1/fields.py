"""What each field name means to a proxy (RFC 9110 section 7.6.1).

Looking a name up must cost next to nothing, so each spelling is judged once and remembered, up to a bound: the names are an
adversary's to choose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from albkit.state.bounded_cache import BUDGET, BoundedCache
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
    "OURS",
    "PLAIN",
    "REQUEST_FIELDS",
    "RESPONSE_FIELDS",
    "TE",
    "TRACE_ID",
    "TRANSFER_ENCODING",
    "UPGRADE",
    "ConnectionOptions",
    "connection_options",
    "drop_named",
    "kinds_without",
    "reads_as_framing",
)

PLAIN: Final = 0
"""Passed on as it is."""
DROP: Final = 1
"""Removed: hop-by-hop."""
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
"""Not a framing field, but some server may read it as one."""
OURS: Final = 20
"""Removed: only the load balancer may set it. From here on a field may be left out of what decides."""
IRREGULAR: Final = 21
"""A token, but with something other than letters, digits and hyphens in it."""
IRREGULAR_LOOKALIKE: Final = 22
IRREGULAR_FORWARDED: Final = 23
"""Removed: some server may read it as one of those that the load balancer writes."""
BAD: Final = 24
"""Not a token."""

_LONGEST_SPELLING = 64
"""Bytes of a name that is remembered."""
_LONGEST_OPTIONS = 256
"""The same for a Connection field."""
_OBJECT = 64
"""Bytes that a small object costs."""

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
    b"proxy-connection": DROP,
    b"proxy-authenticate": DROP,
    b"proxy-authorization": DROP,
    b"http2-settings": DROP,
    b"x-forwarded-proto": FORWARDED_PROTO,
    b"x-forwarded-port": FORWARDED_PORT,
    b"x-forwarded-host": FORWARDED_HOST,
}
_ONLY_OURS = (b"x-amzn-mtls-", b"x-amzn-tls-", b"x-amzn-oidc-")
"""Prefixes of fields by which a target trusts the load balancer (docs/alb.md 1.11, 4.4): a client's own never survive."""
_WRITTEN_HERE = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-host", b"x-amzn-trace-id"))
"""A server that takes underscores for hyphens would join another spelling with what the load balancer says."""

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
    """Kind by spelling; a spelling not met before is judged, and remembered while there is room."""

    def __init__(self, judge: Callable[[bytes], int]) -> None:
        super().__init__()
        self._judge = judge
        self.held = 0
        BUDGET.join(self)

    def __missing__(self, name: bytes) -> int:
        kind = self._judge(name)
        if len(name) <= _LONGEST_SPELLING:
            self[name] = kind
            BUDGET.charge(self, len(name) + 2 * _OBJECT)
        return kind

    def forget(self) -> None:
        """Forget everything."""
        self.clear()
        BUDGET.give_back(self)


def _as_read(lower: bytes) -> bytes:
    """Servers take an underscore for a hyphen, and those that speak CGI anything but letters and digits."""
    return _NOT_ALPHANUMERIC.sub(b"-", lower)


def reads_as_framing(lower: bytes) -> bool:
    """Whether some server may take a name, given in lower case, for one of the fields that say how long a body is."""
    return _as_read(lower).strip(b"-") in _FRAMING_NAMES


def _judge_request_field(name: bytes) -> int:
    lower = name.lower()
    if lower in _REQUEST_KNOWN:
        return _REQUEST_KNOWN[lower]
    if not TOKEN.fullmatch(name):
        return BAD
    read = _as_read(lower)
    if read.startswith(_ONLY_OURS):
        return OURS
    regular = _REGULAR.fullmatch(name)
    if reads_as_framing(lower):
        return LOOKALIKE if regular else IRREGULAR_LOOKALIKE
    if regular:
        return PLAIN
    return IRREGULAR_FORWARDED if read in _WRITTEN_HERE else IRREGULAR


def _judge_response_field(name: bytes) -> int:
    return _RESPONSE_KNOWN.get(name.lower(), PLAIN) if TOKEN.fullmatch(name) else BAD


def kinds_without(names: Iterable[bytes]) -> dict[bytes, int]:
    """Kind by spelling where further fields are only the load balancer's to set, given in lower case."""
    ours = frozenset(map(_as_read, names))

    def judge(name: bytes) -> int:
        kind = REQUEST_FIELDS[name]
        # What is no token is refused, whatever it reads as.
        return OURS if kind != BAD and _as_read(name.lower()) in ours else kind

    return _FieldKinds(judge)


REQUEST_FIELDS: dict[bytes, int] = _FieldKinds(_judge_request_field)
RESPONSE_FIELDS: dict[bytes, int] = _FieldKinds(_judge_response_field)


class ConnectionOptions:
    """What all Connection lines of one message say together."""

    __slots__ = ("close", "keep_alive", "named", "upgrade")

    def __init__(self, value: bytes) -> None:
        options = {option.strip(b" \t").lower() for option in value.split(b",")}
        self.close = b"close" in options
        self.keep_alive = b"keep-alive" in options
        self.upgrade = b"upgrade" in options
        self.named = frozenset(options - {b"", b"close", b"keep-alive", b"upgrade"})
        """Further fields that must not be passed on."""


_options: BoundedCache[bytes, ConnectionOptions] = BoundedCache()


def connection_options(value: bytes) -> ConnectionOptions:
    """The options of one Connection value, or of several joined with commas (RFC 9110 section 7.6.1)."""
    known = _options.recall(value)
    if known is not None:
        _options.count()
        return known
    known = ConnectionOptions(value)
    if len(value) <= _LONGEST_OPTIONS and not _options.rests():
        _options.remember(value, known, len(value) + (1 + len(known.named)) * 2 * _OBJECT)
    return known


_NEVER_NAMED = frozenset((b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"date"))
"""Not hop-by-hop whatever a Connection line says: dropping them would change what the message means."""


def drop_named(lines: list[bytes], named: frozenset[bytes]) -> None:
    """Remove the fields that a Connection line named, from line 1 on."""
    named = named - _NEVER_NAMED
    if not named:
        return
    lines[1:] = [line for line in lines[1:] if line.partition(b":")[0].lower() not in named]

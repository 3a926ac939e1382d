"""What each field name means to a proxy (RFC 9110 section 7.6.1).

Looking a name up must cost next to nothing, so each spelling is judged once and remembered, up to a bound: the names are an
adversary's to choose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from albkit.wire.grammar import TOKEN

__all__ = (
    "BAD",
    "CONNECTION",
    "CONTENT_LENGTH",
    "COOKIE",
    "DATE",
    "DROP",
    "EXPECT",
    "FORWARDED_FOR",
    "HOST",
    "IRREGULAR",
    "IRREGULAR_LOOKALIKE",
    "KEEP_ALIVE",
    "LOOKALIKE",
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
)

PLAIN: Final = 0
"""Passed on as it is."""
DROP: Final = 1
"""Removed: hop-by-hop, or a field that only the load balancer may set."""
HOST: Final = 2
CONNECTION: Final = 3
CONTENT_LENGTH: Final = 4
TRANSFER_ENCODING: Final = 5
COOKIE: Final = 6
UPGRADE: Final = 7
TE: Final = 8
EXPECT: Final = 9
FORWARDED_FOR: Final = 10
TRACE_ID: Final = 11
KEEP_ALIVE: Final = 12
IRREGULAR: Final = 13
"""A token, but with something other than letters, digits and hyphens in it."""
LOOKALIKE: Final = 14
"""Not a framing field, but some server may read it as one."""
BAD: Final = 15
"""Not a token."""
DATE: Final = 16
IRREGULAR_LOOKALIKE: Final = 17

_SPELLINGS = 4096

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
    b"x-forwarded-proto": DROP,
    b"x-forwarded-port": DROP,
}
_ONLY_OURS = (b"x-amzn-mtls-", b"x-amzn-tls-", b"x-amzn-oidc-")
"""Prefixes of fields by which a target trusts the load balancer (alb-reference 1.11, 4.4): a client's own never survive."""

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

    def __missing__(self, name: bytes) -> int:
        kind = self._judge(name)
        if len(self) < _SPELLINGS:
            self[name] = kind
        return kind


def _as_read(lower: bytes) -> bytes:
    """Servers take an underscore for a hyphen, and those that speak CGI anything but letters and digits."""
    return _NOT_ALPHANUMERIC.sub(b"-", lower)


def _judge_request_field(name: bytes) -> int:
    lower = name.lower()
    if lower in _REQUEST_KNOWN:
        return _REQUEST_KNOWN[lower]
    if not TOKEN.fullmatch(name):
        return BAD
    if _as_read(lower).startswith(_ONLY_OURS):
        return DROP
    if _as_read(lower).strip(b"-") in _FRAMING_NAMES:
        return LOOKALIKE if _REGULAR.fullmatch(name) else IRREGULAR_LOOKALIKE
    return PLAIN if _REGULAR.fullmatch(name) else IRREGULAR


def _judge_response_field(name: bytes) -> int:
    return _RESPONSE_KNOWN.get(name.lower(), PLAIN) if TOKEN.fullmatch(name) else BAD


def kinds_without(names: Iterable[bytes]) -> dict[bytes, int]:
    """Kind by spelling where further fields are only the load balancer's to set, given in lower case."""
    ours = frozenset(map(_as_read, names))

    def judge(name: bytes) -> int:
        return DROP if _as_read(name.lower()) in ours else REQUEST_FIELDS[name]

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


@lru_cache(maxsize=256)
def connection_options(value: bytes) -> ConnectionOptions:
    """The options of one Connection value, or of several joined with commas (RFC 9110 section 7.6.1)."""
    return ConnectionOptions(value)


_NEVER_NAMED = frozenset((b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"date"))
"""Not hop-by-hop whatever a Connection line says: dropping them would change what the message means."""


def drop_named(lines: list[bytes], named: frozenset[bytes]) -> None:
    """Remove the fields that a Connection line named, from line 1 to the two last places."""
    named = named - _NEVER_NAMED
    if not named:
        return
    lines[1:-2] = [line for line in lines[1:-2] if line.partition(b":")[0].lower() not in named]

"""The load balancer's own cookies: from a request to its target or target group, and back to `Set-Cookie` lines (alb-reference 5.3).

A value is eight hexadecimal digits of expiry and a digest of what it names. It needs no key: any instance with the same configuration
computes the same digests, and whoever forges one only chooses a target.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Generic, TypeVar

from albkit.clock import http_date
from albkit.model.stickiness import LbCookie
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("ClientCookie", "LbCookieStickiness")

_LIFETIME = 7 * 86400  # ALB's cookies always live 7 days; the session's own duration is inside the value.
_EXPIRY_DIGITS = 8
_DIGEST_BYTES = 16
_VALUE_LENGTH = _EXPIRY_DIGITS + 2 * _DIGEST_BYTES
_TARGET_NAMES = (b"AWSALBCORS=", b"AWSALB=")

Named = TypeVar("Named")


class ClientCookie(Generic[Named]):
    """A pair of cookies that name one of several things.

    Args:
        names: The CORS cookie's name, which takes precedence, and the plain one's, each with its `=`.
        keys: What can be named, and the text that tells it from all others.
        duration: Seconds that a value is honoured.
    """

    __slots__ = ("_digests", "_duration", "_lines", "_named", "_names", "_second")

    def __init__(self, names: tuple[bytes, bytes], keys: Mapping[Named, str], duration: float) -> None:
        self._names = names
        self._duration = int(duration)
        self._digests = {named: _digest(key) for named, key in keys.items()}
        self._named = {digest: named for named, digest in self._digests.items()}
        self._second = -1
        self._lines: dict[Named, bytes] = {}

    def find(self, cookies: bytes, now: float) -> Named | None:
        """What a valid, unexpired cookie names; `None` for anything else, which then is a fresh pick."""
        for name in self._names:
            value = _value(cookies, name)
            if len(value) != _VALUE_LENGTH:
                continue
            named = self._named.get(value[_EXPIRY_DIGITS:])
            if named is not None and _expiry(value) > now:
                return named
        return None

    def lines(self, named: Named, now: float) -> bytes:
        """The two `Set-Cookie` lines, without a line end behind the last; made once per thing and second."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._lines.clear()
        line = self._lines.get(named)
        if line is None:
            value = b"%08x%s" % (second + self._duration, self._digests[named])
            date = http_date(second + _LIFETIME)
            cors, plain = self._names
            line = b"Set-Cookie: %s%s; Expires=%s; Path=/\r\nSet-Cookie: %s%s; Expires=%s; Path=/; SameSite=None" % (
                *(plain, value, date),
                *(cors, value, date),
            )
            self._lines[named] = line
        return line


class LbCookieStickiness:
    """Binds sessions to targets with `AWSALB` and `AWSALBCORS`."""

    __slots__ = ("set_cookie", "target")

    def __init__(self, cookie: LbCookie, group: TargetGroupState) -> None:
        keys = {member: f"{group.group.name}\0{member.address}" for member in group.members.values()}
        cookies: ClientCookie[TargetState] = ClientCookie(_TARGET_NAMES, keys, cookie.duration)
        self.target = cookies.find
        self.set_cookie = cookies.lines


def _digest(key: str) -> bytes:
    return blake2b(key.encode("utf-8", "surrogateescape"), digest_size=_DIGEST_BYTES).hexdigest().encode()


def _value(cookies: bytes, name: bytes) -> bytes:
    """The value of the first cookie with exactly this name (given with its `=`), empty when there is none."""
    start = cookies.find(name)
    while start > 0 and not _begins_pair(cookies, start):
        start = cookies.find(name, start + 1)
    if start < 0:
        return b""
    start += len(name)
    end = cookies.find(b";", start)
    return cookies[start:end].rstrip() if end >= 0 else cookies[start:].rstrip()


def _begins_pair(cookies: bytes, place: int) -> bool:
    """Whether only blanks stand between this place and the separator before it."""
    return cookies[place - 1] == 0x3B or cookies[:place].rstrip(b" \t")[-1:] == b";"


def _expiry(value: bytes) -> int:
    digits = value[:_EXPIRY_DIGITS]
    # int() alone would also take signs, blanks and underscores.
    return int(digits, 16) if digits.isalnum() and not digits.translate(None, b"0123456789abcdef") else 0

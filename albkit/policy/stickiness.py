"""The load balancer's own cookies: from a request to its target, and from a target to its `Set-Cookie` lines (alb-reference 5.3).

A value is eight hexadecimal digits of expiry and a digest of group and target. It needs no key: any instance with the same group
computes the same digests, and whoever forges one only chooses a target.
"""

from __future__ import annotations

from hashlib import blake2b

from albkit.clock import http_date
from albkit.model.stickiness import LbCookie
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("LbCookieStickiness",)

_LIFETIME = 7 * 86400  # ALB's cookies always live 7 days; the session's own duration is inside the value.
_EXPIRY_DIGITS = 8
_DIGEST_BYTES = 16
_VALUE_LENGTH = _EXPIRY_DIGITS + 2 * _DIGEST_BYTES
_NAMES = (b"AWSALBCORS=", b"AWSALB=")  # AWSALBCORS takes precedence when both arrive.


class LbCookieStickiness:
    """Finds the session's target in a request's cookies, and writes the cookies that bind the session to one."""

    __slots__ = ("_digests", "_duration", "_targets")

    def __init__(self, cookie: LbCookie, group: TargetGroupState) -> None:
        self._duration = int(cookie.duration)
        self._digests = {member: _digest(group.group.name, member.address) for member in group.members}
        self._targets = {digest: member for member, digest in self._digests.items()}

    def target(self, cookies: bytes, now: float) -> TargetState | None:
        """The target that a valid, unexpired cookie names; `None` for anything else, which then is a fresh pick."""
        for name in _NAMES:
            value = _value(cookies, name)
            if len(value) != _VALUE_LENGTH:
                continue
            member = self._targets.get(value[_EXPIRY_DIGITS:])
            if member is not None and _expiry(value) > now:
                return member
        return None

    def set_cookie(self, member: TargetState, now: float) -> bytes:
        """The two `Set-Cookie` lines, without a line end behind the last; made once per target and second."""
        second = int(now)
        if member.stickiness_second != second:
            value = b"%08x%s" % (second + self._duration, self._digests[member])
            date = http_date(second + _LIFETIME)
            member.stickiness_line = (
                b"Set-Cookie: AWSALB=%s; Expires=%s; Path=/\r\nSet-Cookie: AWSALBCORS=%s; Expires=%s; Path=/; SameSite=None"
                % (value, date, value, date)
            )
            member.stickiness_second = second
        return member.stickiness_line


def _digest(group: str, address: str) -> bytes:
    return blake2b(f"{group}\0{address}".encode("utf-8", "surrogateescape"), digest_size=_DIGEST_BYTES).hexdigest().encode()


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

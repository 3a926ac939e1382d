"""Binds sessions to targets by a cookie that accompanies the application's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache, partial

from albkit.clock import Clock, http_date
from albkit.model.message import RequestHead, ResponseHead
from albkit.model.stickiness.app_cookie import AppCookie
from albkit.policy.client_cookie import LIFETIME, ClientCookie
from albkit.policy.cookies import cookie_values, sets_cookie
from albkit.policy.stickiness.cookies import key_of, keys_of
from albkit.policy.stickiness.query_parameter import query_parameter
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("AppCookieStickiness",)

_SHARDS = 4
"""ALB spreads a long value over `AWSALBAPP-0` to `AWSALBAPP-3`."""
_REMOVE = b"_remove_"
"""The value of a shard that is not used, as in ALB."""
_CROSS_ORIGIN = b"; SameSite=None; Secure"
_CHROMIUM = re.compile(r"Chrom(?:e|ium)/(\d{1,9})")
_FIRST_STRICT_CHROMIUM = 80
"""Since this version, Chromium sends cookies across origins only if they have SameSite=None and Secure."""


class AppCookieStickiness:
    """Binds sessions by `AWSALBAPP-0`, as long as the application's own cookie comes with it.

    Args:
        setting: The settings.
        group: The group whose members sessions are bound to.
        clock: The source of random bytes.
    """

    __slots__ = ("_application", "_cookie", "_cross_origin", "_group", "_query")

    def __init__(self, setting: AppCookie, group: TargetGroupState, clock: Clock) -> None:
        self._group = group
        self._application = setting.cookie_name.encode() + b"="
        self._query = query_parameter(setting.query_parameter)

        def cookie(attributes: bytes) -> ClientCookie[TargetState]:
            write = partial(_write_shards, attributes)
            return ClientCookie((b"AWSALBAPP-0=",), write, keys_of(group), setting.duration, setting.secrets, clock.entropy)

        # Two objects, because each keeps the lines that it has written, and the attributes are part of the lines.
        self._cookie = cookie(b"")
        self._cross_origin = cookie(_CROSS_ORIGIN)

    def target(self, request: RequestHead, now: float) -> TargetState | None:
        cookies = request.cookie
        return self._cookie.find(cookies, now) if cookies and self._is_of_session(request) else None

    def refuses(self, request: RequestHead, now: float) -> bool:
        values = cookie_values(request.cookie, b"AWSALBAPP-0=")
        return any(value != _REMOVE for value in values) and self._cookie.find(request.cookie, now) is None

    def fields(self, member: TargetState, request: RequestHead, response: ResponseHead, now: float) -> bytes:
        strict = _is_strict(request)
        cookie = self._cross_origin if strict else self._cookie
        cookies = request.cookie
        goes_on = cookies and self._is_of_session(request) and cookie.holds(cookies, now)
        if goes_on or sets_cookie(response.lines, self._application):
            # Also if the session's target failed or left, and another target answered: the session stays with that one from now on.
            return cookie.lines(member, now, cookies)
        others = cookie.others(cookies, now) if cookies else b""
        if others:
            return cookie.with_others(others, now)
        return _nothing_to_stick_to(_CROSS_ORIGIN if strict else b"", int(now))

    def come(self, member: TargetState) -> None:
        for cookie in (self._cookie, self._cross_origin):
            cookie.name(member, key_of(self._group, member))

    def go(self, member: TargetState) -> None:
        for cookie in (self._cookie, self._cross_origin):
            cookie.forget(member)

    def settle(self, eligible: Sequence[TargetState]) -> None: ...

    def _is_of_session(self, request: RequestHead) -> bool:
        """Return whether the request has the application's cookie or query parameter, with any value."""
        if cookie_values(request.cookie, self._application):
            return True
        return self._query is not None and self._query.search(request.query_string) is not None


def _write_shards(attributes: bytes, value: bytes, second: int) -> bytes:
    """Return the lines that set all four shards. The first one has room for the whole value, so the others are never used."""
    date = http_date(second + LIFETIME)
    values = (value, *[_REMOVE] * (_SHARDS - 1))
    return b"\r\n".join(
        b"Set-Cookie: AWSALBAPP-%d=%s; Expires=%s; Path=/%s" % (shard, one, date, attributes) for shard, one in enumerate(values)
    )


@lru_cache(maxsize=4)
def _nothing_to_stick_to(attributes: bytes, second: int) -> bytes:
    """Return the lines for a response without a session. They change once per second."""
    return _write_shards(attributes, _REMOVE, second)


def _is_strict(request: RequestHead) -> bool:
    """Return whether the request is a cross-origin request of a browser that requires `SameSite=None; Secure`."""
    if "Origin" not in request.headers:
        return False
    match = _CHROMIUM.search(request.headers.get("User-Agent", ""))
    return match is not None and int(match[1]) >= _FIRST_STRICT_CHROMIUM

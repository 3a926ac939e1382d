"""Which target a request's session is bound to, and what its client has to be told so that it stays so (docs/alb.md 5.3)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import islice
from typing import Any, Protocol
from urllib.parse import unquote

from albkit.clock import Clock, http_date
from albkit.errors import Failure, FailureKind, name_of, told
from albkit.model.message import RequestHead, ResponseHead
from albkit.model.stickiness import AppCookie, LbCookie, RouteSuffix, SourceAddress
from albkit.policy.client_cookie import LIFETIME, ClientCookie
from albkit.policy.cookies import MOST_TRIED, cookie_values, sets_cookie
from albkit.policy.ejection import has_enough
from albkit.policy.hash_ring import HashRing, place_of
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("Stickiness", "marked_secure", "plain_and_cors", "stickiness_for")

_log = logging.getLogger("albkit")


class Stickiness(Protocol):
    """One way of keeping sessions on their targets."""

    def target(self, request: RequestHead, now: float) -> TargetState | None:
        """The target that the request's session is bound to, be it well or not; `None` where it is bound to none.

        Raises:
            Failure: 500, a key of the program's own failed.
        """

    def refuses(self, request: RequestHead, now: float) -> bool:
        """Whether the request brought something that should bind it, and binds it to no target."""

    def fields(self, member: TargetState, request: RequestHead, response: ResponseHead, now: float) -> bytes:
        """The lines for a response of the target, without a line end behind the last; empty for none."""

    def come(self, member: TargetState) -> None:
        """One more member, which sessions may be bound to."""

    def go(self, member: TargetState) -> None:
        """One member less."""

    def settle(self, eligible: Sequence[TargetState]) -> None:
        """These are the targets that may be chosen now."""


def stickiness_for(setting: Any, group: TargetGroupState, clock: Clock) -> Stickiness | None:
    """What a group's setting stands for; `None` for no stickiness."""
    if setting is None:
        return None
    if isinstance(setting, LbCookie):
        return _LbCookieStickiness(setting, group, clock)
    if isinstance(setting, AppCookie):
        return _AppCookieStickiness(setting, group, clock)
    if isinstance(setting, RouteSuffix):
        return _RouteSuffixStickiness(setting, group)
    return _KeyStickiness(_client_address if isinstance(setting, SourceAddress) else setting)


def plain_and_cors(plain: bytes, cors: bytes) -> Callable[[bytes, int], bytes]:
    """Writes a value into two cookies, as ALB does whether or not a request is a cross-origin one."""

    def write(value: bytes, second: int) -> bytes:
        date = http_date(second + LIFETIME)
        return b"Set-Cookie: %s%s; Expires=%s; Path=/\r\nSet-Cookie: %s%s; Expires=%s; Path=/; SameSite=None" % (
            *(plain, value, date),
            *(cors, value, date),
        )

    return write


def marked_secure(lines: bytes, request: RequestHead) -> bytes:
    """The lines of `plain_and_cors` for this client: browsers take SameSite=None with Secure only, and Secure over TLS only."""
    return lines + b"; Secure" if lines and request.client.is_secure else lines


def _key(group: TargetGroupState, member: TargetState) -> str:
    return f"{group.group.name}\0{member.address}"


def _keys(group: TargetGroupState) -> dict[TargetState, str]:
    return {member: _key(group, member) for member in group.members.values()}


class _LbCookieStickiness:
    """Binds sessions to targets with `AWSALB` and `AWSALBCORS`, of which the second takes precedence."""

    __slots__ = ("_cookie", "_group")

    def __init__(self, setting: LbCookie, group: TargetGroupState, clock: Clock) -> None:
        self._group = group
        write = plain_and_cors(b"AWSALB=", b"AWSALBCORS=")
        self._cookie: ClientCookie[TargetState] = ClientCookie(
            (b"AWSALBCORS=", b"AWSALB="), write, _keys(group), setting.duration, setting.secrets, clock.entropy
        )

    def target(self, request: RequestHead, now: float) -> TargetState | None:
        return self._cookie.find(request.cookie, now) if request.cookie else None

    def refuses(self, request: RequestHead, now: float) -> bool:
        return self._cookie.came(request.cookie) and self.target(request, now) is None

    def fields(self, member: TargetState, request: RequestHead, _response: ResponseHead, now: float) -> bytes:
        return marked_secure(self._cookie.lines(member, now, request.cookie), request)

    def come(self, member: TargetState) -> None:
        self._cookie.name(member, _key(self._group, member))

    def go(self, member: TargetState) -> None:
        self._cookie.forget(member)

    def settle(self, eligible: Sequence[TargetState]) -> None: ...


_SHARDS = 4
_REMOVE = b"_remove_"
_CROSS_ORIGIN = b"; SameSite=None; Secure"
_CHROMIUM = re.compile(r"Chrom(?:e|ium)/(\d{1,9})")
_FIRST_STRICT_CHROMIUM = 80
"""From this version on Chromium sends cookies across origins only where they say SameSite=None and Secure."""


class _AppCookieStickiness:
    """Binds sessions with `AWSALBAPP-0`, as long as the application's own cookie comes with it."""

    __slots__ = ("_application", "_cookie", "_cross_origin", "_group", "_query")

    def __init__(self, setting: AppCookie, group: TargetGroupState, clock: Clock) -> None:
        self._group = group
        self._application = setting.cookie_name.encode() + b"="
        self._query = _query_parameter(setting.query_parameter)

        def cookie(attributes: bytes) -> ClientCookie[TargetState]:
            write = partial(_write_shards, attributes)
            return ClientCookie((b"AWSALBAPP-0=",), write, _keys(group), setting.duration, setting.secrets, clock.entropy)

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
            # Also where the session's target has failed or gone, and another one has answered: there the session stays from now on.
            return cookie.lines(member, now, cookies)
        others = cookie.others(cookies, now) if cookies else b""
        if others:
            return cookie.with_others(others, now)
        return _nothing_to_stick_to(_CROSS_ORIGIN if strict else b"", int(now))

    def come(self, member: TargetState) -> None:
        for cookie in (self._cookie, self._cross_origin):
            cookie.name(member, _key(self._group, member))

    def go(self, member: TargetState) -> None:
        for cookie in (self._cookie, self._cross_origin):
            cookie.forget(member)

    def settle(self, eligible: Sequence[TargetState]) -> None: ...

    def _is_of_session(self, request: RequestHead) -> bool:
        """Whether the application's own session comes with the request, whatever it says."""
        if cookie_values(request.cookie, self._application):
            return True
        return self._query is not None and self._query.search(request.query_string) is not None


def _write_shards(attributes: bytes, value: bytes, second: int) -> bytes:
    """The value in the first of four cookies, as ALB spreads long ones; the others say that there is no more."""
    date = http_date(second + LIFETIME)
    values = (value, *[_REMOVE] * (_SHARDS - 1))
    return b"\r\n".join(
        b"Set-Cookie: AWSALBAPP-%d=%s; Expires=%s; Path=/%s" % (shard, one, date, attributes) for shard, one in enumerate(values)
    )


@lru_cache(maxsize=4)
def _nothing_to_stick_to(attributes: bytes, second: int) -> bytes:
    """The lines for a response without a session; made once per second."""
    return _write_shards(attributes, _REMOVE, second)


def _is_strict(request: RequestHead) -> bool:
    """Whether the request crosses origins, from a browser that then wants `SameSite=None; Secure`."""
    if "Origin" not in request.headers:
        return False
    match = _CHROMIUM.search(request.headers.get("User-Agent", ""))
    return match is not None and int(match[1]) >= _FIRST_STRICT_CHROMIUM


def _query_parameter(name: str | None) -> re.Pattern[str] | None:
    """Finds the parameters of a query with this name that have a value."""
    return re.compile(f"(?:^|&){re.escape(name)}=([^&]+)") if name is not None else None


_MOST_SEPARATORS = 16


class _RouteSuffixStickiness:
    """Binds sessions to the targets whose routes stand behind the ids of the sessions."""

    __slots__ = ("_cookie", "_parameter", "_query", "_routes", "_separator")

    def __init__(self, setting: RouteSuffix, group: TargetGroupState) -> None:
        self._cookie = setting.cookie_name.encode() + b"="
        self._parameter = re.compile(f";{re.escape(setting.cookie_name)}=([^;/]*)", re.ASCII | re.IGNORECASE)
        self._query = _query_parameter(setting.query_parameter)
        self._separator = setting.separator
        self._routes: dict[str, TargetState] = {}
        for member in group.members.values():
            self.come(member)

    def target(self, request: RequestHead, _now: float) -> TargetState | None:
        for session in self._sessions(request):
            member = self._behind(session)
            if member is not None:
                return member
        return None

    def refuses(self, request: RequestHead, now: float) -> bool:
        named = any(self._separator in session for session in self._sessions(request))
        return named and self.target(request, now) is None

    def fields(self, _member: TargetState, _request: RequestHead, _response: ResponseHead, _now: float) -> bytes:
        return b""

    def come(self, member: TargetState) -> None:
        self._routes[member.target.route or member.address] = member

    def go(self, member: TargetState) -> None:
        route = member.target.route or member.address
        if self._routes.get(route) is member:
            del self._routes[route]

    def settle(self, eligible: Sequence[TargetState]) -> None: ...

    def _sessions(self, request: RequestHead) -> Iterator[str]:
        """The ids that the request brings, those that outrank others first: of the path, the query, the cookies."""
        if ";" in request.path:
            for found in islice(self._parameter.finditer(request.path), MOST_TRIED):
                yield found[1]
        if self._query is not None and request.query_string:
            for found in islice(self._query.finditer(request.query_string), MOST_TRIED):
                # Programs that put an id into a query encode what may stand there as it is, too.
                yield unquote(found[1])
        if request.cookie:
            for value in cookie_values(request.cookie, self._cookie):
                yield value.strip(b'"').decode("latin-1")

    def _behind(self, session: str) -> TargetState | None:
        """The target whose route stands at the end of a session's id, behind one of the separators in it."""
        for _ in range(_MOST_SEPARATORS):
            _, separator, session = session.partition(self._separator)
            if not separator:
                break
            member = self._routes.get(session)
            if member is not None:
                return member
        return None


class _KeyStickiness:
    """Binds sessions to the targets that their keys belong to."""

    __slots__ = ("_eligible", "_key", "_ring", "_stale")

    def __init__(self, key: Callable[[RequestHead], str | None]) -> None:
        self._key = key
        self._ring = HashRing()
        self._eligible: Sequence[TargetState] = ()
        self._stale = False

    def target(self, request: RequestHead, _now: float) -> TargetState | None:
        key = self._ask(request)
        if key is None:
            return None
        if self._stale:
            self._stale = False
            self._ring.settle(self._eligible)
        return self._ring.find(place_of(key), _takes_one_more)

    def refuses(self, _request: RequestHead, _now: float) -> bool:
        return False

    def fields(self, _member: TargetState, _request: RequestHead, _response: ResponseHead, _now: float) -> bytes:
        return b""

    def come(self, member: TargetState) -> None: ...

    def go(self, member: TargetState) -> None: ...

    def settle(self, eligible: Sequence[TargetState]) -> None:
        self._eligible = eligible
        self._stale = True

    def _ask(self, request: RequestHead) -> str | None:
        try:
            key = self._key(request)
            if key is None or isinstance(key, str):
                # A plain text, whatever a kind of text of the program's own makes of itself.
                return None if key is None else str.__str__(key)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a key of the program's own may raise anything
            _log.exception("the sticky key %s failed", name_of(self._key))
            raise Failure(FailureKind.HOOK_FAILED, f"the sticky key {name_of(self._key)}: {told(error)}") from None
        raise Failure(FailureKind.HOOK_FAILED, f"the sticky key {name_of(self._key)} returned {told(key)}, which is neither text nor None")


def _client_address(request: RequestHead) -> str:
    return request.client.host


def _takes_one_more(member: TargetState) -> bool:
    """A target on probation gets one request at a time; a key has nothing that would make another target wait for its session."""
    return not has_enough(member)

"""Binds sessions to targets by the route at the end of the session id."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from urllib.parse import unquote

from albkit.clock import Clock
from albkit.model.message import RequestHead, ResponseHead
from albkit.model.stickiness.route_suffix import RouteSuffix
from albkit.policy.cookies import MOST_TRIED, cookie_values
from albkit.policy.stickiness.query_parameter import query_parameter
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("RouteSuffixStickiness",)

_MAX_SEPARATORS = 16
"""Separators of a session id that are tried, so that a long id of a hostile client costs no more."""


class RouteSuffixStickiness:
    """Binds a session to the target whose route is at the end of the session id.

    Args:
        setting: The settings.
        group: The group whose members sessions are bound to.
        _clock: Not used: all kinds of stickiness are made with the same arguments.
    """

    __slots__ = ("_cookie", "_parameter", "_query", "_routes", "_separator")

    def __init__(self, setting: RouteSuffix, group: TargetGroupState, _clock: Clock) -> None:
        self._cookie = setting.cookie_name.encode() + b"="
        self._parameter = re.compile(f";{re.escape(setting.cookie_name)}=([^;/]*)", re.ASCII | re.IGNORECASE)
        self._query = query_parameter(setting.query_parameter)
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
        """Yield the session ids of the request in order of precedence: from the path, the query, the cookies."""
        if ";" in request.path:
            for found in islice(self._parameter.finditer(request.path), MOST_TRIED):
                yield found[1]
        if self._query is not None and request.query_string:
            for found in islice(self._query.finditer(request.query_string), MOST_TRIED):
                # Clients may percent-encode characters that need no encoding.
                yield unquote(found[1])
        if request.cookie:
            for value in cookie_values(request.cookie, self._cookie):
                yield value.strip(b'"').decode("latin-1")

    def _behind(self, session: str) -> TargetState | None:
        """Return the target whose route follows one of the separators in a session id, up to the end of the id."""
        for _ in range(_MAX_SEPARATORS):
            _, separator, session = session.partition(self._separator)
            if not separator:
                break
            member = self._routes.get(session)
            if member is not None:
                return member
        return None

"""Binds sessions to targets by cookies that the load balancer sets."""

from __future__ import annotations

from collections.abc import Sequence

from albkit.clock import Clock
from albkit.model.message import RequestHead, ResponseHead
from albkit.model.stickiness.lb_cookie import LbCookie
from albkit.policy.client_cookie import ClientCookie
from albkit.policy.stickiness.cookies import key_of, keys_of, marked_secure, plain_and_cors
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("LbCookieStickiness",)


class LbCookieStickiness:
    """Binds sessions to targets by `AWSALB` and `AWSALBCORS`. If both come, `AWSALBCORS` takes precedence.

    Args:
        setting: The settings.
        group: The group whose members sessions are bound to.
        clock: The source of random bytes.
    """

    __slots__ = ("_cookie", "_group")

    def __init__(self, setting: LbCookie, group: TargetGroupState, clock: Clock) -> None:
        self._group = group
        write = plain_and_cors(b"AWSALB=", b"AWSALBCORS=")
        self._cookie: ClientCookie[TargetState] = ClientCookie(
            (b"AWSALBCORS=", b"AWSALB="), write, keys_of(group), setting.duration, setting.secrets, clock.entropy
        )

    def target(self, request: RequestHead, now: float) -> TargetState | None:
        return self._cookie.find(request.cookie, now) if request.cookie else None

    def refuses(self, request: RequestHead, now: float) -> bool:
        return self._cookie.came(request.cookie) and self.target(request, now) is None

    def fields(self, member: TargetState, request: RequestHead, _response: ResponseHead, now: float) -> bytes:
        return marked_secure(self._cookie.lines(member, now, request.cookie), request)

    def come(self, member: TargetState) -> None:
        self._cookie.name(member, key_of(self._group, member))

    def go(self, member: TargetState) -> None:
        self._cookie.forget(member)

    def settle(self, eligible: Sequence[TargetState]) -> None: ...

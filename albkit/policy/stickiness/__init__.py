"""Which target a request's session is bound to, and the cookies that keep it there: one file for each kind (docs/alb.md 5.3).

The settings of each kind are in `albkit.model.stickiness`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from albkit.clock import Clock
from albkit.model.stickiness.app_cookie import AppCookie
from albkit.model.stickiness.lb_cookie import LbCookie
from albkit.model.stickiness.route_suffix import RouteSuffix
from albkit.model.stickiness.source_address import SourceAddress
from albkit.policy.stickiness.app_cookie import AppCookieStickiness
from albkit.policy.stickiness.key import KeyStickiness, client_address
from albkit.policy.stickiness.lb_cookie import LbCookieStickiness
from albkit.policy.stickiness.route_suffix import RouteSuffixStickiness
from albkit.policy.stickiness.stickiness import Stickiness
from albkit.state.target_group import TargetGroupState

__all__ = ("STICKINESS", "Stickiness", "stickiness_for")

STICKINESS: dict[type, Callable[[Any, TargetGroupState, Clock], Stickiness]] = {
    AppCookie: AppCookieStickiness,
    LbCookie: LbCookieStickiness,
    RouteSuffix: RouteSuffixStickiness,
    SourceAddress: lambda _setting, _group, _clock: KeyStickiness(client_address),
}
"""How to make the stickiness of a group, by the kind of its setting. CONTRIBUTING.md says what a new kind needs."""


def stickiness_for(setting: Any, group: TargetGroupState, clock: Clock) -> Stickiness | None:
    """Return the stickiness that a group's setting describes; `None` for no stickiness."""
    if setting is None:
        return None
    for kind, make in STICKINESS.items():
        if isinstance(setting, kind):
            return make(setting, group, clock)
    return KeyStickiness(setting)

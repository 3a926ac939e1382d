"""How a session stays with its target: one file for each kind of stickiness.

`STICKINESS` lists the built-in ones. Besides these, a function that returns a key of the request is stickiness
(`albkit.extensions.StickyKey`).
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction

from albkit.model.message import RequestHead
from albkit.model.stickiness.app_cookie import AppCookie
from albkit.model.stickiness.lb_cookie import LbCookie
from albkit.model.stickiness.route_suffix import RouteSuffix
from albkit.model.stickiness.source_address import SourceAddress
from albkit.model.stickiness.stickiness import BuiltInStickiness

__all__ = ("STICKINESS", "StickinessSetting", "StickyKey", "fault_of_key", "fault_of_stickiness")

STICKINESS: tuple[type[BuiltInStickiness], ...] = (
    AppCookie,
    LbCookie,
    RouteSuffix,
    SourceAddress,
)
"""The built-in kinds. CONTRIBUTING.md says what a new one needs."""

StickyKey = Callable[[RequestHead], str | None]
StickinessSetting = BuiltInStickiness | StickyKey


def fault_of_stickiness(value: object) -> str | None:
    """Return why a value cannot be the stickiness of a group, or `None`."""
    if value is None or isinstance(value, STICKINESS):
        return None
    if isinstance(value, type) or not callable(value):
        built_in = ", ".join(f"{kind.__name__}(...)" for kind in STICKINESS)
        return f"{value!r} is not stickiness; give {built_in}, a function of the request that returns a key, or None"
    return fault_of_key(value)


def fault_of_key(value: object) -> str | None:
    """Return why a value cannot be a function that returns the key of a request, or `None`."""
    if isinstance(value, type) or not callable(value):
        return f"{value!r} is not callable; give a function of the request that returns text, or None"
    if iscoroutinefunction(value) or iscoroutinefunction(getattr(value, "__call__", None)):  # noqa: B004 - an object may be async in this way
        return f"{value!r} is async, but a key is needed while a target is chosen; give a plain function"
    return None

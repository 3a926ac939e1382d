"""The settings of stickiness that are numbers or one of a few words."""

from __future__ import annotations

from typing import Final

from albkit.model.attributes.attribute import Attribute

__all__ = ("SETTINGS",)

SETTINGS: Final = (
    Attribute(
        "LbCookie", "duration", "stickiness.lb_cookie.duration_seconds", 86400, unit="seconds", minimum=1, maximum=604800,
        meaning="How long a session stays with its target after the latest response.",
    ),
    Attribute(
        "LbCookie", "while_draining", "", "rebalance", choices=("rebalance", "honor"),
        meaning="What happens to a session whose target is deregistered: rebalance sends it to another target; honor keeps it until the "
        "deregistration delay is over.",
    ),
    Attribute(
        "AppCookie", "duration", "stickiness.app_cookie.duration_seconds", 86400, unit="seconds", minimum=1, maximum=604800,
        meaning="How long a session stays with its target after the latest response.",
    ),
    Attribute(
        "AppCookie", "while_draining", "", "rebalance", choices=("rebalance", "honor"), meaning="As for LbCookie.",
    ),
    Attribute(
        "RouteSuffix", "while_draining", "", "rebalance", choices=("rebalance", "honor"), meaning="As for LbCookie.",
    ),
)  # fmt: skip

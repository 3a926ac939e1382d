"""The settings of rules and actions that are numbers or one of a few words."""

from __future__ import annotations

from typing import Final

from albkit.model.attributes.attribute import Attribute

__all__ = ("SETTINGS",)

SETTINGS: Final = (
    Attribute("Rule", "priority", "Priority", None, minimum=1, maximum=50000,
        meaning="Unique within the listener. Rules are evaluated from the lowest priority to the highest.",
    ),
    Attribute(
        "Forward", "stickiness", "TargetGroupStickinessConfig.DurationSeconds", None, unit="seconds", minimum=1,
        maximum=604800,
        meaning="How long a client stays with its target group (cookies AWSALBTG and AWSALBTGCORS); None for no stickiness. Required if "
        "one of several groups has stickiness of its own.",
    ),
    Attribute(
        "Forward", "on_failure", "", "rebalance", choices=("rebalance", "fail"),
        meaning="What happens to a session whose target group has no targets left: rebalance chooses by weight among the groups that have "
        "some; fail answers 503, as ALB does.",
    ),
    Attribute(
        "Redirect", "protocol", "Protocol", "#{protocol}", choices=("HTTP", "HTTPS", "#{protocol}"),
        meaning="The protocol of the redirect's URL.",
    ),
    Attribute(
        "Redirect", "status_code", "StatusCode", 302, minimum=301, maximum=302,
        meaning="301 for a permanent redirect, 302 for a temporary one."
    ),
    Attribute("FixedResponse", "status_code", "StatusCode", None, minimum=200, maximum=599, meaning="The status code: 2xx, 4xx or 5xx."),
    Attribute(
        "FixedResponse", "content_type", "ContentType", "text/plain",
        choices=("text/plain", "text/css", "text/html", "application/javascript", "application/json"),
        meaning="The type of the body; charset=utf-8 is added.",
    ),
)  # fmt: skip

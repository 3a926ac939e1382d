"""A listener's rules as a table."""

from __future__ import annotations

import albkit as alb
from albkit.demo.table import rules_table


def test_rules_stand_in_the_order_of_their_priority_and_columns_are_aligned() -> None:
    """What is tried first stands first; names stand for the addresses that have one."""
    web = alb.TargetGroup("web", ["127.0.0.1:1", "127.0.0.1:2"], stickiness=alb.LbCookie())
    api = alb.TargetGroup("api", ["127.0.0.1:1", "127.0.0.1:3"])
    one = alb.TargetGroup("one", "127.0.0.1:1")
    empty = alb.TargetGroup("empty")
    listener = alb.Listener(
        0,
        alb.Forward(web),
        [
            alb.Rule(300, alb.PathPattern("/gone"), alb.FixedResponse(410, "gone")),
            alb.Rule(20, [alb.HostHeader("*.example.com"), alb.PathPattern("/a", "/b/*")], alb.Forward(one)),
            alb.Rule(5, alb.PathPattern("/none"), alb.Forward(empty)),
            alb.Rule(6, alb.PathPattern("/api/*"), alb.Forward(api)),
        ],
    )
    assert rules_table(listener, {"127.0.0.1:1": "red", "127.0.0.1:2": "green"}) == [
        "PRIORITY  CONDITIONS                                    ACTION",
        "5         path is /none                                 forward to empty (no targets)",
        "6         path is /api/*                                forward to api (red, 127.0.0.1:3; round robin)",
        "20        host is *.example.com and path is /a or /b/*  forward to one (red)",
        "300       path is /gone                                 answer 410 (text/plain)",
        "default   everything else                               forward to web (red, green; sticky by cookie)",
    ]

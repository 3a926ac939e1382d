"""The stickiness `RouteSuffix`."""

from __future__ import annotations

import re
from typing import cast

import attrs

from albkit.model.attributes import default
from albkit.model.stickiness.fields import check_cookie_name, check_query_parameter
from albkit.model.stickiness.stickiness import BuiltInStickiness
from albkit.model.validation import Faults

__all__ = ("RouteSuffix",)


@attrs.frozen
class RouteSuffix(BuiltInStickiness):
    """Stickiness for targets that append their own route to the session id, as application servers behind Apache do (`jvmRoute`).

    A request whose cookie, path parameter or query parameter ends with the separator and the route of a target goes to that target:
    `JSESSIONID=8A5F.node1`, `/shop;jsessionid=8A5F.node1`, `/shop?sid=8A5F.node1`. The route is `Target(route="node1")`, by default the
    target's address. As in Apache, the path takes precedence over the query, and the query over the cookie. The load balancer sets no
    cookie.

    Example:
        alb.RouteSuffix("JSESSIONID")

    Args:
        cookie_name: The name of the cookie that contains the session id. A path parameter of this name, in any case, can contain it as
            well.
        separator: The text between session id and route, one or more characters.
        query_parameter: The name of the query parameter that contains the session id, case-sensitive: 1 to 256 letters, digits and
            `-._~`; `None` for none.
        while_draining: As `LbCookie(while_draining=...)`.

    Raises:
        ConfigurationError: listing every fault.
    """

    reads_requests = True
    reason = "bound by its session id"

    cookie_name: str
    separator: str = "."
    query_parameter: str | None = attrs.field(default=None, kw_only=True)
    while_draining: str = attrs.field(default=cast("str", default("RouteSuffix", "while_draining")), kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("RouteSuffix")
        check_cookie_name(faults, self.cookie_name)
        if not isinstance(self.separator, str) or not re.fullmatch(r"[!-:<-~]+", self.separator):
            faults.add("separator", f"{self.separator!r} is not one or more visible ASCII characters without a semicolon")
        check_query_parameter(faults, self.query_parameter)
        faults.attribute(self, "while_draining")
        faults.raise_if_any()

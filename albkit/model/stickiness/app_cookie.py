"""The stickiness `AppCookie`."""

from __future__ import annotations

from typing import cast

import attrs

from albkit.model.attributes import default
from albkit.model.stickiness.fields import as_secrets, check_cookie_name, check_query_parameter, check_secrets
from albkit.model.stickiness.stickiness import BuiltInStickiness
from albkit.model.validation import Faults

__all__ = ("AppCookie",)


@attrs.frozen
class AppCookie(BuiltInStickiness):
    """Stickiness that follows a cookie of the application, as ALB's `app_cookie` (docs/alb.md 5.3).

    When a target's response sets the application's cookie, the load balancer adds the cookie `AWSALBAPP-0`. A request with both cookies
    goes to the same target. If either is missing, the request is balanced normally. The load balancer never looks at the value of the
    application's cookie. If the target of a session fails, the session moves to another target and stays there.

    Example:
        alb.AppCookie("JSESSIONID")

    Args:
        cookie_name: The name of the application's cookie. It must not start with `AWSALB`.
        query_parameter: The name of a query parameter that replaces the application's cookie in requests without it, case-sensitive: 1 to
            256 letters, digits and `-._~`; `None` for none. The request still needs `AWSALBAPP-0`, and only a response that sets
            the application's cookie begins a session.
        duration: Seconds that a session stays with its target after its latest response, 1 to 604800 (7 days).
        secrets: As `LbCookie(secrets=...)`.
        while_draining: As `LbCookie(while_draining=...)`.

    Raises:
        ConfigurationError: listing every fault.
    """

    reads_requests = True
    reason = "bound by its cookie"

    cookie_name: str
    duration: float = cast("float", default("AppCookie", "duration"))
    query_parameter: str | None = attrs.field(default=None, kw_only=True)
    secrets: tuple[bytes, ...] = attrs.field(default=(), converter=as_secrets, kw_only=True, repr=False)
    while_draining: str = attrs.field(default=cast("str", default("AppCookie", "while_draining")), kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("AppCookie")
        check_cookie_name(faults, self.cookie_name)
        if isinstance(self.cookie_name, str) and self.cookie_name.startswith("AWSALB"):
            faults.add("cookie_name", f"{self.cookie_name!r} is reserved, as in ALB: it begins with AWSALB; give the application's cookie")
        check_query_parameter(faults, self.query_parameter)
        faults.attribute(self, "duration", "while_draining")
        check_secrets(faults, self.secrets)
        faults.raise_if_any()

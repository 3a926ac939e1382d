"""How a session stays with its target."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from inspect import iscoroutinefunction
from typing import Any, cast

import attrs

from albkit.model.attributes import default
from albkit.model.message import RequestHead
from albkit.model.names import TOKEN
from albkit.model.validation import Faults, as_tuple

__all__ = ("AppCookie", "LbCookie", "RouteSuffix", "SourceAddress", "StickyKey", "fault_of_key", "fault_of_stickiness")

_SHORTEST_SECRET = 16
_LONGEST_NAME = 256
_PARAMETER = re.compile(r"[A-Za-z0-9._~-]{1,256}")
"""What stands in a query as it is, whoever encodes it (RFC 3986 section 2.3)."""

StickyKey = Callable[[RequestHead], str | None]


def _secrets(value: Any) -> tuple[Any, ...]:
    return tuple(secret.encode() if isinstance(secret, str) else secret for secret in as_tuple(value))


def _check_secrets(faults: Faults, secrets: tuple[object, ...]) -> None:
    for index, secret in enumerate(secrets):
        if not isinstance(secret, bytes) or len(secret) < _SHORTEST_SECRET:
            # Not shown: what is wrong with it may be a typing error only.
            faults.add(
                f"secrets[{index}]", f"is not text or bytes of {_SHORTEST_SECRET} bytes or more; secrets.token_urlsafe(32) makes one"
            )
    if secrets and find_spec("cryptography") is None:
        faults.add("secrets", "need the package cryptography; pip install 'albkit[secrets]'")


def _check_name(faults: Faults, name: object) -> None:
    if not isinstance(name, str) or not TOKEN.fullmatch(name) or len(name) > _LONGEST_NAME:
        faults.add(
            "cookie_name",
            f"{name!r} is not a cookie's name: 1 to {_LONGEST_NAME} letters, digits and !#$%&'*+-.^_`|~ (RFC 6265 section 4.1.1)",
        )


def _check_query_parameter(faults: Faults, name: object) -> None:
    if name is not None and not (isinstance(name, str) and _PARAMETER.fullmatch(name)):
        faults.add("query_parameter", f"{name!r} is not a parameter's name: 1 to {_LONGEST_NAME} letters, digits and -._~, or None")


@attrs.frozen
class LbCookie:
    """Stickiness by a cookie of the load balancer's own, as ALB's `lb_cookie` (docs/alb.md 5.3).

    The first response of a group sets `AWSALB` and `AWSALBCORS`; a request that brings one back goes to the same target. The cookies
    are renewed on every response, on a `101` too. They hold a digest of group and target, so that every instance with the same
    configuration honours them, before and after a restart. A cookie that cannot be honoured is a fresh pick, never an error.

    Args:
        duration: Seconds that a session stays with its target after its latest response, 1 to 604800 (7 days); 86400 by default.
        secrets: None by default: values need no key, and whoever forges one only chooses a target. With one secret or a list, each text
            or bytes of 16 bytes or more, values are encrypted and authenticated (AES-256-GCM): nobody can make or read one. The first
            secret writes, all of them read: to change secrets put the new one in front, and drop the old one when `duration` has passed.
            Needs `pip install 'albkit[secrets]'`.
        while_draining: `"rebalance"` (default, as ALB): a session whose target is deregistered goes to another one. `"honor"`: it stays
            until the deregistration delay is over; only new sessions go elsewhere.

    Raises:
        ConfigurationError: listing every fault.
    """

    duration: float = cast("float", default("LbCookie", "duration"))
    secrets: tuple[bytes, ...] = attrs.field(default=(), converter=_secrets, kw_only=True, repr=False)
    while_draining: str = attrs.field(default=cast("str", default("LbCookie", "while_draining")), kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("LbCookie")
        faults.attribute(self, "duration", "while_draining")
        _check_secrets(faults, self.secrets)
        faults.raise_if_any()


@attrs.frozen
class AppCookie:
    """Stickiness that follows a cookie of the application's own, as ALB's `app_cookie` (docs/alb.md 5.3).

    When a response of a target sets the cookie named here the load balancer sets `AWSALBAPP-0` beside it. A request that brings both back
    goes to the same target; without either it is chosen anew. What the target's cookie says is never looked at. When a session's target
    fails the session moves to another one and stays there.

    Args:
        cookie_name: The application's cookie; not one that starts with `AWSALB`.
        query_parameter: A parameter of the query, in these letters, that stands for the application's cookie in a request where that does
            not come: 1 to 256 letters, digits and `-._~`, or `None` (default) for none. `AWSALBAPP-0` must come all the same, and only a
            response that sets the cookie begins a session.
        duration: Seconds that a session stays with its target after its latest response, 1 to 604800 (7 days); 86400 by default.
        secrets: As `LbCookie(secrets=...)`.
        while_draining: As `LbCookie(while_draining=...)`.

    Raises:
        ConfigurationError: listing every fault.
    """

    cookie_name: str
    duration: float = cast("float", default("AppCookie", "duration"))
    query_parameter: str | None = attrs.field(default=None, kw_only=True)
    secrets: tuple[bytes, ...] = attrs.field(default=(), converter=_secrets, kw_only=True, repr=False)
    while_draining: str = attrs.field(default=cast("str", default("AppCookie", "while_draining")), kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("AppCookie")
        _check_name(faults, self.cookie_name)
        if isinstance(self.cookie_name, str) and self.cookie_name.startswith("AWSALB"):
            faults.add("cookie_name", f"{self.cookie_name!r} is reserved, as in ALB: it begins with AWSALB; give the application's cookie")
        _check_query_parameter(faults, self.query_parameter)
        faults.attribute(self, "duration", "while_draining")
        _check_secrets(faults, self.secrets)
        faults.raise_if_any()


@attrs.frozen
class RouteSuffix:
    """Stickiness for targets that mark their own route in the session's id, as application servers behind Apache do (`jvmRoute`).

    A request whose cookie, path parameter or query parameter ends with the separator and the route of a target
    (`Target(route="node1")`, by default its address) goes to that target: `JSESSIONID=8A5F.node1`, `/shop;jsessionid=8A5F.node1`,
    `/shop?sid=8A5F.node1`. The path's outranks the query's, and that the cookie's, as in Apache. The load balancer sets no cookie.

    Args:
        cookie_name: The cookie that holds the session's id, and, in letters of either case, the path parameter that does.
        separator: What stands between id and route, one character or more; `"."` by default.
        query_parameter: The parameter of the query that holds it, in these letters, 1 to 256 letters, digits and `-._~`; `None` (default)
            for none.
        while_draining: As `LbCookie(while_draining=...)`.

    Raises:
        ConfigurationError: listing every fault.
    """

    cookie_name: str
    separator: str = "."
    query_parameter: str | None = attrs.field(default=None, kw_only=True)
    while_draining: str = attrs.field(default=cast("str", default("RouteSuffix", "while_draining")), kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("RouteSuffix")
        _check_name(faults, self.cookie_name)
        if not isinstance(self.separator, str) or not re.fullmatch(r"[!-:<-~]+", self.separator):
            faults.add("separator", f"{self.separator!r} is not one or more visible ASCII characters without a semicolon")
        _check_query_parameter(faults, self.query_parameter)
        faults.attribute(self, "while_draining")
        faults.raise_if_any()


@attrs.frozen
class SourceAddress:
    """Stickiness by the client's address, without its port.

    Each address has its target, by a digest: nothing is kept, load balancers with the same targets agree. When one of N targets comes or
    goes about one in N addresses moves. Clients behind one gateway of theirs share an address, and so a target.
    """


_FORMS = "LbCookie(...), AppCookie(...), RouteSuffix(...), SourceAddress(), a function of the request that returns a key, or None"


def fault_of_stickiness(value: object) -> str | None:
    """What keeps a value from being a group's stickiness, or `None`."""
    if value is None or isinstance(value, LbCookie | AppCookie | RouteSuffix | SourceAddress):
        return None
    if isinstance(value, type) or not callable(value):
        return f"{value!r} is none of {_FORMS}"
    return fault_of_key(value)


def fault_of_key(value: object) -> str | None:
    """What keeps a value from being a function that gives the key of a request, or `None`."""
    if isinstance(value, type) or not callable(value):
        return f"{value!r} is not callable; give a function of the request that returns text, or None"
    if iscoroutinefunction(value) or iscoroutinefunction(getattr(value, "__call__", None)):  # noqa: B004 - an object may be async in this way
        return f"{value!r} is async; a key is asked for while a target is chosen, so give a plain function"
    return None

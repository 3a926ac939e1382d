"""What a rule does with a request (docs/alb.md 4)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import attrs

from albkit.model.attributes import default
from albkit.model.message import RequestHead
from albkit.model.stickiness import LbCookie
from albkit.model.target_group import TargetGroup
from albkit.model.tunnel import TunnelPolicy
from albkit.model.validation import Faults

__all__ = ("ACTIONS", "Action", "FixedResponse", "Forward", "Redirect", "is_hook")

_LONGEST_BODY = 1024
_MOST_GROUPS = 5
_LARGEST_WEIGHT = 999
_STICKINESS = (1, 604800)


def _groups(value: Any) -> tuple[Any, ...]:
    """Pairs of group and weight, from one group or a mapping."""
    if isinstance(value, Mapping):
        return tuple(value.items())
    return ((value, 1),)


@attrs.frozen
class Forward:
    """Sends the request to a target of a group, or of one of several groups by weight (docs/alb.md 4.1).

    Args:
        groups: A `TargetGroup`, or a mapping of up to five groups to their weights, 0 to 999: each gets its share of the sum. A group of
            weight 0 gets no new session.
        stickiness: Seconds, 1 to 604800, for which a client stays with its group (cookies `AWSALBTG` and `AWSALBTGCORS`), or
            `LbCookie(duration, secrets=...)` where nobody else may make or read them; `None` for none. Needed when one of several groups
            has stickiness of its own.
        on_failure: What becomes of a session whose group has no targets left: `"rebalance"` (default) chooses again by weight among
            those that have some, `"fail"` answers 503 as ALB does.
        tunnel: `TunnelPolicy(...)` for the tunnels that this action opens, in place of their target group's; `None` for that one.

    Raises:
        ConfigurationError: listing every fault.
    """

    groups: tuple[tuple[TargetGroup, int], ...] = attrs.field(converter=_groups)
    stickiness: float | LbCookie | None = None
    on_failure: str = attrs.field(default=cast("str", default("Forward", "on_failure")), kw_only=True)
    tunnel: TunnelPolicy | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("Forward")
        faults.attribute(self, "on_failure")
        if not 1 <= len(self.groups) <= _MOST_GROUPS:
            faults.add("groups", f"{len(self.groups)} groups; give 1 to {_MOST_GROUPS}")
        for index, (group, weight) in enumerate(self.groups):
            if not isinstance(group, TargetGroup):
                faults.add(f"groups[{index}]", f"{group!r} is not a TargetGroup")
            if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= _LARGEST_WEIGHT:
                faults.add(f"groups[{index}]", f"weight {weight!r} is out of range; 0 to {_LARGEST_WEIGHT}")
        if self.tunnel is not None and not isinstance(self.tunnel, TunnelPolicy):
            faults.add("tunnel", f"{self.tunnel!r} is not TunnelPolicy(...) or None")
        self._check_stickiness(faults)
        faults.raise_if_any()

    def _check_stickiness(self, faults: Faults) -> None:
        low, high = _STICKINESS
        seconds = self.stickiness
        if isinstance(seconds, LbCookie):
            if seconds.while_draining != "rebalance":
                faults.add("stickiness", "while_draining is said by the target group, of whose targets one drains; drop it here")
        elif seconds is not None:
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not low <= seconds <= high:
                faults.add("stickiness", f"{seconds!r} is out of range; {low} to {high} seconds, or None")
        elif len(self.groups) > 1 and any(isinstance(group, TargetGroup) and group.stickiness is not None for group, _ in self.groups):
            faults.add("stickiness", "one of several groups has stickiness, so clients must stay with their group; give seconds here")

    @property
    def group(self) -> TargetGroup:
        """The first group."""
        return self.groups[0][0]


@attrs.frozen
class FixedResponse:
    """Answers the request with a status and a short text, without a target (docs/alb.md 4.3).

    Args:
        status_code: 2xx, 4xx or 5xx.
        body: At most 1024 characters; sent in UTF-8, with `charset=utf-8`. Not sent in answer to HEAD, nor with 204 and 205, which have
            none.
        content_type: `text/plain` (default), `text/css`, `text/html`, `application/javascript` or `application/json`.

    Raises:
        ConfigurationError: the status is of another class, the body too long, or the type another one.
    """

    status_code: int
    body: str = ""
    content_type: str = cast("str", default("FixedResponse", "content_type"))

    def __attrs_post_init__(self) -> None:
        faults = Faults("FixedResponse")
        faults.attribute(self, "status_code", "content_type")
        if isinstance(self.status_code, int) and 300 <= self.status_code <= 399:
            faults.add("status_code", f"{self.status_code} is a redirect; a fixed response is 2xx, 4xx or 5xx")
        if not isinstance(self.body, str):
            faults.add("body", f"{self.body!r} is not text")
        elif not _is_text(self.body):
            faults.add("body", "holds lone surrogates, which no UTF-8 text can")
        elif len(self.body) > _LONGEST_BODY:
            faults.add("body", f"{len(self.body)} characters are too many; at most {_LONGEST_BODY}")
        faults.raise_if_any()


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_PLACEHOLDER = re.compile(r"#\{([^}]*)\}")
_ALLOWED = {
    "protocol": ("protocol",),
    "host": ("host",),
    "port": ("port",),
    "path": ("host", "port", "path"),
    "query": ("protocol", "host", "port", "path", "query"),
}
_LONGEST = 128
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+")
"""Without a port, which has a part of its own."""


def _words(part: str) -> str:
    return "allowed are " + ", ".join("#{" + name + "}" for name in _ALLOWED[part])


def _port(port: Any) -> Any:
    return str(port) if isinstance(port, int) and not isinstance(port, bool) else port


@attrs.frozen(kw_only=True)
class Redirect:
    """Sends the client elsewhere (docs/alb.md 4.2). Each part defaults to that of the request.

    Args:
        protocol: `"HTTP"`, `"HTTPS"` or `"#{protocol}"`.
        host: 1 to 128 characters, `#{host}` among them.
        port: 1 to 65535 as text or number, or `"#{port}"`, which is the listener's: with `protocol="HTTPS"` give `port=443`.
        path: 1 to 128 characters from `/`, with `#{host}`, `#{port}`, `#{path}` (which has no leading slash).
        query: 0 to 128 characters without the leading `?`, with any placeholder.
        status_code: 301 or 302.

    A Location above 8 KiB is not sent: 507. A listener refuses a redirect that leads back to itself with the same URL, and one to
    `https://` on its own port where it speaks no TLS; where that is only likely, it is a line in the log at the start.

    Raises:
        ConfigurationError: a part is out of range, or nothing but the query would change (an endless loop).
    """

    protocol: str = "#{protocol}"
    host: str = "#{host}"
    port: str = attrs.field(default="#{port}", converter=_port)
    path: str = "/#{path}"
    query: str = "#{query}"
    status_code: int = 302

    def __attrs_post_init__(self) -> None:
        faults = Faults("Redirect")
        parts = {name: getattr(self, name) for name in _ALLOWED}
        for name, value in parts.items():
            if not isinstance(value, str):
                faults.add(name, f"{value!r} is not text")
                continue
            for placeholder in _PLACEHOLDER.findall(value):
                if placeholder not in _ALLOWED[name]:
                    faults.add(name, f"#{{{placeholder}}} cannot stand here; {_words(name)}")
        if all(isinstance(value, str) for value in parts.values()):
            self._check_parts(faults)
        if type(self.status_code) is not int or self.status_code not in (301, 302):
            faults.add("status_code", f"{self.status_code!r} is not 301 or 302")
        faults.raise_if_any()

    def _check_parts(self, faults: Faults) -> None:
        if self.protocol not in ("HTTP", "HTTPS", "#{protocol}"):
            faults.add("protocol", f"{self.protocol!r} is not 'HTTP', 'HTTPS' or '#{{protocol}}'")
        if not 1 <= len(self.host) <= _LONGEST or not _HOST.fullmatch(_PLACEHOLDER.sub("x", self.host)):
            faults.add("host", f"{self.host!r} is not a host of 1 to {_LONGEST} characters")
        if self.port != "#{port}" and not (re.fullmatch(r"[0-9]{1,5}", self.port) and 1 <= int(self.port) <= 65535):
            faults.add("port", f"{self.port!r} is not a port; 1 to 65535 or '#{{port}}'")
        if not self.path.startswith("/") or len(self.path) > _LONGEST or not _is_url_text(self.path):
            faults.add("path", f"{self.path!r} is not a path; 1 to {_LONGEST} visible characters from '/'")
        if len(self.query) > _LONGEST or self.query.startswith("?") or not _is_url_text(self.query):
            faults.add("query", f"{self.query!r} is not a query; 0 to {_LONGEST} visible characters without a leading '?'")
        if (self.protocol, self.host, self.port, self.path) == ("#{protocol}", "#{host}", "#{port}", "/#{path}"):
            faults.add("", "at least one of protocol, host, port and path must change, or the client comes back for ever")


def _is_url_text(text: str) -> bool:
    return re.fullmatch(r"[!-~]*", text) is not None


Hook = Callable[[RequestHead], Awaitable[Any]]
Action = Forward | FixedResponse | Redirect | Hook
ACTIONS = (Forward, FixedResponse, Redirect)
"""The routing actions: a rule has exactly one, and it is the last."""


def is_hook(action: object) -> bool:
    """Whether an action is a program's own callable."""
    return callable(action) and not isinstance(action, ACTIONS) and not isinstance(action, type)

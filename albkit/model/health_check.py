"""How a target group finds out whether its targets are well (docs/alb.md 1.8, 5.4)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from albkit.model.attributes import default, fault
from albkit.model.target import Target
from albkit.model.validation import Faults

__all__ = ("HealthCheck",)

_PATH = re.compile(r"/[!-~]*")
_LONGEST_PATH = 1024
_MATCHER = re.compile(r"[0-9]{3}(-[0-9]{3})?( *, *[0-9]{3}(-[0-9]{3})?)*")
_CODES = (200, 499)


def _setting(name: str) -> Any:
    return attrs.field(default=default("HealthCheck", name), kw_only=True)


def _port(port: Any) -> Any:
    return None if port == "traffic-port" else port


@attrs.frozen
class HealthCheck:
    """Asks every target of a group, again and again, whether it is well; for `TargetGroup(health_check=...)`.

    A target begins as `initial`. One check that passes makes it `healthy`. Then `unhealthy_threshold` checks in a row that fail make it
    `unhealthy`, and `healthy_threshold` that pass make it `healthy` again. An unhealthy target gets requests only where the group has
    fewer healthy ones than `minimum_healthy_targets`. Checks of a target begin every `interval` seconds, however long they take; those of
    many targets are spread, so that not all are asked at once. They are in no counter and no log of requests.

    A check over HTTP is `GET path` on a connection of its own, with `Host` as the target's address and `User-Agent:
    ELB-HealthChecker/2.0`; it passes when the status is one of `matcher`. Redirects are not followed, certificates not verified.

    Args:
        path: Path and query to ask for, 1 to 1024 visible characters from `/`, without `#`; `"/"` by default.
        port: 1 to 65535 where not the targets' own port is to be asked; `None` (default, in ALB `traffic-port`) for that. Of a target with
            a unix socket it is a port of this machine.
        protocol: `"HTTP"`, `"HTTPS"`, `"TCP"` (passes when the target accepts the connection) or `"WEBSOCKET"` (passes when the target
            answers an upgrade on `path` with a right 101, by TLS where that is spoken with it); `None` (default) for `"HTTP"` or
            `"HTTPS"`, whichever is spoken with the target, and for `"TCP"` behind TCP and TLS listeners. The last two are albkit's own.
        interval: Seconds between the beginnings of two checks of a target, 0.001 to 300, 30 by default.
        timeout: Seconds for a check, above 0 to 120, 5 by default. No check of a target begins before its last one is over.
        healthy_threshold: Checks in a row that make an unhealthy target healthy, 1 to 10, 5 by default.
        unhealthy_threshold: Checks in a row that make a healthy or a new target unhealthy, 1 to 10, 2 by default.
        matcher: The statuses that pass, from 200 to 499: `"200"` (default), `"200,202"`, `"200-299"`.
        probe: An `async` callable that is given the `Target` and tells whether it is well, in place of asking over the network (see
            `albkit.extensions.HealthProbe`); `None` (default) for none.

    Raises:
        ConfigurationError: listing every fault.
    """

    path: str = "/"
    port: int | None = attrs.field(default=None, converter=_port, kw_only=True)
    protocol: str | None = attrs.field(default=None, kw_only=True)
    interval: float = _setting("interval")
    timeout: float = _setting("timeout")
    healthy_threshold: int = _setting("healthy_threshold")
    unhealthy_threshold: int = _setting("unhealthy_threshold")
    matcher: str = attrs.field(default="200", kw_only=True)
    probe: Callable[[Target], Awaitable[object]] | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("HealthCheck")
        if not isinstance(self.path, str) or not _PATH.fullmatch(self.path) or len(self.path) > _LONGEST_PATH or "#" in self.path:
            faults.add("path", f"{self.path!r} is not a path and query; 1 to {_LONGEST_PATH} visible characters from '/', without '#'")
        for name in ("port", "protocol"):
            wrong = fault("HealthCheck", name, getattr(self, name)) if getattr(self, name) is not None else None
            if wrong:
                faults.add(name, wrong)
        faults.attribute(self, "interval", "timeout", "healthy_threshold", "unhealthy_threshold")
        wrong = _fault_of_matcher(self.matcher)
        if wrong:
            faults.add("matcher", wrong)
        if self.probe is not None:
            if not callable(self.probe) or isinstance(self.probe, type):
                faults.add("probe", f"{self.probe!r} is not an async callable or None")
            elif getattr(self.probe, "__hash__", None) is None:
                faults.add("probe", f"{self.probe!r} cannot be hashed, and descriptions are; give its class a __hash__")
        faults.raise_if_any()

    def passes(self, status: int) -> bool:
        """Whether this status of an HTTP check is one of `matcher`."""
        return any(low <= status <= high for low, high in _ranges(self.matcher))


def _ranges(matcher: str) -> list[tuple[int, int]]:
    parts = [part.split("-") for part in matcher.split(",")]
    return [(int(part[0]), int(part[-1])) for part in parts]


def _fault_of_matcher(matcher: object) -> str | None:
    low, high = _CODES
    if not isinstance(matcher, str) or not _MATCHER.fullmatch(matcher):
        return f"{matcher!r} names no statuses; give them as '200', '200,202' or '200-299'"
    for first, last in _ranges(matcher):
        if not low <= first <= last <= high:
            return f"{matcher!r} goes beyond {low} to {high}, or a range runs backwards"
    return None

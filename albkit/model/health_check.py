"""How a target group checks whether its targets are healthy (docs/alb.md 1.8, 5.4)."""

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
_STATUSES = re.compile(r"[0-9]{3}(-[0-9]{3})?( *, *[0-9]{3}(-[0-9]{3})?)*")
_GRPC_CODES = re.compile(r"[0-9]{1,2}(-[0-9]{1,2})?( *, *[0-9]{1,2}(-[0-9]{1,2})?)*")
_GRPC_METHOD = re.compile(r"/[^/?]+/[^/?]+")
_GRPC_DEFAULTS = {"/": "/AWS.ALB/healthcheck", "200": "12"}
"""ALB's defaults of path and matcher in a GRPC group, by those in other groups. 12 is UNIMPLEMENTED: no server has such a method, and every
server that works says so."""


def _setting(name: str) -> Any:
    return attrs.field(default=default("HealthCheck", name), kw_only=True)


def _port(port: Any) -> Any:
    return None if port == "traffic-port" else port


@attrs.frozen
class HealthCheck:
    """Periodic health checks of every target of a group; for `TargetGroup(health_check=...)`.

    A target begins as `initial`. One passed check makes it `healthy`. Then `unhealthy_threshold` failed checks in a row make it
    `unhealthy`, and `healthy_threshold` passed ones make it `healthy` again. An unhealthy target gets requests only if the group has fewer
    healthy ones than `minimum_healthy_targets`. The checks of a target start every `interval` seconds, however long they take; the checks
    of many targets are spread over the interval. Counters and logs of requests do not include them.

    A check over HTTP is `GET path` on a connection of its own, with `Host` as the target's address and `User-Agent: ELB-HealthChecker/2.0`.
    It passes if the status is one of `matcher`. Redirects are not followed, and certificates are not verified. In a target group with
    `protocol_version="HTTP2"`, the request is the same, over HTTP/2.

    In a group with `protocol_version="GRPC"`, the check calls the gRPC method `path` with an empty message, and passes if the `grpc-status`
    is one of `matcher`. The default path `"/"` then stands for ALB's `"/AWS.ALB/healthcheck"`, and the default matcher `"200"` for `"12"`
    (UNIMPLEMENTED): a server without such a method answers so. `HealthCheck("/grpc.health.v1.Health/Check", matcher="0")` calls the
    standard health service.

    Args:
        path: Path and query of the request, 1 to 1024 visible characters that start with `/`, without `#`. In a GRPC group the
            method to call, as `"/package.service/method"`. Default: `"/"`.
        port: 1 to 65535, to check another port than the target's own. For a target with a unix socket it is a port of this machine.
            Default: `None`, the target's own (ALB's `traffic-port`).
        protocol: `"HTTP"`, `"HTTPS"`, `"TCP"` (passes when the target accepts the connection) or `"WEBSOCKET"` (passes when the target
            answers an upgrade on `path` with a valid 101, or in an HTTP2 group an extended CONNECT with 200 (RFC 8441); over TLS if
            requests to the target use TLS; not in a GRPC group). The last two are albkit's own.
            Default: `None`, which is `"HTTP"` or `"HTTPS"`, the same as for requests to the target, and `"TCP"` behind TCP and TLS
            listeners.
        interval: Seconds between the starts of two checks of a target, 0.001 to 300. Default: `30`.
        timeout: Seconds for a check, above 0 to 120. A target's next check never starts before the last one is over. Default: `5`.
        healthy_threshold: Passed checks in a row that make an unhealthy target healthy, 1 to 10. Default: `5`.
        unhealthy_threshold: Failed checks in a row that make a healthy or a new target unhealthy, 1 to 10. Default: `2`.
        matcher: The status codes that pass, from 200 to 499: `"200"`, `"200,202"` or `"200-299"`. In a GRPC group the gRPC codes that pass,
            from 0 to 99: `"0"`, `"0,12"` or `"0-99"`. Default: `"200"`.
        probe: An `async` callable that receives the `Target` and returns whether it is healthy; it replaces the check over the network (see
            `albkit.extensions.HealthProbe`). Default: `None`.

    Raises:
        ConfigurationError: lists every fault.
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
            what = f"{self.path!r} is not a path and query; give '/' and up to {_LONGEST_PATH - 1} visible characters without '#'"
            faults.add("path", what)
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
                faults.add("probe", f"{self.probe!r} is not hashable, as every part of a configuration must be; give its class a __hash__")
        faults.raise_if_any()

    def passes(self, status: int) -> bool:
        """Whether an HTTP check with this status code passes."""
        return _contains(self.matcher, status)

    def passes_grpc(self, code: int) -> bool:
        """Whether a check of a GRPC group with this `grpc-status` passes."""
        return _contains(_GRPC_DEFAULTS.get(self.matcher, self.matcher), code)

    def path_for(self, protocol_version: str) -> str:
        """The path to request in a target group with this `protocol_version`."""
        return _GRPC_DEFAULTS.get(self.path, self.path) if protocol_version == "GRPC" else self.path

    def check_for(self, protocol_version: str, faults: Faults) -> None:
        """Check what depends on the `protocol_version` of the target group."""
        if self.probe is not None or self.protocol == "TCP":
            return
        if self.protocol == "WEBSOCKET":
            if protocol_version == "GRPC":
                faults.add("health_check.protocol", "'WEBSOCKET' is not for GRPC groups; use 'TCP', or leave it out to call a method")
            return
        is_grpc = _GRPC_CODES.fullmatch(self.matcher) is not None
        if protocol_version != "GRPC":
            if is_grpc:
                faults.add(
                    "health_check.matcher", f"{self.matcher!r} are gRPC codes, which are for GRPC groups; give statuses such as '200'"
                )
            return
        if not is_grpc and self.matcher not in _GRPC_DEFAULTS:
            faults.add(
                "health_check.matcher",
                f"{self.matcher!r} are HTTP statuses, but the group is GRPC; give gRPC codes, 0 to 99, or leave it out",
            )
        if not _GRPC_METHOD.fullmatch(self.path_for(protocol_version)):
            faults.add("health_check.path", f"{self.path!r} is not a gRPC method; write it as '/package.service/method', or leave it out")


def _contains(matcher: str, code: int) -> bool:
    return any(low <= code <= high for low, high in _ranges(matcher))


def _ranges(matcher: str) -> list[tuple[int, int]]:
    parts = [part.split("-") for part in matcher.split(",")]
    return [(int(part[0]), int(part[-1])) for part in parts]


def _fault_of_matcher(matcher: object) -> str | None:
    if not isinstance(matcher, str) or not (_STATUSES.fullmatch(matcher) or _GRPC_CODES.fullmatch(matcher)):
        return f"{matcher!r} is not a list of status codes; write them as '200', '200,202' or '200-299', and gRPC codes as '0' or '0-99'"
    low, high = (200, 499) if _STATUSES.fullmatch(matcher) else (0, 99)
    for first, last in _ranges(matcher):
        if not low <= first <= last <= high:
            return f"{matcher!r} contains a code outside {low} to {high}, or a range whose end is below its start"
    return None

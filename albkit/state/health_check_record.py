"""The record of one health check: everything that the health check log needs."""

from __future__ import annotations

import attrs

from albkit.model.health import HealthCheckResult

__all__ = ("HealthCheckRecord",)


@attrs.frozen
class HealthCheckRecord:
    """One health check that has a result.

    Args:
        kind: `http`, `https`, `h2` or `grpc`, as in ALB's log (docs/alb.md 7.3), or `tcp`, `ws`, `wss` or `probe`.
        group: The name of the target group.
        target: Where the check has connected to: `host:port`, or `unix:` and the path.
        result: Time, duration, status and reason in words.
        failure: ALB's reason code; empty if the check passed.
        local: The load balancer's own IP address in this check; empty if it is not known.
    """

    kind: str
    group: str
    target: str
    result: HealthCheckResult
    failure: str
    local: str

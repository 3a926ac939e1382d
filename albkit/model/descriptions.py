"""What a load balancer tells about its parts: frozen copies of what is true at the moment of the call.

Times are seconds since 1970. Counts begin when the load balancer, or the listener or target, does.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from albkit.model.health import HealthCheckResult, TargetHealthReason, TargetHealthState
from albkit.model.target import Target

__all__ = (
    "CertificateDescription",
    "FailureDescription",
    "ListenerDescription",
    "LoadBalancerDescription",
    "RuleDescription",
    "TargetDescription",
    "TargetGroupDescription",
)


@attrs.frozen
class LoadBalancerDescription:
    """The result of `LoadBalancer.describe`."""

    name: str
    is_running: bool
    """Whether it accepts connections. `False` before `start()`, and from the call of `stop()`."""
    started_at: float | None
    """When it was last started; `None` if it never was."""


@attrs.frozen
class ListenerDescription:
    """One entry of `LoadBalancer.describe_listeners`."""

    id: str
    """Its name, else its port as text. If listeners before it have the same, `#2` or a higher number follows."""
    name: str | None
    protocol: str
    host: str | None
    port: int
    url: str
    rules: int
    """How many rules it has, without the default action."""
    active_connections: int
    """Client connections that are open, tunnels included."""
    requests: int
    """Exchanges, tunnels and rejected connections that have ended."""
    processed_bytes: int
    """Bytes received from its clients plus those sent to them."""
    responses: Mapping[str, int]
    """How many responses its clients received, by `"2xx"`, `"3xx"`, `"4xx"` and `"5xx"`."""


@attrs.frozen
class RuleDescription:
    """One entry of `LoadBalancer.describe_rules`."""

    listener: str
    """The id of its listener."""
    priority: int
    """0 for the default action."""
    conditions: tuple[str, ...]
    """In words; empty for the default action."""
    action: str
    """What it does, in words."""
    hits: int
    """Requests that it was applied to."""

    @property
    def id(self) -> str:
        """The id of the listener, a slash and the priority."""
        return f"{self.listener}/{self.priority}"


@attrs.frozen
class CertificateDescription:
    """One entry of `LoadBalancer.describe_certificates`."""

    label: str
    """The path of its file; for a certificate given as bytes, a name that stands for it."""
    listener: str
    """The id of the listener that offers it."""
    names: tuple[str, ...]
    """The DNS names in it."""
    not_before: float
    not_after: float
    """When it expires."""
    key_type: str
    """`"ECDSA"` or `"RSA"`."""


@attrs.frozen
class TargetGroupDescription:
    """One entry of `LoadBalancer.describe_target_groups`."""

    name: str
    protocol: str
    protocol_version: str
    algorithm: str
    stickiness: str | None
    """How sessions are bound, in words; `None` without stickiness."""
    health_check: str | None
    """In words; `None` without health checks."""
    deregistration_delay: float
    targets: int
    """How many targets it has, draining ones included."""
    healthy: int
    unhealthy: int
    fails_open: bool
    """Whether unhealthy targets get requests, because too few are healthy."""
    outstanding: int
    """Requests in flight, and open tunnels."""
    tunnels: int
    """Open tunnels."""
    requests: int
    """Requests, and connections of TCP and TLS listeners, that were sent to its targets, without retries."""
    processed_bytes: int
    responses: Mapping[str, int]
    """How many responses its targets sent, by `"2xx"`, `"3xx"`, `"4xx"` and `"5xx"`."""
    retries: int
    connection_errors: int
    """Connections to targets that could not be established, TLS handshakes included."""
    last_active_at: float | None
    """When the last exchange or tunnel with one of its targets ended; `None` if none has."""


@attrs.frozen
class TargetDescription:
    """One entry of `LoadBalancer.describe_targets`."""

    group: str
    target: Target
    weight: int
    state: TargetHealthState
    reason: TargetHealthReason | None
    description: str
    """What the last health check found, or the reason in words."""
    ejected_until: float | None
    """When its ejection ends; `None` if it is not ejected."""
    eject_reason: str
    draining_until: float | None
    """While it drains: when the deregistration delay ends and what is still in flight is cut."""
    outstanding: int
    tunnels: int
    requests: int
    """As in `TargetGroupDescription`."""
    errors: int
    """Attempts that ended with a 5xx or a failure."""
    processed_bytes: int
    responses: Mapping[str, int]
    connection_errors: int
    retries: int
    last_active_at: float | None
    last_check: HealthCheckResult | None
    """The last health check; `None` if the group has no health check, or none has a result yet."""

    @property
    def address(self) -> str:
        """Its identity in the group: `host:port` or `unix:/path`."""
        return str(self.target)


@attrs.frozen
class FailureDescription:
    """A failure of an exchange, a tunnel or a connection, for `LoadBalancer.on_failure`. Its texts are short, and have no control
    characters."""

    at: float
    reason: str
    """The error reason of the log line, such as `TargetConnectionRefused`."""
    sentence: str
    """The same as a sentence."""
    phase: str
    side: str
    """Who caused it: `"client"`, `"load balancer"` or `"target"`."""
    status: int
    """The status that the client received; 0 if it received none."""
    client: str
    listener: str | None
    """The name of the listener, else its port as text."""
    group: str | None
    target: str | None
    rule: int | None
    """The priority of the rule, 0 for the default action; `None` if no rule was reached."""
    request: str
    """Method and path; empty if no request could be read."""
    detail: str

"""The events that a load balancer sends to its subscribers."""

from __future__ import annotations

from typing import Any, get_args

import attrs

from albkit.model.health import AnomalyResult, TargetHealthReason, TargetHealthState
from albkit.model.message import ClientAddress
from albkit.model.target import Target
from albkit.model.tunnel import TunnelEnd

__all__ = (
    "CHANGES",
    "TRAFFIC",
    "CertificatesRead",
    "ConfigurationApplied",
    "ConnectionFailed",
    "Event",
    "ExchangeFinished",
    "FailedAttempt",
    "ListenerClosed",
    "ListenerOpened",
    "LoadBalancerStarted",
    "LoadBalancerStopped",
    "LoadBalancerStopping",
    "TargetAnomalyChanged",
    "TargetDrained",
    "TargetEjected",
    "TargetReadmitted",
    "TargetRegistered",
    "TargetStateChanged",
    "TunnelClosed",
)


def _added(default: Any) -> Any:
    """A field that joined its class later: programs may create the event without it, and compare it with one that has it."""
    return attrs.field(default=default, kw_only=True, eq=False)


@attrs.frozen
class TargetRegistered:
    """A target has joined a group."""

    group: str
    target: Target


@attrs.frozen
class TargetStateChanged:
    """A target's state, as `describe_target_health` reports it, has changed."""

    group: str
    target: Target
    state: TargetHealthState
    reason: TargetHealthReason | None


@attrs.frozen
class TargetEjected:
    """A target has failed too often and gets no new requests for a while (`TargetGroup(ejection=...)`)."""

    group: str
    target: Target
    seconds: float
    """How long the ejection lasts; afterwards the target is on probation."""
    reason: str


@attrs.frozen
class TargetReadmitted:
    """An ejected target gets requests again, on probation."""

    group: str
    target: Target


@attrs.frozen
class TargetAnomalyChanged:
    """A target's error rate has begun or ceased to stand out from that of its peers (docs/alb.md 5.2)."""

    group: str
    target: Target
    result: AnomalyResult


@attrs.frozen
class TargetDrained:
    """The last exchange or tunnel of a deregistered target is over, and the group has forgotten the target."""

    group: str
    target: Target


@attrs.frozen
class ListenerOpened:
    """A listener's port is open."""

    name: str | None
    port: int
    url: str = _added("")
    """Where a client on this machine reaches it; `unix:` and the path for a unix socket."""


@attrs.frozen
class ListenerClosed:
    """A listener's port is closed; exchanges and tunnels that came in through it end gracefully."""

    name: str | None
    port: int
    url: str = _added("")
    """Where a client on this machine reached it; `unix:` and the path for a unix socket."""


@attrs.frozen
class LoadBalancerStarted:
    """All listeners are open. `ListenerOpened` precedes it, once per listener."""

    name: str
    listeners: int
    groups: int
    targets: int


@attrs.frozen
class LoadBalancerStopping:
    """`stop()` was called: the listeners close, and exchanges and tunnels have some time to finish."""

    name: str
    timeout: float
    """Seconds after which the rest is cut."""
    connections: int
    """Client connections that are open, without those of tunnels."""
    tunnels: int


@attrs.frozen
class LoadBalancerStopped:
    """Every socket is closed."""

    name: str


@attrs.frozen
class ConfigurationApplied:
    """`apply()` has put a new configuration into effect."""

    listeners: int
    groups: int
    listeners_changed: tuple[str, ...] = _added(())
    """The names, or else the URLs, of the listeners that stay, and whose settings, rules or target groups have changed. `ListenerOpened`
    and `ListenerClosed` report the others."""
    groups_added: tuple[str, ...] = _added(())
    groups_changed: tuple[str, ...] = _added(())
    groups_removed: tuple[str, ...] = _added(())


@attrs.frozen
class CertificatesRead:
    """Files of certificates, keys, trust stores or revocation lists have changed; their new content is used for new connections."""

    files: tuple[str, ...]
    """All files that are read, whether or not they changed."""


@attrs.frozen
class FailedAttempt:
    """An attempt of an exchange that failed, whether or not another one followed."""

    target: Target
    error_reason: str
    """As `error_reason` of the exchange."""
    error_detail: str


# One per request. Neither frozen nor with keywords only: creating such an object takes four to eight times as long. Without `match_args`,
# the order of the fields is no promise.
@attrs.define(eq=False, match_args=False)
class _Ended:
    """What is known about everything that a client starts. Durations are seconds; times are seconds since 1970 (UTC)."""

    listener: str | None
    """The name of the listener, if it has one."""
    port: int
    """The port of the listener."""
    protocol: str
    """The client's protocol: `HTTP/1.1` (for HTTP/1.0 too) or `HTTP/2`; empty for a connection of a TCP or TLS listener."""
    client: ClientAddress
    """The client: `host` and `port`, printed as `host:port`, and `tls`. It is the client that a trusted proxy in front names, if there is
    one."""
    method: str
    """Empty if the request head was rejected, as are `host`, `path` and `query_string`."""
    host: str
    """In lower case, without a port."""
    path: str
    """As the client sent it, without any decoding."""
    query_string: str
    trace_id: str
    """The X-Amzn-Trace-Id that the target got."""
    rule_priority: int | None
    """The priority of the rule that matched; 0 for the default action, `None` if the request failed before a rule matched."""
    action: str
    """`forward`, `redirect`, `fixed-response` or `hook`; empty if the request failed before an action was taken."""
    group: str | None
    """The target group that was chosen."""
    target: Target | None
    """The target of the last attempt."""
    status: int
    """The status that the client received, 460 if it had gone; 0 if none could be sent."""
    target_status: int
    """The status that the target sent; 0 if it sent none."""
    received_at: float | None
    """When the whole request head, or the connection of a TCP or TLS listener, had been received; `None` if no whole head came."""
    ended_at: float
    duration: float
    """From `received_at` to `ended_at`; for a tunnel, from its 101. 0 if `received_at` is `None`."""
    request_processing_time: float | None
    """From `received_at` until the request was sent to the target; `None` if it was not sent. The others likewise."""
    target_processing_time: float | None
    """From then until the head of the target's response had been received."""
    response_processing_time: float | None
    """From then until the load balancer began to send the response."""
    received_bytes: int
    """Bytes from the client, the head included; for a tunnel, its whole lifetime."""
    sent_bytes: int
    """Bytes to the client, the head included; for a tunnel, its whole lifetime."""
    attempts: int
    """How often the request was sent, or a connection for it was tried: 1 without retries, 0 without a target."""
    failed_attempts: tuple[FailedAttempt, ...]
    """The attempts that failed, in order."""
    error_reason: str | None
    """Why it failed, such as `TargetTimeout` (docs/counters.md lists all, as `Failure_...`); `None` if it did not."""
    error_side: str | None
    """Who caused the failure: `client`, `target` or `load balancer`."""
    error_detail: str
    """More about the failure, for people."""


@attrs.define(eq=False, match_args=False)
class ExchangeFinished(_Ended):
    """A request and its response are over, whether the exchange succeeded or failed. A request that opened a tunnel gives `TunnelClosed`
    instead."""


@attrs.define(eq=False, match_args=False)
class TunnelClosed(_Ended):
    """A tunnel, or a connection of a TCP or TLS listener, is over. `on_tunnel` reports its beginning."""

    id: int
    """The `id` of the tunnel; 0 if none was opened, because no target could be connected."""
    tunnel_protocol: str
    """The protocol that the target's 101 named, in lower case: `websocket` or another one; `tcp` or `tls` for such a listener."""
    end: TunnelEnd | None
    """What ended it; `None` if none was opened."""
    close_code: int | None
    """The code of the WebSocket Close frame that the load balancer or the side that closed has sent; 1005 if a Close frame had none (RFC
    6455 section 7.4.1). `None` if there was no Close frame, or it was not seen because frames are not followed."""
    frames_in: int | None
    """WebSocket frames from the client; `None` if frames are not followed."""
    frames_out: int | None
    """WebSocket frames from the target, in the same way."""


@attrs.define(eq=False, match_args=False)
class ConnectionFailed:
    """A client's connection failed outside of any exchange: it was rejected before its first request (connection limit, PROXY protocol
    header, TLS handshake), or it violated HTTP/2."""

    listener: str | None
    """The name of the listener, if it has one."""
    port: int
    """The port of the listener."""
    protocol: str
    """`HTTP/1.1` or `HTTP/2`; empty if the connection failed before its first request."""
    client: ClientAddress
    ended_at: float
    """Seconds since 1970 (UTC)."""
    error_reason: str
    """Such as `TooManyConnections` (docs/counters.md lists all, as `Failure_...`)."""
    error_side: str
    """Who caused the failure: `client`, `target` or `load balancer`."""
    error_detail: str
    """More about the failure, for people."""


Event = (
    TargetRegistered
    | TargetStateChanged
    | TargetEjected
    | TargetReadmitted
    | TargetAnomalyChanged
    | TargetDrained
    | ListenerOpened
    | ListenerClosed
    | LoadBalancerStarted
    | LoadBalancerStopping
    | LoadBalancerStopped
    | ConfigurationApplied
    | CertificatesRead
    | ExchangeFinished
    | TunnelClosed
    | ConnectionFailed
)
"""The events that `LoadBalancer.subscribe` delivers."""

TRAFFIC: tuple[type[Any], ...] = (ExchangeFinished, TunnelClosed, ConnectionFailed)
"""The classes of events that clients cause, one event per exchange, tunnel or failed connection."""

CHANGES: tuple[type[Any], ...] = tuple(kind for kind in get_args(Event) if kind not in TRAFFIC)
"""The classes of all other events: those about the load balancer, its configuration and its targets."""

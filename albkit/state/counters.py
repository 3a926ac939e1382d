"""What has been counted since the load balancer was made, under ALB's metric names (docs/alb.md 8, docs/counters.md).

There are two kinds. `TrafficCounters` belong to a target: what is sent to it and what it answers. A group's figures are the sum over its
targets, and the load balancer's the sum over its groups, so that a request is counted once, in one place. All that has nothing to do with a
target is counted in `Counters`, of which a load balancer has one. Nobody else adds to a counter: whoever sees an event calls the method
that is named after it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import attrs

from albkit.errors import Failure, FailureKind
from albkit.model.message import RequestHead
from albkit.model.tunnel import TunnelEnd

__all__ = ("METRICS", "TRAFFIC_METRICS", "Counters", "Metric", "TrafficCounters")


@attrs.frozen
class Metric:
    """One row of docs/counters.md."""

    name: str
    """ALB's, if ALB has such a metric."""
    unit: str
    meaning: str


@attrs.define(eq=False, weakref_slot=False)
class TrafficCounters:
    """What one target was sent and has answered. Also what targets that are gone have left to their group, and groups to the load
    balancer."""

    requests: int = 0
    target_2xx: int = 0
    target_3xx: int = 0
    target_4xx: int = 0
    target_5xx: int = 0
    target_connection_errors: int = 0
    target_tls_errors: int = 0
    processed_bytes: int = 0
    retries: int = 0
    tunnels: int = 0
    flows: int = 0
    unhealthy_routing_requests: int = 0
    ejections: int = 0
    rejected_requests: int = 0

    def request_routed(self, *, fails_open: bool) -> None:
        """The target was chosen for a request. Its retries are not counted again."""
        self.requests += 1
        if fails_open:
            self.unhealthy_routing_requests += 1

    def flow_routed(self, *, fails_open: bool) -> None:
        """The target was chosen for a connection of a TCP or TLS listener."""
        self.flows += 1
        if fails_open:
            self.unhealthy_routing_requests += 1

    def retried(self) -> None:
        """A request whose attempt failed elsewhere is sent to the target."""
        self.retries += 1

    def connection_failed(self, *, in_tls: bool) -> None:
        """The target could not be connected to, or the TLS handshake with it failed."""
        if in_tls:
            self.target_tls_errors += 1
        else:
            self.target_connection_errors += 1

    def responded(self, status: int) -> None:
        """An exchange with the target is over; it had answered with this status."""
        if status < 300:
            self.target_2xx += status >= 200
        elif status < 400:
            self.target_3xx += 1
        elif status < 500:
            self.target_4xx += 1
        else:
            self.target_5xx += 1

    def tunnel_opened(self) -> None:
        """The target has a tunnel more."""
        self.tunnels += 1

    def ejected(self) -> None:
        """The target was ejected."""
        self.ejections += 1

    def request_rejected(self) -> None:
        """A request found no target with room, and no place in the line, or waited there in vain."""
        self.rejected_requests += 1

    def transferred(self, count: int) -> None:
        """So many bytes were received from clients and sent to them for the target."""
        self.processed_bytes += count

    def add(self, other: TrafficCounters) -> None:
        """Take over what another one has counted."""
        for slot in TRAFFIC_METRICS:
            setattr(self, slot, getattr(self, slot) + getattr(other, slot))

    def as_mapping(self) -> dict[str, int]:
        """Every counter by its name."""
        return {metric.name: getattr(self, slot) for slot, metric in TRAFFIC_METRICS.items()}


@attrs.define(eq=False, weakref_slot=False)
class Counters:
    """Plain integers, and one mapping of them all to be read."""

    active_connections: int = 0
    active_tunnels: int = 0
    active_waiting: int = 0
    active_flows: int = 0
    app_cookie_non_sticky_requests: int = 0
    client_tls_errors: int = 0
    cookies_refused: int = 0
    desync_non_compliant: int = 0
    dns_failures: int = 0
    dropped_invalid_headers: int = 0
    elb_3xx: int = 0
    elb_4xx: int = 0
    elb_500: int = 0
    elb_502: int = 0
    elb_503: int = 0
    elb_504: int = 0
    elb_5xx: int = 0
    fixed_responses: int = 0
    forwarded_invalid_headers: int = 0
    idle_connections_closed: int = 0
    new_connections: int = 0
    non_sticky_requests: int = 0
    own_bytes: int = 0
    """Processed bytes of exchanges that no target took part in."""
    reading_paused: int = 0
    redirect_url_limit_exceeded: int = 0
    redirects: int = 0
    rejected_connections: int = 0
    rule_evaluations: int = 0
    tunnel_pings: int = 0
    failures: Counter[FailureKind] = attrs.field(factory=Counter)
    tunnel_ends: Counter[TunnelEnd] = attrs.field(factory=Counter)
    traffic: TrafficCounters = attrs.field(factory=TrafficCounters)
    """What target groups that are gone have left."""

    # Connections, with clients and with targets.

    def connection_opened(self) -> None:
        """A connection is open. To be followed by `connection_closed`."""
        self.active_connections += 1
        self.new_connections += 1

    def connection_closed(self) -> None:
        """A connection that was opened is closed, or has become a tunnel's."""
        self.active_connections -= 1

    def connection_rejected(self) -> None:
        """A client's connection was closed at once: there are too many."""
        self.rejected_connections += 1

    def client_handshake_failed(self) -> None:
        """A TLS handshake with a client failed."""
        self.client_tls_errors += 1

    def idle_connection_closed(self) -> None:
        """A target's connection was closed because nobody needed it."""
        self.idle_connections_closed += 1

    def reading_was_paused(self) -> None:
        """One side sends faster than the other takes: it is not read for a while."""
        self.reading_paused += 1

    # Requests.

    def rules_evaluated(self, count: int) -> None:
        """So many rules were looked at for one request."""
        self.rule_evaluations += count

    def picked_without_session(self, *, of_application: bool) -> None:
        """A sticky group was to choose a target for a request without a session.

        Args:
            of_application: Whether the group goes by a cookie of the application.
        """
        if of_application:
            self.app_cookie_non_sticky_requests += 1
        else:
            self.non_sticky_requests += 1

    def cookie_refused(self) -> None:
        """A request brought a stickiness cookie that is not good."""
        self.cookies_refused += 1

    def local_reply_sent(self, counter: str) -> None:
        """An action answered a request without a target.

        Args:
            counter: The slot that counts such replies.
        """
        setattr(self, counter, getattr(self, counter) + 1)

    def waiting_began(self) -> None:
        """A request waits for a target with room. To be followed by `waiting_ended`."""
        self.active_waiting += 1

    def waiting_ended(self) -> None:
        """A request that waited waits no more."""
        self.active_waiting -= 1

    def head_judged(self, request: RequestHead) -> None:
        """A request whose head was read is over."""
        if request.classification is not None:
            self.desync_non_compliant += 1
        if request.irregular_names:
            if request.dropped_names:
                self.dropped_invalid_headers += 1
            else:
                self.forwarded_invalid_headers += 1

    def failed(self, failure: Failure) -> None:
        """Something ended with this failure."""
        kind = failure.kind
        self.failures[kind] += 1
        self.desync_non_compliant += kind in _NON_COMPLIANT
        self.redirect_url_limit_exceeded += kind is FailureKind.REDIRECT_TOO_LONG

    def responded(self, status: int) -> None:
        """The load balancer answered by itself, with a redirect or because of a failure; 0 where it could not answer any more."""
        if 300 <= status < 400:
            self.elb_3xx += 1
        elif 400 <= status < 500:
            self.elb_4xx += 1
        elif status >= 500:
            self.elb_5xx += 1
            if status == 500:
                self.elb_500 += 1
            elif status == 502:
                self.elb_502 += 1
            elif status == 503:
                self.elb_503 += 1
            elif status == 504:
                self.elb_504 += 1

    def transferred(self, count: int) -> None:
        """So many bytes were received from a client and sent to it, and no target took part."""
        self.own_bytes += count

    # Tunnels.

    def tunnel_opened(self) -> None:
        """Two connections that were counted on their own are a tunnel's. To be followed by `tunnel_closed`."""
        self.active_tunnels += 1
        self.active_connections += 2

    def tunnel_closed(self, end: TunnelEnd | None) -> None:
        """A tunnel is over, and so are its two connections."""
        self.active_tunnels -= 1
        self.active_connections -= 2
        if end is not None:
            self.tunnel_ends[end] += 1

    def tunnel_pinged(self) -> None:
        """A side of a tunnel was sent a ping."""
        self.tunnel_pings += 1

    def flow_opened(self) -> None:
        """A connection of a TCP or TLS listener has its target. To be followed by `flow_closed`."""
        self.active_flows += 1

    def flow_closed(self) -> None:
        """Such a connection is over."""
        self.active_flows -= 1

    # Names.

    def look_up_failed(self) -> None:
        """A name server did not answer, or said that it has failed."""
        self.dns_failures += 1

    def as_mapping(self, traffic: Iterable[TrafficCounters] = ()) -> dict[str, int]:
        """Every counter by name: ALB's if ALB has one.

        Failures are `Failure_` and their reason, tunnels that are over `TunnelEnd_` and what ended them; a gauge starts with `Active`.

        Args:
            traffic: What has been counted of each group that is there.
        """
        total = TrafficCounters()
        for part in (self.traffic, *traffic):
            total.add(part)
        total.processed_bytes += self.own_bytes
        named = {metric.name: getattr(self, slot) for slot, metric in METRICS.items()}
        named.update(total.as_mapping())
        named.update((f"Failure_{kind.reason}", self.failures[kind]) for kind in FailureKind)
        named.update((f"TunnelEnd_{end.title().replace(' ', '')}", self.tunnel_ends[end]) for end in TunnelEnd)
        return dict(sorted(named.items()))


_NON_COMPLIANT: Final = frozenset(
    (
        FailureKind.REQUEST_MALFORMED,
        FailureKind.REQUEST_BARE_LF,
        FailureKind.REQUEST_AMBIGUOUS,
        FailureKind.REQUEST_HOST_INVALID,
        FailureKind.REQUEST_VERSION_UNSUPPORTED,
        FailureKind.REQUEST_TRANSFER_CODING_UNSUPPORTED,
    ),
)
"""Requests that are refused because of what their heads say; they have no classification any more."""

TRAFFIC_METRICS: Final = {
    "requests": Metric("RequestCount", "requests", "Requests for which a target was chosen. Retries do not count again."),
    "target_2xx": Metric("HTTPCode_Target_2XX_Count", "responses", "Responses of targets with a status of 200 to 299."),
    "target_3xx": Metric("HTTPCode_Target_3XX_Count", "responses", "Responses of targets with a status of 300 to 399."),
    "target_4xx": Metric("HTTPCode_Target_4XX_Count", "responses", "Responses of targets with a status of 400 to 499."),
    "target_5xx": Metric("HTTPCode_Target_5XX_Count", "responses", "Responses of targets with a status of 500 to 599."),
    "target_connection_errors": Metric(
        "TargetConnectionErrorCount", "connections", "Connections to targets that failed, without health checks and TLS handshakes."
    ),
    "target_tls_errors": Metric("TargetTLSNegotiationErrorCount", "connections", "TLS handshakes with targets that failed."),
    "processed_bytes": Metric(
        "ProcessedBytes", "bytes", "Received from clients and sent to them, heads and WebSocket frames included, once an exchange is over."
    ),
    "retries": Metric("RetryCount", "requests", "Further attempts at requests, counted for the target that is tried next."),
    "tunnels": Metric("TunnelCount", "tunnels", "Tunnels that were opened: WebSockets, other upgrades and layer 4 connections."),
    "flows": Metric("NewFlowCount", "connections", "Connections of TCP and TLS listeners for which a target was chosen."),
    "unhealthy_routing_requests": Metric(
        "UnhealthyRoutingRequestCount", "requests", "Requests that were routed while the target group failed open."
    ),
    "ejections": Metric("TargetEjectionCount", "ejections", "Ejections of targets that failed (outlier ejection)."),
    "rejected_requests": Metric(
        "TargetControlRequestRejectCount", "requests", "Requests answered with 503 because all targets were at `max_concurrency`."
    ),
}
"""By slot of `TrafficCounters`: what is counted per target, per target group and for the load balancer."""

METRICS: Final = {
    "active_connections": Metric("ActiveConnectionCount", "connections", "Open connections with clients and targets, now."),
    "active_flows": Metric("ActiveFlowCount", "connections", "Connections of TCP and TLS listeners that have their target, now."),
    "active_tunnels": Metric("ActiveTunnelCount", "tunnels", "Open tunnels, now."),
    "active_waiting": Metric("ActiveWaitingRequestCount", "requests", "Requests that wait for a target with room, now."),
    "app_cookie_non_sticky_requests": Metric(
        "AppCookieNonStickinessCount", "requests", "Requests to a group with `AppCookie` that brought no session, and got a fresh target."
    ),
    "client_tls_errors": Metric("ClientTLSNegotiationErrorCount", "connections", "TLS handshakes with clients that failed."),
    "cookies_refused": Metric(
        "StickinessCookieRefusedCount", "requests", "Requests with a stickiness cookie that is expired, forged or of another configuration."
    ),
    "desync_non_compliant": Metric(
        "DesyncMitigationMode_NonCompliant_Request_Count", "requests", "Requests that do not comply with RFC 9112, refused or not."
    ),
    "dns_failures": Metric("DnsFailureCount", "queries", "Look-ups of a `DnsName` that no name server answered."),
    "dropped_invalid_headers": Metric(
        "DroppedInvalidHeaderRequestCount", "requests", "Requests of which fields with irregular names were dropped."
    ),
    "elb_3xx": Metric("HTTPCode_ELB_3XX_Count", "responses", "Redirects that the load balancer sent."),
    "elb_4xx": Metric("HTTPCode_ELB_4XX_Count", "responses", "Errors 400 to 499 that the load balancer generated."),
    "elb_5xx": Metric("HTTPCode_ELB_5XX_Count", "responses", "Errors 500 to 599 that the load balancer generated."),
    "elb_500": Metric("HTTPCode_ELB_500_Count", "responses", "Errors 500 that the load balancer generated."),
    "elb_502": Metric("HTTPCode_ELB_502_Count", "responses", "Errors 502 that the load balancer generated."),
    "elb_503": Metric("HTTPCode_ELB_503_Count", "responses", "Errors 503 that the load balancer generated."),
    "elb_504": Metric("HTTPCode_ELB_504_Count", "responses", "Errors 504 that the load balancer generated."),
    "fixed_responses": Metric("HTTP_Fixed_Response_Count", "responses", "`FixedResponse` actions that answered a request."),
    "forwarded_invalid_headers": Metric(
        "ForwardedInvalidHeaderRequestCount", "requests", "Requests with irregular field names that were forwarded."
    ),
    "idle_connections_closed": Metric(
        "IdleTargetConnectionsClosedCount", "connections", "Idle connections to targets that the load balancer closed."
    ),
    "new_connections": Metric("NewConnectionCount", "connections", "Connections that were opened, with clients and with targets."),
    "non_sticky_requests": Metric(
        "NonStickyRequestCount", "requests", "Requests to a sticky group that brought no session, and got a fresh target."
    ),
    "reading_paused": Metric(
        "ReadingPausedCount", "pauses", "Times that reading one side was paused because the other takes its bytes more slowly."
    ),
    "redirect_url_limit_exceeded": Metric(
        "HTTP_Redirect_Url_Limit_Exceeded_Count", "responses", "Redirects whose Location would exceed 8 KiB, answered with 507."
    ),
    "redirects": Metric("HTTP_Redirect_Count", "responses", "`Redirect` actions that answered a request."),
    "rejected_connections": Metric(
        "RejectedConnectionCount", "connections", "Client connections that were closed at once because there were too many."
    ),
    "rule_evaluations": Metric("RuleEvaluations", "rules", "Rules that were evaluated. The default rule does not count."),
    "tunnel_pings": Metric("TunnelPingCount", "pings", "WebSocket pings that the load balancer sent."),
}
"""By slot of `Counters`: what is counted for the load balancer as a whole."""

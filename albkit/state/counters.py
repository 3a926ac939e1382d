"""What has been counted since the load balancer was made, under ALB's metric names (docs/alb.md 8)."""

from __future__ import annotations

from collections import Counter

import attrs

from albkit.errors import FailureKind
from albkit.model.tunnel import TunnelEnd

__all__ = ("Counters",)


@attrs.define(eq=False, weakref_slot=False)
class Counters:
    """Plain integers to be incremented where things happen, and one mapping of them all to be read."""

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
    ejections: int = 0
    elb_3xx: int = 0
    elb_4xx: int = 0
    elb_500: int = 0
    elb_502: int = 0
    elb_503: int = 0
    elb_504: int = 0
    elb_5xx: int = 0
    fixed_responses: int = 0
    forwarded_invalid_headers: int = 0
    flows: int = 0
    idle_connections_closed: int = 0
    new_connections: int = 0
    non_sticky_requests: int = 0
    processed_bytes: int = 0
    reading_paused: int = 0
    redirect_url_limit_exceeded: int = 0
    redirects: int = 0
    rejected_connections: int = 0
    rejected_requests: int = 0
    requests: int = 0
    retries: int = 0
    rule_evaluations: int = 0
    target_2xx: int = 0
    target_3xx: int = 0
    target_4xx: int = 0
    target_5xx: int = 0
    target_connection_errors: int = 0
    target_tls_errors: int = 0
    tunnel_pings: int = 0
    unhealthy_routing_requests: int = 0
    tunnels: int = 0
    failures: Counter[FailureKind] = attrs.field(factory=Counter)
    tunnel_ends: Counter[TunnelEnd] = attrs.field(factory=Counter)

    def as_mapping(self) -> dict[str, int]:
        """Every counter by name: ALB's where ALB has one.

        Failures are `Failure_` and their reason, tunnels that are over `TunnelEnd_` and what ended them; a gauge starts with `Active`.
        """
        named = {metric: getattr(self, slot) for slot, metric in _METRICS.items()}
        named.update((f"Failure_{kind.reason}", self.failures[kind]) for kind in FailureKind)
        named.update((f"TunnelEnd_{end.title().replace(' ', '')}", self.tunnel_ends[end]) for end in TunnelEnd)
        return named


_METRICS = {
    "active_connections": "ActiveConnectionCount",
    "active_flows": "ActiveFlowCount",
    "active_tunnels": "ActiveTunnelCount",
    "active_waiting": "ActiveWaitingRequestCount",
    "app_cookie_non_sticky_requests": "AppCookieNonStickinessCount",
    "client_tls_errors": "ClientTLSNegotiationErrorCount",
    "cookies_refused": "StickinessCookieRefusedCount",
    "desync_non_compliant": "DesyncMitigationMode_NonCompliant_Request_Count",
    "dns_failures": "DnsFailureCount",
    "ejections": "TargetEjectionCount",
    "dropped_invalid_headers": "DroppedInvalidHeaderRequestCount",
    "elb_3xx": "HTTPCode_ELB_3XX_Count",
    "elb_4xx": "HTTPCode_ELB_4XX_Count",
    "elb_5xx": "HTTPCode_ELB_5XX_Count",
    "elb_500": "HTTPCode_ELB_500_Count",
    "elb_502": "HTTPCode_ELB_502_Count",
    "elb_503": "HTTPCode_ELB_503_Count",
    "elb_504": "HTTPCode_ELB_504_Count",
    "flows": "NewFlowCount",
    "fixed_responses": "HTTP_Fixed_Response_Count",
    "forwarded_invalid_headers": "ForwardedInvalidHeaderRequestCount",
    "idle_connections_closed": "IdleTargetConnectionsClosedCount",
    "new_connections": "NewConnectionCount",
    "non_sticky_requests": "NonStickyRequestCount",
    "processed_bytes": "ProcessedBytes",
    "reading_paused": "ReadingPausedCount",
    "redirect_url_limit_exceeded": "HTTP_Redirect_Url_Limit_Exceeded_Count",
    "redirects": "HTTP_Redirect_Count",
    "rejected_connections": "RejectedConnectionCount",
    "rejected_requests": "TargetControlRequestRejectCount",
    "requests": "RequestCount",
    "retries": "RetryCount",
    "rule_evaluations": "RuleEvaluations",
    "target_2xx": "HTTPCode_Target_2XX_Count",
    "target_3xx": "HTTPCode_Target_3XX_Count",
    "target_4xx": "HTTPCode_Target_4XX_Count",
    "target_5xx": "HTTPCode_Target_5XX_Count",
    "target_connection_errors": "TargetConnectionErrorCount",
    "target_tls_errors": "TargetTLSNegotiationErrorCount",
    "tunnel_pings": "TunnelPingCount",
    "tunnels": "TunnelCount",
    "unhealthy_routing_requests": "UnhealthyRoutingRequestCount",
}

"""The names and meanings of all counters: the tables from which docs/counters.md is made."""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ("DERIVED_METRICS", "HOST_METRICS", "LISTENER_METRICS", "LOAD_METRICS", "METRICS", "RULE_HITS", "TRAFFIC_METRICS", "Metric")


@attrs.frozen
class Metric:
    """One row of docs/counters.md."""

    name: str
    """The name that ALB uses, if ALB has such a metric."""
    unit: str
    """A plural noun."""
    meaning: str
    """One sentence in Markdown."""


TRAFFIC_METRICS: Final = {
    "requests": Metric("RequestCount", "requests", "Requests for which a target was chosen. Retries do not count again."),
    "grpc_requests": Metric("GrpcRequestCount", "requests", "gRPC requests for which a target was chosen. They count as requests as well."),
    "target_2xx": Metric("HTTPCode_Target_2XX_Count", "responses", "Responses of targets with a status of 200 to 299."),
    "target_3xx": Metric("HTTPCode_Target_3XX_Count", "responses", "Responses of targets with a status of 300 to 399."),
    "target_4xx": Metric("HTTPCode_Target_4XX_Count", "responses", "Responses of targets with a status of 400 to 499."),
    "target_5xx": Metric("HTTPCode_Target_5XX_Count", "responses", "Responses of targets with a status of 500 to 599."),
    "target_connection_errors": Metric(
        "TargetConnectionErrorCount",
        "connections",
        "Connections to targets that failed, not counting health checks and TLS handshakes.",
    ),
    "target_tls_errors": Metric("TargetTLSNegotiationErrorCount", "connections", "TLS handshakes with targets that failed."),
    "processed_bytes": Metric(
        "ProcessedBytes",
        "bytes",
        "Bytes received from and sent to clients, heads and WebSocket frames included. Added when an exchange or tunnel ends.",
    ),
    "retries": Metric("RetryCount", "requests", "Retries after an attempt failed. Counted for the target that is tried next."),
    "tunnels": Metric("TunnelCount", "tunnels", "Tunnels that were opened: WebSockets, other upgrades, TCP and TLS connections."),
    "flows": Metric("NewFlowCount", "connections", "Connections of TCP and TLS listeners for which a target was chosen."),
    "unhealthy_routing_requests": Metric(
        "UnhealthyRoutingRequestCount", "requests", "Requests that were routed while the target group failed open."
    ),
    "ejections": Metric("TargetEjectionCount", "ejections", "Times that a target was ejected because requests failed (outlier ejection)."),
    "rejected_requests": Metric(
        "TargetControlRequestRejectCount", "requests", "Requests answered with 503 because all targets were at `max_concurrency`."
    ),
}
"""By attribute of `TrafficCounters`: the metrics per target, per target group and for the load balancer."""

METRICS: Final = {
    "active_connections": Metric("ActiveConnectionCount", "connections", "Connections with clients and targets that are open now."),
    "active_flows": Metric("ActiveFlowCount", "connections", "Connections of TCP and TLS listeners that are open now and have a target."),
    "active_tunnels": Metric("ActiveTunnelCount", "tunnels", "Tunnels that are open now."),
    "active_waiting": Metric(
        "ActiveWaitingRequestCount", "requests", "Requests that are queued now: all targets are at `max_concurrency`."
    ),
    "app_cookie_non_sticky_requests": Metric(
        "AppCookieNonStickinessCount", "requests", "Requests without a session to a group with `AppCookie`. A target was chosen anew."
    ),
    "client_tls_errors": Metric("ClientTLSNegotiationErrorCount", "connections", "TLS handshakes with clients that failed."),
    "cookies_refused": Metric(
        "StickinessCookieRefusedCount",
        "requests",
        "Requests whose stickiness cookie was ignored, because it is expired, forged or of another configuration.",
    ),
    "desync_non_compliant": Metric(
        "DesyncMitigationMode_NonCompliant_Request_Count",
        "requests",
        "Requests that do not comply with RFC 9112, rejected or not.",
    ),
    "dns_failures": Metric("DnsFailureCount", "queries", "Queries for a `DnsName` that no name server answered."),
    "dropped_invalid_headers": Metric(
        "DroppedInvalidHeaderRequestCount", "requests", "Requests from which header fields with irregular names were dropped."
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
        "ForwardedInvalidHeaderRequestCount", "requests", "Requests that were forwarded with header fields with irregular names."
    ),
    "http2_connections": Metric("Http2ConnectionCount", "connections", "Connections of clients that use HTTP/2."),
    "http2_stream_resets": Metric("Http2StreamResetCount", "streams", "HTTP/2 streams that clients reset before their end."),
    "idle_connections_closed": Metric(
        "IdleTargetConnectionsClosedCount", "connections", "Idle connections to targets that the load balancer closed."
    ),
    "log_lines_dropped": Metric(
        "LogLinesDroppedCount", "lines", "Lines of logs that were lost, because the file or function did not take them in time, or failed."
    ),
    "new_connections": Metric("NewConnectionCount", "connections", "Connections with clients and targets that were opened."),
    "non_sticky_requests": Metric(
        "NonStickyRequestCount", "requests", "Requests without a session to a sticky group. A target was chosen anew."
    ),
    "reading_paused": Metric(
        "ReadingPausedCount",
        "pauses",
        "Times that reading from one side was paused because the other is slower (backpressure).",
    ),
    "redirect_url_limit_exceeded": Metric(
        "HTTP_Redirect_Url_Limit_Exceeded_Count", "responses", "Redirects whose `Location` would exceed 8 KiB. The response is a 507."
    ),
    "redirects": Metric("HTTP_Redirect_Count", "responses", "`Redirect` actions that answered a request."),
    "rejected_connections": Metric(
        "RejectedConnectionCount", "connections", "Client connections that were closed right after they were accepted, because of a limit."
    ),
    "rule_evaluations": Metric("RuleEvaluations", "rules", "Rules that were evaluated. The default action does not count."),
    "tunnel_pings": Metric("TunnelPingCount", "pings", "WebSocket pings that the load balancer sent."),
}
"""By attribute of `Counters`: the metrics for the load balancer only."""

HOST_METRICS: Final = (
    Metric("HealthyHostCount", "targets", "Targets whose state is `healthy`, now."),
    Metric("UnHealthyHostCount", "targets", "Targets whose state is `unhealthy`, now."),
    Metric("AnomalousHostCount", "targets", "Targets that anomaly detection finds anomalous, now."),
    Metric(
        "MitigatedHostCount",
        "targets",
        "Targets that get less than their share, now: ejected, on probation, or mitigated for an anomaly.",
    ),
)
"""The gauges per target group and for the load balancer: how many targets are in which state."""

LOAD_METRICS: Final = (
    Metric("ActiveRequestCount", "requests", "Requests and tunnels that are outstanding now."),
    Metric("OpenTunnelCount", "tunnels", "Open tunnels, and requests for one that the target has not answered yet."),
    Metric(
        "LastActivityTime",
        "seconds since 1970",
        "When the last exchange or tunnel ended; now, while one is in flight. 0 if there has been none since the load balancer started.",
    ),
    Metric(
        "TargetResponseTime",
        "seconds",
        "How long targets took to answer: from the last byte of the request head that was sent to the last of the response head. For a "
        "tunnel, the time of its handshake. Not for TCP and TLS listeners.",
    ),
)
"""Further metrics of `LoadBalancer.metrics`, per target, per target group and for the load balancer."""

DERIVED_METRICS: Final = (
    Metric(
        "RequestCountPerTarget",
        "requests",
        "`RequestCount` divided by the number of healthy targets; by the number of registered ones if none is healthy.",
    ),
)
"""Further metrics of `LoadBalancer.metrics`, per target group."""

RULE_HITS: Final = Metric("RuleHitCount", "requests", "Requests, or connections of a TCP or TLS listener, that the rule was applied to.")
"""The metric of a rule."""

LISTENER_METRICS: Final = {
    "exchanges": Metric("ExchangeCount", "exchanges", "Exchanges, tunnels and rejected connections that ended."),
    "processed_bytes": Metric(
        "ProcessedBytes",
        "bytes",
        "Bytes received from and sent to clients, heads and WebSocket frames included. Added when an exchange or tunnel ends.",
    ),
    "responses_2xx": Metric("HTTPCode_2XX_Count", "responses", "Responses to clients with a status of 200 to 299."),
    "responses_3xx": Metric("HTTPCode_3XX_Count", "responses", "Responses to clients with a status of 300 to 399."),
    "responses_4xx": Metric("HTTPCode_4XX_Count", "responses", "Responses to clients with a status of 400 to 499."),
    "responses_5xx": Metric("HTTPCode_5XX_Count", "responses", "Responses to clients with a status of 500 to 599."),
    "active_connections": Metric("ActiveConnectionCount", "connections", "Connections of clients that are open now."),
    "new_connections": Metric("NewConnectionCount", "connections", "Connections of clients that were admitted."),
    "rejected_connections": Metric(
        "RejectedConnectionCount",
        "connections",
        "Connections of clients that were closed right after they were accepted, for a limit.",
    ),
}
"""By attribute of `ListenerCounters`: the metrics per listener."""

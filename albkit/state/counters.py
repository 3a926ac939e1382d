"""What has been counted since the load balancer was made, under ALB's metric names (alb-reference 8)."""

from __future__ import annotations

from collections import Counter

from albkit.errors import FailureKind

__all__ = ("Counters",)


class Counters:
    """Plain integers to be incremented where things happen, and one mapping of them all to be read."""

    __slots__ = (
        "active_connections",
        "active_tunnels",
        "desync_non_compliant",
        "dropped_invalid_headers",
        "elb_4xx",
        "elb_5xx",
        "elb_500",
        "elb_502",
        "elb_503",
        "elb_504",
        "failures",
        "fixed_responses",
        "forwarded_invalid_headers",
        "idle_connections_closed",
        "new_connections",
        "non_sticky_requests",
        "processed_bytes",
        "reading_paused",
        "rejected_connections",
        "requests",
        "retries",
        "rule_evaluations",
        "target_2xx",
        "target_3xx",
        "target_4xx",
        "target_5xx",
        "target_connection_errors",
        "tunnels",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)
        self.failures: Counter[FailureKind] = Counter()

    active_connections: int
    active_tunnels: int
    desync_non_compliant: int
    dropped_invalid_headers: int
    elb_4xx: int
    elb_5xx: int
    elb_500: int
    elb_502: int
    elb_503: int
    elb_504: int
    fixed_responses: int
    forwarded_invalid_headers: int
    idle_connections_closed: int
    new_connections: int
    non_sticky_requests: int
    processed_bytes: int
    reading_paused: int
    rejected_connections: int
    requests: int
    retries: int
    rule_evaluations: int
    target_2xx: int
    target_3xx: int
    target_4xx: int
    target_5xx: int
    target_connection_errors: int
    tunnels: int

    def as_mapping(self) -> dict[str, int]:
        """Every counter by name: ALB's where ALB has one; failures as `Failure_` and their reason; a gauge starts with `Active`."""
        named = {metric: getattr(self, slot) for slot, metric in _METRICS.items()}
        named.update((f"Failure_{kind.reason}", self.failures[kind]) for kind in FailureKind)
        return named


_METRICS = {
    "active_connections": "ActiveConnectionCount",
    "active_tunnels": "ActiveTunnelCount",
    "desync_non_compliant": "DesyncMitigationMode_NonCompliant_Request_Count",
    "dropped_invalid_headers": "DroppedInvalidHeaderRequestCount",
    "elb_4xx": "HTTPCode_ELB_4XX_Count",
    "elb_5xx": "HTTPCode_ELB_5XX_Count",
    "elb_500": "HTTPCode_ELB_500_Count",
    "elb_502": "HTTPCode_ELB_502_Count",
    "elb_503": "HTTPCode_ELB_503_Count",
    "elb_504": "HTTPCode_ELB_504_Count",
    "fixed_responses": "HTTP_Fixed_Response_Count",
    "forwarded_invalid_headers": "ForwardedInvalidHeaderRequestCount",
    "idle_connections_closed": "IdleTargetConnectionsClosedCount",
    "new_connections": "NewConnectionCount",
    "non_sticky_requests": "NonStickyRequestCount",
    "processed_bytes": "ProcessedBytes",
    "reading_paused": "ReadingPausedCount",
    "rejected_connections": "RejectedConnectionCount",
    "requests": "RequestCount",
    "retries": "RetryCount",
    "rule_evaluations": "RuleEvaluations",
    "target_2xx": "HTTPCode_Target_2XX_Count",
    "target_3xx": "HTTPCode_Target_3XX_Count",
    "target_4xx": "HTTPCode_Target_4XX_Count",
    "target_5xx": "HTTPCode_Target_5XX_Count",
    "target_connection_errors": "TargetConnectionErrorCount",
    "tunnels": "TunnelCount",
}

"""The settings of `TargetGroup`, `ConsistentHash`, `Ejection` and `HealthCheck` that are numbers or one of a few words."""

from __future__ import annotations

from typing import Final

from albkit.model.attributes.attribute import Attribute

__all__ = ("SETTINGS",)

SETTINGS: Final = (
    Attribute(
        "TargetGroup", "algorithm", "load_balancing.algorithm.type", "round_robin",
        choices=(
            "round_robin", "least_outstanding_requests", "weighted_random", "ip_hash", "consistent_hash", "least_response_time",
            "by_traffic",
        ),
        meaning="How to choose a target for a request without a session. weighted_random cannot be combined with stickiness. "
        "`ConsistentHash(...)` and an object of your own (`albkit.extensions.Algorithm`) are accepted as well.",
    ),
    Attribute(
        "TargetGroup", "anomaly_mitigation", "load_balancing.algorithm.anomaly_mitigation", "off", choices=("on", "off"),
        meaning="Whether a target that fails more often than its peers gets a smaller share of the requests; only with weighted_random.",
    ),
    Attribute(
        "TargetGroup", "waiting_line", "", 100, minimum=0, maximum=1000000, whole=True,
        meaning="How many requests may wait while every target has reached its `max_concurrency`; further ones get 503 at once.",
    ),
    Attribute(
        "TargetGroup", "waiting_timeout", "", 1, unit="seconds", minimum=0, maximum=4000, above_minimum=True,
        meaning="How long a request waits for a free target; then it gets 503.",
    ),
    Attribute(
        "TargetGroup", "ejection", "", "auto", choices=("auto",),
        meaning="Which failing targets get no new requests for a while (outlier ejection). auto: in a group without `health_check`, a "
        "target that refuses connections, times out or fails the TLS handshake is ejected for 10 seconds, and for up to 60 if it "
        "keeps failing; the last target is never ejected. `Ejection(...)`: targets that fail requests, by its settings. None: no "
        "target.",
    ),
    Attribute(
        "TargetGroup", "protocol", "Protocol", None, choices=("HTTP", "HTTPS", "TCP", "TLS"),
        meaning="The protocol of target connections. None means each target's own, else HTTP, or TCP behind TCP and TLS listeners.",
    ),
    Attribute(
        "TargetGroup", "protocol_version", "ProtocolVersion", "HTTP1", choices=("HTTP1", "HTTP2", "GRPC"),
        meaning="The HTTP version of target connections. HTTP2 uses HTTP/2: by ALPN with HTTPS targets, by prior knowledge with HTTP ones. "
        "GRPC also uses HTTP/2, and accepts gRPC requests and other POST requests only. Requests that do not fit get 464.",
    ),
    Attribute(
        "TargetGroup", "proxy_protocol", "proxy_protocol_v2.enabled", None, choices=("v1", "v2"),
        meaning="The version of the PROXY protocol header that is sent first on each target connection; None for no header.",
    ),
    Attribute(
        "TargetGroup", "slow_start", "slow_start.duration_seconds", 0, unit="seconds", minimum=0, maximum=900,
        meaning="How long the share of requests grows to its full size after a target has become healthy; 0 gives it the full share at "
        "once.",
    ),
    Attribute(
        "TargetGroup", "deregistration_delay", "deregistration_delay.timeout_seconds", 300, unit="seconds", minimum=0, maximum=3600,
        meaning="How long exchanges and tunnels of a deregistered target may continue before they are ended.",
    ),
    Attribute(
        "ConsistentHash", "load_bound", "", 1.25, unit="times the mean", minimum=1, maximum=100, above_minimum=True,
        meaning="How many outstanding requests a target may have, relative to its weighted share of the mean; None for no limit.",
    ),
    Attribute(
        "Ejection", "consecutive_failures", "", 5, minimum=1, maximum=1000, whole=True,
        meaning="How many requests in a row must fail (no connection, or no response) to eject the target; None for no such limit.",
    ),
    Attribute(
        "Ejection", "anomalies", "", True, meaning="Eject a target whose error rate stands out from that of its peers.",
    ),
    Attribute(
        "Ejection", "duration", "", 30, unit="seconds", minimum=0, maximum=86400, above_minimum=True,
        meaning="How long the first ejection lasts; each further one in a row lasts twice as long.",
    ),
    Attribute(
        "Ejection", "max_duration", "", 300, unit="seconds", minimum=0, maximum=86400, above_minimum=True,
        meaning="The longest ejection.",
    ),
    Attribute(
        "Ejection", "max_percent", "", 50, unit="percent", minimum=1, maximum=100, whole=True,
        meaning="How many of a group's targets may be ejected at the same time. One always may, if the group has others.",
    ),
    Attribute(
        "Ejection", "probation", "", 5, minimum=1, maximum=1000, whole=True,
        meaning="How many responses in a row a target must give after an ejection, one request at a time, before it gets its full share "
        "again.",
    ),
    Attribute(
        "HealthCheck", "port", "HealthCheckPort", None, minimum=1, maximum=65535, whole=True,
        meaning="The port to check; None for the target's own.",
    ),
    Attribute(
        "HealthCheck", "protocol", "HealthCheckProtocol", None, choices=("HTTP", "HTTPS", "TCP", "WEBSOCKET"),
        meaning="The protocol of the check; None for HTTP or HTTPS, the same as for requests to the target.",
    ),
    Attribute(
        "HealthCheck", "interval", "HealthCheckIntervalSeconds", 30, unit="seconds", minimum=0.001, maximum=300,
        meaning="The time between the starts of two checks of a target.",
    ),
    Attribute(
        "HealthCheck", "timeout", "HealthCheckTimeoutSeconds", 5, unit="seconds", minimum=0, maximum=120, above_minimum=True,
        meaning="How long a check may take.",
    ),
    Attribute(
        "HealthCheck", "healthy_threshold", "HealthyThresholdCount", 5, minimum=1, maximum=10, whole=True,
        meaning="How many checks in a row must pass to make an unhealthy target healthy; one is enough for a new target.",
    ),
    Attribute(
        "HealthCheck", "unhealthy_threshold", "UnhealthyThresholdCount", 2, minimum=1, maximum=10, whole=True,
        meaning="How many checks in a row must fail to make a target unhealthy.",
    ),
)  # fmt: skip

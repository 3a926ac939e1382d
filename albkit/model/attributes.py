"""Every setting that is a number or one of a few words: its name, ALB's key, range, default, unit and meaning.

The classes of `albkit.model` take their defaults from this table and check their values against it; `docs/reference.md` is made from it. A
range is ALB's if it protects the user, and wider if ALB's limit only protects AWS.
"""

from __future__ import annotations

import attrs

from albkit.model.ssl_policy import SSL_POLICIES

__all__ = ("ATTRIBUTES", "Attribute", "default", "fault")


@attrs.frozen
class Attribute:
    """One setting: its name here and in ALB, the values that it accepts, and what it does."""

    owner: str
    name: str
    key: str
    default: object
    meaning: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    above_minimum: bool = False
    whole: bool = False
    choices: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """The accepted values, as text."""
        if self.choices:
            return ", ".join(repr(choice) for choice in self.choices)
        if self.minimum is None:
            return "True, False" if isinstance(self.default, bool) else ""
        opening = f"above {self.minimum}" if self.above_minimum else f"{self.minimum}"
        if self.maximum is not None:
            return f"{opening} to {self.maximum}"
        return opening if self.above_minimum else f"{opening} or more"


_TABLE = (
    Attribute(
        "LoadBalancer", "idle_timeout", "idle_timeout.timeout_seconds", 60, unit="seconds", minimum=0, maximum=4000, above_minimum=True,
        meaning="How long a client or target connection may stay open without a byte in either direction. Then the client gets 408 if a "
        "request was expected, or 504 if the target's response was; between two requests, the load balancer just closes the "
        "connection.",
    ),
    Attribute(
        "LoadBalancer", "client_keep_alive", "client_keep_alive.seconds", 3600, unit="seconds", minimum=0, maximum=604800,
        above_minimum=True, meaning="The age at which a client connection gets one more response and is then closed.",
    ),
    Attribute(
        "LoadBalancer", "desync_mitigation_mode", "routing.http.desync_mitigation_mode", "defensive",
        choices=("monitor", "defensive", "strictest"),
        meaning="What happens to requests that two servers might parse differently (HTTP desync, request smuggling). monitor passes "
        "everything that can be parsed; defensive rejects severe cases, and closes both connections after an ambiguous request; "
        "strictest rejects every request that does not comply with the RFCs.",
    ),
    Attribute(
        "LoadBalancer", "drop_invalid_header_fields", "routing.http.drop_invalid_header_fields.enabled", False,
        meaning="Remove request headers whose name contains anything but letters, digits and hyphens.",
    ),
    Attribute(
        "LoadBalancer", "preserve_host_header", "routing.http.preserve_host_header.enabled", False,
        meaning="Send the Host header to the target exactly as the client sent it; otherwise in lower case, with the listener's port "
        "unless that is 80 or 443.",
    ),
    Attribute(
        "LoadBalancer", "xff_header_processing", "routing.http.xff_header_processing.mode", "append",
        choices=("append", "preserve", "remove"),
        meaning="What happens to X-Forwarded-For: the client's address is appended, the header passes unchanged, or it is removed.",
    ),
    Attribute(
        "LoadBalancer", "xff_client_port", "routing.http.xff_client_port.enabled", False,
        meaning="Add the client's port to X-Forwarded-For (in append mode).",
    ),
    Attribute(
        "LoadBalancer", "x_amzn_tls_version_and_cipher_suite", "routing.http.x_amzn_tls_version_and_cipher_suite.enabled", False,
        meaning="Add X-Amzn-Tls-Version and X-Amzn-Tls-Cipher-Suite to requests, with the TLS version and cipher suite of the client's "
        "connection.",
    ),
    Attribute(
        "LoadBalancer", "certificate_check_interval", "", 5, unit="seconds", minimum=0, maximum=86400, above_minimum=True,
        meaning="How often to check the files of certificates, keys, trust stores and revocation lists for changes. Changes take effect "
        "for new connections.",
    ),
    Attribute(
        "LoadBalancer", "stop_timeout", "", 5, unit="seconds", minimum=0,
        meaning="How long exchanges and tunnels may continue after stop() was called, before they are cut.",
    ),
    Attribute(
        "Limits", "request_line", "", 16384, unit="bytes", minimum=64, maximum=1048576, whole=True,
        meaning="The longest request line; a longer one gets 414.",
    ),
    Attribute(
        "Limits", "request_field", "", 16384, unit="bytes", minimum=64, maximum=1048576, whole=True,
        meaning="The longest header of a request; a longer one gets 400.",
    ),
    Attribute(
        "Limits", "request_head", "", 65536, unit="bytes", minimum=64, maximum=16777216, whole=True,
        meaning="The largest request head; a larger one gets 400.",
    ),
    Attribute(
        "Limits", "request_fields", "", 200, minimum=1, maximum=10000, whole=True, meaning="The most headers of a request; more get 400."
    ),
    Attribute(
        "Limits", "response_head", "", 32768, unit="bytes", minimum=64, maximum=16777216, whole=True,
        meaning="The largest response head of a target; a larger one becomes 502.",
    ),
    Attribute(
        "Limits", "early_bytes", "", 65536, unit="bytes", minimum=0, maximum=16777216, whole=True,
        meaning="How much of what a client sends during an exchange is buffered (pipelined requests, or data before the 101 of an "
        "upgrade); beyond it, the load balancer stops reading from the client.",
    ),
    Attribute(
        "Limits", "in_flight", "", 65536, unit="bytes", minimum=1024, maximum=1073741824, whole=True,
        meaning="How much data may wait to be sent in each direction; beyond it, the load balancer stops reading from the sender.",
    ),
    Attribute(
        "Limits", "connect_timeout", "", 10, unit="seconds", minimum=0, maximum=4000, above_minimum=True,
        meaning="How long a target may take to accept a connection; then the client gets 504.",
    ),
    Attribute(
        "Limits", "handshake_timeout", "", 10, unit="seconds", minimum=0, maximum=4000, above_minimum=True,
        meaning="How long a client may take before its first request: for a PROXY protocol header and the TLS handshake together.",
    ),
    Attribute(
        "Limits", "target_handshake_timeout", "", 10, unit="seconds", minimum=0, maximum=4000, above_minimum=True,
        meaning="How long a target may take for the TLS handshake; then the client gets 504.",
    ),
    Attribute(
        "Limits", "request_head_timeout", "", None, unit="seconds", minimum=0, maximum=4000, above_minimum=True,
        meaning="How long a client may take for a whole request head, from its first byte; then it gets 408. None means the idle timeout.",
    ),
    Attribute(
        "Limits", "request_body_rate", "", 0, unit="bytes per second", minimum=0, maximum=1000000000,
        meaning="The slowest rate at which a client may send a request body, measured over any 5 seconds in which the load balancer waits "
        "for it; a slower client gets 408. 0 requires only one byte per idle timeout.",
    ),
    Attribute(
        "Limits", "hook_timeout", "", 30, unit="seconds", minimum=0, maximum=4000, above_minimum=True,
        meaning="How long an action of your own may take; then it is cancelled and the client gets 500.",
    ),
    Attribute(
        "Limits", "idle_target_connections", "", None, minimum=0, maximum=100000, whole=True,
        meaning="How many idle connections to keep per target; others are closed, and 0 keeps none. None keeps 1024, or the highest number "
        "in use at the same time during the last minute, if that is more.",
    ),
    Attribute(
        "Limits", "target_keep_alive", "", 60, unit="seconds", minimum=0, maximum=604800,
        meaning="How long to keep an idle target connection, unless the target asks for less; then it is closed.",
    ),
    Attribute("Rule", "priority", "Priority", None, minimum=1, maximum=50000,
        meaning="Unique within the listener. Rules are evaluated from the lowest priority to the highest.",
    ),
    Attribute("Listener", "port", "Port", None, minimum=0, maximum=65535, meaning="The port to listen on; 0 takes a free one."),
    Attribute(
        "Listener", "protocol", "Protocol", "HTTP", choices=("HTTP", "HTTPS", "TCP", "TLS"), meaning="The protocol of client connections."
    ),
    Attribute(
        "Listener", "ssl_policy", "SslPolicy", "ELBSecurityPolicy-TLS13-1-2-Res-2021-06", choices=tuple(SSL_POLICIES),
        meaning="The TLS versions and ciphers that clients may use.",
    ),
    Attribute(
        "Listener", "alpn_policy", "AlpnPolicy", "None", choices=("None", "HTTP1Only", "HTTP2Only", "HTTP2Optional", "HTTP2Preferred"),
        meaning="Which protocol a TLS listener negotiates with clients that use ALPN.",
    ),
    Attribute(
        "Listener", "proxy_protocol", "", None, choices=("required", "optional"),
        meaning="Whether connections begin with a PROXY protocol header; None if they do not.",
    ),
    Attribute(
        "Listener", "max_connections", "", None, minimum=1, maximum=10000000, whole=True,
        meaning="How many client connections may be open; further ones are closed at once. None for no limit but the process's file "
        "descriptors.",
    ),
    Attribute(
        "Listener", "max_connections_per_client", "", None, minimum=1, maximum=10000000, whole=True,
        meaning="The same for one client address, or for one /64 network of IPv6; None for no limit.",
    ),
    Attribute(
        "Listener", "reuse_port", "", False,
        meaning="Share the port with the sockets of other processes that also set SO_REUSEPORT; the kernel assigns each connection to one "
        "of them.",
    ),
    Attribute(
        "Listener", "backlog", "", 4096, minimum=1, maximum=65535, whole=True,
        meaning="How many connections may wait to be accepted; the system may have a lower limit (net.core.somaxconn on Linux).",
    ),
    Attribute(
        "MutualAuthentication", "mode", "Mode", None, choices=("passthrough", "verify", "off"),
        meaning="Whether to pass a client's certificate to the target unverified, or to verify it; off requests none.",
    ),
    Attribute(
        "MutualAuthentication", "ignore_client_certificate_expiry", "IgnoreClientCertificateExpiry", False,
        meaning="Accept expired client certificates that are otherwise valid.",
    ),
    Attribute(
        "MutualAuthentication", "advertise_trust_store_ca_names", "AdvertiseTrustStoreCaNames", False,
        meaning="Send clients the names of the CAs in the trust store, so that they can choose a matching certificate.",
    ),
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
        "ConsistentHash", "load_bound", "", 1.25, unit="times the mean", minimum=1, maximum=100, above_minimum=True,
        meaning="How many outstanding requests a target may have, relative to its weighted share of the mean; None for no limit.",
    ),
    Attribute(
        "TargetGroup", "ejection", "", "auto", choices=("auto",),
        meaning="Which failing targets get no new requests for a while (outlier ejection). auto: in a group without `health_check`, a "
        "target that refuses connections, times out or fails the TLS handshake is ejected for 10 seconds, and for up to 60 if it "
        "keeps failing; the last target is never ejected. `Ejection(...)`: targets that fail requests, by its settings. None: no "
        "target.",
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
        "TargetGroup", "protocol", "Protocol", None, choices=("HTTP", "HTTPS", "TCP", "TLS"),
        meaning="The protocol of target connections. None means each target's own, else HTTP, or TCP behind TCP and TLS listeners.",
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
    Attribute(
        "Target", "weight", "", 1, minimum=0, maximum=999,
        meaning="The target's share of the group's new requests, relative to the weights of the others; 0 gets none, unless all weights "
        "are 0.",
    ),
    Attribute(
        "Target", "max_concurrency", "", None, minimum=1, maximum=1000000, whole=True,
        meaning="The most requests that the target handles at the same time. Further ones go to another target, wait, or get 503. None for "
        "no limit.",
    ),
    Attribute(
        "Target", "standby", "", False,
        meaning="Send requests only while no other target of the group is in use, or after the others have failed a request.",
    ),
    Attribute("Target", "port", "Port", None, minimum=1, maximum=65535, meaning="The target's port; a unix socket has none."),
    Attribute(
        "Target", "protocol", "", None, choices=("HTTP", "HTTPS"),
        meaning="The protocol of connections to this target; None for that of its group."
    ),
    Attribute(
        "Forward", "stickiness", "TargetGroupStickinessConfig.DurationSeconds", None, unit="seconds", minimum=1,
        maximum=604800,
        meaning="How long a client stays with its target group (cookies AWSALBTG and AWSALBTGCORS); None for no stickiness. Required if "
        "one of several groups has stickiness of its own.",
    ),
    Attribute(
        "Forward", "on_failure", "", "rebalance", choices=("rebalance", "fail"),
        meaning="What happens to a session whose target group has no targets left: rebalance chooses by weight among the groups that have "
        "some; fail answers 503, as ALB does.",
    ),
    Attribute(
        "TunnelPolicy", "idle_timeout", "", None, unit="seconds", minimum=0, maximum=31536000, above_minimum=True,
        meaning="How long a tunnel may stay open without a byte in either direction; None for the load balancer's idle timeout.",
    ),
    Attribute(
        "TunnelPolicy", "ping_interval", "", None, unit="seconds", minimum=0, maximum=31536000, above_minimum=True,
        meaning="How long one side of a WebSocket may send nothing before the load balancer pings it; None for no pings.",
    ),
    Attribute(
        "TunnelPolicy", "pong_timeout", "", 20, unit="seconds", minimum=0, maximum=31536000, above_minimum=True,
        meaning="How long a pinged side may send nothing before it is considered dead.",
    ),
    Attribute(
        "TunnelPolicy", "max_age", "", None, unit="seconds", minimum=0, maximum=31536000, above_minimum=True,
        meaning="The age at which a tunnel is closed; None for no limit.",
    ),
    Attribute(
        "TunnelPolicy", "max_tunnels", "", None, minimum=1, whole=True,
        meaning="The most tunnels of one target; an upgrade that finds no free target gets 503. None for no limit.",
    ),
    Attribute(
        "TunnelPolicy", "recheck_every", "", 60, unit="seconds", minimum=0, maximum=31536000, above_minimum=True,
        meaning="How often `recheck` is called for a tunnel.",
    ),
    Attribute(
        "TunnelPolicy", "max_message_size", "", None, unit="bytes", minimum=1, whole=True,
        meaning="The largest WebSocket message on the wire; after a larger one, both sides get Close 1009. None for no limit.",
    ),
    Attribute(
        "TunnelPolicy", "drain_code", "", 1001, minimum=1000, maximum=4999, whole=True,
        meaning="The code of the Close frame that the tunnels of a deregistered target get: 1000 to 1003, 1007 to 1014, or 3000 to 4999.",
    ),
    Attribute(
        "TunnelPolicy", "drain_spread", "", 30, unit="seconds", minimum=0, maximum=3600,
        meaning="The length of the last part of the deregistration delay, in which a target's tunnels are closed one by one.",
    ),
    Attribute("TunnelPolicy", "frames", "", True,
        meaning="Parse the WebSocket frames, which pings and Close frames of the load balancer require.",
    ),
    Attribute(
        "LbCookie", "duration", "stickiness.lb_cookie.duration_seconds", 86400, unit="seconds", minimum=1, maximum=604800,
        meaning="How long a session stays with its target after the latest response.",
    ),
    Attribute(
        "LbCookie", "while_draining", "", "rebalance", choices=("rebalance", "honor"),
        meaning="What happens to a session whose target is deregistered: rebalance sends it to another target; honor keeps it until the "
        "deregistration delay is over.",
    ),
    Attribute(
        "AppCookie", "duration", "stickiness.app_cookie.duration_seconds", 86400, unit="seconds", minimum=1, maximum=604800,
        meaning="How long a session stays with its target after the latest response.",
    ),
    Attribute(
        "AppCookie", "while_draining", "", "rebalance", choices=("rebalance", "honor"), meaning="As for LbCookie.",
    ),
    Attribute(
        "RouteSuffix", "while_draining", "", "rebalance", choices=("rebalance", "honor"), meaning="As for LbCookie.",
    ),
    Attribute(
        "DnsName", "port", "", None, minimum=1, maximum=65535, whole=True, meaning="The targets' port; SRV records include their own.",
    ),
    Attribute(
        "DnsName", "record_type", "", "A/AAAA", choices=("A/AAAA", "A", "AAAA", "SRV"), meaning="The record types to query.",
    ),
    Attribute(
        "DnsName", "min_ttl", "", 1, unit="seconds", minimum=0, maximum=86400, above_minimum=True,
        meaning="The shortest time between two queries, even if the records' time to live is shorter.",
    ),
    Attribute(
        "DnsName", "max_ttl", "", 300, unit="seconds", minimum=0, maximum=86400, above_minimum=True,
        meaning="The longest time between two queries, even if the records' time to live is longer.",
    ),
    Attribute(
        "DnsName", "hold", "", 30, unit="seconds", minimum=0, maximum=86400,
        meaning="How long the targets stay after an answer without any address. While there is no answer at all, they stay indefinitely.",
    ),
    Attribute(
        "DnsName", "timeout", "", 5, unit="seconds", minimum=0, maximum=60, above_minimum=True, meaning="How long to wait for an answer.",
    ),
    Attribute(
        "Redirect", "protocol", "Protocol", "#{protocol}", choices=("HTTP", "HTTPS", "#{protocol}"),
        meaning="The protocol of the redirect's URL.",
    ),
    Attribute(
        "Redirect", "status_code", "StatusCode", 302, minimum=301, maximum=302,
        meaning="301 for a permanent redirect, 302 for a temporary one."
    ),
    Attribute("FixedResponse", "status_code", "StatusCode", None, minimum=200, maximum=599, meaning="The status code: 2xx, 4xx or 5xx."),
    Attribute(
        "FixedResponse", "content_type", "ContentType", "text/plain",
        choices=("text/plain", "text/css", "text/html", "application/javascript", "application/json"),
        meaning="The type of the body; charset=utf-8 is added.",
    ),
)  # fmt: skip

ATTRIBUTES = {(attribute.owner, attribute.name): attribute for attribute in _TABLE}


def default(owner: str, name: str) -> object:
    """Return the default of a setting."""
    return ATTRIBUTES[owner, name].default


def fault(owner: str, name: str, value: object) -> str | None:
    """Say what is wrong with `value` for this setting and what would be right; `None` if it is valid."""
    attribute = ATTRIBUTES[owner, name]
    if attribute.choices:
        good = isinstance(value, str) and value in attribute.choices
        return None if good else f"{value!r} is not one of {attribute.range}"
    if isinstance(attribute.default, bool):
        return None if isinstance(value, bool) else f"{value!r} is neither True nor False"
    # True and False are integers for Python. NaN, the only number that differs from itself, would pass every comparison below.
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return f"{value!r} is not a number; {attribute.range} {attribute.unit}".rstrip()
    # A setting without a unit is a count.
    if (attribute.whole or not attribute.unit) and not isinstance(value, int):
        return f"{value!r} is not a whole number; {attribute.range}"
    low, high = attribute.minimum, attribute.maximum
    if (low is not None and (value < low or (attribute.above_minimum and value == low))) or (high is not None and value > high):
        return f"{value!r} is out of range; {attribute.range} {attribute.unit}".rstrip()
    return None

"""Every setting that is a number or one of a few words, once: its name here, ALB's key, range, default and unit.

The classes of this floor take their defaults from this table and check against it; the reference page is made from it. Ranges are
ALB's where they protect the user, and wider where ALB's bound only protects AWS.
"""

from __future__ import annotations

import attrs

from albkit.model.ssl_policy import SSL_POLICIES

__all__ = ("ATTRIBUTES", "Attribute", "default", "fault")


@attrs.frozen
class Attribute:
    """One setting: what it is called here and in ALB, what it takes, and what it does."""

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
        """The values taken, for a person."""
        if self.choices:
            return ", ".join(repr(choice) for choice in self.choices)
        if self.minimum is None:
            return "True, False" if isinstance(self.default, bool) else ""
        opening = f"above {self.minimum}" if self.above_minimum else f"{self.minimum}"
        if self.maximum is not None:
            return f"{opening} to {self.maximum}"
        return opening if self.above_minimum else f"{opening} and more"


_TABLE = (
    Attribute(
        "LoadBalancer", "idle_timeout", "idle_timeout.timeout_seconds", 60, unit="seconds", minimum=0, maximum=4000, above_minimum=True,
        meaning="How long a client or target connection may stay without a byte in either direction; then 408 where a request was awaited, "
        "504 where the target was, and a silent close between two requests.",
    ),
    Attribute(
        "LoadBalancer", "client_keep_alive", "client_keep_alive.seconds", 3600, unit="seconds", minimum=0, maximum=604800,
        above_minimum=True, meaning="The age at which a client connection gets one more answer and is then closed.",
    ),
    Attribute(
        "LoadBalancer", "desync_mitigation_mode", "routing.http.desync_mitigation_mode", "defensive",
        choices=("monitor", "defensive", "strictest"),
        meaning="What becomes of requests that two servers might read in two ways: monitor lets pass what can be parsed; defensive refuses "
        "severe ones, and closes both connections behind ambiguous ones; strictest refuses all that do not comply.",
    ),
    Attribute(
        "LoadBalancer", "drop_invalid_header_fields", "routing.http.drop_invalid_header_fields.enabled", False,
        meaning="Remove request header fields whose name holds anything but letters, digits and hyphens.",
    ),
    Attribute(
        "LoadBalancer", "preserve_host_header", "routing.http.preserve_host_header.enabled", False,
        meaning="Send the Host field to the target exactly as the client sent it; else in lower case, with the listener's port unless that "
        "is 80 or 443.",
    ),
    Attribute(
        "LoadBalancer", "xff_header_processing", "routing.http.xff_header_processing.mode", "append",
        choices=("append", "preserve", "remove"),
        meaning="What happens to X-Forwarded-For: the client's address is appended, the field passes untouched, or it is removed.",
    ),
    Attribute(
        "LoadBalancer", "xff_client_port", "routing.http.xff_client_port.enabled", False,
        meaning="Write the client's port into X-Forwarded-For (in append mode).",
    ),
    Attribute(
        "LoadBalancer", "x_amzn_tls_version_and_cipher_suite", "routing.http.x_amzn_tls_version_and_cipher_suite.enabled", False,
        meaning="Tell targets of the client's TLS: X-Amzn-Tls-Version and X-Amzn-Tls-Cipher-Suite.",
    ),
    Attribute(
        "LoadBalancer", "certificate_check_interval", "", 5, unit="seconds", minimum=0, maximum=86400, above_minimum=True,
        meaning="How often files of certificates, keys, trust stores and revocation lists are looked at; what has changed is in force for "
        "new connections at once.",
    ),
    Attribute(
        "LoadBalancer", "stop_timeout", "", 5, unit="seconds", minimum=0,
        meaning="How long exchanges and tunnels may go on after stop() was called, before they are cut.",
    ),
    Attribute(
        "Limits", "request_line", "", 16384, unit="bytes", minimum=64, maximum=1048576, whole=True,
        meaning="The longest request line; above it 414.",
    ),
    Attribute(
        "Limits", "request_field", "", 16384, unit="bytes", minimum=64, maximum=1048576, whole=True,
        meaning="The longest field of a request; above it 400.",
    ),
    Attribute(
        "Limits", "request_head", "", 65536, unit="bytes", minimum=64, maximum=16777216, whole=True,
        meaning="The largest request head; above it 400.",
    ),
    Attribute(
        "Limits", "request_fields", "", 200, minimum=1, maximum=10000, whole=True, meaning="The most fields of a request; above it 400."
    ),
    Attribute(
        "Limits", "response_head", "", 32768, unit="bytes", minimum=64, maximum=16777216, whole=True,
        meaning="The largest response head of a target; above it 502.",
    ),
    Attribute(
        "Limits", "early_bytes", "", 65536, unit="bytes", minimum=0, maximum=16777216, whole=True,
        meaning="What is kept of a client's bytes while its exchange is going on (pipelined requests, or what comes before a 101); above "
        "it the client is not read.",
    ),
    Attribute(
        "Limits", "in_flight", "", 65536, unit="bytes", minimum=1024, maximum=1073741824, whole=True,
        meaning="What may wait to be sent in each direction; above it the sender is not read.",
    ),
    Attribute(
        "Limits", "connect_timeout", "", 10, unit="seconds", minimum=0, maximum=4000, above_minimum=True,
        meaning="How long a target may take to accept a connection; then 504.",
    ),
    Attribute(
        "Limits", "handshake_timeout", "", 10, unit="seconds", minimum=0, maximum=4000, above_minimum=True,
        meaning="How long a client may take for what comes before its first request: a PROXY protocol header, and the TLS handshake.",
    ),
    Attribute(
        "Limits", "target_handshake_timeout", "", 10, unit="seconds", minimum=0, maximum=4000, above_minimum=True,
        meaning="How long a target may take for the TLS handshake; then 504.",
    ),
    Attribute(
        "Limits", "request_head_timeout", "", None, unit="seconds", minimum=0, maximum=4000, above_minimum=True,
        meaning="How long a whole request head may take from its first byte; then 408. None for the idle timeout.",
    ),
    Attribute(
        "Limits", "request_body_rate", "", 0, unit="bytes per second", minimum=0, maximum=1000000000,
        meaning="What a client must send of a request body at least, over any 5 seconds in which it is waited for; else 408. 0 asks for "
        "nothing but a byte per idle timeout.",
    ),
    Attribute(
        "Limits", "hook_timeout", "", 30, unit="seconds", minimum=0, maximum=4000, above_minimum=True,
        meaning="How long an action of the program's own may take; then it is cancelled and the client told 500.",
    ),
    Attribute(
        "Limits", "idle_target_connections", "", None, minimum=0, maximum=100000, whole=True,
        meaning="How many idle connections are kept per target; what is above it is closed, and 0 keeps none. None keeps 1024, or as many "
        "as were in use at a time in the last minute where that is more.",
    ),
    Attribute(
        "Limits", "target_keep_alive", "", 60, unit="seconds", minimum=0, maximum=604800,
        meaning="How long an idle target connection is kept, unless the target says less; then it is closed.",
    ),
    Attribute("Rule", "priority", "Priority", None, minimum=1, maximum=50000, meaning="Unique within the listener; lower is tried first."),
    Attribute("Listener", "port", "Port", None, minimum=0, maximum=65535, meaning="The port to listen on; 0 takes a free one."),
    Attribute(
        "Listener", "protocol", "Protocol", "HTTP", choices=("HTTP", "HTTPS", "TCP", "TLS"), meaning="The protocol spoken with clients."
    ),
    Attribute(
        "Listener", "ssl_policy", "SslPolicy", "ELBSecurityPolicy-TLS13-1-2-Res-2021-06", choices=tuple(SSL_POLICIES),
        meaning="The versions of TLS and the ciphers that clients are offered.",
    ),
    Attribute(
        "Listener", "alpn_policy", "AlpnPolicy", "None", choices=("None", "HTTP1Only", "HTTP2Only", "HTTP2Optional", "HTTP2Preferred"),
        meaning="What a TLS listener agrees on with clients that ask for a protocol.",
    ),
    Attribute(
        "Listener", "proxy_protocol", "", None, choices=("required", "optional"),
        meaning="Whether connections begin with a PROXY protocol header; None for no.",
    ),
    Attribute(
        "Listener", "max_connections", "", None, minimum=1, maximum=10000000, whole=True,
        meaning="How many client connections may be open; a further one is closed at once. None for as many as there are descriptors for.",
    ),
    Attribute(
        "Listener", "max_connections_per_client", "", None, minimum=1, maximum=10000000, whole=True,
        meaning="The same for one client address, of IPv6 for one /64 network; None for no limit.",
    ),
    Attribute(
        "Listener", "reuse_port", "", False,
        meaning="Share the port with other processes whose sockets say the same (SO_REUSEPORT): the system gives each connection to one.",
    ),
    Attribute(
        "Listener", "backlog", "", 4096, minimum=1, maximum=65535, whole=True,
        meaning="How many connections may wait to be accepted; the system may have a lower bound of its own.",
    ),
    Attribute(
        "MutualAuthentication", "mode", "Mode", None, choices=("passthrough", "verify", "off"),
        meaning="Whether a client's certificate is handed on as it is, or verified; off asks for none.",
    ),
    Attribute(
        "MutualAuthentication", "ignore_client_certificate_expiry", "IgnoreClientCertificateExpiry", False,
        meaning="Take certificates that have expired, if all else is right.",
    ),
    Attribute(
        "MutualAuthentication", "advertise_trust_store_ca_names", "AdvertiseTrustStoreCaNames", False,
        meaning="Tell clients the names of the CAs in the trust store, to choose a certificate by.",
    ),
    Attribute(
        "TargetGroup", "algorithm", "load_balancing.algorithm.type", "round_robin",
        choices=(
            "round_robin", "least_outstanding_requests", "weighted_random", "ip_hash", "consistent_hash", "least_response_time",
            "by_traffic",
        ),
        meaning="How a target is chosen for a request without a session; weighted_random does not go with stickiness. "
        "`ConsistentHash(...)` and an object of your own will do as well (`albkit.extensions.Algorithm`).",
    ),
    Attribute(
        "TargetGroup", "anomaly_mitigation", "load_balancing.algorithm.anomaly_mitigation", "off", choices=("on", "off"),
        meaning="Whether a target that fails more often than its peers gets a smaller share; only with weighted_random.",
    ),
    Attribute(
        "TargetGroup", "waiting_line", "", 100, minimum=0, maximum=1000000, whole=True,
        meaning="How many requests may wait while all targets have as many as `max_concurrency` lets them; further ones get 503 at once.",
    ),
    Attribute(
        "TargetGroup", "waiting_timeout", "", 1, unit="seconds", minimum=0, maximum=4000, above_minimum=True,
        meaning="How long a request waits for a target with room; then 503.",
    ),
    Attribute(
        "ConsistentHash", "load_bound", "", 1.25, unit="times the mean", minimum=1, maximum=100, above_minimum=True,
        meaning="How many requests a target may have outstanding in relation to the mean by weight; None for as many as come.",
    ),
    Attribute(
        "TargetGroup", "ejection", "", "auto", choices=("auto",),
        meaning="Which targets get no new requests for a while because they fail. auto: in a group without `health_check` one whose "
        "connection is refused, times out or fails in TLS, for 10 seconds, and for up to 60 where it goes on failing; never the last one. "
        "`Ejection(...)`: those that fail their requests as it says. None: nobody.",
    ),
    Attribute(
        "Ejection", "consecutive_failures", "", 5, minimum=1, maximum=1000, whole=True,
        meaning="Requests in a row on which a target failed (no connection, no answer) that eject it; None for no such limit.",
    ),
    Attribute(
        "Ejection", "anomalies", "", True, meaning="Eject a target whose share of errors stands out from its peers'.",
    ),
    Attribute(
        "Ejection", "duration", "", 30, unit="seconds", minimum=0, maximum=86400, above_minimum=True,
        meaning="How long a target is ejected for the first time; twice as long the second time in a row, and so on.",
    ),
    Attribute(
        "Ejection", "max_duration", "", 300, unit="seconds", minimum=0, maximum=86400, above_minimum=True,
        meaning="The longest ejection.",
    ),
    Attribute(
        "Ejection", "max_percent", "", 50, unit="percent", minimum=1, maximum=100, whole=True,
        meaning="How many of a group's targets may be ejected at any time; one always may where there are others.",
    ),
    Attribute(
        "Ejection", "probation", "", 5, minimum=1, maximum=1000, whole=True,
        meaning="Answers that a target that comes back must give without a failure, one request at a time.",
    ),
    Attribute(
        "TargetGroup", "protocol", "Protocol", None, choices=("HTTP", "HTTPS", "TCP", "TLS"),
        meaning="The protocol spoken with targets; None for each target's own, where it has none HTTP, TCP behind TCP and TLS listeners.",
    ),
    Attribute(
        "TargetGroup", "proxy_protocol", "proxy_protocol_v2.enabled", None, choices=("v1", "v2"),
        meaning="Which version of the PROXY protocol connections to targets begin with; None for no header.",
    ),
    Attribute(
        "TargetGroup", "slow_start", "slow_start.duration_seconds", 0, unit="seconds", minimum=0, maximum=900,
        meaning="How long the share of a target that has become healthy grows to its full size; 0 gives it all at once.",
    ),
    Attribute(
        "TargetGroup", "deregistration_delay", "deregistration_delay.timeout_seconds", 300, unit="seconds", minimum=0, maximum=3600,
        meaning="How long exchanges and tunnels of a deregistered target may go on before they are ended.",
    ),
    Attribute(
        "HealthCheck", "port", "HealthCheckPort", None, minimum=1, maximum=65535, whole=True,
        meaning="The port that is asked; None for the target's own.",
    ),
    Attribute(
        "HealthCheck", "protocol", "HealthCheckProtocol", None, choices=("HTTP", "HTTPS", "TCP", "WEBSOCKET"),
        meaning="How a target is asked; None for HTTP or HTTPS, whichever is spoken with it.",
    ),
    Attribute(
        "HealthCheck", "interval", "HealthCheckIntervalSeconds", 30, unit="seconds", minimum=0.001, maximum=300,
        meaning="Between the beginnings of two checks of a target.",
    ),
    Attribute(
        "HealthCheck", "timeout", "HealthCheckTimeoutSeconds", 5, unit="seconds", minimum=0, maximum=120, above_minimum=True,
        meaning="How long a check may take.",
    ),
    Attribute(
        "HealthCheck", "healthy_threshold", "HealthyThresholdCount", 5, minimum=1, maximum=10, whole=True,
        meaning="Checks in a row that make an unhealthy target healthy; one is enough for a new one.",
    ),
    Attribute(
        "HealthCheck", "unhealthy_threshold", "UnhealthyThresholdCount", 2, minimum=1, maximum=10, whole=True,
        meaning="Failed checks in a row that make a target unhealthy.",
    ),
    Attribute(
        "Target", "weight", "", 1, minimum=0, maximum=999,
        meaning="The target's share of new requests among those of its group; 0 gets none, unless all have 0.",
    ),
    Attribute(
        "Target", "max_concurrency", "", None, minimum=1, maximum=1000000, whole=True,
        meaning="The most requests that the target has at any time; further ones go elsewhere, wait, or get 503. None for no limit.",
    ),
    Attribute(
        "Target", "standby", "", False,
        meaning="Get requests only while no other target of the group is in use, and when the others have failed one.",
    ),
    Attribute("Target", "port", "Port", None, minimum=1, maximum=65535, meaning="The target's port; a unix socket has none."),
    Attribute(
        "Target", "protocol", "", None, choices=("HTTP", "HTTPS"), meaning="The protocol spoken with this target; None for its group's."
    ),
    Attribute(
        "Forward", "stickiness", "TargetGroupStickinessConfig.DurationSeconds", None, unit="seconds", minimum=1,
        maximum=604800,
        meaning="How long a client stays with its target group (cookies AWSALBTG and AWSALBTGCORS); None for no stickiness. Needed when "
        "one of several groups has stickiness of its own.",
    ),
    Attribute(
        "Forward", "on_failure", "", "rebalance", choices=("rebalance", "fail"),
        meaning="What becomes of a session whose target group has no targets left: chosen again by weight among the groups that have some, "
        "or 503 as in ALB.",
    ),
    Attribute(
        "TunnelPolicy", "idle_timeout", "", None, unit="seconds", minimum=0, maximum=31536000, above_minimum=True,
        meaning="How long a tunnel may stay without a byte in either direction; None for the load balancer's.",
    ),
    Attribute(
        "TunnelPolicy", "ping_interval", "", None, unit="seconds", minimum=0, maximum=31536000, above_minimum=True,
        meaning="A side of a WebSocket from which nothing has come for so long is pinged; None for no pings.",
    ),
    Attribute(
        "TunnelPolicy", "pong_timeout", "", 20, unit="seconds", minimum=0, maximum=31536000, above_minimum=True,
        meaning="How long a side that was pinged may say nothing before it counts as dead.",
    ),
    Attribute(
        "TunnelPolicy", "max_age", "", None, unit="seconds", minimum=0, maximum=31536000, above_minimum=True,
        meaning="The age at which a tunnel is closed; None for no limit.",
    ),
    Attribute(
        "TunnelPolicy", "max_tunnels", "", None, minimum=1, whole=True,
        meaning="The most tunnels of one target; 503 where no target has room. None for no limit.",
    ),
    Attribute(
        "TunnelPolicy", "recheck_every", "", 60, unit="seconds", minimum=0, maximum=31536000, above_minimum=True,
        meaning="How often `recheck` is asked whether a tunnel may go on.",
    ),
    Attribute(
        "TunnelPolicy", "max_message_size", "", None, unit="bytes", minimum=1, whole=True,
        meaning="The largest WebSocket message on the wire; above it both sides get Close 1009. None for no limit.",
    ),
    Attribute(
        "TunnelPolicy", "drain_code", "", 1001, minimum=1000, maximum=4999, whole=True,
        meaning="The code of the Close frame that tunnels of a deregistered target get: 1000 to 1003, 1007 to 1014, or 3000 to 4999.",
    ),
    Attribute(
        "TunnelPolicy", "drain_spread", "", 30, unit="seconds", minimum=0, maximum=3600,
        meaning="The last so many seconds of the deregistration delay are those in which tunnels are closed, one by one.",
    ),
    Attribute("TunnelPolicy", "frames", "", True, meaning="Follow WebSocket frames, for pings and Close frames between them."),
    Attribute(
        "LbCookie", "duration", "stickiness.lb_cookie.duration_seconds", 86400, unit="seconds", minimum=1, maximum=604800,
        meaning="How long a session stays with its target after the latest response.",
    ),
    Attribute(
        "LbCookie", "while_draining", "", "rebalance", choices=("rebalance", "honor"),
        meaning="Whether a session whose target is deregistered goes to another one, or stays until the deregistration delay is over.",
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
        "DnsName", "port", "", None, minimum=1, maximum=65535, whole=True, meaning="The targets' port; SRV records bring their own.",
    ),
    Attribute(
        "DnsName", "record_type", "", "A/AAAA", choices=("A/AAAA", "A", "AAAA", "SRV"), meaning="What is asked for.",
    ),
    Attribute(
        "DnsName", "min_ttl", "", 1, unit="seconds", minimum=0, maximum=86400, above_minimum=True,
        meaning="Asked again at the earliest so long after an answer, however short its time to live.",
    ),
    Attribute(
        "DnsName", "max_ttl", "", 300, unit="seconds", minimum=0, maximum=86400, above_minimum=True,
        meaning="Asked again at the latest so long after an answer.",
    ),
    Attribute(
        "DnsName", "hold", "", 30, unit="seconds", minimum=0, maximum=86400,
        meaning="How long the targets stay when the answer is that there are none; while there is no answer at all they stay for good.",
    ),
    Attribute(
        "DnsName", "timeout", "", 5, unit="seconds", minimum=0, maximum=60, above_minimum=True, meaning="How long an answer may take.",
    ),
    Attribute(
        "Redirect", "protocol", "Protocol", "#{protocol}", choices=("HTTP", "HTTPS", "#{protocol}"),
        meaning="The protocol that the client is sent to.",
    ),
    Attribute(
        "Redirect", "status_code", "StatusCode", 302, minimum=301, maximum=302, meaning="301 for good, 302 for now."
    ),
    Attribute("FixedResponse", "status_code", "StatusCode", None, minimum=200, maximum=599, meaning="The status: 2xx, 4xx or 5xx."),
    Attribute(
        "FixedResponse", "content_type", "ContentType", "text/plain",
        choices=("text/plain", "text/css", "text/html", "application/javascript", "application/json"),
        meaning="The type of the body; charset=utf-8 is added.",
    ),
)  # fmt: skip

ATTRIBUTES = {(attribute.owner, attribute.name): attribute for attribute in _TABLE}


def default(owner: str, name: str) -> object:
    """The default of one setting."""
    return ATTRIBUTES[owner, name].default


def fault(owner: str, name: str, value: object) -> str | None:
    """What is wrong with `value` for this setting and what would be right, or `None` when it will do."""
    attribute = ATTRIBUTES[owner, name]
    if attribute.choices:
        good = isinstance(value, str) and value in attribute.choices
        return None if good else f"{value!r} is not one of {attribute.range}"
    if isinstance(attribute.default, bool):
        return None if isinstance(value, bool) else f"{value!r} is neither True nor False"
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return f"{value!r} is not a number; {attribute.range} {attribute.unit}".rstrip()
    if (attribute.whole or not attribute.unit) and not isinstance(value, int):
        return f"{value!r} is not a whole number; {attribute.range}"
    low, high = attribute.minimum, attribute.maximum
    if (low is not None and (value < low or (attribute.above_minimum and value == low))) or (high is not None and value > high):
        return f"{value!r} is out of range; {attribute.range} {attribute.unit}".rstrip()
    return None

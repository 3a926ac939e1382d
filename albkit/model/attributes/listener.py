"""The settings of `Listener` and `MutualAuthentication` that are numbers or one of a few words."""

from __future__ import annotations

from typing import Final

from albkit.model.attributes.attribute import Attribute
from albkit.model.ssl_policy import SSL_POLICIES

__all__ = ("SETTINGS",)

SETTINGS: Final = (
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
        "Listener", "http2", "routing.http2.enabled", True,
        meaning="Accept HTTP/2 from clients, besides HTTP/1.1 on the same port: on HTTPS listeners by ALPN, on HTTP listeners by prior "
        "knowledge.",
    ),
    Attribute(
        "Listener", "http2_websocket", "", True,
        meaning="Let HTTP/2 clients open WebSockets on a stream of their connection (RFC 8441).",
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
)  # fmt: skip

"""The settings of `LoadBalancer` that are numbers or one of a few words."""

from __future__ import annotations

from typing import Final

from albkit.model.attributes.attribute import Attribute

__all__ = ("SETTINGS",)

SETTINGS: Final = (
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
)  # fmt: skip

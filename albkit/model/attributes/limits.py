"""The settings of `Limits`."""

from __future__ import annotations

from typing import Final

from albkit.model.attributes.attribute import Attribute

__all__ = ("SETTINGS",)

SETTINGS: Final = (
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
        meaning="How much data may wait to be sent in each direction; beyond it, the load balancer stops reading from the sender. It is "
        "also the flow control window of an HTTP/2 stream.",
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
    Attribute(
        "Limits", "http2_streams", "", 128, minimum=1, maximum=100000, whole=True,
        meaning="How many streams (requests and WebSockets) a client may have open at the same time on one HTTP/2 connection; further ones "
        "are refused with REFUSED_STREAM, which clients may retry. Also the most requests at the same time on one HTTP/2 connection to a "
        "target; another connection is opened for more.",
    ),
    Attribute(
        "Limits", "http2_requests", "", 10000, minimum=1, maximum=1000000000, whole=True,
        meaning="How many requests a client may send on one HTTP/2 connection; after them it gets GOAWAY, and must open a new connection.",
    ),
    Attribute(
        "Limits", "http2_field", "", 8192, unit="bytes", minimum=64, maximum=1048576, whole=True,
        meaning="The longest compressed header of an HTTP/2 request; a longer one ends the connection with GOAWAY.",
    ),
    Attribute(
        "Limits", "http2_resets", "", 200, minimum=1, maximum=1000000, whole=True,
        meaning="How many streams of one HTTP/2 connection may be reset beyond those that are completed; one more ends the connection with "
        "GOAWAY. Completed streams lower the count, and 30 seconds clear it.",
    ),
    Attribute(
        "Limits", "http2_control_frames", "", 1000, minimum=1, maximum=10000000, whole=True,
        meaning="How many frames without use a peer may send on one HTTP/2 connection beyond useful ones: SETTINGS, PING, PRIORITY, "
        "CONTINUATION, empty DATA, small WINDOW_UPDATE and unknown frames; one more ends the connection with GOAWAY. 10 seconds clear "
        "the count.",
    ),
    Attribute(
        "Limits", "http2_buffered_bytes", "", 67108864, unit="bytes", minimum=65536, maximum=68719476736, whole=True,
        meaning="How many bytes may wait on all HTTP/2 streams of the load balancer together, for a flow control window, a full socket or "
        "a target; beyond it, the connection that holds most of them is closed.",
    ),
)  # fmt: skip

"""Limits on what one peer may cost a load balancer."""

from __future__ import annotations

from typing import Any

import attrs

from albkit.model.attributes import default
from albkit.model.validation import Faults

__all__ = ("Limits",)


def _limit(name: str) -> Any:
    return attrs.field(default=default("Limits", name))


@attrs.frozen(kw_only=True)
class Limits:
    """Limits on what one peer may cost a load balancer. The defaults are ALB's if it has one (docs/alb.md 2.3, 2.9, 9).

    Args:
        request_line: Bytes of the request line; a longer one gets 414. Default: `16384`.
        request_field: Bytes of one header of a request; a longer one gets 400. Default: `16384`.
        request_head: Bytes of a whole request head; a larger one gets 400. Default: `65536`.
        request_fields: Number of headers of a request; more get 400. Default: `200`.
        response_head: Bytes of a whole response head of a target; a larger one becomes 502. Default: `32768`.
        early_bytes: Bytes that are buffered of what a client sends during an exchange (pipelined requests, or data before the 101 of an
            upgrade); beyond them, the load balancer stops reading from the client. Default: `65536`.
        in_flight: Bytes waiting to be sent in each direction of an exchange or tunnel; beyond them, the load balancer stops reading from
            the sender. It is also the flow control window of an HTTP/2 stream. Default: `65536`.
        connect_timeout: Seconds for a target to accept a connection; then the client gets 504. Default: `10`.
        handshake_timeout: Seconds for a client's PROXY protocol header and TLS handshake together; then its connection is closed. Default:
            `10`.
        target_handshake_timeout: Seconds for the TLS handshake with a target; then the client gets 504. Default: `10`.
        request_head_timeout: Seconds for a whole request head from its first byte; then the client gets 408. Default: `None`, the idle
            timeout.
        request_body_rate: Bytes per second that a client must send of a request body at least, measured over any 5 seconds in which the
            load balancer waits for it; a slower client gets 408. 0 requires only one byte per idle timeout. Default: `0`.
        hook_timeout: Seconds for an action of your own; then it is cancelled and the client gets 500. Default: `30`.
        idle_target_connections: Idle connections to keep per target; others are closed, and 0 keeps none. Default: `None`, which keeps
            1024, or the highest number in use at the same time during the last minute, if that is more.
        target_keep_alive: Seconds to keep an idle target connection, unless the target asks for less; then it is closed. Default: `60`.
        http2_streams: Streams (requests and WebSockets) that a client may have open at the same time on one HTTP/2 connection; further ones
            are refused with REFUSED_STREAM, which clients may retry. Also the most requests at the same time on one HTTP/2 connection to a
            target; another connection is opened for more. Default: `128`.
        http2_requests: Requests that a client may send on one HTTP/2 connection; after them it gets GOAWAY, and must open a new connection.
            Default: `10000`.
        http2_field: Compressed bytes of one header of an HTTP/2 request; a longer one ends the connection with GOAWAY. Default: `8192`.
        http2_resets: Streams of one HTTP/2 connection that may be reset beyond those that are completed; one more ends the connection with
            GOAWAY. Completed streams lower the count, and 30 seconds clear it. Default: `200`.
        http2_control_frames: Frames without use that a peer may send on one HTTP/2 connection beyond useful ones: SETTINGS, PING, PRIORITY,
            CONTINUATION, empty DATA, small WINDOW_UPDATE and unknown frames; one more ends the connection with GOAWAY. 10 seconds clear
            the count. Default: `1000`.
        http2_buffered_bytes: Bytes that may wait on all HTTP/2 streams of the load balancer together, for a flow control window, a full
            socket or a target; beyond it, the connection that holds most of them is closed. Default: `67108864`.

    Raises:
        ConfigurationError: lists every limit that is out of range.
    """

    request_line: int = _limit("request_line")
    request_field: int = _limit("request_field")
    request_head: int = _limit("request_head")
    request_fields: int = _limit("request_fields")
    response_head: int = _limit("response_head")
    early_bytes: int = _limit("early_bytes")
    in_flight: int = _limit("in_flight")
    connect_timeout: float = _limit("connect_timeout")
    handshake_timeout: float = _limit("handshake_timeout")
    target_handshake_timeout: float = _limit("target_handshake_timeout")
    request_head_timeout: float | None = _limit("request_head_timeout")
    request_body_rate: float = _limit("request_body_rate")
    hook_timeout: float = _limit("hook_timeout")
    idle_target_connections: int | None = _limit("idle_target_connections")
    target_keep_alive: float = _limit("target_keep_alive")
    http2_streams: int = _limit("http2_streams")
    http2_requests: int = _limit("http2_requests")
    http2_field: int = _limit("http2_field")
    http2_resets: int = _limit("http2_resets")
    http2_control_frames: int = _limit("http2_control_frames")
    http2_buffered_bytes: int = _limit("http2_buffered_bytes")

    def __attrs_post_init__(self) -> None:
        faults = Faults("Limits")
        names = [attribute.name for attribute in attrs.fields(Limits)]
        may_be_none = ("request_head_timeout", "idle_target_connections")
        faults.attribute(self, *(name for name in names if name not in may_be_none or getattr(self, name) is not None))
        faults.raise_if_any()

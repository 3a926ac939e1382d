"""The bounds that keep a load balancer small and quick whatever its peers do."""

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
    """Bounds on what one peer may ask of a load balancer. The defaults are ALB's where ALB has one (docs/alb.md 2.3, 2.9, 9).

    Args:
        request_line: Bytes of method, target and version, 16384 by default; above it 414.
        request_field: Bytes of one field of a request, 16384; above it 400.
        request_head: Bytes of a whole request head, 65536; above it 400.
        request_fields: Number of fields of a request, 200; above it 400.
        response_head: Bytes of a whole response head of a target, 32768; above it 502.
        early_bytes: Bytes kept of what a client sends while its exchange is going on (pipelined requests, or what comes before a 101),
            65536; above it the client is not read.
        in_flight: Bytes waiting to be sent in each direction of an exchange or tunnel, 65536; above it the sender is not read.
        connect_timeout: Seconds for a target to accept a connection, 10; then 504.
        handshake_timeout: Seconds for a client's PROXY protocol header and TLS handshake together, 10; then its connection is closed.
        target_handshake_timeout: Seconds for the TLS handshake with a target, 10; then 504.
        request_head_timeout: Seconds for a whole request head from its first byte; then 408. `None` (default) for the idle timeout.
        request_body_rate: Bytes per second of a request body that a client must send at least, over any 5 seconds in which it is waited
            for; else 408. 0 (default) asks for nothing but a byte per idle timeout.
        hook_timeout: Seconds for an action of the program's own, 30; then it is cancelled and the client told 500.
        idle_target_connections: Idle connections kept per target; what is above it is closed, and 0 keeps none. `None` (default) keeps
            1024, or as many as were in use at a time in the last minute where that is more.
        target_keep_alive: Seconds that an idle target connection is kept, 60, unless the target says less; then it is closed.

    Raises:
        ConfigurationError: listing every limit that is out of range.
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

    def __attrs_post_init__(self) -> None:
        faults = Faults("Limits")
        names = [attribute.name for attribute in attrs.fields(Limits)]
        may_be_none = ("request_head_timeout", "idle_target_connections")
        faults.attribute(self, *(name for name in names if name not in may_be_none or getattr(self, name) is not None))
        faults.raise_if_any()

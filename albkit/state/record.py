"""The record of one exchange, tunnel or rejected connection: everything that an access log, a metric or an event needs."""

from __future__ import annotations

from contextvars import Context
from typing import TYPE_CHECKING, Protocol

import attrs

from albkit.model.tunnel import TunnelEnd

if TYPE_CHECKING:
    from albkit.errors import Failure
    from albkit.model.message import ClientAddress, RequestHead
    from albkit.state.counters import Counters
    from albkit.state.listener import ListenerState
    from albkit.state.target import TargetState
    from albkit.state.target_group import TargetGroupState

__all__ = ("ExchangeRecord", "Trace", "Transformation", "TunnelRecord")


class Transformation:
    """What the transforms of a rule made of a request."""

    __slots__ = ("host", "status", "url")

    def __init__(self) -> None:
        self.host = ""
        """The Host header after it was rewritten; empty if it was not."""
        self.url = ""
        """Path and query after they were rewritten; empty if they were not."""
        self.status = "TransformSuccess"
        """As in ALB's access log (`request_transform_status`, docs/alb.md 7.1): `TransformInvalidHost` or `TransformInvalidPath` if the
        request failed because of the result."""


@attrs.frozen
class TunnelRecord:
    """How a tunnel, or a connection of a TCP or TLS listener, ended."""

    id: int
    protocol: str
    """The protocol that the target's 101 named, in lower case; `tcp` or `tls` for such a listener."""
    end: TunnelEnd | None
    close_code: int | None
    """As `Tunnel.close_code`."""
    duration: float
    """Seconds since the 101."""
    frames_in: int | None
    frames_out: int | None
    """WebSocket frames of the client and of the target; `None` if they were not followed."""


class Trace(Protocol):
    """The trace of one exchange, if tracing is on. No method raises, whatever happens inside the tracing library."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; empty if the exchange belongs to no trace. For logs."""

    @property
    def context(self) -> Context:
        """The context for code of the program: the span of the exchange is the current one in it. The same object each time."""

    def attempt_failed(self, target: TargetState, failure: Failure) -> None:
        """An attempt has just failed. Another may follow."""

    def tunnel_opened(self, record: ExchangeRecord) -> None:
        """The exchange became a tunnel. `ended` follows at the end of the tunnel."""

    def ended(self, record: ExchangeRecord) -> None:
        """The exchange or its tunnel has ended. The record is complete."""


class ExchangeRecord:
    """What happened in one exchange. Each step fills in its fields; `proxy.finish` reads them at the end.

    Times are seconds of the monotonic clock; 0 means that the step did not happen. A retry overwrites the fields of the attempt before
    it, so that they describe the last attempt. `failed_attempts` has the others.

    Args:
        client: The peer of the connection.
        protocol: As in `protocol`.
        listener: As in `listener`.
    """

    __slots__ = (
        "action",
        "answered_at",
        "attempts",
        "client",
        "elb_status_code",
        "ended_at",
        "failed_attempts",
        "failure",
        "group",
        "listener",
        "matched_rule_priority",
        "protocol",
        "received_at",
        "received_bytes",
        "redirect_url",
        "request",
        "responded_at",
        "rules_evaluated",
        "sent_at",
        "sent_bytes",
        "target",
        "target_status_code",
        "trace",
        "transformation",
        "tunnel",
    )

    def __init__(self, client: ClientAddress, protocol: str = "", listener: ListenerState | None = None) -> None:
        self.listener = listener
        """The listener that accepted the connection; `None` only in tests."""
        self.protocol = protocol
        """The client's protocol: `HTTP/1.1` (for HTTP/1.0 too) or `HTTP/2`. Empty for connections of TCP and TLS listeners, and for those
        that ended before their first request."""
        self.client = client
        """The peer of the connection. After the head was read, the client that a trusted proxy in front names, if there is one."""
        self.request: RequestHead | None = None
        """`None` if its head was rejected. Its `trace_id` is the one that was sent to the target."""
        self.received_at = 0.0
        """When the whole request head had been received."""
        self.sent_at = 0.0
        """When the request head was sent to the target."""
        self.answered_at = 0.0
        """When the whole response head had been received from the target."""
        self.responded_at = 0.0
        """When the load balancer began to send a response that took more than one write, or opened a tunnel. 0 for all others: they began
        when they ended."""
        self.ended_at = 0.0
        """When the exchange, tunnel or connection ended."""
        self.matched_rule_priority = -1
        """0 for the default action, -1 if the request failed before a rule matched."""
        self.rules_evaluated = 0
        """How many rules were evaluated. The default action does not count."""
        self.action = ""
        """The action that handled the request, named as in ALB's access log (`actions_executed`, docs/alb.md 7.1): `forward`, `redirect` or
        `fixed-response`. `hook` if a hook of the program sent the response. Empty if the request failed before an action was taken."""
        self.redirect_url = b""
        """The `Location` that a `Redirect` sent; empty for other actions."""
        self.group: TargetGroupState | None = None
        """The target group that was chosen."""
        self.target: TargetState | None = None
        """The target of the last attempt."""
        self.attempts = 0
        """How often the request was sent, or a connection for it was tried: 1 without retries."""
        # A list only if there is something to put in: nearly all requests succeed at the first attempt.
        self.failed_attempts: list[tuple[TargetState, Failure]] | None = None
        """The attempts that failed, in order; `None` if none did. If no attempt followed, the failure of the last one is also `failure`."""
        self.transformation: Transformation | None = None
        """What the transforms of the rule made of the request; `None` if it has none, or the request was not forwarded."""
        self.elb_status_code = 0
        """The status that the client received; 0 if none could be sent. If a gRPC client received a `grpc-status` in place of an error
        page, it is the status of that page."""
        self.target_status_code = 0
        """The status that the target sent; 0 if it sent none."""
        self.received_bytes = 0
        """Bytes from the client, the head included. For a tunnel, its whole lifetime."""
        self.sent_bytes = 0
        """Bytes to the client, the head included. For a tunnel, its whole lifetime."""
        self.failure: Failure | None = None
        """Why the exchange failed; `None` if it succeeded. `failure.kind.reason` is the error reason for a log."""
        self.tunnel: TunnelRecord | None = None
        """How the tunnel that the exchange opened has ended; `None` if it opened none."""
        self.trace: Trace | None = None
        """The trace of the exchange; `None` if it has none: tracing is off, or the request head was rejected."""

    def attempt_failed(self, target: TargetState, failure: Failure) -> None:
        """Note an attempt that failed. Another may follow."""
        # The frames of a traceback keep the exchange alive, and the record of a tunnel lives as long as the tunnel, maybe for days.
        failure.__traceback__ = None
        if self.failed_attempts is None:
            self.failed_attempts = []
        self.failed_attempts.append((target, failure))
        if self.trace is not None:
            self.trace.attempt_failed(target, failure)

    def count(self, counters: Counters) -> None:
        """Add the exchange to the counters of its target or, if it had none, of the load balancer. `proxy.finish` calls this once."""
        target = self.target
        status = self.target_status_code
        size = self.received_bytes + self.sent_bytes
        if target is not None:
            target.last_active_at = self.ended_at
            target.counters.exchange_ended(size, status)
        else:
            counters.traffic.exchange_ended(size, status)
        if self.listener is not None:
            self.listener.counters.exchange_ended(size, self.elb_status_code)
        failure = self.failure
        if self.rules_evaluated:
            counters.rules_evaluated(self.rules_evaluated)
        request = self.request
        if request is not None and (request.classification is not None or request.irregular_names):
            counters.head_judged(request)
        if failure is not None:
            counters.failed(failure)
            # HTTPCode_ELB_* counts responses that the load balancer generated. If a target had answered, the client received the target's
            # response, unless the load balancer discarded it and sent the status of the failure instead.
            if not status or self.elb_status_code == failure.kind.status:
                counters.responded(self.elb_status_code)
        # Redirects count as HTTPCode_ELB_3XX, while fixed responses have a metric of their own (docs/alb.md 8).
        elif not status and 300 <= self.elb_status_code < 400:
            counters.responded(self.elb_status_code)

"""The metrics of a load balancer since it was created, under ALB's metric names (docs/alb.md 8, docs/counters.md).

There are two classes:

- `TrafficCounters`, one per target: what is sent to the target and what it answers. A group's metrics are the sum over its targets, and the
  load balancer's the sum over its groups. So a request is counted once, in one place.
- `Counters`, one per load balancer: everything that has nothing to do with a target.

Only the methods of these classes change a counter. Each method is named after the event that its caller reports. To add a counter, add an
attribute, a method and a row in one of the tables of `metrics`, then run `python docs/make_counters.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import attrs

from albkit.errors import Failure, FailureKind
from albkit.model.message import RequestHead
from albkit.model.tunnel import TunnelEnd
from albkit.state.histogram import Histogram
from albkit.state.metrics import METRICS, TRAFFIC_METRICS

__all__ = ("Counters", "TrafficCounters", "failure_metric", "tunnel_end_metric")


# Slots and plain integers: adding to one costs less than any look-up by name, and these are on the path of every request.
@attrs.define(eq=False, weakref_slot=False)
class TrafficCounters:
    """The metrics of one target. A group keeps one more for its former targets, and a load balancer for its former groups."""

    requests: int = 0
    grpc_requests: int = 0
    target_2xx: int = 0
    target_3xx: int = 0
    target_4xx: int = 0
    target_5xx: int = 0
    target_connection_errors: int = 0
    target_tls_errors: int = 0
    processed_bytes: int = 0
    retries: int = 0
    tunnels: int = 0
    flows: int = 0
    unhealthy_routing_requests: int = 0
    ejections: int = 0
    rejected_requests: int = 0
    response_times: Histogram = attrs.field(factory=Histogram)
    """`TargetResponseTime`: from the last byte of a request head to the last of the response head, of attempts that got a response."""

    def request_routed(self, fails_open: bool) -> None:
        """The target was chosen for a request. Do not call this for retries.

        Args:
            fails_open: Whether the group sends requests to unhealthy targets, because too few are healthy.
        """
        self.requests += 1
        if fails_open:
            self.unhealthy_routing_requests += 1

    def grpc_request_routed(self) -> None:
        """The request of the last `request_routed` is a gRPC request."""
        self.grpc_requests += 1

    def flow_routed(self, fails_open: bool) -> None:
        """The target was chosen for a connection of a TCP or TLS listener.

        Args:
            fails_open: As in `request_routed`.
        """
        self.flows += 1
        if fails_open:
            self.unhealthy_routing_requests += 1

    def retried(self) -> None:
        """The target was chosen for a retry: another attempt at the request failed."""
        self.retries += 1

    def connection_failed(self, *, in_tls: bool) -> None:
        """A connection to the target could not be established.

        Args:
            in_tls: Whether TCP connected and the TLS handshake failed.
        """
        if in_tls:
            self.target_tls_errors += 1
        else:
            self.target_connection_errors += 1

    def exchange_ended(self, size: int, status: int) -> None:
        """An exchange or a tunnel ended. One method for bytes and status, because it is called for each request.

        Args:
            size: The bytes received from the client plus those sent to it.
            status: Of the target's response; 0 if there was none.
        """
        self.processed_bytes += size
        if status < 300:
            # A 101 counts as a tunnel, and ALB has no metric for 1xx.
            self.target_2xx += status >= 200
        elif status < 400:
            self.target_3xx += 1
        elif status < 500:
            self.target_4xx += 1
        else:
            self.target_5xx += 1

    def tunnel_opened(self) -> None:
        """A tunnel to the target was opened."""
        self.tunnels += 1

    def ejected(self) -> None:
        """The target was ejected."""
        self.ejections += 1

    def request_rejected(self) -> None:
        """A request got no target: all are at `max_concurrency`, and the queue is full or the request waited in it for too long."""
        self.rejected_requests += 1

    def add(self, other: TrafficCounters) -> None:
        """Add the counts of another object to these."""
        for slot in TRAFFIC_METRICS:
            setattr(self, slot, getattr(self, slot) + getattr(other, slot))
        self.response_times.add(other.response_times)

    @classmethod
    def total(cls, parts: Iterable[TrafficCounters]) -> TrafficCounters:
        """Return the sum of counters as a new object. Much faster than to `add` each."""
        parts = tuple(parts)
        sums = {slot: sum([getattr(part, slot) for part in parts]) for slot in TRAFFIC_METRICS}
        return cls(**sums, response_times=Histogram.total([part.response_times for part in parts]))

    def as_mapping(self) -> dict[str, int]:
        """Return every counter by its ALB name. `response_times` is not among them."""
        return {metric.name: getattr(self, slot) for slot, metric in TRAFFIC_METRICS.items()}


@attrs.define(eq=False, weakref_slot=False)
class Counters:
    """The metrics of one load balancer that belong to no target. `as_mapping` returns these and the sum over all targets."""

    active_connections: int = 0
    active_tunnels: int = 0
    active_waiting: int = 0
    active_flows: int = 0
    app_cookie_non_sticky_requests: int = 0
    client_tls_errors: int = 0
    cookies_refused: int = 0
    desync_non_compliant: int = 0
    dns_failures: int = 0
    dropped_invalid_headers: int = 0
    elb_3xx: int = 0
    elb_4xx: int = 0
    elb_500: int = 0
    elb_502: int = 0
    elb_503: int = 0
    elb_504: int = 0
    elb_5xx: int = 0
    fixed_responses: int = 0
    forwarded_invalid_headers: int = 0
    http2_connections: int = 0
    http2_stream_resets: int = 0
    idle_connections_closed: int = 0
    log_lines_dropped: int = 0
    new_connections: int = 0
    non_sticky_requests: int = 0
    reading_paused: int = 0
    redirect_url_limit_exceeded: int = 0
    redirects: int = 0
    rejected_connections: int = 0
    rule_evaluations: int = 0
    tunnel_pings: int = 0
    failures: Counter[FailureKind] = attrs.field(factory=Counter)
    tunnel_ends: Counter[TunnelEnd] = attrs.field(factory=Counter)
    traffic: TrafficCounters = attrs.field(factory=TrafficCounters)
    """The counts of target groups that were removed, and the bytes of exchanges without a target."""

    # Connections with clients and targets.

    def connection_opened(self) -> None:
        """A connection was opened. Call `connection_closed` when it ends."""
        self.active_connections += 1
        self.new_connections += 1

    def connection_closed(self) -> None:
        """A connection was closed, or a tunnel took it over."""
        self.active_connections -= 1

    def http2_connection_opened(self) -> None:
        """A client connection uses HTTP/2. Call `connection_opened` as well."""
        self.http2_connections += 1

    def http2_stream_reset(self) -> None:
        """A client reset an HTTP/2 stream."""
        self.http2_stream_resets += 1

    def connection_rejected(self) -> None:
        """A client connection was closed right after it was accepted, because of a limit."""
        self.rejected_connections += 1

    def client_handshake_failed(self) -> None:
        """A TLS handshake with a client failed."""
        self.client_tls_errors += 1

    def idle_connection_closed(self) -> None:
        """The load balancer closed an idle connection to a target."""
        self.idle_connections_closed += 1

    def reading_was_paused(self) -> None:
        """Reading from one side was paused, because the other side receives more slowly (backpressure)."""
        self.reading_paused += 1

    # Requests.

    def rules_evaluated(self, count: int) -> None:
        """`count` rules were evaluated for one request."""
        self.rule_evaluations += count

    def picked_without_session(self, *, of_application: bool) -> None:
        """A sticky group chose a target for a request without a session.

        Args:
            of_application: Whether the group uses a cookie of the application (`AppCookie`).
        """
        if of_application:
            self.app_cookie_non_sticky_requests += 1
        else:
            self.non_sticky_requests += 1

    def cookie_refused(self) -> None:
        """A stickiness cookie of a request was expired, forged or of another configuration."""
        self.cookies_refused += 1

    def local_reply_sent(self, counter: str) -> None:
        """A routing action answered a request without a target.

        Args:
            counter: The attribute that counts such responses.
        """
        setattr(self, counter, getattr(self, counter) + 1)

    def waiting_began(self) -> None:
        """A request was queued, because all targets are at `max_concurrency`. Call `waiting_ended` when it leaves the queue."""
        self.active_waiting += 1

    def waiting_ended(self) -> None:
        """A request left the queue."""
        self.active_waiting -= 1

    def head_judged(self, request: RequestHead) -> None:
        """An exchange ended whose request head was accepted: count what desync mitigation and `drop_invalid_header_fields` found."""
        if request.classification is not None:
            self.desync_non_compliant += 1
        if request.irregular_names:
            if request.dropped_names:
                self.dropped_invalid_headers += 1
            else:
                self.forwarded_invalid_headers += 1

    def failed(self, failure: Failure) -> None:
        """An exchange, tunnel or connection ended with this failure."""
        kind = failure.kind
        self.failures[kind] += 1
        # A rejected head has no classification that `head_judged` could count.
        self.desync_non_compliant += kind in _NON_COMPLIANT
        self.redirect_url_limit_exceeded += kind is FailureKind.REDIRECT_TOO_LONG

    def responded(self, status: int) -> None:
        """The load balancer generated a response: a redirect, or an error page for a failure. 0 if it could not send one."""
        if 300 <= status < 400:
            self.elb_3xx += 1
        elif 400 <= status < 500:
            self.elb_4xx += 1
        elif status >= 500:
            self.elb_5xx += 1
            if status == 500:
                self.elb_500 += 1
            elif status == 502:
                self.elb_502 += 1
            elif status == 503:
                self.elb_503 += 1
            elif status == 504:
                self.elb_504 += 1

    # Tunnels.

    def tunnel_opened(self, connections: int) -> None:
        """A tunnel was opened. Call `tunnel_closed` when it ends.

        Args:
            connections: Connections that it took over from the client and the target. HTTP/2 streams are not connections. Call
                `connection_closed` for these connections as well: the tunnel counts them itself.
        """
        self.active_tunnels += 1
        # Not `connection_opened`: these connections were counted as new ones before.
        self.active_connections += connections

    def tunnel_closed(self, end: TunnelEnd | None, connections: int) -> None:
        """A tunnel ended, and its connections are closed.

        Args:
            end: What ended it.
            connections: As for `tunnel_opened`.
        """
        self.active_tunnels -= 1
        self.active_connections -= connections
        if end is not None:
            self.tunnel_ends[end] += 1

    def tunnel_pinged(self) -> None:
        """A WebSocket ping was sent to one side of a tunnel."""
        self.tunnel_pings += 1

    def flow_opened(self) -> None:
        """A target was chosen for a connection of a TCP or TLS listener. Call `flow_closed` when the connection ends."""
        self.active_flows += 1

    def flow_closed(self) -> None:
        """A connection of a TCP or TLS listener ended."""
        self.active_flows -= 1

    # Logs.

    def lines_dropped(self, count: int) -> None:
        """Lines of a log were lost."""
        self.log_lines_dropped += count

    # DNS.

    def look_up_failed(self) -> None:
        """A DNS query failed: no name server answered, or it reported a failure."""
        self.dns_failures += 1

    def as_mapping(self, traffic: Iterable[TrafficCounters] = ()) -> dict[str, int]:
        """Return every counter by name, ALB's name if ALB has such a metric.

        `Failure_<reason>` counts failures, `TunnelEnd_<cause>` tunnels that ended. Names that start with `Active` are gauges.

        Args:
            traffic: The counters of all targets, and of what has left their groups.
        """
        # A sum at each reading, so that a request adds to one object only.
        parts = (self.traffic, *traffic)
        named = {metric.name: getattr(self, slot) for slot, metric in METRICS.items()}
        named.update((metric.name, sum([getattr(part, slot) for part in parts])) for slot, metric in TRAFFIC_METRICS.items())
        named.update((failure_metric(kind), self.failures[kind]) for kind in FailureKind)
        named.update((tunnel_end_metric(end), self.tunnel_ends[end]) for end in TunnelEnd)
        return dict(sorted(named.items()))


def failure_metric(kind: FailureKind) -> str:
    """Return the name of the counter for a kind of failure."""
    return f"Failure_{kind.reason}"


def tunnel_end_metric(end: TunnelEnd) -> str:
    """Return the name of the counter for a cause that ends tunnels."""
    return f"TunnelEnd_{end.title().replace(' ', '')}"


_NON_COMPLIANT: Final = frozenset(
    (
        FailureKind.REQUEST_MALFORMED,
        FailureKind.REQUEST_BARE_LF,
        FailureKind.REQUEST_AMBIGUOUS,
        FailureKind.REQUEST_HOST_INVALID,
        FailureKind.REQUEST_VERSION_UNSUPPORTED,
        FailureKind.REQUEST_TRANSFER_CODING_UNSUPPORTED,
    ),
)
"""Rejections that count as non-compliant requests. A request that is rejected has no classification."""

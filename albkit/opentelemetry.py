"""Traces requests with OpenTelemetry. Install it with `pip install 'albkit[otel]'`.

    lb = alb.LoadBalancer(listener, tracing=albkit.opentelemetry.Tracing())

Each request gets a span of kind SERVER. It continues the client's trace, and the target receives its context. A request that opens a tunnel
gets two spans: the first ends with the handshake, and its child lasts as long as the tunnel. So the handshake is visible at once, and
durations of requests are not mixed with those of tunnels. Connections of TCP and TLS listeners have no spans, because they carry no
trace context, and neither have requests whose head was rejected. Access logs and counters show both.

Whatever OpenTelemetry does, requests are served: its errors are logged, and while it is slow no spans are made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import Context as HookContext
from contextvars import copy_context
from typing import Any, Final, TypeVar

from albkit.clock import Clock
from albkit.errors import Failure
from albkit.model.listener import Listener
from albkit.model.listener_settings import ListenerSettings
from albkit.model.message import ClientAddress, RequestHead
from albkit.model.rule import Rule
from albkit.model.validation import Faults
from albkit.report.log_throttle import LogThrottle
from albkit.report.span_attributes import (
    attempt_attributes,
    error_of,
    request_attributes,
    response_attributes,
    route_of,
    tunnel_attributes,
)
from albkit.state.record import ExchangeRecord, TunnelRecord
from albkit.state.target import TargetState
from albkit.wire.http1.trace_context import ContextFields, replace_context

try:
    from opentelemetry import propagate, trace
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.context import Context, attach
    from opentelemetry.propagators.textmap import Getter, TextMapPropagator
    from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanKind, StatusCode, TracerProvider
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise ImportError("albkit.opentelemetry needs OpenTelemetry: pip install 'albkit[otel]'") from error

__all__ = ("Tracing",)

_log = logging.getLogger("albkit")

_SCHEMA: Final = "https://opentelemetry.io/schemas/1.30.0"
_SLOW: Final = 0.002
"""Seconds. A call into OpenTelemetry runs in the event loop, so nothing else happens meanwhile. It usually takes less than 0.05 ms."""
_MOST_SLOW: Final = 1.0
"""Seconds that slow calls may take together; more is taken as a fault."""
# A machine that is busy stops a call for many milliseconds now and then, which is no fault of OpenTelemetry. So the sum shrinks.
_FORGIVEN_PER_SECOND: Final = 0.1
_FORGIVEN_PER_CALL: Final = 0.001
_PAUSE: Final = 60.0
"""Seconds without spans."""
_W3C: Final = (TraceContextTextMapPropagator, W3CBaggagePropagator)
_MOST_LISTENERS: Final = 64
"""Configurations of listeners whose rules are kept by priority."""

Result = TypeVar("Result")


class _FieldGetter(Getter[ContextFields]):
    """Lets a propagator read the fields of a request."""

    def get(self, carrier: ContextFields, key: str) -> list[str] | None:
        return carrier.values(key) or None

    def keys(self, carrier: ContextFields) -> list[str]:
        return carrier.names()


_GETTER = _FieldGetter()


class Tracing:
    """Makes OpenTelemetry spans for the requests and tunnels of a load balancer. Pass it to `LoadBalancer(tracing=...)`.

    Export spans with a `BatchSpanProcessor`. A `SimpleSpanProcessor` sends each span from within the event loop, and all traffic waits.

    Example:
        alb.LoadBalancer(listener, tracing=albkit.opentelemetry.Tracing())

    Args:
        tracer_provider: Makes the spans; the global one by default, which does nothing until the program sets it up.
        propagator: Reads the client's trace context from the request, and writes the context of the span for the target. The global one by
            default: W3C Trace Context and Baggage, unless `OTEL_PROPAGATORS` says otherwise.
        client_context: `"continue"` makes each span a child of the client's span, if the request names one. `"restart"` begins a new trace
            that links to the client's, and drops its baggage: use it where clients are not trusted, because with the usual samplers the
            client decides whether its trace is sampled.

    Raises:
        ConfigurationError: lists every fault.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        *,
        propagator: TextMapPropagator | None = None,
        client_context: str = "continue",
    ) -> None:
        faults = Faults("Tracing")
        if tracer_provider is not None and not callable(getattr(tracer_provider, "get_tracer", None)):
            faults.add("tracer_provider", f"{tracer_provider!r} is no TracerProvider")
        if propagator is not None and not all(callable(getattr(propagator, name, None)) for name in ("extract", "inject")):
            faults.add("propagator", f"{propagator!r} is no TextMapPropagator")
        if client_context not in ("continue", "restart"):
            faults.add("client_context", f"{client_context!r} is neither 'continue' nor 'restart'")
        faults.raise_if_any()
        self.restarts = client_context == "restart"
        self.tracer = trace.get_tracer("albkit", tracer_provider=tracer_provider, schema_url=_SCHEMA)
        self._propagator = propagator
        self._known_propagator: TextMapPropagator | None = None
        self._names: frozenset[bytes] = frozenset()
        self._starts: tuple[bytes, ...] = ()
        self._reads_no_more = False
        """Whether the propagator reads no other fields than those that it writes."""
        self._rules: dict[int, tuple[ListenerSettings, dict[int, Rule]]] = {}
        self._failures = LogThrottle()
        self._refusals = LogThrottle()
        self._slow = 0.0
        """Seconds that slow calls have taken, less what is forgiven, as of `_slow_at`."""
        self._slow_at = 0.0
        self._calls = 0
        """Calls since then."""
        self._resumes_at = float("-inf")

    def begin(self, record: ExchangeRecord, peer: ClientAddress, origin: tuple[str, int], clock: Clock) -> _Trace | None:
        """Called by the load balancer (`albkit.proxy.tracing.Tracing`)."""
        if record.received_at < self._resumes_at:
            return None
        return self.guarded("begin a span", clock, _Trace, self, record, peer, origin, clock)

    def guarded(self, what: str, clock: Clock, call: Callable[..., Result], *arguments: Any) -> Result | None:
        """Call OpenTelemetry. An exception is logged and gives `None`. After many slow calls no further exchange is traced for a while."""
        began = clock.monotonic()
        self._calls += 1
        try:
            return call(*arguments)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - a sampler, processor or propagator may raise anything, and the exchange must go on
            self.failed(what)
            return None
        finally:
            now = clock.monotonic()
            if now - began > _SLOW:
                self._add_slow(what, now, now - began)

    def failed(self, what: str) -> None:
        """Log the exception that is being handled."""
        if self._failures.may_say():
            words = "OpenTelemetry failed to %s; the request is served without it%s"
            _log.exception(words, what, self._failures.also(), extra={"albkit_event": "tracing_failed", "albkit_detail": what})

    def _add_slow(self, what: str, now: float, took: float) -> None:
        forgiven = (now - self._slow_at) * _FORGIVEN_PER_SECOND + self._calls * _FORGIVEN_PER_CALL
        self._slow = max(self._slow - forgiven, 0.0) + took
        self._slow_at = now
        self._calls = 0
        if self._slow <= _MOST_SLOW:
            return
        self._resumes_at = now + _PAUSE
        self._slow = 0.0
        _log.warning(
            "OpenTelemetry is slow, and all traffic waits for it: it took %.3f s to %s. Requests are not traced for %.0f s. Export with a "
            "BatchSpanProcessor, and use no sampler, processor or propagator that waits",
            took,
            what,
            _PAUSE,
            extra={"albkit_event": "tracing_slow", "albkit_seconds": took, "albkit_detail": what},
        )

    def propagator(self) -> TextMapPropagator:
        """The propagator to use. The program may replace the global one at any time."""
        propagator = self._propagator or propagate.get_global_textmap()
        if propagator is not self._known_propagator:
            self._names = frozenset(name.lower().encode("utf-8", "replace") for name in propagator.fields)
            self._starts = tuple(b"\r\n" + name + b":" for name in self._names)
            self._reads_no_more = all(isinstance(one, _W3C) for one in getattr(propagator, "_propagators", (propagator,)))
            self._known_propagator = propagator
        return propagator

    def read_context(self, fields: ContextFields) -> tuple[Context, bool]:
        """Return the client's trace context, and whether the client has sent any field that the propagator writes."""
        propagator = self.propagator()
        sent = fields.has_any(self._starts)
        # Not the current context: the program may have started the load balancer within a span.
        if not sent and self._reads_no_more:
            return Context(), False
        return propagator.extract(fields, context=Context(), getter=_GETTER), sent

    def write_context(self, request: RequestHead, context: Context, *, sent: bool) -> None:
        """Replace the client's trace context in what is forwarded."""
        written: dict[str, str] = {}
        self.propagator().inject(written, context=context)
        # The fields of one trace and those of another must not mix. If OpenTelemetry is not set up, there is nothing to write, and what
        # the client has sent is passed on.
        if written:
            refused = replace_context(request, self._names if sent else frozenset(), written)
            if refused and self._refusals.may_say():
                names = ascii(refused[:5])
                fields = {"albkit_event": "tracing_failed", "albkit_detail": names}
                _log.warning("the propagator wrote fields that are not sent to targets: %s%s", names, self._refusals.also(), extra=fields)

    def route(self, listener: ListenerSettings, priority: int) -> str:
        """Return `http.route` for a rule of a listener; empty if there is none."""
        if priority <= 0 or not isinstance(listener, Listener):
            return ""
        known = self._rules.get(id(listener))
        if known is None:
            if len(self._rules) >= _MOST_LISTENERS:
                self._rules.clear()
            # The configuration is kept as well, so that its id is not used again.
            known = self._rules[id(listener)] = listener, {rule.priority: rule for rule in listener.rules}
        rule = known[1].get(priority)
        return route_of(rule) if rule is not None else ""


class _Trace:
    """The span of one exchange, and of the tunnel that follows. Implements `albkit.state.record.Trace`."""

    __slots__ = ("_clock", "_context", "_hook_context", "_method", "_span", "_start", "_start_ns", "_tracing")

    def __init__(self, tracing: Tracing, record: ExchangeRecord, peer: ClientAddress, origin: tuple[str, int], clock: Clock) -> None:
        request = record.request
        if request is None:
            raise TypeError("an exchange without a request")
        self._tracing = tracing
        self._clock = clock
        self._hook_context: HookContext | None = None
        # One wall clock time, and all others relative to it by the monotonic clock: durations stay right if the wall clock is set.
        self._start = record.received_at
        self._start_ns = round(clock.time() * 1e9) - round((clock.monotonic() - record.received_at) * 1e9)
        fields = ContextFields(request)
        parent, sent = tracing.read_context(fields)
        links = None
        if tracing.restarts:
            client = trace.get_current_span(parent).get_span_context()
            links = [Link(client)] if client.is_valid else None
            parent = Context()
        agent = fields.values("user-agent")
        attributes = request_attributes(record, peer, origin, agent[0] if agent else "")
        method = str(attributes["http.request.method"])
        self._method = "HTTP" if method == "_OTHER" else method
        span = tracing.tracer.start_span(self._method, parent, SpanKind.SERVER, attributes, links, start_time=self._start_ns)
        self._span: Span | None = span if span.is_recording() else None
        """`None` if it is not sampled, or has ended with the handshake of a tunnel."""
        self._context = trace.set_span_in_context(span, parent)
        try:
            tracing.write_context(request, self._context, sent=sent)
        except Exception:  # noqa: BLE001 - the span is there, and its end must not be lost
            tracing.failed("write the trace context")

    @property
    def trace_id(self) -> str:
        context = trace.get_current_span(self._context).get_span_context()
        return trace.format_trace_id(context.trace_id) if context.is_valid else ""

    @property
    def context(self) -> HookContext:
        context = self._hook_context
        if context is None:
            context = self._hook_context = copy_context()
            self._tracing.guarded("enter a context", self._clock, context.run, attach, self._context)
        return context

    def attempt_failed(self, target: TargetState, failure: Failure) -> None:
        if self._span is not None:
            self._tracing.guarded("add an event", self._clock, self._add_attempt, self._span, target, failure)

    def tunnel_opened(self, record: ExchangeRecord) -> None:
        now = self._clock.monotonic()
        if self._span is not None:
            self._tracing.guarded("end a span", self._clock, self._end, self._span, record, now)
        # A tunnel may stay open for days. Keep what its span needs as a child, not the span with everything that is known of the request.
        self._context = trace.set_span_in_context(NonRecordingSpan(trace.get_current_span(self._context).get_span_context()), Context())
        self._span = self._hook_context = None
        self._start_ns, self._start = self._at(now), now

    def ended(self, record: ExchangeRecord) -> None:
        if self._span is not None:
            self._tracing.guarded("end a span", self._clock, self._end, self._span, record, record.ended_at)
        elif record.tunnel is not None:
            self._tracing.guarded("end a span", self._clock, self._end_tunnel, record, record.tunnel)

    def _at(self, moment: float) -> int:
        """The wall clock time of a moment of the monotonic clock, in nanoseconds."""
        return self._start_ns + round((moment - self._start) * 1e9)

    def _add_attempt(self, span: Span, target: TargetState, failure: Failure) -> None:
        span.add_event("albkit.attempt_failed", attempt_attributes(target, failure), self._at(self._clock.monotonic()))

    def _end(self, span: Span, record: ExchangeRecord, moment: float) -> None:
        try:
            request = record.request
            route = self._tracing.route(request.listener, record.matched_rule_priority) if request is not None else ""
            if route:
                span.update_name(f"{self._method} {route}")
            span.set_attributes(response_attributes(record, route))
            if error_of(record):
                # The conventions ask for a description only if the status code does not say it.
                span.set_status(StatusCode.ERROR, record.failure.kind.sentence if record.failure is not None else None)
        finally:
            span.end(self._at(moment))

    def _end_tunnel(self, record: ExchangeRecord, tunnel: TunnelRecord) -> None:
        # Made at its end: before, it would only take memory. Its parent decides whether it is sampled.
        span = self._tracing.tracer.start_span(
            f"tunnel {tunnel.protocol}", self._context, SpanKind.INTERNAL, tunnel_attributes(record, tunnel), start_time=self._start_ns
        )
        if record.failure is not None and span.is_recording():
            span.set_status(StatusCode.ERROR, record.failure.kind.sentence)
        span.end(self._at(record.ended_at))

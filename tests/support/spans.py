"""OpenTelemetry with an exporter in memory."""

from __future__ import annotations

import asyncio
from typing import Any

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from albkit.opentelemetry import Tracing

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = f"traceparent: 00-{TRACE}-{PARENT}-01"
"""A field line of a client."""
UNSAMPLED = f"traceparent: 00-{TRACE}-{PARENT}-00"
W3C = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
"""Not the global one, which another test may have replaced."""


class Spans:
    """A tracer provider and what it has exported.

    Args:
        sampler: As OpenTelemetry's own by default: the decision of the parent; without one, always.
        exporter: Another one than that in memory.
        settings: Of `Tracing`.
    """

    def __init__(self, sampler: Sampler | None = None, exporter: SpanExporter | None = None, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(exporter or self.exporter))
        settings.setdefault("propagator", W3C)
        self.tracing = Tracing(self.provider, **settings)

    async def finished(self, count: int = 1) -> list[ReadableSpan]:
        """Wait for so many spans: all of them."""
        async with asyncio.timeout(5):
            while len(self.exporter.get_finished_spans()) < count:
                await asyncio.sleep(0)
        spans = list(self.exporter.get_finished_spans())
        assert len(spans) == count
        return spans

    async def one(self) -> ReadableSpan:
        (span,) = await self.finished()
        return span


def ids(span: ReadableSpan) -> tuple[str, str]:
    """Trace and span, in hexadecimal digits."""
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def parent_of(span: ReadableSpan) -> str:
    """The span above, in hexadecimal digits; empty for none."""
    return f"{span.parent.span_id:016x}" if span.parent is not None else ""


def traceparent_of(span: ReadableSpan) -> str:
    """What a target receives if this is the span above its own. The flags may say more than that it is sampled."""
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"


def field_of(head: bytes, name: str) -> list[str]:
    """All values of a field in a raw head."""
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return [value.strip().decode() for key, _, value in lines if key.lower() == name.encode()]

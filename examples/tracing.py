"""OpenTelemetry traces: a client, the load balancer, a hook and a target in one trace, with a retry.

Run it without arguments; it needs `pip install 'albkit[otel]' opentelemetry-sdk`. It starts its own target, prints the trace as a tree, and
exits. If a step does not behave as described, it exits with status 1. To see your requests in Jaeger or Tempo, use an `OTLPSpanExporter`
of the package `opentelemetry-exporter-otlp` in a `BatchSpanProcessor`.
"""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict

import aiohttp
from aiohttp import web
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import albkit as alb
from albkit.opentelemetry import Tracing

exporter = InMemorySpanExporter()


def provider(service: str) -> TracerProvider:
    """Each service of a real system has one provider. Here they share a process, and an exporter that keeps spans in memory."""
    made = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made


client, gateway, shop = provider("browser"), provider("gateway"), provider("shop")


async def buy(request: web.Request) -> web.Response:
    """The target: its span is a child of the load balancer's, whose context is in the request."""
    parent = propagate.extract(request.headers)
    with shop.get_tracer("shop").start_as_current_span("buy", parent, kind=trace.SpanKind.SERVER):
        return web.Response(text="bought")


async def authorize(request: alb.Request) -> None:
    """An action of your own runs within the span of its request. Spans that it begins are children."""
    with gateway.get_tracer("gateway").start_as_current_span("look up the user"):
        trace.get_current_span().set_attribute("user", request.headers.get("X-User", ""))


async def main() -> None:
    """Send one request, and show its trace."""
    app = web.Application()
    app.router.add_get("/shop/buy", buy)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    alive = alb.Target("127.0.0.1", runner.addresses[0][1], standby=True)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = alb.Target("127.0.0.1", unused.getsockname()[1])

    group = alb.TargetGroup("shop", [dead, alive], ejection=None)
    rule = alb.Rule(1, alb.PathPattern("/shop/*"), [authorize, alb.Forward(group)])
    listener = alb.Listener(0, alb.FixedResponse(404), rule, host="127.0.0.1")
    async with (
        alb.LoadBalancer(listener, tracing=Tracing(gateway)) as lb,
        aiohttp.ClientSession(lb.listeners[0].url) as session,
    ):
        with client.get_tracer("browser").start_as_current_span("click", kind=trace.SpanKind.CLIENT):
            headers = {"X-User": "ann"}
            propagate.inject(headers)
            async with session.get("/shop/buy", headers=headers) as answer:
                check(await answer.text() == "bought", "the request is retried at the target that is alive")
    await runner.cleanup()

    spans = exporter.get_finished_spans()
    check(len({span.context.trace_id for span in spans}) == 1, "all spans are of one trace")
    children = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        children[span.parent.span_id if span.parent else None].append(span)
    show(children, None, 0)
    check([span.name for span in children[None]] == ["click"], "the trace begins in the browser")


def show(children: dict[int | None, list[ReadableSpan]], parent: int | None, depth: int) -> None:
    """Print the spans below one span."""
    for span in children[parent]:
        print(f"{'  ' * depth}{span.resource.attributes['service.name']}: {span.name}")
        for event in span.events:
            print(f"{'  ' * depth}  ! {event.name}: {(event.attributes or {})['error.type']}")
        show(children, span.context.span_id, depth + 1)


def check(happened: bool, what: str) -> None:
    """Exit with status 1 if `happened` is false."""
    if not happened:
        raise SystemExit(f"expected, but did not happen: {what}")


if __name__ == "__main__":
    asyncio.run(main())

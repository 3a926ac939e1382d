"""The spans of each kind of exchange, over real sockets (albkit/opentelemetry.py, proxy/tracing.py)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import albkit as alb
from tests.support.balancing import Balancing, balancing, listener
from tests.support.clock import FakeClock
from tests.support.h2_client import H2Client
from tests.support.h2_target import h2_target
from tests.support.peers import HEAD_END, Conversation, request, target
from tests.support.spans import PARENT, SAMPLED, TRACE, UNSAMPLED, Spans, field_of, ids, parent_of, traceparent_of
from tests.support.tunnels import UPGRADE, echo, gone, switching


def group(*targets: str, **settings: Any) -> alb.TargetGroup:
    settings.setdefault("ejection", None)
    return alb.TargetGroup("api", targets, **settings)


def api(address: str) -> alb.Rule:
    return alb.Rule(7, alb.PathPattern("/api/*"), alb.Forward(group(address)))


def traced(spans: Spans, *listeners: alb.Listener, **settings: Any) -> Any:
    return balancing(*listeners, tracing=spans.tracing, **settings)


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    assert span.attributes is not None
    return dict(span.attributes)


# Each kind of exchange.


async def test_forwarded_request_is_a_server_span_by_the_conventions() -> None:
    """Every attribute of the request, the response, and the load balancer's own; times by its clock."""
    spans, clock = Spans(), FakeClock()

    async def slow(conversation: Conversation) -> None:
        await conversation.request()
        clock.advance(1.5)
        conversation.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await conversation.drain()

    async with (
        target(slow) as origin,
        traced(
            spans, listener(alb.FixedResponse(404), alb.Rule(7, alb.PathPattern("/api/*"), alb.Forward(group(origin.address)))), clock=clock
        ) as it,
    ):
        client = await it.client()
        client.send(request("GET", "/api/x?q=1&sig=secret&r=2", "User-Agent: curl/8", host="Shop.Example:81"))
        assert (await client.response()).status == 201
        span = await spans.one()
        assert span.name == "GET /api/*"
        assert span.kind is SpanKind.SERVER
        assert span.status.status_code is StatusCode.UNSET
        assert (span.start_time, span.end_time) == (1_790_000_123_500_000_000, 1_790_000_125_000_000_000)
        attributes = attributes_of(span)
        assert attributes.pop("albkit.amzn_trace_id").startswith("Root=1-")
        assert attributes == {
            "http.request.method": "GET",
            "url.path": "/api/x",
            "url.query": "q=1&sig=REDACTED&r=2",
            "url.scheme": "http",
            "server.address": "shop.example",
            "server.port": it.port,
            "client.address": "127.0.0.1",
            "client.port": client.port,
            "network.peer.address": "127.0.0.1",
            "network.peer.port": client.port,
            "network.protocol.version": "1.1",
            "user_agent.original": "curl/8",
            "http.route": "/api/*",
            "http.response.status_code": 201,
            "albkit.action": "forward",
            "albkit.rule.priority": 7,
            "albkit.target_group": "api",
            "albkit.target": origin.address,
            "albkit.target.status_code": 201,
            "albkit.attempts": 1,
            "albkit.request_processing_time": 0.0,
            "albkit.target_processing_time": 1.5,
        }


async def hello(_: alb.Request) -> alb.Response:
    return alb.Response(200, body=b"hello")


@pytest.mark.parametrize(
    ("actions", "action", "status"),
    [
        (alb.Redirect(path="/x", status_code=301), "redirect", 301),
        (alb.FixedResponse(404), "fixed-response", 404),
        ([hello, alb.FixedResponse(404)], "hook", 200),
    ],
    ids=["redirect", "fixed response", "hook"],
)
async def test_answer_of_our_own_is_a_span_without_a_target(actions: Any, action: str, status: int) -> None:
    """No error, whatever 4xx it is."""
    spans = Spans()
    async with traced(spans, listener(actions)) as it:
        await (await it.client()).get("/")
        span = await spans.one()
        attributes = attributes_of(span)
        assert (span.name, attributes["albkit.action"], attributes["http.response.status_code"]) == ("GET", action, status)
        assert not attributes.keys() & {"albkit.target", "albkit.target_group", "error.type", "http.route", "albkit.attempts"}
        assert span.status.status_code is StatusCode.UNSET


async def test_error_page_is_an_error_with_its_reason() -> None:
    """503 without a target."""
    spans = Spans()
    async with traced(spans, listener(alb.Forward(group()))) as it:
        assert (await (await it.client()).get("/")).status == 503
        span = await spans.one()
        attributes = attributes_of(span)
        assert (attributes["http.response.status_code"], attributes["error.type"]) == (503, "NoTargets")
        assert attributes["albkit.error_reason"] == "NoTargets"
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "the target group has no targets")


async def test_5xx_of_the_target_is_an_error_with_its_status() -> None:
    """The status says it all."""
    spans = Spans()
    async with (
        target(None, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n") as origin,
        traced(spans, listener(alb.Forward(group(origin.address)))) as it,
    ):
        await (await it.client()).get("/")
        span = await spans.one()
        assert attributes_of(span)["error.type"] == "500"
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)


async def test_4xx_that_the_client_caused_is_no_error() -> None:
    """But its reason is told."""
    spans = Spans()
    async with target() as origin, traced(spans, listener(alb.Forward(group(origin.address)))) as it:
        client = await it.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        assert (await client.response()).status == 400
        span = await spans.one()
        attributes = attributes_of(span)
        assert (attributes["albkit.error_reason"], "error.type" in attributes) == ("RequestBodyMalformed", False)
        assert span.status.status_code is StatusCode.UNSET


async def test_failed_attempt_is_an_event_at_its_time() -> None:
    """The span is that of the exchange, which succeeded at another target."""
    spans, clock = Spans(), FakeClock()

    async def dying(conversation: Conversation) -> None:
        await conversation.request()
        clock.advance(2)

    async def right(conversation: Conversation) -> None:
        await conversation.request()
        clock.advance(1)
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await conversation.drain()

    async with target(dying) as first, target(right) as second:
        targets = [alb.Target("127.0.0.1", first.port), alb.Target("127.0.0.1", second.port, standby=True)]
        async with traced(spans, listener(alb.Forward(alb.TargetGroup("api", targets, ejection=None))), clock=clock) as it:
            assert (await (await it.client()).get("/")).status == 200
            span = await spans.one()
            addresses = first.address, second.address
    assert span.start_time is not None
    (event,) = span.events
    assert event.name == "albkit.attempt_failed"
    assert event.timestamp == span.start_time + 2_000_000_000
    assert span.end_time == span.start_time + 3_000_000_000
    assert event.attributes is not None
    assert (event.attributes["albkit.target"], event.attributes["error.type"]) == (addresses[0], "TargetClosed")
    attributes = attributes_of(span)
    assert (attributes["albkit.attempts"], attributes["albkit.target"], span.status.status_code) == (2, addresses[1], StatusCode.UNSET)


async def test_client_that_leaves_is_an_error_without_a_status() -> None:
    """460 stands in logs; nothing was sent."""
    spans, asked = Spans(), asyncio.Event()

    async def silent(conversation: Conversation) -> None:
        await conversation.head()
        asked.set()
        await asyncio.Event().wait()

    async with target(silent) as origin, traced(spans, listener(alb.Forward(group(origin.address)))) as it:
        client = await it.client()
        client.send(request("GET", "/"))
        await asked.wait()
        await client.close()
        span = await spans.one()
        attributes = attributes_of(span)
        assert (attributes["error.type"], "http.response.status_code" in attributes) == ("ClientClosed", False)
        assert span.status.status_code is StatusCode.ERROR


async def test_response_that_is_cut_is_an_error_whatever_its_status() -> None:
    """The client saw 200, and not the end."""
    spans = Spans()

    async def cut(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await conversation.drain()

    async with target(cut) as origin, traced(spans, listener(alb.Forward(group(origin.address)))) as it:
        client = await it.client()
        client.send(request("GET", "/"))
        assert not (await client.response()).complete
        attributes = attributes_of(await spans.one())
        assert (attributes["error.type"], attributes["http.response.status_code"]) == ("ResponseBodyTruncated", 200)


async def test_exchange_that_the_stop_cuts_has_a_span() -> None:
    """It ends with the load balancer."""
    spans, asked = Spans(), asyncio.Event()

    async def silent(conversation: Conversation) -> None:
        await conversation.head()
        asked.set()
        await asyncio.Event().wait()

    async with target(silent) as origin:
        async with traced(spans, listener(alb.Forward(group(origin.address))), stop_timeout=0) as it:
            client = await it.client()
            client.send(request("GET", "/"))
            await asked.wait()
            await it.load_balancer.stop()
        span = await spans.one()
        assert attributes_of(span)["error.type"] == "Stopped"


@pytest.mark.parametrize("line", [b"bad header", b"Host: b"], ids=["malformed", "two hosts"])
async def test_rejected_head_has_no_span(line: bytes) -> None:
    """There is no request to describe, and scanners would fill the traces."""
    spans = Spans()
    async with traced(spans, listener(alb.FixedResponse(200))) as it:
        client = await it.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n")
        assert (await client.response()).status == 400
        await (await it.client()).get("/")
        assert attributes_of(await spans.one())["http.response.status_code"] == 200


async def test_connection_of_layer_4_has_no_span() -> None:
    """Nobody could continue a trace in it."""
    spans = Spans()
    async with target(echo) as origin:
        tcp = alb.TargetGroup("tcp", origin.address, protocol="TCP")
        async with traced(spans, listener(alb.Forward(tcp), protocol="TCP")) as it:
            client = await it.client()
            client.send(b"hello")
            assert await client.read_exactly(5) == b"hello"
            await client.close()
            await gone(it)
    assert spans.exporter.get_finished_spans() == ()


async def test_http2_request_and_grpc_have_their_spans() -> None:
    """Streams of one connection, over HTTP/2 on both sides; the target receives the context."""
    spans = Spans()
    async with (
        h2_target() as origin,
        traced(spans, listener(alb.Forward(group(origin.address, protocol_version="GRPC")))) as it,
    ):
        client = await H2Client(await it.client()).start()
        grpc = [("content-type", "application/grpc"), ("te", "trailers"), ("traceparent", SAMPLED.partition(": ")[2])]
        for _ in range(2):
            assert (await client.get("/a.B/C", *grpc, method="POST")).status == 200
        for span, stream in zip(await spans.finished(2), origin.requests, strict=True):
            assert attributes_of(span)["network.protocol.version"] == "2"
            assert (span.name, parent_of(span)) == ("POST", PARENT)
            assert stream.get("traceparent") == traceparent_of(span)


# Tunnels.


async def test_tunnel_has_a_span_for_the_handshake_and_one_for_its_life() -> None:
    """The first is there as soon as the tunnel is open. The second is its child."""
    spans, clock = Spans(), FakeClock()

    async def chat(conversation: Conversation) -> None:
        await conversation.read_exactly(6)
        conversation.send(b"\x81\x02ok")
        await conversation.read()

    async with target(switching(then=chat)) as origin, traced(spans, listener(alb.Forward(group(origin.address))), clock=clock) as it:
        client = await it.client()
        client.send(request("GET", "/ws", SAMPLED, *UPGRADE))
        await client.read_until(HEAD_END)
        handshake = await spans.one()
        assert (handshake.kind, attributes_of(handshake)["http.response.status_code"]) == (SpanKind.SERVER, 101)
        client.send(b"\x81\x80abcd")
        await client.read_exactly(4)
        clock.advance(3600)
        client.send(b"\x88\x82\0\0\0\0\x03\xe9")
        await client.read()
        await client.close()
        await gone(it)
        tunnel = (await spans.finished(2))[1]
        assert (tunnel.name, tunnel.kind, parent_of(tunnel)) == ("tunnel websocket", SpanKind.INTERNAL, ids(handshake)[1])
        assert ids(tunnel)[0] == TRACE
        assert handshake.end_time is not None
        assert (tunnel.start_time, tunnel.end_time) == (handshake.end_time, handshake.end_time + 3600 * 10**9)
        attributes = attributes_of(tunnel)
        assert (attributes["albkit.received_bytes"], attributes["albkit.sent_bytes"]) == (client.sent, len(client.received))
        assert (attributes["albkit.tunnel.frames_in"], attributes["albkit.tunnel.frames_out"]) == (2, 1)
        assert (attributes["albkit.tunnel.end"], attributes["albkit.tunnel.close_code"]) == ("client", 1001)
        assert (attributes["albkit.target_group"], attributes["albkit.target"]) == ("api", origin.address)
        assert tunnel.status.status_code is StatusCode.UNSET


async def test_open_tunnel_keeps_little_of_its_span() -> None:
    """The span with its attributes has gone to the exporter."""
    spans = Spans()
    async with target(switching(then=echo)) as origin, traced(spans, listener(alb.Forward(group(origin.address)))) as it:
        client = await it.client()
        client.send(request("GET", "/ws", "baggage: a=b", *UPGRADE))
        await client.read_until(HEAD_END)
        await spans.one()
        (tunnel,) = it.runtime.tunnels
        kept: Any = tunnel.record.trace
        assert (kept._span, kept._hook_context, len(kept._context)) == (None, None, 1)
        await client.close()
        await gone(it)


async def test_reset_tunnel_is_an_error() -> None:
    """Its end says who did it."""
    spans = Spans()
    async with target(switching(then=echo)) as origin, traced(spans, listener(alb.Forward(group(origin.address)))) as it:
        client = await it.client()
        client.send(request("GET", "/ws", *UPGRADE))
        await client.read_until(HEAD_END)
        client.reset()
        await gone(it)
        tunnel = (await spans.finished(2))[1]
        assert attributes_of(tunnel)["error.type"] == "TunnelResetByClient"
        assert tunnel.status.status_code is StatusCode.ERROR


# What the target receives.


async def test_target_receives_the_context_of_our_span() -> None:
    """In place of the client's. The rest of the head stays as it was, from the cache of parsed fields as well."""
    spans = Spans()
    async with target() as origin, traced(spans, listener(alb.Forward(group(origin.address)))) as it:
        client = await it.client()
        for _ in range(3):
            await client.get("/", "A: 1", SAMPLED, "Tracestate: x=y", "tracestate: z=1", "B: 2", "baggage: k=v")
        finished = await spans.finished(3)
        for span, head in zip(finished, origin.heads, strict=True):
            assert (ids(span)[0], parent_of(span)) == (TRACE, PARENT)
            assert field_of(head, "traceparent") == [traceparent_of(span)]
            assert (field_of(head, "tracestate"), field_of(head, "baggage")) == (["x=y,z=1"], ["k=v"])
            assert head.startswith(b"GET / HTTP/1.1\r\nHost: example.com:")
            assert (field_of(head, "a"), field_of(head, "b"), len(field_of(head, "x-amzn-trace-id"))) == (["1"], ["2"], 1)
        assert len({ids(span)[1] for span in finished}) == 3


async def test_request_without_a_context_begins_a_trace() -> None:
    """Not one below the span in which the program started the load balancer, whatever the propagator takes as its default."""
    spans = Spans(propagator=CompositePropagator([W3CBaggagePropagator(), TraceContextTextMapPropagator()]))
    with spans.provider.get_tracer("program").start_as_current_span("main"):
        async with target() as origin, traced(spans, listener(alb.Forward(group(origin.address)))) as it:
            await (await it.client()).get("/")
            span = await spans.one()
            assert parent_of(span) == ""
            assert field_of(origin.heads[0], "traceparent") == [traceparent_of(span)]


async def test_unsampled_client_stays_unsampled() -> None:
    """No span, but a context: the target follows the decision."""
    spans = Spans()
    async with target() as origin, traced(spans, listener(alb.Forward(group(origin.address)))) as it:
        await (await it.client()).get("/", UNSAMPLED)
        (value,) = field_of(origin.heads[0], "traceparent")
        assert value.startswith(f"00-{TRACE}-")
        assert value.endswith("-00")
        assert PARENT not in value
    assert spans.exporter.get_finished_spans() == ()


@pytest.mark.parametrize(
    "fields",
    [
        (SAMPLED, SAMPLED.replace(PARENT, "1" * 16)),
        ("traceparent: nonsense", "tracestate: a=b"),
        (f"traceparent: 00-{'0' * 32}-{PARENT}-01",),
        (SAMPLED.replace("00-", "ff-", 1),),
        (f"Connection: traceparent, close\r\n{SAMPLED}",),
    ],
    ids=["doubled", "malformed", "zeros", "version ff", "hop by hop"],
)
async def test_wrong_context_begins_a_new_trace(fields: tuple[str, ...]) -> None:
    """Nothing of the client's context reaches the target (W3C Trace Context section 4.3)."""
    spans = Spans()
    async with target() as origin, traced(spans, listener(alb.Forward(group(origin.address)))) as it:
        await (await it.client()).get("/", *fields)
        span = await spans.one()
        assert (parent_of(span), ids(span)[0] == TRACE) == ("", False)
        assert field_of(origin.heads[0], "traceparent") == [traceparent_of(span)]
        assert field_of(origin.heads[0], "tracestate") == []


async def test_restart_links_to_the_clients_trace() -> None:
    """For clients that are not trusted: neither their decision nor their baggage counts."""
    spans = Spans(client_context="restart")
    async with target() as origin, traced(spans, listener(alb.Forward(group(origin.address)))) as it:
        await (await it.client()).get("/", UNSAMPLED, "tracestate: a=b", "baggage: a=b")
        span = await spans.one()
        assert (parent_of(span), ids(span)[0] == TRACE) == ("", False)
        (link,) = span.links
        assert f"{link.context.trace_id:032x}" == TRACE
        assert field_of(origin.heads[0], "traceparent") == [traceparent_of(span)]
        assert field_of(origin.heads[0], "tracestate") == field_of(origin.heads[0], "baggage") == []


# Code of the program.


async def test_hooks_and_conditions_run_in_the_span() -> None:
    """Each in that of its own request, also of requests at the same time, and nothing stays for the next on the connection."""
    spans, seen, together = Spans(), {}, asyncio.Barrier(2)

    def condition(request: alb.Request) -> bool:
        seen[request.path, "condition"] = trace.get_current_span().get_span_context().span_id
        return True

    async def hook(request: alb.Request) -> alb.Response:
        await together.wait()
        await asyncio.sleep(0)
        seen[request.path, "hook"] = trace.get_current_span().get_span_context().span_id
        with trace.get_tracer("program", tracer_provider=spans.provider).start_as_current_span("inner"):
            return alb.Response(200)

    async with traced(spans, listener(alb.FixedResponse(404), alb.Rule(1, condition, [hook, alb.FixedResponse(404)]))) as it:
        clients = [await it.client(), await it.client()]
        for turn in range(2):
            await asyncio.gather(*(client.get(f"/{turn}{place}") for place, client in enumerate(clients)))
        finished = await spans.finished(8)
        outer = {span.context.span_id: attributes_of(span)["url.path"] for span in finished if span.name == "GET"}
        assert len(outer) == 4
        assert {(outer[span_id], kind) for (path, kind), span_id in seen.items() if outer[span_id] == path} == set(seen)
        assert all(span.parent is not None and span.parent.span_id in outer for span in finished if span.name == "inner")
        assert not trace.get_current_span().get_span_context().is_valid


async def test_context_variables_do_not_pass_to_the_next_request() -> None:
    """What a condition or a hook attaches is over with its request; a hook sees what the condition has set."""
    from opentelemetry.context import attach, get_value, set_value

    seen: list[object] = []

    def condition(_: alb.Request) -> bool:
        seen.append(get_value("mark"))
        attach(set_value("mark", "mine"))
        return True

    async def hook(_: alb.Request) -> None:
        seen.append(get_value("mark"))

    async with traced(Spans(), listener(alb.FixedResponse(404), alb.Rule(1, condition, [hook, alb.FixedResponse(200)]))) as it:
        client = await it.client()
        for _ in range(2):
            await client.get("/")
    assert seen == [None, "mine", None, "mine"]


async def test_unsampled_requests_are_traced_without_spans() -> None:
    """The sampler decides."""
    spans = Spans(ALWAYS_OFF)
    async with target() as origin, traced(spans, listener(alb.Forward(group(origin.address)))) as it:
        await (await it.client()).get("/")
        assert int(field_of(origin.heads[0], "traceparent")[0][-2:], 16) & 1 == 0
    assert spans.exporter.get_finished_spans() == ()


async def test_trusted_proxy_is_the_peer_and_not_the_client() -> None:
    """The client is the one that the proxy names."""
    spans = Spans()
    async with traced(spans, listener(alb.FixedResponse(200), trusted_networks=["127.0.0.1/32"])) as it:
        await (await it.client()).get("/", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "X-Forwarded-Port: 443")
        attributes = attributes_of(await spans.one())
        assert (attributes["client.address"], attributes["network.peer.address"]) == ("192.0.2.7", "127.0.0.1")
        assert (attributes["url.scheme"], attributes["server.port"]) == ("https", 443)


async def test_log_can_name_the_trace() -> None:
    """The record knows it."""
    spans = Spans()
    ended: list[str] = []
    async with traced(spans, listener(alb.FixedResponse(200))) as it:
        note(it, ended)
        await (await it.client()).get("/", SAMPLED)
        await spans.one()
    assert ended == [TRACE]


def note(it: Balancing, ended: list[str]) -> None:
    """Keep the trace id of each record."""
    it.runtime.ended = lambda record: ended.append(record.trace.trace_id if record.trace is not None else "")

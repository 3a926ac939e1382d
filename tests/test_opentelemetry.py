"""What OpenTelemetry does to the load balancer: nothing, whatever happens inside. The spans are in `functional/test_tracing.py`."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import NoOpTracerProvider

import albkit as alb
from albkit.opentelemetry import Tracing
from tests.support.balancing import balancing, listener
from tests.support.clock import FakeClock
from tests.support.peers import free_port, target
from tests.support.spans import SAMPLED, W3C, Spans, field_of, ids, traceparent_of
from tests.support.tunnels import echo, gone, switching, upgraded

_PARENT = SAMPLED.partition(": ")[2]


@pytest.fixture(autouse=True)
def _guarded(loop_guard: None) -> None:
    """See `loop_guard`."""


def group(*targets: str) -> alb.Forward:
    return alb.Forward(alb.TargetGroup("api", targets, ejection=None))


def said(caplog: pytest.LogCaptureFixture, words: str) -> int:
    return sum(words in record.getMessage() for record in caplog.records if record.name == "albkit")


class Broken(TextMapPropagator):
    """Raises at one of its methods."""

    fields = {"traceparent"}  # noqa: RUF012

    def __init__(self, method: str) -> None:
        self.method = method

    def extract(self, carrier: Any, context: Context | None = None, getter: Any = None) -> Context:
        if self.method == "extract":
            raise RuntimeError("extract")
        return W3C.extract(carrier, context, getter)

    def inject(self, carrier: Any, *_: Any, **__: Any) -> None:
        if self.method == "inject":
            carrier["traceparent"] = "half"
            raise RuntimeError("inject")
        carrier["traceparent"] = "a\r\nEvil: 1"


class BrokenSampler(Sampler):
    def should_sample(self, *_: Any, **__: Any) -> SamplingResult:
        raise RuntimeError("sampler")

    def get_description(self) -> str:
        return "broken"


class BrokenProcessor(SpanProcessor):
    """Raises at one of its methods."""

    def __init__(self, method: str) -> None:
        self.method = method

    def on_start(self, *_: Any, **__: Any) -> None:
        if self.method == "on_start":
            raise RuntimeError("on_start")

    def on_end(self, *_: Any) -> None:
        if self.method == "on_end":
            raise SystemError("on_end")


class BrokenExporter(SpanExporter):
    def export(self, *_: Any) -> SpanExportResult:
        raise RuntimeError("export")


class Slow(Sampler):
    """Takes its time, by the clock of the load balancer."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        self.clock = clock
        self.seconds = seconds
        self.asked = 0

    def should_sample(self, *_: Any, **__: Any) -> SamplingResult:
        self.asked += 1
        self.clock.advance(self.seconds)
        return SamplingResult(Decision.RECORD_AND_SAMPLE)

    def get_description(self) -> str:
        return "slow"


def provider_with(processor: SpanProcessor) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider


@pytest.mark.parametrize(
    ("tracing", "passes", "words"),
    [
        (lambda: Tracing(TracerProvider(shutdown_on_exit=False), propagator=Broken("extract")), True, "failed to begin a span"),
        (lambda: Tracing(TracerProvider(shutdown_on_exit=False), propagator=Broken("inject")), True, "failed to write the trace context"),
        (lambda: Tracing(TracerProvider(shutdown_on_exit=False), propagator=Broken("")), False, "fields that are not sent"),
        (lambda: Spans(BrokenSampler()).tracing, True, "failed to begin a span"),
        (lambda: Tracing(provider_with(BrokenProcessor("on_start")), propagator=W3C), True, "failed to begin a span"),
        (lambda: Tracing(provider_with(BrokenProcessor("on_end")), propagator=W3C), False, "failed to end a span"),
        (lambda: Spans(exporter=BrokenExporter()).tracing, False, ""),
    ],
    ids=["extract", "inject", "CR LF", "sampler", "on_start", "on_end", "exporter"],
)
async def test_failing_opentelemetry_costs_no_request(tracing: Tracing, passes: bool, words: str, caplog: pytest.LogCaptureFixture) -> None:
    """Requests, failures and tunnels are served as without it. A request that could not be traced keeps the client's context. One line per
    second is logged."""
    dead = f"127.0.0.1:{free_port()}"
    async with target() as origin, target(switching(then=echo)) as chat:
        rules = [
            alb.Rule(1, alb.PathPattern("/dead"), alb.Forward(alb.TargetGroup("dead", [dead], ejection=None))),
            alb.Rule(2, alb.PathPattern("/ws"), alb.Forward(alb.TargetGroup("chat", [chat.address]))),
        ]
        async with balancing(listener(group(origin.address), *rules), tracing=tracing()) as it:
            client = await it.client()
            for _ in range(5):
                assert (await client.get("/", SAMPLED)).status == 200
            assert (await client.get("/dead")).status == 502
            tunnel = await upgraded(it)
            tunnel.send(b"\x81\x80abcd")
            assert len(await tunnel.read_exactly(6)) == 6
            await tunnel.close()
            await gone(it)
        for head in origin.heads:
            assert (field_of(head, "traceparent") == [_PARENT]) is passes
            assert b"Evil" not in head
            assert b"half" not in head
    if words:
        # The second line could come a second later, on a slow machine.
        assert 1 <= said(caplog, words) <= 3


@pytest.mark.parametrize(("seconds", "calls"), [(2.0, 1), (0.3, 4), (0.02, 61)])
async def test_slow_opentelemetry_is_left_out_for_a_while(seconds: float, calls: int, caplog: pytest.LogCaptureFixture) -> None:
    """When its calls have taken more than a second together, each request goes on as without it, for a minute."""
    clock = FakeClock()
    slow = Slow(clock, seconds)
    spans = Spans(slow)
    async with target() as origin, balancing(listener(group(origin.address)), tracing=spans.tracing, clock=clock) as it:
        client = await it.client()
        for _ in range(calls + 10):
            await client.get("/", SAMPLED)
        # A few more than a second holds, because a part of it is forgiven.
        assert calls <= slow.asked <= calls + 6
        passed = [field_of(head, "traceparent") == [_PARENT] for head in origin.heads]
        assert passed == [False] * slow.asked + [True] * (calls + 10 - slow.asked)
        assert said(caplog, f"it took {seconds:.3f} s to begin a span. Requests are not traced for 60 s") == 1
        clock.advance(60.1)
        slow.seconds, slow.asked = 0.0, 0
        await client.get("/")
        assert slow.asked == 1


async def test_calls_that_are_slow_now_and_then_are_no_reason_to_stop(caplog: pytest.LogCaptureFixture) -> None:
    """The machine may be busy: with little traffic it is the time that counts, with much of it the number of calls."""
    clock = FakeClock()
    slow = Slow(clock, 0.3)
    async with balancing(listener(alb.FixedResponse(200)), tracing=Spans(slow).tracing, clock=clock) as it:
        client = await it.client()
        for _ in range(20):
            await client.get("/")
            clock.advance(3)
        for number in range(500):
            slow.seconds = 0.05 if number % 25 == 0 else 0
            await client.get("/")
    assert slow.asked == 520
    assert said(caplog, "slow") == 0


async def test_opentelemetry_without_an_sdk_passes_the_clients_context() -> None:
    """As the API alone does: no span, no new context, and a wrong one is the target's to judge."""
    async with (
        target() as origin,
        balancing(listener(group(origin.address)), tracing=Tracing(NoOpTracerProvider(), propagator=W3C)) as it,
    ):
        client = await it.client()
        await client.get("/", SAMPLED, "tracestate: a=b")
        await client.get("/", "traceparent: nonsense")
        await client.get("/")
    assert [field_of(head, "traceparent") for head in origin.heads] == [[_PARENT], ["nonsense"], []]
    assert field_of(origin.heads[0], "tracestate") == ["a=b"]


async def test_global_propagator_is_used_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that the program sets later."""

    class Mine(TextMapPropagator):
        fields = {"x-mine"}  # noqa: RUF012

        def extract(self, carrier: Any, context: Context | None = None, getter: Any = None) -> Context:
            assert sorted(getter.keys(carrier)) == ["host", "traceparent", "x-mine"]
            return context or Context()

        def inject(self, carrier: Any, context: Context | None = None, *_: Any, **__: Any) -> None:
            carrier["x-mine"] = f"{trace.get_current_span(context).get_span_context().span_id:016x}"

    spans = Spans(propagator=None)
    async with target() as origin, balancing(listener(group(origin.address)), tracing=spans.tracing) as it:
        client = await it.client()
        await client.get("/")
        monkeypatch.setattr(propagate, "get_global_textmap", Mine)
        await client.get("/", "X-Mine: forged", SAMPLED)
        first, second = await spans.finished(2)
    assert field_of(origin.heads[0], "traceparent") == [traceparent_of(first)]
    assert field_of(origin.heads[1], "x-mine") == [ids(second)[1]]
    # Not a field of this propagator.
    assert field_of(origin.heads[1], "traceparent") == [_PARENT]


async def test_hook_runs_without_a_span_if_its_context_cannot_be_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is served."""
    import albkit.opentelemetry

    def refuse(_: Context) -> object:
        raise RuntimeError("attach")

    async def hook(_: alb.Request) -> alb.Response:
        return alb.Response(200, body=trace.get_current_span().get_span_context().is_valid.__repr__().encode())

    monkeypatch.setattr(albkit.opentelemetry, "attach", refuse)
    async with balancing(listener([hook, alb.FixedResponse(404)]), tracing=Spans().tracing) as it:
        answer = await (await it.client()).get("/")
        assert (answer.status, answer.body) == (200, b"False")


async def test_rules_of_many_configurations_are_not_kept_for_ever() -> None:
    """Each `apply` makes a new one."""
    spans = Spans()

    def configured(number: int) -> alb.Listener:
        rule = alb.Rule(1, alb.PathPattern(f"/{number}/*"), alb.FixedResponse(200))
        return listener(alb.FixedResponse(404), rule, name="front")

    async with balancing(configured(0), tracing=spans.tracing) as it:
        client = await it.client()
        for number in range(70):
            await it.load_balancer.apply(configured(number))
            assert (await client.get(f"/{number}/a")).status == 200
        assert 1 <= len(spans.tracing._rules) <= 64
        assert [span.name for span in await spans.finished(70)] == [f"GET /{number}/*" for number in range(70)]


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"tracer_provider": 3}, "tracer_provider"),
        ({"propagator": object()}, "propagator"),
        ({"client_context": "ignore"}, "client_context"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], path: str) -> None:
    """Each with its name."""
    with pytest.raises(alb.ConfigurationError) as raised:
        Tracing(**settings)
    assert raised.value.subject == "Tracing"
    assert [fault.partition(":")[0] for fault in raised.value.faults] == [path]


def test_albkit_without_the_extra_imports_no_opentelemetry() -> None:
    """And says what to install if somebody wants it."""
    program = """
import sys
import albkit, albkit.demo, albkit.cli
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
sys.modules["opentelemetry"] = None
try:
    import albkit.opentelemetry
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (run.stdout, run.stderr) == ("albkit.opentelemetry needs OpenTelemetry: pip install 'albkit[otel]'\n", "")

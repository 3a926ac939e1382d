from __future__ import annotations

import logging
import random

import pytest
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter

from albkit.model.message import RequestHead
from albkit.wire.http1.trace_context import ContextFields, replace_context
from tests.support.effort import cases
from tests.support.spans import PARENT, TRACE, W3C

_PARENT = f"00-{TRACE}-{PARENT}-01"


def request(*fields: str, trace_id: bytes = b"") -> RequestHead:
    head = RequestHead()
    head.lines = [b"GET /traceparent:x HTTP/1.1", b"Host: a", *(field.encode("latin-1") for field in fields)]
    head.trace_id = trace_id
    return head


def values(name: str, *fields: str) -> list[str]:
    return ContextFields(request(*fields)).values(name)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((), []),
        ((f"traceparent: {_PARENT}",), [_PARENT]),
        ((f"TraceParent:{_PARENT}\t ",), [_PARENT]),
        ((f"x-traceparent: {_PARENT}", f"a: traceparent: {_PARENT}"), []),
        ((f"traceparent: {_PARENT}", f"TRACEPARENT: {_PARENT}"), []),
        (("traceparent: nonsense",), ["nonsense"]),
        (("traceparent: " + "0" * 9000,), []),
    ],
    ids=["none", "one", "any case", "look-alikes", "two", "nonsense", "long"],
)
def test_traceparent_is_the_only_one(fields: tuple[str, ...], expected: list[str]) -> None:
    """At the start of a line alone. The propagator judges its form."""
    assert values("traceparent", *fields) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (("tracestate: a=b, c=d",), ["a=b,c=d"]),
        (("tracestate: a=b", "tracestate:c@d=e "), ["a=b,c@d=e"]),
        (("tracestate: a=b,,  ,c=d,",), ["a=b,c=d"]),
        (("tracestate: a=b, C=d",), []),
        (("tracestate: a=b", "tracestate: nonsense"), []),
        (("tracestate: " + ",".join(f"a{number}=b" for number in range(32)),), [",".join(f"a{number}=b" for number in range(32))]),
        (("tracestate: " + ",".join(f"a{number}=b" for number in range(33)),), []),
        (("tracestate: a=b\xff",), []),
        ((f"tracestate: a={'b' * 256}",), [f"a={'b' * 256}"]),
        ((f"tracestate: a={'b' * 257}",), []),
    ],
)
def test_tracestate_is_whole_or_absent(fields: tuple[str, ...], expected: list[str]) -> None:
    """One list of all fields of the name; none if a part of it is wrong."""
    assert values("tracestate", *fields) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (("baggage: a=b",), ["a=b"]),
        (("baggage: a = b;p=1;q , c=%20",), ["a=b;p=1;q,c=%20"]),
        (("baggage: a=b", "baggage: c=d"), ["a=b,c=d"]),
        (("baggage: a=b, nonsense, =x, c=d, e=\xff, f=\t1",), ["a=b,c=d,f=1"]),
        (("baggage: " + "a=b," * 200,), [",".join(["a=b"] * 180)]),
        (("baggage: " + "a" * 9000 + "=b",), []),
        (("baggage: nonsense",), []),
    ],
)
def test_baggage_keeps_the_entries_that_are_right(fields: tuple[str, ...], expected: list[str]) -> None:
    """Each entry means something of its own."""
    assert values("baggage", *fields) == expected


def test_other_fields_are_as_the_client_sent_them() -> None:
    """Other propagators have their own; that of X-Ray reads the field that the load balancer keeps apart."""
    fields = ContextFields(request("b3: 1-2", "B3: 3", "User-Agent: \xe9", trace_id=b"Root=1-2"))
    assert fields.values("b3") == ["1-2", "3"]
    assert fields.values("User-Agent") == ["\xe9"]
    assert fields.values("X-Amzn-Trace-Id") == ["Root=1-2"]
    assert fields.names() == ["host", "b3", "b3", "user-agent", "x-amzn-trace-id"]
    assert ContextFields(request()).values("x-amzn-trace-id") == []


class _Fields(Getter[ContextFields]):
    def get(self, carrier: ContextFields, key: str) -> list[str] | None:
        return carrier.values(key) or None

    def keys(self, carrier: ContextFields) -> list[str]:
        return carrier.names()


_PIECES = [*'aZ1==,,;; \t@%"-(/*~\\\xff', "a=b", "k=v", "a@b=c", "x" * 300]


def test_clients_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """OpenTelemetry's propagators warn of everything wrong, up to 180 times per field; of what passes here they have nothing to say."""
    chance = random.Random(17)
    with caplog.at_level(logging.DEBUG, "opentelemetry"):
        for _ in range(cases(20_000)):
            state, baggage = ("".join(chance.choices(_PIECES, k=chance.randrange(1, 20))) for _ in range(2))
            fields = ContextFields(request(f"traceparent: {_PARENT}", f"tracestate: {state}", f"baggage: {baggage}", f"baggage: {state}"))
            context = W3C.extract(fields, Context(), _Fields())
            written: dict[str, str] = {}
            W3C.inject(written, context)
            assert [record.getMessage() for record in caplog.records] == [], (state, baggage)
            assert replace_context(request(), frozenset(), written) == [], (state, baggage)


def test_context_replaces_the_clients_fields() -> None:
    """All of their spellings; nothing else moves."""
    head = request("A: 1", f"TraceParent: {_PARENT}", "tracestate: a=b", "B: 2", "x-traceparent: 1")
    lines = list(head.lines)
    assert replace_context(head, frozenset((b"traceparent", b"tracestate")), {"traceparent": "new"}) == []
    assert head.lines == [*lines[:3], *lines[5:], b"traceparent: new"]


def test_context_without_fields_of_the_client_is_added() -> None:
    """At the end."""
    head = request("A: 1")
    lines = list(head.lines)
    assert replace_context(head, frozenset(), {"traceparent": "new", "b3": "1 2\t3"}) == []
    assert head.lines == [*lines, b"traceparent: new", b"b3: 1 2\t3"]


def test_xray_context_goes_on_in_the_load_balancers_own_field() -> None:
    """Which it adds later."""
    head = request()
    lines = list(head.lines)
    assert replace_context(head, frozenset((b"x-amzn-trace-id",)), {"X-Amzn-Trace-Id": "Root=1;Parent=2"}) == []
    assert (head.lines, head.trace_id) == (lines, b"Root=1;Parent=2")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("traceparent", "a\r\nX: y"),
        ("traceparent", "a\nb"),
        ("traceparent", "a\x00"),
        ("traceparent", ""),
        ("traceparent", " a"),
        ("traceparent", "a "),
        ("traceparent", "\xe9"),
        ("traceparent", "\ud800"),
        ("traceparent", "a" * 8193),
        ("traceparent", b"bytes"),
        ("trace parent", "a"),
        ("trace\r\nparent", "a"),
        ("", "a"),
        ("\xe9", "a"),
        ("a:b", "a"),
        ("Content-Length", "5"),
        ("transfer-encoding", "chunked"),
        ("Host", "a"),
        ("connection", "close"),
        ("content_length", "5"),
        ("x-forwarded-for", "192.0.2.1"),
        ("X_Forwarded_For", "192.0.2.1"),
        ("x-amzn-mtls-clientcert", "forged"),
        (3, "a"),
    ],
)
def test_what_could_be_read_otherwise_is_not_written(name: str, value: str) -> None:
    """A propagator may write anything, also what a client has put into its baggage."""
    head = request()
    lines = list(head.lines)
    assert replace_context(head, frozenset(), {name: value}) == [str(name)]
    assert head.lines == lines


def test_size_of_all_written_fields_is_bounded() -> None:
    """16 KiB: what would exceed them is left out."""
    head = request()
    assert replace_context(head, frozenset(), {f"a{number}": "x" * 8000 for number in range(4)}) == ["a2", "a3"]
    assert len(head.lines) == 4

"""Without tracing, the fields of a client's trace pass to the target as they are: the load balancer takes no part in the trace."""

from __future__ import annotations

import pytest

from tests.support.gateway import running
from tests.support.h2_client import H2Client
from tests.support.h2_target import h2_target
from tests.support.h2_targets import in_front_of
from tests.support.peers import target
from tests.support.spans import PARENT, SAMPLED, TRACE, field_of

_PARENT = f"00-{TRACE}-{PARENT}-01"
_STATES = ("vendor=a:b;c=d, other=1", "third=")
"""The second is wrong, but that is for the target to judge."""


async def test_http1_to_http1() -> None:
    """Both fields, each line of its own, in the client's spelling."""
    async with target() as origin, running(origin.address) as it:
        client = await it.client()
        for _ in range(3):  # The first fills the cache of parsed fields.
            await client.get("/", SAMPLED, f"TraceState: {_STATES[0]}", f"tracestate: {_STATES[1]}", "baggage: a=b;c")
        for head in origin.heads:
            assert f"\r\n{SAMPLED}\r\nTraceState: {_STATES[0]}\r\ntracestate: {_STATES[1]}\r\nbaggage: a=b;c\r\n".encode() in head


async def test_http2_to_http1() -> None:
    """The fields of a stream."""
    async with target() as origin, running(origin.address) as it:
        client = await H2Client(await it.client()).start()
        for _ in range(3):
            assert (await client.get("/", ("traceparent", _PARENT), ("tracestate", _STATES[0]))).status == 200
        for head in origin.heads:
            assert field_of(head, "traceparent") == [_PARENT]
            assert field_of(head, "tracestate") == [_STATES[0]]


async def test_http2_to_http2() -> None:
    """Streams on both sides."""
    async with h2_target() as origin, in_front_of(origin.address) as it:
        client = await H2Client(await it.client()).start()
        for _ in range(3):
            assert (await client.get("/", ("traceparent", _PARENT), ("tracestate", _STATES[0]))).status == 200
        for stream in origin.requests:
            assert (stream.get("traceparent"), stream.get("tracestate")) == (_PARENT, _STATES[0])


@pytest.mark.parametrize("fields", [(SAMPLED, SAMPLED), ("traceparent: nonsense",)], ids=["doubled", "malformed"])
async def test_wrong_context_passes_too(fields: tuple[str, ...]) -> None:
    """Who takes no part in a trace changes nothing of it (W3C Trace Context section 2)."""
    async with target() as origin, running(origin.address) as it:
        await (await it.client()).get("/", *fields)
        (head,) = origin.heads
        assert [f"traceparent: {value}" for value in field_of(head, "traceparent")] == list(fields)


async def test_answer_of_the_target_passes() -> None:
    """A traceresponse, or a traceparent that some servers answer with."""
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\ntraceresponse: {_PARENT}\r\n\r\n".encode()
    async with target(None, answer) as origin, running(origin.address) as it:
        assert (await (await it.client()).get("/")).get(b"traceresponse") == _PARENT.encode()

"""Writing the headers that describe the client to the target."""

from __future__ import annotations

import pytest

from albkit.clock import SYSTEM
from albkit.model.message import ClientAddress, RequestHead
from albkit.wire.http1.forwarded import ForwardedFields, TraceIds
from benchmarks.micro import NOW, Benchmark


@pytest.mark.parametrize("brought", [b"", b"203.0.113.7, 198.51.100.9"], ids=["first proxy", "behind two others"])
def test_completing_a_request(benchmark: Benchmark, brought: bytes) -> None:
    """X-Forwarded-For, -Proto, -Port and a new trace id."""
    fields = ForwardedFields(ClientAddress("192.0.2.1", 2817), "http", 80, "append", False, TraceIds(SYSTEM))
    request = RequestHead()
    request.lines = [b"GET / HTTP/1.1", b"Host: a"]
    request.head = b"\r\n".join(request.lines)
    request.forwarded_for, request.trace_id, request.upgrade = brought, b"", b""
    benchmark(fields.add_to, request, NOW)
    assert request.lines[-1].startswith(b"X-Forwarded-For: " + (brought + b", " if brought else b"") + b"192.0.2.1\r\n")


def test_a_trace_id_that_was_brought(benchmark: Benchmark) -> None:
    """An existing trace id is kept, and Self is added."""
    trace_ids = TraceIds(SYSTEM)
    brought = b"Root=1-67891233-abcdef012345678912345678"
    assert benchmark(trace_ids.field, brought, 100, NOW).endswith(brought)

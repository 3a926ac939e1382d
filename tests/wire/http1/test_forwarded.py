from __future__ import annotations

import re

import pytest

from albkit.clock import SYSTEM
from albkit.model.message import ClientAddress, RequestHead
from albkit.wire.http1.forwarded import ForwardedFields, TraceIds
from tests.support.clock import FakeClock

_V4 = ClientAddress("192.0.2.1", 2817)
_V6 = ClientAddress("2001:db8::1", 2817)
_NEW = rb"1-6ab1347b-[0-9a-f]{24}"


_NOW = float(0x6AB1347B) + 0.5


def _clock() -> FakeClock:
    clock = FakeClock()
    clock.wall = _NOW
    return clock


def _request(*, forwarded_for: bytes = b"", trace_id: bytes = b"", upgrade: bytes = b"") -> RequestHead:
    request = RequestHead()
    request.lines = [b"GET / HTTP/1.1", b"Host: a"]
    request.head = b"\r\n".join(request.lines)
    request.forwarded_for, request.trace_id, request.upgrade = forwarded_for, trace_id, upgrade
    return request


def _completed(
    request: RequestHead,
    client: ClientAddress = _V4,
    mode: str = "append",
    *,
    client_port: bool = False,
    protocol: str = "http",
    port: int = 80,
) -> list[bytes]:
    """The lines behind the request's own, up to the end of the head."""
    ForwardedFields(client, protocol, port, mode, client_port, TraceIds(_clock())).add_to(request, _NOW)
    head = b"\r\n".join(request.lines)
    start = b"GET / HTTP/1.1\r\nHost: a\r\n"
    assert head.startswith(start)
    fields = head[len(start) :].split(b"\r\n")
    assert all(fields), "no empty line, which would end the head"
    return fields


@pytest.mark.parametrize(
    ("mode", "client", "client_port", "brought", "expected"),
    [
        # docs/alb.md 2.7, X-Forwarded-For
        pytest.param("append", _V4, False, b"", b"192.0.2.1", id="append creates"),
        pytest.param("append", _V4, False, b"10.0.0.1", b"10.0.0.1, 192.0.2.1", id="append appends"),
        pytest.param("append", _V4, False, b"a, b", b"a, b, 192.0.2.1", id="append appends behind several"),
        pytest.param("append", _V4, True, b"", b"192.0.2.1:2817", id="append with port"),
        pytest.param("append", _V4, True, b"10.0.0.1", b"10.0.0.1, 192.0.2.1:2817", id="append appends with port"),
        pytest.param("append", _V6, False, b"", b"2001:db8::1", id="append v6 bare"),
        pytest.param("append", _V6, True, b"", b"[2001:db8::1]:2817", id="append v6 with port in brackets"),
        pytest.param("preserve", _V4, False, b"", None, id="preserve does not create"),
        pytest.param("preserve", _V4, True, b"", None, id="preserve ignores the port setting"),
        pytest.param("remove", _V4, False, b"10.0.0.1", None, id="remove"),
        pytest.param("remove", _V4, True, b"10.0.0.1", None, id="remove ignores the port setting"),
    ],
)
def test_forwarded_for_follows_the_mode(
    mode: str, client: ClientAddress, client_port: bool, brought: bytes, expected: bytes | None
) -> None:
    """The client's address is the last element, or nothing is written here at all."""
    lines = _completed(_request(forwarded_for=brought), client, mode, client_port=client_port)
    written = [line for line in lines if line.lower().startswith(b"x-forwarded-for")]
    assert written == ([b"X-Forwarded-For: " + expected] if expected is not None else [])


@pytest.mark.parametrize("mode", ["append", "preserve", "remove"])
def test_forwarded_protocol_and_port_are_always_written(mode: str) -> None:
    """The client's side of the connection: protocol and listener port, in every mode; no X-Forwarded-Host (docs/alb.md 2.7)."""
    lines = _completed(_request(), mode=mode, protocol="https", port=8443)
    assert b"X-Forwarded-Proto: https" in lines
    assert b"X-Forwarded-Port: 8443" in lines
    assert not [line for line in lines if line.lower().startswith(b"x-forwarded-host")]
    assert len([line for line in lines if line.startswith(b"X-Amzn-Trace-Id: ")]) == 1


@pytest.mark.parametrize("mode", ["append", "preserve", "remove"])
def test_upgrade_is_written_from_what_was_parsed(mode: str) -> None:
    """Connection and Upgrade are rebuilt (RFC 9110 section 7.8), and only for a request that asks for an upgrade."""
    lines = _completed(_request(upgrade=b"WebSocket, foo"), mode=mode)
    assert b"Connection: Upgrade" in lines
    assert b"Upgrade: WebSocket, foo" in lines
    assert not [line for line in _completed(_request(), mode=mode) if line.startswith((b"Connection", b"Upgrade"))]


@pytest.mark.parametrize(
    ("brought", "expected"),
    [
        # docs/alb.md 2.7, X-Amzn-Trace-Id
        pytest.param(b"", b"Root=NEW", id="absent"),
        pytest.param(b"Root=1-0-a", b"Self=NEW;Root=1-0-a", id="Root"),
        pytest.param(b"Root=1-0-a;CalledFrom=app", b"Self=NEW;Root=1-0-a;CalledFrom=app", id="Root and unknown"),
        pytest.param(b"Self=1-0-b;Root=1-0-a", b"Self=NEW;Root=1-0-a", id="Self and Root"),
        pytest.param(b"Self=1-0-b;Root=1-0-a;x=y", b"Self=NEW;Root=1-0-a;x=y", id="Self, Root and unknown"),
        pytest.param(b"Root=1-0-a; Parent=b; Sampled=1", b"Self=NEW;Root=1-0-a;Parent=b;Sampled=1", id="blanks behind semicolons"),
        pytest.param(b"Root=anything-goes", b"Self=NEW;Root=anything-goes", id="a client's Root is taken as it is"),
    ],
)
def test_trace_id_goes_on_or_begins(brought: bytes, expected: bytes) -> None:
    """A new Root where there is none, else a Self before what came; the rest is kept."""
    value = TraceIds(_clock()).field(brought, 100, _NOW)
    pattern = re.escape(expected).replace(b"NEW", _NEW)
    assert re.fullmatch(pattern, value), value


def test_trace_id_without_a_root_gets_one() -> None:
    """What the client sent stays beside a new Root."""
    value = TraceIds(_clock()).field(b"x=y", 100, _NOW)
    assert re.fullmatch(rb"Root=" + _NEW + rb";x=y", value), value


def test_trace_id_of_a_long_head_is_a_bare_new_root() -> None:
    """Above 7 KB of request headers, not at it (docs/alb.md 2.7)."""
    ids = TraceIds(_clock())
    assert re.fullmatch(rb"Self=" + _NEW + rb";Root=1-0-a", ids.field(b"Root=1-0-a", 7 * 1024, _NOW))
    assert re.fullmatch(rb"Root=" + _NEW, ids.field(b"Root=1-0-a", 7 * 1024 + 1, _NOW))


def test_trace_ids_are_never_the_same() -> None:
    """Thousands of ids in a second are all different."""
    ids = TraceIds(SYSTEM)
    made = {ids.new(_NOW) for _ in range(5_000)}
    assert len(made) == 5_000
    assert all(re.fullmatch(rb"1-[0-9a-f]{8}-[0-9a-f]{24}", value) for value in made)


def test_trace_id_begins_with_the_second() -> None:
    """Eight hexadecimal digits of the time since 1970, of the second it was made in."""
    ids = TraceIds(_clock())
    assert ids.new(_NOW).startswith(b"1-6ab1347b-")
    assert ids.new(_NOW + 1).startswith(b"1-6ab1347c-")


def test_forwarded_fields_of_one_connection_serve_many_requests() -> None:
    """What is made once per connection carries nothing from one request to the next."""
    fields = ForwardedFields(_V4, "http", 80, "append", False, TraceIds(SYSTEM))
    first, second = _request(forwarded_for=b"10.0.0.1", upgrade=b"websocket"), _request()
    fields.add_to(first, _NOW)
    fields.add_to(second, _NOW)
    text = b"\r\n".join(second.lines)
    assert b"X-Forwarded-For: 192.0.2.1\r\n" in text
    assert b"Upgrade" not in text
    assert first.lines[-1].rpartition(b"Root=")[2] != second.lines[-1].rpartition(b"Root=")[2]

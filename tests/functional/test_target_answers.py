"""Heads of targets that are unusual, and those that are no HTTP at all: what the client gets, and when."""

from __future__ import annotations

import asyncio
import logging
import time
from types import SimpleNamespace
from typing import Any

import pytest

import albkit as alb
from albkit.errors import Failure, FailureKind
from albkit.model.limits import Limits
from albkit.proxy.target.http1_connection import Http1TargetConnection
from albkit.state.counters import Counters
from tests.functional.test_health_checks import QUICK, UNHEALTHY, Patient, one, until
from tests.functional.test_tls_targets import in_front_of
from tests.support.balancing import balancing
from tests.support.gateway import running
from tests.support.peers import Conversation, request, response, target


async def test_ordinary_fields_that_stand_twice_are_passed_on() -> None:
    """Many servers send one of these twice; the client gets what the target has sent."""
    fields = [b"Server: a", b"Content-Type: text/a", b"ETag: x", b"Server: b", b"Content-Type: text/b", b"ETag: x", b"Content-Location: /"]
    async with target(None, response(200, b"ok", *fields, b"Content-Location: /a")) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        answer = await client.get()
        assert (answer.status, answer.body) == (200, b"ok")
        for name, values in ((b"server", [b"a", b"b"]), (b"content-type", [b"text/a", b"text/b"]), (b"content-location", [b"/", b"/a"])):
            assert answer.all(name) == values
        assert (await client.get()).status == 200
        assert len(origin.conversations) == 1


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length:\t5\t",
        b"Content-Length: 5\r\ncontent-length: 5 ",
        b"Content-Length: 5, 5",
        b"Content-Length: 0005",
    ],
    ids=repr,
)
async def test_length_with_one_reading_goes_on_clean(fields: bytes) -> None:
    """The bytes that the client gets have one length, in digits, and the connection to the target stays."""
    async with target(None, b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\nhello") as origin, running(origin.address) as gateway:
        client = await gateway.client()
        for _ in range(2):
            answer = await client.get()
            assert (answer.status, answer.body) == (200, b"hello")
            assert b"\r\nContent-Length: 5\r\n" in answer.head
            assert answer.head.lower().count(b"content-length") == 1
        assert len(origin.conversations) == 1


@pytest.mark.parametrize("value", [b"\tchunked", b" chunked\t", b"  Chunked  "], ids=repr)
async def test_chunked_with_blanks_goes_on_clean(value: bytes) -> None:
    """What the client is told is written anew."""
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding:" + value + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    async with target(None, raw) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        for _ in range(2):
            answer = await client.get()
            assert (answer.status, answer.body, answer.complete) == (200, b"hello", True)
            assert answer.head.lower().count(b"transfer-encoding") == 1
            assert b"\r\nTransfer-Encoding: chunked\r\n" in answer.head
        assert len(origin.conversations) == 1


_NO_HTTP = [
    pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "ResponseBareLf", id="LF alone"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok", "ResponseBareLf", id="LF at the end"),
    pytest.param(b"HTTP/1.1 200 OK\r\nA: b\n", "ResponseBareLf", id="LF behind a field"),
    pytest.param(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "ResponseNotHttp", id="SSH"),
    pytest.param(b"220 mail.example.com ESMTP\r\n", "ResponseNotHttp", id="SMTP"),
    pytest.param(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "ResponseNotHttp", id="HTTP/2"),
    pytest.param(b"x", "ResponseNotHttp", id="one byte"),
    pytest.param(b"hello world", "ResponseNotHttp", id="text"),
    pytest.param(b"HTTP/0.9 200 OK\r\n", "ResponseNotHttp", id="version 0.9"),
]


@pytest.mark.parametrize(("said", "reason"), _NO_HTTP)
@pytest.mark.parametrize("first", ["client", "target"])
async def test_target_that_speaks_no_http_is_a_502_at_once(said: bytes, reason: str, first: str, caplog: pytest.LogCaptureFixture) -> None:
    """It waits for an answer to what it said, or its head has no end that anybody would see: neither is waited for (idle timeout)."""

    async def speaking(conversation: Conversation) -> None:
        if first == "client":
            await conversation.head()
        conversation.send(said)
        await conversation.read_to_end()

    async with target(speaking) as origin, running(origin.address, idle_timeout=600) as gateway:
        client = await gateway.client()
        with caplog.at_level(logging.INFO, "albkit"):
            async with asyncio.timeout(20):
                assert (await client.get()).status == 502
                await (await origin.arrived()).over.wait()
        (line,) = [record.getMessage() for record in caplog.records]
        assert reason in line
        assert len(origin.conversations) == 1, "it is not asked again"
        assert gateway.counters[f"Failure_{reason}"] == 1
        assert gateway.runtime.connections.count == 0


async def test_target_that_greets_behind_an_interim_response_is_a_502_at_once() -> None:
    """Each head is looked at from its first byte."""

    async def speaking(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nSSH-2.0")
        await conversation.read_to_end()

    async with target(speaking) as origin, running(origin.address, idle_timeout=600) as gateway:
        client = await gateway.client()
        async with asyncio.timeout(20):
            assert (await client.get()).status == 103
            assert (await client.response()).status == 502
        assert gateway.counters["Failure_ResponseNotHttp"] == 1


async def test_plain_greeting_behind_https_is_a_502_at_once() -> None:
    """What came before the handshake began is part of it."""

    async def speaking(conversation: Conversation) -> None:
        conversation.send(b"SSH-2.0-OpenSSH_9.2p1\r\n")
        await conversation.read_to_end()

    async with target(speaking) as origin, balancing(in_front_of(f"https://{origin.address}"), idle_timeout=600) as it:
        client = await it.client()
        async with asyncio.timeout(20):
            assert (await client.get()).status == 502


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n\n"], ids=repr)
async def test_check_of_a_target_that_speaks_no_http_fails_at_once(said: bytes) -> None:
    """Not as one that is silent."""
    patient = Patient()
    patient.answer = said
    async with one(patient, alb.HealthCheck(**{**QUICK, "timeout": 120, "interval": 300}, unhealthy_threshold=1)) as (it, _):  # type: ignore[arg-type]
        await until(lambda: it.load_balancer.describe_target_health("group")[0].state is UNHEALTHY)
        (described,) = it.load_balancer.describe_target_health("group")
        assert described.reason == "Target.FailedHealthChecks"
        assert "LF" in (described.description or "") or "HTTP/1" in (described.description or "")


# A 426


_UPGRADE = (b"Upgrade: websocket", b"Connection: Upgrade")


async def test_426_says_what_to_upgrade_to_and_the_connection_goes_on() -> None:
    """RFC 9110 section 15.5.22; nothing is switched."""
    async with target(None, response(426, b"no", *_UPGRADE), response()) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        answer = await client.get()
        assert (answer.status, answer.get(b"upgrade"), answer.get(b"connection")) == (426, b"websocket", b"Upgrade")
        assert (await client.get()).status == 200
        assert len(origin.conversations) == 1
        assert "TunnelCount" not in gateway.counters


@pytest.mark.parametrize(
    ("raw", "connection", "ends"),
    [
        pytest.param(request("GET", "/", "Connection: close"), b"Upgrade, close", True, id="close"),
        pytest.param(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", b"Upgrade, close", True, id="1.0"),
        pytest.param(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", b"Upgrade, keep-alive", False, id="1.0 keep-alive"),
        pytest.param(request("HEAD", "/"), b"Upgrade", False, id="HEAD"),
    ],
)
async def test_426_has_one_connection_field(raw: bytes, connection: bytes, ends: bool) -> None:
    """With what becomes of the connection in it."""
    fields = {"response_headers": {"X-Of-Listener": "1"}}
    group_answer = response(426, b"no", *_UPGRADE)
    async with target(None, group_answer) as origin:
        group = alb.TargetGroup("group", origin.address, stickiness=alb.LbCookie())
        async with balancing(alb.Listener(0, alb.Forward(group), host="127.0.0.1", **fields)) as it:  # type: ignore[arg-type]
            client = await it.client()
            client.send(raw)
            answer = await client.response("HEAD" if raw.startswith(b"HEAD") else "GET")
            assert (answer.status, answer.get(b"upgrade"), answer.get(b"connection")) == (426, b"websocket", connection)
            assert answer.get(b"x-of-listener") == b"1"
            if ends:
                assert await client.is_closed()
            else:
                assert (await client.get()).status == 426


async def test_426_of_a_target_that_closes_ends_the_target_only() -> None:
    """Its close is its own affair."""
    refusal = response(426, b"no", b"Upgrade: websocket", b"Connection: close, Upgrade")
    async with target(None, refusal) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        for number in (1, 2):
            answer = await client.get()
            assert (answer.status, answer.get(b"connection")) == (426, b"Upgrade")
            await origin.arrived(number)


async def test_upgrade_on_any_other_response_ends_here() -> None:
    """It says what the target could speak with us."""
    async with target(None, response(200, b"ok", *_UPGRADE)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        answer = await client.get()
        assert (answer.get(b"upgrade"), answer.get(b"connection")) == (None, None)


# Byte by byte


class _Transport:
    """Takes everything and does nothing."""

    def __init__(self) -> None:
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None: ...

    def set_write_buffer_limits(self, **_: Any) -> None: ...

    def get_extra_info(self, _: str) -> None:
        return None


async def _asked(method: str = "GET", before: bytes = b"") -> tuple[Http1TargetConnection, _Transport, asyncio.Future[object]]:
    member: Any = SimpleNamespace()
    connections: Any = SimpleNamespace(remove=lambda _: None)
    connection = Http1TargetConnection(member, connections, Counters(), Limits())
    transport: Any = _Transport()
    connection.connection_made(transport)
    for place in range(len(before)):
        connection.data_received(before[place : place + 1])
    client: Any = SimpleNamespace(upstream=None, send_interim=lambda _: None)
    waiter: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    asked: Any = SimpleNamespace(lines=[], method=method, chunked=False)
    connection.send_head(asked, client, waiter)
    return connection, transport, waiter


def _feed(connection: Http1TargetConnection, data: bytes) -> float:
    """Byte by byte; the CPU time that takes."""
    before = time.process_time()
    for place in range(len(data)):
        connection.data_received(data[place : place + 1])
    return time.process_time() - before


async def test_head_in_pieces_of_one_byte_is_read_in_linear_time() -> None:
    """32 K of it: no byte is looked at, or copied, again and again."""
    fields = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 40) for number in range(600))
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + fields + b"\r\n"
    assert 25_000 < len(head) < 32_768
    connection, _, waiter = await _asked()
    small = _feed(connection, head[:3000])
    large = _feed(connection, head[3000:])
    assert waiter.done()
    assert connection.response.status == 200
    assert large < 60 * max(small, 0.001)
    connection.data_received(b"ok")


async def test_head_behind_interim_ones_in_pieces_of_one_byte_is_read() -> None:
    """Each begins anew."""
    connection, _, waiter = await _asked()
    interim = b"HTTP/1.1 103 x\r\nLink: y\r\n\r\n"
    _feed(connection, interim * 3 + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    assert waiter.done()
    assert (connection.response.status, connection.response.content_length) == (200, 2)
    connection.data_received(b"ok")
    assert connection.first_pieces() == ([b"ok"], True, [])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
async def test_head_in_pieces_of_any_size_is_the_same(size: int) -> None:
    """Wherever it is cut, the body behind it among the rest."""
    raw = b"HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello"
    connection, _, waiter = await _asked()
    for start in range(0, len(raw), size):
        connection.data_received(raw[start : start + size])
    assert waiter.done()
    assert connection.response.lines == [b"HTTP/1.1 200 OK", b"A: b", b"Content-Length: 5"]
    pieces, over, _ = connection.first_pieces()
    assert (b"".join(pieces), over) == (b"hello", True)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"HTTP/1.1 200 OK\nA", FailureKind.RESPONSE_BARE_LF),
        (b"SMTP", FailureKind.RESPONSE_NOT_HTTP),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 40_000, FailureKind.RESPONSE_HEAD_TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 6000, FailureKind.RESPONSE_HEAD_TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", FailureKind.RESPONSE_MALFORMED),
    ],
)
@pytest.mark.parametrize("at_once", [False, True])
async def test_head_that_is_none_is_refused_in_any_pieces(raw: bytes, kind: FailureKind, at_once: bool) -> None:
    """And its connection ends."""
    connection, transport, waiter = await _asked()
    if at_once:
        connection.data_received(raw)
    else:
        _feed(connection, raw)
    failure = waiter.exception()
    assert isinstance(failure, Failure)
    assert failure.kind is kind
    assert transport.aborted


@pytest.mark.no_cover
async def test_million_bytes_that_are_no_head_cost_one_look() -> None:
    """The first bytes decide."""
    connection, transport, waiter = await _asked()
    before = time.process_time()
    for _ in range(1000):
        connection.data_received(b"x" * 1000)
    assert time.process_time() - before < 0.5
    assert transport.aborted
    assert isinstance(waiter.exception(), Failure)
    assert len(connection._partial.data) <= 1000


@pytest.mark.parametrize(
    ("before", "kind"),
    [
        (b"SSH-2.0-x\r\n", FailureKind.RESPONSE_NOT_HTTP),
        (b"2", FailureKind.RESPONSE_NOT_HTTP),
        (response(200, b"early"), FailureKind.TARGET_CLOSED),
        (b"HTTP", FailureKind.TARGET_CLOSED),
    ],
    ids=repr,
)
async def test_target_that_speaks_before_it_is_asked_is_not_listened_to(before: bytes, kind: FailureKind) -> None:
    """Whose answer that is nobody knows; what might be one may be asked for again, on another connection."""
    _, transport, waiter = await _asked(before=before)
    failure = waiter.exception()
    assert isinstance(failure, Failure)
    assert failure.kind is kind
    assert transport.aborted

"""Clients that send as slowly as they can: heads, bodies, PROXY headers and handshakes. Time is in the test's hands."""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
from typing import Any

import pytest

import albkit as alb
from albkit.proxy.client.http1_connection import Http1ClientConnection
from albkit.proxy.client.http1_states import READING_BODY
from tests.functional.test_connection_limits import Crowd, _client_hello, crowd, header
from tests.support.peers import Conversation, RawClient, Response, request, response, target
from tests.support.tunnels import SWITCHED, UPGRADE, echo, switching

RATE = 1000.0
STEP = 0.5


async def _holding(conversation: Conversation) -> None:
    """Takes a head and keeps the conversation."""
    await conversation.head()
    await conversation.read_to_end()


class Slow:
    """One client of a running load balancer, looked at whenever a test says."""

    def __init__(self, it: Crowd, client: RawClient) -> None:
        self.it = it
        self.client = client
        # In whole seconds, so that half seconds add up to them.
        self.now = 0.0 + math.ceil(it.runtime.clock.monotonic())

    @classmethod
    async def come(cls, it: Crowd) -> Slow:
        """Connect, and be past the handshake."""
        client = await it.come()
        async with asyncio.timeout(3):
            while not any(isinstance(one, Http1ClientConnection) for one in it.runtime.clients):
                await asyncio.sleep(0)
        return cls(it, client)

    async def answer(self) -> Response:
        """The next response, soon."""
        async with asyncio.timeout(5):
            return await self.client.response()

    @property
    def connection(self) -> Http1ClientConnection:
        (connection,) = it = tuple(self.it.runtime.clients)
        assert len(it) == 1
        assert isinstance(connection, Http1ClientConnection)
        return connection

    async def drip(self, data: bytes = b"x") -> None:
        """Send this, and wait until it has come."""
        exchange, kept = self.connection.exchange, self.connection.socket.receive_buffer
        before = exchange.received_bytes + len(kept)
        self.client.send(data)
        async with asyncio.timeout(3):
            while exchange.received_bytes + len(kept) < before + len(data):
                await asyncio.sleep(0)

    async def owes(self) -> None:
        """Wait until the client's body is waited for."""
        async with asyncio.timeout(3):
            while self.connection.socket.state != READING_BODY:
                await asyncio.sleep(0)

    def look(self, seconds: float = STEP) -> None:
        """Time passes, and deadlines are looked at."""
        self.now += seconds
        for swept in tuple(self.it.runtime.clients):
            swept.sweep(self.now)  # type: ignore[attr-defined]


@pytest.mark.parametrize("door", ["HTTP", "HTTPS"])
async def test_head_that_drips_is_told_408_after_its_timeout(door: str, caplog: pytest.LogCaptureFixture) -> None:
    """A byte at a time does not stretch the time for the whole head."""
    async with target() as origin, crowd(door, origin.address, limits=alb.Limits(request_head_timeout=4)) as it:
        slow = await Slow.come(it)
        await slow.drip(b"G")
        slow.look(0)
        for byte in b"ET / HT":
            await slow.drip(bytes([byte]))
            slow.look()
        assert not it.counters.get("Failure_RequestHeadTimeout")
        with caplog.at_level(logging.INFO, "albkit"):
            slow.look()
            answer = await slow.answer()
        assert answer.status == 408
        assert answer.get(b"connection") == b"close"
        (line,) = [record for record in caplog.records if "RequestHeadTimeout" in record.message]
        assert line.levelno == logging.INFO
        assert "the whole head has 4 s from its first byte" in line.message
        assert it.counters["Failure_RequestHeadTimeout"] == it.counters["HTTPCode_ELB_4XX_Count"] == 1
        assert origin.conversations == []


@pytest.mark.parametrize("door", ["HTTP", "HTTPS"])
async def test_idle_time_between_requests_is_no_time_of_a_head(door: str) -> None:
    """A connection that waits for its next request for long is served, and each head has its whole time."""
    async with target() as origin, crowd(door, origin.address, limits=alb.Limits(request_head_timeout=4)) as it:
        slow = await Slow.come(it)
        for _ in range(3):
            for _ in range(20):
                slow.look()
            head = request("GET", "/")
            await slow.drip(head[:10])
            for _ in range(7):
                slow.look()
            slow.client.send(head[10:])
            assert (await slow.answer()).status == 200
        assert not it.counters.get("Failure_RequestHeadTimeout")


async def test_client_that_reads_slowly_is_not_blamed_for_a_head_that_has_come() -> None:
    """What it asks next waits here until it has read what it asked before: nothing of it is awaited. Then its head has its time again."""
    async with target() as origin, crowd("HTTP", origin.address, limits=alb.Limits(request_head_timeout=4)) as it:
        slow = await Slow.come(it)
        connection = slow.connection
        connection.pause_writing()
        await slow.drip(request("GET", "/") + b"GET ")
        for _ in range(20):
            slow.look()
        assert origin.conversations == []
        connection.resume_writing()
        assert (await slow.answer()).status == 200
        for _ in range(8):
            slow.look()
        slow.look()
        assert (await slow.answer()).status == 408


@pytest.mark.parametrize("door", ["HTTP", "HTTPS"])
@pytest.mark.parametrize("framing", ["sized", "chunked"])
async def test_body_that_drips_is_told_408_and_the_target_is_not_blamed(door: str, framing: str, caplog: pytest.LogCaptureFixture) -> None:
    """After five seconds below the rate: 408, the request at the target is given up, and nothing is held against the target."""
    field = "Content-Length: 100000" if framing == "sized" else "Transfer-Encoding: chunked"
    piece = b"x" * 100 if framing == "sized" else b"64\r\n" + b"x" * 100 + b"\r\n"
    async with target(_holding) as origin, crowd(door, origin.address, limits=alb.Limits(request_body_rate=RATE)) as it:
        slow = await Slow.come(it)
        slow.client.send(request("POST", "/", field))
        conversation = await origin.arrived()
        await slow.owes()
        slow.look(0)
        for _ in range(9):
            await slow.drip(piece)
            slow.look()
        assert not it.counters.get("Failure_RequestBodyTooSlow")
        with caplog.at_level(logging.INFO, "albkit"):
            slow.look()
            answer = await slow.answer()
        assert (answer.status, answer.get(b"connection")) == (408, b"close")
        await asyncio.wait_for(conversation.over.wait(), 3)
        (line,) = [record for record in caplog.records if "RequestBodyTooSlow" in record.message]
        assert line.levelno == logging.INFO
        assert "phase=request body side=client status=408" in line.message
        assert "less than 1000 bytes a second" in line.message
        assert it.counters["Failure_RequestBodyTooSlow"] == it.counters["HTTPCode_ELB_4XX_Count"] == 1
        assert not [name for name in it.counters if name.startswith(("Failure_Target", "TargetConnectionError", "HTTPCode_ELB_5"))]
        (state,) = it.runtime.registry.groups
        (member,) = state.members.values()
        assert member.counters.target_connection_errors == 0


@pytest.mark.parametrize("framing", ["sized", "chunked"])
async def test_body_at_the_rate_with_pauses_is_taken(framing: str) -> None:
    """Plenty, then less than five seconds of nothing, again and again."""
    field = "Content-Length: 30000" if framing == "sized" else "Transfer-Encoding: chunked"
    piece = b"x" * 10000 if framing == "sized" else b"2710\r\n" + b"x" * 10000 + b"\r\n"
    async with target() as origin, crowd("HTTP", origin.address, limits=alb.Limits(request_body_rate=RATE)) as it:
        slow = await Slow.come(it)
        slow.client.send(request("POST", "/", field))
        await origin.arrived()
        await slow.owes()
        slow.look(0)
        for _ in range(3):
            if framing == "sized" and _ == 2:
                break
            await slow.drip(piece)
            for _ in range(9):
                slow.look()
        slow.client.send(piece if framing == "sized" else b"0\r\n\r\n")
        assert (await slow.answer()).status == 200


async def test_client_whose_target_does_not_read_is_not_blamed() -> None:
    """Back-pressure is the target's: the client cannot send."""
    async with target(None) as origin:
        stopped = asyncio.Event()

        async def stubborn(conversation: Conversation) -> None:
            await conversation.head()
            transport: Any = conversation.writer.transport
            transport.pause_reading()
            await stopped.wait()
            transport.resume_reading()
            await conversation.read_exactly(20_000_000 - len(conversation.received.partition(b"\r\n\r\n")[2]))
            conversation.send(response())

        origin.script = stubborn
        async with crowd("HTTP", origin.address, limits=alb.Limits(request_body_rate=RATE)) as it:
            slow = await Slow.come(it)
            slow.client.send(request("POST", "/", "Content-Length: 20000000") + bytes(20_000_000))
            async with asyncio.timeout(5):
                while not slow.connection.socket.is_paused:
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.05)
            assert slow.connection.socket.is_paused
            for _ in range(40):
                slow.look()
            assert not it.counters.get("Failure_RequestBodyTooSlow")
            stopped.set()
            assert (await slow.answer()).status == 200


async def test_body_that_a_hook_waits_for_is_told_408() -> None:
    """It makes no difference who reads the body."""

    async def reads(asked: alb.Request) -> None:
        await asked.body()  # type: ignore[attr-defined]

    async with target() as origin, crowd("HTTP", origin.address, limits=alb.Limits(request_body_rate=RATE)) as it:
        group = alb.TargetGroup("group", origin.address)
        await it.load_balancer.apply(alb.Listener(0, [reads, alb.Forward(group)], host="127.0.0.1"))
        slow = await Slow.come(it)
        slow.client.send(request("POST", "/", "Content-Length: 100000"))
        await slow.owes()
        slow.look(0)
        for _ in range(10):
            await slow.drip()
            slow.look()
        assert (await slow.answer()).status == 408
        assert origin.conversations == []


async def test_many_small_bodies_caught_in_the_same_place_are_taken() -> None:
    """Each request is looked at behind its head: none is slow, and together they are not, either."""
    async with target() as origin, crowd("HTTP", origin.address, limits=alb.Limits(request_body_rate=RATE)) as it:
        slow = await Slow.come(it)
        for place in range(20):
            slow.client.send(request("POST", "/", "Content-Length: 5"))
            await origin.arrived()
            await slow.owes()
            slow.look()
            slow.client.send(b"12345")
            assert (await slow.answer()).status == 200, place
        assert not it.counters.get("Failure_RequestBodyTooSlow")


async def test_tunnels_and_responses_have_no_rate() -> None:
    """A quiet WebSocket and a client that waits for its answer send nothing, and may."""
    limits = alb.Limits(request_body_rate=RATE)
    async with (
        target(switching(SWITCHED, then=echo)) as origin,
        crowd("HTTP", origin.address, limits=alb.Limits(request_body_rate=RATE)) as it,
    ):
        client = await it.come()
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 101
        now = it.runtime.clock.monotonic()
        for turn in range(40):
            it.runtime.sweep.look(now + turn * STEP)
        client.send(b"\x81\x80\0\0\0\0")
        assert await client.read_exactly(6) == b"\x81\x80\0\0\0\0"
    async with target(_holding) as origin, crowd("HTTP", origin.address, limits=limits) as it:
        slow = await Slow.come(it)
        slow.client.send(request("POST", "/", "Content-Length: 5") + b"12345")
        conversation = await origin.arrived()
        async with asyncio.timeout(3):
            while not conversation.received:
                await asyncio.sleep(0)
        for _ in range(40):
            slow.look()
        conversation.send(response())
        assert (await slow.answer()).status == 200


@pytest.mark.parametrize(
    ("door", "begin", "kind"),
    [
        ("HTTP behind PROXY", b"", "ProxyHeaderTimeout"),
        ("HTTP behind PROXY", b"PROXY TCP4 192.0.2", "ProxyHeaderTimeout"),
        ("TCP behind PROXY", b"\r\n\r\n\0\r\nQU", "ProxyHeaderTimeout"),
        ("HTTPS", b"", "TlsHandshakeTimeout"),
        ("HTTPS", b"\x16\x03", "TlsHandshakeTimeout"),
        ("HTTPS behind PROXY", header("192.0.2.7"), "TlsHandshakeTimeout"),
        ("TLS", b"HELLO", "TlsHandshakeTimeout"),
    ],
)
async def test_entry_that_does_not_come_to_an_end_is_ended(door: str, begin: bytes, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """PROXY header and handshake together have handshake_timeout; not a moment less, whatever drips."""
    data = _client_hello()[:-1] if begin == b"HELLO" else begin
    async with crowd(door, "127.0.0.1:1", limits=alb.Limits(handshake_timeout=9)) as it:
        client = await RawClient.connect(it.port)
        it.clients.append(client)
        client.send(data)
        await it.until(1)
        now = it.runtime.clock.monotonic()
        await asyncio.sleep(0.01)
        it.runtime.sweep.look(now + 8.5)
        assert it.count == 1
        with caplog.at_level(logging.INFO, "albkit"):
            it.runtime.sweep.look(now + 9.5)
            await it.until(0)
        (line,) = [record for record in caplog.records if kind in record.message]
        assert line.levelno == logging.INFO
        assert "phase=entry side=client" in line.message
        assert it.counters[f"Failure_{kind}"] == 1
        assert it.counters.get("ClientTLSNegotiationErrorCount", 0) == (kind == "TlsHandshakeTimeout")
        assert len([name for name in it.counters if name.startswith("Failure_")]) == 1


def test_client_hello_is_one_record() -> None:
    """What the tests above cut short is a handshake's first message."""
    assert _client_hello()[:1] == b"\x16"
    assert ssl.HAS_TLSv1_3

"""A connection behind its last answer: read on while bytes come, so that a client which sends before it reads gets the answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

import albkit as alb
from albkit.proxy.client.http1_states import LINGERING
from albkit.proxy.lingering_close import MOST, SILENCE, LingeringClose
from tests.functional.test_connection_limits import described
from tests.support.clock import FakeClock
from tests.support.gateway import Running, leaving_nothing
from tests.support.peers import RawClient, request, response, target
from tests.support.secure import SecureClient

SIZE = 20_000_000
"""More than the kernel keeps of one connection: it arrives only if it is read."""
UPLOAD = request("POST", "/", f"Content-Length: {SIZE}")
ANSWERS = {
    403: alb.FixedResponse(403, "no"),
    302: alb.Redirect(path="/elsewhere", status_code=302),
    503: alb.Forward(alb.TargetGroup("empty", [])),
}


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    """A hang is a failure with a place."""
    async with asyncio.timeout(30):
        yield


@contextlib.asynccontextmanager
async def answering(action: Any, **settings: Any) -> AsyncIterator[Running]:
    """A load balancer that answers at once, whatever is asked; its time stands still."""
    settings.setdefault("clock", FakeClock())
    load_balancer = alb.LoadBalancer(alb.Listener(0, action, host="127.0.0.1"), stop_timeout=0.2, **settings)
    async with leaving_nothing(Running(load_balancer)) as it:
        yield it


async def sent(client: RawClient, size: int) -> None:
    """Send so many bytes and wait until the kernel has them."""
    for _ in range(size // 100_000):
        client.send(bytes(100_000))
        await client.drain()


class Clocked:
    """The one connection of a load balancer, whose deadlines are looked at when the test says."""

    def __init__(self, it: Running, clock: FakeClock) -> None:
        self.it = it
        self.clock = clock

    async def pass_by(self, seconds: float) -> bool:
        """Time passes; whether the connection is still there."""
        self.clock.advance(seconds)
        for swept in tuple(self.it.runtime.clients):
            swept.sweep(self.clock.monotonic())  # type: ignore[attr-defined]
        for _ in range(3):
            await asyncio.sleep(0)
        return bool(self.it.runtime.clients)

    async def hears(self, client: RawClient) -> None:
        """A byte of the client's arrives."""
        (connection,) = self.it.runtime.clients
        client.send(b"x")
        socket = getattr(connection, "socket", connection)
        while not socket.is_active:
            await asyncio.sleep(0)


@pytest.mark.parametrize("action", ANSWERS.values(), ids=["fixed", "redirect", "no target"])
async def test_early_answer_reaches_a_client_that_sends_its_whole_body_first(action: Any) -> None:
    """It is taken to the end of its body, and finds the answer then (RFC 9112 section 9.6)."""
    async with answering(action) as it:
        client = await it.client()
        client.writer.transport.pause_reading()
        client.send(UPLOAD)
        await sent(client, SIZE)
        client.writer.transport.resume_reading()
        answer = await client.response()
        assert answer.status in (403, 302, 503)
        assert answer.get(b"connection") == b"close"
        assert await client.read_to_end() == b""


@pytest.mark.parametrize("door", ["HTTP", "HTTPS"])
async def test_early_answer_of_a_target_reaches_a_client_that_sends_first(door: str) -> None:
    """The same where the target refuses: 413, and the rest of the body goes nowhere."""

    async def refusing(conversation: Any) -> None:
        await conversation.head()
        conversation.send(response(413, b"too large", b"Connection: close"))
        await conversation.read_to_end()

    async with target(refusing) as origin:
        load_balancer = alb.LoadBalancer(described(door, origin.address), stop_timeout=0.2, clock=FakeClock())
        async with leaving_nothing(Running(load_balancer)) as it:
            client = await (SecureClient.secure(it.port) if door == "HTTPS" else RawClient.connect(it.port))
            it.clients.append(client)
            client.send(UPLOAD)
            await sent(client, SIZE)
            answer = await client.response()
            assert (answer.status, answer.body) == (413, b"too large")


async def test_client_that_goes_on_behind_the_answer_is_not_reset() -> None:
    """Closed at once, the connection is reset by the first byte that comes, and the second fails in sending."""
    async with answering(ANSWERS[403]) as it:
        client = await it.client()
        client.send(UPLOAD)
        assert (await client.response()).status == 403
        assert await client.read_to_end() == b"", "FIN is there, behind the answer"
        await sent(client, SIZE)
        assert it.runtime.clients


async def test_lingering_ends_after_silence_and_not_before() -> None:
    """Each byte that comes gives it its time anew."""
    clock = FakeClock()
    async with answering(ANSWERS[403], clock=clock) as it:
        one = Clocked(it, clock)
        client = await it.client()
        client.send(UPLOAD)
        assert (await client.response()).status == 403
        assert await one.pass_by(1)
        for _ in range(5):
            assert await one.pass_by(SILENCE - 0.5)
            await one.hears(client)
            assert await one.pass_by(0.25)
        assert await one.pass_by(SILENCE - 0.5)
        assert not await one.pass_by(0.75)
        assert await client.is_closed()


async def test_lingering_ends_however_much_still_comes() -> None:
    """A client that never stops is not read for ever."""
    clock = FakeClock()
    async with answering(ANSWERS[403], clock=clock) as it:
        one = Clocked(it, clock)
        client = await it.client()
        client.send(UPLOAD)
        assert (await client.response()).status == 403
        assert await one.pass_by(0)
        for _ in range(int(MOST) - 1):
            await one.hears(client)
            assert await one.pass_by(1)
        await one.hears(client)
        assert not await one.pass_by(1)
        assert await client.is_closed()


async def test_lingering_begins_when_all_is_sent() -> None:
    """A client that takes a long answer slowly has its time for that, and then as long as any other."""
    clock = FakeClock()
    size = 12_000_000
    body = bytes(size)
    limits = alb.Limits(in_flight=2 * size)
    async with target(None, response(200, body)) as origin:
        group = alb.TargetGroup("group", [origin.address])
        async with answering(alb.Forward(group), clock=clock, limits=limits, idle_timeout=60) as it:
            one = Clocked(it, clock)
            client = await it.client()
            client.writer.transport.pause_reading()
            client.send(request("GET", "/", "Connection: close") + b"more")
            while not (it.runtime.clients and next(iter(it.runtime.clients)).socket.transport.get_write_buffer_size()):  # type: ignore[attr-defined]
                await asyncio.sleep(0.01)
            while origin.conversations[0].writer.transport.get_write_buffer_size():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            for _ in range(4):
                assert await one.pass_by(MOST / 3)
            client.writer.transport.resume_reading()
            assert len((await client.response()).body) == size
            assert await one.pass_by(1)
            assert await one.pass_by(SILENCE - 1)
            assert not await one.pass_by(1)


async def test_whole_response_until_close_is_lingered_for_and_ends_without_reset() -> None:
    """A reset would say that it is not whole."""
    clock = FakeClock()

    async def early(conversation: Any) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\n\r\nwhole")

    async with target(early) as origin:
        group = alb.TargetGroup("group", [origin.address])
        async with answering(alb.Forward(group), clock=clock) as it:
            one = Clocked(it, clock)
            client = await it.client()
            client.writer.transport.pause_reading()
            client.send(b"POST / HTTP/1.0\r\nContent-Length: 10\r\n\r\nhalf")
            while not (it.runtime.clients and next(iter(it.runtime.clients)).socket.state == LINGERING):  # type: ignore[attr-defined]
                await asyncio.sleep(0)
            assert await one.pass_by(1)
            assert not await one.pass_by(SILENCE)
            assert client.writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            client.writer.transport.resume_reading()
            assert (await client.read_to_end()).endswith(b"\r\n\r\nwhole")


async def test_stop_ends_lingering_with_those_who_are_silent() -> None:
    """Nobody waits five seconds for a client that keeps its side open and says nothing."""
    clock = FakeClock()
    async with answering(ANSWERS[403], clock=clock, idle_timeout=1000) as it:
        client = await it.client()
        client.send(UPLOAD)
        assert (await client.response()).status == 403
        gateway = it.runtime
        one = Clocked(it, clock)
        assert await one.pass_by(0.1)
        (connection,) = gateway.clients
        connection.stop()
        await one.hears(client)
        assert await one.pass_by(0.1), "it still sends, and may not have seen its answer"
        assert not await one.pass_by(0.1)


async def test_plain_http_at_a_tls_port_is_lingered_for_alike() -> None:
    """The vestibule answers as well, and is as patient: silence ends it, and bytes that never end do."""
    clock = FakeClock()
    load_balancer = alb.LoadBalancer(described("HTTPS", "127.0.0.1:9"), stop_timeout=0.2, clock=clock)
    async with leaving_nothing(Running(load_balancer)) as it:
        one = Clocked(it, clock)
        client = await it.client()
        client.send(request("POST", "/", "Content-Length: 100000"))
        assert (await client.response()).status == 400
        assert await one.pass_by(0)
        for _ in range(int(MOST / (SILENCE - 1))):
            await one.hears(client)
            assert await one.pass_by(SILENCE - 1)
        await one.hears(client)
        assert not await one.pass_by(SILENCE - 1)

        client = await it.client()
        client.send(request("GET", "/"))
        assert (await client.response()).status == 400
        assert await one.pass_by(0)
        assert await one.pass_by(SILENCE - 0.1)
        assert not await one.pass_by(0.1)


def test_bounds_count_from_the_first_look() -> None:
    """A sweep that comes late takes no time away."""
    lingering = LingeringClose()
    assert not lingering.is_over(1000.0, heard=False)
    assert not lingering.is_over(1000.0 + SILENCE - 0.1, heard=False)
    assert lingering.is_over(1000.0 + SILENCE, heard=False)

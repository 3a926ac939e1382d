"""Every deadline (docs/alb.md 2.9, docs/listening.md), and that it bites."""

from __future__ import annotations

import asyncio
import socket

import pytest

import albkit as alb
from tests.support.clock import FakeClock
from tests.support.gateway import running
from tests.support.peers import Conversation, request, response, target

IDLE = 0.2
"""An idle timeout that tests can wait for; real time, because what is tested is that sockets close on their own."""


async def silent(conversation: Conversation) -> None:
    """A target that takes a request and never answers."""
    await conversation.head()
    await conversation.read_to_end()


async def test_client_that_never_sends_is_told_408() -> None:
    """A fresh connection without a byte gets a 408 after the idle timeout."""
    async with target() as origin, running(origin.address, idle_timeout=IDLE) as gateway:
        client = await gateway.client()
        answer = await client.response()
        assert answer.status == 408
        assert answer.get(b"connection") == b"close"
        assert await client.is_closed()
        assert gateway.counters["Failure_RequestHeadTimeout"] == 1


async def test_head_that_drips_gets_one_idle_timeout_in_all() -> None:
    """A byte now and then does not stretch the time for a head."""
    async with target() as origin, running(origin.address, idle_timeout=IDLE) as gateway:
        client = await gateway.client()
        answered = asyncio.ensure_future(client.response())
        drops = 0
        while not answered.done():
            client.send(b"A")
            drops += 1
            await asyncio.wait([answered], timeout=IDLE / 8)
        assert (await answered).status == 408
        assert drops < 8 * 10
        assert origin.conversations == []


async def test_connection_between_requests_closes_without_a_word() -> None:
    """Between two requests nothing is said."""
    async with target() as origin, running(origin.address, idle_timeout=IDLE) as gateway:
        client = await gateway.client()
        assert (await client.get()).status == 200
        assert await client.is_closed()
        assert "HTTPCode_ELB_4XX_Count" not in gateway.counters


async def test_body_that_stops_coming_is_told_408() -> None:
    """The client owes more of its body."""
    async with target(silent) as origin, running(origin.address, idle_timeout=IDLE) as gateway:
        client = await gateway.client()
        client.send(request("POST", "/", "Content-Length: 10") + b"12345")
        assert (await client.response()).status == 408
        assert await client.is_closed()
        assert gateway.counters["Failure_RequestBodyTimeout"] == 1


async def test_silent_target_is_told_504() -> None:
    """The target owes its response."""
    async with target(silent) as origin, running(origin.address, idle_timeout=IDLE) as gateway:
        client = await gateway.client()
        assert (await client.get()).status == 504
        assert gateway.counters["Failure_TargetTimeout"] == 1
        assert gateway.counters["HTTPCode_ELB_504_Count"] == 1
        await (await origin.arrived()).over.wait()


async def test_bytes_of_either_side_keep_an_exchange_alive() -> None:
    """An upload that drips for several idle timeouts is not ended while the target is silent."""
    async with target() as origin, running(origin.address, idle_timeout=IDLE) as gateway:
        client = await gateway.client()
        client.send(request("POST", "/", "Content-Length: 12"))
        for _ in range(12):
            client.send(b"x")
            await asyncio.sleep(IDLE / 4)
        assert (await client.response()).status == 200


async def test_response_that_stops_coming_is_cut() -> None:
    """Nothing can be said any more: the client sees a body that is too short."""

    async def stalling(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        await conversation.read_to_end()

    async with target(stalling) as origin, running(origin.address, idle_timeout=IDLE) as gateway:
        client = await gateway.client()
        answer = await client.get()
        assert (answer.status, answer.body, answer.complete) == (200, b"12345", False)
        assert gateway.counters["Failure_ResponseBodyTimeout"] == 1


async def test_client_that_does_not_read_is_cut() -> None:
    """A write without progress ends after the idle timeout, and the target's connection with it."""
    over = asyncio.Event()

    async def generous(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        try:
            while True:
                conversation.send(bytes(65536))
                await conversation.drain()
        finally:
            over.set()

    async with target(generous) as origin, running(origin.address, idle_timeout=IDLE) as gateway:
        client = await gateway.client(slow=True)
        client.send(request("GET", "/"))
        await over.wait()
        assert gateway.counters["Failure_ClientStalled"] == 1


async def test_client_that_pipelines_and_does_not_read_is_cut() -> None:
    """Answers nobody reads do not pile up: no further request is taken, and in the end the connection goes."""
    big = response(200, bytes(200_000))
    async with target(None, big) as origin, running(origin.address, idle_timeout=IDLE) as gateway:
        client = await gateway.client(slow=True)
        client.send(request("GET", "/") * 1000)
        while gateway.runtime.clients or not origin.heads:
            await asyncio.sleep(IDLE / 4)
        assert len(origin.heads) < 100


async def test_old_connection_gets_one_more_answer() -> None:
    """Past the client keep-alive the next answer says close; its age counts, not its silence."""
    async with target() as origin, running(origin.address, client_keep_alive=IDLE) as gateway:
        client = await gateway.client()
        answer = await client.get()
        assert answer.get(b"connection") is None
        answers = 1
        while (answer := await client.get()).get(b"connection") is None:
            answers += 1
            await asyncio.sleep(IDLE / 10)
        assert answer.status == 200
        assert answers < 10 * 10
        assert await client.is_closed()


async def test_lingering_connection_is_closed_after_a_while() -> None:
    """A client that keeps its side open after our FIN is not kept for ever."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert (await client.response()).status == 400
        assert await client.is_closed()
        client.send(b"still here")
        async with asyncio.timeout(6):
            while gateway.runtime.clients:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("fields", [b"HTTP/1.1\r\nHost: a\r\nConnection: close", b"HTTP/1.0"])
async def test_client_that_is_through_is_not_lingered_for(fields: bytes) -> None:
    """It has said so, and nothing came behind its request: its socket is given back with the answer, whenever it sends FIN itself."""
    async with target() as origin, running(origin.address, clock=FakeClock()) as gateway:
        client = await gateway.client()
        client.send(b"GET / " + fields + b"\r\n\r\n")
        async with asyncio.timeout(5):
            assert (await client.response()).status == 200
            while gateway.runtime.clients:
                await asyncio.sleep(0.01)
            assert await client.is_closed()


async def test_client_that_is_through_and_goes_on_gets_its_answer_whole() -> None:
    """What it sent behind its last request must not have RST overtake the answer."""
    body = bytes(200_000)
    async with target(None, response(200, body)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/", "Connection: close") + request("GET", "/more"))
        assert (await client.response()).body == body
        assert await client.read_to_end() == b""
        client.send_fin()


async def test_target_that_does_not_accept_is_a_504() -> None:
    """Connecting has its own deadline."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        async with running(f"127.0.0.1:{full.getsockname()[1]}", limits=alb.Limits(connect_timeout=IDLE)) as gateway:
            client = await gateway.client()
            assert (await client.get()).status == 504
            assert gateway.counters["Failure_TargetConnectTimeout"] == 1
            assert gateway.counters["TargetConnectionErrorCount"] == 3
        for filler in fillers:
            filler.close()


async def test_idle_target_connection_is_given_up() -> None:
    """A target's word on how long it keeps a connection is heard."""
    answer = response(200, b"ok", b"Keep-Alive: timeout=1")
    async with target(None, answer) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        await client.get()
        (state,) = gateway.runtime.registry.groups
        assert gateway.runtime.connections.idle(next(iter(state.members.values()))) == 1
        await (await origin.arrived()).over.wait()
        assert gateway.runtime.connections.idle(next(iter(state.members.values()))) == 0


async def test_idle_target_connection_lives_for_the_target_keep_alive() -> None:
    """Ours to set where the target says nothing."""
    async with target() as origin, running(origin.address, limits=alb.Limits(target_keep_alive=IDLE)) as gateway:
        client = await gateway.client()
        await client.get()
        await (await origin.arrived()).over.wait()
        assert gateway.counters["IdleTargetConnectionsClosedCount"] == 1


async def test_settings_arrive_where_they_bite() -> None:
    """No timeout is dropped on its way from the constructor."""
    group = alb.TargetGroup("g", [])
    listener = alb.Listener(0, alb.Forward(group), host="127.0.0.1")
    async with alb.LoadBalancer(listener, idle_timeout=7, client_keep_alive=11, stop_timeout=3) as load_balancer:
        assert load_balancer._runtime is not None
        settings = load_balancer._runtime.settings
        assert (settings.idle_timeout, settings.client_keep_alive, settings.stop_timeout) == (7, 11, 3)

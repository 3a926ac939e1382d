"""Every bound (docs/alb.md 2.3, docs/listening.md), and that it bites."""

from __future__ import annotations

import asyncio

import pytest

import albkit as alb
from tests.support.gateway import running
from tests.support.peers import Conversation, RawClient, request, response, target

K = 1024
BIG_HEAD = request("GET", "/", *[f"X-{n}: {'a' * K}" for n in range(66)])


@pytest.mark.parametrize(
    ("head", "status", "failure"),
    [
        pytest.param(request("GET", "/" + "a" * 17 * K), 414, "RequestTargetTooLong", id="request-line-16K"),
        pytest.param(b"GET /" + b"a" * 17 * K, 414, "RequestTargetTooLong", id="request-line-16K-unfinished"),
        pytest.param(b"A" * 17 * K, 400, "RequestMalformed", id="method-without-end"),
        pytest.param(request("GET", "/", "X: " + "a" * 17 * K), 400, "RequestHeadTooLarge", id="field-16K"),
        pytest.param(BIG_HEAD, 400, "RequestHeadTooLarge", id="head-64K"),
        pytest.param(BIG_HEAD[:-4], 400, "RequestHeadTooLarge", id="head-64K-unfinished"),
        pytest.param(request("GET", "/", *[f"X-{n}: a" for n in range(201)]), 400, "RequestHeadTooLarge", id="200-fields"),
        pytest.param(b"\r\n" * 9 + request("GET", "/"), 400, "RequestMalformed", id="blank-lines"),
    ],
)
async def test_request_above_a_bound_is_refused(head: bytes, status: int, failure: str) -> None:
    """Nothing of it reaches the target."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(head)
        answer = await client.response()
        assert (answer.status, answer.get(b"connection")) == (status, b"close")
        assert gateway.counters[f"Failure_{failure}"] == 1
        assert origin.heads == []


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(request("GET", "/" + "a" * (16 * K - 30)), id="request-line"),
        pytest.param(request("GET", "/", "X: " + "a" * (16 * K - 10)), id="field"),
        pytest.param(request("GET", "/", *[f"X-{n}: {'a' * 4000}" for n in range(15)]), id="head"),
        pytest.param(request("GET", "/", *[f"X-{n}: a" for n in range(198)]), id="fields"),
        pytest.param(b"\r\n" * 3 + request("GET", "/"), id="blank-lines"),
    ],
)
async def test_request_at_a_bound_passes(head: bytes) -> None:
    """Bounds are ALB's, not less."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(head)
        assert (await client.response()).status == 200


async def test_head_in_single_bytes_passes() -> None:
    """The end of a head is found wherever segments end."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        for byte in request("GET", "/", "X-A: b"):
            client.send(bytes([byte]))
            await client.drain()
            await asyncio.sleep(0)
        assert (await client.response()).status == 200


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(response(200, b"", b"X: " + b"a" * 33 * K), id="one-field"),
        pytest.param(response(200, b"", *[b"X-%d: %s" % (n, b"a" * K) for n in range(33)]), id="many-fields"),
        pytest.param(b"HTTP/1.1 200 " + b"a" * 40 * K, id="unfinished"),
    ],
)
async def test_response_head_above_32k_is_a_502(answer: bytes) -> None:
    """docs/alb.md 2.8: response headers over 32 K."""
    async with target(None, answer) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        assert (await client.get()).status == 502
        assert gateway.counters["Failure_ResponseHeadTooLarge"] == 1


async def test_pipelined_requests_beyond_the_bound_wait_in_the_kernel() -> None:
    """While an exchange is going on at most 64 KiB and a segment are kept."""
    release = asyncio.Event()

    async with target() as origin:
        inner = origin.script

        async def slow(conversation: object) -> None:
            await release.wait()
            await inner(conversation)  # type: ignore[arg-type]

        origin.script = slow
        async with running(origin.address) as gateway:
            client = await gateway.client()
            client.send(request("GET", "/", "X-Pad: " + "p" * 1000) * 4000)
            await origin.arrived()
            (connection,) = gateway.runtime.clients
            while not connection.socket.is_paused:  # type: ignore[attr-defined]
                await asyncio.sleep(0.01)
            kept = len(connection.socket.receive_buffer)  # type: ignore[attr-defined]
            assert kept <= 64 * K + 256_000 + 1
            release.set()
            for _ in range(4000):
                assert (await client.response()).status == 200


async def test_idle_connections_per_target_are_bounded() -> None:
    """What is too much to keep is closed."""
    async with target() as origin, running(origin.address, limits=alb.Limits(idle_target_connections=3)) as gateway:
        clients = [await gateway.client() for _ in range(8)]
        await asyncio.gather(*[client.get() for client in clients])
        (state,) = gateway.runtime.registry.groups
        assert gateway.runtime.connections.idle(next(iter(state.members.values()))) <= 3


async def test_clients_beyond_the_descriptor_limit_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accepting never runs out of descriptors; who is in stays in."""
    async with target() as origin, running(origin.address) as gateway:
        # One for each client, and one for the target connection that it may need.
        monkeypatch.setattr(gateway.runtime.descriptors, "for_sockets", 5)
        inside = [await gateway.client() for _ in range(2)]
        assert (await inside[0].get()).status == 200
        outside = await RawClient.connect(gateway.port)
        assert await outside.is_closed()
        await outside.close()
        assert gateway.counters["RejectedConnectionCount"] == 1
        assert (await inside[1].get()).status == 200


@pytest.mark.parametrize(
    ("limits", "wire", "status"),
    [
        (alb.Limits(request_line=100), request("GET", "/" + "a" * 100), 414),
        (alb.Limits(request_field=100), request("GET", "/", "X: " + "a" * 110), 400),
        (alb.Limits(request_head=300), request("GET", "/", *[f"X-{n}: {'a' * 50}" for n in range(9)]), 400),
        (alb.Limits(request_fields=3), request("GET", "/", "A: 1", "B: 2", "C: 3"), 400),
        (alb.Limits(response_head=64), request("GET", "/"), 502),
    ],
    ids=["line", "field", "head", "fields", "response"],
)
async def test_bound_that_was_set_bites(limits: alb.Limits, wire: bytes, status: int) -> None:
    """Every limit arrives where it acts."""
    answer = response(200, b"ok", b"X-Long: " + b"a" * 100)
    async with target(None, answer) as origin, running(origin.address, limits=limits) as gateway:
        client = await gateway.client()
        client.send(wire)
        assert (await client.response()).status == status


async def test_bytes_in_flight_that_were_set_bite() -> None:
    """A small buffer holds a target back early."""
    async with (
        target(None, response(200, bytes(4_000_000))) as origin,
        running(origin.address, limits=alb.Limits(in_flight=1024)) as gateway,
    ):
        client = await gateway.client(slow=True)
        client.send(request("GET", "/"))
        assert len((await client.response()).body) == 4_000_000
        assert gateway.counters["ReadingPausedCount"] >= 1
        (connection,) = gateway.runtime.clients
        assert connection.socket.transport.get_write_buffer_limits()[1] == 1024  # type: ignore[attr-defined]


async def test_early_bytes_that_were_set_bite() -> None:
    """A client that sends ahead is not read any further."""
    release = asyncio.Event()

    async def slow(conversation: Conversation) -> None:
        await release.wait()
        while True:
            await conversation.request()
            conversation.send(response())

    async with target(slow) as origin, running(origin.address, limits=alb.Limits(early_bytes=100)) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/") * 20)
        await origin.arrived()
        assert gateway.counters["ReadingPausedCount"] >= 1
        release.set()
        for _ in range(20):
            assert (await client.response()).status == 200


async def test_endless_interim_responses_are_a_502() -> None:
    """A target that never comes to the point is given up."""
    async with target(None, b"HTTP/1.1 103 Early Hints\r\n\r\n" * 200) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/"))
        while (answer := await client.response()).status == 103:
            pass
        assert answer.status == 502

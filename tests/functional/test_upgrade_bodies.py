"""Upgrade requests that bring a body: it is sent before the answer is awaited, and not a byte of it is taken for one of the tunnel's."""

from __future__ import annotations

import asyncio
import re

import pytest

import albkit as alb
from albkit.errors import FailureKind
from tests.functional.test_tls_targets import secure
from tests.support.gateway import running
from tests.support.peers import Conversation, RawClient, request, target
from tests.support.secure import secured
from tests.support.tunnels import echo, gone, holding

DOCKER = ("Connection: Upgrade", "Upgrade: tcp", "Content-Type: application/json")
SWITCHED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
BODY = b'{"Detach":false,"Tty":true}'


async def daemon(conversation: Conversation) -> None:
    """Reads the request whole, answers 101, then sends back what comes."""
    head, body = await conversation.request()
    conversation.send(SWITCHED + b"%d %s" % (len(body), b"upgraded" if b"Upgrade: tcp\r\n" in head else b"ordinary"))
    await echo(conversation)


def asking(body: bytes, *fields: str, length: int | None = None, method: str = "POST") -> bytes:
    """An upgrade with a body of a known length."""
    return request(method, "/exec", *DOCKER, *fields, f"Content-Length: {len(body) if length is None else length}", body=body)


async def switched(client: RawClient, length: int) -> None:
    """The client has its 101, and the target has had a body of this length before."""
    async with asyncio.timeout(5):
        response = await client.response()
        assert response.status == 101
        assert (response.get(b"upgrade"), response.get(b"connection")) == (b"tcp", b"Upgrade")
        said = b"%d upgraded" % length
        assert await client.read_exactly(len(said)) == said


async def echoed(client: RawClient, data: bytes) -> None:
    """What the client sends comes back."""
    client.send(data)
    async with asyncio.timeout(5):
        assert await client.read_exactly(len(data)) == data


@pytest.mark.parametrize("size", [1, len(BODY), 64 * 1024, 64 * 1024 + 1, 1_000_000])
async def test_body_that_comes_with_the_head_is_sent_before_the_answer_is_awaited(size: int) -> None:
    """As `docker exec` sends it; small ones in one write with the head, large ones as they come."""
    async with target(daemon) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(asking(bytes(size)))
        await switched(client, size)
        await echoed(client, b"ls -l\n")
        (tunnel,) = it.load_balancer.tunnels
        assert (tunnel.protocol, tunnel.bytes_in) == ("tcp", 6)
        assert origin.conversations[0].received.endswith(bytes(size) + b"ls -l\n")


async def test_body_that_comes_byte_by_byte_is_waited_for() -> None:
    """Head and body cut anywhere."""
    async with target(daemon) as origin, running(origin.address) as it:
        client = await it.client()
        for byte in asking(BODY):
            client.send(bytes((byte,)))
            await client.drain()
            await asyncio.sleep(0)
        await switched(client, len(BODY))
        await echoed(client, b"x")


@pytest.mark.parametrize("size", [len(BODY), 200_000], ids=["small", "longer-than-early-bytes"])
async def test_body_that_comes_late_is_waited_for(size: int) -> None:
    """The target has the head meanwhile; no bound on what a client may send early holds a body up."""
    async with target(daemon) as origin, running(origin.address, limits=alb.Limits(early_bytes=1024)) as it:
        client = await it.client()
        client.send(asking(b"", length=size))
        conversation = await origin.arrived()
        client.send(bytes(size))
        await switched(client, size)
        await echoed(client, b"x")
        assert conversation.received.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize("body", [BODY, bytes(100_000)], ids=["small", "large"])
@pytest.mark.parametrize("split", [0, 1, 10, -1, None])
async def test_bytes_behind_the_body_are_the_tunnels_first(body: bytes, split: int | None) -> None:
    """They wait for the 101, whatever segments they came in, and are delivered before all that follows."""
    early = b"early bird" * 10
    answer = asyncio.Event()

    async def patient(conversation: Conversation) -> None:
        await conversation.request()
        await answer.wait()
        assert not conversation.reader._buffer, "nothing but the request before the 101"  # type: ignore[attr-defined]
        conversation.send(SWITCHED)
        await echo(conversation)

    async with target(patient) as origin, running(origin.address) as it:
        client = await it.client()
        wire = asking(body) + early
        cut = len(wire) if split is None else len(wire) - len(early) + split
        client.send(wire[:cut])
        conversation = await origin.arrived()
        client.send(wire[cut:])
        async with asyncio.timeout(5):
            while not conversation.received.endswith(body):
                await asyncio.sleep(0)
        answer.set()
        assert (await client.response()).status == 101
        client.send(b"behind it")
        async with asyncio.timeout(5):
            assert await client.read_exactly(len(early) + 9) == early + b"behind it"


async def test_more_than_may_come_early_waits_behind_the_body() -> None:
    """Reading pauses until the 101, and no byte is lost."""
    answer = asyncio.Event()

    async def patient(conversation: Conversation) -> None:
        await conversation.request()
        await answer.wait()
        conversation.send(SWITCHED)
        await echo(conversation)

    early = bytes(range(250)) * 2000
    async with target(patient) as origin, running(origin.address, limits=alb.Limits(early_bytes=4096)) as it:
        client = await it.client()
        client.send(asking(BODY) + early)
        await origin.arrived()
        async with asyncio.timeout(5):
            while not it.counters.get("ReadingPausedCount"):
                await asyncio.sleep(0)
        answer.set()
        assert (await client.response()).status == 101
        async with asyncio.timeout(5):
            assert await client.read_exactly(len(early)) == early


async def test_body_in_chunks_makes_it_an_ordinary_request() -> None:
    """Its end is not known before it has come; the fields of the upgrade are taken off."""
    async with target() as origin, running(origin.address) as it:
        client = await it.client()
        client.send(request("POST", "/exec", *DOCKER, "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"))
        assert (await client.response()).status == 200
        assert not re.search(rb"(?i)\r\n(upgrade|connection):", origin.heads[0])


async def test_answer_that_is_no_101_is_an_ordinary_response() -> None:
    """The body was sent all the same, and the connection goes on."""
    async with target() as origin, running(origin.address) as it:
        client = await it.client()
        for _ in range(2):
            client.send(asking(BODY))
            assert (await client.response()).status == 200
        assert len(origin.heads) == 2
        assert all(b"Upgrade: tcp\r\n" in head for head in origin.heads)


@pytest.mark.parametrize("sent", [0, 5, len(BODY) - 1])
async def test_switch_before_the_body_is_over_is_refused(sent: int) -> None:
    """What is still to come of the body would be taken for the tunnel's: 502, and neither side hears more of the other."""

    async def hasty(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(SWITCHED + b"$ ")
        await conversation.read_to_end()

    async with target(hasty) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(asking(BODY[:sent], length=len(BODY)))
        async with asyncio.timeout(5):
            got = await client.response()
            assert (got.status, got.get(b"connection")) == (502, b"close")
            assert b"$" not in got.body
            client.send(BODY[sent:] + b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await client.is_closed()
            conversation = await origin.arrived()
            await conversation.over.wait()
        assert conversation.received.partition(b"\r\n\r\n")[2] == BODY[:sent]
        assert it.counters[f"Failure_{FailureKind.RESPONSE_UPGRADE_TOO_EARLY.reason}"] == 1
        assert len(origin.conversations) == 1, "never tried again"


async def test_switch_while_the_body_waits_to_be_sent_holds_the_client_back() -> None:
    """All of it has come, so the boundary is known; what follows waits until the slow target has taken it."""
    answer = asyncio.Event()
    go_on = asyncio.Event()
    size = 8_000_000

    async def slow(conversation: Conversation) -> None:
        await conversation.head()
        conversation.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await answer.wait()
        conversation.send(SWITCHED)
        await go_on.wait()
        conversation.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert await conversation.reader.readexactly(size) == bytes(size)
        await echo(conversation)

    async with target(slow) as origin, running(origin.address, limits=alb.Limits(in_flight=16 * size)) as it:
        client = await it.client()
        client.send(asking(bytes(size)))
        (connection,) = it.runtime.clients
        async with asyncio.timeout(10):
            while connection.exchange.received_bytes < size:  # type: ignore[attr-defined]
                await asyncio.sleep(0)
        (upstream,) = it.runtime.connections._open
        assert upstream.transport is not None
        assert upstream.transport.get_write_buffer_size() > 0
        upstream.transport.set_write_buffer_limits(high=1000)
        assert upstream.is_full
        answer.set()
        async with asyncio.timeout(10):
            assert (await client.response()).status == 101
            (tunnel,) = it.load_balancer.tunnels
            client.send(b"x" * 500_000)
            for _ in range(20):
                await asyncio.sleep(0)
            assert tunnel.bytes_in == 0, "it is not read while so much waits for the target"
            go_on.set()
            assert await client.read_exactly(500_000) == b"x" * 500_000


@pytest.mark.parametrize("goes", ["fin", "reset"])
async def test_client_that_leaves_within_its_body_leaves_nothing(goes: str) -> None:
    """The target's connection is closed."""
    async with target(daemon) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(asking(BODY[:5], length=len(BODY)))
        conversation = await origin.arrived()
        if goes == "fin":
            client.send_fin()
            async with asyncio.timeout(5):
                assert (await client.response()).status == 400
        else:
            client.reset()
        async with asyncio.timeout(5):
            await conversation.over.wait()
            while it.runtime.clients:
                await asyncio.sleep(0)


async def test_target_that_dies_within_the_body_is_502() -> None:
    """A POST is not tried again; the tunnel that was counted is not any more."""

    async def dying(conversation: Conversation) -> None:
        await conversation.head()
        conversation.reset()

    policy = alb.TunnelPolicy(max_tunnels=1)
    async with target(dying) as origin, running(origin.address, tunnel=policy) as it:
        for _ in range(2):
            client = await it.client()
            client.send(asking(BODY[:5], length=len(BODY)))
            async with asyncio.timeout(5):
                assert (await client.response()).status == 502
        assert len(origin.conversations) == 2


@pytest.mark.parametrize("size", [len(BODY), 100_000])
async def test_idempotent_upgrade_is_tried_again_as_without_a_body(size: int) -> None:
    """The body that was kept is sent again; what was not kept is not."""

    async def dying(conversation: Conversation) -> None:
        await conversation.request()
        conversation.reset()

    async with target(dying) as bad, target(daemon) as good, running(bad.address, good.address) as it:
        got = []
        for _ in range(2):
            client = await it.client()
            client.send(asking(bytes(size), method="PUT"))
            async with asyncio.timeout(5):
                got.append((await client.response()).status)
        expected = [101, 101] if size < 64 * 1024 else [101, 502]
        assert sorted(got) == expected
        assert (len(bad.conversations), len(good.conversations)) == (1, expected.count(101))


async def test_client_that_waits_for_100_continue_gets_it_before_the_101() -> None:
    """And sends its body then."""
    async with target(daemon) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(asking(b"", "Expect: 100-continue", length=len(BODY)))
        async with asyncio.timeout(5):
            assert (await client.response()).status == 100
        client.send(BODY)
        await switched(client, len(BODY))
        await echoed(client, b"x")


@pytest.mark.parametrize("size", [len(BODY), 100_000])
async def test_body_that_a_hook_has_read_is_sent_all_the_same(size: int) -> None:
    """Before the answer is awaited."""
    seen: list[int] = []

    async def look(request: alb.Request) -> None:
        seen.append(len(await request.body()))

    async with target(daemon) as origin, running(origin.address, hooks=[look]) as it:
        client = await it.client()
        client.send(asking(bytes(size)) + b"early")
        await switched(client, size)
        async with asyncio.timeout(5):
            assert await client.read_exactly(5) == b"early"
        assert seen == [size]


async def test_bytes_of_request_and_tunnel_are_counted_once() -> None:
    """Head, body and what follows, both ways."""
    async with target(daemon) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(asking(BODY) + b"early")
        await switched(client, len(BODY))
        await client.read_exactly(5)
        client.send_fin()
        await client.read_to_end()
        await gone(it)
        assert it.counters["ProcessedBytes"] == client.sent + len(client.received)
        assert "ActiveTunnelCount" not in it.counters


async def test_tls_on_both_sides_changes_nothing() -> None:
    """Body, early bytes, and what follows."""
    async with secure(daemon) as origin, secured("https://" + origin.address) as it:
        client = await it.client()
        client.send(asking(bytes(300_000)) + b"early")
        await switched(client, 300_000)
        async with asyncio.timeout(5):
            assert await client.read_exactly(5) == b"early"
        await echoed(client, b"x")


async def test_stop_while_the_body_is_awaited_ends_it() -> None:
    """Nothing is left of either side."""
    async with target(holding) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(asking(BODY[:5], length=len(BODY)))
        await origin.arrived()
        async with asyncio.timeout(5):
            await it.load_balancer.stop()
            assert await client.is_closed()

"""The pool: what is kept, what is never used again."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from albkit.proxy.target import connection_pool, target_connections
from albkit.proxy.target.connector import Connector
from albkit.proxy.target.http1_connection import Http1TargetConnection
from tests.support.balancing import balancing, listener
from tests.support.clock import FakeClock
from tests.support.gateway import Running, running
from tests.support.peers import HEAD_END, Conversation, RawClient, answering, free_port, request, response, target


async def test_connection_is_used_again() -> None:
    """No per-request sockets, also across clients."""
    async with target() as origin, running(origin.address) as gateway:
        for _ in range(3):
            client = await gateway.client()
            for _ in range(5):
                assert (await client.get()).status == 200
        assert len(origin.conversations) == 1
        assert len(origin.heads) == 15


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(response(200, b"ok", b"Connection: close"), id="close"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="http-1.0"),
        pytest.param(response(200, b"ok") + b"X", id="extra-byte"),
        pytest.param(response(200, b"ok") * 2, id="second-response"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\nbody", id="204-with-body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nX", id="extra-byte-chunked"),
    ],
)
async def test_connection_that_cannot_be_trusted_is_not_used_again(answer: bytes) -> None:
    """And the client gets exactly its own response."""
    async with target(None, answer) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        for _ in range(3):
            got = await client.get()
            assert got.status in (200, 204)
            assert got.body in (b"ok", b"")
        assert len(origin.conversations) == 3


async def test_byte_on_an_idle_connection_ends_it() -> None:
    """A response nobody asked for must not become somebody's."""
    go = asyncio.Event()

    async def talkative(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(response(200, b"mine"))
        await go.wait()
        conversation.send(response(200, b"poison"))
        await conversation.drain()
        await conversation.read_to_end()

    async with target(talkative) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        assert (await client.get()).body == b"mine"
        go.set()
        await (await origin.arrived()).over.wait()
        go.clear()
        assert (await client.get()).body == b"mine"
        assert len(origin.conversations) == 2


async def test_connection_closed_by_the_target_while_idle_is_replaced() -> None:
    """No request is lost to it, not even one that may not be sent twice."""

    async def short(conversation: Conversation) -> None:
        await conversation.request()
        conversation.send(response())

    async with target(short) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        for number in range(20):
            client.send(request("POST", f"/{number}", "Content-Length: 2") + b"hi")
            assert (await client.response()).status == 200
            await origin.conversations[-1].over.wait()


async def test_idempotent_request_survives_a_connection_closed_under_it() -> None:
    """The race that no check can win is won by trying again."""
    heads: list[bytes] = []

    async def once(conversation: Conversation) -> None:
        heads.append(await conversation.head())
        conversation.send(response())
        heads.append(await conversation.head())  # and closes without an answer

    async with target(once) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        for _ in range(4):
            assert (await client.get()).status == 200
        assert gateway.counters["RetryCount"] == 3


async def test_connection_closed_under_a_request_does_not_count_against_its_target() -> None:
    """It had been idle, and may have ended long before: that tells nothing of how the target does. It is not ejected for it either."""

    async def once(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(response())
        await conversation.head()  # and closes without an answer

    async def rudely(conversation: Conversation) -> None:
        await once(conversation)
        conversation.reset()

    for script in (once, rudely):
        async with target(script) as origin, target(script) as other, running(origin.address, other.address) as gateway:
            client = await gateway.client()
            for _ in range(8):
                assert (await client.get()).status == 200
            members = gateway.runtime.registry.group("group").members.values()
            assert gateway.counters["RetryCount"] >= 3
            assert [member.errors for member in members] == [0, 0]
            assert [member.failures_in_row for member in members] == [0, 0]
            assert "TargetEjectionCount" not in gateway.counters


async def test_fresh_connection_closed_without_an_answer_counts_against_its_target() -> None:
    """There it is the target that fails."""

    async def closing(conversation: Conversation) -> None:
        await conversation.head()

    async with target(closing) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        assert (await client.get()).status == 502
        (member,) = gateway.runtime.registry.group("group").members.values()
        assert member.errors == member.failures_in_row == 3


async def test_silence_on_a_kept_connection_counts_against_its_target() -> None:
    """The target had the request and did not answer it; that the connection had been used before is no excuse."""

    async def once(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(response())
        await conversation.read_to_end()

    async with target(once) as origin, running(origin.address, idle_timeout=0.3) as gateway:
        (member,) = gateway.runtime.registry.group("group").members.values()
        for status, errors in ((200, 0), (504, 1), (200, 1), (504, 2)):
            client = await gateway.client()
            assert (await client.get()).status == status
            assert member.errors == errors
            assert member.failures_in_row == (status == 504)
        assert len(origin.conversations) == 2


async def test_connection_is_given_up_before_the_target_closes_it() -> None:
    """Half a second earlier than it tells, or requests would meet it as it goes."""
    clock = FakeClock()
    answer = response(200, b"ok", b"Keep-Alive: timeout=5")
    async with target(None, answer) as origin, running(origin.address, clock=clock) as gateway:
        connections, sweep = gateway.runtime.connections, gateway.runtime.sweep
        client = await gateway.client()
        for _ in range(2):
            assert (await client.get()).status == 200
            sweep.look(clock.monotonic())
            clock.advance(4.4)
            sweep.look(clock.monotonic())
            assert connections.count == 1
        assert len(origin.conversations) == 1
        clock.advance(0.2)
        sweep.look(clock.monotonic())
        async with asyncio.timeout(5):
            await origin.conversations[0].over.wait()


async def test_early_answer_is_delivered_and_its_connection_dropped() -> None:
    """A 413 while the body still comes: the client hears it, and no later request gets the rest of the body."""

    async def strict(conversation: Conversation) -> None:
        head = await conversation.head()
        if b"POST" in head:
            conversation.send(response(413, b"too much"))
            await conversation.read_to_end()
        else:
            conversation.send(response())
            await conversation.read_to_end()

    async with target(strict) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("POST", "/", "Content-Length: 50000000"))
        client.send(bytes(100_000))
        answer = await client.response()
        assert (answer.status, answer.body, answer.get(b"connection")) == (413, b"too much", b"close")
        assert await client.is_closed()
        await (await origin.arrived()).over.wait()
        other = await gateway.client()
        assert (await other.get()).status == 200
        assert len(origin.conversations) == 2


async def test_answer_that_overtakes_the_upload_streams_with_it() -> None:
    """Both directions go on at once: an echo that begins before the body has ended."""

    async def mirror(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int(await conversation.read_until(b"\r\n"), 16):
            data = await conversation.read_exactly(size + 2)
            conversation.send(b"%x\r\n%s" % (size, data))
        conversation.send(b"0\r\n\r\n")
        await conversation.read_to_end()

    async with target(mirror) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("POST", "/", "Transfer-Encoding: chunked"))
        head = await client.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        for word in (b"one", b"two", b"three"):
            client.send(b"%x\r\n%s\r\n" % (len(word), word))
            assert await client.read_until(word + b"\r\n") == b"%x\r\n%s\r\n" % (len(word), word)
        client.send(b"0\r\n\r\n")
        assert await client.read_until(b"0\r\n\r\n") == b"0\r\n\r\n"


async def test_unix_socket_is_a_target(tmp_path: Path) -> None:
    """HTTP and an upgrade, as over TCP."""
    heads: list[bytes] = []
    script = answering(heads, response(200, b"unix"))

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(Conversation(reader, writer))
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    path = str(tmp_path / "t.sock")
    server = await asyncio.start_unix_server(accept, path)
    async with running(f"unix:{path}") as gateway:
        client = await gateway.client()
        for _ in range(2):
            assert (await client.get()).body == b"unix"
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "http://127.0.0.1:{}", "localhost:{}", "http://127.0.0.1:{}/"])
async def test_every_form_of_a_target_works(form: str) -> None:
    """As people write them."""
    async with target() as origin, running(form.format(origin.port)) as gateway:
        client = await gateway.client()
        assert (await client.get()).status == 200


async def test_requests_are_spread_over_the_targets_in_turn() -> None:
    """Round robin."""
    async with target() as a, target() as b, target() as c, running(a.address, b.address, c.address) as gateway:
        client = await gateway.client()
        for _ in range(9):
            await client.get()
        assert [len(origin.heads) for origin in (a, b, c)] == [3, 3, 3]


async def test_early_hints_and_processing_are_passed_on_and_continue_is_not() -> None:
    """102 and 103 go to HTTP/1.1 clients, before the response; HTTP/1.0 clients get the response alone."""
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + response()
    async with target(None, answer) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/"))
        answers = [await client.response() for _ in range(3)]
        assert [got.status for got in answers] == [102, 103, 200]
        assert answers[1].get(b"link") == b"</a.css>"
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        assert (await client.response()).status == 200


async def test_connection_that_ends_as_soon_as_it_is_made_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end may come before whoever connected is told that it is there: it must not be counted as open for ever."""
    connect = Connector.connect

    async def connect_and_lose(self: Connector, *arguments: Any) -> Http1TargetConnection:
        connection = await connect(self, *arguments)
        assert connection.transport is not None
        connection.transport.abort()
        while connection.transport is not None:
            await asyncio.sleep(0)
        return connection

    monkeypatch.setattr(Connector, "connect", connect_and_lose)
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        assert (await client.get()).status == 502
        assert gateway.counters["Failure_TargetUnreachable"] == 1
        assert gateway.runtime.connections.count == 0
        assert gateway.counters["ActiveConnectionCount"] == 1


# How many are kept.


class Crowd:
    """A target that answers when so many requests are there, so that so many connections are in use at a time."""

    def __init__(self, answer: bytes | None = None) -> None:
        self._answer = answer or response()
        self._waiting: list[asyncio.Future[None]] = []
        self._wanted = 1

    async def script(self, conversation: Conversation) -> None:
        while True:
            await conversation.request()
            answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(answered)
            if len(self._waiting) >= self._wanted:
                for one in self._waiting:
                    one.set_result(None)
                self._waiting = []
            await answered
            conversation.send(self._answer)

    async def ask(self, clients: list[RawClient]) -> None:
        """All of them at the same time; whoever asks later is answered at once."""
        self._wanted = len(clients)
        for answer in await asyncio.gather(*[client.get() for client in clients]):
            assert answer.status == 200
        self._wanted = 1


def kept(gateway: Running) -> int:
    (state,) = gateway.runtime.registry.groups
    return sum(map(gateway.runtime.connections.idle, state.members.values()))


def keep_at_least(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    for module in (connection_pool, target_connections):
        monkeypatch.setattr(module, "LEAST_KEPT", count)


async def test_crowd_that_comes_again_finds_its_connections() -> None:
    """As many as were in use are kept: the same crowd makes no new ones, and the last one used is the first one taken."""
    crowd = Crowd()
    async with target(crowd.script) as origin, running(origin.address) as gateway:
        clients = [await gateway.client() for _ in range(100)]
        for _ in range(3):
            await crowd.ask(clients)
            assert kept(gateway) == 100
        assert len(origin.conversations) == 100
        await crowd.ask(clients[:1])
        (used,) = [one for one in origin.conversations if one.received.count(HEAD_END) == 4]
        await crowd.ask(clients[:1])
        assert used.received.count(HEAD_END) == 5
        assert "IdleTargetConnectionsClosedCount" not in gateway.counters


async def test_what_a_crowd_has_left_is_closed_when_a_minute_did_not_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the least number only what the last minute has used at a time is kept, the ones first that were not used for longest."""
    keep_at_least(monkeypatch, 4)
    crowd = Crowd()
    limits = alb.Limits(target_keep_alive=3600)
    async with target(crowd.script) as origin, running(origin.address, limits=limits, idle_timeout=4000) as gateway:
        look = gateway.runtime.sweep.look
        now = gateway.runtime.clock.monotonic()
        clients = [await gateway.client() for _ in range(30)]
        look(now)
        await crowd.ask(clients)
        look(now + 61)
        await crowd.ask(clients[:6])
        look(now + 120)
        assert kept(gateway) == 30
        look(now + 122)
        look(now + 123)
        assert kept(gateway) == 6
        await crowd.ask(clients[:6])
        assert len(origin.conversations) == 30
        look(now + 183)
        look(now + 244)
        look(now + 245)
        assert kept(gateway) == 4


async def test_number_of_kept_connections_that_was_set_is_not_exceeded() -> None:
    """Whatever was in use; and 0 keeps none."""
    for most in (0, 70):
        crowd = Crowd()
        async with target(crowd.script) as origin, running(origin.address, limits=alb.Limits(idle_target_connections=most)) as gateway:
            clients = [await gateway.client() for _ in range(80)]
            await crowd.ask(clients)
            assert kept(gateway) == most
            assert gateway.counters["IdleTargetConnectionsClosedCount"] == 80 - most


async def test_retries_on_fresh_connections_do_not_fill_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second try connects anew beside the idle ones; one at a time is in use, so no more than the least number is kept."""
    keep_at_least(monkeypatch, 3)
    async with target() as origin:
        # One that is dead and never left out, so that every second request is tried again.
        group = alb.TargetGroup("group", [origin.address, f"127.0.0.1:{free_port()}"], ejection=None)
        async with balancing(listener(alb.Forward(group))) as gateway:
            client = await gateway.client()
            for _ in range(20):
                assert (await client.get()).status == 200
            assert kept(gateway) == 3


async def test_every_target_keeps_what_it_has_used_until_it_goes() -> None:
    """The books of a target are there for as long as there is a connection to it."""
    async with contextlib.AsyncExitStack() as stack:
        origins = [await stack.enter_async_context(target()) for _ in range(20)]
        gateway = await stack.enter_async_context(running(*[origin.address for origin in origins]))
        client = await gateway.client()
        for _ in range(40):
            assert (await client.get()).status == 200
        assert [len(origin.conversations) for origin in origins] == [1] * 20
        pools = gateway.runtime.connections._pools
        assert len(pools) == 20
        for origin in origins[:10]:
            await origin.close()
        async with asyncio.timeout(5):
            while len(pools) > 10:
                await asyncio.sleep(0)
        await gateway.load_balancer.deregister_targets("group", [origin.address for origin in origins[10:]])
        async with asyncio.timeout(5):
            while pools:
                await asyncio.sleep(0)


async def test_want_of_descriptors_closes_what_was_idle_for_longest() -> None:
    """Of the target that has most; what is in use stays."""
    crowds = [Crowd(), Crowd()]
    async with target(crowds[0].script) as a, target(crowds[1].script) as b, running(a.address, b.address) as gateway:
        for crowd in crowds:
            crowd._wanted = 20
        clients = [await gateway.client() for _ in range(40)]
        await asyncio.gather(*[client.get() for client in clients])
        assert kept(gateway) == 40
        pool = gateway.runtime.connections
        members = list(next(iter(gateway.runtime.registry.groups)).members.values())
        oldest = {member: list(pool._pools[member].idle)[:16] for member in members}
        pool.shed(1)
        assert sorted(map(pool.idle, members)) == [4, 20]
        async with asyncio.timeout(5):
            while pool.count > 24:
                await asyncio.sleep(0)
        (shed,) = [member for member in members if pool.idle(member) == 4]
        assert all(connection.transport is None for connection in oldest[shed])
        pool.shed(1000)
        assert kept(gateway) == 0
        assert gateway.counters["IdleTargetConnectionsClosedCount"] == 40
        for crowd in crowds:
            crowd._wanted = 1
        assert (await clients[0].get()).status == 200

"""The connections to HTTP/2 targets: how requests share them, how they end, and targets that break the protocol."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any

import pytest
from h2.settings import SettingCodes

import albkit as alb
from tests.support import h2_frames
from tests.support.balancing import Balancing, group_of, listener
from tests.support.effort import cases
from tests.support.h2_target import H2Stream, h2_target, tls_context
from tests.support.h2_targets import ask, client_of, connections_of, in_front_of, member_of, never
from tests.support.peers import target
from tests.support.secure import until

# The connection.


async def test_goaway_lets_lower_streams_end_and_moves_higher_ones() -> None:
    """Streams above its number were not processed: they are sent again, on a new connection. The others are answered on the old one."""

    async def script(stream: H2Stream) -> None:
        if len(origin.connections) == 1:
            if stream.number != 5:
                return
            stream.connection.goaway(3)
            for number in (1, 3):
                await stream.connection.streams[number].answer(200, b"old")
            return
        await stream.answer(200, b"new")

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        streams = [client.request("POST", f"/{number}") for number in range(3)]
        bodies = [(await client.answer(stream)).body for stream in streams]
        assert bodies == [b"old", b"old", b"new"]
        assert len(origin.connections) == 2
        await until(lambda: it.runtime.connections.count == 1)
        assert (await client.get()).body == b"new"


async def test_goaway_of_an_idle_connection_costs_no_request() -> None:
    """The next request uses a new connection."""
    async with h2_target() as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        for count in range(1, 5):
            assert (await client.get(method="POST")).status == 200
            assert len(origin.connections) == count
            origin.connections[-1].goaway()
            await until(lambda: it.runtime.connections.count == 0)


async def test_goaway_as_soon_as_connected_fails_in_a_bounded_number_of_attempts() -> None:
    """Each attempt opens one connection."""

    async def script(conversation: Any) -> None:
        conversation.send(h2_frames.settings() + h2_frames.go_away(0))
        await conversation.read_to_end()

    async with target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        assert (await client.get()).status == 502
        assert len(origin.conversations) == 3


async def test_warning_goaway_closes_the_connection_behind_its_streams() -> None:
    """The first step of a graceful shutdown names the highest number: streams go on, new requests use a new connection."""

    async def script(stream: H2Stream) -> None:
        if stream.path == "/long":
            stream.connection.goaway(2**31 - 1)
            await go_on.wait()
        await stream.answer()

    go_on = asyncio.Event()
    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        long = client.request("GET", "/long")
        await origin.request()
        await until(lambda: connections_of(it)[0].is_last)
        assert (await client.get()).status == 200
        assert len(origin.connections) == 2
        go_on.set()
        assert (await client.answer(long)).status == 200
        await until(lambda: it.runtime.connections.count == 1)


@pytest.mark.parametrize("moment", ["head", "body"])
async def test_lost_connection_ends_its_streams(moment: str) -> None:
    """All of them; with a POST nothing is sent again."""

    async def script(stream: H2Stream) -> None:
        if moment == "body":
            stream.head(200)
            await stream.write(b"part")
        if stream.number == 9:
            await lose.wait()
            stream.connection.conversation.reset()

    lose = asyncio.Event()
    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        streams = [client.request("POST") for _ in range(5)]
        if moment == "body":
            for stream in streams:
                await client.head(stream)
        lose.set()
        for stream in streams:
            answer = await client.answer(stream)
            if moment == "head":
                assert answer.status == 502
            else:
                assert answer.reset is not None
        assert len(origin.connections) == 1
        origin.errors.clear()


async def test_target_that_violates_the_protocol_ends_all_streams() -> None:
    """GOAWAY is sent to it; clients get 502, and the next request a new connection."""

    async def script(stream: H2Stream) -> None:
        if stream.number == 5:
            stream.connection.conversation.send(h2_frames.data(99, b"x"))
        if len(origin.connections) > 1:
            await stream.answer()

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        streams = [client.request("POST") for _ in range(3)]
        for stream in streams:
            assert (await client.answer(stream)).status == 502
        await until(lambda: origin.connections[0].last_stream_of_goaway == 0)
        assert (await client.get()).status == 200


@pytest.mark.parametrize(
    "flood",
    [
        h2_frames.ping() * 5000,
        h2_frames.settings() * 5000,
        h2_frames.frame(0x77, 0, 0, b"") * 5000,
        h2_frames.rst_stream(1, 8) * 5000,
        h2_frames.window_update(0, 1) * 5000,
        h2_frames.headers(1, [(":status", "103")], whole=False) + h2_frames.continuation(1, b"", whole=False) * 5000,
    ],
    ids=["ping", "settings", "unknown", "reset", "window-update", "continuation"],
)
async def test_flood_of_a_target_ends_its_connection(flood: bytes) -> None:
    """The target is cut off; the load balancer goes on."""

    async def script(conversation: Any) -> None:
        conversation.send(h2_frames.settings())
        await conversation.read()
        while b"\x01" not in conversation.received[24:]:
            await conversation.read()
        conversation.send(flood)
        await conversation.read_to_end()

    async with target(script) as bad, h2_target() as good, in_front_of(bad.address, good.address) as it:
        client = await client_of(it)
        for _ in range(4):
            assert (await client.get(method="POST")).status in (200, 502)
        await until(lambda: len(connections_of(it)) <= 1)


# Targets that do not use HTTP/2.


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "it answers in HTTP/1"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it sent b'SSH"),
        (b"", "it closed the connection"),
        (h2_frames.ping(), "the first frame is not SETTINGS"),
        (h2_frames.settings((h2_frames.INITIAL_WINDOW_SIZE, 2**31)), "FLOW"),
    ],
)
async def test_target_that_does_not_use_http2_is_named(answer: bytes, words: str, caplog: pytest.LogCaptureFixture) -> None:
    """No request is sent to it."""

    async def script(conversation: Any) -> None:
        await conversation.read()
        if answer:
            conversation.send(answer)

    async with target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        with caplog.at_level("DEBUG", "albkit"):
            assert (await client.get(method="POST")).status == 502
        assert words in caplog.text or words == "FLOW"
        assert "ResponseNotHttp2" in caplog.text
        for conversation in origin.conversations:
            assert b"example.com" not in conversation.received


async def test_target_that_sends_no_settings_runs_into_the_connect_timeout() -> None:
    """Whatever waits for the connection fails with 504."""

    async def script(conversation: Any) -> None:
        await conversation.read_to_end()

    async with target(script) as origin, in_front_of(origin.address, limits=alb.Limits(connect_timeout=0.1)) as it:
        client = await client_of(it)
        assert [answer.status for answer in await ask(client, 5)] == [504] * 5


@pytest.mark.parametrize("protocols", [("h2",), ("http/1.1",), ("http/1.1", "h2")])
async def test_alpn_must_agree_on_h2(protocols: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Over TLS only h2 is offered."""
    tls = tls_context(str(tmp_path), *protocols)
    async with h2_target(tls=tls) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        with caplog.at_level("DEBUG", "albkit"):
            answer = await client.get()
        if "h2" in protocols:
            assert answer.status == 200
            assert origin.connections[0].protocol == "h2"
            assert origin.requests[0].get(":scheme") == "https"
        else:
            assert answer.status == 502
            assert "ResponseNotHttp2" in caplog.text
        origin.errors.clear()


# Sharing.


async def test_burst_opens_one_connection_per_hundred_requests() -> None:
    """Those that come while it is being opened wait for it."""
    async with h2_target() as origin, in_front_of(origin.address, limits=alb.Limits(http2_streams=250)) as it:
        client = await client_of(it)
        for answer in await ask(client, 200):
            assert answer.status == 200
        assert len(origin.connections) <= 2


async def test_target_with_few_streams_gets_more_connections() -> None:
    """200 requests at once, three streams per connection: all are answered, and no connection has more than three."""
    most = 0

    async def script(stream: H2Stream) -> None:
        nonlocal most
        running = [one for one in stream.connection.streams.values() if not one.over.is_set()]
        most = max(most, len(running))
        await asyncio.sleep(0)
        await stream.answer()

    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 3}
    limits = alb.Limits(http2_streams=250)
    async with h2_target(script, settings=settings) as origin, in_front_of(origin.address, limits=limits) as it:
        client = await client_of(it)
        for answer in await ask(client, 200):
            assert answer.status == 200
        assert most <= 3
        assert len(origin.connections) <= 70


async def test_target_without_streams_is_no_busy_loop() -> None:
    """MAX_CONCURRENT_STREAMS 0: each attempt opens one connection, and the client gets 502."""
    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 0}
    async with h2_target(settings=settings) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        assert [answer.status for answer in await ask(client, 4)] == [502] * 4
        assert len(origin.connections) <= 12
        await until(lambda: it.runtime.connections.count == 0)


async def test_client_that_leaves_while_it_waits_leaves_the_others() -> None:
    """The connection is opened for those that stay; if nobody stays, it is not opened."""
    accepted = asyncio.Event()
    go_on = asyncio.Event()

    async def script(conversation: Any) -> None:
        accepted.set()
        await go_on.wait()
        conversation.send(b"")

    async with target(script) as silent, in_front_of(silent.address) as it:
        client = await client_of(it)
        streams = [client.request() for _ in range(5)]
        async with asyncio.timeout(5):
            await accepted.wait()
        (room,) = it.runtime.connections._rooms[member_of(it)].values()
        client.send(*[h2_frames.rst_stream(stream) for stream in streams[1:]])
        await until(lambda: len(room._waiting) == 1)
        assert room._connecting
        client.send(h2_frames.rst_stream(streams[0]))
        await until(lambda: not it.runtime.connections._rooms)
        go_on.set()


async def test_refused_connection_fails_those_that_wait() -> None:
    """Each client gets its answer."""
    async with h2_target() as origin:
        address = origin.address
    async with in_front_of(address) as it:
        client = await client_of(it)
        assert [answer.status for answer in await ask(client, 20)] == [502] * 20


async def test_idle_connection_is_closed_politely() -> None:
    """After `target_keep_alive`, with GOAWAY."""
    async with h2_target() as origin, in_front_of(origin.address, limits=alb.Limits(target_keep_alive=0.1)) as it:
        client = await client_of(it)
        assert (await client.get()).status == 200
        await until(lambda: it.runtime.connections.count == 0)
        await until(lambda: origin.connections[0].has_ended)
        assert origin.connections[0].last_stream_of_goaway == 0
        assert it.counters["IdleTargetConnectionsClosedCount"] == 1
        assert (await client.get()).status == 200


async def test_target_that_vanished_gets_no_new_streams() -> None:
    """A request that timed out shows it: the next one uses another connection."""

    async def script(stream: H2Stream) -> None:
        if len(origin.connections) > 1:
            await stream.answer()

    async with h2_target(script) as origin, in_front_of(origin.address, idle_timeout=0.2) as it:
        client = await client_of(it)
        assert (await client.get()).status == 504
        other = await client_of(it)
        assert (await other.get()).status == 200
        assert len(origin.connections) == 2


async def test_proxy_protocol_shares_among_the_streams_of_one_client() -> None:
    """Another client gets a connection of its own, and the end of a client closes its connection."""
    heads: list[bytes] = []

    async def script(conversation: Any) -> None:
        heads.append(await conversation.read_until(b"\r\n"))
        conversation.send(h2_frames.settings())
        await conversation.read_to_end()

    async with target(script) as origin, in_front_of(origin.address, group={"proxy_protocol": "v1"}) as it:
        clients = [await client_of(it) for _ in range(2)]
        for client in clients:
            for _ in range(3):
                client.request()
        await until(lambda: len(heads) == 2)
        await until(lambda: len(connections_of(it)) == 2 and all(len(one.streams) == 3 for one in connections_of(it)))
        assert set(heads) == {b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n" % (client.peer.port, it.port) for client in clients}
        await clients[0].close()
        await until(lambda: len(connections_of(it)) == 1)


# What the program does meanwhile.


async def test_deregistered_target_finishes_its_streams() -> None:
    """Its connection is closed behind the last one, and at the end of the delay in any case."""

    async def script(stream: H2Stream) -> None:
        await go_on.wait()
        await stream.answer()

    go_on = asyncio.Event()
    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        streams = [client.request() for _ in range(3)]
        await origin.request(3)
        await it.load_balancer.deregister_targets("group", [origin.address])
        assert (await client.get()).status == 503
        go_on.set()
        for stream in streams:
            assert (await client.answer(stream)).status == 200
        await until(lambda: it.runtime.connections.count == 0)


async def test_deregistration_delay_ends_streams() -> None:
    """As with HTTP/1.1 targets."""
    group = {"deregistration_delay": 0}
    async with h2_target(never) as origin, in_front_of(origin.address, group=group) as it:
        client = await client_of(it)
        streams = [client.request() for _ in range(3)]
        await origin.request(3)
        await it.load_balancer.deregister_targets("group", [origin.address])
        for stream in streams:
            assert (await client.answer(stream)).status == 502
        await until(lambda: it.runtime.connections.count == 0)


async def test_stop_ends_everything() -> None:
    """Requests in progress, uploads that wait for a window, and connects."""
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 0}
    async with h2_target(never, settings=settings) as origin, in_front_of(origin.address, stop_timeout=0.05) as it:
        client = await client_of(it)
        for _ in range(5):
            stream = client.request("POST", end=False)
            client.send(h2_frames.data(stream, b"x" * 1000))
        await origin.request(5)
        await until(lambda: it.runtime.http2_buffers.total == 5000)
        runtime = it.runtime
        await it.load_balancer.stop()
        assert runtime.http2_buffers.total == 0


async def test_apply_lets_no_request_use_connections_with_old_settings() -> None:
    """Streams in progress end on their connection; new requests get a new one."""

    async def script(stream: H2Stream) -> None:
        if stream.path == "/long":
            await go_on.wait()
        await stream.answer()

    go_on = asyncio.Event()
    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        long = client.request("GET", "/long")
        await origin.request()
        await it.load_balancer.apply(listener(group_of(origin.address, protocol_version="GRPC")))
        assert (await client.get(method="POST")).status == 200
        assert len(origin.connections) == 2
        go_on.set()
        assert (await client.answer(long)).status == 200
        await until(lambda: it.runtime.connections.count == 1)


async def test_too_many_waiting_bytes_close_the_connection_that_holds_most() -> None:
    """`Limits.http2_buffered_bytes`: its exchanges fail, and nothing stays counted."""
    limits = alb.Limits(http2_buffered_bytes=100_000)
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 0}
    async with h2_target(never, settings=settings) as origin, in_front_of(origin.address, limits=limits) as it:
        client = await client_of(it)
        for number in range(1, 5):
            stream = client.request("POST", end=False)
            await origin.request(number)
            client.send(*[h2_frames.data(stream, b"x" * 16000)] * 2)
            await client.alive()
        await until(lambda: it.runtime.connections.count == 0)
        assert it.runtime.http2_buffers.total == 0
        for stream in client.answers or (1, 3, 5, 7):
            assert (await client.answer(stream)).status == 502
        origin.errors.clear()


# Any frames at any time.


def any_frame(chance: random.Random, streams: list[int]) -> bytes:
    """A frame that may be right: most are."""
    stream = chance.choice(streams[-6:]) if chance.random() < 0.99 else chance.choice((0, 2, 1001))
    kind = chance.random()
    if kind < 0.3:
        length = [("content-length", str(chance.randrange(40)))] if chance.random() < 0.2 else []
        status = chance.choice(("200", "204", "103", "100", "404", "304"))
        return h2_frames.headers(stream, [(":status", status), *length], end=chance.random() < 0.3)
    if kind < 0.62:
        return h2_frames.data(stream, b"x" * chance.choice((0, 1, 20, 1000, 16000)), end=chance.random() < 0.3)
    if kind < 0.72:
        return h2_frames.rst_stream(stream, chance.choice((0, 1, 2, 7, 8, 13, 77)))
    if kind < 0.725:
        return h2_frames.go_away(chance.choice((0, stream, 2**31 - 1)), chance.choice((0, 1, 11)))
    if kind < 0.85:
        return h2_frames.window_update(stream, chance.choice((1, 1000, 60000)))
    if kind < 0.88:
        return h2_frames.settings((chance.choice((3, 4, 8)), 1))
    if kind < 0.92:
        return h2_frames.headers(stream, [("x-trailer", "1")], end=chance.random() < 0.8)
    if kind < 0.95:
        return h2_frames.frame(chance.randrange(12), chance.randrange(256), stream, chance.randbytes(chance.randrange(12)))
    return h2_frames.ping()


def opened_streams(received: bytes) -> list[int]:
    """The numbers of the streams whose HEADERS have come."""
    position = len(h2_frames.PREFACE)
    streams: list[int] = []
    while position + 9 <= len(received):
        if received[position + 3] == h2_frames.HEADERS:
            streams.append(int.from_bytes(received[position + 5 : position + 9], "big"))
        position += 9 + int.from_bytes(received[position : position + 3], "big")
    return streams


@pytest.mark.parametrize("seed", range(cases(20)))
async def test_random_frames_of_targets_leave_nothing(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever targets send, every stream, task and byte is released, and nothing fails inside the load balancer."""
    chance = random.Random(seed)

    async def script(conversation: Any) -> None:
        conversation.send(h2_frames.settings((4, chance.choice((0, 10, 65535))), (8, chance.randrange(2)), (3, chance.choice((1, 3, 50)))))
        with contextlib.suppress(ConnectionError):
            while not (streams := opened_streams(conversation.received)):
                if not await conversation.read():
                    return
            for _ in range(chance.randrange(5, 100)):
                conversation.send(b"".join(any_frame(chance, streams) for _ in range(chance.choice((1, 1, 3)))))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.001):
                        await conversation.read()
                streams = opened_streams(conversation.received)
            if chance.random() < 0.3:
                conversation.writer.transport.abort()

    async def use(it: Balancing) -> None:
        client = await client_of(it, generous=chance.random() < 0.7)
        for _ in range(8):
            streams = [client.request("GET") for _ in range(2)]
            upload = client.request("POST", end=False)
            client.send(h2_frames.data(upload, b"y" * chance.choice((0, 10, 10000)), end=chance.random() < 0.5))
            more = ((":protocol", "websocket"), ("sec-websocket-version", "13"))
            for stream in (*streams, upload, client.request("CONNECT", "/ws", *more, end=False)):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(chance.choice((0.01, 0.05))):
                        await client.answer(stream)
                if client.has_ended:
                    return
                if chance.random() < 0.5:
                    client.send(h2_frames.rst_stream(stream))

    limits = alb.Limits(in_flight=chance.choice((16384, 65536)), http2_buffered_bytes=chance.choice((100_000, 2**26)))
    async with (
        target(script) as one,
        target(script) as other,
        in_front_of(one.address, other.address, limits=limits, idle_timeout=0.3, stop_timeout=0.1) as it,
    ):
        await asyncio.gather(*[use(it) for _ in range(3)])
    assert "InternalError" not in caplog.text
    assert "Traceback" not in caplog.text

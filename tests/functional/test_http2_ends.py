"""How connections of HTTP/2 clients end: limits of age, idleness, shutdown, removal, cancellation, and clients that leave."""

from __future__ import annotations

import asyncio

import pytest
from hyperframe.frame import Frame, GoAwayFrame

import albkit as alb
from albkit.proxy.client.http2_connection import Http2ClientConnection
from tests.functional.test_http2_bodies import Held, kinds
from tests.functional.test_http2_clients import h2
from tests.support.balancing import balancing, group_of, listener
from tests.support.gateway import Running, running
from tests.support.h2_client import H2Client
from tests.support.h2_frames import INITIAL_WINDOW_SIZE, NO_ERROR, data, get, go_away, ping, post
from tests.support.peers import target
from tests.support.secure import client_context, secured, until

EVERY_STREAM = 2**31 - 1


def goaways(client: H2Client) -> list[tuple[int, int]]:
    """The last streams and codes of all GOAWAYs that came."""
    return [(frame.last_stream_id, frame.error_code) for frame in client.frames if isinstance(frame, GoAwayFrame)]


async def goaway_to(client: H2Client, last: int) -> Frame:
    """Wait for a GOAWAY with this last stream."""
    return await client.wait_for(GoAwayFrame, lambda frame: frame.last_stream_id == last)


def connection_of(it: Running) -> Http2ClientConnection:
    """The only one."""
    (found,) = it.runtime.clients
    assert isinstance(found, Http2ClientConnection)
    return found


# Limits of requests and age.


async def test_connection_ends_in_two_steps_after_its_last_request() -> None:
    """First a GOAWAY that refuses nothing; then one with the last stream. Requests on their way between them are served."""
    async with Held() as origin, running(origin.address, limits=alb.Limits(http2_requests=2)) as it:
        client = await H2Client(await it.client(), polite=False).start()
        client.send(get(1), get(3))
        await goaway_to(client, EVERY_STREAM)
        client.send(get(5))
        await client.alive()
        client.send(ping(b"shutdown", ack=True), get(7))
        await goaway_to(client, 5)
        origin.go_on.set()
        assert [(await client.answer(stream)).status for stream in (1, 3, 5)] == [200, 200, 200]
        await client.end()
        assert 7 not in client.answers
        assert goaways(client) == [(EVERY_STREAM, NO_ERROR), (5, NO_ERROR)]
        assert it.counters["RequestCount"] == 3


async def test_client_that_does_not_acknowledge_the_goaway_is_ended_too() -> None:
    """Soon after."""
    async with target() as origin, running(origin.address, limits=alb.Limits(http2_requests=1), idle_timeout=0.2) as it:
        client = await H2Client(await it.client(), polite=False).start()
        client.send(get(1))
        assert (await client.answer(1)).status == 200
        await client.end()
        assert goaways(client) == [(EVERY_STREAM, NO_ERROR), (1, NO_ERROR)]


async def test_old_connection_serves_one_more_request() -> None:
    """As ALB's `client_keep_alive.seconds`: the request after that age is answered, and then the connection ends."""
    async with target() as origin, running(origin.address, client_keep_alive=60) as it:
        client = await h2(it)
        assert (await client.get()).status == 200
        connection_of(it).sweep(it.runtime.clock.monotonic() + 61)
        await client.alive()
        assert goaways(client) == []
        assert (await client.get()).status == 200
        await client.end()
        assert goaways(client) == [(EVERY_STREAM, NO_ERROR), (3, NO_ERROR)]
        assert kinds(it) == {}


# Idleness.


async def test_idle_connection_ends_with_goaway_and_pings_do_not_keep_it() -> None:
    """As with ALB, only requests and data count."""
    async with target() as origin, running(origin.address, idle_timeout=0.4) as it:
        client = await h2(it)
        assert (await client.get()).status == 200
        while not client.has_ended:
            client.send(ping())
            await client.next_frame()
            await asyncio.sleep(0.01)
        assert goaways(client) == [(1, NO_ERROR)]
        assert kinds(it) == {}


async def test_connection_that_says_nothing_after_its_preface_ends() -> None:
    """With the same timeout."""
    async with target() as origin, running(origin.address, idle_timeout=0.2) as it:
        client = await h2(it)
        await client.end()
        assert goaways(client) == [(0, NO_ERROR)]


# Shutdown.


@pytest.mark.parametrize("door", ["plain", "tls"])
async def test_stop_lets_responses_in_progress_finish(door: str) -> None:
    """Two GOAWAYs, and nothing is lost."""
    async with Held() as origin:
        balancer = running(origin.address, stop_timeout=5) if door == "plain" else secured(origin.address, stop_timeout=5)
        async with balancer as it:
            peer = await it.client() if door == "plain" else await it.secure(client_context(alpn=("h2",)))  # type: ignore[attr-defined]
            client = await H2Client(peer).start()
            streams = [client.request() for _ in range(5)]
            await origin.arrived(5)
            stopping = asyncio.ensure_future(it.load_balancer.stop())
            await goaway_to(client, EVERY_STREAM)
            await goaway_to(client, streams[-1])
            origin.go_on.set()
            assert [(await client.answer(stream)).status for stream in streams] == [200] * 5
            await client.end()
            await client.close()
            await stopping
            assert kinds(it) == {}


async def test_stop_ends_idle_connections_at_once() -> None:
    """With the last stream in the only GOAWAY."""
    async with target() as origin, running(origin.address, stop_timeout=5) as it:
        client = await h2(it)
        await client.get()
        stopping = asyncio.ensure_future(it.load_balancer.stop())
        await client.end()
        await client.close()
        assert goaways(client) == [(1, NO_ERROR)]
        await stopping


async def test_stop_cuts_what_takes_too_long() -> None:
    """After its timeout. Every exchange is counted."""
    async with Held() as origin, running(origin.address, stop_timeout=0.2) as it:
        client = await h2(it)
        for _ in range(3):
            client.request()
        await origin.arrived(3)
        await it.load_balancer.stop()
        await client.end()
        assert kinds(it) == {"Stopped": 3}


async def test_stop_cuts_a_client_that_reads_nothing() -> None:
    """Its responses wait for a window that it never opens."""
    async with target() as origin, running(origin.address, stop_timeout=0.2) as it:
        client = await h2(it, (INITIAL_WINDOW_SIZE, 0), generous=False)
        await client.head(client.request())
        buffers = it.runtime.http2_buffers
        assert buffers.total == 2
        await it.load_balancer.stop()
        assert buffers.total == 0


async def test_removed_listener_lets_its_connections_finish() -> None:
    """In two steps as well, while the load balancer runs on."""
    async with Held() as origin, balancing(listener(group_of(origin.address), name="old"), stop_timeout=5) as it:
        client = await h2(it)
        stream = client.request()
        await origin.arrived()
        await it.load_balancer.apply(listener(alb.FixedResponse(204), name="new"))
        await goaway_to(client, EVERY_STREAM)
        origin.go_on.set()
        assert (await client.answer(stream)).status == 200
        await client.end()


async def test_cancelled_tasks_leave_nothing() -> None:
    """A program that ends cancels all tasks, those that wait for a stream as well."""
    before = asyncio.all_tasks()
    async with Held() as origin, running(origin.address) as it:
        client = await h2(it)
        first = client.request()
        await origin.arrived()
        origin.go_on.set()
        await client.answer(first)
        origin.go_on.clear()
        streams = [client.request() for _ in range(3)]
        await client.alive()
        ours = {task for task in asyncio.all_tasks() - before if "serve" in repr(task.get_coro())}
        assert len(ours) >= 3
        for task in ours:
            task.cancel()
        for stream in streams:
            assert await client.reset(stream) != NO_ERROR
        await asyncio.gather(*ours, return_exceptions=True)
        origin.go_on.set()
        assert (await client.get()).status == 200
        assert kinds(it) == {"Stopped": 3}


# Clients that leave.


@pytest.mark.parametrize("way", ["FIN", "RST"])
async def test_client_that_leaves_ends_all_its_exchanges(way: str) -> None:
    """Each is counted once."""
    async with Held() as origin, running(origin.address) as it:
        client = await h2(it)
        for _ in range(3):
            client.request()
        client.send(post(7), data(7, b"body"))
        await origin.arrived(4)
        if way == "FIN":
            client.peer.send_fin()
        else:
            client.peer.reset()
        await until(lambda: not it.runtime.clients)
        origin.go_on.set()
        assert kinds(it) == {"ClientClosed": 4}
        assert it.runtime.http2_buffers.total == 0


async def test_goaway_of_the_client_lets_its_streams_finish() -> None:
    """It opens no more of them, and closes when it has the answers."""
    async with Held() as origin, running(origin.address) as it:
        client = await h2(it)
        stream = client.request()
        await origin.arrived()
        client.send(go_away())
        await client.alive()
        origin.go_on.set()
        assert (await client.answer(stream)).status == 200
        await client.alive()


async def test_client_may_leave_at_every_byte() -> None:
    """Whatever it was in the middle of, nothing is left. The next one is served."""
    wire = b"".join(
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0\0\0\4\0\0\0\0\0", post(1), data(1, b"body", padding=3), get(3), data(1, b"", end=True))
    )
    async with target() as origin, running(origin.address) as it:
        for end in range(1, len(wire)):
            client = await it.client()
            client.send(wire[:end])
            await client.drain()
            client.send_fin() if end % 2 else client.reset()
        await until(lambda: not it.runtime.clients)
        assert (await (await h2(it)).get()).status == 200
        assert set(kinds(it)) <= {"ClientClosed", "Http2ProtocolError", "RequestBodyTruncated", "RequestMalformed", "RequestHeadTruncated"}
        assert it.runtime.http2_buffers.total == 0

"""A target that dies in its response: its client gets what has come, then an end that cannot be taken for the whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import albkit as alb
from tests.functional.test_connection_limits import crowd
from tests.support.clock import FakeClock
from tests.support.gateway import Running, running
from tests.support.peers import Conversation, RawClient, Script, response, target
from tests.support.secure import SecureClient

SIZE = 12_000_000
"""More than the kernel keeps of one connection: most of it waits in the load balancer."""
ROOM = alb.Limits(in_flight=2 * SIZE)

OLD = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"
NEW = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf"
"""Of which the second half does not come."""
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (SIZE + 1)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % (SIZE + 1)
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


def dying(head: bytes, *, size: int = SIZE, reset: bool = False, waits: asyncio.Event | None = None) -> Script:
    """A script that says this head and so much of a body, and is gone."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(head)
        for _ in range(100):
            conversation.send(b"X" * (size // 100))
            await conversation.drain()
        if waits is not None:
            await waits.wait()
        if reset:
            conversation.reset()

    return script


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something inside the load balancer of which nobody is told."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def come(it: Running, door: str) -> RawClient:
    """A client that reads nothing by itself."""
    client = await (SecureClient.secure(it.port) if door == "HTTPS" else RawClient.connect(it.port))
    it.clients.append(client)
    return client


async def asked(it: Running, client: RawClient, request: bytes) -> None:
    """A request whose response nobody reads, until its target has died."""
    client.writer.transport.pause_reading()
    client.send(request)
    await until(lambda: it.counters.get("Failure_ResponseBodyTruncated") == 1)
    client.writer.transport.resume_reading()


async def everything(client: RawClient) -> None:
    """Read piece by piece, so that what came before a reset is kept."""
    while await client.read(1 << 20):
        pass


@pytest.mark.parametrize("door", ["HTTP", "HTTPS"])
@pytest.mark.parametrize(
    ("request_", "head"),
    [(OLD, SIZED), (NEW, SIZED), (NEW, CHUNKED), (UPLOAD, SIZED), (UPLOAD, CHUNKED)],
    ids=["HTTP/1.0 sized", "sized", "chunked", "upload sized", "upload chunked"],
)
async def test_what_came_of_a_marked_response_is_sent_and_then_fin(door: str, request_: bytes, head: bytes) -> None:
    """Its length, or the last chunk that is missing, tells that it is not whole; no reset takes away what has come."""
    async with target(dying(head)) as origin, crowd(door, origin.address, limits=ROOM) as it:
        client = await come(it, door)
        await asked(it, client, request_)
        wire = await client.read_to_end()
        assert wire.count(b"X") == SIZE
        assert not wire.endswith(b"0\r\n\r\n")
        assert not (isinstance(client, SecureClient) and client.was_told), "a close_notify would say that nothing is missing"
        client.writer.close()
        await until(lambda: not it.runtime.clients)


@pytest.mark.parametrize("door", ["HTTP", "HTTPS"])
async def test_what_came_of_a_response_without_a_length_is_sent_to_http_1_0_and_then_rst(door: str) -> None:
    """FIN would make it whole."""
    async with target(dying(CHUNKED)) as origin, crowd(door, origin.address, limits=ROOM) as it:
        client = await come(it, door)
        await asked(it, client, OLD)
        with pytest.raises(ConnectionError):
            await everything(client)
        assert client.received.count(b"X") == SIZE
        await until(lambda: not it.runtime.clients)


@pytest.mark.parametrize("door", ["HTTP", "HTTPS"])
async def test_rst_waits_for_what_the_kernel_still_has_to_send(door: str) -> None:
    """It would take that back as well, though nothing waits in the load balancer any more."""
    async with target(dying(CHUNKED, size=400_000)) as origin, crowd(door, origin.address) as it:
        client = await (SecureClient.secure(it.port, slow=True) if door == "HTTPS" else RawClient.connect(it.port, slow=True))
        it.clients.append(client)
        await asked(it, client, OLD)
        (connection,) = it.runtime.clients
        await until(lambda: connection.socket.transport.get_write_buffer_size() == 0)  # type: ignore[attr-defined]
        for _ in range(3):
            connection.sweep(it.runtime.clock.monotonic())  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        with pytest.raises(ConnectionError):
            await everything(client)
        assert client.received.count(b"X") == 400_000


async def test_response_until_close_that_is_reset_ends_in_rst_behind_all_that_came() -> None:
    """The target itself ends its body with the connection, and RST is no end."""
    go = asyncio.Event()
    async with target(dying(UNTIL_CLOSE, size=500_000, reset=True, waits=go)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(OLD)
        got = 0
        while got < 500_000:
            got += (await client.read()).count(b"X")
        go.set()
        with pytest.raises(ConnectionError):
            await client.read_to_end()


@pytest.mark.parametrize("request_", [OLD, NEW], ids=["HTTP/1.0", "HTTP/1.1"])
@pytest.mark.parametrize("head", [SIZED, CHUNKED], ids=["sized", "chunked"])
async def test_client_that_does_not_take_what_came_is_cut_after_the_idle_timeout(request_: bytes, head: bytes) -> None:
    """What is still to be sent holds the connection no longer than any other write without progress."""
    clock = FakeClock()
    async with target(dying(head)) as origin, running(origin.address, limits=ROOM, idle_timeout=60, clock=clock) as it:
        client = await it.client()
        client.writer.transport.pause_reading()
        client.send(request_)
        await until(lambda: it.counters.get("Failure_ResponseBodyTruncated") == 1)
        await asyncio.sleep(0)
        (connection,) = it.runtime.clients
        unsent = 0
        while unsent != (unsent := connection.socket.transport.get_write_buffer_size()):  # type: ignore[attr-defined]
            await asyncio.sleep(0.05)
        assert unsent > 0
        connection.sweep(clock.monotonic())  # type: ignore[attr-defined]
        clock.advance(59)
        connection.sweep(clock.monotonic())  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)
        assert it.runtime.clients
        clock.advance(1)
        connection.sweep(clock.monotonic())  # type: ignore[attr-defined]
        await until(lambda: not it.runtime.clients)


@pytest.mark.parametrize("request_", [OLD, NEW], ids=["HTTP/1.0", "HTTP/1.1"])
async def test_stop_does_not_wait_for_what_nobody_takes(request_: bytes) -> None:
    """The time to stop is over: the connection is cut, whatever it still has to send."""
    async with target(dying(CHUNKED)) as origin, running(origin.address, limits=ROOM, stop_timeout=0.1) as it:
        client = await it.client()
        client.writer.transport.pause_reading()
        client.send(request_)
        await until(lambda: it.counters.get("Failure_ResponseBodyTruncated") == 1)
        gateway = it.runtime
        async with asyncio.timeout(5):
            await it.load_balancer.stop()
        assert not gateway.clients


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
async def test_client_that_leaves_while_what_came_is_sent_is_let_go(reset: bool) -> None:
    """Nobody is left to send it to."""
    async with target(dying(SIZED)) as origin, running(origin.address, limits=ROOM) as it:
        client = await it.client()
        client.writer.transport.pause_reading()
        client.send(NEW)
        await until(lambda: it.counters.get("Failure_ResponseBodyTruncated") == 1)
        if reset:
            client.reset()
        else:
            client.writer.transport.abort()
        await until(lambda: not it.runtime.clients)


async def test_stop_in_mid_response_cuts_http_1_0_with_rst() -> None:
    """A response without a length that the load balancer itself cuts is no whole one either."""
    go = asyncio.Event()
    script = dying(UNTIL_CLOSE, size=100, waits=go)
    async with target(script) as origin, running(origin.address, stop_timeout=0.05) as it:
        client = await it.client()
        client.send(OLD)
        await client.read_until(b"X" * 100)
        await it.load_balancer.stop()
        with pytest.raises(ConnectionError):
            await client.read_to_end()


async def test_whole_response_until_close_ends_in_fin() -> None:
    """Nothing that is whole is reset."""
    async with target(dying(UNTIL_CLOSE, size=1_000_000)) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(OLD)
        assert (await client.read_to_end()).count(b"X") == 1_000_000


async def test_connection_goes_on_serving_others_behind_a_cut() -> None:
    """One more client of the same target is served."""
    scripts = [dying(SIZED, size=100)]

    async def script(conversation: Conversation) -> None:
        if scripts:
            await scripts.pop()(conversation)
        else:
            await conversation.head()
            conversation.send(response())

    async with target(script) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(NEW)
        assert (await client.read_to_end()).endswith(b"X" * 100)
        assert (await (await it.client()).get()).status == 200


@pytest.mark.parametrize("request_", [OLD, NEW], ids=["HTTP/1.0", "HTTP/1.1"])
async def test_task_that_is_cancelled_in_mid_response_makes_no_response_whole(request_: bytes) -> None:
    """As a program does that ends its loop: the connection is cut at once."""
    go = asyncio.Event()
    async with target(dying(UNTIL_CLOSE, size=100, waits=go)) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(request_)
        while client.received.count(b"X") < 100:
            await client.read()
        (connection,) = it.runtime.clients
        connection._task.cancel()  # type: ignore[attr-defined]
        await until(lambda: not it.runtime.clients)
        if request_ is OLD:
            with pytest.raises(ConnectionError):
                await client.read_to_end()
        else:
            assert b"0\r\n\r\n" not in await client.read_to_end()


@pytest.mark.parametrize(("request_", "head"), [(OLD, UNTIL_CLOSE), (NEW, SIZED)], ids=["until close", "sized"])
async def test_client_that_reads_slowly_is_not_cut_while_its_target_is_silent(request_: bytes, head: bytes) -> None:
    """What it takes is a move, though nothing comes from anywhere; when it takes no more, the idle timeout runs."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(head + b"X" * SIZE)
        await conversation.read_to_end()

    clock = FakeClock()
    async with target(script) as origin, running(origin.address, limits=ROOM, idle_timeout=60, clock=clock) as it:
        client = await it.client(slow=True)
        client.send(request_)
        await client.read_until(b"\r\n\r\n")
        (connection,) = it.runtime.clients
        transport = connection.socket.transport  # type: ignore[attr-defined]
        conversation = await origin.arrived()

        async def all_waits() -> None:
            """The target has nothing more to send, and what the kernel does not take is here."""
            await until(lambda: not conversation.writer.transport.get_write_buffer_size())
            before = -1
            while before != (before := transport.get_write_buffer_size()):
                await asyncio.sleep(0.05)

        await all_waits()
        connection.sweep(clock.monotonic())  # type: ignore[attr-defined]
        for _ in range(5):
            clock.advance(50)
            before = transport.get_write_buffer_size()
            while transport.get_write_buffer_size() == before:
                await client.read()
            await all_waits()
            connection.sweep(clock.monotonic())  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)
        assert it.runtime.clients
        assert not [name for name in it.counters if name.startswith("Failure_")]
        clock.advance(60)
        connection.sweep(clock.monotonic())  # type: ignore[attr-defined]
        await until(lambda: not it.runtime.clients)
        assert it.counters["Failure_ClientStalled"] == 1

"""What one turn of the loop does while a peer sends much in small parts: everybody else waits for so long, and no longer.

CPU time of the loop's own thread is measured, and the floods come from other threads; what a thread costs beside it does not count.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import albkit as alb
from albkit.proxy.client.http1_exchange import _REQUESTS_PER_TURN
from albkit.wire.websocket.frames import MANY_FRAMES
from tests.support.gateway import Running, leaving_nothing, running
from tests.support.peers import Conversation, request, response, target
from tests.support.secure import SecureClient, secured
from tests.support.tunnels import SWITCHED, UPGRADE

LONGEST = 0.010
"""Seconds of CPU time that one turn may take."""
TRIES = 6
"""Of which one must be so quick: another program may have the cache to itself."""

pytestmark = pytest.mark.no_cover

ACTIONS = {
    "fixed": alb.FixedResponse(200),
    "redirect": alb.Redirect(protocol="HTTPS", port=443, status_code=301),
    "no target": alb.Forward(alb.TargetGroup("empty", [])),
}
CHUNKS = {
    "tiny": b"1\r\nX\r\n" * 60_000,
    "extended": b"1;a\r\nX\r\n" * 20_000,
    "padded": b"00000001\r\nX\r\n" * 40_000,
    "of two sizes": b"1\r\nX\r\n2\r\nXX\r\n" * 30_000,
}
LAST = b"0\r\n\r\n"
CHUNKED_POST = request("POST", "/", "Transfer-Encoding: chunked")
CHUNKED_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HELLO = request("GET", "/ws", *UPGRADE)
FROM_CLIENT = b"\x82\x80abcd"
FROM_TARGET = b"\x82\x00"


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    """A hang is a failure with a place."""
    async with asyncio.timeout(60):
        yield


@pytest.fixture
def undisturbed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The collection of the whole test suite's garbage is no part of a turn."""
    gc.collect()
    gc.disable()
    # Nor is what it keeps of each line of the log.
    caplog.set_level(logging.CRITICAL, "albkit")
    yield
    gc.enable()


class Turns:
    """Looks at every turn of the loop while it is entered.

    Args:
        figure: Of which the largest step within a turn is kept.
    """

    def __init__(self, figure: Callable[[], float] = time.thread_time) -> None:
        self.longest = 0.0
        self._figure = figure
        self._before = 0.0
        self._handle: asyncio.Handle | None = None

    def __enter__(self) -> Turns:
        self._before = self._figure()
        self._handle = asyncio.get_running_loop().call_soon(self._turn)
        return self

    def _turn(self) -> None:
        now = self._figure()
        self.longest = max(self.longest, now - self._before)
        self._before = now
        self._handle = asyncio.get_running_loop().call_soon(self._turn)

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            self._handle.cancel()


# Peers in threads.


def read_to_end(sock: socket.socket) -> bytes:
    """All that comes, a reset being an end as well."""
    pieces = []
    with contextlib.suppress(OSError):
        while data := sock.recv(1 << 20):
            pieces.append(data)
    return b"".join(pieces)


def pour(port: int, data: bytes, *, first: bytes = b"", until: bytes = b"") -> bytes:
    """A client in a thread: `first`, and what is read behind it, then all of `data` while another thread reads up to `until`."""
    got = b""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(20)
        if first:
            sock.sendall(first)
            sock.recv(65536)
        pourer = threading.Thread(target=lambda: sock.sendall(data))
        pourer.start()
        while not got.endswith(until) or not until:
            piece = sock.recv(1 << 20)
            if not piece:
                break
            got += piece
        pourer.join()
    return got


class ThreadTarget:
    """A target in threads: reads a head, says something, and reads up to some end.

    Args:
        says: Behind the head.
        until: Behind which it says `last` and is through; empty for none.
        last: See `until`.
    """

    def __init__(self, says: bytes = b"", until: bytes = b"", last: bytes = b"") -> None:
        self.says, self.until, self.last = says, until, last
        self.received = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(sock,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                piece = sock.recv(65536)
                if not piece:
                    return
                data += piece
            sock.sendall(self.says)
            pieces = [data]
            while data:
                if self.until and data.endswith(self.until):
                    sock.sendall(self.last)
                    break
                data = sock.recv(1 << 20)
                pieces.append(data)
            self.received = b"".join(pieces)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()


@contextlib.asynccontextmanager
async def thread_target(says: bytes = b"", until: bytes = b"", last: bytes = b"") -> AsyncIterator[ThreadTarget]:
    """Runs one."""
    one = ThreadTarget(says, until, last)
    try:
        yield one
    finally:
        await asyncio.to_thread(one.close)


@contextlib.asynccontextmanager
async def acting(action: Any, **settings: Any) -> AsyncIterator[Running]:
    """A load balancer with one action."""
    load_balancer = alb.LoadBalancer(alb.Listener(0, action, host="127.0.0.1"), stop_timeout=0.2, **settings)
    async with leaving_nothing(Running(load_balancer)) as it:
        yield it


@pytest.fixture(autouse=True)
def _longer_beside_coverage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are not traced, but the processes beside them are, and leave less of the processor's caches."""
    if request.config.pluginmanager.hasplugin("_cov"):
        monkeypatch.setattr(sys.modules[__name__], "LONGEST", 2 * LONGEST)


async def quickest(flood: Callable[[], Any]) -> float:
    """The longest turn while this goes on, in the best of some tries."""
    best = 1e9
    for _ in range(TRIES):
        with Turns() as turns:
            await flood()
        best = min(best, turns.longest)
        if best < LONGEST:
            break
    return best


# Requests that the load balancer answers itself.


def answered(it: Running) -> int:
    """How many requests."""
    counters = it.runtime.counters
    return counters.fixed_responses + counters.redirects + counters.elb_5xx


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
async def test_pipelined_requests_are_answered_few_at_a_time(action: Any) -> None:
    """Whoever sends hundreds at once has each of them answered, in its order, and others have their turns between them."""
    async with acting(action) as it:
        clients = [await it.client() for _ in range(3)]
        with Turns(lambda: answered(it)) as turns:
            for client in clients:
                client.send(request("GET", "/") * 199 + request("GET", "/", "Connection: close"))
            for client in clients:
                wire = await client.read_to_end()
                assert wire.count(b"HTTP/1.1 ") == 200
                assert wire.count(b"Connection: close") == 1
        assert answered(it) == 600
        assert turns.longest <= len(clients) * _REQUESTS_PER_TURN


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
async def test_turn_stays_short_while_ten_clients_pipeline(action: Any) -> None:
    """Each has hundreds of requests waiting."""
    wire = request("GET", "/") * 400 + request("GET", "/", "Connection: close")
    async with acting(action) as it:

        async def flood() -> None:
            await asyncio.gather(*(asyncio.to_thread(pour, it.port, wire) for _ in range(10)))

        assert await quickest(flood) < LONGEST


@pytest.mark.usefixtures("undisturbed")
async def test_failures_leave_nothing_to_the_garbage_collector() -> None:
    """A whole collection takes as long as many turns: no flood of failures may ask for one after the other."""
    async with acting(ACTIONS["no target"]) as it:
        client = await it.client()
        await client.get()
        gc.collect()
        for _ in range(50):
            assert (await client.get()).status == 503
        assert gc.collect() < 50, "not one object of each"


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_client_that_leaves_in_its_flood_is_answered_no_more(how: str) -> None:
    """What waited for its turn goes with it."""
    async with acting(ACTIONS["fixed"]) as it:
        client = await it.client()
        client.send(request("GET", "/") * 2000)
        await client.response()
        if how == "rst":
            client.reset()
        else:
            client.writer.transport.abort()
        while it.runtime.clients:
            await asyncio.sleep(0)
        assert 0 < answered(it) < 2000
        assert not [name for name in it.counters if name.startswith("Failure_")]


async def test_stop_in_a_flood_does_not_wait_for_its_end() -> None:
    """One more answer says close."""
    async with acting(ACTIONS["fixed"]) as it:
        client = await it.client()
        client.send(request("GET", "/") * 2000)
        await client.response()
        gateway = it.runtime
        await it.load_balancer.stop()
        assert not gateway.clients
        assert gateway.counters.fixed_responses < 2000


async def test_task_that_is_cancelled_in_a_flood_leaves_nothing() -> None:
    """Between two answers, where nothing is awaited but a turn."""
    async with acting(ACTIONS["fixed"]) as it:
        client = await it.client()
        client.send(request("GET", "/") * 2000)
        await client.response()
        (connection,) = it.runtime.clients
        connection._task.cancel()  # type: ignore[attr-defined]
        while it.runtime.clients:
            await asyncio.sleep(0)
        assert answered(it) < 2000


# Bodies in tiny chunks.


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
async def test_turn_stays_short_while_a_request_comes_in_tiny_chunks(chunks: bytes) -> None:
    """And the target gets all of it."""
    async with thread_target(until=LAST, last=response()) as origin, running(origin.address) as it:

        async def flood() -> None:
            got = await asyncio.to_thread(pour, it.port, CHUNKED_POST + chunks + LAST, until=b"ok")
            assert got.startswith(b"HTTP/1.1 200")

        assert await quickest(flood) < LONGEST
        while it.runtime.connections.count:
            await asyncio.sleep(0.01)
    assert origin.received.count(b"X") - origin.received.count(b"X-") == chunks.count(b"X")


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
async def test_turn_stays_short_while_a_response_comes_in_tiny_chunks(chunks: bytes) -> None:
    """And the client gets all of it."""
    async with thread_target(says=CHUNKED_OK + chunks + LAST) as origin, running(origin.address) as it:

        async def flood() -> None:
            got = await asyncio.to_thread(pour, it.port, request("GET", "/"), until=LAST)
            assert got.count(b"X") == chunks.count(b"X")

        assert await quickest(flood) < LONGEST


TINY = b"1\r\nX\r\n2\r\nXX\r\n" * 14_000
DATA = TINY.count(b"X")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("ending", ["whole", "fin", "short", "rst"])
async def test_response_of_tiny_chunks_ends_as_its_target_ended_it(version: str, ending: str) -> None:
    """Whether the connection ends behind it or not, all that came is read before that is looked at."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        conversation.send(CHUNKED_OK + TINY + (LAST if ending != "short" else b""))
        if ending == "whole":
            await conversation.read_to_end()
        elif ending == "rst":
            await conversation.drain()
            await passed.wait()
            conversation.reset()

    passed = asyncio.Event()
    async with target(script) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(f"GET / HTTP/{version}\r\nHost: a\r\n\r\n".encode())
        head = await client.read_until(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not client.received.endswith(LAST) and await client.read():
                pass
        passed.set()
        assert (b"Transfer-Encoding: chunked" in head) == (version == "1.1")
        assert client.received.endswith(LAST) == (version == "1.1" and ending != "short")
        assert client.received.count(b"X") == DATA
        assert it.counters.get("Failure_ResponseBodyTruncated", 0) == (ending == "short")


async def test_response_of_tiny_chunks_that_has_come_before_it_is_asked_for_is_passed_on() -> None:
    """All of it, and the end of its connection, has come while a hook was waited for: nothing is lost, nor waited for."""
    group_answers = CHUNKED_OK + TINY + LAST

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(group_answers)

    async with target(script) as origin, running(origin.address) as it:
        for _ in range(5):
            client = await it.client()
            client.send(request("GET", "/"))
            got = await client.response()
            assert (len(got.body), got.complete) == (DATA, True)


async def test_response_of_tiny_chunks_that_waits_is_read_though_its_connection_is_lost() -> None:
    """As where the target resets the upload behind its whole answer."""
    chunks = TINY[: 13 * 3000] + LAST

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(CHUNKED_OK + chunks)
        await conversation.read_to_end()

    async with target(script) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(request("GET", "/"))
        while not (it.runtime.clients and (upstream := next(iter(it.runtime.clients)).exchange.upstream)):  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        while not (upstream._yields and upstream._body._unread.endswith(LAST)):
            await asyncio.sleep(0)
        upstream.transport.abort()
        got = await client.response()
        assert (len(got.body), got.complete) == (9000, True)


@pytest.mark.parametrize("tls", [False, True], ids=["HTTP", "HTTPS"])
async def test_body_of_tiny_chunks_is_the_same_at_a_target_that_reads_slowly(tls: bool) -> None:
    """Resting and being held back go together, whichever ends first; what follows on the connection is served."""
    wire = TINY * 4

    async def script(conversation: Conversation) -> None:
        while True:
            conversation.writer.transport.pause_reading()
            await asyncio.sleep(0.01)
            conversation.writer.transport.resume_reading()
            _, body = await conversation.request()
            conversation.send(response(200, b"%d" % len(body)))

    limits = alb.Limits(in_flight=20_000)
    entered = secured if tls else running
    async with target(script) as origin, entered(origin.address, limits=limits) as it:  # type: ignore[operator]
        client = await it.client()
        for _ in range(2):
            client.send(CHUNKED_POST + wire + LAST)
            assert (await client.response()).body == b"%d" % (4 * DATA)


@pytest.mark.parametrize("tls", [False, True], ids=["HTTP", "HTTPS"])
async def test_response_of_tiny_chunks_is_the_same_at_a_client_that_reads_slowly(tls: bool) -> None:
    """The same the other way."""
    limits = alb.Limits(in_flight=20_000)
    entered = secured if tls else running
    async with (
        target(None, CHUNKED_OK + TINY * 4 + LAST) as origin,
        entered(origin.address, limits=limits) as it,  # type: ignore[operator]
    ):
        client = await it.client()
        for _ in range(2):
            client.writer.transport.pause_reading()
            client.send(request("GET", "/"))
            await asyncio.sleep(0.02)
            client.writer.transport.resume_reading()
            got = await client.response()
            assert (len(got.body), got.complete) == (4 * DATA, True)


async def test_client_that_leaves_while_its_tiny_chunks_wait_leaves_nothing() -> None:
    """The body goes with it."""

    async def holding(conversation: Conversation) -> None:
        await conversation.read_to_end()

    async with target(holding) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(CHUNKED_POST + TINY)
        await origin.arrived()
        client.reset()
        while it.runtime.clients or it.runtime.connections.count:
            await asyncio.sleep(0)


async def test_early_answer_to_a_body_of_tiny_chunks_is_delivered() -> None:
    """What waited of the body is thrown away with the rest of it."""

    async def early(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(response(413, b"no", b"Connection: close"))

    async with target(early) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(CHUNKED_POST + TINY * 3)
        assert (await client.response()).status == 413
        client.send(TINY * 3 + LAST)
        await client.drain()
        assert await client.read_to_end() == b""


async def test_hook_gets_a_body_of_tiny_chunks_whole() -> None:
    """It is forwarded all the same."""
    taken: list[int] = []

    async def hook(request: Any) -> None:
        taken.append(len(await request.body()))

    async with target() as origin, running(origin.address, hooks=[hook]) as it:
        client = await it.client()
        client.send(CHUNKED_POST + TINY + LAST + request("GET", "/"))
        assert (await client.response()).status == 200
        assert (await client.response()).status == 200
        assert taken == [DATA, 0]


# Tiny WebSocket frames.


POLICIES = {"followed": alb.TunnelPolicy(), "taken apart": alb.TunnelPolicy(max_message_size=1000)}
CLOSE_OF_CLIENT = b"\x88\x80abcd"
CLOSE_OF_TARGET = b"\x88\x00"


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
async def test_turn_stays_short_while_a_client_sends_tiny_frames(policy: alb.TunnelPolicy) -> None:
    """And the target gets all of them."""
    wire = FROM_CLIENT * 60_000 + CLOSE_OF_CLIENT
    async with (
        thread_target(says=SWITCHED, until=CLOSE_OF_CLIENT, last=CLOSE_OF_TARGET) as origin,
        running(origin.address, tunnel=policy) as it,
    ):

        async def flood() -> None:
            assert await asyncio.to_thread(pour, it.port, wire, first=HELLO) == CLOSE_OF_TARGET
            while it.runtime.tunnels:
                await asyncio.sleep(0)

        assert await quickest(flood) < LONGEST
    assert origin.received.endswith(wire)


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
async def test_turn_stays_short_while_a_target_sends_tiny_frames(policy: alb.TunnelPolicy) -> None:
    """The flood begins behind its 101, and ends with FIN at once."""
    wire = FROM_TARGET * 200_000 + CLOSE_OF_TARGET
    async with thread_target(says=SWITCHED + wire) as origin, running(origin.address, tunnel=policy) as it:

        async def flood() -> None:
            got = await asyncio.to_thread(pour, it.port, b"", first=HELLO, until=CLOSE_OF_TARGET)
            assert got.endswith(wire[-100_000:])

        assert await quickest(flood) < LONGEST


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
async def test_tiny_frames_are_followed_so_many_a_turn(policy: alb.TunnelPolicy) -> None:
    """Of each direction, and each turn."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(SWITCHED + FROM_TARGET * 20_000)
        await conversation.read_exactly(20_000 * len(FROM_CLIENT))

    async with target(script) as origin, running(origin.address, tunnel=policy) as it:
        client = await it.client()
        client.send(HELLO + FROM_CLIENT * 20_000)
        await client.read_until(b"\r\n\r\n")
        (tunnel,) = it.load_balancer.tunnels
        with Turns(lambda: (tunnel.frames_in or 0) + (tunnel.frames_out or 0)) as turns:
            assert await client.read_exactly(40_000) == FROM_TARGET * 20_000
            await origin.conversations[0].over.wait()
        assert 0 < turns.longest <= 2 * MANY_FRAMES
        assert (tunnel.frames_in, tunnel.frames_out) == (20_000, 20_000)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("tls", [False, True], ids=["WS", "WSS"])
async def test_tiny_frames_are_the_same_at_a_peer_that_reads_slowly(policy: alb.TunnelPolicy, tls: bool) -> None:
    """Resting and being held back go together, and FIN comes behind the last of them."""
    ours, theirs = FROM_CLIENT * 30_000, FROM_TARGET * 100_000

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.writer.transport.pause_reading()
        conversation.send(SWITCHED + theirs)
        await asyncio.sleep(0.02)
        conversation.writer.transport.resume_reading()
        got.append(await conversation.read_exactly(len(ours)))
        conversation.send_fin()
        got.append(await conversation.read_to_end())

    got: list[bytes] = []
    entered = secured if tls else running
    async with target(script) as origin, entered(origin.address, tunnel=policy, limits=alb.Limits(in_flight=20_000)) as it:  # type: ignore[operator]
        client = await it.client()
        client.writer.transport.pause_reading()
        client.send(HELLO + ours)
        await asyncio.sleep(0.02)
        client.writer.transport.resume_reading()
        await client.read_until(b"\r\n\r\n")
        assert await client.read_to_end() == theirs
        client.send_fin()
        await origin.conversations[0].over.wait()
        assert got == [ours, b""]


async def test_tunnel_that_is_closed_in_a_flood_says_so_between_two_frames() -> None:
    """The Close frame of ours stands between those that were passed on and those that wait."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(SWITCHED + FROM_TARGET * 100_000)
        await conversation.read_to_end()

    async with target(script) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(HELLO + FROM_CLIENT * 30_000)
        await client.read_until(b"\r\n\r\n")
        (tunnel,) = it.load_balancer.tunnels
        closing = asyncio.ensure_future(tunnel.close(1001))
        wire = await client.read_to_end()
        frames, close = wire[:-4], wire[-4:]
        assert close == b"\x88\x02\x03\xe9"
        assert frames == FROM_TARGET * (len(frames) // 2)
        client.send(b"\x88\x82\0\0\0\0\x03\xe9")
        await client.close()
        await (await origin.arrived()).close()
        await closing


@pytest.mark.parametrize("who", ["client", "target"])
async def test_peer_that_resets_in_its_flood_ends_the_tunnel(who: str) -> None:
    """What waited goes with it."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(SWITCHED + FROM_TARGET * 100_000)
        if who == "target":
            await conversation.read_exactly(100)
            conversation.reset()
        else:
            await conversation.read_to_end()

    async with target(script) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(HELLO + FROM_CLIENT * 30_000)
        await client.read_until(b"\r\n\r\n")
        if who == "client":
            client.reset()
        while it.runtime.tunnels:
            await asyncio.sleep(0)


async def test_secure_client_reads_a_flood_whole() -> None:
    """Over TLS a rest keeps back what is decrypted already."""
    wire = FROM_TARGET * 100_000 + CLOSE_OF_TARGET

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(SWITCHED + wire)
        await conversation.read_to_end()

    async with target(script) as origin, secured(origin.address) as it:
        client = await it.secure()
        assert isinstance(client, SecureClient)
        client.send(HELLO)
        await client.read_until(b"\r\n\r\n")
        assert await client.read_exactly(len(wire)) == wire

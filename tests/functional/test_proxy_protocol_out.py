"""Targets that are told of the client before anything else, in PROXY protocol headers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from tests.support.authority import Authority
from tests.support.balancing import Balancing, listener
from tests.support.clock import FakeClock
from tests.support.peers import HEAD_END, Conversation, RawClient, Script, Target, answering, free_port, request, response
from tests.support.proxy_headers import (
    LOCAL,
    SIGNATURE,
    UNKNOWN,
    Header,
    TlsClient,
    all_going,
    behind_header,
    header_of,
    tls_tlvs,
    v1,
    v2,
)
from tests.support.tunnels import SWITCHED, UPGRADE, echo, gone, holding, switching

AUTHORITY = Authority("Test CA")
BOTH = pytest.mark.parametrize("version", ["v1", "v2"])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Certificate and key for localhost."""
    return AUTHORITY.issue("localhost", "127.0.0.1").write(tmp_path_factory.mktemp("certificates"), "localhost")


class Told(Target):
    """A target whose connections begin with headers, which it keeps."""

    def __init__(self, script: Script | None = None) -> None:
        self.headers: list[Header] = []
        super().__init__(script or answering([], response()))
        if script is None:
            self.script = answering(self.heads, response())
        self.inner = self.script
        self.script = behind_header(self.headers, self.inner)
        self.path: str | None = None
        self.tls: ssl.SSLContext | None = None
        self._secure: asyncio.Server | None = None

    async def open(self) -> None:
        if self.tls is not None:
            # asyncio's streams cannot begin TLS behind bytes that they have read: another server does that.
            self._secure = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=self.tls)
            self.script = self._pass_on
        if self.path is None:
            await super().open()
        else:
            self._server = await asyncio.start_unix_server(self._accept, self.path, limit=2**26)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await self.inner(Conversation(reader, writer))
        writer.close()

    async def _pass_on(self, conversation: Conversation) -> None:
        self.headers.append(await header_of(conversation))
        assert self._secure is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", self._secure.sockets[0].getsockname()[1])
        back = asyncio.create_task(_pump(reader, conversation.writer))
        try:
            await _pump(conversation.reader, writer)
        finally:
            back.cancel()
            writer.transport.abort()

    async def close(self) -> None:
        await super().close()
        if self._secure is not None:
            self._secure.close()
            await asyncio.sleep(0.01)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def told(script: Script | None = None, *, path: str | None = None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Told]:
    """A running target that is told."""
    it = Told(script)
    it.path, it.tls = path, tls
    await it.open()
    try:
        yield it
    finally:
        await it.close()


def telling(version: str | None, *targets: str, **settings: Any) -> alb.TargetGroup:
    return alb.TargetGroup("group", list(targets), proxy_protocol=version, **settings)


def door(group: alb.TargetGroup, **settings: Any) -> alb.Listener:
    return listener(alb.Forward(group), name="door", **settings)


async def until(holds: Callable[[], Any]) -> None:
    """Wait until that is so."""
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.001)


def ends(it: Balancing, client: RawClient) -> tuple[tuple[str, int], tuple[str, int]]:
    """The client's end of its connection, and ours."""
    return ("127.0.0.1", client.port), ("127.0.0.1", it.port)


def field(head: bytes, name: str) -> str | None:
    values = [line.partition(b":")[2].strip() for line in head.split(b"\r\n")[1:] if line.lower().startswith(name.lower().encode() + b":")]
    assert len(values) <= 1
    return values[0].decode() if values else None


# What is told, and to whom the connection belongs.


@BOTH
async def test_connection_begins_with_the_ends_of_the_clients(version: str) -> None:
    """The client's address and port, and ours that it has connected to; the same connection serves its next request without another."""
    async with told() as web, all_going(door(telling(version, web.address))) as it:
        client = await it.client()
        for _ in range(3):
            assert (await client.get()).status == 200
        (header,) = web.headers
        assert (header.source, header.destination) == ends(it, client)
        assert header.raw.startswith(b"PROXY TCP4 " if version == "v1" else SIGNATURE + b"\x21\x11\x00\x0c")
        assert len(web.heads) == 3
        assert len(web.conversations) == 1


@BOTH
async def test_connection_is_never_shared_between_clients(version: str) -> None:
    """An idle connection that tells of another client is left alone; each client comes back to its own."""
    async with told() as web, all_going(door(telling(version, web.address))) as it:
        clients = [await it.client() for _ in range(4)]
        for _ in range(3):
            for client in clients:
                assert (await client.get()).status == 200
        assert [header.source for header in web.headers] == [("127.0.0.1", client.port) for client in clients]
        assert len(web.conversations) == 4


@BOTH
async def test_connections_go_with_their_client(version: str) -> None:
    """When a client has left, its idle connections to every target are ended, and are counted no more."""
    async with told() as a, told() as b, all_going(door(telling(version, a.address, b.address))) as it:
        client, other = await it.client(), await it.client()
        for one in (client, other):
            await one.get()
            await one.get()
        assert it.runtime.connections.count == 4
        assert it.counters["ActiveConnectionCount"] == 6
        await client.close()
        for target in (a, b):
            (conversation,) = [
                conversation
                for conversation, header in zip(target.conversations, target.headers, strict=True)
                if header.source == ("127.0.0.1", client.port)
            ]
            await asyncio.wait_for(conversation.over.wait(), 5)
        assert it.runtime.connections.count == 2
        assert it.counters["ActiveConnectionCount"] == 3
        assert len(it.runtime.connections._owned) == 1
        assert (await other.get()).status == 200


@BOTH
async def test_connection_of_a_client_that_is_told_to_go_goes_as_well(version: str) -> None:
    """`Connection: close`, and an HTTP/1.0 client: the connection to the target lives no longer than that."""
    async with told() as web, all_going(door(telling(version, web.address))) as it:
        for data in (request("GET", "/", "Connection: close"), b"GET / HTTP/1.0\r\nHost: example.com\r\n\r\n"):
            client = await it.client()
            client.send(data)
            assert (await client.response()).status == 200
            assert await client.is_closed()
            await client.close()
            await asyncio.wait_for(web.conversations[-1].over.wait(), 5)
            assert it.runtime.connections.count == 0
            assert not it.runtime.connections._owned


@BOTH
async def test_client_that_leaves_in_the_middle_ends_the_connection(version: str) -> None:
    """Before the answer, and within it."""
    release = asyncio.Event()

    async def half(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await conversation.read_to_end()
        release.set()

    async def silent(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.read_to_end()
        release.set()

    for script in (half, silent):
        release.clear()
        async with told(script) as web, all_going(door(telling(version, web.address))) as it:
            client = await it.client()
            client.send(request("GET", "/"))
            await web.arrived()
            if script is half:
                await client.read_until(b"half")
            else:
                await until(lambda web=web: web.headers)
            await client.close()
            await asyncio.wait_for(release.wait(), 5)
            await until(lambda it=it: it.runtime.connections.count == 0)


@BOTH
async def test_client_that_resets_in_the_moment_of_the_answer_leaves_no_connection(version: str) -> None:
    """Both come in one pass of the loop: the exchange is over in good order, and nobody comes back for its connection."""
    async with told(heard) as web, all_going(door(telling(version, web.address))) as it:
        client = socket.create_connection(("127.0.0.1", it.port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.send(request("GET", "/"))
        await until(lambda: web.headers and HEAD_END in web.conversations[0].received)
        client.close()
        web.conversations[0].send(response())
        await until(lambda: not it.runtime.clients)
        await until(lambda: it.runtime.connections.count == 0)
        assert not it.runtime.connections._owned


async def heard(conversation: Conversation) -> None:
    """Leaves the answer to the test."""
    await conversation.head()
    await holding(conversation)


@BOTH
async def test_idle_connections_of_one_client_are_bounded(version: str) -> None:
    """`idle_target_connections=0` keeps none; else one that is idle for too long is ended, and the next request connects anew."""
    clock = FakeClock()
    async with (
        told() as web,
        all_going(door(telling(version, web.address)), limits=alb.Limits(target_keep_alive=10), clock=clock) as it,
    ):
        client = await it.client()
        await client.get()
        for _ in range(2):
            it.runtime.sweep.look(clock.now)
            clock.advance(11)
            it.runtime.sweep.look(clock.now)
        await asyncio.wait_for(web.conversations[0].over.wait(), 5)
        await until(lambda: it.runtime.connections.count == 0)
        assert (await client.get()).status == 200
        assert [header.source for header in web.headers] == [("127.0.0.1", client.port)] * 2
    async with told() as web, all_going(door(telling(version, web.address)), limits=alb.Limits(idle_target_connections=0)) as it:
        client = await it.client()
        for _ in range(2):
            assert (await client.get()).status == 200
        assert len(web.headers) == 2


@BOTH
async def test_target_that_ends_an_idle_connection_gets_a_new_one(version: str) -> None:
    """With a header of its own."""

    async def once(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(response())
        await conversation.drain()

    async with told(once) as web, all_going(door(telling(version, web.address))) as it:
        client = await it.client()
        for _ in range(3):
            assert (await client.get()).status == 200
            await until(lambda: it.runtime.connections.count == 0)
        assert [header.source for header in web.headers] == [("127.0.0.1", client.port)] * 3


@BOTH
async def test_large_body_comes_behind_the_header(version: str) -> None:
    """In both directions, untouched."""
    got: list[bytes] = []

    async def swallow(conversation: Conversation) -> None:
        _, body = await conversation.request()
        got.append(body)
        conversation.send(response(200, body))
        await conversation.drain()

    async with told(swallow) as web, all_going(door(telling(version, web.address))) as it:
        client = await it.client()
        body = bytes(range(256)) * 1200
        client.send(request("POST", "/", f"Content-Length: {len(body)}", body=body))
        assert (await client.response()).body == body
        assert got == [body]


# Retries, draining, and changes.


@BOTH
async def test_retry_tells_the_next_target_as_well(version: str) -> None:
    """A target that refuses, and one that dies before its answer."""

    async def dies(conversation: Conversation) -> None:
        await conversation.head()

    async with told(dies) as a, told() as b, all_going(door(telling(version, f"127.0.0.1:{free_port()}", a.address, b.address))) as it:
        client = await it.client()
        for _ in range(3):
            assert (await client.get()).status == 200
        assert {header.source for header in (*a.headers, *b.headers)} == {("127.0.0.1", client.port)}
        assert a.headers
        assert b.headers


@BOTH
async def test_request_that_met_a_dead_connection_is_sent_over_a_fresh_one(version: str) -> None:
    """The target has ended its idle connection without our having heard: the retry begins with a header."""
    turn = 0

    async def dies_at_the_second(conversation: Conversation) -> None:
        nonlocal turn
        turn += 1
        await conversation.head()
        conversation.send(response())
        await conversation.drain()
        await conversation.head()
        if turn > 1:
            conversation.send(response())
            await conversation.drain()

    async with told(dies_at_the_second) as web, all_going(door(telling(version, web.address))) as it:
        client = await it.client()
        await client.get()
        assert (await client.get()).status == 200
        assert [header.source for header in web.headers] == [("127.0.0.1", client.port)] * 2


@BOTH
async def test_deregistered_target_loses_idle_connections_of_all_clients(version: str) -> None:
    """At once; what goes on may end, and is then not kept."""
    release = asyncio.Event()

    async def slowly(conversation: Conversation) -> None:
        while b" /slow " not in await conversation.head():
            conversation.send(response())
            await conversation.drain()
        await release.wait()
        conversation.send(response())
        await conversation.drain()
        await conversation.read_to_end()

    async with told(slowly) as web, all_going(door(telling(version, web.address))) as it:
        clients = [await it.client() for _ in range(3)]
        for client in clients:
            await client.get()
        clients[0].send(request("GET", "/slow"))
        await until(lambda: it.runtime.connections.bound_to(next(iter(it.runtime.registry.groups[0].members.values()))))
        await it.load_balancer.deregister_targets("group", web.address)
        await until(lambda: it.runtime.connections.count == 1)
        release.set()
        assert (await clients[0].response()).status == 200
        await it.load_balancer.drained("group", web.address, timeout=5)
        await until(lambda: it.runtime.connections.count == 0)
        assert (await clients[1].get()).status == 503


@pytest.mark.parametrize("old", [None, "v1", "v2"])
@pytest.mark.parametrize("new", [None, "v1", "v2"])
async def test_change_of_version_uses_no_connection_of_before(old: str | None, new: str | None) -> None:
    """`apply`: idle connections end; a client that came before is told of by its address all the same."""
    firsts: list[bytes] = []

    async def either(conversation: Conversation) -> None:
        firsts.append(await conversation.read_until(b" HTTP/1.1\r\n"))
        await conversation.head()
        conversation.send(response())
        await answering([], response())(conversation)

    web = Target(either)
    await web.open()
    try:
        async with all_going(door(telling(old, web.address))) as it:
            client = await it.client()
            assert (await client.get()).status == 200
            await it.load_balancer.apply(door(telling(new, web.address)))
            assert (await client.get()).status == 200
            if old == new:
                assert len(firsts) == 1
                return
            assert len(firsts) == 2
            await asyncio.wait_for(web.conversations[0].over.wait(), 5)
            expected = {
                None: b"GET / HTTP/1.1\r\n",
                "v1": v1("127.0.0.1", client.port, "127.0.0.1", it.port),
                "v2": v2("127.0.0.1", client.port, "127.0.0.1", it.port),
            }
            assert firsts[1].startswith(expected[new])
    finally:
        await web.close()


@pytest.mark.parametrize(("old", "new"), [("v1", "v2"), ("v2", "v1"), (None, "v1"), ("v1", None)])
async def test_connection_in_use_during_a_change_serves_no_further_request(old: str | None, new: str | None) -> None:
    """Its exchange goes on to its end; then it is not one of those that the description speaks of."""
    release = asyncio.Event()
    connections = 0

    async def either(conversation: Conversation) -> None:
        nonlocal connections
        connections += 1
        await conversation.read_until(b" HTTP/1.1\r\n")
        await conversation.head()
        if connections == 1:
            await release.wait()
        conversation.send(response())
        await conversation.drain()
        await answering([], response(200, b"again"))(conversation)

    web = Target(either)
    await web.open()
    try:
        async with all_going(door(telling(old, web.address))) as it:
            client = await it.client()
            client.send(request("GET", "/"))
            await until(lambda: connections)
            await until(lambda: it.runtime.connections.bound_to(next(iter(it.runtime.registry.groups[0].members.values()))))
            await it.load_balancer.apply(door(telling(new, web.address)))
            release.set()
            assert (await client.response()).status == 200
            assert (await client.get()).body == b"ok"
            assert connections == 2
    finally:
        await web.close()


# What is spoken behind the header.


@BOTH
async def test_header_comes_before_the_handshake_with_a_target(version: str, files: tuple[str, str]) -> None:
    """In the clear, as the specification has it; the connection is kept for the client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    async with told(tls=context) as web, all_going(door(telling(version, f"https://{web.address}"))) as it:
        client = await it.client()
        for _ in range(2):
            assert (await client.get()).status == 200
        (header,) = web.headers
        assert (header.source, header.destination) == ends(it, client)
        await client.close()
        await asyncio.wait_for(web.conversations[0].over.wait(), 5)


@BOTH
async def test_handshake_with_a_target_that_fails_behind_a_header_leaves_nothing(version: str) -> None:
    """502; the target has been told before."""

    async def refuses(conversation: Conversation) -> None:
        await conversation.read(5)

    async with told(refuses) as web, all_going(door(telling(version, f"https://{web.address}"))) as it:
        client = await it.client()
        assert (await client.get()).status == 502
        assert web.headers[0].source == ("127.0.0.1", client.port)
        await until(lambda: it.runtime.connections.count == 0)


@BOTH
async def test_tunnel_begins_with_a_header(version: str) -> None:
    """A WebSocket over the client's own idle connection, or over a new one; the other idle ones of the client go then."""

    async def both(conversation: Conversation) -> None:
        while b"pgrade" not in (head := await conversation.head()):
            conversation.send(response())
            await conversation.drain()
        assert b"/ws" in head
        conversation.send(SWITCHED)
        await conversation.drain()
        await echo(conversation)

    async with told(both) as a, told(both) as b, all_going(door(telling(version, a.address, b.address))) as it:
        client = await it.client()
        await client.get()
        await client.get()
        assert it.runtime.connections.count == 2
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 101
        client.send(b"\x81\x82\0\0\0\0hi")
        assert await client.read_exactly(8) == b"\x81\x82\0\0\0\0hi"
        assert [header.source for header in (*a.headers, *b.headers)] == [("127.0.0.1", client.port)] * 2
        assert it.runtime.connections.count == 0
        await client.close()
        await gone(it)


@BOTH
async def test_tunnel_of_a_new_client_begins_with_a_header(version: str) -> None:
    """Its first request is the upgrade."""
    async with told(switching(then=echo)) as web, all_going(door(telling(version, web.address))) as it:
        client = await it.client()
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 101
        (header,) = web.headers
        assert (header.source, header.destination) == ends(it, client)
        await client.close()
        await gone(it)


@BOTH
async def test_stream_begins_with_a_header(version: str) -> None:
    """A TCP listener: the header, then what the client sends, and what the target says first comes to the client."""

    async def greets(conversation: Conversation) -> None:
        conversation.send(b"220 hello\r\n")
        await echo(conversation)

    async with told(greets) as web, all_going(door(telling(version, web.address, protocol="TCP"), protocol="TCP")) as it:
        client = await it.client()
        assert await client.read_until(b"\r\n") == b"220 hello\r\n"
        client.send(b"EHLO")
        assert await client.read_exactly(4) == b"EHLO"
        (header,) = web.headers
        assert (header.source, header.destination) == ends(it, client)
        await client.close()
        await gone(it)


@pytest.fixture
async def paths() -> AsyncIterator[tuple[str, str]]:
    """Where two unix sockets can be made."""
    with tempfile.TemporaryDirectory() as directory:
        yield str(Path(directory) / "a.sock"), str(Path(directory) / "b.sock")


@BOTH
async def test_target_on_a_unix_socket_is_told(version: str, paths: tuple[str, str]) -> None:
    """What the client's ends are does not depend on how the target is reached."""
    async with told(path=paths[0]) as web, all_going(door(telling(version, f"unix:{paths[0]}"))) as it:
        client = await it.client()
        assert (await client.get()).status == 200
        (header,) = web.headers
        assert (header.source, header.destination) == ends(it, client)


@BOTH
async def test_client_on_a_unix_socket_is_unknown(version: str, paths: tuple[str, str]) -> None:
    """It has no address: UNKNOWN, or AF_UNSPEC; the connection is its own all the same."""
    async with told() as web:
        group = telling(version, web.address)
        async with all_going(alb.Listener(80, alb.Forward(group), host=f"unix:{paths[0]}")) as it:
            for _ in range(2):
                client = RawClient(*await asyncio.open_unix_connection(paths[0]))
                it.clients.append(client)
                for _ in range(2):
                    client.send(request("GET", "/"))
                    assert (await client.response()).status == 200
            assert [header.raw for header in web.headers] == [UNKNOWN if version == "v1" else SIGNATURE + b"\x21\x00\x00\x00"] * 2


# From proxy to proxy.


@BOTH
@pytest.mark.parametrize("incoming", [v1(to_port=443), v2(to_port=443)])
async def test_chain_of_proxies_tells_of_the_first_client(version: str, incoming: bytes) -> None:
    """What came in goes out: the client's address and what it had connected to."""
    async with told() as web, all_going(door(telling(version, web.address), proxy_protocol="required")) as it:
        client = await it.client()
        client.send(incoming + request("GET", "/"))
        assert (await client.response()).status == 200
        (header,) = web.headers
        assert header.source == ("203.0.113.7", 4711)
        assert header.destination == ("198.51.100.1", 443)
        assert field(web.heads[0], "X-Forwarded-For") == "203.0.113.7"


@BOTH
@pytest.mark.parametrize("incoming", [LOCAL, UNKNOWN])
async def test_proxy_that_asks_for_itself_is_told_as_the_client(version: str, incoming: bytes) -> None:
    """LOCAL and UNKNOWN name nobody: the connection's own ends are what is known."""
    async with told() as web, all_going(door(telling(version, web.address), proxy_protocol="required")) as it:
        client = await it.client()
        client.send(incoming + request("GET", "/"))
        assert (await client.response()).status == 200
        (header,) = web.headers
        assert (header.source, header.destination) == ends(it, client)


async def test_chain_of_proxies_tells_of_the_clients_tls() -> None:
    """v2: server name, version, cipher and the certificate's name that came in go out."""
    async with told() as web, all_going(door(telling("v2", web.address), proxy_protocol="required")) as it:
        client = await it.client()
        client.send(v2(tlvs=tls_tlvs("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", name="Ann", sni="www.example.com")) + request("GET", "/"))
        assert (await client.response()).status == 200
        (header,) = web.headers
        tlvs = header.tlvs
        assert (tlvs[0x02], tlvs[0x21], tlvs[0x23], tlvs[0x22]) == (
            b"www.example.com",
            b"TLSv1.2",
            b"ECDHE-RSA-AES128-GCM-SHA256",
            b"Ann",
        )
        assert tlvs[0x20][:5] == b"\x07\0\0\0\0"


@BOTH
async def test_tls_of_the_client_with_us_is_told(version: str, files: tuple[str, str]) -> None:
    """An HTTPS listener in front of a group with v2; v1 has no words for it."""
    async with told() as web:
        settings = {"protocol": "HTTPS", "certificates": alb.Certificate(*files)}
        async with all_going(door(telling(version, web.address), **settings)) as it:
            client = await it.client()
            tls = TlsClient(client, ssl.create_default_context(cadata=AUTHORITY.pem().decode()))
            client.send(tls.hello())
            await tls.shake_hands()
            assert (await tls.ask(request("GET", "/"))).startswith(b"HTTP/1.1 200")
            (header,) = web.headers
            assert (header.source, header.destination) == ends(it, client)
            if version == "v2":
                assert header.tlvs[0x02] == b"localhost"
                assert header.tlvs[0x21] == b"TLSv1.3"
                assert header.tlvs[0x23].startswith(b"TLS_")
                assert header.tlvs[0x20][:1] == b"\x01"
                assert 0x22 not in header.tlvs


# Health checks.


@BOTH
@pytest.mark.parametrize("protocol", ["HTTP", "HTTPS", "TCP", "WEBSOCKET"])
async def test_health_check_says_that_it_is_our_own(version: str, protocol: str, files: tuple[str, str]) -> None:
    """UNKNOWN or LOCAL, then what is asked."""
    context = None
    if protocol == "HTTPS":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
    heads: list[bytes] = []

    async def answer(conversation: Conversation) -> None:
        head = await conversation.head()
        heads.append(head)
        if b"pgrade" not in head:
            conversation.send(response())
            await conversation.drain()
            return
        conversation.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
        conversation.send(b"Sec-WebSocket-Accept: " + accept_of(head) + b"\r\n\r\n")
        await conversation.read_to_end()

    async with told(answer, tls=context) as web:
        check = alb.HealthCheck(protocol=protocol, interval=5, timeout=2, healthy_threshold=2)
        address = f"https://{web.address}" if protocol == "HTTPS" else web.address
        async with all_going(door(telling(version, address, health_check=check))) as it:
            await until(lambda: it.load_balancer.counters["HealthyHostCount"] == 1)
            await until(lambda: web.headers)
            assert web.headers[0].raw == (UNKNOWN if version == "v1" else LOCAL)
            assert bool(heads) is (protocol != "TCP")
            await asyncio.wait_for(web.conversations[0].over.wait(), 5)
            client = await it.client()
            if protocol in ("HTTP", "HTTPS"):
                assert (await client.get()).status == 200
                assert web.headers[-1].source == ("127.0.0.1", client.port)


def accept_of(head: bytes) -> bytes:
    """The answer to a WebSocket's key."""
    key = (field(head, "Sec-WebSocket-Key") or "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1(key.encode()).digest())


async def test_group_without_it_is_told_nothing() -> None:
    """Beside one that is told, on one listener; idle connections of it are shared as ever."""
    heads: list[bytes] = []
    plain = Target(answering(heads, response()))
    await plain.open()
    try:
        async with told() as web:
            groups = alb.TargetGroup("told", web.address, proxy_protocol="v1"), alb.TargetGroup("plain", plain.address)
            rule = alb.Rule(1, alb.PathPattern("/told"), alb.Forward(groups[0]))
            async with all_going(listener(alb.Forward(groups[1]), rule)) as it:
                for _ in range(3):
                    client = await it.client()
                    assert (await client.get("/plain")).status == 200
                    assert (await client.get("/told")).status == 200
                assert len(plain.conversations) == 1
                assert all(head.startswith(b"GET /plain ") for head in heads)
                assert len(web.headers) == 3
    finally:
        await plain.close()


async def test_same_target_in_two_groups_keeps_their_connections_apart() -> None:
    """v1 in one, v2 in the other: a connection of one is never used for the other."""
    async with told() as web:
        groups = [alb.TargetGroup(name, web.address, proxy_protocol=name) for name in ("v1", "v2")]
        rule = alb.Rule(1, alb.PathPattern("/v1"), alb.Forward(groups[0]))
        async with all_going(listener(alb.Forward(groups[1]), rule)) as it:
            client = await it.client()
            for path in ("/v1", "/v2", "/v1", "/v2"):
                assert (await client.get(path)).status == 200
            assert len(web.headers) == 2
            assert web.headers[0].raw.startswith(b"PROXY ")
            assert web.headers[1].raw.startswith(SIGNATURE)

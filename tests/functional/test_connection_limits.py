"""How many connections a listener has at once, in all and of each client; that exactly so many are let in, and that each end makes room."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from tests.support.authority import Authority, Issued
from tests.support.gateway import Running, leaving_nothing
from tests.support.peers import Conversation, RawClient, Script, Target, free_port, request, response, target
from tests.support.tunnels import RAW_SWITCHED, SWITCHED, UPGRADE, echo, holding, switching

DOORS = ("HTTP", "HTTPS", "TCP", "TLS", "HTTP behind PROXY", "HTTPS behind PROXY", "TCP behind PROXY", "TLS behind PROXY")
STREAMS = tuple(door for door in DOORS if door.startswith(("TCP", "TLS")))
TOTAL = "Failure_TooManyConnections"
OF_CLIENT = "Failure_TooManyConnectionsOfClient"
REJECTED = "RejectedConnectionCount"


@cache
def _certificate() -> Issued:
    return Authority("Limits CA").issue("example.com")


@cache
def _trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Crowd(Running):
    """A load balancer with one door, and its clients."""

    def __init__(self, load_balancer: alb.LoadBalancer, door: str) -> None:
        super().__init__(load_balancer)
        self.protocol = door.split(" ", maxsplit=1)[0]
        self.behind_proxy = "PROXY" in door

    @property
    def listener_runtime(self) -> ListenerRuntime:
        return self.load_balancer._running[0].listener_runtime

    @property
    def count(self) -> int:
        return self.listener_runtime.limiter.count

    async def knock(self, host: str = "192.0.2.1") -> RawClient:
        """Connect; behind a proxy as this client. Nothing more: no handshake, no request."""
        client = await RawClient.connect(self.port)
        self.clients.append(client)
        if self.behind_proxy:
            client.send(header(host))
        return client

    async def come(self, host: str = "192.0.2.1") -> RawClient:
        """Connect and shake hands, and do not return before one is let in."""
        before = self.count
        client = await (self.shake_hands(host) if self.protocol in ("HTTPS", "TLS") else self.knock(host))
        await self.until(before + 1)
        return client

    async def shake_hands(self, host: str = "192.0.2.1") -> RawClient:
        """Connect, behind a proxy as this client, and shake hands."""
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", self.port))
        if self.behind_proxy:
            await loop.sock_sendall(sock, header(host))
        streams = asyncio.open_connection(sock=sock, ssl=_trusting(), server_hostname="example.com", ssl_shutdown_timeout=0.1)
        client = RawClient(*await streams)
        self.clients.append(client)
        return client

    async def until(self, count: int) -> None:
        """Wait until so many are counted."""
        async with asyncio.timeout(3):
            while self.count != count:
                await asyncio.sleep(0)

    async def turned_away(self, host: str = "192.0.2.1") -> bool:
        """Whether one more is closed without a word."""
        client = await self.knock(host)
        return await client.is_closed()


def header(host: str) -> bytes:
    """A PROXY protocol header of a connection that comes from this address."""
    family = "TCP6" if ":" in host else "TCP4"
    here = "::1" if ":" in host else "127.0.0.1"
    return f"PROXY {family} {host} {here} 40000 443\r\n".encode()


def described(door: str, *targets: str, port: int = 0, **settings: Any) -> alb.Listener:
    """A listener that is such a door."""
    protocol = door.split(" ", maxsplit=1)[0]
    tunnel = settings.pop("tunnel", alb.TunnelPolicy())
    group = alb.TargetGroup("group", list(targets), protocol="TCP" if protocol in ("TCP", "TLS") else None, tunnel=tunnel)
    if "PROXY" in door:
        settings["proxy_protocol"] = "required"
    if protocol in ("HTTPS", "TLS"):
        settings["certificates"] = alb.Certificate(_certificate().pem, _certificate().key_pem)
    settings.setdefault("host", "127.0.0.1")
    return alb.Listener(port, alb.Forward(group), protocol=protocol, **settings)


@contextlib.asynccontextmanager
async def crowd(door: str, *targets: str, limits: alb.Limits | None = None, **settings: Any) -> AsyncIterator[Crowd]:
    """A running load balancer with one door; at the end everybody has gone and nobody is counted."""
    more = {} if limits is None else {"limits": limits}
    load_balancer = alb.LoadBalancer(described(door, *targets, **settings), stop_timeout=0.2, **more)
    it = Crowd(load_balancer, door)
    async with leaving_nothing(it):
        listener_runtime = it.listener_runtime
        yield it
    assert listener_runtime.limiter.count == 0
    assert not listener_runtime.limiter._of_client


@contextlib.asynccontextmanager
async def origin_for(door: str) -> AsyncIterator[Target]:
    """A target that answers requests, or sends back what comes."""
    script: Script | None = echo if door.startswith(("TCP", "TLS")) else None
    async with target(script) as origin:
        yield origin


async def served(client: RawClient, door: str) -> bool:
    """Whether something is done for this client."""
    if door.startswith(("TCP", "TLS")):
        client.send(b"hello")
        return await client.read_exactly(5) == b"hello"
    return (await client.get()).status == 200


# Exactly so many, whatever the door.


@pytest.mark.parametrize("door", DOORS)
async def test_listener_that_is_full_turns_away_until_one_goes(door: str, caplog: pytest.LogCaptureFixture) -> None:
    """Three come, are served, and stay; the fourth is closed without a word, counted and told; when one goes there is room for one."""
    async with origin_for(door) as origin, crowd(door, origin.address, max_connections=3) as it:
        clients = [await it.come(f"192.0.2.{n}") for n in range(3)]
        for client in clients:
            assert await served(client, door)
        with caplog.at_level(logging.INFO, "albkit"):
            assert await it.turned_away("192.0.2.9")
        (line,) = [record for record in caplog.records if "TooManyConnections" in record.message]
        assert line.levelno == logging.INFO
        assert line.message.startswith("TooManyConnections: the listener has reached its connection limit; phase=entry side=client")
        assert "detail=3 are open" in line.message
        assert (it.counters[TOTAL], it.counters[REJECTED], it.count) == (1, 1, 3)
        assert "HTTPCode_ELB_4XX_Count" not in it.counters
        assert "ClientTLSNegotiationErrorCount" not in it.counters
        await clients[1].close()
        await it.until(2)
        assert await served(await it.come("192.0.2.8"), door)
        assert await it.turned_away("192.0.2.9")
        assert await served(clients[0], door)
        assert (it.counters[TOTAL], it.counters[REJECTED]) == (2, 2)
    assert it.counters.get(OF_CLIENT) is None


@pytest.mark.parametrize("door", DOORS)
async def test_client_that_has_enough_is_turned_away_alone(door: str, caplog: pytest.LogCaptureFixture) -> None:
    """Two of one client and no third, counted and told; behind a proxy another client comes in meanwhile."""
    async with origin_for(door) as origin, crowd(door, origin.address, max_connections_per_client=2) as it:
        clients = [await it.come() for _ in range(2)]
        for client in clients:
            assert await served(client, door)
        with caplog.at_level(logging.INFO, "albkit"):
            assert await it.turned_away()
        (line,) = [record for record in caplog.records if "TooManyConnectionsOfClient" in record.message]
        assert line.levelno == logging.INFO
        host = "192.0.2.1" if it.behind_proxy else "127.0.0.1"
        assert f"detail=2 of {host} are open" in line.message
        assert f"client={host}" in line.message
        assert (it.counters[OF_CLIENT], it.counters[REJECTED], it.count) == (1, 1, 2)
        if it.behind_proxy:
            assert await served(await it.come("192.0.2.2"), door)
        await clients[0].close()
        await it.until(2 if it.behind_proxy else 1)
        assert await served(await it.come(), door)
        assert await it.turned_away()
    assert it.counters.get(TOTAL) is None


async def test_client_behind_a_proxy_is_known_by_what_the_header_claims() -> None:
    """All come from one proxy, and each is its own client; IPv6 by its /64, IPv4 mapped into IPv6 as the IPv4 that it is."""
    door = "HTTP behind PROXY"
    async with target() as origin, crowd(door, origin.address, max_connections_per_client=1) as it:
        for host in ("192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1", "::ffff:192.0.2.3", "::ffff:192.0.2.4"):
            assert await served(await it.come(host), door)
        for host in ("192.0.2.1", "2001:db8:0:1:ffff::9", "2001:db8:0:2::2", "::ffff:192.0.2.2", "192.0.2.4"):
            assert await it.turned_away(host), host
        assert (it.count, it.counters[OF_CLIENT]) == (6, 5)


async def test_client_of_ipv6_itself_is_its_network() -> None:
    """The same without a proxy: ::1 has as many as it may have."""
    async with target() as origin, crowd("HTTP", origin.address, host="::1", max_connections_per_client=1) as it:
        client = await RawClient.connect(it.port, host="::1")
        it.clients.append(client)
        assert (await client.get()).status == 200
        second = await RawClient.connect(it.port, host="::1")
        it.clients.append(second)
        assert await second.is_closed()
        assert it.counters[OF_CLIENT] == 1


async def test_connection_whose_header_has_not_come_is_one_of_all_and_of_nobody() -> None:
    """It takes a place of the listener's, none of a client's."""
    door = "HTTP behind PROXY"
    async with target() as origin, crowd(door, origin.address, max_connections=2, max_connections_per_client=1) as it:
        silent = await RawClient.connect(it.port)
        it.clients.append(silent)
        await it.until(1)
        assert not it.listener_runtime.limiter._of_client
        assert await served(await it.come("127.0.0.1"), door)
        assert await it.turned_away("192.0.2.1")
        silent.send(header("192.0.2.1") + request("GET", "/"))
        assert (await silent.response()).status == 200
        assert (it.counters[TOTAL], it.counters.get(OF_CLIENT)) == (1, None)


async def test_local_header_of_the_proxy_counts_for_the_proxy() -> None:
    """A header that names nobody (its health check) is a connection of the proxy's own."""
    door = "HTTP behind PROXY"
    async with target() as origin, crowd(door, origin.address, max_connections_per_client=1) as it:
        for welcome in (True, False):
            client = await RawClient.connect(it.port)
            it.clients.append(client)
            client.send(b"PROXY UNKNOWN\r\n" + request("GET", "/"))
            if welcome:
                assert (await client.response()).status == 200
            else:
                assert await client.is_closed()
        assert it.counters[OF_CLIENT] == 1


@pytest.mark.parametrize("loose", [True, False])
async def test_clients_on_a_unix_socket_count_in_all_only(loose: bool) -> None:
    """They have no address to be told apart by."""
    settings: dict[str, Any] = {"max_connections_per_client": 1} if loose else {"max_connections": 2}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "web.sock"
        async with target() as origin, crowd("HTTP", origin.address, host=f"unix:{path}", **settings) as it:
            for place in range(3):
                client = RawClient(*await asyncio.open_unix_connection(path))
                it.clients.append(client)
                if loose or place < 2:
                    assert (await client.get()).status == 200
                else:
                    assert await client.is_closed()
            assert it.count == (3 if loose else 2)
            assert it.counters.get(TOTAL) == (None if loose else 1)


# Whatever ends a connection makes room.


async def _resets(it: Crowd, client: RawClient) -> None:
    client.reset()


async def _closes(it: Crowd, client: RawClient) -> None:
    await client.close()


async def _sends_nonsense(it: Crowd, client: RawClient) -> None:
    client.send(b"\0\0\0\0\0\0\0\0 no request, no handshake, no header\r\n\r\n")


@pytest.mark.parametrize("door", ["HTTP", "HTTPS", "HTTP behind PROXY", "HTTPS behind PROXY"])
@pytest.mark.parametrize("end", [_resets, _closes, _sends_nonsense])
async def test_connection_that_fails_before_its_first_request_makes_room(door: str, end: Any) -> None:
    """It resets or closes before any byte, or fails in the header, the handshake or the request: one place is free again."""
    async with target() as origin, crowd(door, origin.address, max_connections=1, max_connections_per_client=1) as it:
        client = await RawClient.connect(it.port)
        it.clients.append(client)
        await it.until(1)
        await end(it, client)
        if end is _sends_nonsense:
            with contextlib.suppress(ConnectionError):
                await client.read_to_end()
            await client.close()
        await it.until(0)
        assert await served(await it.come(), door)
        assert it.counters.get(REJECTED) is None


@pytest.mark.parametrize("door", ["HTTPS", "TLS", "TLS behind PROXY"])
async def test_handshake_that_is_cut_off_makes_room(door: str) -> None:
    """A client that begins to shake hands and resets leaves nothing, again and again."""
    hello = _client_hello()
    async with origin_for(door) as origin, crowd(door, origin.address, max_connections=1, max_connections_per_client=1) as it:
        for share in (1, len(hello) // 2, len(hello)):
            client = await it.knock()
            client.send(hello[:share])
            await it.until(1)
            if share == len(hello):
                await client.read()
            client.reset()
            await it.until(0)
        assert await served(await it.come(), door)


def _client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = _trusting().wrap_bio(incoming, outgoing, server_hostname="example.com")
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("door", ["HTTP", "HTTPS", "HTTPS behind PROXY"])
@pytest.mark.parametrize("answer", [SWITCHED, RAW_SWITCHED], ids=["frames", "bytes"])
@pytest.mark.parametrize("ends_it", ["client", "client resets", "target", "close"])
async def test_tunnel_counts_until_it_ends(door: str, answer: bytes, ends_it: str) -> None:
    """A connection that has become a tunnel takes its place until both its sockets are gone, whoever ends it."""
    async with (
        target(switching(answer, then=holding)) as origin,
        crowd(door, origin.address, max_connections=1, max_connections_per_client=1) as it,
    ):
        client = await it.come()
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 101
        conversation = await origin.arrived()
        assert await it.turned_away()
        if ends_it == "client":
            client.writer.close()
            await conversation.close()
        elif ends_it == "client resets":
            client.reset()
        elif ends_it == "target":
            conversation.reset()
        else:
            (tunnel,) = it.load_balancer.tunnels
            closing = asyncio.ensure_future(tunnel.close())
            await conversation.close()
            client.reset()
            await closing
        await it.until(0)
        second = await it.come()
        assert it.counters[REJECTED] == 1
        assert it.counters["ActiveConnectionCount"] == 1
        await second.close()


@pytest.mark.parametrize("door", STREAMS)
async def test_flow_counts_until_it_ends(door: str) -> None:
    """The same for connections whose bytes are passed on as they are."""
    async with target(echo) as origin, crowd(door, origin.address, max_connections=1) as it:
        client = await it.come()
        assert await served(client, door)
        assert await it.turned_away("192.0.2.2")
        client.reset()
        await it.until(0)
        assert await served(await it.come(), door)


@pytest.mark.parametrize("door", STREAMS)
async def test_flow_whose_target_refuses_makes_room(door: str) -> None:
    """No target takes it: the client is reset, and leaves nothing."""
    async with crowd(door, f"127.0.0.1:{free_port()}", max_connections=1, max_connections_per_client=1) as it:
        for _ in range(3):
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                client = await (it.shake_hands() if it.protocol == "TLS" else it.knock())
                await client.read_to_end()
            await it.until(0)
        assert it.counters["Failure_TargetConnectionRefused"] == 3
        assert it.counters.get(REJECTED) is None


@pytest.mark.parametrize("door", ["HTTP", "HTTPS", "HTTP behind PROXY"])
async def test_upgrade_that_the_target_refuses_leaves_one_connection(door: str) -> None:
    """The client goes on with requests on the same connection, which is counted once."""
    refusing = b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n"
    async with target(None, refusing, response()) as origin, crowd(door, origin.address, max_connections=1) as it:
        client = await it.come()
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 400
        assert it.count == 1
        assert (await client.get()).status == 200
        await client.close()
        await it.until(0)


@pytest.mark.parametrize("door", ["HTTP", "HTTPS", "HTTP behind PROXY"])
@pytest.mark.parametrize("ending", ["FIN", "RST", "FIN behind a frame"])
async def test_upgrade_whose_target_leaves_right_behind_its_101_leaves_nothing(door: str, ending: str) -> None:
    """Whether it becomes a tunnel for a moment or none at all, its end is counted once."""

    async def leaving(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(SWITCHED + (b"\x81\x02hi" if "frame" in ending else b""))
        if ending == "RST":
            await conversation.drain()
            conversation.reset()

    async with target(leaving) as origin, crowd(door, origin.address, max_connections=1, max_connections_per_client=1) as it:
        for _ in range(5):
            client = await it.come()
            client.send(request("GET", "/ws", *UPGRADE))
            with contextlib.suppress(ConnectionError):
                await client.read_to_end()
            await client.close()
            await it.until(0)
        assert it.counters.get(REJECTED) is None


@pytest.mark.parametrize("door", ["HTTP", "HTTPS"])
async def test_upgrade_whose_connections_are_lost_at_the_handover_leaves_nothing(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client has been taken over already when the target turns out to be gone: it is let go of, and counted as gone, once."""
    from albkit.errors import Failure, FailureKind
    from albkit.proxy.target.http1_connection import Http1TargetConnection

    def lost(_: Http1TargetConnection) -> Any:
        raise Failure(FailureKind.TARGET_CLOSED)

    monkeypatch.setattr(Http1TargetConnection, "detach", lost)
    async with target(switching(SWITCHED, then=holding)) as origin, crowd(door, origin.address, max_connections=1) as it:
        for _ in range(3):
            client = await it.come()
            client.send(request("GET", "/ws", *UPGRADE))
            with contextlib.suppress(ConnectionError):
                await client.read_to_end()
            await client.close()
            await it.until(0)
        assert it.counters["Failure_TargetClosed"] == 3


@pytest.mark.parametrize("door", STREAMS)
async def test_flow_whose_target_is_lost_at_the_handover_leaves_nothing(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, where nothing of a connection is read."""
    from albkit.errors import Failure, FailureKind
    from albkit.proxy.target.raw_connection import RawConnection

    def lost(_: RawConnection) -> Any:
        raise Failure(FailureKind.TARGET_CLOSED)

    monkeypatch.setattr(RawConnection, "detach", lost)
    async with target(echo) as origin, crowd(door, origin.address, max_connections=1) as it:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            client = await (it.shake_hands() if it.protocol == "TLS" else it.knock())
            await client.read_to_end()
        await it.until(0)
        assert it.counters["Failure_TargetClosed"] == 1
        assert it.counters.get("ActiveFlowCount") is None


# Limits that change.


@pytest.mark.parametrize("door", ["HTTP", "HTTPS behind PROXY", "TCP"])
async def test_limit_that_is_lowered_closes_nobody_and_lets_nobody_in_until_enough_have_gone(door: str) -> None:
    """Four are open when the limit becomes two: all four go on; the next comes in when three have gone. Raised again, it holds at once."""
    async with origin_for(door) as origin, crowd(door, origin.address, max_connections=4) as it:
        clients = [await it.come() for _ in range(4)]
        for client in clients:
            assert await served(client, door)
        await it.load_balancer.apply(described(door, origin.address, max_connections=2))
        for client in clients:
            assert await served(client, door)
        for left in (3, 2):
            assert await it.turned_away()
            await clients.pop().close()
            await it.until(left)
        assert await it.turned_away()
        await clients.pop().close()
        await it.until(1)
        clients.append(await it.come())
        assert await it.turned_away()
        await it.load_balancer.apply(described(door, origin.address, max_connections=3))
        assert await served(await it.come(), door)
        assert await it.turned_away()
        assert it.counters[TOTAL] == it.counters[REJECTED] == 5


async def test_limit_per_client_that_comes_later_knows_who_is_there() -> None:
    """Connections that came in while there was no limit count when there is one."""
    door = "HTTP"
    async with target() as origin, crowd(door, origin.address) as it:
        clients = [await it.come() for _ in range(2)]
        await it.load_balancer.apply(described(door, origin.address, max_connections_per_client=2))
        assert await it.turned_away()
        await clients[0].close()
        await it.until(1)
        assert await served(await it.come(), door)
        await it.load_balancer.apply(described(door, origin.address))
        assert await served(await it.come(), door)


@pytest.mark.parametrize(("before", "after"), [("HTTP", "HTTP behind PROXY"), ("HTTP behind PROXY", "HTTP")])
async def test_connection_accepted_before_a_change_of_door_goes_through_the_old_one(before: str, after: str) -> None:
    """The description changes between a connection's being accepted and its first word: it is counted as what it came in as."""
    async with target() as origin, crowd(before, origin.address) as it:
        loop = asyncio.get_running_loop()
        protocol = it.load_balancer._running[0]._begin(it.listener_runtime)
        await it.load_balancer.apply(described(after, origin.address))
        with socket.create_server(("127.0.0.1", 0)) as server:
            connecting = asyncio.ensure_future(RawClient.connect(server.getsockname()[1]))
            server.setblocking(False)
            accepted, _ = await loop.sock_accept(server)
            client = await connecting
        it.clients.append(client)
        await loop.connect_accepted_socket(lambda: protocol, accepted)
        client.send((header("192.0.2.1") if "PROXY" in before else b"") + request("GET", "/"))
        async with asyncio.timeout(5):
            assert (await client.response()).status == 200
        assert it.count == 1
        await client.close()
        await it.until(0)


# Many, and floods.


@pytest.mark.parametrize("door", ["HTTP", "HTTPS", "HTTP behind PROXY"])
async def test_flood_of_connections_lets_in_as_many_as_there_is_room_for(door: str) -> None:
    """200 connect at once where 20 may: 180 are closed, 20 stay, and nothing of the 180 is left."""
    async with target() as origin, crowd(door, origin.address, max_connections=20) as it:
        clients = await asyncio.gather(*(it.knock() for _ in range(200)))
        async with asyncio.timeout(10):
            while it.counters.get(REJECTED, 0) < 180:
                await asyncio.sleep(0)
        assert it.count == it.counters["ActiveConnectionCount"] == 20
        assert len(it.runtime.clients) == 20
        for client in clients:
            client.writer.close()
        await it.until(0)
        assert it.counters[TOTAL] == 180


async def test_handshakes_that_never_end_are_bounded_and_end_after_the_timeout(caplog: pytest.LogCaptureFixture) -> None:
    """They take places of the listener's, no more; after handshake_timeout all are gone, each counted and told."""
    hello = _client_hello()
    limits = alb.Limits(handshake_timeout=7)
    async with target() as origin, crowd("HTTPS", origin.address, max_connections=20, limits=limits) as it:
        now = it.runtime.clock.monotonic()
        clients = [await it.knock() for _ in range(30)]
        for client in clients[:10]:
            client.send(hello[:-1])
        async with asyncio.timeout(5):
            while it.counters.get(REJECTED, 0) < 10:
                await asyncio.sleep(0)
        assert it.count == 20
        it.runtime.sweep.look(now + 6)
        assert it.count == 20
        with caplog.at_level(logging.INFO, "albkit"):
            it.runtime.sweep.look(now + 8)
        await it.until(0)
        assert it.counters["Failure_TlsHandshakeTimeout"] == it.counters["ClientTLSNegotiationErrorCount"] == 20
        assert len([record for record in caplog.records if "detail=7 s" in record.message]) == 20
        assert await served(await it.come(), "HTTPS")


async def test_descriptors_that_run_short_turn_pending_handshakes_away_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a limit of the listener's, the file descriptors are one: connections in mid-handshake count for it."""
    async with target() as origin, crowd("HTTPS", origin.address) as it:
        monkeypatch.setattr(it.runtime.descriptors, "for_sockets", 11)
        for _ in range(5):
            await it.knock()
        await it.until(5)
        assert await it.turned_away()
        assert (it.count, it.counters[REJECTED], it.counters.get(TOTAL)) == (5, 1, None)


@pytest.mark.parametrize("seed", range(3))
async def test_any_mixture_of_clients_leaves_nobody_counted(seed: int) -> None:
    """Clients that come, ask, upgrade, fail, reset and close in any order, behind a proxy and TLS: the counts are right in between, too."""
    door = "HTTPS behind PROXY"
    chance = random.Random(seed)

    async def either(conversation: Conversation) -> None:
        while True:
            head, _ = await conversation.request()
            if b"websocket" in head:
                conversation.send(SWITCHED)
                await echo(conversation)
                return
            conversation.send(response())

    async with target(either) as origin, crowd(door, origin.address, max_connections=8, max_connections_per_client=3) as it:
        here: list[tuple[RawClient, str]] = []
        for _ in range(60):
            host = f"192.0.2.{chance.randrange(5)}"
            turn = chance.random()
            if turn < 0.6:
                mine = sum(other == host for _, other in here)
                if len(here) >= 8 or mine >= 3:
                    assert await it.turned_away(host)
                    await it.until(len(here))
                    continue
                client = await it.come(host)
                if chance.random() < 0.3:
                    client.send(request("GET", "/ws", *UPGRADE))
                    assert (await client.response()).status == 101
                elif chance.random() < 0.5:
                    assert await served(client, door)
                here.append((client, host))
            elif turn < 0.7:
                client = await it.knock(host)
                client.send(b"\x16\x03\x01\x00\x05no tls")
                with contextlib.suppress(ConnectionError):
                    await client.read_to_end()
                await client.close()
                await it.until(len(here))
            elif here:
                client, _ = here.pop(chance.randrange(len(here)))
                client.reset()
                await it.until(len(here))
            assert it.listener_runtime.limiter._of_client == {host: [other for _, other in here].count(host) for _, host in here}

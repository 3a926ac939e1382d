"""TCP listeners: bytes are passed on as they are, to a target that is picked once per connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import ssl
import struct
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

import albkit as alb
from albkit.proxy.target.connector import Connector
from albkit.proxy.tunnel.layer4 import Layer4Connection
from albkit.proxy.tunnel.tunnel import Tunnel
from albkit.state.target import TargetState
from tests.functional.test_tls_targets import AUTHORITY, secure
from tests.support.balancing import Balancing, balancing, listener
from tests.support.clock import FakeClock
from tests.support.peers import Conversation, RawClient, Script, Target, free_port, request, response, target
from tests.support.tunnels import echo, gone, holding

MIB = 1 << 20
BOUND = 5.0
"""Seconds for what must come about."""


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(BOUND):
        while not holds():
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def streaming(
    *targets: Any, clock: FakeClock | None = None, lb: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Balancing]:
    """A TCP listener in front of one group; at the end no guest of its is left.

    Args:
        targets: Of the group.
        clock: The load balancer's, where time is in the test's hands.
        lb: Further settings of the load balancer.
        settings: Of the group.
    """
    further = dict(lb or {})
    if clock is not None:
        further["clock"] = clock
    async with standing(in_front_of(*targets, **settings), **further) as it:
        yield it


def in_front_of(*targets: Any, **settings: Any) -> alb.Listener:
    """A TCP listener in front of one group."""
    return listener(alb.Forward(alb.TargetGroup("group", list(targets), **settings)), protocol="TCP", name="door")


@contextlib.asynccontextmanager
async def standing(*listeners: alb.Listener, **settings: Any) -> AsyncIterator[Balancing]:
    """A load balancer with these listeners, none of which has a guest left at the end."""
    async with balancing(*listeners, **settings) as it:
        doors = it.load_balancer.listeners
        yield it
    assert [door.listener_runtime.limiter.count for door in doors] == [0] * len(doors)


def member(it: Balancing, address: str) -> TargetState:
    """What the load balancer knows of a target."""
    return next(one for state in it.runtime.registry.groups for one in state.members.values() if one.address == address)


def only_tunnel(it: Balancing) -> Tunnel:
    (tunnel,) = it.runtime.tunnels
    assert isinstance(tunnel, Tunnel)
    return tunnel


def naming(name: str) -> Script:
    """A target that says its name first, and then sends back what comes."""

    async def script(conversation: Conversation) -> None:
        conversation.send(f"{name}\n".encode())
        await echo(conversation)

    return script


@contextlib.asynccontextmanager
async def named(*names: str) -> AsyncIterator[list[Target]]:
    """Targets that say their names first."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(target(naming(name))) for name in names]


async def who(it: Balancing, client: RawClient | None = None) -> str:
    """The name of the target that a new client comes to, which stays connected."""
    client = client or await it.client()
    return (await client.read_until(b"\n")).decode().strip()


async def asked(it: Balancing, count: int) -> Counter[str]:
    """The targets of so many clients, one after the other; each has left when the next comes."""
    names: Counter[str] = Counter()
    for _ in range(count):
        client = await RawClient.connect(it.port)
        names[await who(it, client)] += 1
        client.reset()
        await gone(it)
    return names


async def was_reset(client: RawClient) -> bool:
    """Whether the connection ends with RST, and not with FIN."""
    try:
        async with asyncio.timeout(BOUND):
            await client.read_to_end()
    except ConnectionResetError:
        return True
    return False


class Gate:
    """Keeps connections to targets from being made until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting = 0
        self.opened = asyncio.Event()
        self.cancelled = 0
        connect: Callable[..., Awaitable[Any]] = Connector.connect

        async def held(*those: Any) -> Any:
            self.waiting += 1
            try:
                await self.opened.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            finally:
                self.waiting -= 1
            return await connect(*those)

        monkeypatch.setattr(Connector, "connect", held)

    async def reached(self, count: int = 1) -> None:
        """So many connections wait to be made."""
        await until(lambda: self.waiting == count)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def waiting_stream(it: Balancing) -> Layer4Connection:
    """The one connection that waits for its target."""
    (stream,) = it.runtime.clients
    assert isinstance(stream, Layer4Connection)
    return stream


# Bytes.


async def pour(peer: RawClient | Conversation, data: bytes, chance: random.Random) -> None:
    """Send all of it in pieces of any size, and FIN behind."""
    place = 0
    while place < len(data):
        size = chance.choice((1, 100, 5_000, 70_000, 300_000))
        peer.send(data[place : place + size])
        place += size
        await peer.drain()
    peer.send_fin()


async def test_random_bytes_go_both_ways_at_once_untouched() -> None:
    """8 MiB each way, with FIN behind them each way."""
    chance = random.Random(7)
    there, back = chance.randbytes(8 * MIB), chance.randbytes(8 * MIB)
    came: list[bytes] = []

    async def script(conversation: Conversation) -> None:
        sending = asyncio.create_task(pour(conversation, back, random.Random(8)))
        came.append(await conversation.reader.read())
        await sending

    async with target(script) as origin, streaming(origin.address) as it:
        client = await it.client()
        received, _ = await asyncio.gather(client.reader.read(), pour(client, there, chance))
        assert received == back
        await (await origin.arrived()).over.wait()
        assert came == [there]
        await gone(it)
        assert it.counters["ProcessedBytes"] == 16 * MIB
        assert "Failure_ClientClosed" not in it.counters


@pytest.mark.parametrize("slow", ["client", "target"])
async def test_slow_reader_holds_the_sender_up_and_costs_no_memory(slow: str) -> None:
    """What waits in the load balancer is bounded by `in_flight` and one read; nothing is lost."""
    data = random.Random(9).randbytes(24 * MIB)
    async with target(holding) as origin, streaming(origin.address) as it:
        client, conversation = await it.client(), await origin.arrived()
        await until(lambda: bool(it.runtime.tunnels))
        tunnel = only_tunnel(it)
        sender, reader = (conversation, client) if slow == "client" else (client, conversation)
        leg = tunnel.client_leg if slow == "client" else tunnel.target_leg
        transport = cast("asyncio.Transport", reader.writer.transport)
        transport.pause_reading()
        most = 0
        sender.send(data)
        sender.send_fin()
        still = 0
        while still < 200:
            before = tunnel.bytes_in + tunnel.bytes_out
            await asyncio.sleep(0)
            most = max(most, leg.transport.get_write_buffer_size())
            still = still + 1 if tunnel.bytes_in + tunnel.bytes_out == before and leg.writing_paused else 0
        assert tunnel.bytes_in + tunnel.bytes_out < len(data)
        assert 0 < most <= 65536 + 262144
        transport.resume_reading()
        assert await reader.read_to_end() == data
        assert it.counters["ReadingPausedCount"] >= 1


async def test_thousands_of_tiny_writes_come_in_order() -> None:
    """Each byte by itself, in both directions."""
    data = random.Random(10).randbytes(4000)

    async def script(conversation: Conversation) -> None:
        await asyncio.gather(trickle(conversation), conversation.read_exactly(len(data)))

    async def trickle(peer: RawClient | Conversation) -> None:
        for place in range(len(data)):
            peer.send(data[place : place + 1])
            if place % 7 == 0:
                await asyncio.sleep(0)

    async with target(script) as origin, streaming(origin.address) as it:
        client = await it.client()
        await asyncio.gather(trickle(client), client.read_exactly(len(data)))
        conversation = await origin.arrived()
        await conversation.over.wait()
        assert client.received == conversation.received == data


async def test_target_that_speaks_first_is_heard() -> None:
    """The client says nothing before it has been greeted."""
    async with target(naming("220 ready")) as origin, streaming(origin.address) as it:
        client = await it.client()
        assert await client.read_until(b"\n") == b"220 ready\n"
        client.send(b"EHLO")
        assert await client.read_exactly(4) == b"EHLO"


async def test_target_that_speaks_and_leaves_is_heard_to_the_end() -> None:
    """A greeting of any size and FIN: nothing of it depends on what the client says. Many times, for it is a matter of timing."""
    greeting = random.Random(11).randbytes(300_000)

    async def script(conversation: Conversation) -> None:
        conversation.send(greeting)

    async with target(script) as origin, streaming(origin.address) as it:
        for _ in range(20):
            client = await it.client()
            assert await client.read_to_end() == greeting
            client.send_fin()
        await gone(it)
        assert len(origin.conversations) == 20


async def test_client_that_sends_much_before_the_target_is_connected_waits_and_loses_nothing(gate: Gate) -> None:
    """Above `early_bytes` it is not read."""
    data = random.Random(12).randbytes(20 * MIB)
    async with target(echo) as origin, streaming(origin.address, lb={"limits": alb.Limits(early_bytes=100_000)}) as it:
        client = await it.client()
        await gate.reached()
        client.send(data)
        await until(lambda: it.counters.get("ReadingPausedCount", 0) == 1)
        for _ in range(50):
            await asyncio.sleep(0)
        assert 100_000 < waiting_stream(it)._early_size <= 100_000 + 262_144
        gate.opened.set()
        assert await client.read_exactly(len(data)) == data


@pytest.mark.parametrize("size", [0, 5, 150_000, 5 * MIB])
async def test_client_that_ends_its_side_before_the_target_is_connected_is_answered(gate: Gate, size: int) -> None:
    """As `nc -N` does it: FIN is no reason to give up, not even where it waits unread behind much else."""
    data = random.Random(13).randbytes(size)

    async def script(conversation: Conversation) -> None:
        conversation.send(b"%d" % len(await conversation.read_to_end()))

    async with target(script) as origin, streaming(origin.address) as it:
        client = await it.client()
        await gate.reached()
        client.send(data)
        client.send_fin()
        stream = waiting_stream(it)
        await until(lambda: stream._received_fin or stream._early_size > 65536)
        await asyncio.sleep(0.01)  # Nothing tells that FIN has come to a socket that is not read.
        for _ in range(20):
            it.runtime.sweep.look(it.runtime.clock.monotonic())
            await asyncio.sleep(0)
        gate.opened.set()
        assert await client.read_to_end() == b"%d" % size


# Ends.


async def test_client_ends_its_side_and_the_target_still_answers() -> None:
    """FIN is passed on, and the other direction goes on."""

    async def script(conversation: Conversation) -> None:
        told = await conversation.read_to_end()
        for _ in range(100):
            conversation.send(told * 1000)
            await conversation.drain()

    async with target(script) as origin, streaming(origin.address) as it:
        client = await it.client()
        client.send(b"question")
        client.send_fin()
        assert await client.read_to_end() == b"question" * 100_000
        await gone(it)
        assert it.counters["TunnelEnd_Client"] == 1


async def test_target_ends_its_side_and_the_client_still_speaks() -> None:
    """The same the other way round."""

    async def script(conversation: Conversation) -> None:
        conversation.send(b"go on")
        conversation.send_fin()
        await conversation.read_to_end()

    async with target(script) as origin, streaming(origin.address) as it:
        client = await it.client()
        assert await client.read_to_end() == b"go on"
        client.send(b"x" * MIB)
        client.send_fin()
        conversation = await origin.arrived()
        await conversation.over.wait()
        assert conversation.received == b"x" * MIB
        await gone(it)
        assert it.counters["TunnelEnd_Target"] == 1


@pytest.mark.parametrize("behind", [b"", b"some bytes"])
async def test_reset_of_the_client_comes_to_the_target_as_a_reset(behind: bytes) -> None:
    """And not as an end in good order."""
    async with target(holding) as origin, streaming(origin.address) as it:
        client, conversation = await it.client(), await origin.arrived()
        await until(lambda: bool(it.runtime.tunnels))
        if behind:
            client.send(behind)
            await conversation.read_exactly(len(behind))
        client.reset()
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(BOUND):
                await conversation.read_to_end()
        await gone(it)
        assert it.counters["Failure_TunnelResetByClient"] == 1


async def test_reset_of_the_target_comes_to_the_client_as_a_reset(caplog: pytest.LogCaptureFixture) -> None:
    """The same, and a line in the log, since it is the target's fault."""
    async with target(holding) as origin, streaming(origin.address) as it:
        client, conversation = await it.client(), await origin.arrived()
        await until(lambda: bool(it.runtime.tunnels))
        conversation.reset()
        assert await was_reset(client)
        await gone(it)
        assert it.counters["Failure_TunnelResetByTarget"] == 1
        (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert line.startswith("TunnelResetByTarget: ")
        assert f"target={origin.address} group=group " in line
        assert "request=- " in line, "there was none"


# Targets that cannot be had.


async def test_target_that_refuses_costs_the_client_nothing() -> None:
    """Another one is tried, and that is counted."""
    async with target(naming("there")) as origin, streaming(f"127.0.0.1:{free_port()}", origin.address) as it:
        for _ in range(4):
            assert await who(it) == "there"
        assert it.counters["RetryCount"] == it.counters["TargetConnectionErrorCount"] == 1
        assert it.counters["NewFlowCount"] == it.counters["ActiveFlowCount"] == 4
        assert not [name for name in it.counters if name.startswith("Failure_")]


async def test_client_is_reset_where_every_target_refuses(caplog: pytest.LogCaptureFixture) -> None:
    """What it has sent meanwhile is thrown away; one line tells why."""
    refusing = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    async with streaming(*refusing, ejection=None) as it:
        client = await it.client()
        client.send(b"hello")
        assert await was_reset(client)
        await until(lambda: not it.runtime.clients)
        assert it.counters["Failure_TargetConnectionRefused"] == 1
        assert it.counters["TargetConnectionErrorCount"] == 3
        assert it.counters["NewFlowCount"] == 1
        assert "TunnelCount" not in it.counters
        assert [member(it, address).tunnels for address in refusing] == [0, 0]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "albkit"]
    assert line.startswith(
        "TargetConnectionRefused: the target refused the connection; phase=connect side=target status=- client=127.0.0.1"
    )
    assert "group=group rule=0 attempts=3 request=- " in line


async def test_client_is_reset_where_there_are_no_targets(caplog: pytest.LogCaptureFixture) -> None:
    """At once."""
    async with streaming() as it:
        assert await was_reset(await it.client())
        await until(lambda: not it.runtime.clients)
        assert it.counters["Failure_NoTargets"] == 1
        assert "NewFlowCount" not in it.counters
    assert "NoTargets: the target group has no targets" in caplog.text


@pytest.fixture
def full() -> Iterator[int]:
    """The port of a server that accepts nobody any more."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield server.getsockname()[1]


async def test_client_is_reset_where_no_target_accepts_in_time(full: int) -> None:
    """Each try has `connect_timeout`."""
    async with streaming(f"127.0.0.1:{full}", lb={"limits": alb.Limits(connect_timeout=0.05)}) as it:
        assert await was_reset(await it.client())
        await until(lambda: not it.runtime.clients)
        assert it.counters["Failure_TargetConnectTimeout"] == 1
        assert it.counters["TargetConnectionErrorCount"] == 3


async def test_client_that_leaves_while_its_target_is_connected_leaves_nothing(gate: Gate) -> None:
    """Connecting is given up at once, and the target is not blamed."""
    async with target(echo) as origin, streaming(origin.address, ejection=alb.Ejection(consecutive_failures=1)) as it:
        client = await it.client()
        await gate.reached()
        assert repr(waiting_stream(it)) == f"<Layer4Connection of 127.0.0.1:{client.port}: connecting to a target, 0 bytes received>"
        client.reset()
        await until(lambda: not it.runtime.clients)
        await until(lambda: gate.cancelled == 1)
        state = member(it, origin.address)
        assert (state.tunnels, state.outstanding, state.counters.target_connection_errors) == (0, 0, 0)
        assert it.counters["Failure_ClientClosed"] == 1
        assert "TargetEjectionCount" not in it.counters
        assert origin.conversations == []


async def test_client_that_resets_what_waits_unread_is_noticed(gate: Gate) -> None:
    """The loop does not tell of a reset where nothing is read; the sweep does."""
    async with target(echo) as origin, streaming(origin.address) as it:
        client = await it.client()
        await gate.reached()
        client.send(bytes(5 * MIB))
        await until(lambda: it.counters.get("ReadingPausedCount", 0) == 1)
        client.reset()
        async with asyncio.timeout(BOUND):
            while it.runtime.clients:
                it.runtime.sweep.look(it.runtime.clock.monotonic())
                await asyncio.sleep(0)
        assert it.counters["Failure_ClientClosed"] == 1


# Which target.


async def test_weights_of_a_forward_share_connections_out() -> None:
    """90 to 10, within what chance does to 300."""
    async with named("a", "b") as (a, b):
        groups = {alb.TargetGroup(name, origin.address): weight for name, origin, weight in (("a", a, 90), ("b", b, 10))}
        async with standing(listener(alb.Forward(groups), protocol="TCP")) as it:
            counts = await asked(it, 300)
            assert 245 <= counts["a"] <= 292
            assert counts["a"] + counts["b"] == 300


async def test_group_of_weight_0_gets_no_connections() -> None:
    """And where all are 0, nobody gets any."""
    async with named("a", "b") as (a, b):
        groups = {alb.TargetGroup("a", a.address): 0, alb.TargetGroup("b", b.address): 1}
        async with standing(listener(alb.Forward(groups), protocol="TCP")) as it:
            assert await asked(it, 10) == {"b": 10}
        nobody = {alb.TargetGroup("a", a.address): 0, alb.TargetGroup("b", b.address): 0}
        async with standing(listener(alb.Forward(nobody), protocol="TCP")) as it:
            assert await was_reset(await it.client())


async def client_from(it: Balancing, address: str) -> RawClient:
    """A client with an address of its own."""
    client = RawClient(*await asyncio.open_connection("127.0.0.1", it.port, local_addr=(address, 0)))
    it.clients.append(client)
    return client


@pytest.mark.parametrize("settings", [{"stickiness": alb.SourceAddress()}, {"algorithm": "ip_hash"}], ids=["SourceAddress", "ip_hash"])
async def test_address_of_the_client_decides(settings: dict[str, Any]) -> None:
    """All connections of one address have one target; many addresses have them all."""
    async with named(*"abc") as origins, streaming(*(origin.address for origin in origins), **settings) as it:
        homes: dict[str, set[str]] = {}
        for _ in range(3):
            for last in range(1, 25):
                address = f"127.0.0.{last}"
                homes.setdefault(address, set()).add(await who(it, await client_from(it, address)))
        assert [len(names) for names in homes.values()] == [1] * 24
        assert set().union(*homes.values()) == set("abc")


async def test_session_of_an_address_outlasts_a_target_that_refuses() -> None:
    """It goes elsewhere, always to the same one, and back when its own is there again."""
    settings: dict[str, Any] = {"stickiness": alb.SourceAddress(), "ejection": None}
    async with named(*"abc") as origins, streaming(*(origin.address for origin in origins), **settings) as it:
        first = await who(it)
        home = origins["abc".index(first)]
        port = home.port
        await home.close()
        others = {await who(it) for _ in range(4)}
        assert others <= set("abc") - {first}
        home._server = await asyncio.start_server(home._accept, "127.0.0.1", port)
        assert {await who(it) for _ in range(4)} == {first}


async def test_connections_that_are_open_count_as_outstanding() -> None:
    """`least_outstanding_requests` sends the next one to whoever has fewest."""
    async with named("a", "b") as (a, b), streaming(a.address, b.address, algorithm="least_outstanding_requests") as it:
        clients = [await it.client() for _ in range(6)]
        names = [await who(it, client) for client in clients]
        assert Counter(names) == {"a": 3, "b": 3}
        for client, name in zip(clients, names, strict=True):
            if name == "a":
                client.reset()
        await until(lambda: len(it.runtime.tunnels) == 3)
        assert member(it, a.address).outstanding == 0
        assert [await who(it) for _ in range(3)] == ["a"] * 3


async def test_consistent_hash_with_a_key_of_the_program_decides() -> None:
    """It is given what there is: whom the connection comes from, and where it came in."""
    seen: list[tuple[Any, ...]] = []

    def key(asking: alb.Request) -> str:
        seen.append((asking.client.host, asking.path, asking.method, dict(asking.headers), asking.listener.protocol))
        return "always the same"

    algorithm = alb.ConsistentHash(key=key, load_bound=None)
    async with named(*"abc") as origins, streaming(*(origin.address for origin in origins), algorithm=algorithm) as it:
        assert len({await who(it) for _ in range(9)}) == 1
        assert set(map(repr, seen)) == {repr(("127.0.0.1", "", "", {}, "TCP"))}


# Health, and targets that come and go.

QUICK: dict[str, Any] = {"interval": 0.02, "timeout": 1.0, "unhealthy_threshold": 2, "healthy_threshold": 2}


def states(it: Balancing) -> dict[str, str]:
    """Of every target, by address."""
    return {str(one.target): one.state.value for one in it.load_balancer.describe_target_health("group")}


@pytest.mark.parametrize("protocol", ["TCP", None])
async def test_health_is_that_a_connection_is_accepted_unless_said_otherwise(protocol: str | None) -> None:
    """Targets that speak no HTTP are asked for none, also where the group leaves it to its listener that TCP is spoken."""
    check = alb.HealthCheck(**QUICK)
    async with named("a", "b") as (a, b), streaming(a.address, b.address, protocol=protocol, health_check=check) as it:
        await until(lambda: set(states(it).values()) == {"healthy"})
        address = b.address
        await b.close()
        await until(lambda: states(it)[address] == "unhealthy")
        assert await asked(it, 4) == {"a": 4}
        assert "RetryCount" not in it.counters


async def test_http_check_of_a_tcp_group_is_asked_on_its_own_port() -> None:
    """What passes bytes on may be well while what answers checks says that it is not."""
    async with named("a") as (a,), target(None, response(500)) as checks:
        check = alb.HealthCheck("/healthz", protocol="HTTP", port=checks.port, **QUICK)
        async with streaming(a.address, protocol="TCP", health_check=check) as it:
            await until(lambda: states(it)[a.address] == "unhealthy")
            assert b"GET /healthz HTTP/1.1\r\n" in checks.heads[0]
            assert all(not conversation.received for conversation in a.conversations)


async def test_group_without_a_healthy_target_fails_open() -> None:
    """All get connections then, and that is counted."""
    async with named("a", "b") as (a, b), target(None, response(500)) as checks:
        check = alb.HealthCheck("/", protocol="HTTP", port=checks.port, **QUICK)
        async with streaming(a.address, b.address, protocol="TCP", health_check=check) as it:
            await until(lambda: set(states(it).values()) == {"unhealthy"})
            assert await asked(it, 4) == {"a": 2, "b": 2}
            assert it.counters["UnhealthyRoutingRequestCount"] == 4


async def test_target_that_refuses_is_ejected() -> None:
    """After a few refused connections in a row nobody is sent there any more, and nobody has noticed."""
    refusing = f"127.0.0.1:{free_port()}"
    async with named("a") as (a,), streaming(refusing, a.address, ejection=alb.Ejection(consecutive_failures=3)) as it:
        assert await asked(it, 20) == {"a": 20}
        assert it.counters["TargetEjectionCount"] == 1
        assert it.counters["TargetConnectionErrorCount"] == 3


async def test_connections_of_a_deregistered_target_have_its_delay_to_end() -> None:
    """They go on, new ones go elsewhere; they are ended one by one in the spread before the end of the delay."""
    clock = FakeClock(random.Random(14).random)
    settings: dict[str, Any] = {"deregistration_delay": 60, "tunnel": alb.TunnelPolicy(drain_spread=10), "lb": {"idle_timeout": 4000}}
    async with named("a", "b") as (a, b), streaming(a.address, b.address, clock=clock, **settings) as it:
        clients = {await who(it, client): client for client in [await it.client(), await it.client()]}
        further = [await it.client() for _ in range(8)]
        names = [await who(it, client) for client in further]
        await it.load_balancer.deregister_targets("group", a.address)
        drained = asyncio.create_task(it.load_balancer.drained("group", a.address))
        assert await asked_again(it, 4) == {"b"}
        clients["a"].send(b"still here")
        assert await clients["a"].read_exactly(10) == b"still here"
        left = {9: 0, 0: 0}
        at_a = 1 + names.count("a")
        for second in range(61):
            clock.advance(1)
            it.runtime.sweep.look(clock.now)
            for _ in range(20):
                await asyncio.sleep(0)
            if second == 48:
                left[9] = member(it, a.address).tunnels
        await asyncio.wait_for(drained, BOUND)
        assert left[9] == at_a
        assert it.counters["TunnelEnd_Drain"] == at_a
        assert await clients["a"].read_to_end() == b""
        assert not clients["b"].reader.at_eof()


async def asked_again(it: Balancing, count: int) -> set[str]:
    """The targets of so many new clients, which stay."""
    return {await who(it) for _ in range(count)}


async def test_client_whose_target_is_deregistered_while_it_connects_is_reset(gate: Gate) -> None:
    """It would be drained as soon as it is there."""
    async with target(echo) as origin, streaming(origin.address) as it:
        client = await it.client()
        await gate.reached()
        await it.load_balancer.deregister_targets("group", origin.address)
        gate.opened.set()
        assert await was_reset(client)
        await until(lambda: not it.runtime.clients)
        assert it.counters["Failure_UpgradeWhileDraining"] == 1


# The tunnel.


async def test_silent_connection_ends_after_its_idle_timeout() -> None:
    """Bytes in either direction put it off; the target is told as is the client, with FIN."""
    clock = FakeClock()
    async with named("a") as (a,), streaming(a.address, clock=clock, tunnel=alb.TunnelPolicy(idle_timeout=20)) as it:
        client = await it.client()
        await who(it, client)
        for _ in range(3):
            clock.advance(19)
            it.runtime.sweep.look(clock.now)
            client.send(b"x")
            await client.read_exactly(1)
            it.runtime.sweep.look(clock.now)
        assert it.runtime.tunnels
        clock.advance(21)
        it.runtime.sweep.look(clock.now)
        assert await client.read_to_end() == b""
        client.send_fin()
        await gone(it)
        assert it.counters["TunnelEnd_Idle"] == 1


async def test_connection_ends_at_its_maximum_age() -> None:
    """Busy or not."""
    clock = FakeClock()
    async with named("a") as (a,), streaming(a.address, clock=clock, tunnel=alb.TunnelPolicy(max_age=100)) as it:
        client = await it.client()
        await who(it, client)
        clock.advance(99)
        it.runtime.sweep.look(clock.now)
        assert it.runtime.tunnels
        clock.advance(1)
        it.runtime.sweep.look(clock.now)
        assert await client.read_to_end() == b""
        client.send_fin()
        await gone(it)
        assert it.counters["TunnelEnd_MaxAge"] == 1


async def test_target_has_as_many_connections_as_the_policy_allows() -> None:
    """Further ones go where there is room, and are reset where there is none."""
    policy = alb.TunnelPolicy(max_tunnels=2)
    async with named("a", "b") as (a, b), streaming(a.address, b.address, tunnel=policy) as it:
        names = Counter([await who(it) for _ in range(4)])
        assert names == {"a": 2, "b": 2}
        assert await was_reset(await it.client())
        assert it.counters["Failure_NoRoomForTunnel"] == 1
        it.clients[0].reset()
        await until(lambda: len(it.runtime.tunnels) == 3)
        assert await who(it) in "ab"


async def test_connection_can_be_seen_and_closed_by_the_program() -> None:
    """`lb.tunnels` and `on_tunnel` show what is known of it."""
    told: list[tuple[str, alb.Tunnel]] = []
    async with named("a") as (a,), streaming(a.address) as it:
        it.load_balancer.on_tunnel(
            opened=lambda tunnel: told.append(("opened", tunnel)), closed=lambda tunnel: told.append(("closed", tunnel))
        )
        client = await it.client()
        await who(it, client)
        (tunnel,) = it.load_balancer.tunnels
        assert (tunnel.protocol, tunnel.group, str(tunnel.target), tunnel.end) == ("tcp", "group", a.address, None)
        assert (tunnel.client.host, tunnel.client.port) == ("127.0.0.1", client.port)
        assert (tunnel.frames_in, tunnel.frames_out, tunnel.bytes_in, tunnel.bytes_out) == (None, None, 0, 2)
        assert tunnel.request.client is tunnel.client
        assert tunnel.request.listener.name == "door"
        assert (tunnel.request.method, tunnel.request.path, len(tunnel.request.headers)) == ("", "", 0)
        client.send_fin()
        await tunnel.close(1008, "enough")
        assert await client.read_to_end() == b""
        assert [(word, one is tunnel) for word, one in told] == [("opened", True), ("closed", True)]
        # The client had ended its side before it was closed.
        assert tunnel.end in (alb.TunnelEnd.CLIENT, alb.TunnelEnd.CLOSED)
        assert it.load_balancer.tunnels == ()


async def test_counters_tell_of_connections() -> None:
    """A flow, a tunnel, two sockets; bytes are counted when it is over."""
    async with named("a") as (a,), streaming(a.address) as it:
        client = await it.client()
        await who(it, client)
        assert it.counters == {
            "ActiveConnectionCount": 2,
            "ActiveFlowCount": 1,
            "ActiveTunnelCount": 1,
            "NewConnectionCount": 2,
            "NewFlowCount": 1,
            "TunnelCount": 1,
        }
        client.send(b"four")
        await client.read_exactly(4)
        client.send_fin()
        assert await client.read_to_end() == b""
        await gone(it)
        assert it.counters == {"NewConnectionCount": 2, "NewFlowCount": 1, "TunnelCount": 1, "ProcessedBytes": 10, "TunnelEnd_Client": 1}


# The load balancer stops, or changes.


async def test_stop_ends_connections_with_fin() -> None:
    """Both sides read an end, and what was on its way before it."""
    async with named("a") as (a,), streaming(a.address) as it:
        clients = [await it.client() for _ in range(5)]
        for client in clients:
            await who(it, client)
            client.send(b"last words")
            await client.read_exactly(10)
        stopping = asyncio.create_task(it.load_balancer.stop())
        for client in clients:
            assert await client.read_to_end() == b""
            client.send_fin()
        await asyncio.wait_for(stopping, BOUND)
        assert it.counters["TunnelEnd_Stop"] == 5


async def test_stop_gives_up_connections_that_wait_for_their_target(gate: Gate) -> None:
    """They are reset, and nothing is left behind."""
    async with target(echo) as origin, streaming(origin.address) as it:
        clients = [await it.client() for _ in range(5)]
        await gate.reached(5)
        clients[0].send(bytes(5 * MIB))
        await asyncio.wait_for(it.load_balancer.stop(), BOUND)
        for client in clients:
            assert await was_reset(client)
        assert it.counters["Failure_Stopped"] == 5
        assert gate.cancelled == 5
        assert origin.conversations == []


async def test_connections_go_on_while_a_description_changes_a_hundred_times() -> None:
    """Targets come and go, weights change: what is open on a target that stays notices nothing."""
    chance = random.Random(15)
    async with named(*"abcd") as origins:
        addresses = {origin.address: name for origin, name in zip(origins, "abcd", strict=True)}
        keeper = origins[0].address

        def described(some: list[str], weight: int) -> alb.Listener:
            group = alb.TargetGroup("group", some, deregistration_delay=0)
            other = alb.TargetGroup("other", keeper)
            return listener(alb.Forward({group: weight, other: 100 - weight}), protocol="TCP", name="door")

        async with standing(described([keeper], 100)) as it:
            talkers = [await it.client() for _ in range(5)]
            assert {await who(it, client) for client in talkers} == {"a"}
            for turn in range(100):
                some = [keeper, *chance.sample(list(addresses)[1:], chance.randrange(3))]
                await it.load_balancer.apply(described(some, chance.randrange(1, 100)))
                client = await RawClient.connect(it.port)
                assert await who(it, client) in {addresses[one] for one in some}
                client.reset()
                talkers[turn % 5].send(b"%3d" % turn)
                assert await talkers[turn % 5].read_exactly(3) == b"%3d" % turn
            for client in talkers:
                client.reset()
            await gone(it)


async def test_listener_that_is_taken_away_leaves_its_connections() -> None:
    """Tunnels stay where no target of theirs goes."""
    async with named("a") as (a,):
        group = alb.TargetGroup("group", a.address)
        front, back = (listener(alb.Forward(group), protocol="TCP", name=name) for name in ("front", "back"))
        async with standing(front, back) as it:
            client = await it.client_of(1)
            await who(it, client)
            guests = it.load_balancer.listeners[1].listener_runtime.limiter
            await it.load_balancer.apply(front)
            client.send(b"here")
            assert await client.read_exactly(4) == b"here"
            client.reset()
            await gone(it)
            assert guests.count == 0


# What stands before the bytes.


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_target_is_told_of_the_client_before_the_bytes(version: str) -> None:
    """The PROXY protocol, with the client's own address and port, and those that it came to."""
    async with target(holding) as origin, streaming(origin.address, proxy_protocol=version) as it:
        client = await it.client()
        client.send(b"then the bytes")
        conversation = await origin.arrived()
        if version == "v1":
            header = f"PROXY TCP4 127.0.0.1 127.0.0.1 {client.port} {it.port}\r\n".encode()
        else:
            ends = socket.inet_aton("127.0.0.1") * 2 + struct.pack("!HH", client.port, it.port)
            header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(ends)) + ends
        assert await conversation.read_exactly(len(header) + 14) == header + b"then the bytes"


async def test_target_is_told_of_a_client_that_a_proxy_told_of() -> None:
    """From a PROXY protocol header of version 1 to one of version 2, for each connection its own."""
    async with target(holding) as origin:
        group = alb.TargetGroup("group", origin.address, proxy_protocol="v2")
        async with standing(listener(alb.Forward(group), protocol="TCP", proxy_protocol="required")) as it:
            for number in (1, 2):
                client = await it.client()
                client.send(b"PROXY TCP4 192.0.2.%d 198.51.100.1 4711 443\r\nbytes" % number)
                conversation = await origin.arrived(number)
                ends = socket.inet_aton(f"192.0.2.{number}") + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 4711, 443)
                assert (await conversation.read_exactly(16 + 12 + 5))[16:] == ends + b"bytes"
            assert [tunnel.client.host for tunnel in it.load_balancer.tunnels] == ["192.0.2.1", "192.0.2.2"]


# Unix sockets.


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


async def test_bytes_go_from_a_unix_socket_to_a_unix_socket(folder: Path) -> None:
    """With an end of one side, and of the other."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    server = await asyncio.start_unix_server(answer, folder / "target")
    group = alb.TargetGroup("group", f"unix:{folder / 'target'}")
    async with server, standing(alb.Listener(0, alb.Forward(group), protocol="TCP", host=f"unix:{folder / 'door'}")) as it:
        client = RawClient(*await asyncio.open_unix_connection(folder / "door", limit=2**26))
        it.clients.append(client)
        data = random.Random(16).randbytes(3 * MIB)
        client.send(data)
        client.send_fin()
        assert await client.read_to_end() == data
        await gone(it)


async def test_unix_socket_of_a_target_that_is_gone_is_another_targets_turn(folder: Path) -> None:
    """As one that refuses."""
    async with named("a") as (a,), streaming(f"unix:{folder / 'nobody'}", a.address) as it:
        assert [await who(it) for _ in range(2)] == ["a", "a"]
        assert it.counters["RetryCount"] == 1


# What people send through it.


async def test_https_goes_through_untouched() -> None:
    """The client verifies the target's own certificate, and nobody between them reads anything."""
    context = ssl.create_default_context(cafile=AUTHORITY)
    async with secure() as origin, streaming(origin.address) as it:
        client = RawClient(*await asyncio.open_connection("127.0.0.1", it.port, ssl=context, server_hostname="localhost"))
        it.clients.append(client)
        client.send(request("GET", "/"))
        assert (await client.response()).body == b"safe"
        session = client.writer.get_extra_info("ssl_object")
        assert session.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(Path(AUTHORITY).read_text())


async def test_websocket_goes_through() -> None:
    """Its pings are the target's, its Close frame comes from there, and its frames are nobody else's business."""

    async def answer(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(answer, "127.0.0.1", 0, max_size=None) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with streaming(address) as it:
            async with connect(f"ws://127.0.0.1:{it.port}/", max_size=None) as client:
                for message in ("text", b"\0\xff" * MIB):
                    await client.send(message)
                    assert await client.recv() == message
                await (await client.ping())
                assert [tunnel.protocol for tunnel in it.load_balancer.tunnels] == ["tcp"]
            assert client.close_code == 1000
            await gone(it)

"""Draining: how the tunnels of a deregistered target end."""

from __future__ import annotations

import asyncio
import random
import resource
from collections import Counter
from typing import cast

import pytest

import albkit as alb
from tests.support.balancing import balancing, listener
from tests.support.clock import FakeClock
from tests.support.effort import cases
from tests.support.frames import BINARY, CLOSE, TEXT, closing, frame, read_frame
from tests.support.gateway import running
from tests.support.peers import Conversation, Peer, request, target
from tests.support.tunnels import RAW_SWITCHED, SWITCHED, UPGRADE, Ends, ends, holding, switching, upgraded

MOST = cases(2_000, part=4)
"""Tunnels on the target that drains."""
OTHERS = 100
"""Tunnels on each of the two others."""
DELAY = 2.0
SPREAD = 1.5
SOCKETS = 4
"""Of one tunnel in this process: the client's, two of the load balancer's, the target's."""
SPARE = 500
HELLO = frame(BINARY, b"here I am")
ECHO = frame(BINARY, b"here I am", mask=False)
ANSWER = closing(1001)


@pytest.fixture
def descriptors() -> int:
    """How many descriptors this process may have now, after asking for enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SOCKETS * (MOST + 3 * OTHERS) + 2 * SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else soft


class Origin:
    """A target of which each connection is one protocol object: switches, sends back what comes, answers a Close."""

    def __init__(self) -> None:
        self.upgrades = 0
        self.open: set[asyncio.Transport] = set()
        self.server: asyncio.Server

    async def __aenter__(self) -> Origin:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: OriginEnd(self), "127.0.0.1", 0, backlog=1024)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for transport in tuple(self.open):
            transport.abort()
        async with asyncio.timeout(5):
            while self.open:
                await asyncio.sleep(0)
        await self.server.wait_closed()

    @property
    def port(self) -> int:
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


class OriginEnd(asyncio.Protocol):
    """One connection of an `Origin`."""

    transport: asyncio.Transport

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.head = b""
        self.switched = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.origin.open.add(self.transport)

    def connection_lost(self, _: Exception | None) -> None:
        self.origin.open.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        if not self.switched:
            self.head += data
            if self.head.endswith(b"\r\n\r\n"):
                self.switched = True
                self.origin.upgrades += 1
                self.transport.write(SWITCHED)
        elif data[0] == 0x80 | CLOSE:
            self.transport.write(closing(1001, mask=False))
            self.transport.close()
        else:
            self.transport.write(ECHO * (len(data) // len(HELLO)))


class WellBehaved(asyncio.Protocol):
    """A client that sends what it is told to, answers a Close with a Close and waits for the end."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[bytes] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()
        self.received = b""
        self.asked = self.echoed = 0
        self.closed_at = 0.0
        self.code = 1006
        self.wrong = b""

    @classmethod
    async def connect(cls, port: int) -> WellBehaved:
        """Connected, and its upgrade is answered."""
        _, client = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        client.transport.write(request("GET", "/ws", *UPGRADE))
        await client.opened
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self.wrong += repr(exc).encode()
        if not self.opened.done():
            self.opened.set_result(b"")
        self.over.set_result(None)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not self.opened.done():
            head, found, self.received = self.received.partition(b"\r\n\r\n")
            if found:
                self.opened.set_result(head)
        while self.received.startswith(ECHO):
            self.echoed += 1
            self.received = self.received[len(ECHO) :]
        if len(self.received) > 1 and len(self.received) == 2 + self.received[1] and self.received[0] == 0x80 | CLOSE:
            self.code = int.from_bytes(self.received[2:4], "big")
            self.closed_at = asyncio.get_running_loop().time()
            self.received = b""
            self.transport.write(ANSWER)
        elif not ECHO.startswith(self.received) and self.received[0] != 0x80 | CLOSE:
            self.wrong += self.received

    def hello(self) -> None:
        """Send something that is to come back."""
        if self.code == 1006 and not self.transport.is_closing():
            self.asked += 1
            self.transport.write(HELLO)


async def chatter(clients: list[WellBehaved]) -> None:
    """Something from each of them in turn, for ever."""
    while True:
        for place in range(0, len(clients), 10):
            for client in clients[place : place + 10]:
                client.hello()
            await asyncio.sleep(0.02)


async def newcomers(port: int, arrived: list[WellBehaved], enough: asyncio.Event) -> None:
    """One more client every now and then, each of them to the end of its handshake."""
    while len(arrived) < OTHERS and not enough.is_set():
        arrived.append(await WellBehaved.connect(port))
        await asyncio.sleep(0.02)


async def many(port: int, count: int) -> list[WellBehaved]:
    """So many clients, a hundred at a time."""
    clients: list[WellBehaved] = []
    while len(clients) < count:
        clients += await asyncio.gather(*(WellBehaved.connect(port) for _ in range(min(100, count - len(clients)))))
    return clients


async def cancelled(*tasks: asyncio.Task[None]) -> None:
    """They are over; an error of theirs is raised."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert result is None or isinstance(result, asyncio.CancelledError), result


async def test_thousands_of_tunnels_are_told_over_the_spread_and_all_others_go_on(descriptors: int) -> None:
    """Each gets Close 1001, none before the spread, none without; no new one comes, and nothing is left."""
    count = min(MOST, (descriptors - SPARE) // SOCKETS - 3 * OTHERS)
    assert count >= 50, f"{descriptors} descriptors are too few"
    loop = asyncio.get_running_loop()
    async with Origin() as leaving, Origin() as second, Origin() as third:
        policy = alb.TunnelPolicy(drain_spread=SPREAD)
        group = alb.TargetGroup("group", leaving.address, deregistration_delay=DELAY, tunnel=policy)
        async with balancing(listener(alb.Forward(group))) as it:
            balancer, port = it.load_balancer, it.port
            clients = await many(port, count)
            await balancer.register_targets("group", [second.address, third.address])
            await balancer.register_targets("group", alb.Target("127.0.0.1", leaving.port, weight=0))
            others = await many(port, 2 * OTHERS)
            await balancer.register_targets("group", alb.Target("127.0.0.1", leaving.port, weight=1))
            assert (leaving.upgrades, second.upgrades, third.upgrades) == (count, OTHERS, OTHERS)
            arrived: list[WellBehaved] = []
            enough = asyncio.Event()
            going_on = [*others]
            # Shuffled, so that those that are told early and those that are told late both talk.
            talk = [asyncio.ensure_future(chatter(some)) for some in (random.Random(3).sample(clients, count), going_on)]
            start = loop.time()
            await balancer.deregister_targets("group", leaving.address)
            planned = [tunnel._drain_at - start for tunnel in balancer.tunnels if tunnel.target.port == leaving.port]  # type: ignore[attr-defined]
            come = asyncio.ensure_future(newcomers(port, arrived, enough))
            try:
                await balancer.drained("group", leaving.address, timeout=30)
                took = loop.time() - start
                async with asyncio.timeout(20):
                    await asyncio.gather(*(client.over for client in clients))
            finally:
                enough.set()
                await come
                await cancelled(*talk)

            assert Counter(client.code for client in clients) == {1001: count}
            assert not [client.wrong for client in clients if client.wrong]
            assert took >= DELAY - SPREAD
            told = [client.closed_at - start for client in clients]
            assert min(told) >= DELAY - SPREAD
            # As they were meant to be: when each was told depends on how busy the machine is.
            quarters = Counter(min(3, int((one - (DELAY - SPREAD)) / (SPREAD / 4))) for one in planned)
            assert len(planned) == count
            assert max(quarters.values()) <= 0.4 * count, quarters

            assert leaving.upgrades == count, "a new tunnel landed on the draining target"
            assert len(arrived) > 10
            going_on += arrived
            async with asyncio.timeout(20):
                while any(client.echoed < client.asked for client in going_on):
                    await asyncio.sleep(0.01)
            assert {client.code for client in going_on} == {1006}
            assert not [client for client in going_on if client.over.done() or client.wrong]
            assert min(client.echoed for client in others) > 0
            assert sum(client.echoed for client in clients) > count / 10
            assert len(balancer.tunnels) == second.upgrades + third.upgrades
            assert it.counters["TunnelEnd_Drain"] == count
            assert not leaving.open
            for client in going_on:
                client.transport.abort()
            async with asyncio.timeout(10):
                await asyncio.gather(*(client.over for client in going_on))
                while balancer.tunnels:
                    await asyncio.sleep(0.01)


def address(both: Ends) -> str:
    return str(both.tunnel.target)


async def deregister(both: Ends) -> asyncio.Task[None]:
    """Deregister its target; a task that ends when that is drained."""
    await both.gateway.load_balancer.deregister_targets("group", address(both))
    waiting = asyncio.ensure_future(both.gateway.load_balancer.drained("group", address(both)))
    await asyncio.sleep(0)
    assert not waiting.done()
    return waiting


async def told(peer: Peer) -> int:
    """The code of the Close frame that comes next."""
    async with asyncio.timeout(5):
        return (await read_frame(peer)).code


async def leave(both: Ends) -> None:
    """Both ends answer the Close that they have got, and see the connection end."""
    both.client.send(closing(1001))
    both.target.send(closing(1001, mask=False))
    assert await both.client.is_closed()
    assert await both.target.is_closed()
    await both.client.close()
    await both.target.close()


async def test_target_that_comes_back_keeps_the_tunnels_that_were_not_closed_yet() -> None:
    """Those that have been told are over; the others outlast the old delay."""
    clock = FakeClock()
    async with target(switching(then=holding)) as origin, running(origin.address, clock=clock, idle_timeout=4000) as gateway:
        balancer, sweep = gateway.load_balancer, gateway.runtime.sweep
        clients = [await upgraded(gateway) for _ in range(3)]
        conversations = [await origin.arrived(place) for place in (1, 2, 3)]
        await balancer.deregister_targets("group", origin.address)
        # With a chance of a half, they are closed 5, 15 and 25 seconds into the last 30 of 300.
        clock.advance(276)
        sweep.look(clock.now)
        for peer in (clients[0], conversations[0]):
            assert await told(peer) == 1001
            peer.send(closing(1001, mask=peer is clients[0]))
            assert await peer.is_closed()
        await balancer.register_targets("group", origin.address)
        async with asyncio.timeout(5):
            await balancer.drained("group", origin.address)
        for _ in range(4):
            clock.advance(100)
            sweep.look(clock.now)
        hello = frame(TEXT, b"still here")
        for client, conversation in zip(clients[1:], conversations[1:], strict=True):
            client.send(hello)
            assert await conversation.read_exactly(len(hello)) == hello
        assert gateway.counters["ActiveTunnelCount"] == 2
        assert [tunnel.end for tunnel in balancer.tunnels] == [None, None]
        await upgraded(gateway)


async def test_target_that_leaves_again_drains_anew() -> None:
    """What was spared is told of the new drain, by the new delay."""
    async with ends(idle_timeout=4000) as both:
        await deregister(both)
        both.later(200)
        await both.gateway.load_balancer.register_targets("group", address(both))
        both.later(200)
        waiting = await deregister(both)
        both.later(284)
        await both.settle()
        assert both.end is None
        both.later(2)
        assert await told(both.client) == await told(both.target) == 1001
        await leave(both)
        async with asyncio.timeout(5):
            await waiting


@pytest.mark.parametrize("code", [1001, 1012, 4000])
async def test_delay_of_nothing_tells_all_at_once_with_the_code_of_the_policy(code: int) -> None:
    """No round of the sweep is waited for."""
    clock = FakeClock()
    group = alb.TargetGroup("group", [], deregistration_delay=0, tunnel=alb.TunnelPolicy(drain_code=code))
    async with target(switching(then=holding)) as origin, balancing(listener(alb.Forward(group)), clock=clock) as it:
        await it.load_balancer.register_targets("group", origin.address)
        clients = [await upgraded(it) for _ in range(3)]
        conversations = [await origin.arrived(place) for place in (1, 2, 3)]
        await it.load_balancer.deregister_targets("group", origin.address)
        assert {tunnel.end for tunnel in it.load_balancer.tunnels} == {alb.TunnelEnd.DRAIN}
        for peer in (*clients, *conversations):
            assert await told(peer) == code
            peer.send(closing(code, mask=peer in clients))
        for peer in (*clients, *conversations):
            assert await peer.is_closed()
            await peer.close()
        async with asyncio.timeout(5):
            await it.load_balancer.drained("group", origin.address)


async def test_upgrade_under_way_when_its_target_leaves_gets_503_and_no_tunnel() -> None:
    """The 101 comes too late; the connection to the target is closed, and the target is drained."""
    release = asyncio.Event()

    async def late(conversation: Conversation) -> None:
        await conversation.head()
        await release.wait()
        conversation.send(SWITCHED)
        await conversation.read_to_end()

    async with target(late) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/ws", *UPGRADE))
        conversation = await origin.arrived()
        async with asyncio.timeout(5):
            while not gateway.runtime.registry.group("group").members[origin.address].tunnels:
                await asyncio.sleep(0)
            await gateway.load_balancer.deregister_targets("group", origin.address)
            waiting = asyncio.ensure_future(gateway.load_balancer.drained("group", origin.address))
            await asyncio.sleep(0)
            assert not waiting.done()
            release.set()
            assert (await client.response()).status == 503
            await waiting
            await conversation.over.wait()
        assert gateway.counters["Failure_UpgradeWhileDraining"] == 1
        assert "TunnelCount" not in gateway.counters
        assert not gateway.load_balancer.tunnels


@pytest.mark.parametrize(
    ("answer", "frames"), [pytest.param(RAW_SWITCHED, True, id="no-websocket"), pytest.param(SWITCHED, False, id="frames-not-followed")]
)
async def test_tunnel_that_is_not_followed_gets_fin(answer: bytes, frames: bool) -> None:
    """On both sides, without a byte before it."""
    async with ends(alb.TunnelPolicy(frames=frames), answer=answer, idle_timeout=4000) as both:
        waiting = await deregister(both)
        both.later(284)
        await both.settle()
        assert both.end is None
        both.later(2)
        assert both.end is alb.TunnelEnd.DRAIN
        assert await both.client.is_closed()
        assert await both.target.is_closed()
        await both.client.close()
        await both.target.close()
        async with asyncio.timeout(5):
            await waiting


@pytest.mark.parametrize("deaf", ["client", "target", "both"])
async def test_side_that_ignores_the_close_is_cut_when_the_grace_is_over(deaf: str) -> None:
    """Two seconds behind the Close, not before; then the target is drained."""
    async with ends(idle_timeout=4000) as both:
        waiting = await deregister(both)
        both.later(286)
        assert await told(both.client) == await told(both.target) == 1001
        if deaf == "target":
            both.client.send(closing(1001))
        elif deaf == "client":
            both.target.send(closing(1001, mask=False))
        await both.settle()
        both.later(1.9)
        await both.settle()
        assert not waiting.done()
        both.later(0.2)
        async with asyncio.timeout(5):
            await waiting
        assert await both.client.is_closed()
        assert await both.target.is_closed()
        assert both.end is alb.TunnelEnd.DRAIN


async def test_spread_that_is_longer_than_the_delay_fills_the_delay() -> None:
    """As many are told in each part of it."""
    clock = FakeClock()
    group = alb.TargetGroup("group", [], deregistration_delay=10, tunnel=alb.TunnelPolicy(drain_spread=3000))
    async with target(switching(then=holding)) as origin, balancing(listener(alb.Forward(group)), clock=clock) as it:
        await it.load_balancer.register_targets("group", origin.address)
        for _ in range(10):
            await upgraded(it)
        tunnels = it.load_balancer.tunnels
        await it.load_balancer.deregister_targets("group", origin.address)
        for past in range(11):
            assert [tunnel.end for tunnel in tunnels].count(alb.TunnelEnd.DRAIN) == past
            clock.advance(1)
            it.runtime.sweep.look(clock.now)

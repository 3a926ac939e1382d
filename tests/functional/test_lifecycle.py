"""Start, stop, start again; ports, idle connections and exchanges when it ends."""

from __future__ import annotations

import asyncio
import errno

import pytest

import albkit as alb
from tests.support.gateway import running
from tests.support.peers import Conversation, RawClient, request, response, target


def balancer(address: str, port: int = 0, **settings: object) -> alb.LoadBalancer:
    group = alb.TargetGroup("group", [address])
    return alb.LoadBalancer(alb.Listener(port, alb.Forward(group), host="127.0.0.1"), **settings)


async def test_load_balancer_starts_and_stops_many_times_on_one_port() -> None:
    """The port is free at once."""
    async with target() as origin:
        async with balancer(origin.address) as first:
            port = first.listeners[0].port
        again = balancer(origin.address, port)
        for _ in range(3):
            async with again:
                client = await RawClient.connect(port)
                assert (await client.get()).status == 200
                await client.close()
        assert again.counters["RequestCount"] == 3
        assert again.counters["ActiveConnectionCount"] == 0


async def test_starting_twice_is_refused() -> None:
    """And does no harm to what runs."""
    async with target() as origin, balancer(origin.address) as load_balancer:
        with pytest.raises(RuntimeError, match="already running"):
            await load_balancer.start()
        client = await RawClient.connect(load_balancer.listeners[0].port)
        assert (await client.get()).status == 200
        await client.close()


async def test_stopping_twice_is_nothing() -> None:
    """Also when it never ran."""
    load_balancer = balancer("127.0.0.1:1")
    await load_balancer.stop()
    async with load_balancer:
        await load_balancer.stop()
    assert load_balancer.listeners == ()


async def test_port_in_use_is_told_and_nothing_stays_open() -> None:
    """The text says what to do; the listener opened before is closed."""
    async with target() as origin:
        group = alb.TargetGroup("group", [origin.address])
        listeners = [alb.Listener(0, alb.Forward(group), host="127.0.0.1"), alb.Listener(origin.port, alb.Forward(group), host="127.0.0.1")]
        load_balancer = alb.LoadBalancer(listeners)
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{origin.port}: the port is in use; stop the program") as caught:
            await load_balancer.start()
        assert caught.value.errno == errno.EADDRINUSE
        assert load_balancer.listeners == ()


async def test_host_of_another_machine_is_told() -> None:
    """In a sentence."""
    load_balancer = alb.LoadBalancer(alb.Listener(0, alb.FixedResponse(200), host="192.0.2.1"))
    with pytest.raises(OSError, match="not an address of this machine; give one of its addresses"):
        await load_balancer.start()


async def test_default_is_all_interfaces_on_one_port() -> None:
    """IPv4 and IPv6 clients find the same port; an IPv4 client keeps its IPv4 address."""
    async with target() as origin:
        group = alb.TargetGroup("group", [origin.address])
        async with alb.LoadBalancer(alb.Listener(0, alb.Forward(group))) as load_balancer:
            port = load_balancer.listeners[0].port
            assert load_balancer.listeners[0].url == f"http://127.0.0.1:{port}"
            client = await RawClient.connect(port)
            assert (await client.get()).status == 200
            await client.close()
            assert b"X-Forwarded-For: 127.0.0.1\r\n" in origin.heads[0]
            try:
                client = await RawClient.connect(port, host="::1")
            except OSError:
                return  # A machine without IPv6.
            assert (await client.get()).status == 200
            await client.close()
            assert b"X-Forwarded-For: ::1\r\n" in origin.heads[1]


async def test_idle_connections_close_at_once_when_it_stops() -> None:
    """They do not wait for the stop timeout."""
    async with target() as origin, running(origin.address, stop_timeout=30) as gateway:
        used, fresh = await gateway.client(), await gateway.client()
        await used.get()
        async with asyncio.timeout(10):
            stopping = asyncio.ensure_future(gateway.load_balancer.stop())
            assert await used.read_to_end() == b""
            assert await fresh.read_to_end() == b""
            await asyncio.gather(used.close(), fresh.close())
            await stopping


async def test_exchange_ends_in_good_order_when_it_stops() -> None:
    """Its answer says close; new clients are refused meanwhile."""
    release = asyncio.Event()

    async def slow(conversation: Conversation) -> None:
        await conversation.head()
        await release.wait()
        conversation.send(response())
        await conversation.read_to_end()

    async with target(slow) as origin, running(origin.address, stop_timeout=10) as gateway:
        port = gateway.port
        client = await gateway.client()
        client.send(request("GET", "/"))
        await origin.arrived()
        stopping = asyncio.ensure_future(gateway.load_balancer.stop())
        await asyncio.sleep(0.05)
        with pytest.raises(ConnectionError):
            await RawClient.connect(port)
        release.set()
        answer = await client.response()
        assert (answer.status, answer.get(b"connection")) == (200, b"close")
        await client.close()
        await stopping


async def test_exchange_that_takes_too_long_is_cut_when_it_stops() -> None:
    """After the stop timeout nothing is left."""

    async def slow(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.read_to_end()

    async with target(slow) as origin, running(origin.address, stop_timeout=0.1) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/"))
        await origin.arrived()
        await gateway.load_balancer.stop()
        assert await client.is_closed()


async def test_one_group_in_two_load_balancers_has_two_states() -> None:
    """What one of them knows is its own."""
    async with target() as origin:
        group = alb.TargetGroup("group", [origin.address])
        async with (
            alb.LoadBalancer(alb.Listener(0, alb.Forward(group), host="127.0.0.1")) as one,
            alb.LoadBalancer(alb.Listener(0, alb.Forward(group), host="127.0.0.1")) as two,
        ):
            client = await RawClient.connect(one.listeners[0].port)
            await client.get()
            await client.close()
            assert (one.counters["RequestCount"], two.counters["RequestCount"]) == (1, 0)


async def test_two_listeners_have_rules_of_their_own() -> None:
    """Each door decides for itself."""
    async with alb.LoadBalancer(
        [
            alb.Listener(0, alb.FixedResponse(200, "one"), host="127.0.0.1", name="one"),
            alb.Listener(0, alb.FixedResponse(200, "two"), host="127.0.0.1", name="two"),
        ],
    ) as load_balancer:
        for listener, word in zip(load_balancer.listeners, (b"one", b"two"), strict=True):
            client = await RawClient.connect(listener.port)
            assert (await client.get()).body == word
            await client.close()

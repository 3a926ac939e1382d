"""Tunnels as a program sees them: the list, the numbers, the callbacks."""

from __future__ import annotations

import asyncio

import pytest

import albkit as alb
from tests.support.frames import PING, TEXT, frame
from tests.support.gateway import running
from tests.support.peers import request, target
from tests.support.tunnels import RAW_SWITCHED, UPGRADE, echo, ends, gone, switching, upgraded

HELLO = frame(TEXT, b"hello")


async def test_tunnel_tells_what_it_is() -> None:
    """Who, where to, what it was asked with, for how long, and how much."""
    fields = (*UPGRADE, "Cookie: session=abc")
    async with ends(fields=fields) as both:
        tunnel = both.tunnel
        assert (tunnel.client.host, tunnel.client.port) == ("127.0.0.1", both.client.port)
        assert str(tunnel.client) == f"127.0.0.1:{both.client.port}"
        assert str(tunnel.target) == f"127.0.0.1:{both.target.port}"
        assert (tunnel.group, tunnel.protocol, tunnel.end) == ("group", "websocket", None)
        request = tunnel.request
        assert (request.method, request.path, request.host) == ("GET", "/ws", "example.com")
        assert request.headers["cookie"] == "session=abc"
        assert (tunnel.age, tunnel.idle, tunnel.bytes_in, tunnel.bytes_out) == (0, 0, 0, 0)
        both.later(3)
        assert (tunnel.age, tunnel.idle) == (3, 3)
        both.client.send(HELLO * 3)
        await both.target.read_exactly(3 * len(HELLO))
        assert (tunnel.bytes_in, tunnel.bytes_out, tunnel.frames_in, tunnel.frames_out) == (3 * len(HELLO), 0, 3, 0)
        assert tunnel.idle == 0
        both.later(2)
        assert (tunnel.age, tunnel.idle) == (5, 2)
        assert repr(tunnel) == f"<Tunnel 1 127.0.0.1:{both.client.port} -> group/127.0.0.1:{both.target.port} websocket open>"
        assert repr(tunnel.client_leg) == f"<WebSocketLeg to the client: open, {3 * len(HELLO)} bytes received>"  # type: ignore[attr-defined]
        assert repr(tunnel.target_leg) == "<WebSocketLeg to the target: open, 0 bytes received>"  # type: ignore[attr-defined]


async def test_tunnels_are_listed_oldest_first_while_their_sockets_are_open() -> None:
    """With numbers that are not used again."""
    async with target(switching(then=echo)) as origin, running(origin.address) as gateway:
        assert gateway.load_balancer.tunnels == ()
        clients = [await upgraded(gateway) for _ in range(3)]
        tunnels = gateway.load_balancer.tunnels
        assert [tunnel.id for tunnel in tunnels] == [1, 2, 3]
        assert [tunnel.client.port for tunnel in tunnels] == [client.port for client in clients]
        clients[1].reset()
        async with asyncio.timeout(5):
            while len(gateway.load_balancer.tunnels) > 2:
                await asyncio.sleep(0)
        await upgraded(gateway)
        assert [tunnel.id for tunnel in gateway.load_balancer.tunnels] == [1, 3, 4]
    assert gateway.load_balancer.tunnels == ()


async def test_callbacks_are_told_of_the_beginning_and_of_the_end() -> None:
    """With totals that count no ping of the load balancer's."""
    seen: list[tuple[str, int, object, int, int, int | None]] = []

    def note(what: str) -> object:
        return lambda tunnel: seen.append((what, tunnel.id, tunnel.end, tunnel.bytes_in, tunnel.bytes_out, tunnel.frames_in))

    async with target(switching(then=echo)) as origin, running(origin.address) as gateway:
        gateway.load_balancer.on_tunnel(opened=note("opened"), closed=note("closed"))  # type: ignore[arg-type]
        client = await upgraded(gateway)
        client.send(HELLO)
        await client.read_exactly(len(HELLO))
        client.send_fin()
        await client.read_to_end()
        await gone(gateway)
        assert seen[0] == ("opened", 1, None, 0, 0, 0)
        assert seen[1][:5] == ("closed", 1, "client", len(HELLO), len(HELLO))


async def test_callback_that_raises_is_logged_and_keeps_nobody_else_from_being_told(caplog: pytest.LogCaptureFixture) -> None:
    """Nor does it harm the tunnel."""
    told: list[str] = []

    def broken(_: alb.Tunnel) -> None:
        raise RuntimeError("broken on purpose")

    async with target(switching(then=echo)) as origin, running(origin.address) as gateway:
        gateway.load_balancer.on_tunnel(opened=broken, closed=broken)
        end = gateway.load_balancer.on_tunnel(opened=lambda _: told.append("opened"), closed=lambda _: told.append("closed"))
        client = await upgraded(gateway)
        client.send(HELLO)
        assert await client.read_exactly(len(HELLO)) == HELLO
        end()
        end()
        client.reset()
        await gone(gateway)
    assert told == ["opened"]
    assert caplog.text.count("broken on purpose") >= 2


async def test_callbacks_stay_over_a_stop_and_a_start() -> None:
    """They belong to the load balancer, not to one run of it; numbers begin anew."""
    told: list[int] = []
    async with target(switching(then=echo)) as origin:
        group = alb.TargetGroup("group", origin.address)
        load_balancer = alb.LoadBalancer(alb.Listener(0, alb.Forward(group), host="127.0.0.1"), stop_timeout=0.1)
        load_balancer.on_tunnel(opened=lambda tunnel: told.append(tunnel.id))
        for _ in range(2):
            async with load_balancer:
                reader, writer = await asyncio.open_connection("127.0.0.1", load_balancer.listeners[0].port)
                writer.write(request("GET", "/ws", *UPGRADE))
                await reader.readuntil(b"\r\n\r\n")
                writer.close()
                await writer.wait_closed()
    assert told == [1, 1]


async def test_tunnel_may_be_closed_from_a_callback() -> None:
    """As soon as it opens, for a program that is full up."""
    tasks: list[asyncio.Task[None]] = []
    async with target(switching(then=echo)) as origin, running(origin.address) as gateway:
        gateway.load_balancer.on_tunnel(opened=lambda tunnel: tasks.append(asyncio.ensure_future(tunnel.close(1013))))  # type: ignore[arg-type]
        client = await upgraded(gateway)
        assert (await client.read_exactly(4))[2:] == (1013).to_bytes(2, "big")
        await client.close()
        await asyncio.gather(*tasks)


async def test_frames_are_counted_where_they_are_followed() -> None:
    """Control frames among them; raw bytes have no such number."""
    async with ends() as both:
        both.client.send(HELLO + frame(PING, b"x") + HELLO)
        both.target.send(frame(TEXT, b"a", mask=False))
        await both.settle()
        assert (both.tunnel.frames_in, both.tunnel.frames_out) == (3, 1)
    async with ends(answer=RAW_SWITCHED) as both:
        both.client.send(HELLO)
        await both.settle()
        assert (both.tunnel.frames_in, both.tunnel.frames_out, both.tunnel.bytes_in) == (None, None, len(HELLO))

"""WebSockets over HTTP/2 to targets over HTTP/2: both sides of a tunnel are streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from h2.settings import SettingCodes

import albkit as alb
from tests.support.clock import FakeClock
from tests.support.frames import BINARY, TEXT, closing, frame, read_frame
from tests.support.gateway import Running, leaving_nothing
from tests.support.h2_client import H2Client
from tests.support.h2_frames import CANCEL, PROTOCOL_ERROR, data
from tests.support.h2_target import H2Stream, H2Target, h2_target
from tests.support.h2_websockets import connect
from tests.support.tunnels import gone

HELLO = frame(TEXT, b"hello")
MIB = 1024 * 1024
WEBSOCKETS = {SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    """A hang is a failure with a place."""
    async with asyncio.timeout(40):
        yield


@contextlib.asynccontextmanager
async def _http2(origin: H2Target, policy: alb.TunnelPolicy | None = None, **settings: Any) -> AsyncIterator[Running]:
    """A load balancer in front of one target over HTTP/2."""
    group = alb.TargetGroup("group", [origin.address], protocol_version="HTTP2", tunnel=policy or alb.TunnelPolicy())
    listener = alb.Listener(0, [alb.Forward(group)], host="127.0.0.1")
    async with leaving_nothing(Running(alb.LoadBalancer(listener, stop_timeout=0.2, **settings))) as it:
        yield it


async def _echo(stream: H2Stream) -> None:
    """Switches, sends back what comes, and then its end."""
    stream.head(200)
    while (piece := await stream.chunk()) is not None:
        if piece:
            await stream.write(piece)
    stream.end()


async def test_pair_of_streams_is_a_tunnel() -> None:
    """The target gets an extended CONNECT without a key, the client its 200; a tunnel takes no connection over."""

    async def script(stream: H2Stream) -> None:
        stream.head(200, ("sec-websocket-protocol", "chat"))
        while (piece := await stream.chunk()) is not None:
            await stream.write(piece)
        stream.end()

    async with h2_target(script, settings=WEBSOCKETS) as origin, _http2(origin) as gateway:
        client = await H2Client(await gateway.client()).start()
        sockets = [connect(client, "/chat?room=1", ("sec-websocket-protocol", "chat")) for _ in range(3)]
        for socket in sockets:
            answer = await client.head(socket.stream)
            assert (answer.status, answer.has_ended, answer.get("sec-websocket-protocol")) == (200, False, "chat")
            assert not {name for name, _ in answer.fields} & {"sec-websocket-accept", "upgrade", "connection", "content-length"}
        stream = await origin.request()
        named = dict(stream.fields)
        assert (named[":method"], named[":protocol"], named[":path"], named[":scheme"]) == ("CONNECT", "websocket", "/chat?room=1", "http")
        assert (named["sec-websocket-version"], named["sec-websocket-protocol"]) == ("13", "chat")
        assert not set(named) & {"sec-websocket-key", "upgrade", "connection", "transfer-encoding"}
        for socket in sockets:
            socket.send(HELLO)
            assert await socket.read_exactly(len(HELLO)) == HELLO
        assert len(origin.connections) == 1
        limiter = gateway.load_balancer.listeners[0].listener_runtime.limiter
        counters = gateway.counters
        assert (limiter.count, counters["ActiveConnectionCount"], counters["ActiveTunnelCount"]) == (1, 2, 3)
        assert gateway.runtime.tunnel_connections == 0
        assert {tunnel.protocol for tunnel in gateway.load_balancer.tunnels} == {"websocket"}
        for socket in sockets:
            socket.send_fin()
            assert await socket.read() == b""
        await gone(gateway)
        assert gateway.counters["ActiveConnectionCount"] == 2
        await client.alive()


async def test_megabytes_pass_both_ways() -> None:
    """Within the windows of four streams."""
    async with h2_target(_echo, settings=WEBSOCKETS) as origin, _http2(origin) as gateway:
        client = await H2Client(await gateway.client()).start()
        for _ in range(2):
            socket = connect(client)
            await client.head(socket.stream)
            message = frame(BINARY, bytes(range(256)) * 4096)
            await socket.send_all(message)
            assert await socket.read_exactly(len(message)) == message
            socket.send_fin()
            assert await socket.read() == b""


async def test_slow_client_stops_only_its_own_stream_at_the_target() -> None:
    """The target's other streams, on the same connection, go on; what waits is bounded by a window of each side."""

    async def script(stream: H2Stream) -> None:
        if stream.path == "/flood":
            stream.head(200)
            while True:
                await stream.write(bytes(16384))
        await _echo(stream)

    async with h2_target(script, settings=WEBSOCKETS) as origin, _http2(origin, limits=alb.Limits(in_flight=65536)) as gateway:
        client = await H2Client(await gateway.client(), generous=False).start()
        client.send(b"\0\0\4\x08\0\0\0\0\0" + MIB.to_bytes(4, "big"))
        flood, other = connect(client, "/flood"), connect(client)
        await client.head(other.stream)
        waiting = -1
        async with asyncio.timeout(20):
            while waiting != gateway.runtime.http2_buffers.total:
                waiting = gateway.runtime.http2_buffers.total
                for _ in range(20):
                    other.send(HELLO)
                    assert await other.read_exactly(len(HELLO)) == HELLO
        assert len(origin.connections) == 1
        assert 0 < waiting <= 3 * 65536
        flood.reset()
        await origin.requests[0].over.wait()
        assert origin.requests[0].reset == CANCEL
        assert gateway.runtime.http2_buffers.total == 0
        other.send(HELLO)
        assert await other.read_exactly(len(HELLO)) == HELLO


async def test_half_close_passes_in_both_directions() -> None:
    """END_STREAM on one side is END_STREAM on the other; the opposite direction stays open."""

    async def script(stream: H2Stream) -> None:
        stream.head(200)
        received = await stream.body()
        await stream.write(received + b"!")
        stream.end()

    async def ends_first(stream: H2Stream) -> None:
        stream.head(200)
        stream.end()
        assert await stream.body() == HELLO

    async with h2_target(script, settings=WEBSOCKETS) as origin, _http2(origin) as gateway:
        client = await H2Client(await gateway.client()).start()
        socket = connect(client)
        await client.head(socket.stream)
        socket.send(HELLO)
        socket.send_fin()
        assert await socket.read_to_end() == HELLO + b"!"
        await gone(gateway)
        origin.stream_script = ends_first
        socket = connect(client)
        assert await socket.read_to_end() == b""
        socket.send(HELLO)
        socket.send_fin()
        await (await origin.request(2)).over.wait()
        await gone(gateway)


async def test_reset_passes_in_both_directions() -> None:
    """As RST_STREAM with CANCEL; both connections stay."""

    async def script(stream: H2Stream) -> None:
        stream.head(200)
        await stream.chunk()
        if stream.path == "/abort":
            stream.abort()
        else:
            await stream.chunk()

    async with h2_target(script, settings=WEBSOCKETS) as origin, _http2(origin) as gateway:
        client = await H2Client(await gateway.client()).start()
        mine, theirs = connect(client, "/mine"), connect(client, "/abort")
        for socket in (mine, theirs):
            await client.head(socket.stream)
            socket.send(HELLO)
        assert await theirs.reset_code() == CANCEL
        mine.reset()
        stream = origin.requests[0]
        await stream.over.wait()
        assert stream.reset == CANCEL
        await gone(gateway)
        assert gateway.counters["Failure_TunnelResetByClient"] == gateway.counters["Failure_TunnelResetByTarget"] == 1
        await client.alive()
        assert len(origin.connections) == 1


async def test_lost_connection_of_the_target_resets_the_streams_of_all_clients() -> None:
    """Without END_STREAM, the tunnels were cut."""
    async with h2_target(_echo, settings=WEBSOCKETS) as origin, _http2(origin) as gateway:
        clients = [await H2Client(await gateway.client()).start() for _ in range(2)]
        sockets = [connect(client) for client in clients for _ in range(10)]
        for socket in sockets:
            assert (await socket.client.head(socket.stream)).status == 200
        origin.connections[0].conversation.writer.transport.abort()
        for socket in sockets:
            assert await socket.reset_code() == CANCEL
        await gone(gateway)
        assert gateway.counters["TunnelEnd_Target"] == 20
        for client in clients:
            await client.alive()


async def test_close_of_the_program_reaches_both_streams() -> None:
    """A masked Close to the target, an unmasked one to the client."""
    clock = FakeClock()

    async def script(stream: H2Stream) -> None:
        stream.head(200)
        received = await stream.chunk()
        assert received is not None
        code = int.from_bytes(bytes(byte ^ key for byte, key in zip(received[6:8], received[2:4], strict=True)), "big")
        await stream.write(closing(code, mask=False))
        stream.end()
        await stream.body()

    async with h2_target(script, settings=WEBSOCKETS) as origin, _http2(origin, clock=clock) as gateway:
        client = await H2Client(await gateway.client()).start()
        socket = connect(client)
        await client.head(socket.stream)
        (tunnel,) = gateway.load_balancer.tunnels
        closed = asyncio.ensure_future(tunnel.close(4001, "moved"))
        assert (await read_frame(socket)).code == 4001
        socket.send(closing(4001))
        socket.send_fin()
        await closed
        assert tunnel.bytes_out == len(closing(4001, mask=False))


async def test_early_data_is_delivered_behind_the_head() -> None:
    """What the client sends before the 200, and what the target sends with it."""

    async def switches_first(stream: H2Stream) -> None:
        stream.head(200)
        await stream.write(b"first")
        while (piece := await stream.chunk()) is not None:
            await stream.write(piece)
        stream.end()

    async with h2_target(switches_first, settings=WEBSOCKETS) as origin, _http2(origin) as gateway:
        client = await H2Client(await gateway.client()).start()
        socket = connect(client)
        socket.send(HELLO)
        socket.send_fin()
        assert await socket.read_to_end() == b"first" + HELLO
        await gone(gateway)


async def test_refusals_of_the_target_are_ordinary_responses() -> None:
    """A status other than 2xx, with its body; nothing is left of a tunnel."""

    async def script(stream: H2Stream) -> None:
        await stream.answer(403, b"not you", ("x-why", "because"))

    async with h2_target(script, settings=WEBSOCKETS) as origin, _http2(origin) as gateway:
        client = await H2Client(await gateway.client()).start()
        answer = await client.answer(connect(client).stream)
        assert (answer.status, answer.body, answer.get("x-why")) == (403, b"not you", "because")
        assert "TunnelCount" not in gateway.counters


async def test_target_without_extended_connect_gets_no_websocket() -> None:
    """It has not announced SETTINGS_ENABLE_CONNECT_PROTOCOL: 502, and other requests are served."""
    async with h2_target() as origin, _http2(origin) as gateway:
        client = await H2Client(await gateway.client()).start()
        assert (await client.answer(connect(client).stream)).status == 502
        assert gateway.counters["Failure_TargetWithoutWebsockets"] == 1
        assert (await client.get("/")).status == 200


async def test_trailers_of_the_target_on_a_tunnel_are_an_error_of_the_stream() -> None:
    """RFC 9113 section 8.5. The client's stream is reset."""

    async def script(stream: H2Stream) -> None:
        stream.head(200)
        stream.end(("x-trailer", "1"))
        await stream.body()

    async with h2_target(script, settings=WEBSOCKETS) as origin, _http2(origin) as gateway:
        client = await H2Client(await gateway.client()).start()
        socket = connect(client)
        assert await socket.reset_code() == CANCEL
        await gone(gateway)
        await (await origin.request()).over.wait()
        assert origin.requests[0].reset == PROTOCOL_ERROR


async def test_stop_ends_both_connections() -> None:
    """Streams that ignore the Close frame are cut after `stop_timeout`."""
    async with h2_target(_echo, settings=WEBSOCKETS) as origin, _http2(origin) as gateway:
        client = await H2Client(await gateway.client()).start()
        sockets = [connect(client) for _ in range(5)]
        for socket in sockets:
            await client.head(socket.stream)
        client.send(data(sockets[0].stream, HELLO))
        await gateway.load_balancer.stop()
        assert gateway.load_balancer.counters["TunnelEnd_Stop"] == 5
        await client.end()

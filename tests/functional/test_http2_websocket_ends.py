"""How WebSockets to HTTP/2 targets begin and end (RFC 8441)."""

from __future__ import annotations

import contextlib

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from tests.support.frames import BINARY, TEXT, frame
from tests.support.h2_target import H2Stream, h2_target
from tests.support.h2_targets import client_of, in_front_of, member_of
from tests.support.h2_websockets import connect, opened
from tests.support.secure import until

WEBSOCKETS = {SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}


async def echo(stream: H2Stream) -> None:
    """Switch, and send back what comes, END_STREAM included."""
    if stream.get(":method") != "CONNECT":
        await stream.answer()
        return
    stream.head(200, ("sec-websocket-protocol", "chat"))
    while (piece := await stream.chunk()) is not None:
        await stream.write(piece)
    stream.end()


async def test_websocket_is_a_stream_on_both_sides() -> None:
    """Extended CONNECT goes to the target; frames pass, and the connection serves other requests meanwhile and afterwards."""
    async with h2_target(echo, settings=WEBSOCKETS) as origin, in_front_of(origin.address) as it:
        socket = await opened(it, ("sec-websocket-protocol", "chat"))
        asked = await origin.request()
        assert asked.fields[:5] == [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/ws"),
            (":authority", f"example.com:{it.port}"),
        ]
        names = [name for name, _ in asked.fields]
        assert "sec-websocket-key" not in names
        assert {"sec-websocket-version", "sec-websocket-protocol"} <= set(names)
        assert socket.answer.get("sec-websocket-protocol") == "chat"
        assert "sec-websocket-accept" not in [name for name, _ in socket.answer.fields]
        hello = frame(TEXT, b"hello")
        socket.send(hello)
        assert await socket.read_exactly(len(hello)) == hello
        (tunnel,) = it.load_balancer.tunnels
        assert tunnel.protocol == "websocket"
        assert (await socket.client.get()).status == 200
        assert len(origin.connections) == 1
        socket.send_fin()
        assert await socket.read_to_end() == b""
        await until(lambda: not it.load_balancer.tunnels)
        assert (await socket.client.get()).status == 200
        assert len(origin.connections) == 1
        assert it.runtime.connections.idle(member_of(it)) == 1


async def test_large_messages_pass_within_all_windows() -> None:
    """Megabytes in each direction, and nothing stays counted."""
    async with h2_target(echo, settings=WEBSOCKETS) as origin, in_front_of(origin.address) as it:
        socket = await opened(it)
        message = frame(BINARY, bytes(range(256)) * 8000)
        await socket.send_all(message)
        assert await socket.read_exactly(len(message)) == message


async def test_target_that_sends_with_its_answer_loses_nothing() -> None:
    """What comes right behind the 200 reaches the client, and so does its end."""

    async def script(stream: H2Stream) -> None:
        stream.head(200)
        await stream.write(b"early", end=True)
        await stream.over.wait()

    async with h2_target(script, settings=WEBSOCKETS) as origin, in_front_of(origin.address) as it:
        socket = await opened(it)
        assert await socket.read_to_end() == b"early"
        socket.send_fin()
        await until(lambda: not it.load_balancer.tunnels)
        (await origin.request()).over.set()


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_target_may_refuse_a_websocket(status: int) -> None:
    """Its answer is passed on, and the stream ends."""

    async def script(stream: H2Stream) -> None:
        await stream.answer(status, b"no")

    async with h2_target(script, settings=WEBSOCKETS) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        socket = connect(client)
        answer = await client.answer(socket.stream)
        assert (answer.status, answer.body) == (status, b"no")
        await until(lambda: it.runtime.connections.idle(member_of(it)) == 1)


async def test_target_without_websockets_gets_none() -> None:
    """Without SETTINGS_ENABLE_CONNECT_PROTOCOL the request is not sent."""
    async with h2_target() as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        socket = connect(client)
        assert (await client.answer(socket.stream)).status == 502
        assert origin.requests == []
        assert it.counters["Failure_TargetWithoutWebsockets"] == 1


@pytest.mark.parametrize("how", ["stream", "connection", "goaway"])
async def test_end_of_the_target_ends_its_websockets(how: str) -> None:
    """RST_STREAM, a lost connection, and a GOAWAY that leaves the stream out."""

    async def script(stream: H2Stream) -> None:
        stream.head(200)
        await stream.chunk()
        if how == "stream":
            stream.abort(ErrorCodes.INTERNAL_ERROR)
        elif how == "connection":
            stream.connection.conversation.reset()
        else:
            stream.connection.goaway(0)

    async with h2_target(script, settings=WEBSOCKETS) as origin, in_front_of(origin.address) as it:
        socket = await opened(it)
        socket.send(frame(TEXT, b"end"))
        with pytest.raises(ConnectionResetError):
            await socket.read_to_end()
        await until(lambda: not it.load_balancer.tunnels)
        origin.errors.clear()


async def test_client_that_resets_its_websocket_resets_that_of_the_target() -> None:
    """Only the stream: the connection goes on."""
    async with h2_target(echo, settings=WEBSOCKETS) as origin, in_front_of(origin.address) as it:
        socket = await opened(it)
        socket.reset()
        asked = await origin.request()
        await asked.over.wait()
        await until(lambda: not it.load_balancer.tunnels)
        assert (await socket.client.get()).status == 200
        assert len(origin.connections) == 1


async def test_stop_ends_websockets_of_http2_targets() -> None:
    """Closed with a code, then with force."""
    async with h2_target(echo, settings=WEBSOCKETS) as origin, in_front_of(origin.address) as it:
        sockets = [await opened(it) for _ in range(3)]
        assert len(it.load_balancer.tunnels) == 3
        await it.load_balancer.stop()
        assert not it.load_balancer.tunnels
        for socket in sockets:
            await socket.close()


async def test_deregistered_target_closes_its_websockets_and_then_its_connection() -> None:
    """As over HTTP/1.1."""
    async with h2_target(echo, settings=WEBSOCKETS) as origin:
        group = {"deregistration_delay": 0}
        async with in_front_of(origin.address, group=group) as it:
            socket = await opened(it)
            await it.load_balancer.deregister_targets("group", [origin.address])
            with contextlib.suppress(ConnectionError):
                await socket.read_to_end()
            await until(lambda: it.runtime.connections.count == 0)

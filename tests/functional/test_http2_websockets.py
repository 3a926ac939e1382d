"""WebSockets over HTTP/2 (RFC 8441): a stream becomes a tunnel, and is in all things what a tunnel over HTTP/1.1 is."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest
from hyperframe.frame import GoAwayFrame
from websockets.asyncio.server import ServerConnection, serve
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

import albkit as alb
from albkit.proxy.http2.stream_transport import StreamTransport
from tests.support.frames import BINARY, CLOSE, PING, PONG, TEXT, closing, frame, read_frame
from tests.support.gateway import Running, running
from tests.support.h2_client import H2Client
from tests.support.h2_frames import CANCEL, NO_ERROR, PROTOCOL_ERROR, data, headers
from tests.support.h2_websockets import accepting, connect, h2_ends, opened, switched
from tests.support.peers import Conversation, response, target
from tests.support.secure import client_context, secured, until
from tests.support.tunnels import echo, gone, holding

HELLO = frame(TEXT, b"hello")
ANSWER = frame(TEXT, b"answer", mask=False)
MIB = 1024 * 1024
ENABLE_CONNECT_PROTOCOL = 8


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    """A hang is a failure with a place."""
    async with asyncio.timeout(40):
        yield


# The switch.


async def test_extended_connect_becomes_a_handshake_and_its_101_becomes_200() -> None:
    """The target sees a handshake of HTTP/1.1 with a key; the client gets 200 without END_STREAM and without the fields of HTTP/1.1."""
    fields = (b"Sec-WebSocket-Protocol: chat", b"Sec-WebSocket-Extensions: permessage-deflate", b"Content-Length: 7", b"X-Own: one")
    sticky = alb.LbCookie(duration=60)
    async with target(accepting(echo, *fields)) as origin, running(origin.address, stickiness=sticky) as gateway:
        client = await H2Client(await gateway.client()).start()
        assert client.their_settings[ENABLE_CONNECT_PROTOCOL] == 1
        asked = (("sec-websocket-protocol", "chat, other"), ("sec-websocket-extensions", "permessage-deflate"), ("origin", "https://a.b"))
        socket = connect(client, "/chat?room=1", *asked)
        answer = await client.head(socket.stream)
        conversation = await origin.arrived()
        head = conversation.received.split(b"\r\n\r\n")[0].decode().lower()
        assert head.startswith("get /chat?room=1 http/1.1\r\nhost: example.com")
        lines = head.split("\r\n")
        for line in ("upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13", "origin: https://a.b"):
            assert lines.count(line) == 1
        assert {f"{name}: {value}" for name, value in asked} <= set(lines)
        assert [line for line in lines if line.startswith(("sec-websocket-key: ", ":protocol", "transfer-encoding", "content-length"))] == [
            line for line in lines if line.startswith("sec-websocket-key: ")
        ]
        assert (answer.status, answer.has_ended) == (200, False)
        assert answer.get("sec-websocket-protocol") == "chat"
        assert answer.get("sec-websocket-extensions") == "permessage-deflate"
        assert answer.get("x-own") == "one"
        names = {name for name, _ in answer.fields}
        assert not names & {"sec-websocket-accept", "upgrade", "connection", "content-length", "transfer-encoding"}
        assert {value.partition("=")[0] for name, value in answer.fields if name == "set-cookie"} == {"AWSALB", "AWSALBCORS"}
        socket.send(HELLO)
        assert await socket.read_exactly(len(HELLO)) == HELLO
        (tunnel,) = gateway.load_balancer.tunnels
        assert (tunnel.protocol, tunnel.client.host, tunnel.group) == ("websocket", "127.0.0.1", "group")
        assert (tunnel.bytes_in, tunnel.bytes_out) == (len(HELLO), len(HELLO))


async def test_every_websocket_has_a_key_of_its_own() -> None:
    """A key that is used again would prove nothing."""
    async with target(accepting(echo)) as origin, running(origin.address) as gateway:
        client = await H2Client(await gateway.client()).start()
        for _ in range(3):
            socket = connect(client)
            await client.head(socket.stream)
        lines = [line for one in origin.conversations for line in one.received.split(b"\r\n")]
        keys = [line for line in lines if line.lower().startswith(b"sec-websocket-key")]
        assert len(set(keys)) == len(keys) == 3


async def test_connection_is_counted_once_however_many_tunnels_it_carries() -> None:
    """The place in the connection limit and the descriptor stay with the connection; a tunnel adds its target's."""
    async with target(accepting(echo)) as origin, running(origin.address) as gateway:
        limiter = gateway.load_balancer.listeners[0].listener_runtime.limiter
        client = await H2Client(await gateway.client()).start()
        sockets = [connect(client) for _ in range(3)]
        for socket in sockets:
            assert (await client.head(socket.stream)).status == 200
        assert (limiter.count, gateway.counters["ActiveConnectionCount"], gateway.counters["ActiveTunnelCount"]) == (1, 4, 3)
        assert gateway.runtime.tunnel_connections == 3
        for number, socket in enumerate(sockets, 1):
            socket.send_fin()
            assert await socket.read() == b""
            async with asyncio.timeout(5):
                while len(gateway.runtime.tunnels) != 3 - number:
                    await asyncio.sleep(0)
            assert (limiter.count, gateway.counters["ActiveConnectionCount"]) == (1, 4 - number)
        assert gateway.runtime.tunnel_connections == 0
        await client.alive()


async def test_data_before_the_200_is_kept_and_delivered_first() -> None:
    """It is bounded by the window of the stream, which stays closed until the switch."""
    release = asyncio.Event()

    async def slow(conversation: Conversation) -> None:
        head = await conversation.head()
        await release.wait()
        conversation.send(switched(head))
        await echo(conversation)

    async with target(slow) as origin, running(origin.address, limits=alb.Limits(in_flight=16384)) as gateway:
        client = await H2Client(await gateway.client()).start()
        socket = connect(client)
        early = frame(BINARY, bytes(16384 - 8))
        await socket.send_all(early)
        await origin.arrived()
        await client.alive()
        assert not [one for one in client.frames if type(one).__name__ == "WindowUpdateFrame" and one.stream_id == socket.stream]
        release.set()
        await socket.send_all(HELLO)
        assert await socket.read_exactly(len(early) + len(HELLO)) == early + HELLO
        (tunnel,) = gateway.load_balancer.tunnels
        assert tunnel.bytes_in == len(early) + len(HELLO)


async def test_end_of_stream_before_the_200_is_a_half_close() -> None:
    """The target gets what came, then FIN, and may still send."""

    async def answer_all(conversation: Conversation) -> None:
        received = await conversation.read_to_end()
        conversation.send(received)

    async with target(accepting(answer_all)) as origin, running(origin.address) as gateway:
        client = await H2Client(await gateway.client()).start()
        socket = connect(client)
        socket.send(HELLO)
        socket.send_fin()
        assert await socket.read_to_end() == HELLO
        await gone(gateway)


# No switch.


async def test_refusal_is_an_ordinary_response_on_the_stream() -> None:
    """With its status and its body; no tunnel is left, and the connection serves other requests."""
    async with target(None, response(403, b"not you", b"X-Why: because")) as origin, running(origin.address) as gateway:
        client = await H2Client(await gateway.client()).start()
        socket = connect(client)
        answer = await client.answer(socket.stream)
        assert (answer.status, answer.body, answer.get("x-why")) == (403, b"not you", "because")
        assert (await client.get("/")).status == 403
        assert gateway.counters["RequestCount"] == 2
        assert "TunnelCount" not in gateway.counters


@pytest.mark.parametrize("status", [200, 204, 206])
async def test_2xx_without_a_switch_is_502(status: int) -> None:
    """To the client it would look like the switch."""
    async with target(None, b"HTTP/1.1 %d Reason\r\nContent-Length: 0\r\n\r\n" % status) as origin, running(origin.address) as gateway:
        client = await H2Client(await gateway.client()).start()
        answer = await client.answer(connect(client).stream)
        assert answer.status == 502
        assert gateway.counters["Failure_ResponseNotSwitched"] == 1


@pytest.mark.parametrize("kind", ["fixed", "hook"])
async def test_2xx_of_the_load_balancer_itself_is_502(kind: str) -> None:
    """From a fixed response as from a hook."""

    async def hook(_: alb.Request) -> alb.Response:
        return alb.Response(200, body=b"welcome")

    hooks = [hook] if kind == "hook" else []
    rules = [alb.Rule(1, alb.PathPattern("/*"), alb.FixedResponse(200, "welcome"))] if kind == "fixed" else []
    async with target(None) as origin, running(origin.address, rules=rules, hooks=hooks) as gateway:
        client = await H2Client(await gateway.client()).start()
        assert (await client.answer(connect(client).stream)).status == 502
        assert gateway.counters["Failure_ResponseNotSwitched"] == 1


@pytest.mark.parametrize("accept", [b"", b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", b"Sec-WebSocket-Accept: \r\n"])
async def test_101_without_the_right_accept_is_502(accept: bytes) -> None:
    """The client cannot check it, so the load balancer does. The target connection is closed."""
    answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%b\r\n" % accept

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(answer)
        assert await conversation.is_closed()

    async with target(script) as origin, running(origin.address) as gateway:
        client = await H2Client(await gateway.client()).start()
        assert (await client.answer(connect(client).stream)).status == 502
        await (await origin.arrived()).over.wait()
        assert gateway.counters["Failure_ResponseMalformed"] == 1


async def test_switched_off_nothing_is_announced_and_extended_connect_is_an_error_of_the_stream() -> None:
    """`http2_websocket=False`: the rest of HTTP/2 works."""
    async with target(None) as origin:
        group = alb.TargetGroup("group", [origin.address])
        listener = alb.Listener(0, [alb.Forward(group)], host="127.0.0.1", http2_websocket=False)
        async with alb.LoadBalancer(listener, stop_timeout=0.2) as load_balancer:
            gateway = Running(load_balancer)
            client = await H2Client(await gateway.client()).start()
            assert ENABLE_CONNECT_PROTOCOL not in client.their_settings
            assert await client.reset(connect(client).stream) == PROTOCOL_ERROR
            assert (await client.get("/")).status == 200
            await client.close()
        assert len(origin.heads) == 1


async def test_group_that_has_its_tunnels_answers_503_on_the_stream() -> None:
    """`max_tunnels` counts tunnels of streams as any other."""
    policy = alb.TunnelPolicy(max_tunnels=2)
    async with target(accepting(echo)) as origin, running(origin.address, tunnel=policy) as gateway:
        client = await H2Client(await gateway.client()).start()
        statuses = [(await client.head(connect(client).stream)).status for _ in range(3)]
        assert statuses == [200, 200, 503]
        assert (await client.head(1)).status == 200
        client.send(data(1, b"", end=True))
        await client.answer(1)
        await until(lambda: len(gateway.runtime.tunnels) == 1)
        assert (await client.head(connect(client).stream)).status == 200


async def test_client_that_leaves_before_the_switch_leaves_nothing() -> None:
    """RST_STREAM while the target thinks."""
    async with target(holding) as origin, running(origin.address) as gateway:
        client = await H2Client(await gateway.client()).start()
        socket = connect(client)
        await origin.arrived()
        socket.reset()
        await until(lambda: gateway.counters.get("Failure_ClientClosed") == 1)
        await client.alive()


# Bytes.


def _digest(data_: bytes) -> str:
    return hashlib.sha256(data_).hexdigest()


async def test_large_compressed_messages_pass_both_ways() -> None:
    """A server and a client of the websockets package agree on permessage-deflate and a subprotocol, through 8 MiB each way."""
    message = b"".join(hashlib.sha256(bytes([n & 255, n >> 8])).digest() * 4 for n in range(MIB // 16))

    async def handler(connection: ServerConnection) -> None:
        assert connection.subprotocol == "chat"
        async for received in connection:
            await connection.send(received)

    factory = ClientPerMessageDeflateFactory()
    async with serve(handler, "127.0.0.1", 0, subprotocols=["chat"], max_size=None) as server:  # type: ignore[list-item]
        port = next(iter(server.sockets)).getsockname()[1]
        async with running(f"127.0.0.1:{port}") as gateway:
            offer = "permessage-deflate; client_max_window_bits"
            socket = await opened(gateway, ("sec-websocket-protocol", "chat"), ("sec-websocket-extensions", offer))
            accepted = socket.answer.get("sec-websocket-extensions")
            assert accepted is not None
            assert accepted.startswith("permessage-deflate")
            parameters = [(name.strip(), value.strip() or None) for name, _, value in (p.partition("=") for p in accepted.split(";")[1:])]
            extension = factory.process_response_params(parameters, [])
            protocol = Protocol(Side.CLIENT, state=State.OPEN, max_size=None)
            protocol.extensions = [extension]
            for _ in range(2):
                protocol.send_binary(message)
                (sent,) = protocol.data_to_send()
                await socket.send_all(sent)
                received = None
                while received is None:
                    protocol.receive_data(await socket.read())
                    received = next((one for one in protocol.events_received() if isinstance(one, Frame)), None)
                assert received.opcode is Opcode.BINARY
                assert _digest(bytes(received.data)) == _digest(message)


async def test_slow_client_stops_its_target_and_nothing_else() -> None:
    """A client that opens no window for a stream holds up no other stream. What waits is bounded, and counted in no other stream."""
    sent = 0

    async def flooding(conversation: Conversation) -> None:
        nonlocal sent
        while True:
            conversation.send(frame(BINARY, bytes(65536), mask=False))
            await conversation.drain()
            sent += 65536

    async def script(conversation: Conversation) -> None:
        head = await conversation.head()
        if b"/flood" in head:
            conversation.send(switched(head))
            await flooding(conversation)
        elif b"/ws" in head:
            conversation.send(switched(head))
            await echo(conversation)
        else:
            conversation.send(response())

    async with target(script) as origin, running(origin.address, limits=alb.Limits(in_flight=65536)) as gateway:
        # The connection has more window than the stream.
        client = await H2Client(await gateway.client(), generous=False).start()
        client.send(b"\0\0\4\x08\0\0\0\0\0" + (MIB).to_bytes(4, "big"))
        flood = connect(client, "/flood")
        other = connect(client, "/ws")
        assert (await client.head(other.stream)).status == 200
        before = -1
        async with asyncio.timeout(20):
            while before != sent:
                before = sent
                for _ in range(20):
                    other.send(HELLO)
                    assert await other.read_exactly(len(HELLO)) == HELLO
        assert (await client.get("/")).status == 200
        assert len(flood.answer.body) == 65535
        (tunnel, _) = gateway.load_balancer.tunnels
        # In the load balancer: what was read before it was paused. uvloop reads 256 KiB at once.
        assert 0 < gateway.runtime.http2_buffers.total < 512 * 1024
        assert tunnel.bytes_out - 65535 == gateway.runtime.http2_buffers.total
        flood.reset()
        await until(lambda: len(gateway.runtime.tunnels) == 1)
        assert gateway.runtime.http2_buffers.total == 0


async def test_slow_target_stops_its_client_and_nothing_else() -> None:
    """The window of the stream is not opened again while the target does not read; the other streams have theirs."""
    reads = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        head = await conversation.head()
        if b"/slow" in head:
            conversation.writer.transport.pause_reading()  # type: ignore[attr-defined]
            conversation.send(switched(head))
            await reads.wait()
            conversation.writer.transport.resume_reading()  # type: ignore[attr-defined]
        else:
            conversation.send(switched(head))
        await echo(conversation)

    async with target(script) as origin, running(origin.address, limits=alb.Limits(in_flight=65536)) as gateway:
        client = await H2Client(await gateway.client()).start()
        slow, other = connect(client, "/slow"), connect(client)
        await client.head(slow.stream)
        await client.head(other.stream)
        piece = bytes(16384)
        client.windows[slow.stream] = 65536
        sent = 0
        # The sockets take some megabytes. Then no window comes any more, while the other stream still gets some.
        for _ in range(1000):
            if client.windows[slow.stream] < len(piece):
                for _ in range(20):
                    await other.send_all(HELLO)
                    assert await other.read_exactly(len(HELLO)) == HELLO
                if client.windows[slow.stream] < len(piece):
                    break
            await slow.send_all(piece)
            sent += len(piece)
        else:
            raise AssertionError(f"{sent} bytes were taken for a target that does not read")
        reads.set()
        left = sent
        while left:
            left -= len(await slow.read(left))


async def test_tiny_pieces_before_the_target_reads_cost_what_they_carry() -> None:
    """Thousands of DATA frames of one byte are kept as the bytes that they carry."""
    release = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        conversation.send(switched(await conversation.head()))
        await echo(conversation)

    async with target(script) as origin, running(origin.address) as gateway:
        socket = await opened(gateway)
        transport = next(iter(gateway.runtime.tunnels)).client_leg.transport  # type: ignore[attr-defined]
        assert isinstance(transport, StreamTransport)
        transport.pause_reading()
        for _ in range(5000):
            socket.send(b"x")
        await socket.client.alive()
        assert transport._kept == bytearray(b"x" * 5000)
        transport.resume_reading()
        assert await socket.read_exactly(5000) == b"x" * 5000
        release.set()


# Ends.


async def test_half_close_of_the_client_leaves_the_other_direction_open() -> None:
    """END_STREAM becomes FIN, and FIN becomes END_STREAM."""
    async with h2_ends() as both:
        both.socket.send_fin()
        assert await both.target.read() == b""
        both.target.send(ANSWER)
        assert await both.socket.read_exactly(len(ANSWER)) == ANSWER
        both.target.send_fin()
        assert await both.socket.read() == b""
        await gone(both.gateway)
        assert both.end is alb.TunnelEnd.CLIENT
        await both.socket.client.alive()


async def test_half_close_of_the_target_leaves_the_other_direction_open() -> None:
    """The client may go on after END_STREAM of the target."""
    async with h2_ends() as both:
        both.target.send(ANSWER)
        both.target.send_fin()
        assert await both.socket.read_to_end() == ANSWER
        both.socket.send(HELLO)
        assert await both.target.read_exactly(len(HELLO)) == HELLO
        both.socket.send_fin()
        assert await both.target.read() == b""
        await gone(both.gateway)
        assert both.end is alb.TunnelEnd.TARGET


@pytest.mark.parametrize("code", [CANCEL, NO_ERROR])
async def test_reset_by_the_client_resets_the_target(code: int) -> None:
    """RST_STREAM becomes RST, whatever its code."""
    async with h2_ends() as both:
        both.socket.send(HELLO)
        await both.target.read_exactly(len(HELLO))
        both.socket.reset(code)
        with pytest.raises(ConnectionResetError):
            await both.target.read()
        await gone(both.gateway)
        assert both.end is alb.TunnelEnd.CLIENT
        assert both.gateway.counters["Failure_TunnelResetByClient"] == 1
        await both.socket.client.alive()


async def test_reset_by_the_target_resets_the_stream() -> None:
    """RST becomes RST_STREAM with CANCEL. The connection of the client stays."""
    async with h2_ends() as both:
        both.target.reset()
        assert await both.socket.reset_code() == CANCEL
        await gone(both.gateway)
        assert both.end is alb.TunnelEnd.TARGET
        assert both.gateway.counters["Failure_TunnelResetByTarget"] == 1
        await both.socket.client.alive()


async def test_headers_on_a_tunnel_are_an_error_of_the_stream() -> None:
    """RFC 9113 section 8.5 allows only DATA. The target gets RST."""
    async with h2_ends() as both:
        both.socket.client.send(headers(both.socket.stream, both.socket.client.encoder.encode([("x-trailer", "1")]), end=True))
        assert await both.socket.reset_code() == PROTOCOL_ERROR
        with pytest.raises(ConnectionResetError):
            await both.target.read()
        await gone(both.gateway)


async def test_close_frames_pass_and_end_both_directions() -> None:
    """The usual end of a WebSocket: Close frames, then FIN of the target, then END_STREAM of the client."""
    async with h2_ends() as both:
        both.socket.send(closing(1000, "bye"))
        came = await read_frame(both.target)
        assert (came.code, came.reason) == (1000, "bye")
        both.target.send(closing(1000, mask=False))
        both.target.send_fin()
        assert (await read_frame(both.socket)).code == 1000
        assert await both.socket.read() == b""
        both.socket.send_fin()
        await gone(both.gateway)
        assert both.end is alb.TunnelEnd.CLIENT


async def test_program_closes_a_tunnel_with_a_code() -> None:
    """Both sides get the Close frame; the future is done when both have closed."""
    async with h2_ends() as both:
        closed = asyncio.ensure_future(both.tunnel.close(4000, "moved"))
        for peer, mask in ((both.socket, False), (both.target, True)):
            came = await read_frame(peer)
            assert (came.code, came.reason, came.mask) == (4000, "moved", mask)
            peer.send(closing(4000, mask=not mask))
            peer.send_fin()
        await closed
        assert both.end is alb.TunnelEnd.CLOSED
        assert not both.gateway.load_balancer.tunnels


async def test_side_that_ignores_the_close_frame_is_cut() -> None:
    """After two seconds the client gets RST_STREAM, and its connection stays."""
    async with h2_ends() as both:
        closed = asyncio.ensure_future(both.tunnel.close())
        assert (await read_frame(both.socket)).code == 1001
        both.later(2)
        assert await both.socket.reset_code() == CANCEL
        await closed
        await both.socket.client.alive()


async def test_silent_sides_are_pinged_and_a_dead_client_is_reset() -> None:
    """Pongs to our pings pass to nobody. A client that answers no ping gets RST_STREAM, its target Close 1011."""
    async with h2_ends(alb.TunnelPolicy(ping_interval=10, pong_timeout=5)) as both:
        both.later(10)
        for peer, mask in ((both.socket, False), (both.target, True)):
            ping = await read_frame(peer)
            assert (ping.opcode, ping.mask) == (PING, mask)
            peer.send(frame(PONG, ping.payload, mask=not mask))
        await both.settle()
        both.later(10)
        ping = await read_frame(both.target)
        both.target.send(frame(PONG, ping.payload, mask=False))
        assert (await read_frame(both.socket)).opcode == PING
        await both.settle()
        both.later(5)
        assert await both.socket.reset_code() == CANCEL
        assert (await read_frame(both.target)).code == 1011
        both.target.send_fin()
        await gone(both.gateway)
        assert both.end is alb.TunnelEnd.PONG_TIMEOUT
        assert both.gateway.counters["Failure_TunnelClientDead"] == 1


async def test_idle_and_old_tunnels_are_closed() -> None:
    """As over HTTP/1.1: Close 1001 after the idle timeout, and at `max_age`."""
    for policy, end in (
        (alb.TunnelPolicy(idle_timeout=30, ping_interval=None), alb.TunnelEnd.IDLE),
        (alb.TunnelPolicy(max_age=30), alb.TunnelEnd.MAX_AGE),
    ):
        async with h2_ends(policy) as both:
            both.later(29)
            assert both.end is None
            both.later(1)
            assert (await read_frame(both.socket)).code == 1001
            assert both.end is end


async def test_connection_with_an_idle_tunnel_is_not_idle() -> None:
    """The idle timeout of the client's connection does not end it while a tunnel is open on it."""
    async with h2_ends(alb.TunnelPolicy(idle_timeout=4000, ping_interval=None), idle_timeout=5) as both:
        for _ in range(20):
            both.later(4)
        both.socket.send(HELLO)
        assert await both.target.read_exactly(len(HELLO)) == HELLO


async def test_expired_connection_keeps_its_tunnels() -> None:
    """After `client_keep_alive` and one more request comes GOAWAY; the tunnel goes on, and the connection ends behind it."""
    async with h2_ends(alb.TunnelPolicy(idle_timeout=4000, ping_interval=None), client_keep_alive=60) as both:
        both.later(61)
        client = both.socket.client
        assert (await client.get("/")).status == 200
        await client.wait_for(GoAwayFrame)
        both.socket.send(HELLO)
        assert await both.target.read_exactly(len(HELLO)) == HELLO
        both.socket.send_fin()
        both.target.send_fin()
        await client.end()


async def test_drain_closes_the_tunnels_of_a_deregistered_target() -> None:
    """With the code of the policy; the connection of the client stays."""
    async with h2_ends(alb.TunnelPolicy(drain_code=1012, drain_spread=0, idle_timeout=4000, ping_interval=None)) as both:
        address = f"127.0.0.1:{both.target.writer.get_extra_info('sockname')[1]}"
        await both.gateway.load_balancer.deregister_targets("group", address)
        both.later(300)
        for peer, mask in ((both.socket, False), (both.target, True)):
            assert (await read_frame(peer)).code == 1012
            peer.send(closing(1012, mask=not mask))
            peer.send_fin()
        await gone(both.gateway)
        assert both.end is alb.TunnelEnd.DRAIN
        await both.socket.client.alive()


async def test_recheck_that_refuses_closes_the_tunnel() -> None:
    """Both sides get Close 1008."""
    allowed = True

    async def recheck(tunnel: alb.extensions.Tunnel) -> bool:
        assert tunnel.request.method == "GET"
        return allowed

    async with h2_ends(alb.TunnelPolicy(recheck=recheck, recheck_every=10)) as both:
        both.later(10)
        await asyncio.sleep(0)
        allowed = False
        both.later(10)
        assert (await read_frame(both.socket)).code == 1008
        assert (await read_frame(both.target)).code == 1008
        assert both.end is alb.TunnelEnd.RECHECK


async def test_large_message_is_refused() -> None:
    """`max_message_size`: Close 1009 to both, and nothing of the frame passes."""
    async with h2_ends(alb.TunnelPolicy(max_message_size=1000)) as both:
        both.socket.send(HELLO + frame(BINARY, bytes(2000)))
        assert await both.target.read_exactly(len(HELLO)) == HELLO
        assert (await read_frame(both.socket)).code == 1009
        assert (await read_frame(both.target)).code == 1009


async def test_stop_closes_tunnels_and_then_the_connection() -> None:
    """Each client gets GOAWAY and a Close frame. When the tunnels are over, FIN."""
    async with target(accepting(holding)) as origin, running(origin.address, stop_timeout=20) as gateway:
        socket = await opened(gateway)
        conversation = await origin.arrived()
        stopping = asyncio.ensure_future(gateway.load_balancer.stop())
        for peer, mask in ((socket, False), (conversation, True)):
            came = await read_frame(peer)
            assert (came.opcode, came.code) == (CLOSE, 1001)
            peer.send(closing(1001, mask=not mask))
            peer.send_fin()
        assert await socket.client.goaway() == NO_ERROR
        await stopping
        assert gateway.load_balancer.counters["TunnelEnd_Stop"] == 1


async def test_stop_cuts_tunnels_that_wait_for_a_window() -> None:
    """A client that reads nothing does not hold up the end."""

    async def flooding(conversation: Conversation) -> None:
        while True:
            conversation.send(bytes(65536))
            await conversation.drain()

    async with target(accepting(flooding)) as origin, running(origin.address, stop_timeout=0.2) as gateway:
        await opened(gateway, generous=False)
        await until(lambda: gateway.runtime.http2_buffers.total > 0)
        await gateway.load_balancer.stop()
        assert gateway.load_balancer.counters["ActiveTunnelCount"] == 0


@pytest.mark.parametrize("how", ["fin", "reset", "violation"])
async def test_lost_connection_of_the_client_ends_all_its_tunnels(how: str) -> None:
    """Without END_STREAM, each of the targets gets RST, because the tunnel was cut; nothing is left."""
    async with target(accepting(echo)) as origin, running(origin.address) as gateway:
        client = await H2Client(await gateway.client()).start()
        sockets = [connect(client) for _ in range(60)]
        for socket in sockets:
            assert (await client.head(socket.stream)).status == 200
        ended = sockets.pop()
        ended.send_fin()
        await client.alive()
        if how == "fin":
            await client.close()
        elif how == "reset":
            client.peer.reset()
        else:
            client.send(data(0, b"on stream 0"))
            assert await client.goaway() == PROTOCOL_ERROR
            await client.close()
        await gone(gateway)
        for conversation in origin.conversations:
            await conversation.over.wait()
        assert gateway.counters["Failure_TunnelResetByClient"] == 59
        assert gateway.counters["TunnelEnd_Client"] == 60
        await until(lambda: not gateway.runtime.clients)
        assert gateway.load_balancer.counters["ActiveConnectionCount"] == 0


async def test_reset_behind_a_close_frame_cuts_nothing_off() -> None:
    """Browsers send RST_STREAM when they are through: the target still gets what came before it, and FIN."""
    async with h2_ends() as both:
        both.socket.send(HELLO + closing(1000))
        both.socket.reset()
        assert await both.target.read_exactly(len(HELLO)) == HELLO
        assert (await read_frame(both.target)).code == 1000
        assert await both.target.read() == b""
        both.target.send_fin()
        await gone(both.gateway)
        assert "Failure_TunnelResetByClient" not in both.gateway.counters


async def test_half_close_works_over_tls() -> None:
    """ALPN chooses HTTP/2, and one stream ends while the connection goes on."""

    async def answer_all(conversation: Conversation) -> None:
        conversation.send(await conversation.read_to_end())

    async with target(accepting(answer_all)) as origin, secured(origin.address) as gateway:
        client = await H2Client(await gateway.secure(client_context(alpn=("h2",)))).start()
        for _ in range(2):
            socket = connect(client)
            assert (await client.head(socket.stream)).status == 200
            socket.send(HELLO)
            socket.send_fin()
            assert await socket.read_to_end() == HELLO
        await gone(gateway)


async def test_record_of_a_tunnel_says_what_the_client_got() -> None:
    """Heads and frames of both directions are counted, and the status is 200."""
    async with h2_ends() as both:
        record = both.tunnel.record  # type: ignore[attr-defined]
        assert (record.elb_status_code, record.target_status_code, record.protocol) == (200, 101, "HTTP/2")
        received, sent = record.received_bytes, record.sent_bytes
        assert received > 50
        assert sent > 9
        both.socket.send(HELLO)
        both.target.send(ANSWER)
        await both.settle()
        both.socket.send_fin()
        both.target.send_fin()
        await gone(both.gateway)
        assert (record.received_bytes, record.sent_bytes) == (received + len(HELLO), sent + len(ANSWER))


async def test_http1_client_still_gets_its_101() -> None:
    """On the same port."""
    async with target(accepting(echo)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        from tests.support.peers import request
        from tests.support.tunnels import UPGRADE

        client.send(request("GET", "/ws", *UPGRADE))
        answer = await client.response()
        assert answer.status == 101
        assert answer.get(b"sec-websocket-accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

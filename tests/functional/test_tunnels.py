"""Upgrade: what passes, what is refused, and the life of the tunnel behind a 101."""

from __future__ import annotations

import asyncio
import os

import pytest

import albkit as alb
from tests.support.gateway import running
from tests.support.peers import Conversation, request, response, target
from tests.support.tunnels import RAW_SWITCHED, SWITCHED, UPGRADE, echo, switching, upgraded


async def test_bytes_pass_both_ways_untouched() -> None:
    """A tunnel carries bytes, not messages."""
    async with target(switching(then=echo)) as origin, running(origin.address) as gateway:
        client = await upgraded(gateway)
        noise = os.urandom(300_000)
        client.send(noise)
        assert await client.read_exactly(len(noise)) == noise
        assert gateway.counters["ActiveTunnelCount"] == 1


async def test_handshake_fields_arrive_as_they_should() -> None:
    """Connection and Upgrade are rebuilt, Sec-WebSocket-* and Origin pass, X-Forwarded-* are added; the 101's own fields come back."""
    async with target(switching(then=echo)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        fields = (*UPGRADE, "Origin: http://a.example", "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate")
        client.send(request("GET", "/ws?room=1", *fields))
        answer = await client.response()
        assert answer.get(b"sec-websocket-accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert (answer.get(b"connection"), answer.get(b"upgrade")) == (b"Upgrade", b"websocket")
        head = origin.conversations[0].received
        for field in fields[1:]:
            assert field.encode() in head
        assert head.startswith(b"GET /ws?room=1 HTTP/1.1\r\n")
        assert head.count(b"Connection: Upgrade\r\n") == 1
        assert b"X-Forwarded-For: 127.0.0.1\r\n" in head
        assert b"X-Forwarded-Proto: http\r\n" in head


async def test_bytes_behind_the_request_wait_for_the_101() -> None:
    """What the client sends early reaches the target only when it has switched, first and in order."""
    release = asyncio.Event()
    early: list[bytes] = []

    async def gated(conversation: Conversation) -> None:
        await conversation.head()
        await release.wait()
        await asyncio.sleep(0.05)
        early.append(bytes(conversation.reader._buffer))  # type: ignore[attr-defined]
        conversation.send(SWITCHED)
        await echo(conversation)

    async with target(gated) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/ws", *UPGRADE) + b"first ")
        await origin.arrived()
        client.send(b"second ")
        await client.drain()
        release.set()
        assert (await client.response()).status == 101
        client.send(b"third")
        assert await client.read_exactly(18) == b"first second third"
        assert early == [b""]


async def test_bytes_behind_the_101_reach_the_client() -> None:
    """The target may speak in the same segment."""
    async with target(switching(SWITCHED + b"hello", then=echo)) as origin, running(origin.address) as gateway:
        client = await upgraded(gateway)
        assert await client.read_exactly(5) == b"hello"


@pytest.mark.parametrize("split", range(1, len(SWITCHED), 7))
async def test_101_in_two_segments_loses_nothing(split: int) -> None:
    """The end of the head is found wherever segments end."""

    async def parted(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(SWITCHED[:split])
        await conversation.drain()
        await asyncio.sleep(0.005)
        conversation.send(SWITCHED[split:] + b"tail")
        await echo(conversation)

    async with target(parted) as origin, running(origin.address) as gateway:
        client = await upgraded(gateway)
        assert await client.read_exactly(4) == b"tail"


@pytest.mark.parametrize("status", [200, 401, 403, 426, 503])
async def test_refused_upgrade_is_an_ordinary_response(status: int) -> None:
    """The connection goes on as HTTP."""
    async with target(None, response(status, b"no", b"Upgrade: websocket")) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/ws", *UPGRADE))
        answer = await client.response()
        assert (answer.status, answer.body) == (status, b"no")
        assert answer.get(b"upgrade") == (b"websocket" if status == 426 else None)
        assert answer.get(b"connection") == (b"Upgrade" if status == 426 else None)
        assert (await client.get()).status == status
        assert "TunnelCount" not in gateway.counters


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(SWITCHED.replace(b"Upgrade: websocket", b"Upgrade: other"), id="another-token"),
        pytest.param(SWITCHED.replace(b"Upgrade: websocket\r\n", b""), id="no-token"),
        pytest.param(SWITCHED.replace(b"Connection: Upgrade\r\n", b""), id="no-connection"),
    ],
)
async def test_101_to_something_else_is_a_502(answer: bytes) -> None:
    """The client must not be switched to what it did not ask for."""
    async with target(switching(answer, then=echo)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 502
        assert gateway.counters["Failure_ResponseUpgradeUnasked"] == 1


async def test_token_is_compared_without_case() -> None:
    """RFC 9110 section 7.8."""
    async with target(switching(SWITCHED.replace(b"websocket", b"WebSocket"), then=echo)) as origin, running(origin.address) as gateway:
        client = await upgraded(gateway)
        client.send(b"x")
        assert await client.read_exactly(1) == b"x"


async def test_any_protocol_of_a_list_may_be_chosen() -> None:
    """The target picks one; h2c is never offered to it."""
    answer = b"HTTP/1.1 101 Ok\r\nConnection: upgrade\r\nUpgrade: bar/2\r\n\r\n"
    async with target(switching(answer, then=echo)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: foo, h2c, bar/2", "HTTP2-Settings: AAA"))
        answer_head = await client.response()
        assert answer_head.get(b"upgrade") == b"bar/2"
        head = origin.conversations[0].received
        assert b"Upgrade: foo, bar/2\r\n" in head
        assert b"h2c" not in head
        assert b"HTTP2-Settings" not in head


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(request("GET", "/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAA"), id="h2c"),
        pytest.param(request("GET", "/", "Upgrade: websocket"), id="without-connection"),
        pytest.param(request("GET", "/", "Connection: Upgrade"), id="without-upgrade"),
        pytest.param(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", id="http-1.0"),
        pytest.param(request("POST", "/", *UPGRADE[:2], "Transfer-Encoding: chunked") + b"2\r\nhi\r\n0\r\n\r\n", id="with-a-chunked-body"),
    ],
)
async def test_what_is_no_upgrade_goes_on_without_its_fields(wire: bytes) -> None:
    """An ordinary request, with nothing that could be taken for an upgrade."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(wire)
        assert (await client.response()).status == 200
        assert b"pgrade" not in origin.heads[0]


async def test_classic_handshake_without_a_key_is_raw_bytes() -> None:
    """The first classic complaint: an absolute-form upgrade without a key, answered by a raw 101, echoes raw bytes."""
    answer = b"HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n"
    async with target(switching(answer, then=echo)) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(b"GET http://name/ HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nHost: name\r\n\r\n")
        head = await client.response()
        assert head.status_line == b"HTTP/1.1 101 Web Socket Protocol Handshake"
        client.send(b"raw bytes")
        assert await client.read_exactly(9) == b"raw bytes"
        assert origin.conversations[0].received.startswith(b"GET / HTTP/1.1\r\n")


async def test_target_that_closes_before_the_101_is_a_502() -> None:
    """No half-open tunnel."""

    async def closing(conversation: Conversation) -> None:
        await conversation.head()

    async with target(closing) as origin, running(origin.address) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 502


async def test_fin_of_the_client_is_passed_on_and_the_other_direction_goes_on() -> None:
    """Half-close: the target may still say what it has to say."""

    async def farewell(conversation: Conversation) -> None:
        received = await conversation.read_to_end()
        conversation.send(b"got " + received)

    async with target(switching(then=farewell)) as origin, running(origin.address) as gateway:
        client = await upgraded(gateway)
        client.send(b"last words")
        client.send_fin()
        assert await client.read_to_end() == b"got last words"


async def test_fin_of_the_target_is_passed_on_and_the_other_direction_goes_on() -> None:
    """The same the other way round."""
    heard: list[bytes] = []

    async def deaf(conversation: Conversation) -> None:
        conversation.send(b"bye")
        conversation.send_fin()
        heard.append(await conversation.read_to_end())

    async with target(switching(then=deaf)) as origin, running(origin.address) as gateway:
        client = await upgraded(gateway)
        assert await client.read_to_end() == b"bye"
        client.send(b"still talking")
        client.send_fin()
        await (await origin.arrived()).over.wait()
        assert heard == [b"still talking"]


async def test_reset_of_the_client_resets_the_target() -> None:
    """A reset is passed on as one, and everything is released."""
    ended: list[type[BaseException]] = []

    async def listening(conversation: Conversation) -> None:
        try:
            await conversation.read_to_end()
        except ConnectionError as error:
            ended.append(type(error))

    async with target(switching(then=listening)) as origin, running(origin.address) as gateway:
        client = await upgraded(gateway)
        client.reset()
        await (await origin.arrived()).over.wait()
        assert ended == [ConnectionResetError]
        assert gateway.counters["Failure_TunnelResetByClient"] == 1


async def test_reset_of_the_target_resets_the_client() -> None:
    """The same the other way round."""

    async def resetting(conversation: Conversation) -> None:
        await conversation.read()
        conversation.reset()

    async with target(switching(then=resetting)) as origin, running(origin.address) as gateway:
        client = await upgraded(gateway)
        client.send(b"x")
        with pytest.raises(ConnectionResetError):
            await client.read_to_end()
        assert gateway.counters["Failure_TunnelResetByTarget"] == 1


async def test_slow_reader_holds_the_sender_back() -> None:
    """Back-pressure: what is in flight is bounded, and not a byte is lost once the reader reads."""
    total = 32 * 1024 * 1024
    sent = 0

    async def pouring(conversation: Conversation) -> None:
        nonlocal sent
        block = bytes(65536)
        while sent < total:
            conversation.send(block)
            await conversation.drain()
            sent += len(block)
        await conversation.read_to_end()

    async with target(switching(then=pouring)) as origin, running(origin.address) as gateway:
        client = await upgraded(gateway, slow=True)
        (tunnel,) = gateway.runtime.tunnels
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.1)
        assert 0 < sent < total
        unsent = tunnel.client_leg.transport.get_write_buffer_size()  # type: ignore[attr-defined]
        assert unsent <= 2 * 256 * 1024 + 65536
        received = 0
        while received < total:
            received += len(await client.reader.read(1 << 20))
        assert received == total


async def test_silent_tunnel_ends_after_the_idle_timeout() -> None:
    """Both sides see a FIN; the reason is in a counter."""
    async with target(switching(then=echo)) as origin, running(origin.address, idle_timeout=0.2) as gateway:
        client = await upgraded(gateway)
        for _ in range(8):
            client.send(b"x")
            assert await client.read_exactly(1) == b"x"
            await asyncio.sleep(0.05)
        assert await client.read_to_end() == b""
        await (await origin.arrived()).over.wait()
        async with asyncio.timeout(5):
            while gateway.runtime.tunnels:
                await asyncio.sleep(0)
        assert gateway.counters["Failure_TunnelIdle"] == 1


async def test_silent_half_of_a_tunnel_does_not_live_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """After one FIN the other direction ends after some silence."""
    monkeypatch.setattr("albkit.proxy.tunnel.tunnel.HALF_CLOSE_SILENCE", 0.2)

    async def stubborn(conversation: Conversation) -> None:
        await conversation.read_to_end()
        await conversation.reader.read()
        await asyncio.Event().wait()

    async with target(switching(then=stubborn)) as origin, running(origin.address, idle_timeout=0.9) as gateway:
        client = await upgraded(gateway)
        client.send_fin()
        assert await client.read_to_end() == b""
        async with asyncio.timeout(3):
            while gateway.runtime.tunnels:
                await asyncio.sleep(0.02)


async def test_tunnel_counts_as_outstanding_while_it_lives() -> None:
    """And is released once, whoever ends it."""
    async with target(switching(then=echo)) as origin, running(origin.address) as gateway:
        (state,) = gateway.runtime.registry.groups
        client = await upgraded(gateway)
        assert next(iter(state.members.values())).outstanding == 1
        client.send_fin()
        assert await client.read_to_end() == b""
        while gateway.runtime.tunnels:
            await asyncio.sleep(0)
        assert next(iter(state.members.values())).outstanding == 0
        assert gateway.counters["TunnelCount"] == 1


async def test_stop_ends_tunnels_within_the_stop_timeout() -> None:
    """Where no frames are followed: FIN to both, then the cut."""
    async with target(switching(RAW_SWITCHED, then=echo)) as origin, running(origin.address, stop_timeout=1) as gateway:
        client = await upgraded(gateway)
        stopping = asyncio.ensure_future(gateway.load_balancer.stop())
        assert await client.read_to_end() == b""
        await client.close()
        await stopping


async def test_stickiness_cookie_rides_on_the_101() -> None:
    """Otherwise the next request of the page goes elsewhere."""
    async with target(switching(then=echo)) as origin, running(origin.address, stickiness=alb.LbCookie()) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/ws", *UPGRADE))
        cookies = (await client.response()).all(b"set-cookie")
        assert [cookie.split(b"=")[0] for cookie in cookies] == [b"AWSALB", b"AWSALBCORS"]

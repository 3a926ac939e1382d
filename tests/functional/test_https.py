"""HTTPS listeners: real TLS clients on real sockets, from the handshake to the end of a tunnel."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from albkit.model.limits import Limits
from tests.functional.test_checklist import Source, assert_held_back, count_to_end, narrow, speed_up
from tests.support.balancing import balancing, listener
from tests.support.clock import FakeClock
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, closing, frame, read_frame
from tests.support.log_lines import failures
from tests.support.peers import HEAD_END, Conversation, RawClient, Response, request, response, target
from tests.support.secure import (
    SecureClient,
    Secured,
    certificate,
    client_context,
    echo_bodies,
    https,
    issued,
    own_name,
    program,
    secure_target,
    secured,
    securing,
    until,
)
from tests.support.tunnels import RAW_SWITCHED, SWITCHED, UPGRADE, echo, holding, switching

MIB = 1024 * 1024
VERSIONS = ("TLSv1.2", "TLSv1.3")
by_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    """A hang is a failure with a place."""
    async with asyncio.timeout(40):
        yield


def fields_of(head: bytes) -> dict[bytes, list[bytes]]:
    """The fields of a request head by name, in lower case."""
    fields: dict[bytes, list[bytes]] = {}
    for line in head.split(b"\r\n")[1:]:
        if line:
            name, _, value = line.partition(b":")
            fields.setdefault(name.lower(), []).append(value.strip())
    return fields


# Requests and responses.


@by_version
async def test_requests_are_served_one_after_the_other(version: str) -> None:
    """GET and POST on one connection, which stays; the handshake was one."""
    async with target() as origin, secured(origin.address) as it:
        client = await it.secure(client_context(version))
        assert client.tls.version() == version
        for _ in range(3):
            assert (await client.get()).body == b"ok"
        client.send(request("POST", "/", "Content-Length: 5", body=b"hello"))
        assert (await client.response()).status == 200
        assert it.counters["NewConnectionCount"] == 2
        assert len(origin.conversations) == 1


async def test_standard_library_client_that_verifies_is_content() -> None:
    """asyncio's own TLS, with the name checked against our chain."""
    async with target() as origin, secured(origin.address) as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port, ssl=client_context(verify=True), server_hostname="example.com")
        writer.write(request("GET", "/", "Connection: close"))
        data = await reader.read()
        assert data.startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()


@by_version
async def test_pipelined_requests_are_answered_in_their_order(version: str) -> None:
    """In one record, and in one record for each byte."""
    async with target(echo_bodies) as origin, secured(origin.address) as it:
        client = await it.secure(client_context(version))
        three = b"".join(request("POST", "/", "Content-Length: 1", body=b"%d" % number) for number in range(3))
        client.send(three)
        assert [(await client.response()).body for _ in range(3)] == [b"0", b"1", b"2"]
        for byte in three:
            client.send(bytes([byte]))
        assert [(await client.response()).body for _ in range(3)] == [b"0", b"1", b"2"]


async def test_chunked_bodies_pass_both_ways() -> None:
    """With trailers."""

    async def script(conversation: Conversation) -> None:
        _, body = await conversation.request()
        conversation.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 1000):
            piece = body[start : start + 1000]
            conversation.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        conversation.send(b"0\r\nX-Sum: 1\r\n\r\n")

    data = b"0123456789" * 1000
    async with target(script) as origin, secured(origin.address) as it:
        client = await it.secure()
        client.send(request("POST", "/", "Transfer-Encoding: chunked"))
        for start in range(0, len(data), 300):
            client.send(b"%x\r\n%b\r\n" % (len(data[start : start + 300]), data[start : start + 300]))
        client.send(b"0\r\n\r\n")
        answer = await client.response()
        assert answer.body == data
        assert answer.trailers == [b"X-Sum: 1"]


@by_version
@pytest.mark.parametrize("behind", ["plain", "secure"])
async def test_large_bodies_arrive_whole(tmp_path: Path, behind: str, version: str) -> None:
    """1 MiB down and 4 MiB up, to targets that speak TLS themselves and to others."""
    down, up = b"0123456789abcdef" * (MIB // 16), b"fedcba9876543210" * (MIB // 4)
    bodies: list[bytes] = []

    async def script(conversation: Conversation) -> None:
        while True:
            _, body = await conversation.request()
            bodies.append(body)
            conversation.send(response(200, down))
            await conversation.drain()

    async with contextlib.AsyncExitStack() as stack:
        origin: Any = await stack.enter_async_context(target(script) if behind == "plain" else secure_target(tmp_path, script))
        it = await stack.enter_async_context(secured(origin.address))
        client = await it.secure(client_context(version))
        client.send(request("POST", "/", f"Content-Length: {len(up)}"))
        for start in range(0, len(up), 100_000):
            client.send(up[start : start + 100_000])
            await client.drain()
        assert (await client.response()).body == down
        assert bodies == [up]
        assert (await client.get()).body == down


async def test_slow_reader_of_a_large_response_holds_the_target_back() -> None:
    """The target can push no more than the sockets hold; others are served; the memory is bounded; then all of it arrives."""
    source = Source(32 * MIB)

    async def script(conversation: Conversation) -> None:
        while True:
            head = await conversation.head()
            if b" /other " in head:
                conversation.send(response())
            else:
                await source.push(conversation, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % source.size)

    async with target(script) as origin, secured(origin.address, limits=Limits(in_flight=64 * 1024)) as it:
        client = await it.client(slow=True)
        assert (await client.get("/other")).status == 200
        narrow(it)
        client.send(request("GET", "/large"))
        await client.read_until(HEAD_END)
        await assert_held_back(it, source)
        speed_up(client)
        taken = 0
        while taken < source.size:
            data = await client.read(MIB)
            client.received = b""
            assert data[0] == b"0123456789abcdef"[taken % 16]
            taken += len(data)
        assert taken == source.size
        assert (await client.get("/other")).status == 200
        assert it.failures == {}


async def test_large_upload_to_a_slow_target_holds_the_client_back() -> None:
    """The client can push no more than the sockets hold until the target reads; then all of it arrives."""
    source = Source(32 * MIB)
    reading = asyncio.Event()
    arrived: asyncio.Queue[int] = asyncio.Queue()

    async def script(conversation: Conversation) -> None:
        while True:
            head = await conversation.head()
            if b" /large " in head:
                transport = conversation.writer.transport
                transport.pause_reading()  # type: ignore[attr-defined]
                await reading.wait()
                transport.resume_reading()  # type: ignore[attr-defined]
                conversation.received = b""
                arrived.put_nowait(await count_to_end(conversation, source.size))
            conversation.send(response())

    async with target(script) as origin, secured(origin.address, limits=Limits(in_flight=64 * 1024)) as it:
        client = await it.client()
        client.send(request("POST", "/large", f"Content-Length: {source.size}"))
        pushing = asyncio.create_task(source.push(client))
        await origin.arrived()
        await assert_held_back(it, source)
        reading.set()
        assert await arrived.get() == source.size
        await pushing
        assert (await client.response()).status == 200
        assert it.failures == {}


# What targets, hooks and URLs are told.


async def test_targets_are_told_how_the_client_came() -> None:
    """X-Forwarded-Proto and X-Forwarded-Port; nothing of TLS unless asked for."""
    async with target() as origin, secured(origin.address) as it:
        await (await it.secure()).get()
        fields = fields_of(origin.heads[0])
        assert fields[b"x-forwarded-proto"] == [b"https"]
        assert fields[b"x-forwarded-port"] == [b"%d" % it.port]
        assert fields[b"x-forwarded-for"] == [b"127.0.0.1"]
        assert not [name for name in fields if name.startswith(b"x-amzn-tls")]


@by_version
async def test_version_and_cipher_are_told_where_asked_for(version: str) -> None:
    """In OpenSSL's names, as ALB has them."""
    async with target() as origin, secured(origin.address, x_amzn_tls_version_and_cipher_suite=True) as it:
        client = await it.secure(client_context(version))
        await client.get()
        fields = fields_of(origin.heads[0])
        assert fields[b"x-amzn-tls-version"] == [version.encode()]
        assert fields[b"x-amzn-tls-cipher-suite"] == [client.tls.cipher()[0].encode()]


FORGED = (
    "X-Amzn-Tls-Version: forged",
    "x-amzn-tls-cipher-suite: forged",
    "X-AMZN-TLS-ANYTHING: forged",
    "X_Amzn_Tls_Version: forged",
    "X-Amzn_Tls-Cipher_Suite: forged",
    "X-Amzn-Mtls-Clientcert: forged",
    "X-Amzn-Mtls-Clientcert-Leaf: forged",
    "x-amzn-MTLS-Clientcert-Subject: forged",
    "X_AMZN_MTLS_CLIENTCERT_ISSUER: forged",
    "X-Amzn-Mtls-Clientcert-Serial-Number: forged",
    "X-Amzn-Mtls-Clientcert-Validity: forged",
    "X-Client-Leaf: forged",
    "X_Client_Leaf: forged",
)


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("told", [True, False])
async def test_fields_that_tell_of_tls_cannot_be_forged(secure: bool, told: bool) -> None:
    """By no spelling that a target may take for the same; on HTTP listeners, where nothing is told, as well."""
    async with contextlib.AsyncExitStack() as stack:
        origin = await stack.enter_async_context(target())
        group = alb.TargetGroup("group", origin.address)
        names = {"X-Amzn-Mtls-Clientcert-Leaf": "X-Client-Leaf"}
        door = https(alb.Forward(group), request_header_names=names) if secure else listener(alb.Forward(group))
        forged = FORGED if secure else FORGED[:-2]
        it: Any = await stack.enter_async_context(
            (securing if secure else balancing)(door, x_amzn_tls_version_and_cipher_suite=told)  # type: ignore[operator]
        )
        client = await it.client()
        client.send(request("GET", "/", *forged))
        status = (await client.response()).status
        assert status == 200
        assert b"forged" not in origin.heads[0]
        client.send(request("POST", "/", *forged, "Transfer-Encoding: chunked", body=b"0\r\n\r\n"))
        assert (await client.response()).status == 200
        assert b"forged" not in origin.heads[1]


async def test_fields_go_by_the_names_that_were_given() -> None:
    """Under their other names, and not under their own."""
    names = {"x-amzn-tls-version": "X-Tls-Version", "X-Amzn-Tls-Cipher-Suite": "X-Tls-Cipher"}
    settings = {"request_header_names": names, "x_amzn_tls_version_and_cipher_suite": True}
    async with target() as origin, secured(origin.address, **settings) as it:
        client = await it.secure(client_context("TLSv1.3"))
        client.send(request("GET", "/", "X-Tls-Version: forged", "x_tls_cipher: forged", "X-Amzn-Tls-Version: forged"))
        assert (await client.response()).status == 200
        fields = fields_of(origin.heads[0])
        assert fields[b"x-tls-version"] == [b"TLSv1.3"]
        assert fields[b"x-tls-cipher"] == [client.tls.cipher()[0].encode()]
        assert not [name for name in fields if b"amzn-tls" in name]
        assert b"forged" not in origin.heads[0]


@by_version
async def test_hooks_see_the_session(version: str) -> None:
    """`request.client.tls`: what was agreed on, whom the client has asked for, and which certificate it was shown."""
    seen: list[Any] = []

    async def hook(it: alb.Request) -> None:
        seen.append(it.client.tls)

    async with target() as origin, secured(origin.address, hooks=[hook]) as it:
        client = await it.secure(client_context(version, alpn=("http/1.1",)), name="Example.COM")
        await client.get()
        await (await it.secure(client_context(version), name=None)).get()
        named, nameless = seen
        assert (named.version, named.cipher) == (version, client.tls.cipher()[0])
        assert (named.server_name, named.alpn) == ("example.com", "http/1.1")
        assert (nameless.server_name, nameless.alpn) == ("", "")
        assert named.certificate.endswith(hashlib.sha256(ssl.PEM_cert_to_DER_cert(issued().leaf_pem.decode())).hexdigest())
        assert named.client_certificate is None
        assert named.verify_status == ""


async def test_explain_takes_urls_of_https() -> None:
    """The listener is found by the port of the URL; its own `url` tells how it is reached."""
    async with target() as origin, secured(origin.address) as it:
        assert it.load_balancer.listeners[0].url == f"https://127.0.0.1:{it.port}"
        told = it.load_balancer.explain("GET", f"https://example.com:{it.port}/path")
        assert (told.group, str(told.target)) == ("group", origin.address)


# Redirects and cookies.


async def test_http_goes_to_https_in_one_line() -> None:
    """`Redirect(protocol="HTTPS", port=443)`."""
    async with balancing(listener(alb.Redirect(protocol="HTTPS", port=443))) as it:
        answer = await (await it.client()).get("/a?b=c")
        assert answer.status in (301, 302)
        assert answer.get(b"location") in (b"https://example.com:443/a?b=c", b"https://example.com/a?b=c")


async def test_redirect_of_https_stays_https() -> None:
    """`#{protocol}` is the listener's, and so is the port."""
    async with securing(https(alb.Redirect(path="/new"))) as it:
        answer = await (await it.secure()).get("/a?b=c")
        assert answer.get(b"location") == b"https://example.com:%d/new?b=c" % it.port


@pytest.mark.parametrize("secure", [True, False])
async def test_cookies_for_other_sites_are_secure_over_tls_alone(secure: bool) -> None:
    """AWSALBCORS and AWSALBTGCORS: `SameSite=None` needs `Secure`, which a client without TLS would throw away."""
    async with contextlib.AsyncExitStack() as stack:
        origin = await stack.enter_async_context(target())
        group = alb.TargetGroup("group", origin.address, stickiness=alb.LbCookie())
        forward = alb.Forward(group, stickiness=60)
        door = https(forward) if secure else listener(forward)
        it: Any = await stack.enter_async_context((securing if secure else balancing)(door))  # type: ignore[operator]
        cookies = {one.partition(b"=")[0]: one for one in (await (await it.client()).get()).all(b"set-cookie")}
        assert set(cookies) == {b"AWSALB", b"AWSALBCORS", b"AWSALBTG", b"AWSALBTGCORS"}
        for name, cookie in cookies.items():
            assert (b"; Secure" in cookie) == (secure and name.endswith(b"CORS")), cookie


# Upgrades.


async def test_websocket_passes_both_ways_over_tls() -> None:
    """Frames of every size, one in parts, a ping of each side; who closes is told goodbye."""

    async def then(conversation: Conversation) -> None:
        while (it := await read_frame(conversation)).opcode != CLOSE:
            conversation.send(frame(PONG if it.opcode == PING else it.opcode, it.payload, mask=False, fin=it.fin))
        conversation.send(frame(PING, b"there?", mask=False))
        assert (await read_frame(conversation)).payload == b"there?"
        conversation.send(closing(it.code, mask=False))

    async with target(switching(SWITCHED, then=then)) as origin, secured(origin.address) as it:
        client = await it.secure()
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 101
        for size in (0, 1, 125, 126, 65_535, 65_536, 300_000):
            data = bytes(index % 251 for index in range(size))
            client.send(frame(BINARY, data))
            assert (await read_frame(client)).payload == data
        for opcode, fin in ((TEXT, False), (PING, True), (CONTINUATION, True)):
            client.send(frame(opcode, b"part", fin=fin))
            back = await read_frame(client)
            assert (back.opcode, back.fin) == (PONG if opcode == PING else opcode, fin)
        (tunnel,) = it.load_balancer.tunnels
        assert tunnel.client.tls is not None
        client.send(closing(1000))
        ping = await read_frame(client)
        client.send(frame(PONG, ping.payload))
        assert (await read_frame(client)).code == 1000
        assert await client.read_to_end() == b""
        assert client.was_told
        client.send_fin()
        await until(lambda: not it.runtime.tunnels)


def both_have_answered(tunnel: alb.Tunnel, client: int, conversation: int) -> bool:
    """Whether all that the two ends have sent behind the 101 has come."""
    return tunnel.bytes_in >= client and tunnel.bytes_out >= conversation


async def test_silent_websocket_is_pinged_over_tls() -> None:
    """The load balancer's own pings go to both sides, and a pong keeps the tunnel."""
    policy = alb.TunnelPolicy(idle_timeout=30, ping_interval=10, pong_timeout=5)
    clock = FakeClock()
    async with target(switching(SWITCHED, then=holding)) as origin, secured(origin.address, tunnel=policy, clock=clock) as it:
        client = await it.secure()
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 101
        conversation = await origin.arrived()
        sweep = it.runtime.sweep
        sent, answered = client.sent, conversation.sent
        for _ in range(5):
            sweep.look(clock.now)
            clock.advance(10)
            sweep.look(clock.now)
            for peer, mask in ((client, True), (conversation, False)):
                ping = await read_frame(peer)
                assert ping.opcode == PING
                peer.send(frame(PONG, ping.payload, mask=mask))
            (tunnel,) = it.load_balancer.tunnels
            await until(partial(both_have_answered, tunnel, client.sent - sent, conversation.sent - answered))
        assert len(it.load_balancer.tunnels) == 1


async def test_stop_closes_websockets_with_words_and_a_goodbye() -> None:
    """A Close frame, then close_notify: the client knows that nothing was cut off."""
    async with target(switching(SWITCHED, then=echo)) as origin, secured(origin.address) as it:
        client = await it.secure()
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 101
        stopping = asyncio.create_task(it.load_balancer.stop())
        frame = await client.read_exactly(4)
        assert frame[0] == 0x88
        assert int.from_bytes(frame[2:4]) == 1001
        client.send(b"\x88\x82\0\0\0\0\x03\xe9")
        client.send_fin()
        await client.read_to_end()
        assert client.was_told
        await stopping


@by_version
async def test_half_close_of_the_client_passes_and_the_target_may_go_on(version: str) -> None:
    """close_notify is a FIN for the target, and what it sends then still arrives; its FIN is a close_notify again."""
    heard = asyncio.Event()

    async def then(conversation: Conversation) -> None:
        assert await conversation.read_to_end() == b"question"
        conversation.send(b"answer" * 10_000)
        await conversation.drain()
        heard.set()

    async with target(switching(RAW_SWITCHED, then=then)) as origin, secured(origin.address) as it:
        client = await it.secure(client_context(version))
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 101
        client.send(b"question")
        client.send_fin()
        await heard.wait()
        assert await client.read_to_end() == b"answer" * 10_000
        assert client.was_told


@by_version
async def test_half_close_of_the_target_passes_and_the_client_may_go_on(version: str) -> None:
    """FIN is a close_notify for the client, and what it sends then still arrives."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def then(conversation: Conversation) -> None:
        conversation.send(b"statement")
        conversation.send_fin()
        heard.put_nowait(await conversation.read_to_end())

    async with target(switching(RAW_SWITCHED, then=then)) as origin, secured(origin.address) as it:
        client = await it.secure(client_context(version))
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 101
        assert await client.read_to_end() == b"statement"
        assert client.was_told
        client.send(b"reply" * 50_000)
        client.send_fin()
        assert await heard.get() == b"reply" * 50_000


@pytest.mark.parametrize("who", ["client", "target"])
async def test_reset_of_one_side_reaches_the_other(who: str) -> None:
    """The client is cut without a goodbye, so that it takes nothing for whole; the target is reset."""
    async with target(switching(RAW_SWITCHED, then=holding)) as origin, secured(origin.address) as it:
        client = await it.secure()
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 101
        conversation = await origin.arrived()
        if who == "client":
            client.reset()
            with contextlib.suppress(ConnectionError):
                assert await conversation.read() == b""
        else:
            conversation.reset()
            with contextlib.suppress(ConnectionError):
                await client.read_to_end()
            assert not client.was_told
        await until(lambda: not it.runtime.tunnels)
        assert it.failures == {f"TunnelResetBy{who.capitalize()}": 1}


# Ends.


async def test_early_answer_to_a_large_upload_is_not_lost_by_a_reset() -> None:
    """The client is still sending when the answer comes; it reads all of it, and a close_notify behind."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(response(413, b"too large" * 1000, b"Connection: close"))
        await holding(conversation)

    async with target(script) as origin, secured(origin.address) as it:
        client = await it.client()
        client.send(request("POST", "/", f"Content-Length: {64 * MIB}"))
        answered = asyncio.create_task(client.response())
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                if answered.done():
                    break
                client.send(bytes(64 * 1024))
                await client.drain()
        answer = await answered
        assert (answer.status, answer.body) == (413, b"too large" * 1000)
        client.writer.write_eof()
        assert await client.read_to_end() == b""
        assert client.was_told  # type: ignore[attr-defined]


@pytest.mark.parametrize("goodbye", [True, False])
@by_version
async def test_answer_reaches_a_client_that_has_said_all(version: str, goodbye: bool) -> None:
    """FIN behind the request, with a close_notify before it or not: as on a plain connection, the client has left or gets its answer."""
    async with (
        target() as origin,
        secured(origin.address) as it,
        balancing(listener(alb.Forward(alb.TargetGroup("g", origin.address)))) as plain,
    ):
        both: list[Response | None] = []
        client = await it.secure(client_context(version))
        other = await plain.client()
        for one in (client, other):
            one.send(request("GET", "/"))
        client.send_fin() if goodbye else client.send_bare_fin()
        other.send_fin()
        for one in (client, other):
            try:
                both.append(await one.response())
            except (asyncio.IncompleteReadError, ConnectionError):
                both.append(None)
        assert [answer and answer.status for answer in both] in ([200, 200], [None, None])
        await client.is_closed()
        assert "InternalError" not in it.failures


@pytest.mark.parametrize("how", ["goodbye", "fin", "reset"])
async def test_client_that_leaves_in_mid_body_costs_its_request_alone(how: str) -> None:
    """The target's connection ends, nothing is left, and the next client is served."""

    async def script(conversation: Conversation) -> None:
        if b" /large " in await conversation.head():
            await conversation.read_to_end()
        else:
            conversation.send(response())
            await conversation.read_to_end()

    async with target(script) as origin, secured(origin.address) as it:
        client = await it.secure()
        client.send(request("POST", "/large", "Content-Length: 1000000", body=b"x" * 1000))
        conversation = await origin.arrived()
        if how == "goodbye":
            client.send_fin()
        elif how == "fin":
            client.send_bare_fin()
        else:
            client.reset()
        await conversation.over.wait()
        assert (await (await it.secure()).get()).status == 200


async def test_connection_close_ends_with_a_goodbye() -> None:
    """The client can tell that the body which ends with the connection is whole."""
    async with target(None, b"HTTP/1.1 200 OK\r\n\r\nwhole") as origin, secured(origin.address) as it:
        client = await it.secure()
        client.send(b"GET / HTTP/1.0\r\nHost: example.com\r\n\r\n")
        await origin.arrived()
        async with asyncio.timeout(5):
            while not origin.heads:
                await asyncio.sleep(0)
        await origin.close()
        assert (await client.read_to_end()).endswith(b"whole")
        assert client.was_told


async def test_response_cut_short_ends_without_a_goodbye() -> None:
    """RFC 8446 section 6.1: whoever gets no close_notify knows that something is missing."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")

    async with target(script) as origin, secured(origin.address) as it:
        client = await it.secure()
        client.send(b"GET / HTTP/1.0\r\nHost: example.com\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await client.read_to_end()
        assert not client.was_told


# What is no TLS, or is none in time.


async def test_plain_http_on_the_tls_port_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    """400 in the clear with a sentence, a line in the log, counted; the connection ends."""
    caplog.set_level(logging.INFO, "albkit")
    async with target() as origin, secured(origin.address) as it:
        client = await RawClient.connect(it.port)
        it.clients.append(client)
        client.send(request("GET", "/secret"))
        answer = await client.response()
        assert answer.status == 400
        assert b"plain HTTP request was sent to an HTTPS port" in answer.body
        assert await client.read_to_end() == b""
        await client.close()
        await until(lambda: not it.runtime.clients)
        assert it.failures == {"PlainHttpOnTlsPort": 1}
        assert it.counters["HTTPCode_ELB_4XX_Count"] == 1
        assert "ClientTLSNegotiationErrorCount" not in it.counters
        assert [record.getMessage().split(":")[0] for record in failures(caplog.records)] == ["PlainHttpOnTlsPort"]
        assert not origin.conversations


async def test_plain_http_with_a_large_body_is_told_as_well() -> None:
    """What it goes on sending is thrown away, so that no reset takes the answer from it."""
    async with target() as origin, secured(origin.address) as it:
        client = await RawClient.connect(it.port)
        it.clients.append(client)
        client.send(request("POST", "/", "Content-Length: 3000000", body=bytes(3_000_000)))
        answer = await client.response()
        assert answer.status == 400
        client.send_fin()
        assert await client.read_to_end() == b""


async def test_tls_on_a_plain_port_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    """400, and a line in the log that says what it was."""
    caplog.set_level(logging.INFO, "albkit")
    async with target() as origin, balancing(listener(alb.Forward(alb.TargetGroup("group", origin.address)))) as it:
        client = await SecureClient.connect(it.port)
        it.clients.append(client)
        assert isinstance(client, SecureClient)
        client.writer.write(client.start())
        answer = await client.reader.read()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert it.counters["Failure_TlsOnPlainPort"] == 1
        assert [record.getMessage().split(":")[0] for record in failures(caplog.records)] == ["TlsOnPlainPort"]


def hello(size: int) -> bytes:
    """The head of a handshake record with a ClientHello of this size in it, and so many zeros."""
    return b"\x16\x03\x01" + (size + 4).to_bytes(2) + b"\x01" + size.to_bytes(3) + bytes(size)


GARBAGE = {
    "zeros": bytes(1000),
    "ones": b"\xff" * 1000,
    "newlines": b"\r\n\r\n",
    "ssl2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(40),
    "alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "data": b"\x17\x03\x03\x00\x10" + bytes(16),
    "ccs": b"\x14\x03\x03\x00\x01\x01",
    "empty record": b"\x16\x03\x01\x00\x00" * 100,
    "large record": b"\x16\x03\x01\xff\xff" + bytes(65535),
    "hello of zeros": hello(1000),
    "server hello": b"\x16\x03\x03\x00\x04\x02\x00\x00\x00",
    "endless hello": b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16380) + (b"\x16\x03\x01\x40\x00" + bytes(16384)) * 20,
    "version": b"\x16\x00\x00\x00\x05hello",
    "ssh": b"\x00SSH-2.0-OpenSSH_9.2\r\n",
}


@pytest.mark.parametrize("kind", GARBAGE)
async def test_garbage_ends_its_connection_alone(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """One failed handshake is counted and told, in one line at INFO; the next client is served."""
    caplog.set_level(logging.DEBUG, "albkit")
    async with target() as origin, secured(origin.address) as it:
        client = await RawClient.connect(it.port)
        it.clients.append(client)
        with contextlib.suppress(ConnectionError):
            client.send(GARBAGE[kind])
            client.send_fin()
            await client.read_to_end()
        await until(lambda: not it.runtime.clients)
        assert it.failures == {"TlsHandshakeFailed": 1}
        assert it.counters["ClientTLSNegotiationErrorCount"] == 1
        assert [record.levelname for record in failures(caplog.records)] == ["INFO"]
        assert (await (await it.secure()).get()).status == 200


@pytest.mark.parametrize("part", ["nothing", "a byte", "half a hello", "all but the last flight"])
async def test_silence_in_the_handshake_ends_it(part: str) -> None:
    """After `Limits(handshake_timeout)`; counted."""
    async with target() as origin, secured(origin.address, limits=Limits(handshake_timeout=0.05)) as it:
        client = await it.raw()
        sent = client.start()
        client.writer.write({"nothing": b"", "a byte": sent[:1], "half a hello": sent[: len(sent) // 2]}.get(part, sent))
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                await client.reader.read()
        await until(lambda: not it.runtime.clients)
        assert it.failures == {"TlsHandshakeTimeout": 1}
        assert it.counters["ClientTLSNegotiationErrorCount"] == 1


async def test_slow_drip_does_not_stretch_the_handshake_timeout() -> None:
    """It counts from the beginning, however lively the client is."""
    async with target() as origin, secured(origin.address, limits=Limits(handshake_timeout=0.05)) as it:
        client = await it.raw()
        sent = client.start()
        ended = asyncio.create_task(client.reader.read())
        with contextlib.suppress(ConnectionError):
            for byte in sent:
                if ended.done():
                    break
                client.writer.write(bytes([byte]))
                await asyncio.wait([ended], timeout=0.01)
        assert ended.done()
        ended.exception()
        assert it.failures == {"TlsHandshakeTimeout": 1}


async def test_client_hello_byte_by_byte_is_good() -> None:
    """Each in a segment of its own."""
    async with target() as origin, secured(origin.address) as it:
        client = await it.raw()
        client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in client.start():
            client.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await client.finish()
        assert (await client.get()).status == 200


async def test_client_hello_in_many_records_is_good() -> None:
    """A record may hold as little of a handshake as it likes (RFC 8446 section 5.1)."""
    async with target() as origin, secured(origin.address) as it:
        client = await it.raw()
        sent = client.start()
        body = sent[5:]
        pieces = [body[at : at + 20] for at in range(0, len(body), 20)]
        client.writer.write(b"".join(sent[:3] + len(piece).to_bytes(2) + piece for piece in pieces))
        await client.finish()
        assert (await client.get()).status == 200


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("part", ["nothing", "half a hello", "all but the last flight"])
async def test_client_that_leaves_in_the_handshake_leaves_nothing(part: str, how: str) -> None:
    """Counted as a failure where it had begun."""
    async with target() as origin, secured(origin.address) as it:
        client = await it.raw()
        sent = client.start()
        if part == "nothing":
            await until(lambda: bool(it.runtime.clients))
        else:
            client.writer.write(sent[: len(sent) // 2] if part == "half a hello" else sent)
        if part == "all but the last flight":
            await client.reader.read(1)
        elif part == "half a hello":
            await until(lambda: any(getattr(one, "_tls", None) for one in it.runtime.clients))
        if how == "fin":
            client.send_bare_fin()
        else:
            client.reset()
        await until(lambda: not it.runtime.clients)
        assert it.failures == ({} if part == "nothing" else {"TlsHandshakeFailed": 1})


async def test_client_that_refuses_our_certificate_is_counted() -> None:
    """Its alert is what the log tells."""
    async with target() as origin, secured(origin.address) as it:
        with pytest.raises(ssl.SSLCertVerificationError):
            await it.secure(client_context("TLSv1.2", verify=True), name="elsewhere.example")
        await until(lambda: not it.runtime.clients)
        assert it.failures == {"TlsHandshakeFailed": 1}


async def test_two_hundred_handshakes_at_once_succeed() -> None:
    """And one request each."""

    async def one(it: Secured) -> int:
        client = await it.secure(CONTEXT)
        return (await client.get()).status

    async with target() as origin, secured(origin.address) as it:
        assert await asyncio.gather(*(one(it) for _ in range(200))) == [200] * 200
        assert it.failures == {}


CONTEXT = client_context()


@pytest.mark.parametrize("part", ["nothing", "half a hello", "all but the last flight", "plain HTTP"])
async def test_stop_does_not_wait_for_handshakes(part: str) -> None:
    """Whoever has asked for nothing yet is let go at once, long before `stop_timeout`."""
    async with target() as origin, secured(origin.address, stop_timeout=30) as it:
        client = await it.raw()
        sent = client.start()
        client.writer.write({"nothing": b"", "half a hello": sent[: len(sent) // 2], "plain HTTP": request("GET", "/")}.get(part, sent))
        if part in ("all but the last flight", "plain HTTP"):
            await client.reader.read(1)
        else:
            await until(lambda: bool(it.runtime.clients))
        async with asyncio.timeout(3):
            await it.load_balancer.stop()
        with contextlib.suppress(ConnectionError):
            await client.reader.read()


async def test_idle_connection_is_told_goodbye_when_the_balancer_stops() -> None:
    """A close_notify, not a cut."""
    async with target() as origin, secured(origin.address) as it:
        client = await it.secure()
        await client.get()
        await it.load_balancer.stop()
        assert await client.read_to_end() == b""
        assert client.was_told


# ALPN, resumption, renegotiation.


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [((), None), (("http/1.1",), "http/1.1"), (("h2", "http/1.1"), "http/1.1"), (("http/1.0", "http/1.1"), "http/1.1")],
)
@by_version
async def test_http_1_1_is_agreed_on(version: str, offered: tuple[str, ...], agreed: str | None) -> None:
    """Without HTTP/2: whatever else is offered, in whatever order."""
    async with target() as origin, secured(origin.address, http2=False) as it:
        client = await it.secure(client_context(version, alpn=offered))
        assert client.tls.selected_alpn_protocol() == agreed
        assert (await client.get()).status == 200


@by_version
async def test_client_that_offers_something_else_alone_goes_on_without(version: str) -> None:
    """Nothing is agreed on, and HTTP/1.1 is served: a client that speaks nothing else than h2 finds out, as with OpenSSL's servers."""
    async with target() as origin, secured(origin.address, http2=False) as it:
        client = await it.secure(client_context(version, alpn=("h2",)))
        assert client.tls.selected_alpn_protocol() is None
        assert (await client.get()).status == 200
        preface = await it.secure(client_context(version, alpn=("h2",)))
        preface.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert (await preface.response()).status in (400, 505)


@pytest.mark.parametrize("ticket", [True, False])
@pytest.mark.parametrize("name", ["example.com", "other.example"])
@by_version
async def test_session_is_resumed(version: str, ticket: bool, name: str) -> None:
    """By ticket and by session id (TLS 1.2 alone has that), for the default's name and for another certificate's."""
    if not ticket and version == "TLSv1.3":
        return  # It has tickets only.
    shown = [certificate(), certificate("other.example")]
    async with target() as origin, secured(origin.address, certificates=shown) as it:
        context = client_context(version)
        if not ticket:
            context.options |= ssl.OP_NO_TICKET
        client = await it.secure(context, name=name)
        await client.get()
        assert not client.tls.session_reused
        session = client.tls.session
        assert own_name(client.tls.getpeercert(True)) == ("localhost" if name == "example.com" else name)
        again = await it.secure(context, name=name, session=session)
        assert (await again.get()).status == 200
        assert again.tls.session_reused


async def test_renegotiation_is_refused() -> None:
    """`openssl s_client` asks for one with R: it gets none."""
    openssl = program("openssl")
    async with target() as origin, secured(origin.address) as it:
        process = await asyncio.create_subprocess_exec(
            openssl,
            "s_client",
            "-connect",
            f"127.0.0.1:{it.port}",
            "-tls1_2",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        async with asyncio.timeout(10):
            said = await process.stdout.readuntil(b"---\n")
            while b"Verify return code" not in said:
                said += await process.stdout.readuntil(b"---\n")
            process.stdin.write(b"R\n")
            rest = await process.stdout.read()
            await process.wait()
        assert b"RENEGOTIATING" in rest
        assert b"no renegotiation" in rest
        await until(lambda: not it.runtime.clients)

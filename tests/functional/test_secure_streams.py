"""TLS listeners, and groups whose targets speak TLS: bytes in TLS on either side, or on both."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

import albkit as alb
from albkit.proxy.tls.transport import TlsTransport
from tests.functional.test_streams import BOUND, MIB, Gate, gate, member, only_tunnel, standing, states, until, waiting_stream, was_reset
from tests.support.authority import Authority, Issued
from tests.support.balancing import Balancing, listener
from tests.support.peers import Conversation, Peer, Script, free_port, request, target
from tests.support.tunnels import echo, gone, holding

__all__ = ("gate",)

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
both_versions = pytest.mark.parametrize("version", VERSIONS)


@functools.cache
def authority() -> Authority:
    return Authority("Test CA")


@functools.cache
def issued(*names: str, client: bool = False) -> Issued:
    return authority().issue(*names, client=client)


def certificate(it: Issued | None = None) -> alb.Certificate:
    it = it if it is not None else issued("localhost", "127.0.0.1")
    return alb.Certificate(it.pem, it.key_pem)


def client_context(version: str = "TLSv1.3", *alpn: str) -> ssl.SSLContext:
    """Verifies the load balancer's certificate."""
    context = ssl.create_default_context(cadata=authority().pem().decode())
    context.minimum_version = context.maximum_version = VERSIONS[version]
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def server_context(version: str = "TLSv1.3", folder: Any = None, *, asks: bool = False) -> ssl.SSLContext:
    """A target's own.

    Args:
        version: Spoken.
        folder: Where its files are written.
        asks: Whether it wants to see a certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issued("localhost", "127.0.0.1").write(folder, "target"))
    context.minimum_version = context.maximum_version = VERSIONS[version]
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=authority().pem().decode())
    return context


class Secure:
    """TLS over a peer's raw bytes, with every segment and both ends of a half-close in the test's hands.

    Args:
        peer: What carries it.
        context: How.
        server_side: Which side this is.
    """

    def __init__(self, peer: Peer, context: ssl.SSLContext, *, server_side: bool = False) -> None:
        self.peer = peer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server_side else "localhost"
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_side=server_side, server_hostname=name)
        self.sent = 0

    async def shake_hands(self, then: bytes = b"", *, end: bool = False) -> Secure:
        """To the end.

        Args:
            then: Sent in one segment with the last bytes of the handshake.
            end: Whether close_notify stands there as well, and FIN.
        """
        while True:
            try:
                self.session.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                await self._pull()
            else:
                if then:
                    self.session.write(then)
                if end:
                    self.end()
                self.flush()
                return self

    def flush(self) -> None:
        if data := self.outgoing.read():
            self.peer.send(data)

    async def _pull(self) -> None:
        if data := await self.peer.reader.read(65536):
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def send(self, data: bytes) -> None:
        if data:
            self.sent += len(data)
            self.session.write(data)
            self.flush()

    async def drain(self) -> None:
        await self.peer.drain()

    async def read(self, size: int = 65536) -> bytes:
        """Some bytes; empty behind a close_notify. FIN alone raises ssl.SSLEOFError."""
        while True:
            try:
                return self.session.read(size)
            except ssl.SSLWantReadError:
                await self._pull()
            except ssl.SSLZeroReturnError:
                return b""

    async def read_exactly(self, size: int) -> bytes:
        pieces = b""
        while len(pieces) < size:
            data = await self.read(size - len(pieces))
            assert data, f"ended after {len(pieces)} bytes"
            pieces += data
        return pieces

    async def read_to_end(self) -> bytes:
        pieces = []
        while data := await self.read():
            pieces.append(data)
        return b"".join(pieces)

    def end(self) -> None:
        """Say that nothing more will come: close_notify and FIN."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.session.unwrap()
        self.flush()
        self.peer.send_fin()


SecureScript = Callable[[Secure], Any]


def behind_tls(context: ssl.SSLContext, script: SecureScript, then: bytes = b"", *, end: bool = False) -> Script:
    """A target that shakes hands, then does as told."""

    async def whole(conversation: Conversation) -> None:
        try:
            secure = await Secure(conversation, context, server_side=True).shake_hands(then, end=end)
            await script(secure)
        except ssl.SSLError:
            pass  # The load balancer did not like it, or has gone.

    return whole


async def secure_echo(secure: Secure) -> None:
    """Sends back what comes, and the end behind it."""
    while data := await secure.read():
        secure.send(data)
        await secure.drain()
    secure.end()


async def secure_holding(_: Secure) -> None:
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def streaming(
    *targets: Any, door: dict[str, Any] | None = None, lb: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Balancing]:
    """A TLS listener in front of one group.

    Args:
        targets: Of the group.
        door: Further settings of the listener; with a `protocol` another one than TLS.
        lb: Of the load balancer.
        settings: Of the group.
    """
    group = alb.TargetGroup("group", list(targets), **settings)
    how = {"protocol": "TLS", "certificates": certificate(), **(door or {})}
    if how["protocol"] in ("TCP", "HTTP"):
        del how["certificates"]
    async with standing(listener(alb.Forward(group), name="door", **how), **(lb or {})) as it:
        yield it


async def secured(it: Balancing, context: ssl.SSLContext | None = None, then: bytes = b"", *, end: bool = False) -> Secure:
    """A client behind its handshake."""
    return await Secure(await it.client(), context or client_context()).shake_hands(then, end=end)


# A TLS listener, and targets that speak none.


@both_versions
async def test_tls_ends_here_and_the_target_gets_the_bytes(version: str) -> None:
    """The client verifies the listener's certificate; programs see what was agreed on."""
    async with target(echo) as origin, streaming(origin.address) as it:
        client = await secured(it, client_context(version))
        client.send(b"hello")
        assert await client.read_exactly(5) == b"hello"
        assert (await origin.arrived()).received == b"hello"
        (tunnel,) = it.load_balancer.tunnels
        assert tunnel.protocol == "tls"
        tls = tunnel.client.tls
        assert tls is not None
        assert (tls.version, tls.server_name, tls.cipher) == (version, "localhost", (client.session.cipher() or ("",))[0])
        assert (tunnel.bytes_in, tunnel.bytes_out) == (5, 5)
        assert it.counters["ActiveFlowCount"] == it.counters["ActiveTunnelCount"] == 1


async def pour(peer: Secure | Peer, data: bytes, chance: random.Random) -> None:
    """Send all of it in pieces of any size, and the end behind."""
    place = 0
    while place < len(data):
        size = chance.choice((1, 100, 5_000, 70_000, 300_000))
        peer.send(data[place : place + size])
        place += size
        await peer.drain()
    if isinstance(peer, Secure):
        peer.end()
    else:
        peer.send_fin()


@both_versions
async def test_random_bytes_go_both_ways_at_once_untouched(version: str) -> None:
    """4 MiB each way, and the end behind them each way."""
    chance = random.Random(7)
    there, back = chance.randbytes(4 * MIB), chance.randbytes(4 * MIB)
    came: list[bytes] = []

    async def script(conversation: Conversation) -> None:
        sending = asyncio.create_task(pour(conversation, back, random.Random(8)))
        came.append(await conversation.reader.read())
        await sending

    async with target(script) as origin, streaming(origin.address) as it:
        client = await secured(it, client_context(version))
        received, _ = await asyncio.gather(client.read_to_end(), pour(client, there, chance))
        assert received == back
        await (await origin.arrived()).over.wait()
        assert came == [there]
        await gone(it)
        assert it.counters["ProcessedBytes"] == 8 * MIB


async def test_thousands_of_tiny_writes_come_in_order() -> None:
    """A record for each byte."""
    data = random.Random(10).randbytes(3000)
    async with target(echo) as origin, streaming(origin.address) as it:
        client = await secured(it)
        for place in range(len(data)):
            client.send(data[place : place + 1])
            if place % 7 == 0:
                await asyncio.sleep(0)
        assert await client.read_exactly(len(data)) == data


@pytest.mark.parametrize("slow", ["client", "target"])
async def test_slow_reader_holds_the_sender_up_and_costs_no_memory(slow: str) -> None:
    """What waits in the load balancer is bounded; nothing is lost."""
    data = random.Random(9).randbytes(24 * MIB)
    async with target(holding) as origin, streaming(origin.address) as it:
        client, conversation = await secured(it), await origin.arrived()
        await until(lambda: bool(it.runtime.tunnels))
        tunnel = only_tunnel(it)
        leg = tunnel.client_leg if slow == "client" else tunnel.target_leg
        reader: Secure | Peer = client if slow == "client" else conversation
        sender: Secure | Peer = conversation if slow == "client" else client
        transport = cast("asyncio.Transport", (client.peer if slow == "client" else conversation).writer.transport)
        transport.pause_reading()
        sender.send(data)
        if isinstance(sender, Secure):
            sender.end()
        else:
            sender.send_fin()
        still = most = 0
        while still < 200:
            before = tunnel.bytes_in + tunnel.bytes_out
            await asyncio.sleep(0)
            most = max(most, leg.transport.get_write_buffer_size())
            still = still + 1 if tunnel.bytes_in + tunnel.bytes_out == before and leg.writing_paused else 0
        assert tunnel.bytes_in + tunnel.bytes_out < len(data)
        assert 0 < most <= 65536 + 262144 + 20_000
        transport.resume_reading()
        assert await reader.read_to_end() == data


# Half-close, and the end.


async def counting(conversation: Conversation) -> None:
    """Answers how much has come, once nothing more will."""
    conversation.send(b"%d" % len(await conversation.read_to_end()))


@both_versions
@pytest.mark.parametrize("how", ["close_notify and FIN", "close_notify", "FIN"])
async def test_client_ends_its_side_and_the_target_still_answers(version: str, how: str) -> None:
    """However it says so; a lone FIN is what many clients send."""
    async with target(counting) as origin, streaming(origin.address) as it:
        client = await secured(it, client_context(version))
        client.send(b"question")
        if how == "FIN":
            client.peer.send_fin()
        elif how == "close_notify":
            with contextlib.suppress(ssl.SSLWantReadError):
                client.session.unwrap()
            client.flush()
        else:
            client.end()
        assert await client.read_to_end() == b"8"
        client.peer.writer.close()
        await gone(it)
        assert it.counters["TunnelEnd_Client"] == 1
        assert it.counters["ProcessedBytes"] == 9


@both_versions
async def test_target_ends_its_side_and_the_client_still_speaks(version: str) -> None:
    """The client reads close_notify, so that it knows that nothing was cut off; what it sends behind that arrives."""

    async def script(conversation: Conversation) -> None:
        conversation.send(b"go on")
        conversation.send_fin()
        await conversation.read_to_end()

    data = random.Random(11).randbytes(3 * MIB)
    async with target(script) as origin, streaming(origin.address) as it:
        client = await secured(it, client_context(version))
        assert await client.read_to_end() == b"go on"
        client.send(data)
        client.end()
        conversation = await origin.arrived()
        await conversation.over.wait()
        assert conversation.received == data
        await gone(it)
        assert it.counters["TunnelEnd_Target"] == 1


async def test_target_ends_its_side_while_the_client_speaks_much() -> None:
    """Nothing of what is on its way then is lost."""
    data = random.Random(12).randbytes(6 * MIB)

    async def script(conversation: Conversation) -> None:
        await conversation.read_exactly(1000)
        conversation.send_fin()
        await conversation.read_to_end()

    async with target(script) as origin, streaming(origin.address) as it:
        client = await secured(it)
        client.send(data)
        client.end()
        conversation = await origin.arrived()
        await conversation.over.wait()
        assert conversation.received == data
        assert await client.read_to_end() == b""


@pytest.mark.parametrize("size", [0, 5, 100_000, 150_000, 3 * MIB])
@pytest.mark.parametrize("notify", [True, False], ids=["close_notify", "FIN"])
async def test_client_that_ends_its_side_before_the_target_is_connected_is_answered(gate: Gate, size: int, notify: bool) -> None:
    """However much it has sent before; the end is found behind it also where reading was paused."""
    async with target(counting) as origin, streaming(origin.address) as it:
        client = await secured(it)
        await gate.reached()
        client.send(bytes(size))
        if notify:
            client.end()
        else:
            client.peer.send_fin()
        await until(lambda: waiting_stream(it)._received_fin or waiting_stream(it)._early_size > 65536)
        await asyncio.sleep(0.01)  # Nothing tells that FIN has come to a socket that is not read.
        it.runtime.sweep.look(it.runtime.clock.monotonic())
        gate.opened.set()
        async with asyncio.timeout(BOUND):
            assert await client.read_to_end() == b"%d" % size


async def test_reset_of_one_side_comes_to_the_other_as_a_reset() -> None:
    """Not as an end in good order, which close_notify would be."""
    async with target(holding) as origin, streaming(origin.address) as it:
        client, conversation = await secured(it), await origin.arrived()
        await until(lambda: bool(it.runtime.tunnels))
        client.peer.reset()
        with pytest.raises(ConnectionResetError):
            await conversation.read_to_end()
        client, conversation = await secured(it), await origin.arrived(2)
        await until(lambda: bool(it.runtime.tunnels))
        conversation.reset()
        with pytest.raises(ConnectionResetError):
            await client.read_to_end()
        await gone(it)
        assert it.counters["Failure_TunnelResetByClient"] == it.counters["Failure_TunnelResetByTarget"] == 1


async def test_client_that_sends_garbage_in_a_tunnel_costs_that_tunnel_alone() -> None:
    """What cannot be decrypted ends it; the target is told, and so is nobody's exception handler."""
    async with target(holding) as origin, streaming(origin.address) as it:
        client, conversation = await secured(it), await origin.arrived()
        await until(lambda: bool(it.runtime.tunnels))
        client.peer.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        assert await conversation.is_closed()
        await gone(it)


async def test_stop_says_close_notify() -> None:
    """Both sides read an end in good order."""
    async with target(echo) as origin, streaming(origin.address) as it:
        client = await secured(it)
        client.send(b"x")
        await client.read_exactly(1)
        stopping = asyncio.create_task(it.load_balancer.stop())
        assert await client.read_to_end() == b""
        client.end()
        await asyncio.wait_for(stopping, BOUND)
        assert it.counters["TunnelEnd_Stop"] == 1


class Wire(asyncio.Transport):
    """What carries TLS: keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...
    def is_closing(self) -> bool:
        return False


class Heard(asyncio.Protocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.data = b""
        self.has_ended = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.has_ended = True
        return True


async def test_fin_that_comes_while_nothing_is_read_is_found_behind_the_bytes(tmp_path: Any) -> None:
    """Without close_notify there is nothing left to decrypt that would tell."""
    wire, heard = Wire(), Heard()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = server_context("TLSv1.3", tmp_path).wrap_bio(incoming, outgoing, server_side=True)
    secure = TlsTransport(wire, session, incoming, outgoing, asyncio.get_running_loop(), lambda _: secure.begin(heard))
    its_incoming, its_outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(its_incoming, its_outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    secure.data_received(its_outgoing.read())
    its_incoming.write(wire.written)
    client.do_handshake()
    secure.data_received(its_outgoing.read())
    client.write(b"the last words")
    secure.pause_reading()
    secure.data_received(its_outgoing.read())
    secure.eof_received()
    assert (heard.data, heard.has_ended) == (b"", False)
    secure.resume_reading()
    await until(lambda: heard.data == b"the last words")
    assert heard.has_ended


# Who speaks first.


@both_versions
async def test_target_that_speaks_first_is_heard_by_a_client_in_tls(version: str) -> None:
    """In many rounds, for it is a matter of timing."""

    async def greeting(conversation: Conversation) -> None:
        conversation.send(b"220 ready\n")
        await echo(conversation)

    async with target(greeting) as origin, streaming(origin.address) as it:
        context = client_context(version)
        for _ in range(30):
            client = await secured(it, context)
            assert await client.read_exactly(10) == b"220 ready\n"
            client.end()
            assert await client.read_to_end() == b""


@both_versions
@pytest.mark.parametrize("size", [1, 5000, 200_000])
async def test_bytes_in_one_segment_with_the_end_of_the_handshake_arrive(version: str, size: int) -> None:
    """Of the client's; in many rounds, and with the end behind them as well."""
    async with target(counting) as origin, streaming(origin.address) as it:
        context = client_context(version)
        for _ in range(20):
            client = await secured(it, context, b"x" * size, end=True)
            assert await client.read_to_end() == b"%d" % size


@both_versions
@pytest.mark.parametrize("size", [1, 5000, 200_000])
async def test_target_in_tls_that_speaks_first_is_heard(version: str, size: int, tmp_path: Any) -> None:
    """In one segment with the end of its handshake; in many rounds, through TLS on both sides."""
    greeting = random.Random(13).randbytes(size)
    script = behind_tls(server_context(version, tmp_path), secure_echo, greeting)
    async with target(script) as origin, streaming(origin.address, protocol="TLS") as it:
        context = client_context(version)
        for _ in range(20):
            client = await secured(it, context)
            assert await client.read_exactly(size) == greeting
            client.send(b"and back")
            assert await client.read_exactly(8) == b"and back"
            client.end()
            assert await client.read_to_end() == b""
        assert "RetryCount" not in it.counters


@both_versions
@pytest.mark.parametrize("size", [1, 5000, 200_000])
async def test_target_in_tls_that_speaks_and_leaves_is_heard(version: str, size: int, tmp_path: Any) -> None:
    """Handshake, greeting and end in as few segments as there can be: it is no failure, and nobody else is asked."""
    greeting = random.Random(14).randbytes(size)
    script = behind_tls(server_context(version, tmp_path), Secure.read_to_end, greeting, end=True)
    async with target(script) as origin, streaming(origin.address, protocol="TLS") as it:
        context = client_context(version)
        for number in range(1, 21):
            client = await secured(it, context)
            assert await client.read_to_end() == greeting
            client.end()
            await gone(it)
            assert len(origin.conversations) == number
        assert "RetryCount" not in it.counters


# Targets that speak TLS.


@both_versions
@pytest.mark.parametrize("door", ["TCP", "TLS"])
async def test_bytes_are_encrypted_for_the_target(version: str, door: str, tmp_path: Any) -> None:
    """A TCP listener does so as well where its group says TLS; the group verifies its targets. Half-close goes all the way through."""
    data = random.Random(15).randbytes(2 * MIB)
    ca = authority().write(tmp_path, "ca")
    script = behind_tls(server_context(version, tmp_path), secure_echo)
    async with target(script) as origin, streaming(origin.address, door={"protocol": door}, protocol="TLS", verify=ca) as it:
        client: Any = await secured(it, client_context(version)) if door == "TLS" else await it.client()
        received, _ = await asyncio.gather(client.read_to_end(), pour(client, data, random.Random(16)))
        assert received == data
        await gone(it)
        assert it.counters["ProcessedBytes"] == 2 * len(data)


@both_versions
async def test_target_in_tls_ends_its_side_and_the_client_still_speaks(version: str, tmp_path: Any) -> None:
    """The other half-close."""
    data = random.Random(17).randbytes(2 * MIB)
    came: list[bytes] = []

    async def script(secure: Secure) -> None:
        secure.send(b"go on")
        secure.end()
        came.append(await secure.read_to_end())

    async with target(behind_tls(server_context(version, tmp_path), script)) as origin, streaming(origin.address, protocol="TLS") as it:
        client = await secured(it, client_context(version))
        assert await client.read_to_end() == b"go on"
        client.send(data)
        client.end()
        await (await origin.arrived()).over.wait()
        assert came == [data]


@both_versions
async def test_upgraded_client_that_is_through_still_hears_its_target_in_tls(version: str, tmp_path: Any) -> None:
    """An https:// target of an HTTP listener knows half-close as well: the answer behind the client's FIN is not lost."""

    async def script(secure: Secure) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await secure.read()
        secure.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
        secure.send(b"heard " + await secure.read_to_end())
        secure.end()

    group = {"door": {"protocol": "HTTP"}, "protocol": "HTTPS"}
    async with target(behind_tls(server_context(version, tmp_path), script)) as origin, streaming(origin.address, **group) as it:
        client = await it.client()
        client.send(request("GET", "/", "Connection: Upgrade", "Upgrade: raw"))
        assert (await client.response()).status == 101
        client.send(b"everything")
        client.send_fin()
        async with asyncio.timeout(10):
            assert await client.read_to_end() == b"heard everything"


async def test_target_in_tls_on_a_unix_socket_shows_a_certificate_for_localhost(tmp_path: Any) -> None:
    """It has no other name; the PROXY protocol stands before the handshake there as well."""
    heads: list[bytes] = []
    context = server_context("TLSv1.3", tmp_path)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readline())
        await secure_echo(await Secure(Peer(reader, writer), context, server_side=True).shake_hands())
        writer.close()

    ca = authority().write(tmp_path, "ca")
    with tempfile.TemporaryDirectory() as folder:
        server = await asyncio.start_unix_server(answer, f"{folder}/target")
        async with server, streaming(f"unix:{folder}/target", protocol="TLS", verify=ca, proxy_protocol="v1") as it:
            client = await secured(it)
            client.send(b"hello")
            client.end()
            assert await client.read_to_end() == b"hello"
            assert heads == [f"PROXY TCP4 127.0.0.1 127.0.0.1 {client.peer.port} {it.port}\r\n".encode()]


async def test_target_in_tls_that_nobody_vouches_for_is_not_spoken_to(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Where the group verifies; another target is tried, and then the client is reset."""
    other = Authority("Another CA").write(tmp_path, "other")
    script = behind_tls(server_context("TLSv1.3", tmp_path), secure_echo)
    async with target(script) as origin, streaming(origin.address, door={"protocol": "TCP"}, protocol="TLS", verify=other) as it:
        client = await it.client()
        client.send(b"a secret")
        assert await was_reset(client)
        await until(lambda: not it.runtime.clients)
        assert it.counters["Failure_TargetTlsFailed"] == 1
        assert it.counters["TargetTLSNegotiationErrorCount"] == 3
        assert "TargetConnectionErrorCount" not in it.counters
        assert member(it, origin.address).tunnels == 0
    assert "TargetTlsFailed: " in caplog.text


async def test_target_with_another_name_is_not_spoken_to(tmp_path: Any) -> None:
    """The name in its certificate must be the target's."""
    ca = authority().write(tmp_path, "ca")
    context = server_context("TLSv1.3", tmp_path)
    context.load_cert_chain(*issued("elsewhere.example").write(tmp_path, "elsewhere"))
    async with target(behind_tls(context, secure_echo)) as origin, streaming(origin.address, protocol="TLS", verify=ca) as it:
        with pytest.raises(ConnectionResetError):
            await (await secured(it)).read_to_end()
        await until(lambda: not it.runtime.clients)
        assert it.counters["Failure_TargetTlsFailed"] == 1


async def test_target_that_does_not_speak_tls_is_another_targets_turn(tmp_path: Any) -> None:
    """Which is counted as a failed negotiation."""

    async def plain(conversation: Conversation) -> None:
        conversation.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    script = behind_tls(server_context("TLSv1.3", tmp_path), secure_echo)
    async with target(plain) as wrong, target(script) as origin, streaming(wrong.address, origin.address, protocol="TLS") as it:
        for _ in range(2):
            client = await secured(it)
            client.send(b"hello")
            assert await client.read_exactly(5) == b"hello"
        assert it.counters["TargetTLSNegotiationErrorCount"] == it.counters["RetryCount"] == 1


async def test_target_that_never_shakes_hands_has_its_timeout() -> None:
    """`target_handshake_timeout`, for each try."""
    limits = alb.Limits(target_handshake_timeout=0.05)
    async with target(holding) as origin, streaming(origin.address, door={"protocol": "TCP"}, lb={"limits": limits}, protocol="TLS") as it:
        assert await was_reset(await it.client())
        await until(lambda: not it.runtime.clients)
        assert it.counters["Failure_TargetTlsTimeout"] == 1
        assert it.counters["TargetTLSNegotiationErrorCount"] == 3


async def test_client_that_leaves_in_the_targets_handshake_leaves_nothing() -> None:
    """It is given up at once, and the target is told."""
    async with target(holding) as origin, streaming(origin.address, door={"protocol": "TCP"}, protocol="TLS") as it:
        client = await it.client()
        conversation = await origin.arrived()
        client.reset()
        await until(lambda: not it.runtime.clients)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(BOUND):
                while await conversation.read():
                    pass
        assert it.counters["Failure_ClientClosed"] == 1
        assert "TargetTLSNegotiationErrorCount" not in it.counters


@both_versions
async def test_client_certificate_of_the_group_is_shown_to_a_target_that_wants_one(version: str, tmp_path: Any) -> None:
    """Without one the target ends the connection."""
    subjects: list[Any] = []

    async def script(secure: Secure) -> None:
        subjects.append((secure.session.getpeercert() or {}).get("subject"))
        await secure_echo(secure)

    own = certificate(issued("balancer.example", client=True))
    context = server_context(version, tmp_path, asks=True)
    async with target(behind_tls(context, script)) as origin:
        async with streaming(origin.address, protocol="TLS", client_certificate=own) as it:
            client = await secured(it)
            client.send(b"hello")
            assert await client.read_exactly(5) == b"hello"
            assert subjects == [((("commonName", "balancer.example"),),)]
        async with streaming(origin.address, protocol="TLS") as it:
            client = await secured(it)
            client.send(b"hello")
            with contextlib.suppress(ConnectionError):
                assert await client.read_to_end() == b""
            assert len(subjects) == 1


async def test_proxy_protocol_stands_before_the_handshake(tmp_path: Any) -> None:
    """As a target expects it: in the clear, and TLS behind it. It tells of the client's TLS."""
    heads: list[bytes] = []
    context = server_context("TLSv1.3", tmp_path)

    async def script(conversation: Conversation) -> None:
        head = await conversation.read_exactly(16)
        heads.append(head + await conversation.read_exactly(int.from_bytes(head[14:])))
        await secure_echo(await Secure(conversation, context, server_side=True).shake_hands())

    async with target(script) as origin, streaming(origin.address, protocol="TLS", proxy_protocol="v2") as it:
        client = await secured(it)
        client.send(b"hello")
        assert await client.read_exactly(5) == b"hello"
        assert heads[0].startswith(b"\r\n\r\n\0\r\nQUIT\n\x21\x11")
        assert b"TLSv1.3" in heads[0]
        assert b"localhost" in heads[0]


QUICK: dict[str, Any] = {"interval": 0.02, "timeout": 1.0, "unhealthy_threshold": 2, "healthy_threshold": 2}


async def test_health_of_a_tls_group_is_that_a_connection_is_accepted(tmp_path: Any) -> None:
    """As NLB does it; what comes of the handshake is not asked."""
    check = alb.HealthCheck(**QUICK)
    script = behind_tls(server_context("TLSv1.3", tmp_path), secure_echo)
    refusing = f"127.0.0.1:{free_port()}"
    async with target(script) as origin, streaming(origin.address, refusing, protocol="TLS", health_check=check) as it:
        await until(lambda: states(it) == {origin.address: "healthy", refusing: "unhealthy"})
        for _ in range(3):
            client = await secured(it, then=b"hello")
            assert await client.read_exactly(5) == b"hello"
        assert "RetryCount" not in it.counters


async def test_https_check_of_a_tls_group_is_asked_in_tls(tmp_path: Any) -> None:
    """Where the check says so."""
    heads: list[bytes] = []

    async def script(secure: Secure) -> None:
        head = await secure.read()
        heads.append(head)
        secure.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        secure.end()

    check = alb.HealthCheck("/healthz", protocol="HTTPS", matcher="204", **QUICK)
    context = server_context("TLSv1.3", tmp_path)
    async with target(behind_tls(context, script)) as origin, streaming(origin.address, protocol="TLS", health_check=check) as it:
        await until(lambda: states(it) == {origin.address: "healthy"})
        assert heads[0].startswith(b"GET /healthz HTTP/1.1\r\n")


# What is agreed on, and with whom.


@pytest.mark.parametrize(
    ("policy", "agreed"),
    [
        ("None", (None, None, None)),
        ("HTTP1Only", ("http/1.1", None, "http/1.1")),
        ("HTTP2Only", ("h2", "h2", None)),
        ("HTTP2Optional", ("http/1.1", "h2", "http/1.1")),
        ("HTTP2Preferred", ("h2", "h2", "http/1.1")),
    ],
)
async def test_protocol_is_agreed_on_as_the_policy_says(policy: str, agreed: tuple[str | None, ...]) -> None:
    """With clients that offer both, HTTP/2 alone, or HTTP/1.1 alone; with one that offers nothing nothing is."""
    async with target(echo) as origin, streaming(origin.address, door={"alpn_policy": policy}) as it:
        for offered, expected in zip((("h2", "http/1.1"), ("h2",), ("http/1.1",), ()), (*agreed, None), strict=True):
            client = await secured(it, client_context("TLSv1.3", *offered), b"hello")
            assert await client.read_exactly(5) == b"hello"
            assert client.session.selected_alpn_protocol() == expected
            tls = it.load_balancer.tunnels[-1].client.tls
            assert tls is not None
            assert tls.alpn == (expected or "")


def mutual() -> dict[str, Any]:
    """Settings of a listener that wants to see a certificate."""
    return {"mutual_authentication": alb.MutualAuthentication("verify", trust_store=authority().pem())}


@both_versions
async def test_client_with_a_certificate_comes_in(version: str, tmp_path: Any) -> None:
    """All that holds for other clients holds for it: bytes in one segment with its handshake, half-close, and the end."""
    data = random.Random(18).randbytes(MIB)
    context = client_context(version)
    context.load_cert_chain(*issued("ann", client=True).write(tmp_path, "ann"))
    seen: list[str] = []
    async with target(echo) as origin, streaming(origin.address, door=mutual()) as it:
        it.load_balancer.on_tunnel(opened=lambda tunnel: seen.append(_subject(tunnel)))
        for _ in range(5):
            client = await secured(it, context, b"first")
            received, _ = await asyncio.gather(client.read_to_end(), pour(client, data, random.Random(19)))
            assert received == b"first" + data
        await gone(it)
        assert seen == ["CN=ann"] * 5


def _subject(tunnel: alb.Tunnel) -> str:
    tls = tunnel.client.tls
    return tls.client_certificate.subject if tls is not None and tls.client_certificate is not None else ""


@both_versions
@pytest.mark.parametrize("how", ["close_notify and FIN", "FIN"])
async def test_client_with_a_certificate_ends_its_side_and_is_answered(version: str, how: str, tmp_path: Any) -> None:
    """The TLS of these clients is another library's, which must take it as the first one does."""
    context = client_context(version)
    context.load_cert_chain(*issued("ann", client=True).write(tmp_path, "ann"))
    async with target(counting) as origin, streaming(origin.address, door=mutual()) as it:
        client = await secured(it, context, b"question")
        if how == "FIN":
            client.peer.send_fin()
        else:
            client.end()
        assert await client.read_to_end() == b"8"


@both_versions
async def test_target_ends_its_side_before_a_client_with_a_certificate_does(version: str, tmp_path: Any) -> None:
    """And what that one sends behind it arrives."""

    async def script(conversation: Conversation) -> None:
        conversation.send(b"go on")
        conversation.send_fin()
        await conversation.read_to_end()

    context = client_context(version)
    context.load_cert_chain(*issued("ann", client=True).write(tmp_path, "ann"))
    data = bytes(MIB)
    async with target(script) as origin, streaming(origin.address, door=mutual()) as it:
        client = await secured(it, context)
        assert await client.read_to_end() == b"go on"
        client.send(data)
        client.end()
        conversation = await origin.arrived()
        await conversation.over.wait()
        assert conversation.received == data


@both_versions
async def test_client_without_a_certificate_does_not_come_in(version: str) -> None:
    """No target hears of it."""
    async with target(echo) as origin, streaming(origin.address, door=mutual()) as it:
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            client = await secured(it, client_context(version), b"hello")
            await client.read_to_end()
        await until(lambda: not it.runtime.clients)
        assert it.counters["ClientTLSNegotiationErrorCount"] == 1
        assert origin.conversations == []
        assert "NewFlowCount" not in it.counters


async def test_client_that_speaks_no_tls_does_not_come_in(caplog: pytest.LogCaptureFixture) -> None:
    """There is no plain answer for it, as there would be on an HTTPS port."""
    caplog.set_level(logging.INFO, "albkit")
    async with target(echo) as origin, streaming(origin.address) as it:
        client = await it.client()
        client.send(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in await client.read_to_end()
        await until(lambda: not it.runtime.clients)
        assert it.counters["Failure_TlsHandshakeFailed"] == 1
        assert origin.conversations == []


async def test_websocket_goes_through_tls() -> None:
    """wss:// to a target that knows no TLS, without a rule or a head being read."""

    async def answer(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(answer, "127.0.0.1", 0, max_size=None) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with streaming(address) as it:
            async with connect(f"wss://localhost:{it.port}/", ssl=client_context(), max_size=None) as client:
                for message in ("text", b"\0\xff" * MIB):
                    await client.send(message)
                    assert await client.recv() == message
            assert client.close_code == 1000
            await gone(it)

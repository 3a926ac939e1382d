"""Targets that speak HTTPS."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import albkit as alb
from tests.support.balancing import balancing, listener
from tests.support.peers import Conversation, Script, Target, answering, request, response, target
from tests.support.tunnels import SWITCHED, UPGRADE, echo, switching

CERTIFICATES = Path(__file__).parent.parent / "support" / "certificates"
AUTHORITY = str(CERTIFICATES / "cert.pem")
"""Self-signed, for localhost and 127.0.0.1."""


class SecureTarget(Target):
    """A target behind TLS."""

    async def open(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(AUTHORITY, str(CERTIFICATES / "key.pem"))
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=context, limit=2**26)


@contextlib.asynccontextmanager
async def secure(script: Script | None = None) -> AsyncIterator[SecureTarget]:
    """A running target behind TLS, which answers every request unless it has a script."""
    heads: list[bytes] = []
    it = SecureTarget(script or answering(heads, response(200, b"safe")))
    it.heads = heads
    await it.open()
    try:
        yield it
    finally:
        await it.close()


def in_front_of(address: str, **settings: object) -> alb.Listener:
    return listener(alb.Forward(alb.TargetGroup("group", address, **settings)), name="door")  # type: ignore[arg-type]


async def test_certificate_is_not_verified_unless_asked_for() -> None:
    """As in ALB; the connection is kept for the next request; X-Forwarded-Proto tells how the client came."""
    async with secure() as origin, balancing(in_front_of(f"https://{origin.address}")) as it:
        client = await it.client()
        for _ in range(3):
            assert (await client.get()).body == b"safe"
        assert len(origin.conversations) == 1
        assert b"X-Forwarded-Proto: http\r\n" in origin.heads[0]
        client.send(request("POST", "/", "Content-Length: 300000", body=b"x" * 300_000))
        assert (await client.response()).body == b"safe"


async def test_protocol_of_the_group_is_enough() -> None:
    """`protocol="HTTPS"` for targets without a scheme."""
    async with secure() as origin, balancing(in_front_of(origin.address, protocol="HTTPS")) as it:
        assert (await (await it.client()).get()).body == b"safe"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_certificate_of_a_given_authority_is_good(host: str) -> None:
    """`verify="ca.pem"`, by name and by address."""
    async with secure() as origin, balancing(in_front_of(f"https://{host}:{origin.port}", verify=AUTHORITY)) as it:
        assert (await (await it.client()).get()).body == b"safe"


async def test_certificate_of_nobody_is_502_where_it_is_verified() -> None:
    """The machine's trust store does not know it; counted as a failed negotiation, and no request is sent."""
    async with secure() as origin, balancing(in_front_of(f"https://{origin.address}", verify=True)) as it:
        client = await it.client()
        assert (await client.get()).status == 502
        assert it.counters["Failure_TargetTlsFailed"] == 1
        assert it.counters["TargetTLSNegotiationErrorCount"] == it.counters.get("RetryCount", 0) + 1
        assert "TargetConnectionErrorCount" not in it.counters
        assert origin.heads == []
        assert (await client.get()).status == 502, "the client's connection goes on"


async def test_verification_that_is_turned_on_holds_for_idle_connections() -> None:
    """`apply` with `verify=True`: what was connected unverified serves no further request."""
    async with secure() as origin, balancing(in_front_of(f"https://{origin.address}")) as it:
        client = await it.client()
        assert (await client.get()).body == b"safe"
        await it.load_balancer.apply(in_front_of(f"https://{origin.address}", verify=True))
        assert (await client.get()).status == 502


async def test_plain_server_behind_https_is_502() -> None:
    """It answers the handshake with something else."""

    async def plain(conversation: Conversation) -> None:
        await conversation.read()
        conversation.send(response(400, b"speak plainly"))
        await conversation.read_to_end()

    async with target(plain) as origin, balancing(in_front_of(f"https://{origin.address}")) as it:
        async with asyncio.timeout(10):
            assert (await (await it.client()).get()).status == 502
        assert it.counters["Failure_TargetTlsFailed"] == 1
        assert it.counters["TargetTLSNegotiationErrorCount"] >= 1


async def test_server_that_closes_in_the_handshake_is_502() -> None:
    """Without a word."""

    async def closing(conversation: Conversation) -> None:
        await conversation.read()

    async with target(closing) as origin, balancing(in_front_of(f"https://{origin.address}")) as it:
        async with asyncio.timeout(10):
            assert (await (await it.client()).get()).status == 502


async def test_secure_server_behind_http_is_502() -> None:
    """It does not answer in HTTP."""
    async with secure() as origin, balancing(in_front_of(f"http://{origin.address}")) as it:
        async with asyncio.timeout(10):
            assert (await (await it.client()).get()).status == 502


async def test_silent_server_is_504_behind_the_handshakes_time() -> None:
    """It accepts and says nothing."""

    async def silent(conversation: Conversation) -> None:
        await conversation.read_to_end()

    limits = alb.Limits(target_handshake_timeout=0.1)
    async with target(silent) as origin, balancing(in_front_of(f"https://{origin.address}"), limits=limits) as it:
        async with asyncio.timeout(10):
            assert (await (await it.client()).get()).status == 504
        assert it.counters["Failure_TargetTlsTimeout"] == 1
        assert it.counters["TargetTLSNegotiationErrorCount"] >= 1


async def test_tunnel_passes_through_tls() -> None:
    """A WebSocket upgrade through an HTTPS target carries every byte, and ends on both sides."""
    async with secure(switching(SWITCHED, echo)) as origin, balancing(in_front_of(f"https://{origin.address}")) as it:
        client = await it.client()
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 101
        data = bytes(range(256)) * 400
        client.send(data)
        async with asyncio.timeout(10):
            assert await client.read_exactly(len(data)) == data
            await client.close()
            await origin.conversations[0].over.wait()


async def test_file_of_ca_certificates_that_cannot_be_read_is_told_at_the_start(tmp_path: Path) -> None:
    """In a sentence that names group and file, at start and at apply, and nothing is open or changed then."""
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for path in (tmp_path / "missing.pem", empty):
        group = alb.TargetGroup("secure", "https://127.0.0.1:1", verify=str(path))
        bad = alb.Listener(0, alb.Forward(group), host="127.0.0.1")
        load_balancer = alb.LoadBalancer(bad)
        words = f"target group 'secure'.verify: cannot read CA certificates from '{re.escape(str(path))}'"
        with pytest.raises(alb.ConfigurationError, match=words):
            await load_balancer.start()
        assert load_balancer.listeners == ()
        async with alb.LoadBalancer(alb.Listener(0, alb.FixedResponse(200), host="127.0.0.1")) as running:
            with pytest.raises(alb.ConfigurationError, match="cannot read CA certificates"):
                await running.apply(bad)
            assert isinstance(running.listeners[0].listener.default_action, alb.FixedResponse)


async def test_response_to_a_slow_client_is_read_in_small_parts_and_loses_nothing() -> None:
    """TLS has buffers of its own, and takes another protocol in the middle of a body and back."""
    body = bytes(range(256)) * 32_768

    async def script(conversation: Conversation) -> None:
        while True:
            await conversation.head()
            conversation.send(response(200, body))

    async with secure(script) as origin, balancing(in_front_of(f"https://{origin.address}")) as it:
        client = await it.client(slow=True)
        for _ in range(2):
            client.send(request("GET", "/"))
            head = await client.read_until(b"\r\n\r\n")
            got = bytearray()
            while len(got) < len(body):
                for connection in it.runtime.clients:
                    connection.sweep(it.runtime.clock.monotonic())  # type: ignore[attr-defined]
                got += await client.read()
            assert head.startswith(b"HTTP/1.1 200 ")
            assert got == body
        assert len(origin.conversations) == 1

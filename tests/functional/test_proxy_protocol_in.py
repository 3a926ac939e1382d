"""PROXY protocol headers in front of what clients send: who is believed, what is told of the client, and what becomes of all others."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from albkit.proxy.client.http1_connection import Http1ClientConnection
from albkit.wire.tls.fields import tls_field_lines
from tests.support.authority import Authority
from tests.support.balancing import Balancing, listener, named
from tests.support.peers import RawClient, request, target
from tests.support.proxy_headers import LOCAL, SIGNATURE, UNKNOWN, TlsClient, all_going, tls_tlvs, v1, v2
from tests.support.tunnels import UPGRADE, echo, gone, switching

HERE = "127.0.0.0/8"
ELSEWHERE = "203.0.113.0/24"
GET = request("GET", "/")
AUTHORITY = Authority("Test CA")
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)
GARBAGE = b"\x00\xff\x10garbage\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> alb.Certificate:
    """For localhost."""
    return alb.Certificate(*AUTHORITY.issue("localhost").write(tmp_path_factory.mktemp("certificates"), "localhost"))


@pytest.fixture(autouse=True)
def everything_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Failures of clients are told at INFO."""
    caplog.set_level(logging.INFO, "albkit")


def behind_proxy(default: Any, *rules: alb.Rule, **settings: Any) -> alb.Listener:
    """A listener that requires headers, unless `settings` say otherwise."""
    settings.setdefault("proxy_protocol", "required")
    return listener(default, *rules, **settings)


async def tell(asked: alb.Request) -> alb.Response:
    """The client, as a hook sees it."""
    tls = asked.client.tls
    words = [str(asked.client), "-" if tls is None else f"{tls.version} {tls.cipher} {tls.server_name}"]
    return alb.Response(200, body=" | ".join(words).encode())


TELLING = ([tell, alb.FixedResponse(200, "nobody")],)


def trusted_client() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=AUTHORITY.pem().decode())


async def ask(it: Balancing, data: bytes) -> str:
    """The body of the answer to these bytes, sent at once."""
    client = await it.client()
    client.send(data)
    response = await client.response()
    assert response.status == 200
    return response.body.decode()


def field(head: bytes, name: str) -> str | None:
    """The value of a request's field that stands once at most."""
    values = [line.partition(b":")[2].strip() for line in head.split(b"\r\n")[1:] if line.lower().startswith(name.lower().encode() + b":")]
    assert len(values) <= 1
    return values[0].decode() if values else None


# How a header may come.


HEADERS = {
    "v1": (v1(), "203.0.113.7:4711"),
    "v1-tcp6": (v1("2001:db8::7", 4711, "2001:db8::1"), "[2001:db8::7]:4711"),
    "v2": (v2(), "203.0.113.7:4711"),
    "v2-tcp6": (v2("2001:db8::7", 4711, "2001:db8::1"), "[2001:db8::7]:4711"),
    "v2-mapped": (v2("::ffff:203.0.113.7", 4711, "::ffff:198.51.100.1"), "203.0.113.7:4711"),
}


@pytest.mark.parametrize("kind", HEADERS)
async def test_header_and_request_in_one_segment_tell_the_client(kind: str) -> None:
    """What stands behind the header in the same segment is the request; the second one of the connection has no header."""
    header, client_told = HEADERS[kind]
    async with all_going(behind_proxy(*TELLING)) as it:
        client = await it.client()
        client.send(header + GET)
        assert (await client.response()).body.decode() == f"{client_told} | -"
        client.send(GET + GET)
        for _ in range(2):
            assert (await client.response()).body.decode() == f"{client_told} | -"


@pytest.mark.parametrize("kind", ["v1", "v2"])
async def test_header_byte_by_byte_is_the_same(kind: str) -> None:
    """Every byte in a segment of its own."""
    header, client_told = HEADERS[kind]
    async with all_going(behind_proxy(*TELLING)) as it:
        client = await it.client()
        for place in range(len(header + GET)):
            client.send((header + GET)[place : place + 1])
            await asyncio.sleep(0.0002)
        assert (await client.response()).body.decode() == f"{client_told} | -"


@pytest.mark.parametrize("kind", ["v1", "v2"])
async def test_header_split_anywhere_is_the_same(kind: str) -> None:
    """Two segments, wherever the first one ends."""
    header, client_told = HEADERS[kind]
    data = header + GET
    async with all_going(behind_proxy(*TELLING)) as it:

        async def split(place: int) -> str:
            client = await it.client()
            client.send(data[:place])
            await asyncio.sleep(0.01)
            client.send(data[place:])
            return (await client.response()).body.decode()

        told = await asyncio.gather(*(split(place) for place in range(1, len(data))))
        assert set(told) == {f"{client_told} | -"}


@pytest.mark.parametrize("kind", ["v1", "v2"])
async def test_header_and_hello_in_one_segment_shake_hands(kind: str, certificate: alb.Certificate) -> None:
    """The handshake begins with the bytes behind the header."""
    header, client_told = HEADERS[kind]
    door = behind_proxy(*TELLING, protocol="HTTPS", certificates=certificate)
    async with all_going(door) as it:
        client = await it.client()
        tls = TlsClient(client, trusted_client())
        client.send(header + tls.hello())
        await tls.shake_hands()
        answer = await tls.ask(GET)
        assert client_told.encode() + b" | TLSv1.3 TLS_AES_" in answer
        assert answer.endswith(b" localhost")


async def test_header_and_hello_split_anywhere_shake_hands(certificate: alb.Certificate) -> None:
    """Within the header, behind it, and within the first bytes of the handshake; and each byte alone."""
    door = behind_proxy(*TELLING, protocol="HTTPS", certificates=certificate)
    header = v2()
    async with all_going(door) as it:

        async def split(places: list[int]) -> bytes:
            client = await it.client()
            tls = TlsClient(client, trusted_client())
            data = header + tls.hello()
            for start, end in zip([0, *places], [*places, len(data)], strict=True):
                client.send(data[start:end])
                await asyncio.sleep(0.001)
            await tls.shake_hands()
            return await tls.ask(GET)

        everywhere = [[place] for place in range(1, len(header) + 12)]
        each_alone = list(range(1, len(header) + 60))
        for answer in await asyncio.gather(*map(split, [*everywhere, each_alone])):
            assert b"203.0.113.7:4711 | TLSv1.3" in answer


async def test_header_with_much_in_it_is_taken_and_more_is_not() -> None:
    """TLVs that nobody knows fill a header of 16 KiB; one byte more and it is refused before it has come."""
    async with all_going(behind_proxy(*TELLING)) as it:
        room = 16_384 - len(v2()) - 3
        assert await ask(it, v2(tlvs=b"\xe0" + room.to_bytes(2, "big") + bytes(room)) + GET) == "203.0.113.7:4711 | -"
        client = await it.client()
        client.send(v2(tlvs=bytes(room + 4))[:16])
        assert await client.is_closed()
        assert it.counters["Failure_ProxyHeaderMalformed"] == 1


# Required, and not there.


async def refused(it: Balancing, data: bytes, kind: str, log: pytest.LogCaptureFixture) -> str:
    """The line of the log on a connection that is closed without a word."""
    before = it.counters.get(f"Failure_{kind}", 0)
    client = await it.client()
    client.send(data)
    assert await client.is_closed()
    assert it.counters.get(f"Failure_{kind}", 0) == before + 1
    (line,) = [record.getMessage() for record in log.records if record.getMessage().startswith(f"{kind}: ")][before:]
    assert f"client=127.0.0.1:{client.port} " in line
    assert "phase=entry side=client status=- " in line
    assert "request=-" in line
    assert "RequestCount" not in it.counters
    return line


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("data", [GET, HELLO, GARBAGE, b"PROXZ", b"\r\n\r\n\0\r\nQUIZ"])
async def test_connection_without_required_header_is_closed(
    data: bytes, secure: bool, certificate: alb.Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    """HTTP, TLS or neither: closed at the first byte that is in no header, with a line that shows how it begins."""
    settings = {"protocol": "HTTPS", "certificates": certificate} if secure else {}
    async with all_going(behind_proxy(*TELLING, **settings)) as it:
        line = await refused(it, data, "ProxyHeaderMissing", caplog)
        begins = re.sub("[^ -~]", ".", data[:16].decode("latin-1"))
        assert ("detail=it starts with a TLS handshake;" if data[:1] == b"\x16" else f"detail=it starts with {begins};") in line
        assert "ClientTLSNegotiationErrorCount" not in it.counters


MALFORMED = {
    "port": v1().replace(b"4711", b"65536"),
    "address": v1().replace(b"203.0.113.7", b"203.0.113.700"),
    "family": v1().replace(b"TCP4", b"UDP4"),
    "words": b"PROXY TCP4\r\n",
    "endless": b"PROXY TCP4 " + b"1" * 100,
    "version": SIGNATURE + b"\x31",
    "command": SIGNATURE + b"\x22",
    "datagrams": SIGNATURE + b"\x21\x12",
    "short": SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
    "checksum": v2(tlvs=b"\x03\x00\x04\x00\x00\x00\x01"),
    "cut-tlv": v2(tlvs=b"\x20\x00\x09\x01"),
}


@pytest.mark.parametrize("kind", MALFORMED)
@pytest.mark.parametrize("wanted", ["required", "optional"])
async def test_malformed_header_is_closed(kind: str, wanted: str, caplog: pytest.LogCaptureFixture) -> None:
    """Also where headers are optional: what begins as one and is none is not guessed at, and the request behind it not looked at."""
    async with all_going(behind_proxy(*TELLING, proxy_protocol=wanted, trusted_networks=HERE)) as it:
        await refused(it, MALFORMED[kind] + GET, "ProxyHeaderMalformed", caplog)


@pytest.mark.parametrize("data", [b"", b"PROXY TCP4 203.0", SIGNATURE, v2()[:-1]])
async def test_early_close_is_a_missing_header(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """FIN before the header is whole."""
    async with all_going(behind_proxy(*TELLING)) as it:
        client = await it.client()
        client.send(data)
        client.send_fin()
        assert await client.is_closed()
        assert it.counters["Failure_ProxyHeaderMissing"] == 1
        assert f"detail=the connection ended after {len(data)} bytes" in caplog.text


async def test_reset_is_a_missing_header() -> None:
    """RST in the middle of a header."""
    async with all_going(behind_proxy(*TELLING)) as it:
        client = await it.client()
        client.send(b"PROXY ")
        await asyncio.sleep(0.01)
        client.reset()
        await until(lambda: "Failure_ProxyHeaderMissing" in it.counters)


async def until(holds: Any) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("data", [b"", b"PROXY TCP4 203.0", SIGNATURE, v2()[:-1]])
@pytest.mark.parametrize("secure", [False, True])
async def test_silence_before_the_end_of_the_header_is_closed(
    data: bytes, secure: bool, certificate: alb.Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    """Behind the handshake timeout, whatever has come."""
    settings = {"protocol": "HTTPS", "certificates": certificate} if secure else {}
    async with all_going(behind_proxy(*TELLING, **settings), limits=alb.Limits(handshake_timeout=0.05)) as it:
        line = await refused(it, data, "ProxyHeaderTimeout", caplog)
        assert "detail=0.05 s" in line


async def test_header_and_handshake_have_one_timeout_together(certificate: alb.Certificate, caplog: pytest.LogCaptureFixture) -> None:
    """Silence behind the header: told as one of the handshake, of the client that the header names."""
    door = behind_proxy(*TELLING, protocol="HTTPS", certificates=certificate)
    async with all_going(door, limits=alb.Limits(handshake_timeout=0.05)) as it:
        client = await it.client()
        client.send(v1())
        assert await client.is_closed()
        assert it.counters["Failure_TlsHandshakeTimeout"] == 1
        assert it.counters["ClientTLSNegotiationErrorCount"] == 1
        assert "client=203.0.113.7:4711" in caplog.text


async def test_header_in_time_ends_the_timeout() -> None:
    """A client that has said who it is has the idle timeout for its request."""
    async with all_going(behind_proxy(*TELLING), limits=alb.Limits(handshake_timeout=0.05)) as it:
        client = await it.client()
        client.send(v1())
        await asyncio.sleep(0.15)
        assert (await client.get()).status == 200


async def test_failed_handshake_behind_a_header_names_its_client(certificate: alb.Certificate, caplog: pytest.LogCaptureFixture) -> None:
    """Plain HTTP behind the header is told so in its own words; nonsense behind it ends with an alert."""
    door = behind_proxy(*TELLING, protocol="HTTPS", certificates=certificate)
    async with all_going(door) as it:
        client = await it.client()
        client.send(v1() + GET)
        assert (await client.response()).status == 400
        assert "PlainHttpOnTlsPort" in caplog.text
        assert "client=203.0.113.7:4711" in caplog.text
        caplog.clear()
        client = await it.client()
        client.send(v2() + b"\x16nonsense")
        await client.read_to_end()
        assert "TlsHandshakeFailed" in caplog.text
        assert "client=203.0.113.7:4711" in caplog.text


async def test_stop_ends_connections_whose_header_is_awaited() -> None:
    """They are idle: nothing is waited for, and nothing told."""
    async with all_going(behind_proxy(*TELLING), stop_timeout=30) as it:
        client = await it.client()
        client.send(b"PROXY ")
        await until(lambda: it.runtime.clients)
        await it.load_balancer.stop()
        assert await client.is_closed()
        assert "Failure_ProxyHeaderMissing" not in it.counters
        await it.load_balancer.start()


# Whom to believe.


async def test_required_header_of_an_untrusted_network_is_not_read(caplog: pytest.LogCaptureFixture) -> None:
    """The connection is closed before it has said anything."""
    async with all_going(behind_proxy(*TELLING, trusted_networks=ELSEWHERE)) as it:
        await refused(it, b"", "ProxyHeaderUntrusted", caplog)
        await refused(it, v1() + GET, "ProxyHeaderUntrusted", caplog)


async def test_required_header_of_a_trusted_network_is_believed() -> None:
    """One of several networks, of both families."""
    async with all_going(behind_proxy(*TELLING, trusted_networks=[ELSEWHERE, "2001:db8::/32", HERE])) as it:
        assert await ask(it, v1() + GET) == "203.0.113.7:4711 | -"


@pytest.mark.parametrize("header", [b"", v1(), v2()])
async def test_optional_header_of_a_trusted_network_may_be_there_or_not(header: bytes) -> None:
    """Without one the connection's own address counts."""
    async with all_going(behind_proxy(*TELLING, proxy_protocol="optional", trusted_networks=HERE)) as it:
        client = await it.client()
        client.send(header + GET)
        told = (await client.response()).body.decode()
        assert told == ("203.0.113.7:4711 | -" if header else f"127.0.0.1:{client.port} | -")


@pytest.mark.parametrize("header", [b"", v1(), v2()])
async def test_optional_header_before_a_handshake_may_be_there_or_not(header: bytes, certificate: alb.Certificate) -> None:
    """A ClientHello begins as no header does."""
    door = behind_proxy(*TELLING, proxy_protocol="optional", trusted_networks=HERE, protocol="HTTPS", certificates=certificate)
    async with all_going(door) as it:
        client = await it.client()
        tls = TlsClient(client, trusted_client())
        client.send(header + tls.hello())
        await tls.shake_hands()
        assert (b"203.0.113.7:4711" if header else b"127.0.0.1:%d" % client.port) in await tls.ask(GET)


async def test_methods_that_begin_as_a_header_are_requests_where_it_is_optional() -> None:
    """PRO... may become PROPFIND; it is not one before the fifth byte."""
    async with all_going(behind_proxy(*TELLING, proxy_protocol="optional", trusted_networks=HERE)) as it:
        for method in ("P", "PROPFIND", "PROXYING", "PUT"):
            client = await it.client()
            data = request(method, "/")
            for place in range(len(method) + 1):
                client.send(data[place : place + 1])
                await asyncio.sleep(0.001)
            client.send(data[len(method) + 1 :])
            assert (await client.response()).body.decode() == f"127.0.0.1:{client.port} | -"


async def test_optional_header_of_a_client_that_leaves_in_silence_is_no_failure() -> None:
    """Browsers connect ahead and may never ask; nothing was wrong with that."""
    async with all_going(behind_proxy(*TELLING, proxy_protocol="optional", trusted_networks=HERE)) as it:
        client = await it.client()
        await until(lambda: it.runtime.clients)
        client.send_fin()
        assert await client.is_closed()
        await until(lambda: not it.runtime.clients)
        assert "Failure_ProxyHeaderMissing" not in it.counters


async def test_optional_header_of_a_silent_client_is_not_waited_for_for_good() -> None:
    """One that has connected ahead of its request may take as long as any other, and then has no header."""
    door = behind_proxy(*TELLING, proxy_protocol="optional", trusted_networks=HERE)
    async with all_going(door, limits=alb.Limits(handshake_timeout=0.05)) as it:
        client = await it.client()
        await until(lambda: any(isinstance(party, Http1ClientConnection) for party in it.runtime.clients))
        client.send(GET)
        assert (await client.response()).body.decode() == f"127.0.0.1:{client.port} | -"
        assert "Failure_ProxyHeaderTimeout" not in it.counters


@pytest.mark.parametrize("lie", [v1(), v2(), UNKNOWN, LOCAL])
async def test_header_in_an_untrusted_connection_is_a_bad_request(lie: bytes) -> None:
    """Where headers are optional and nobody believes this one, it is the beginning of a request that cannot be one."""
    async with all_going(behind_proxy(*TELLING, proxy_protocol="optional", trusted_networks=ELSEWHERE)) as it:
        client = await it.client()
        client.send(lie + GET)
        assert (await client.response()).status == 400
        assert await client.is_closed()
        client = await it.client()
        assert (await client.get()).body.decode() == f"127.0.0.1:{client.port} | -"


@pytest.mark.parametrize("lie", [v1(), v2()])
async def test_second_header_of_a_connection_is_a_bad_request(lie: bytes) -> None:
    """Only the first bytes of a connection may be one: what a client sends behind its proxy's header is not believed."""
    async with all_going(behind_proxy(*TELLING)) as it:
        client = await it.client()
        client.send(v1("192.0.2.9", 9) + lie + GET)
        assert (await client.response()).status == 400
        client = await it.client()
        client.send(v1("192.0.2.9", 9) + GET)
        assert (await client.response()).body == b"192.0.2.9:9 | -"
        client.send(lie + GET)
        assert (await client.response()).status == 400


@pytest.mark.parametrize("lie", [v1(), v2()])
async def test_header_of_an_untrusted_connection_to_https_is_no_handshake(lie: bytes, certificate: alb.Certificate) -> None:
    """A line of version 1 is taken for plain HTTP, a header of version 2 for nothing that is known."""
    settings = {"proxy_protocol": "optional", "trusted_networks": ELSEWHERE, "protocol": "HTTPS", "certificates": certificate}
    async with all_going(behind_proxy(*TELLING, **settings)) as it:
        client = await it.client()
        client.send(lie + GET)
        if lie.startswith(b"PROXY"):
            assert (await client.response()).status == 400
        await client.read_to_end()
        failures = {name for name in it.counters if name.startswith("Failure_")}
        assert failures == {"Failure_PlainHttpOnTlsPort" if lie.startswith(b"PROXY") else "Failure_TlsHandshakeFailed"}


@pytest.mark.parametrize(
    "header",
    [
        LOCAL,
        UNKNOWN,
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
        SIGNATURE + b"\x21\x00\x00\x00",
        SIGNATURE + b"\x20" + v2()[13:],
    ],
)
async def test_header_that_names_nobody_leaves_the_address_of_the_connection(header: bytes) -> None:
    """LOCAL and UNKNOWN: a proxy that asks for itself; and the port is the one that it has connected to."""
    async with named("web") as (web,), all_going(behind_proxy(alb.Forward(alb.TargetGroup("group", web.address)))) as it:
        client = await it.client()
        client.send(header + GET)
        assert (await client.response()).status == 200
        assert field(web.heads[0], "X-Forwarded-For") == "127.0.0.1"
        assert field(web.heads[0], "X-Forwarded-Port") == str(it.port)


# Who sees the client.


async def test_claimed_address_is_what_conditions_match() -> None:
    """SourceIp, on the claimed address and not on that of the connection."""
    rules = [
        alb.Rule(1, alb.SourceIp("127.0.0.0/8"), alb.FixedResponse(200, "the proxy")),
        alb.Rule(2, alb.SourceIp("203.0.113.0/24"), alb.FixedResponse(200, "the client")),
        alb.Rule(3, alb.SourceIp("2001:db8::/32"), alb.FixedResponse(200, "the other client")),
    ]
    async with all_going(behind_proxy(alb.FixedResponse(200, "nobody"), *rules)) as it:
        assert await ask(it, v1() + GET) == "the client"
        assert await ask(it, v2("2001:db8::7", 1, "2001:db8::1") + GET) == "the other client"
        assert await ask(it, LOCAL + GET) == "the proxy"
        assert await ask(it, v1("192.0.2.1") + GET) == "nobody"


@pytest.mark.parametrize("port", [False, True])
async def test_claimed_address_is_appended_to_forwarded_for(port: bool) -> None:
    """With its port where that is asked for; behind what the client has sent."""
    async with (
        named("web") as (web,),
        all_going(behind_proxy(alb.Forward(alb.TargetGroup("group", web.address))), xff_client_port=port) as it,
    ):
        client = await it.client()
        client.send(v1(to_port=8443) + GET)
        await client.response()
        await client.get("/", "X-Forwarded-For: 192.0.2.1")
        told = "203.0.113.7:4711" if port else "203.0.113.7"
        assert [field(head, "X-Forwarded-For") for head in web.heads] == [told, f"192.0.2.1, {told}"]
        assert [field(head, "X-Forwarded-Port") for head in web.heads] == ["8443", "8443"]
        assert [field(head, "X-Forwarded-Proto") for head in web.heads] == ["http", "http"]


async def test_claimed_port_is_that_of_redirects() -> None:
    """`#{port}` and `#{protocol}` say what the client sees: the port and the TLS of the proxy."""
    async with all_going(behind_proxy(alb.Redirect(path="/x"))) as it:
        for header, location in [
            (v1(to_port=8443), b"http://example.com:8443/x"),
            (v2(to_port=443, tlvs=tls_tlvs()), b"https://example.com:443/x"),
            (v1(to_port=0), b"http://example.com:%d/x" % it.port),
        ]:
            client = await it.client()
            client.send(header + GET)
            assert (await client.response()).get(b"location") == location


@pytest.mark.parametrize("settings", [{"algorithm": "ip_hash"}, {"stickiness": alb.SourceAddress()}])
async def test_claimed_address_chooses_the_target(settings: dict[str, Any]) -> None:
    """ip_hash and SourceAddress: one client always comes to one target; many come to all."""
    async with named("a", "b", "c") as targets:
        group = alb.TargetGroup("group", [one.address for one in targets], **settings)
        async with all_going(behind_proxy(alb.Forward(group))) as it:
            chosen = {number: {await ask(it, v1(f"203.0.113.{number}", port) + GET) for port in (1, 2, 3)} for number in range(1, 25)}
            assert all(len(words) == 1 for words in chosen.values())
            assert set.union(*chosen.values()) == {"a", "b", "c"}


async def test_claimed_address_stands_in_the_line_of_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """That of an exchange, and of a request that is none."""
    async with all_going(behind_proxy(alb.Forward(alb.TargetGroup("group", [])))) as it:
        for data, kind in ((GET, "NoTargets"), (b"nonsense\r\n\r\n", "RequestMalformed")):
            client = await it.client()
            client.send(v2() + data)
            await client.response()
            (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith(kind)]
            assert "client=203.0.113.7:4711 " in line


@pytest.mark.parametrize("header", [v1(), v2()])
async def test_websocket_behind_a_header_becomes_a_tunnel(header: bytes) -> None:
    """All in one segment: header, upgrade and the first bytes behind it; `tunnel.client` is the claimed one, and counted until its end."""
    async with target(switching(then=echo)) as web:
        door = behind_proxy(alb.Forward(alb.TargetGroup("group", web.address)), max_connections_per_client=1)
        async with all_going(door) as it:
            client = await it.client()
            client.send(header + request("GET", "/ws", *UPGRADE) + b"\x81\x82\0\0\0\0hi")
            assert (await client.response()).status == 101
            assert await client.read_exactly(8) == b"\x81\x82\0\0\0\0hi"
            (tunnel,) = it.load_balancer.tunnels
            assert str(tunnel.client) == "203.0.113.7:4711"
            other = await it.client()
            other.send(v1() + GET)
            assert await other.is_closed()
            await client.close()
            await gone(it)
            again = await it.client()
            again.send(header + request("GET", "/ws", *UPGRADE))
            assert (await again.response()).status == 101


async def test_claimed_address_is_counted_against_its_limit(caplog: pytest.LogCaptureFixture) -> None:
    """The limit of one client is not that of its proxy; a client that leaves makes room."""
    async with all_going(behind_proxy(*TELLING, max_connections_per_client=2)) as it:
        clients = [await it.client() for _ in range(2)]
        for client in clients:
            client.send(v1() + GET)
            assert (await client.response()).status == 200
        further = await it.client()
        further.send(v1() + GET)
        assert await further.is_closed()
        assert it.counters["Failure_TooManyConnectionsOfClient"] == 1
        assert it.counters["RejectedConnectionCount"] == 1
        assert "client=203.0.113.7:4711 " in caplog.text
        assert await ask(it, v1("203.0.113.8") + GET) == "203.0.113.8:4711 | -"
        await clients[0].close()
        await until(lambda: len(it.runtime.clients) == 2)
        assert await ask(it, v1() + GET) == "203.0.113.7:4711 | -"


async def test_addresses_of_one_ipv6_network_are_counted_together() -> None:
    """The first 64 bits; headers that name nobody count for the proxy."""
    async with all_going(behind_proxy(*TELLING, max_connections_per_client=1)) as it:
        for header, taken in [
            (v2("2001:db8:0:1::1", 1, "::1"), True),
            (v1("2001:db8:0:1:ffff::2", 1, "::1"), False),
            (v1("2001:db8:0:2::1", 1, "::1"), True),
            (LOCAL, True),
            (UNKNOWN, False),
        ]:
            client = await it.client()
            client.send(header + GET)
            if taken:
                assert (await client.response()).status == 200
            else:
                assert await client.is_closed()


async def test_connections_whose_header_is_awaited_count_against_the_limit_of_all() -> None:
    """`max_connections` counts from the first moment."""
    async with all_going(behind_proxy(*TELLING, max_connections=2)) as it:
        silent = [await it.client() for _ in range(2)]
        await until(lambda: len(it.runtime.clients) == 2)
        further = await it.client()
        assert await further.is_closed()
        assert it.counters["Failure_TooManyConnections"] == 1
        await silent[0].close()
        await until(lambda: len(it.runtime.clients) == 1)
        assert await ask(it, v1() + GET) == "203.0.113.7:4711 | -"


# What a proxy before us says of TLS.


async def test_tls_of_the_proxy_is_told_as_the_clients() -> None:
    """X-Forwarded-Proto, version and cipher, and what a hook sees; AWSALBCORS is marked Secure."""
    seen: list[alb.TlsSession | None] = []

    async def look(asked: alb.Request) -> None:
        seen.append(asked.client.tls)

    async with named("web") as (web,):
        group = alb.TargetGroup("group", web.address, stickiness=alb.LbCookie())
        async with all_going(behind_proxy([look, alb.Forward(group)]), x_amzn_tls_version_and_cipher_suite=True) as it:
            client = await it.client()
            client.send(v2(tlvs=tls_tlvs(name="Ann, \u00e9", sni="WWW.example.com")) + GET)
            cookies = (await client.response()).all(b"set-cookie")
            assert [cookie.endswith(b"; Secure") for cookie in cookies] == [False, True]
            (head,) = web.heads
            assert field(head, "X-Forwarded-Proto") == "https"
            assert field(head, "X-Forwarded-Port") == "443"
            assert field(head, "X-Amzn-Tls-Version") == "TLSv1.3"
            assert field(head, "X-Amzn-Tls-Cipher-Suite") == "TLS_AES_256_GCM_SHA384"
            assert b"mtls" not in head.lower()
            (tls,) = seen
            assert tls is not None
            assert (tls.server_name, tls.verify_status) == ("www.example.com", "Success")
            assert tls.client_certificate is not None
            assert tls.client_certificate.subject == "CN=Ann\\, \u00e9"
            # Without TLS, and with TLVs that tell of none.
            for header in (v1(), v2(tlvs=tls_tlvs(client=0))):
                client = await it.client()
                client.send(header + GET)
                cookies = (await client.response()).all(b"set-cookie")
                assert not any(cookie.endswith(b"Secure") for cookie in cookies)
                assert field(web.heads[-1], "X-Forwarded-Proto") == "http"
                assert field(web.heads[-1], "X-Amzn-Tls-Version") is None


async def test_our_own_tls_wins_over_that_of_the_proxy(certificate: alb.Certificate) -> None:
    """On an HTTPS listener what was agreed on with us is told, the address is still the claimed one."""
    async with named("web") as (web,):
        group = alb.TargetGroup("group", web.address)
        door = behind_proxy(alb.Forward(group), protocol="HTTPS", certificates=certificate)
        async with all_going(door, x_amzn_tls_version_and_cipher_suite=True) as it:
            client = await it.client()
            tls = TlsClient(client, trusted_client())
            client.send(v2(to_port=9443, tlvs=tls_tlvs("TLSv9", "NONE", name="Mallory", sni="evil")) + tls.hello())
            await tls.shake_hands()
            await tls.ask(GET)
            (head,) = web.heads
            assert field(head, "X-Amzn-Tls-Version") == "TLSv1.3"
            assert (field(head, "X-Amzn-Tls-Cipher-Suite") or "").startswith("TLS_")
            assert field(head, "X-Forwarded-For") == "203.0.113.7"
            assert field(head, "X-Forwarded-Port") == "9443"
            assert b"Mallory" not in head


async def test_certificate_of_which_only_the_name_is_known_has_an_empty_leaf() -> None:
    """A hook that reads it is not failed; the fields of a certificate tell what is known and leave out the rest."""
    seen: list[alb.ClientCertificate] = []

    async def look(asked: alb.Request) -> alb.Response:
        assert asked.client.tls is not None
        assert asked.client.tls.client_certificate is not None
        seen.append(asked.client.tls.client_certificate)
        return alb.Response(200, body=asked.client.tls.client_certificate.leaf.encode())

    async with all_going(behind_proxy([look, alb.FixedResponse(200, "nobody")])) as it:
        assert await ask(it, v2(tlvs=tls_tlvs(name="Ann")) + GET) == ""
    session = alb.TlsSession("TLSv1.3", "X", client_certificate=seen[0], verify_status="Success")
    lines = tls_field_lines(session, mutual_mode="verify", version_and_cipher=False, names={})
    assert lines == b"X-Amzn-Mtls-Clientcert-Subject: CN=Ann"
    assert tls_field_lines(session, mutual_mode="passthrough", version_and_cipher=False, names={}) == b""


async def test_header_fields_of_a_client_that_lie_about_tls_are_removed() -> None:
    """What the client says itself in the fields of ours never reaches a target behind a header either."""
    async with named("web") as (web,), all_going(behind_proxy(alb.Forward(alb.TargetGroup("group", web.address)))) as it:
        client = await it.client()
        lies = ("X-Amzn-Mtls-Clientcert-Subject: CN=root", "X-Forwarded-Proto: https", "X-Forwarded-Port: 1")
        client.send(v1() + request("GET", "/", *lies))
        assert (await client.response()).status == 200
        (head,) = web.heads
        assert b"CN=root" not in head
        assert field(head, "X-Forwarded-Proto") == "http"
        assert field(head, "X-Forwarded-Port") == "443"


# Unix sockets, and listeners that pass bytes on.


@pytest.fixture
async def path() -> AsyncIterator[Path]:
    """Where a unix socket can be made."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "web.sock"


@pytest.mark.parametrize("wanted", ["required", "optional"])
async def test_headers_on_a_unix_socket_are_believed(wanted: str, path: Path) -> None:
    """Who may write there is who is trusted, whatever the networks are; one that names nobody leaves a client without an address."""
    door = alb.Listener(8080, *TELLING, host=f"unix:{path}", proxy_protocol=wanted, trusted_networks=ELSEWHERE)
    async with all_going(door) as it:
        for header, told in [(v1(), "203.0.113.7:4711 | -"), (v2(), "203.0.113.7:4711 | -"), (LOCAL, "unix: | -"), (UNKNOWN, "unix: | -")]:
            client = RawClient(*await asyncio.open_unix_connection(path))
            it.clients.append(client)
            client.send(header + GET)
            assert (await client.response()).body.decode() == told


async def test_client_of_a_unix_socket_of_the_proxy_has_no_address() -> None:
    """AF_UNIX in a header: nothing is appended to X-Forwarded-For, the port is the listener's, no limit of one client counts."""
    header = SIGNATURE + b"\x21\x31\x00\xd8" + b"/client".ljust(108, b"\0") + b"/server".ljust(108, b"\0")
    async with named("web") as (web,):
        door = behind_proxy(alb.Forward(alb.TargetGroup("group", web.address)), max_connections_per_client=1)
        async with all_going(door) as it:
            for _ in range(3):
                client = await it.client()
                client.send(header + GET)
                assert (await client.response()).status == 200
            assert {field(head, "X-Forwarded-For") for head in web.heads} == {None}
            assert {field(head, "X-Forwarded-Port") for head in web.heads} == {str(it.port)}


@pytest.mark.parametrize("header", [v1(), v2()])
async def test_stream_behind_a_header_is_told_as_the_client(header: bytes) -> None:
    """TCP: what stands behind the header is the first of what the target gets; `tunnel.client` is the claimed one."""
    async with target(echo) as web:
        group = alb.TargetGroup("group", web.address, protocol="TCP", algorithm="ip_hash")
        async with all_going(behind_proxy(alb.Forward(group), protocol="TCP", max_connections_per_client=1)) as it:
            client = await it.client()
            client.send(header + b"hello")
            assert await client.read_exactly(5) == b"hello"
            (tunnel,) = it.load_balancer.tunnels
            assert str(tunnel.client) == "203.0.113.7:4711"
            other = await it.client()
            other.send(header + b"hello")
            assert await other.is_closed()
            await client.close()
            await gone(it)


async def test_stream_waits_for_its_header_before_a_target_is_chosen(caplog: pytest.LogCaptureFixture) -> None:
    """No target hears of a connection without one."""
    async with target(echo) as web:
        group = alb.TargetGroup("group", web.address, protocol="TCP")
        async with all_going(behind_proxy(alb.Forward(group), protocol="TCP")) as it:
            await refused(it, HELLO, "ProxyHeaderMissing", caplog)
            assert not web.conversations


async def test_listener_that_is_changed_asks_for_headers_from_the_next_connection_on() -> None:
    """`apply`: connections that are open go on as they began."""

    def door(wanted: str | None) -> alb.Listener:
        return listener(*TELLING, name="door", proxy_protocol=wanted)

    async with all_going(door(None)) as it:
        before = await it.client()
        await before.get()
        await it.load_balancer.apply(door("required"))
        assert (await before.get()).body.decode() == f"127.0.0.1:{before.port} | -"
        assert await ask(it, v1() + GET) == "203.0.113.7:4711 | -"
        await it.load_balancer.apply(door(None))
        client = await it.client()
        client.send(v1() + GET)
        assert (await client.response()).status == 400
        assert (await before.get()).status == 200


async def test_listener_that_goes_ends_connections_whose_header_is_awaited() -> None:
    """Nothing has been asked of them yet."""
    async with all_going(behind_proxy(*TELLING, name="old")) as it:
        client = await it.client()
        client.send(b"PROXY ")
        await until(lambda: it.runtime.clients)
        await it.load_balancer.apply(behind_proxy(*TELLING, name="new"))
        assert await client.is_closed()


async def test_many_clients_that_come_and_go_in_every_phase_leave_nothing() -> None:
    """FIN and RST behind each byte of a header and of the request behind it."""
    data = v2() + GET
    async with all_going(behind_proxy(*TELLING, max_connections_per_client=200)) as it:

        async def leave(place: int, *, by_reset: bool) -> None:
            client = await it.client()
            client.send(data[:place])
            await asyncio.sleep(0.005)
            client.reset() if by_reset else client.send_fin()
            if not by_reset:
                try:
                    await client.read_to_end()
                except ConnectionError:
                    pass

        for by_reset in (True, False):
            await asyncio.gather(*(leave(place, by_reset=by_reset) for place in range(0, len(data), 2)))
        await until(lambda: not it.runtime.clients)


@pytest.mark.parametrize("header", [v1(), v2(), UNKNOWN, LOCAL])
async def test_header_that_nobody_has_asked_for_is_told_by_its_name(header: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The likeliest mistake behind a load balancer: it sends a header, and the listener does not know."""
    caplog.set_level(logging.INFO, "albkit")
    async with all_going(listener(*TELLING)) as it:
        client = await it.client()
        client.send(header + GET)
        assert (await client.response()).status == 400
        assert await client.is_closed()
        assert it.counters["Failure_ProxyHeaderUnexpected"] == 1
    assert "set proxy_protocol=" in caplog.text

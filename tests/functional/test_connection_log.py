"""The connection log over real sockets and TLS: each field, for each kind of connection that is established or fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import re
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

import albkit as alb
from albkit.proxy.runtime import Runtime
from albkit.report import connection_log
from albkit.report.log_throttle import LogThrottle
from tests.support.authority import Authority, Issued
from tests.support.h2_client import H2Client
from tests.support.peers import RawClient, target
from tests.support.proxy_headers import v2
from tests.support.secure import SecureClient, Secured, certificate, client_context, https, securing

ATHENA = re.compile(
    r'([^ ]*) ([^ ]*) ([0-9]*) ([0-9]*) ([A-Za-z0-9.-]*) ([^ ]*) ([-.0-9]*) "([^"]*)" ([^ ]*) ([^ ]*) ([^ ]*) ?([^ ]*)?( .*)?'
)
"""AWS's expression for these lines (https://docs.aws.amazon.com/athena/latest/ug/create-alb-connection-logs-table.html)."""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
TID = re.compile(r"TID_[0-9a-f]{32}")
NOW = datetime.now(UTC)
UNMAPPED = "Failed:UnmappedConnectionError"
GROUP = alb.TargetGroup("group", "127.0.0.1:9")
FORWARD = alb.Forward(GROUP)
FIXED = alb.FixedResponse(200)


@pytest.fixture(autouse=True)
def _guarded(loop_guard: None) -> None:
    """See `loop_guard`."""


class Line:
    """One line in ALB's format, as AWS reads it."""

    def __init__(self, text: str) -> None:
        match = ATHENA.fullmatch(text)
        assert match is not None, text
        assert text.isascii()
        assert text.isprintable()
        (self.time, self.ip, self.port, self.listener_port, self.version, self.cipher, self.latency, self.subject) = match.groups()[:8]
        (self.validity, self.serial, self.status, self.tid) = match.groups()[8:12]
        self.key_exchange, self.elb, self.local = match[13][1:].split(" ")
        assert TIME.fullmatch(self.time)
        assert TID.fullmatch(self.tid)


class Log:
    """Collects the lines of a log."""

    def __init__(self, **settings: Any) -> None:
        self.texts: list[str] = []
        self.destination = alb.ConnectionLog(self._add, **settings)

    def _add(self, text: str) -> None:
        self.texts.append(text)

    @property
    def lines(self) -> list[Line]:
        return [Line(text) for text in self.texts]

    @property
    def one(self) -> Line:
        (line,) = self.lines
        return line

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.texts]


def http(*actions: Any, **settings: Any) -> alb.Listener:
    return alb.Listener(0, actions or FIXED, host="127.0.0.1", **settings)


@contextlib.asynccontextmanager
async def logging_to(log: Log, *listeners: alb.Listener, **settings: Any) -> AsyncIterator[Secured]:
    """A load balancer whose lines are all in `log` when it has stopped."""
    async with securing(*listeners, connection_log=log.destination, **settings) as it:
        yield it


@contextlib.asynccontextmanager
async def raw(it: Secured, place: int = 0) -> AsyncIterator[SecureClient]:
    client = await SecureClient.connect(it.load_balancer.listeners[place].port)
    assert isinstance(client, SecureClient)
    try:
        yield client
    finally:
        # A writer reports that its FIN came too late for a connection that was reset.
        with contextlib.suppress(OSError):
            await client.close()


async def gone(client: RawClient) -> None:
    """Wait until the load balancer has closed the connection."""
    with contextlib.suppress(ConnectionError):
        while await client.reader.read(65536):
            pass


def own(client: RawClient) -> tuple[str, str]:
    host, port = client.writer.get_extra_info("sockname")[:2]
    return host, str(port)


# Established.


async def test_plain_connection_has_one_line_with_the_id_of_its_requests() -> None:
    """Address, ports and id; a dash for everything about TLS. Two requests on it have the same id in the access log."""
    log, requests = Log(), list[str]()
    async with logging_to(log, http(name="door"), access_log=alb.AccessLog(requests.append, "json")) as it:
        client = await RawClient.connect(it.port)
        address = own(client)
        for _ in range(2):
            await client.get()
        await client.close()
        port = it.port
    line = log.one
    assert (line.ip, line.port) == address
    assert line.listener_port == str(port)
    assert (line.version, line.cipher, line.latency, line.subject, line.validity, line.serial) == ("-",) * 6
    assert (line.status, line.key_exchange, line.local) == ("-", "-", "127.0.0.1")
    assert re.fullmatch("app/albkit/[0-9a-f]{16}", line.elb)
    assert [json.loads(text)["conn_trace_id"] for text in requests] == [line.tid] * 2


@pytest.mark.parametrize(
    ("version", "curve", "name"),
    [
        ("TLSv1.3", None, "x25519"),
        ("TLSv1.3", "prime256v1", "secp256r1"),
        ("TLSv1.3", "secp384r1", "secp384r1"),
        ("TLSv1.2", None, "x25519"),
        ("TLSv1.2", "prime256v1", "secp256r1"),
    ],
)
@pytest.mark.parametrize("mutual", [None, "passthrough"])
async def test_tls_connection_has_version_cipher_latency_group(version: str, curve: str | None, name: str, mutual: str | None) -> None:
    """With Python's TLS and with pyOpenSSL's alike. Without a certificate of the client, its three fields are dashes."""
    log = Log()
    context = client_context(version)
    if curve is not None:
        context.set_ecdh_curve(curve)
    settings = {"mutual_authentication": alb.MutualAuthentication(mutual)} if mutual is not None else {}
    async with logging_to(log, https(FIXED, **settings)) as it:
        client = await it.secure(context)
        cipher = client.tls.cipher()[0]
    line = log.one
    assert (line.version, line.cipher, line.key_exchange) == (version, cipher, name)
    assert re.fullmatch(r"\d+\.\d{3}", line.latency)
    assert (line.subject, line.validity, line.serial, line.status) == ("-", "-", "-", "Success")


async def test_latency_is_that_of_the_handshake_alone() -> None:
    """The time that the client takes before its first byte does not count, the time that it takes in the middle does."""
    log = Log(format="json")
    async with logging_to(log, https(FIXED)) as it, raw(it) as client:
        (preface,) = it.runtime.clients
        hello = client.start()
        clock = it.runtime.clock.monotonic
        offset = 0.0
        it.runtime.clock = _Shifted(it.runtime.clock, lambda: clock() + offset)  # type: ignore[assignment]
        offset = 3.0
        client.writer.write(hello)
        while preface._state != "TLS handshake":  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        offset = 5.0
        await client.finish()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.response()).status == 200
    (line,) = log.objects
    assert 2.0 <= line["tls_handshake_latency"] < 3.0


class _Shifted:
    def __init__(self, clock: Any, monotonic: Any) -> None:
        self._clock = clock
        self.monotonic = monotonic

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)


@pytest.mark.parametrize("prior_knowledge", [False, True])
async def test_http2_connection_has_one_line(prior_knowledge: bool) -> None:
    """Also if it begins like one of HTTP/1.1."""
    log = Log()
    async with logging_to(log, http() if prior_knowledge else https(FIXED)) as it:
        peer = await RawClient.connect(it.port) if prior_knowledge else await it.secure(client_context(alpn=("h2",)))
        client = await H2Client(peer).start()
        assert (await client.get("/")).status == 200
        await client.close()
    assert log.one.status == ("-" if prior_knowledge else "Success")


@pytest.mark.parametrize("protocol", ["TCP", "TLS"])
async def test_layer_4_connection_has_one_line_of_a_network_load_balancer(protocol: str) -> None:
    """The load balancer is of NLB's kind in it."""
    log = Log()
    async with target() as origin:
        settings: dict[str, Any] = {"certificates": certificate()} if protocol == "TLS" else {}
        group = alb.TargetGroup("group", origin.address, protocol="TCP")
        async with logging_to(log, alb.Listener(0, alb.Forward(group), host="127.0.0.1", protocol=protocol, **settings)) as it:
            client = await it.secure() if protocol == "TLS" else await RawClient.connect(it.port)
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.response()).status == 200
            await client.close()
    line = log.one
    assert line.elb.startswith("net/albkit/")
    assert (line.version, line.status) == (("TLSv1.3", "Success") if protocol == "TLS" else ("-", "-"))


async def test_client_of_a_unix_socket_has_no_address() -> None:
    """The port is 0, because readers of the log expect a number."""
    log = Log()
    with tempfile.TemporaryDirectory() as folder:
        async with logging_to(log, alb.Listener(0, FIXED, host=f"unix:{folder}/s")):
            reader, writer = await asyncio.open_unix_connection(f"{folder}/s")
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert await reader.read()
            writer.close()
    line = log.one
    assert (line.ip, line.port, line.listener_port, line.local) == ("-", "0", "80", "-")


@pytest.mark.parametrize("secure", [False, True])
async def test_client_is_the_one_in_the_proxy_header(secure: bool) -> None:
    """Its address, and the address that it connected to, with the id of its requests."""
    log, requests = Log(), list[str]()
    door = https(FIXED, proxy_protocol="required") if secure else http(proxy_protocol="required")
    async with logging_to(log, door, access_log=alb.AccessLog(requests.append, "json")) as it, raw(it) as client:
        client.writer.write(v2("203.0.113.7", 4711, "198.51.100.1", 443))
        if secure:
            await client.shake()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.response()
        else:
            client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.reader.readuntil(b"\r\n\r\n")
    line = log.one
    assert (line.ip, line.port, line.local) == ("203.0.113.7", "4711", "198.51.100.1")
    assert line.version == ("TLSv1.3" if secure else "-")
    assert [json.loads(text)["conn_trace_id"] for text in requests] == [line.tid]


async def test_requests_of_a_trusted_proxy_have_the_id_of_its_connection() -> None:
    """The connection is the proxy's, the requests are those of its clients."""
    log, requests = Log(), list[str]()
    door = http(trusted_networks="127.0.0.1")
    async with logging_to(log, door, access_log=alb.AccessLog(requests.append, "json")) as it, raw(it) as client:
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
    assert log.one.ip == "127.0.0.1"
    (request,) = map(json.loads, requests)
    assert (request["client_ip"], request["conn_trace_id"]) == ("203.0.113.9", log.one.tid)


@pytest.mark.parametrize("kind", ["no log", "access log", "connection log"])
async def test_log_changes_nothing_that_targets_get(kind: str) -> None:
    """The port of an inherited socket is not the one that clients use, which the listener names."""
    lines: list[str] = []
    settings: dict[str, Any] = {"no log": {}, "access log": {"access_log": alb.AccessLog(lines.append)}}.get(
        kind, {"connection_log": alb.ConnectionLog(lines.append)}
    )
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        async with target() as origin:
            group = alb.TargetGroup("group", origin.address)
            more: dict[str, Any] = {"proxy_protocol": "optional", "trusted_networks": "127.0.0.1"}
            door = alb.Listener(8443, alb.Forward(group), inherited_socket=inherited.fileno(), **more)
            async with securing(door, **settings):
                client = await RawClient.connect(inherited.getsockname()[1])
                await client.get()
                await client.close()
            (head,) = origin.heads
    assert b"X-Forwarded-Port: 8443\r\n" in head
    assert len(lines) == (kind != "no log")


# Mutual TLS.


@cache
def ca() -> Authority:
    return Authority("Client CA")


def showing(shown: Issued, version: str = "TLSv1.3") -> ssl.SSLContext:
    context = client_context(version)
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(*shown.write(Path(folder), "client"))
    return context


def verifying(**settings: Any) -> alb.Listener:
    return https(FIXED, mutual_authentication=alb.MutualAuthentication("verify", trust_store=ca().pem(), **settings))


def validity(shown: Issued) -> str:
    before, after = shown.certificate.not_valid_before_utc, shown.certificate.not_valid_after_utc
    return f"NotBefore={before:%Y-%m-%dT%H:%M:%SZ};NotAfter={after:%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_verified_certificate_is_described(version: str) -> None:
    """Subject, validity, and the serial number in whole bytes."""
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Org"), x509.NameAttribute(NameOID.COMMON_NAME, "a client")])
    shown = ca().issue("client", client=True, subject=name, serial_number=0x03A5B1)
    log = Log()
    async with logging_to(log, verifying()) as it:
        client = await it.secure(showing(shown, version))
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.response()).status == 200
    line = log.one
    assert (line.subject, line.validity, line.serial) == ("CN=a client,O=Org", validity(shown), "03A5B1")
    assert (line.version, line.status, line.key_exchange) == (version, "Success", "x25519")


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("ClientCertUntrusted", lambda: Authority("Nobody").issue("client", client=True)),
        ("ClientCertExpired", lambda: ca().issue("client", client=True, not_after=NOW - timedelta(days=2))),
        ("ClientCertNotYetValid", lambda: ca().issue("client", client=True, not_before=NOW + timedelta(days=2))),
        ("ClientCertPurposeInvalid", lambda: ca().issue("client")),
        ("ClientCertTypeUnsupported", lambda: ca().issue("client", client=True, key="rsa1024")),
    ],
)
async def test_rejected_certificate_is_described_with_the_code_of_alb(code: str, shown: Any, version: str) -> None:
    """Version, cipher and certificate are known, the latency is not."""
    issued = shown()
    log = Log()
    async with logging_to(log, verifying()) as it, raw(it) as client:
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await client.shake(showing(issued, version))
        await gone(client)
    line = log.one
    assert line.status == f"Failed:{code}"
    assert (line.version, line.latency, line.key_exchange) == (version, "-", "x25519")
    assert line.cipher.startswith("TLS_" if version == "TLSv1.3" else "ECDHE-")
    assert (line.subject, line.validity) == ("CN=client", validity(issued))
    assert int(line.serial, 16) == issued.certificate.serial_number


async def test_missing_certificate_has_the_code_for_everything_else() -> None:
    """As ALB logs it."""
    log = Log()
    async with logging_to(log, verifying()) as it, raw(it) as client:
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await client.shake(client_context())
        await gone(client)
    assert (log.one.status, log.one.subject) == (UNMAPPED, "-")


HOSTILE = (
    *('"', "\\", "\r\n2026-01-01 forged", "\x00\x1b[31m", "\xe9", "\u65e5\u672c", "\U0001f600", ' - - "x" y'),
    *("a,b+c=d;<>#", "\u2028\u202e", "\x7f\x85"),
)


@pytest.mark.parametrize("place", range(len(HOSTILE)))
@pytest.mark.parametrize("kind", ["passthrough", "refused"])
async def test_hostile_subject_stays_inside_its_field(place: int, kind: str) -> None:
    """One line of printable ASCII without a quote in the field; the JSON has the text as it is in the certificate."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOSTILE[place])])
    shown = (ca() if kind == "passthrough" else Authority("Nobody")).issue("client", client=True, subject=subject)
    plain, readable = Log(), Log(format="json")
    mutual = alb.MutualAuthentication(kind) if kind == "passthrough" else alb.MutualAuthentication("verify", trust_store=ca().pem())
    doors = [https(FIXED, mutual_authentication=mutual, connection_log=log.destination) for log in (plain, readable)]
    async with securing(*doors) as it:
        for which in range(2):
            async with raw(it, which) as client:
                with contextlib.suppress(ssl.SSLError, ConnectionError):
                    await client.shake(showing(shown))
                if kind == "refused":
                    await gone(client)
                else:
                    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    assert (await client.response()).status == 200
    name = shown.certificate.subject.rfc4514_string()
    assert plain.one.subject == re.sub(rb"[^ !#-\[\]-~]", lambda match: b"\\x%02X" % match[0][0], name.encode()).decode()
    assert readable.objects[0]["leaf_client_cert_subject"] == name
    assert plain.one.status == ("Success" if kind == "passthrough" else "Failed:ClientCertUntrusted")


# Failed.


async def _garbage(client: SecureClient) -> None:
    client.writer.write(b"\x16\x03\x01\x00\x05hello")
    await gone(client)


async def _plain_http(client: SecureClient) -> None:
    client.writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await gone(client)


async def _nothing(client: SecureClient) -> None:
    client.writer.write_eof()
    await gone(client)


async def _cut(client: SecureClient) -> None:
    client.writer.transport.abort()


async def _half_a_hello(client: SecureClient) -> None:
    client.writer.write(client.start()[:50])
    client.writer.write_eof()
    await gone(client)


async def _hello_only(client: SecureClient) -> None:
    client.writer.write(client.start())
    await client.reader.readexactly(5)
    client.writer.write_eof()
    await gone(client)


async def _no_common_version(client: SecureClient) -> None:
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        await client.shake(client_context("TLSv1.1"))
    await gone(client)


async def _too_slow(client: SecureClient) -> None:
    client.writer.write(client.start()[:50])
    await gone(client)


@pytest.mark.parametrize(
    ("attempt", "reason", "version"),
    [
        (_garbage, "TlsHandshakeFailed", None),
        (_plain_http, "PlainHttpOnTlsPort", None),
        (_nothing, "ClientClosed", None),
        (_cut, "ClientClosed", None),
        (_half_a_hello, "TlsHandshakeFailed", None),
        (_hello_only, "TlsHandshakeFailed", "TLSv1.3"),
        (_no_common_version, "TlsHandshakeFailed", None),
        (_too_slow, "TlsHandshakeTimeout", None),
    ],
)
@pytest.mark.parametrize("mutual", [None, "passthrough"])
async def test_failed_handshake_has_one_line(attempt: Any, reason: str, version: str | None, mutual: str | None) -> None:
    """ALB has one code for all of them; the JSON has the reason, and what OpenSSL says."""
    plain, readable = Log(), Log(format="json")
    settings: dict[str, Any] = {"mutual_authentication": alb.MutualAuthentication(mutual)} if mutual is not None else {}
    doors = [https(FIXED, connection_log=log.destination, **settings) for log in (plain, readable)]
    async with securing(*doors, limits=alb.Limits(handshake_timeout=0.2)) as it:
        for place in range(2):
            async with raw(it, place) as client:
                await attempt(client)
        while it.runtime.clients:
            await asyncio.sleep(0.001)
    line = plain.one
    assert line.status == UNMAPPED
    assert (line.version, line.latency) == (version or "-", "-")
    (found,) = readable.objects
    assert (found["error_reason"], found["tls_verify_status"], found["tls_protocol"]) == (reason, UNMAPPED, version)
    assert found["tls_handshake_latency"] is None


@pytest.mark.parametrize(
    ("limit", "reason"), [("max_connections", "TooManyConnections"), ("max_connections_per_client", "TooManyConnectionsOfClient")]
)
async def test_rejected_connection_has_a_line_with_the_limit(limit: str, reason: str) -> None:
    """ALB has no such limits, so it has no code for them."""
    log = Log()
    async with logging_to(log, http(**{limit: 1})) as it, raw(it):
        while not it.runtime.clients:
            await asyncio.sleep(0)
        async with raw(it) as second:
            await gone(second)
    first, other = log.lines
    assert (first.status, other.status) == ("-", f"Failed:{reason}")
    assert first.tid != other.tid


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "ProxyHeaderMissing"),
        (b"PROXY TCP4 nonsense\r\n", "ProxyHeaderMalformed"),
        (b"PROX", "ProxyHeaderMissing"),
    ],
)
async def test_bad_proxy_header_has_a_line_with_the_address_of_the_proxy(data: bytes, reason: str) -> None:
    """The client is not known."""
    log = Log()
    async with logging_to(log, http(proxy_protocol="required")) as it, raw(it) as client:
        address = own(client)
        client.writer.write(data)
        client.writer.write_eof()
        await gone(client)
    assert (log.one.ip, log.one.port) == address
    assert log.one.status == f"Failed:{reason}"


async def test_limit_of_a_client_behind_a_proxy_is_logged_once_with_its_address() -> None:
    """The connection was admitted as the proxy's before the header named the client."""
    log = Log()
    async with logging_to(log, http(proxy_protocol="required", max_connections_per_client=1)) as it, raw(it) as first, raw(it) as second:
        first.writer.write(v2("203.0.113.7") + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await first.reader.readuntil(b"\r\n\r\n")
        second.writer.write(v2("203.0.113.7"))
        await gone(second)
    assert [(line.ip, line.status) for line in log.lines] == [("203.0.113.7", "-"), ("203.0.113.7", "Failed:TooManyConnectionsOfClient")]


async def test_connection_for_which_there_is_no_descriptor_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever loop accepts it."""
    log = Log()
    async with logging_to(log, http()) as it:
        monkeypatch.setattr(Runtime, "admit_client", lambda _, __: False)
        async with raw(it) as client:
            address = own(client)
            await gone(client)
        assert it.counters["RejectedConnectionCount"] == 1
        monkeypatch.undo()
    assert (log.one.ip, log.one.port) == address
    assert log.one.status == "Failed:OutOfSockets"


async def test_stop_in_the_middle_of_a_handshake_has_a_line() -> None:
    """It is written before the log is closed."""
    log = Log(format="json")
    async with logging_to(log, https(FIXED)) as it, raw(it) as client, raw(it) as silent:
        client.writer.write(client.start())
        await client.reader.readexactly(5)
        while len(it.runtime.clients) < 2:
            await asyncio.sleep(0)
        await it.load_balancer.stop()
        await gone(client)
        await gone(silent)
    assert [line["error_reason"] for line in log.objects] == ["Stopped", "Stopped"]


# Settings.


def test_setting_that_is_no_connection_log_is_refused() -> None:
    """An access log in its place too."""
    for wrong in ("connections.log", True, alb.AccessLog("access.log")):
        with pytest.raises(alb.ConfigurationError, match=r'connection_log: .* is not ConnectionLog.*; give ConnectionLog\("conn'):
            http(connection_log=wrong)
        with pytest.raises(alb.ConfigurationError, match=r'connection_log: .* is not ConnectionLog.*; give ConnectionLog\("conn'):
            alb.LoadBalancer(http(), connection_log=wrong)
    with pytest.raises(alb.ConfigurationError, match=r"destination: .*format: 'combined'"):
        alb.ConnectionLog("", "combined")


async def test_log_of_a_listener_takes_precedence() -> None:
    """Its own log, none with `False`, and else the one of the load balancer."""
    common, special = Log(), Log()
    doors = (http(name="a"), http(name="b", connection_log=special.destination), http(name="c", connection_log=False))
    async with logging_to(common, *doors) as it:
        ports = [str(listener.port) for listener in it.load_balancer.listeners]
        for place in range(3):
            async with raw(it, place) as client:
                client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                await gone(client)
    assert [common.one.listener_port, special.one.listener_port] == ports[:2]


async def test_apply_switches_the_log_of_a_listener_on_and_off() -> None:
    """From the next connection on, without a restart of the listener."""
    log = Log()
    on, off = http(name="a", connection_log=log.destination), http(name="a")
    async with securing(off) as it:
        for door in (off, on, off):
            await it.load_balancer.apply(door)
            async with raw(it) as client:
                client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                await gone(client)
    assert log.one.status == "-"


async def test_log_that_is_switched_off_during_a_handshake_gets_no_line() -> None:
    """The connection goes on."""
    log = Log()
    on, off = https(FIXED, name="a", connection_log=log.destination), https(FIXED, name="a")
    async with securing(on) as it, raw(it) as client:
        client.writer.write(client.start())
        data = await client.reader.readexactly(5)
        await it.load_balancer.apply(off)
        client.incoming.write(data)
        await client.finish()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.response()).status == 200
    assert not log.texts


async def test_line_that_cannot_be_made_costs_no_connection(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is reported with a traceback, and the connection is served."""
    monkeypatch.setattr(connection_log, "_status", lambda _: 1 / 0)
    monkeypatch.setattr(connection_log, "_throttle", LogThrottle())
    log = Log()
    with caplog.at_level(logging.ERROR, "albkit"):
        async with logging_to(log, http(max_connections=1)) as it, raw(it) as client:
            client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.reader.readuntil(b"\r\n\r\n")
            async with raw(it) as second:
                await gone(second)
    assert len(log.texts) == 1
    assert "a line of the connection log could not be written" in caplog.text


# All of them.


def _attempts(chance: random.Random) -> Iterator[tuple[int, Any]]:
    async def served(client: SecureClient) -> None:
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await gone(client)

    async def secure(client: SecureClient) -> None:
        await client.shake()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await gone(client)

    everything = [(0, served), (0, _nothing), (0, _cut), (0, _garbage), (1, secure)]
    everything += [(1, attempt) for attempt in (_garbage, _plain_http, _nothing, _cut, _half_a_hello, _hello_only, _no_common_version)]
    for _ in range(150):
        yield chance.choice(everything)


async def test_there_are_as_many_lines_as_connections_were_counted() -> None:
    """Whatever clients do, several at a time, with limits that some of them exceed."""
    log = Log()
    chance = random.Random(7)
    limit = {"max_connections": 6}
    async with logging_to(log, http(**limit), https(FIXED, **limit)) as it:
        waiting = asyncio.Semaphore(16)

        async def go(place: int, attempt: Any) -> None:
            async with waiting, raw(it, place) as client:
                with contextlib.suppress(OSError, EOFError, RuntimeError):
                    await attempt(client)

        await asyncio.gather(*(go(place, attempt) for place, attempt in _attempts(chance)))
        while it.runtime.clients:
            await asyncio.sleep(0.001)
        counters = it.counters
    assert len(log.lines) == counters["NewConnectionCount"] + counters.get("RejectedConnectionCount", 0)
    assert sum("TooMany" in line.status for line in log.lines) == counters.get("RejectedConnectionCount", 0)
    assert len({line.tid for line in log.lines}) == len(log.lines)

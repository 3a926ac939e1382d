"""HTTPS listeners that ask clients for a certificate, from a client's handshake to what a target is told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import tempfile
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from cryptography import x509

import albkit as alb
from albkit.events import CertificatesRead, Event
from tests.support.authority import Authority, Issued
from tests.support.gateway import Running, leaving_nothing
from tests.support.peers import RawClient, request, response, target
from tests.support.tunnels import SWITCHED, UPGRADE, echo, switching

CHAIN = b"X-Amzn-Mtls-Clientcert"
FIELDS = (
    b"X-Amzn-Mtls-Clientcert-Serial-Number",
    b"X-Amzn-Mtls-Clientcert-Issuer",
    b"X-Amzn-Mtls-Clientcert-Subject",
    b"X-Amzn-Mtls-Clientcert-Validity",
    b"X-Amzn-Mtls-Clientcert-Leaf",
)
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
NOW = datetime.now(UTC)


@cache
def server(name: str = "example.com") -> Issued:
    return Authority("Server CA").issue(name)


@cache
def ca() -> Authority:
    return Authority("Client CA")


def context(shown: Issued | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """A client's, with what it shows."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.maximum_version = version
    made.set_alpn_protocols(["http/1.1"])
    if shown is not None:
        with tempfile.TemporaryDirectory() as folder:
            made.load_cert_chain(*shown.write(Path(folder), "client"))
    return made


class Doors(Running):
    """A running load balancer that asks for certificates."""

    async def come(self, shown: Issued | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, name: str = "example.com") -> RawClient:
        """A client that shows this. With TLS 1.3 it hears of a refusal when it reads."""
        streams = asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context(shown, version), server_hostname=name, ssl_shutdown_timeout=0.1, limit=2**26
        )
        client = RawClient(*await streams)
        self.clients.append(client)
        return client

    async def _asked(self, shown: Issued | None, version: ssl.TLSVersion, name: str) -> None:
        client = await self.come(shown, version, name)
        self.clients.remove(client)
        try:
            await client.get()
        finally:
            client.writer.transport.abort()

    async def alert(self, shown: Issued | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, name: str = "example.com") -> str:
        """What TLS says to a client whose handshake fails."""
        with pytest.raises(ssl.SSLError) as raised:
            await self._asked(shown, version, name)
        return raised.value.reason or ""


@contextlib.asynccontextmanager
async def asking(mutual: alb.MutualAuthentication, origin: str, *, rules: Sequence[alb.Rule] = (), **settings: Any) -> AsyncIterator[Doors]:
    """A load balancer with one HTTPS listener in front of one target."""
    more = {name: settings.pop(name) for name in ("certificate_check_interval",) if name in settings}
    settings.setdefault("certificates", alb.Certificate(server().pem, server().key_pem))
    listener = alb.Listener(
        0,
        alb.Forward(alb.TargetGroup("group", origin)),
        rules,
        host="127.0.0.1",
        protocol="HTTPS",
        mutual_authentication=mutual,
        **settings,
    )
    it = Doors(alb.LoadBalancer(listener, stop_timeout=0.2, **more))
    async with leaving_nothing(it):
        listener_runtime = it.load_balancer._running[0].listener_runtime
        yield it
    assert listener_runtime.limiter.count == 0


def verifying(**settings: Any) -> alb.MutualAuthentication:
    return alb.MutualAuthentication("verify", trust_store=settings.pop("trust_store", ca().pem()), **settings)


def told(head: bytes) -> dict[bytes, bytes]:
    """The fields that a target got, by name as written."""
    return {name: value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)}


FORGED = [f"{name.decode()}: forged" for name in (CHAIN, *FIELDS)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("which", ["chain", "untrusted", "expired"])
async def test_passthrough_hands_on_the_whole_chain_leaf_first(version: ssl.TLSVersion, which: str) -> None:
    """Nothing is verified: the target gets what the client has shown, URL-encoded, and nothing that it has written itself."""
    between = ca().intermediate("Between")
    shown = {
        "chain": between.issue("client", client=True),
        "untrusted": Authority("Nobody").issue("client", client=True),
        "expired": ca().issue("client", client=True, not_after=NOW - timedelta(days=2)),
    }[which]
    async with target() as origin, asking(alb.MutualAuthentication("passthrough"), origin.address) as it:
        client = await it.come(shown, version)
        assert (await client.get("/", *FORGED)).status == 200
        fields = told(origin.heads[0])
        assert x509.load_pem_x509_certificates(unquote(fields[CHAIN].decode()).encode()) == [shown.certificate, *shown.intermediates]
        assert not set(FIELDS) & fields.keys()
        assert b"forged" not in origin.heads[0]


@pytest.mark.parametrize("version", VERSIONS)
async def test_passthrough_without_a_certificate_tells_nothing(version: ssl.TLSVersion) -> None:
    """The client may show none; what it writes itself is removed all the same."""
    async with target() as origin, asking(alb.MutualAuthentication("passthrough"), origin.address) as it:
        client = await it.come(None, version)
        assert (await client.get("/", *FORGED)).status == 200
        assert b"clientcert" not in origin.heads[0].lower()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("renamed", [False, True])
async def test_verify_tells_five_fields_of_the_certificate(version: ssl.TLSVersion, renamed: bool) -> None:
    """Exactly as it stands in the certificate, under other names where that is wished; neither name can be forged."""
    shown = ca().issue("client", common_name="a client", client=True, serial_number=0x03A5B1)
    names = {name: (b"X-" + name[23:] if renamed else name) for name in FIELDS}
    settings = {"request_header_names": {name.decode(): other.decode() for name, other in names.items()}} if renamed else {}
    async with target() as origin, asking(verifying(), origin.address, **settings) as it:
        client = await it.come(shown, version)
        assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        forged = [*FORGED, *(f"{other.decode()}: forged" for other in names.values())]
        assert (await client.get("/", *forged)).status == 200
        assert (await client.get("/", *forged)).status == 200
        certificate = shown.certificate
        before, after = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (certificate.not_valid_before_utc, certificate.not_valid_after_utc))
        for head in origin.heads:
            fields = told(head)
            assert [fields[names[name]] for name in FIELDS[:4]] == [
                b"03A5B1",
                b"CN=Client CA",
                b"CN=a client",
                f"NotBefore={before};NotAfter={after}".encode(),
            ]
            assert x509.load_pem_x509_certificate(unquote(fields[names[FIELDS[4]]].decode()).encode()) == certificate
            assert CHAIN not in fields
            assert b"forged" not in head
            assert renamed is not (FIELDS[0] in fields)


def _too_deep() -> Issued:
    authority = ca()
    for place in range(4):
        authority = authority.intermediate(f"Level {place}")
    return authority.issue("client", client=True)


@cache
def _revoked() -> Issued:
    return ca().issue("client", client=True)


WRONG = {
    "ClientCertExpired": (lambda: ca().issue("client", client=True, not_after=NOW - timedelta(days=2)), "EXPIRED"),
    "ClientCertNotYetValid": (lambda: ca().issue("client", client=True, not_before=NOW + timedelta(days=2)), "BAD_CERTIFICATE"),
    "ClientCertCrlHit": (_revoked, "REVOKED"),
    "ClientCertUntrusted": (lambda: Authority("Nobody").issue("client", client=True), "UNKNOWN_CA"),
    "ClientCertPurposeInvalid": (lambda: ca().issue("client"), "UNSUPPORTED_CERTIFICATE"),
    "ClientCertMaxChainDepthExceeded": (_too_deep, "UNKNOWN_CA"),
    "UnmappedConnectionError": (lambda: None, ""),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("code", WRONG)
async def test_wrong_certificate_fails_the_handshake_with_albs_code(
    code: str, version: ssl.TLSVersion, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets an alert, the log ALB's code, the counters both; a good client after it is served."""
    make, alert = WRONG[code]
    mutual = verifying(revocations=ca().crl(_revoked()))
    async with target() as origin, asking(mutual, origin.address) as it:
        with caplog.at_level(logging.INFO, "albkit"):
            reason = await it.alert(make(), version)
            async with asyncio.timeout(3):
                while f"Failure_{code}" not in it.counters:
                    await asyncio.sleep(0)
        assert "ALERT" in reason
        assert alert in reason
        (line,) = [record for record in caplog.records if record.message.startswith(f"{code}: ")]
        assert line.levelno == logging.INFO
        assert it.counters[f"Failure_{code}"] == it.counters["ClientTLSNegotiationErrorCount"] == 1
        assert len([name for name in it.counters if name.startswith("Failure_")]) == 1
        assert origin.conversations == []
        assert (await (await it.come(ca().issue("client", client=True), version)).get()).status == 200


async def test_expiry_that_is_ignored_lets_an_expired_client_in() -> None:
    """ALB's IgnoreClientCertificateExpiry, and nothing else."""
    async with target() as origin, asking(verifying(ignore_client_certificate_expiry=True), origin.address) as it:
        shown = ca().issue("client", client=True, not_after=NOW - timedelta(days=2))
        assert (await (await it.come(shown)).get()).status == 200
        assert "UNKNOWN_CA" in await it.alert(Authority("Nobody").issue("c", client=True))


async def test_files_that_change_are_taken_up(tmp_path: Path) -> None:
    """A new trust store lets new clients in, a new revocation list keeps one out; a connection that is open stays."""
    other = Authority("Other CA")
    old, new = ca().issue("old", client=True), other.issue("new", client=True)
    store, crl = tmp_path / "store.pem", tmp_path / "list.pem"
    store.write_bytes(ca().pem())
    crl.write_bytes(ca().crl())
    events: asyncio.Queue[Event] = asyncio.Queue()
    mutual = verifying(trust_store=str(store), revocations=str(crl))
    async with target() as origin, asking(mutual, origin.address, certificate_check_interval=0.01) as it:
        it.load_balancer.subscribe(lambda event: events.put_nowait(event) if isinstance(event, CertificatesRead) else None)
        before = await it.come(old)
        assert (await before.get()).status == 200
        assert "UNKNOWN_CA" in await it.alert(new)
        for path, content in ((store, ca().pem() + other.pem()), (crl, ca().crl(old))):
            fresh = tmp_path / "fresh"
            fresh.write_bytes(content)
            fresh.rename(path)
            event = await asyncio.wait_for(events.get(), 5)
            assert isinstance(event, CertificatesRead)
            assert (await (await it.come(new)).get()).status == 200
        assert "REVOKED" in await it.alert(old)
        assert (await before.get()).status == 200


async def test_certificate_is_there_for_conditions_and_hooks() -> None:
    """A rule routes by subject; an action sees all of the session."""
    seen: list[Any] = []

    def is_admin(asked: Any) -> bool:
        return asked.client.tls.client_certificate.subject == "CN=admin"

    async def look(asked: Any) -> None:
        seen.append(asked.client.tls)

    rule = alb.Rule(1, is_admin, [look, alb.FixedResponse(200, "welcome")])
    async with target() as origin, asking(verifying(), origin.address, rules=[rule]) as it:
        assert (await (await it.come(ca().issue("admin", client=True))).get()).body == b"welcome"
        assert (await (await it.come(ca().issue("other", client=True))).get()).body == b"ok"
        assert (seen[0].verify_status, seen[0].server_name, seen[0].alpn) == ("Success", "example.com", "http/1.1")
        assert seen[0].client_certificate.issuer == "CN=Client CA"


@pytest.mark.parametrize("version", VERSIONS)
async def test_large_bodies_go_both_ways_on_one_connection(version: ssl.TLSVersion) -> None:
    """Several megabytes up and down, one request after the other."""
    body = bytes(range(256)) * 12_000
    async with target(None, response(200, body)) as origin, asking(verifying(), origin.address) as it:
        client = await it.come(ca().issue("client", client=True), version)
        for _ in range(2):
            client.send(request("POST", "/", f"Content-Length: {len(body)}", body=body))
            assert (await client.response()).body == body
        assert len(origin.heads) == 2


@pytest.mark.parametrize("version", VERSIONS)
async def test_websocket_goes_through(version: ssl.TLSVersion) -> None:
    """An upgrade, bytes there and back, and its end."""
    async with target(switching(SWITCHED, then=echo)) as origin, asking(verifying(), origin.address) as it:
        client = await it.come(ca().issue("client", client=True), version)
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 101
        frame = b"\x81\x85\0\0\0\0hello"
        client.send(frame)
        assert await client.read_exactly(len(frame)) == frame


async def test_names_choose_among_several_certificates_and_all_verify() -> None:
    """SNI under mutual authentication: each name its certificate, and none a way around."""
    shown = [server(), server("other.example.com")]
    certificates = [alb.Certificate(one.pem, one.key_pem) for one in shown]
    async with target() as origin, asking(verifying(), origin.address, certificates=certificates) as it:
        for name, one in (("example.com", shown[0]), ("other.example.com", shown[1]), ("unknown.example.com", shown[0])):
            client = await it.come(ca().issue("client", client=True), name=name)
            leaf = client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            assert x509.load_der_x509_certificate(leaf) == one.certificate
            assert (await client.get()).status == 200
            assert "CERTIFICATE_REQUIRED" in await it.alert(None, name=name)


async def test_files_that_cannot_be_used_are_listed_at_the_start(tmp_path: Path) -> None:
    """Every listener's, with its place and what to do."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    mutuals = [
        verifying(trust_store=str(tmp_path / "missing.pem")),
        verifying(trust_store=str(nonsense)),
        verifying(revocations=str(nonsense)),
    ]
    certificate = alb.Certificate(server().pem, server().key_pem)
    listeners = [
        alb.Listener(0, alb.FixedResponse(200), host="127.0.0.1", protocol="HTTPS", certificates=certificate, mutual_authentication=one)
        for one in mutuals
    ]
    with pytest.raises(alb.ConfigurationError) as raised:
        await alb.LoadBalancer(listeners).start()
    faults = raised.value.faults
    assert [fault.partition(":")[0] for fault in faults] == [f"listeners[{place}].mutual_authentication" for place in range(3)]
    for fault, words in zip(faults, ("missing.pem", "nonsense.pem", "nonsense.pem"), strict=True):
        assert words in fault

from __future__ import annotations

import gc
import random
import ssl
import warnings
import weakref
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL
from OpenSSL._util import lib
from OpenSSL.crypto import X509

from albkit.model.mutual_authentication import MutualAuthentication
from albkit.model.tls import ClientCertificate
from albkit.proxy.tls.mutual import MutualContexts
from albkit.proxy.tls.mutual_session import MutualSession
from tests.support.authority import Authority, Issued, self_signed

_NOW = datetime.now(UTC)
_DAY = timedelta(days=1)
_BOTH = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


class Policy(NamedTuple):
    minimum: str = "TLSv1.2"
    maximum: str = "TLSv1.3"
    ciphers: tuple[str, ...] = ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384")


class Shown(NamedTuple):
    """What a server shows."""

    chain: bytes
    key: bytes


@cache
def server_ca() -> Authority:
    return Authority("Servers")


@cache
def client_ca() -> Authority:
    return Authority("Clients")


@cache
def shown(*names: str, key: Any = "ec256") -> Shown:
    issued = server_ca().issue(*names or ("a.example",), key=key)
    return Shown(issued.pem, issued.key_pem)


def contexts(mode: Any = "verify", policy: Policy = Policy(), alpn: Sequence[str] = (), **settings: Any) -> MutualContexts:  # noqa: B008
    if mode == "verify":
        settings.setdefault("trust_store", client_ca().pem())
    return MutualContexts(MutualAuthentication(mode, **settings), policy, alpn)


def _nobody_else(_: str) -> SSL.Context | None:
    return None


def session_of(made: MutualContexts) -> MutualSession:
    return MutualSession(made.context([shown()]), _nobody_else)


class Client:
    """A client of the standard library's, in memory."""

    def __init__(
        self,
        folder: Path,
        issued: Issued | None = None,
        *,
        version: ssl.TLSVersion | None = None,
        server_name: str | None = "a.example",
        alpn: Sequence[str] = (),
        ciphers: str = "DEFAULT:@SECLEVEL=0",
        session: ssl.SSLSession | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if context is None:
            self.context.set_ciphers(ciphers)
            self.context.check_hostname = False
            self.context.load_verify_locations(cadata=server_ca().pem().decode())
            if version is not None:
                self.context.minimum_version = self.context.maximum_version = version
            if issued is not None:
                self.context.load_cert_chain(*issued.write(folder, "client"))
            if alpn:
                self.context.set_alpn_protocols(list(alpn))
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name, session=session)


def carry(session: MutualSession, client: Client) -> bool:
    """All that waits on either side goes over to the other; whether there was anything."""
    up, down = client.outgoing.read(), session.outgoing.read()
    session.incoming.write(up)
    client.incoming.write(down)
    return bool(up or down)


def shake_hands(session: MutualSession, client: Client) -> tuple[ssl.SSLError | None, ssl.SSLError | None]:
    """The handshake, to its end or until nothing moves: what each side says about its failure."""
    errors: list[ssl.SSLError | None] = [None, None]
    steps: list[Callable[[], object]] = [session.do_handshake, client.tls.do_handshake]
    while True:
        for index, step in enumerate(steps):
            try:
                if errors[index] is None:
                    step()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                # Without its traceback it holds nothing that a test waits to see freed.
                errors[index] = error.with_traceback(None)
        if not carry(session, client):
            break
    try:
        # With TLS 1.3 a client hears of its fate with the first that it reads.
        if errors[1] is None and client.tls.read(1) == b"":
            errors[1] = ssl.SSLZeroReturnError("closed")
    except ssl.SSLWantReadError:
        pass
    except ssl.SSLError as error:
        errors[1] = error.with_traceback(None)
    return errors[0], errors[1]


def connected(made: MutualContexts, client: Client) -> MutualSession:
    session = session_of(made)
    assert shake_hands(session, client) == (None, None)
    return session


def failure_of(made: MutualContexts, client: Client) -> tuple[str, MutualSession]:
    """The code of a handshake that must fail for both sides, with an alert."""
    session = session_of(made)
    ours, theirs = shake_hands(session, client)
    assert ours is not None, "the handshake has not failed"
    assert theirs is not None, "the client was not told"
    assert ours.reason
    assert session.version() is None
    assert session.verify_status == ""
    with pytest.raises(ssl.SSLError):
        session.read(1)
    return session.failure, session


# What is right


@_BOTH
@pytest.mark.parametrize("key", ["ec256", "ec384", "ec521", "rsa2048"])
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_verify_with_a_good_certificate_tells_all_of_it(tmp_path: Path, version: ssl.TLSVersion, key: Any, digest: Any) -> None:
    """Every kind of key and signature that ALB knows is taken (docs/alb.md 1.11)."""
    issued = client_ca().issue("client.example", client=True, key=key, hash=digest, serial_number=0x3A5B1)
    session = connected(contexts(), Client(tmp_path, issued, version=version))
    assert (session.failure, session.verify_status, session.version()) == ("", "Success", version.name.replace("_", ".", 1))
    shown = session.client_certificate()
    assert isinstance(shown, ClientCertificate)
    assert (shown.subject, shown.issuer, shown.serial_number) == ("CN=client.example", "CN=Clients", "03A5B1")
    assert shown.not_before == issued.certificate.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert shown.not_after == issued.certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert shown.chain == (issued.leaf_pem.decode(),)


@_BOTH
def test_session_speaks_both_ways_in_any_amount(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """A mebibyte each way arrives as it was, and `pending` tells of what waits."""
    client = Client(tmp_path, client_ca().issue("client.example", client=True), version=version)
    session = connected(contexts(), client)
    data = random.Random(7).randbytes(1024 * 1024)
    assert session.write(data) == len(data)
    assert session.outgoing.pending > len(data)
    waiting = session.outgoing.pending
    sent = session.outgoing.read()
    assert (len(sent), session.outgoing.pending, session.outgoing.read()) == (waiting, 0, b"")
    client.incoming.write(sent)
    got = bytearray()
    while len(got) < len(data):
        got += client.tls.read(65536)
    assert got == data
    assert client.tls.write(data[:10]) == 10
    for start in range(0, len(data), 16384):
        client.tls.write(data[start : start + 16384])
    session.incoming.write(client.outgoing.read())
    assert session.incoming.pending > len(data)
    assert session.read(4) == data[:4]
    assert session.pending() == 6
    back = bytearray()
    while len(back) < len(data) + 6:
        back += session.read(1 << 30)
    assert back == data[4:10] + data
    with pytest.raises(ssl.SSLWantReadError):
        session.read(1)
    assert (session.incoming.pending, session.pending()) == (0, 0)
    assert (session.read(0), session.write(b""), session.write(memoryview(b"ab")), session.incoming.write(b"")) == (b"", 0, 2, 0)


@_BOTH
def test_session_fed_byte_by_byte_does_the_same(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """A handshake and data in pieces of one byte."""
    client = Client(tmp_path, client_ca().issue("client.example", client=True), version=version)
    session = session_of(contexts())
    for _ in range(4):
        try:
            client.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        for byte in client.outgoing.read():
            session.incoming.write(bytes([byte]))
            try:
                session.do_handshake()
            except ssl.SSLWantReadError:
                pass
        client.incoming.write(session.outgoing.read())
    client.tls.write(b"hello")
    got = b""
    for byte in client.outgoing.read():
        session.incoming.write(bytes([byte]))
        try:
            got += session.read(100)
        except ssl.SSLWantReadError:
            pass
    assert got == b"hello"


# Passthrough


@_BOTH
def test_passthrough_takes_an_untrusted_and_expired_chain_as_sent(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Nothing is verified; the chain is leaf first, as the client has sent it."""
    root = Authority("Nobody's root")
    issued = root.intermediate("Two").intermediate("Three").issue("x", client=True, not_after=_NOW - _DAY, key="rsa2048", hash="sha1")
    session = connected(contexts("passthrough"), Client(tmp_path, issued, version=version))
    certificate = session.client_certificate()
    assert certificate is not None
    assert "".join(certificate.chain).encode() == issued.pem
    assert len(certificate.chain) == 3
    assert certificate.leaf == issued.leaf_pem.decode()
    assert (session.failure, session.verify_status) == ("", "")


@_BOTH
@pytest.mark.parametrize("key", ["ed25519", "rsa1024"])
def test_passthrough_takes_any_key(tmp_path: Path, version: ssl.TLSVersion, key: Any) -> None:
    """Which keys there are is the target's business."""
    issued = self_signed("x", key=key)
    session = connected(contexts("passthrough", Policy("TLSv1")), Client(tmp_path, issued, version=version))
    certificate = session.client_certificate()
    assert certificate is not None
    assert certificate.chain == (issued.leaf_pem.decode(),)


@_BOTH
def test_passthrough_without_a_certificate_is_a_connection_like_others(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Nobody must show one."""
    session = connected(contexts("passthrough"), Client(tmp_path, version=version))
    assert (session.client_certificate(), session.failure, session.verify_status) == (None, "", "")


@_BOTH
def test_passthrough_with_a_broken_signature_leaves_no_error_for_others(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """What OpenSSL minds about one client's certificate is not told as a fault of the next connection's, as it was before OpenSSL 4."""
    made = contexts("passthrough")
    bystander = connected(made, Client(tmp_path))
    forged = _with_wrong_signature()
    issued = Issued(forged.certificate, forged.key, [client_ca().certificate])
    client = Client(tmp_path, issued, version=version)
    session = session_of(made)
    for step in (client.tls.do_handshake, session.do_handshake) * 3:
        try:
            step()
        except ssl.SSLWantReadError:
            pass
        assert lib.ERR_peek_error() == 0
        with pytest.raises(ssl.SSLWantReadError):
            bystander.read(1)
        carry(session, client)
    assert session.version() is not None


@pytest.mark.parametrize("mode", ["passthrough", "verify"])
def test_chain_above_64_kib_is_refused(tmp_path: Path, mode: str) -> None:
    """Whatever the mode, and also far above, where OpenSSL reads no further (docs/alb.md 7.2)."""
    leaf = client_ca().issue("client.example", client=True)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for count in (68, 300):
            names = [f"{index}.{'a' * 60}.example" for index in range(12)]
            others = [client_ca().issue(*names, client=True).certificate for _ in range(count)]
            size = sum(len(one.public_bytes(Encoding.DER)) for one in others)
            assert 64 * 1024 < size < 100_000 or size > 110_000
            failure, _ = failure_of(contexts(mode), Client(tmp_path, Issued(leaf.certificate, leaf.key, others), version=version))
            assert failure == "ClientCertMaxSizeExceeded"


# What is wrong


def _forged() -> Issued:
    """The right names, signed by somebody else with the same name."""
    return Authority("Clients").issue("client.example", client=True)


def _with_wrong_signature() -> Issued:
    """A good certificate of which one bit was changed afterwards."""
    issued = client_ca().issue("client.example", client=True)
    der = bytearray(issued.certificate.public_bytes(Encoding.DER))
    der[-1] ^= 1
    return Issued(x509.load_der_x509_certificate(bytes(der)), issued.key)


_WRONG = [
    pytest.param(lambda: client_ca().issue("x", client=True, not_after=_NOW - _DAY), "ClientCertExpired", id="expired"),
    pytest.param(lambda: client_ca().issue("x", client=True, not_before=_NOW + _DAY), "ClientCertNotYetValid", id="not yet valid"),
    pytest.param(lambda: Authority("Other").issue("x", client=True), "ClientCertUntrusted", id="unknown CA"),
    pytest.param(
        lambda: Authority("Other").intermediate("Mid").issue("x", client=True), "ClientCertUntrusted", id="unknown CA, intermediate sent"
    ),
    pytest.param(lambda: self_signed("x"), "ClientCertUntrusted", id="self-signed"),
    pytest.param(_forged, "ClientCertUntrusted", id="CA of the same name"),
    pytest.param(_with_wrong_signature, "ClientCertInvalid", id="wrong signature"),
    pytest.param(lambda: client_ca().issue("x"), "ClientCertPurposeInvalid", id="serverAuth only"),
    pytest.param(
        lambda: client_ca().issue("x", purposes=[ExtendedKeyUsageOID.OCSP_SIGNING]), "ClientCertPurposeInvalid", id="other purpose"
    ),
    pytest.param(lambda: client_ca().issue("x", client=True, key="rsa1024"), "ClientCertTypeUnsupported", id="RSA 1024"),
    pytest.param(lambda: client_ca().issue("x", client=True, key="ed25519"), "ClientCertTypeUnsupported", id="Ed25519"),
    pytest.param(lambda: client_ca().issue("x", client=True, hash="sha1"), "ClientCertTypeUnsupported", id="SHA-1"),
    pytest.param(
        lambda: client_ca().intermediate("Mid", key="rsa1024").issue("x", client=True),
        "ClientCertTypeUnsupported",
        id="intermediate RSA 1024",
    ),
    pytest.param(
        lambda: client_ca().intermediate("Mid", not_after=_NOW - _DAY).issue("x", client=True),
        "ClientCertExpired",
        id="intermediate expired",
    ),
    pytest.param(
        lambda: client_ca().intermediate("1").intermediate("2").intermediate("3").issue("x", client=True),
        "ClientCertMaxChainDepthExceeded",
        id="five certificates",
    ),
    pytest.param(
        lambda: client_ca().intermediate("1").intermediate("2").intermediate("3").intermediate("4").issue("x", client=True),
        "ClientCertMaxChainDepthExceeded",
        id="six certificates",
    ),
    pytest.param(lambda: None, "UnmappedConnectionError", id="none at all"),
]


@_BOTH
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("make", "code"), _WRONG)
def test_verify_with_a_wrong_certificate_fails_with_the_code(
    tmp_path: Path, version: ssl.TLSVersion, legacy: bool, make: Callable[[], Issued | None], code: str
) -> None:
    """The handshake ends, the client hears of it, and the code is that of the connection log (docs/alb.md 7.2); also with security
    level 0, where OpenSSL minds fewer things."""
    issued = make()
    failure, session = failure_of(contexts(policy=Policy("TLSv1") if legacy else Policy()), Client(tmp_path, issued, version=version))
    assert failure == code
    certificate = session.client_certificate()
    if issued is None:
        assert certificate is None
    else:
        sent = [issued.leaf_pem.decode(), *(one.public_bytes(Encoding.PEM).decode() for one in issued.intermediates)]
        assert certificate is not None
        assert certificate.leaf in [*sent, client_ca().pem().decode()]
        if len(sent) == 1:
            assert certificate.leaf == sent[0]
    with pytest.raises(ssl.SSLError):
        session.do_handshake()


def test_verify_with_a_purpose_left_open_takes_it(tmp_path: Path) -> None:
    """A certificate without extended key usage may be used for anything."""
    session = connected(contexts(), Client(tmp_path, client_ca().issue("x", purposes=[])))
    assert session.verify_status == "Success"


def test_verify_with_four_certificates_takes_them(tmp_path: Path) -> None:
    """The client's, two intermediates and the root: depth 4."""
    issued = client_ca().intermediate("1").intermediate("2").issue("x", client=True)
    certificate = connected(contexts(), Client(tmp_path, issued)).client_certificate()
    assert certificate is not None
    assert len(certificate.chain) == 3


def test_verify_with_an_intermediate_in_the_trust_store_needs_no_root(tmp_path: Path) -> None:
    """It is an anchor of its own; its sisters are not."""
    middle = client_ca().intermediate("Middle")
    made = contexts(trust_store=middle.pem())
    leaf = middle.issue("x", client=True)
    assert connected(made, Client(tmp_path, Issued(leaf.certificate, leaf.key))).verify_status == "Success"
    assert failure_of(made, Client(tmp_path, client_ca().issue("x", client=True)))[0] == "ClientCertUntrusted"


def test_verify_with_a_weak_root_takes_what_it_signed(tmp_path: Path) -> None:
    """How a CA is made that somebody trusts is theirs to choose, as far as OpenSSL goes along."""
    root = Authority("Old", key="rsa1024")
    made = contexts(policy=Policy("TLSv1"), trust_store=root.pem())
    assert connected(made, Client(tmp_path, root.issue("x", client=True))).verify_status == "Success"


@_BOTH
def test_ignored_expiry_lets_pass_expiry_only(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Of the client's certificate and of its issuers; one that is not valid yet, unknown or revoked is refused all the same."""
    ca = client_ca()
    expired = ca.issue("x", client=True, not_after=_NOW - _DAY)
    revoked = ca.issue("x", client=True, not_after=_NOW - _DAY)
    made = contexts(ignore_client_certificate_expiry=True, revocations=ca.crl(revoked))
    assert connected(made, Client(tmp_path, expired, version=version)).verify_status == "Success"
    below = ca.intermediate("Old", not_after=_NOW - _DAY).issue("x", client=True)
    assert connected(made, Client(tmp_path, below, version=version)).verify_status == "Success"
    others = {
        "ClientCertNotYetValid": ca.issue("x", client=True, not_before=_NOW + _DAY),
        "ClientCertUntrusted": Authority("Other").issue("x", client=True, not_after=_NOW - _DAY),
        "ClientCertCrlHit": revoked,
        "ClientCertPurposeInvalid": ca.issue("x", not_after=_NOW - _DAY),
    }
    for code, issued in others.items():
        assert failure_of(made, Client(tmp_path, issued, version=version))[0] == code


# Revocation


@_BOTH
def test_revoked_certificate_is_refused_and_its_sister_is_not(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """From a file in PEM, from bytes in DER."""
    good, bad = (client_ca().issue("x", client=True) for _ in range(2))
    pem = client_ca().crl(bad)
    path = tmp_path / "revoked.pem"
    path.write_bytes(pem)
    for source in (str(path), x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER)):
        made = contexts(revocations=source)
        assert made.warnings == ()
        assert connected(made, Client(tmp_path, good, version=version)).verify_status == "Success"
        assert failure_of(made, Client(tmp_path, bad, version=version))[0] == "ClientCertCrlHit"


def test_revoked_intermediate_takes_all_below_with_it(tmp_path: Path) -> None:
    """A root's list is looked at for what the root has signed, though the intermediate has none."""
    good, bad = client_ca().intermediate("Good"), client_ca().intermediate("Bad")
    made = contexts(revocations=client_ca().crl(Issued(bad.certificate, bad.key)))
    assert connected(made, Client(tmp_path, good.issue("x", client=True))).verify_status == "Success"
    assert failure_of(made, Client(tmp_path, bad.issue("x", client=True)))[0] == "ClientCertCrlHit"


def test_ca_without_a_list_revokes_nothing(tmp_path: Path) -> None:
    """Of two CAs one has a list: the other's clients are taken as before."""
    other = Authority("Other")
    made = contexts(trust_store=client_ca().pem() + other.pem(), revocations=client_ca().crl())
    assert connected(made, Client(tmp_path, other.issue("x", client=True))).verify_status == "Success"


def test_expired_list_warns_and_refuses_its_clients(tmp_path: Path) -> None:
    """What was revoked since nobody knows: ClientCertCrlProcessingError, and a sentence about it beforehand."""
    made = contexts(revocations=client_ca().crl(not_after=_NOW - _DAY))
    (warning,) = made.warnings
    assert "CN=Clients" in warning
    assert "expired on" in warning
    assert failure_of(made, Client(tmp_path, client_ca().issue("x", client=True)))[0] == "ClientCertCrlProcessingError"


# Files


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"trust_store": "/nowhere/ca.pem"}, "the trust store '/nowhere/ca.pem' cannot be read"),
        ({"trust_store": b" \n"}, "is empty"),
        ({"trust_store": b"nonsense"}, "the trust store"),
        ({"trust_store": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, "the trust store"),
        ({"revocations": "/nowhere/crl.pem"}, "revocations '/nowhere/crl.pem' cannot be read: No such file or directory; check that"),
        ({"revocations": b"\n"}, "is empty"),
        ({"revocations": b"nonsense"}, "does not contain revocation lists"),
        ({"revocations": lambda: client_ca().pem()}, "does not contain revocation lists"),
        ({"revocations": lambda: Authority("Other").crl()}, "'CN=Other', which is not in the trust store"),
        ({"revocations": lambda: Authority("Clients").crl()}, "'CN=Clients', which is not in the trust store"),
    ],
)
def test_contexts_of_wrong_files_say_what_to_do(settings: dict[str, Any], words: str) -> None:
    """A sentence names the setting and what to give instead."""
    settings = {name: value() if callable(value) else value for name, value in settings.items()}
    with pytest.raises(ValueError, match=r"; (give|add|check|get|write|convert) ") as raised:
        contexts(**settings)
    assert words in str(raised.value)


def _crl_with(*extensions: x509.ExtensionType) -> bytes:
    ca = client_ca()
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject).last_update(_NOW).next_update(_NOW + _DAY)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(ca.key, SHA256()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]


def _scope(**settings: Any) -> x509.IssuingDistributionPoint:
    wanted = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**(wanted | settings))


@pytest.mark.parametrize(
    "extension",
    [
        x509.DeltaCRLIndicator(1),
        _scope(indirect_crl=True),
        _scope(only_some_reasons=frozenset([x509.ReasonFlags.key_compromise])),
        _scope(only_contains_attribute_certs=True),
    ],
)
def test_list_that_openssl_would_pass_over_is_refused(extension: x509.ExtensionType) -> None:
    """A list of which nothing would be seen must not look as if it were used."""
    with pytest.raises(ValueError, match="give the complete list"):
        contexts(revocations=_crl_with(extension))


def test_list_for_others_than_this_client_fails_closed(tmp_path: Path) -> None:
    """A list about CAs only says nothing about a client of the same CA."""
    made = contexts(revocations=_crl_with(_scope(only_contains_ca_certs=True)))
    assert failure_of(made, Client(tmp_path, client_ca().issue("x", client=True)))[0] == "ClientCertCrlProcessingError"


def test_several_lists_in_one_file_all_count(tmp_path: Path) -> None:
    """Each block of a PEM file is a list."""
    other = Authority("Other")
    first, second = client_ca().issue("x", client=True), other.issue("x", client=True)
    made = contexts(trust_store=client_ca().pem() + other.pem(), revocations=client_ca().crl(first) + other.crl(second))
    for issued in (first, second):
        assert failure_of(made, Client(tmp_path, issued))[0] == "ClientCertCrlHit"


@pytest.mark.parametrize(("policy", "words"), [(Policy(ciphers=("NOPE",)), "no cipher match")])
def test_policy_that_openssl_has_not_says_so(policy: Policy, words: str) -> None:
    """Not with an error of the library's own."""
    with pytest.raises(ValueError, match=words):
        contexts(policy=policy).context([shown()])


def test_certificate_with_another_key_says_so() -> None:
    """Certificate and key must fit."""
    with pytest.raises(ValueError, match="give the key that belongs to it"):
        contexts().context([Shown(shown().chain, shown("b.example").key)])


# What is agreed on


def test_server_name_chooses_the_context(tmp_path: Path) -> None:
    """In lower case; an unknown one and none at all get the default, and who chooses is let go of afterwards."""
    made = contexts("passthrough")
    default, other = made.context([shown()]), made.context([shown("b.example")])
    for name, expected, server in (
        ("B.example", "b.example", "b.example"),
        ("c.example", "c.example", "a.example"),
        (None, "", "a.example"),
    ):
        asked: list[str] = []

        def choose(name: str, asked: list[str] = asked) -> SSL.Context | None:
            asked.append(name)
            return other if name == "b.example" else None

        session, client = MutualSession(default, choose), Client(tmp_path, server_name=name)
        before = weakref.ref(choose)
        del choose
        assert shake_hands(session, client) == (None, None)
        assert before() is None
        assert session.server_hostname == expected
        assert set(asked) == ({expected} - {""})
        certificate = client.tls.getpeercert(binary_form=True)
        assert certificate is not None
        (name_attribute,) = x509.load_der_x509_certificate(certificate).subject
        assert name_attribute.value == server


@_BOTH
def test_chosen_context_verifies_like_the_default(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Another certificate of ours changes nothing about whom we trust."""
    made = contexts(revocations=client_ca().crl())
    default, other = made.context([shown()]), made.context([shown("b.example")])
    for issued, code in (
        (client_ca().issue("x", client=True), ""),
        (self_signed("x"), "ClientCertUntrusted"),
        (None, "UnmappedConnectionError"),
    ):
        session = MutualSession(default, lambda _: other)
        shake_hands(session, Client(tmp_path, issued, server_name="b.example", version=version))
        assert session.failure == code
        assert session.verify_status == ("" if code else "Success")


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a b", b"-", b"A" * 255, b"xn--\xc3\xa4"])
def test_server_name_of_odd_bytes_raises_nothing(tmp_path: Path, name: bytes) -> None:
    """The name is the client's to choose; what is written of it is ASCII."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    client = SSL.Connection(context, None)
    client.set_tlsext_host_name(name)
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    session = session_of(contexts("passthrough"))
    session.incoming.write(client.bio_read(65536))
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    assert session.server_hostname
    assert session.server_hostname.isascii()
    assert session.server_hostname == session.server_hostname.lower()


@pytest.mark.parametrize(
    ("ours", "theirs", "agreed"),
    [
        (["h2", "http/1.1"], ["http/1.1", "h2"], "h2"),
        (["http/1.1"], ["h2", "http/1.1"], "http/1.1"),
        (["http/1.1"], ["spdy"], None),
        (["http/1.1"], [], None),
        ([], ["http/1.1"], None),
    ],
)
def test_protocol_agreed_on_is_the_one_we_like_best(tmp_path: Path, ours: list[str], theirs: list[str], agreed: str | None) -> None:
    """Our order wins; nothing in common is no error."""
    client = Client(tmp_path, alpn=theirs)
    session = connected(contexts("passthrough", alpn=ours), client)
    assert session.selected_alpn_protocol() == agreed == client.tls.selected_alpn_protocol()


def test_cipher_agreed_on_is_the_one_we_like_best(tmp_path: Path) -> None:
    """The server's order wins (docs/alb.md 1.10)."""
    policy = Policy(maximum="TLSv1.2")
    order = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"
    session = connected(contexts("passthrough", policy), Client(tmp_path, ciphers=order))
    assert session.cipher() == ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLSv1.2", 128)
    assert session.version() == "TLSv1.2"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_protocol_is_spoken_where_the_policy_has_it(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """And refused where it has not."""
    old = Policy("TLSv1", "TLSv1.2", ("ECDHE-ECDSA-AES128-SHA",))
    issued = client_ca().issue("x", client=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        session = connected(contexts(policy=old), Client(tmp_path, issued, version=version))
        assert session.version() == version.name.replace("_", ".", 1)
        other = session_of(contexts())
        ours, theirs = shake_hands(other, Client(tmp_path, issued, version=version))
    assert ours is not None
    assert ours.reason == "UNSUPPORTED_PROTOCOL"
    assert theirs is not None
    assert other.failure == ""


def test_only_tls_1_3_needs_no_ciphers(tmp_path: Path) -> None:
    """A policy of TLS 1.3 alone names none."""
    session = connected(contexts("passthrough", Policy("TLSv1.3", "TLSv1.3", ())), Client(tmp_path))
    assert session.version() == "TLSv1.3"


@pytest.mark.parametrize("ciphers", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"])
def test_two_certificates_serve_either_kind_of_client(tmp_path: Path, ciphers: str) -> None:
    """ECDSA for who knows it, RSA for who does not, each with its intermediate."""
    elliptic = server_ca().intermediate("Elliptic").issue("a.example")
    round_one = server_ca().intermediate("Round").issue("a.example", key="rsa2048")
    context = contexts("passthrough").context([Shown(one.pem, one.key_pem) for one in (elliptic, round_one)])
    session = MutualSession(context, _nobody_else)
    client = Client(tmp_path, ciphers=ciphers, version=ssl.TLSVersion.TLSv1_2)
    assert shake_hands(session, client) == (None, None)
    expected = elliptic if "ECDSA" in ciphers else round_one
    assert client.tls.getpeercert(binary_form=True) == expected.certificate.public_bytes(Encoding.DER)


def test_clients_trust_store_adds_nothing_to_what_we_show() -> None:
    """Our own chain is what we were given, though its issuer is among those that we trust."""
    issued = client_ca().issue("a.example")
    context = contexts().context([Shown(issued.pem, issued.key_pem)])
    client = _pyopenssl_client(MutualSession(context, _nobody_else))
    chain = client.get_peer_cert_chain(as_cryptography=True)
    assert chain == [issued.certificate]


def _pyopenssl_client(session: MutualSession) -> SSL.Connection:
    """A client that has heard what the server asks for."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    client = SSL.Connection(context, None)
    client.set_connect_state()
    for _ in range(2):
        try:
            client.do_handshake()
        except (SSL.WantReadError, SSL.Error):
            pass
        try:
            session.incoming.write(client.bio_read(65536))
            session.do_handshake()
        except (SSL.WantReadError, ssl.SSLError):
            pass
        client.bio_write(session.outgoing.read())
    try:
        client.do_handshake()
    except (SSL.WantReadError, SSL.Error):
        pass
    return client


@pytest.mark.parametrize("advertised", [False, True])
def test_names_of_the_trust_store_are_told_where_that_is_wished(advertised: bool) -> None:
    """AdvertiseTrustStoreCaNames (docs/alb.md 1.11); nothing by default."""
    store = client_ca().pem() + Authority("Second").pem()
    client = _pyopenssl_client(session_of(contexts(trust_store=store, advertise_trust_store_ca_names=advertised)))
    names = [name.rfc4514_string() for name in client.get_client_ca_list(as_cryptography=True)]
    assert names == (["CN=Clients", "CN=Second"] if advertised else [])


@_BOTH
@pytest.mark.parametrize("mode", ["passthrough", "verify"])
def test_session_is_never_resumed(tmp_path: Path, version: ssl.TLSVersion, mode: str) -> None:
    """Each connection has a whole handshake, with its certificate (docs/alb.md 1.11)."""
    made = contexts(mode)
    context = made.context([shown()])
    client = Client(tmp_path, client_ca().issue("x", client=True), version=version)
    first = MutualSession(context, _nobody_else)
    assert shake_hands(first, client) == (None, None)
    again = Client(tmp_path, context=client.context, session=client.tls.session)
    second = MutualSession(context, _nobody_else)
    assert shake_hands(second, again) == (None, None)
    assert not again.tls.session_reused
    assert second.client_certificate() is not None


# The end


@_BOTH
def test_client_closes_first_and_gets_the_answer(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """close_notify comes through as such; what we say afterwards still arrives, and our own ends it."""
    client = Client(tmp_path, version=version)
    session = connected(contexts("passthrough"), client)
    client.tls.write(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    carry(session, client)
    assert session.read(100) == b"last"
    for _ in range(2):
        with pytest.raises(ssl.SSLZeroReturnError):
            session.read(100)
    session.unwrap()
    carry(session, client)
    client.tls.unwrap()


@_BOTH
def test_server_closes_first_and_still_reads(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Half-closed: what the client says behind our close_notify is read, up to its own."""
    client = Client(tmp_path, version=version)
    session = connected(contexts("passthrough"), client)
    with pytest.raises(ssl.SSLWantReadError):
        session.unwrap()
    with pytest.raises(ssl.SSLError):
        session.write(b"more")
    with pytest.raises(ssl.SSLWantReadError):
        session.read(100)
    client.tls.write(b"one")
    carry(session, client)
    assert session.read(100) == b"one"
    client.tls.write(b"two")
    carry(session, client)
    assert session.read(100) == b"two"
    assert client.tls.read(1) == b""
    client.tls.unwrap()
    carry(session, client)
    with pytest.raises(ssl.SSLZeroReturnError):
        session.read(100)
    session.unwrap()


@_BOTH
def test_both_close_without_reading(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """A second unwrap finds the client's close_notify by itself."""
    client = Client(tmp_path, version=version)
    session = connected(contexts("passthrough"), client)
    with pytest.raises(ssl.SSLWantReadError):
        session.unwrap()
    with pytest.raises(ssl.SSLWantReadError):
        session.unwrap()
    carry(session, client)
    client.tls.unwrap()
    carry(session, client)
    session.unwrap()


@_BOTH
def test_end_without_close_notify_is_no_clean_end(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """A connection that merely stops may have been cut off."""
    client = Client(tmp_path, version=version)
    session = connected(contexts("passthrough"), client)
    client.tls.write(b"hal")
    session.incoming.write(client.outgoing.read())
    session.incoming.write_eof()
    assert session.read(100) == b"hal"
    with pytest.raises(ssl.SSLEOFError):
        session.read(100)


@_BOTH
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_handshake_cut_off_fails(tmp_path: Path, version: ssl.TLSVersion, share: float) -> None:
    """Before the first byte, in the hello, and shortly before its end: an end of file, no blame for a certificate."""
    client, session = Client(tmp_path, version=version), session_of(contexts())
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    hello = client.outgoing.read()
    session.incoming.write(hello[: int(len(hello) * share)])
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    session.incoming.write_eof()
    with pytest.raises(ssl.SSLEOFError):
        session.do_handshake()
    assert session.failure == ""


def test_nothing_is_said_before_the_handshake() -> None:
    """Neither data nor what was agreed on."""
    session = session_of(contexts())
    assert (session.version(), session.cipher(), session.selected_alpn_protocol(), session.pending()) == (None, None, None, 0)
    assert (session.client_certificate(), session.server_hostname, session.outgoing.pending) == (None, "", 0)
    for call in (lambda: session.read(1), lambda: session.write(b"a"), session.unwrap):
        with pytest.raises(ssl.SSLError):
            call()


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP_REQUEST"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "WRONG_VERSION_NUMBER"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", None),
        (b"\0" * 100, None),
    ],
)
def test_garbage_instead_of_a_handshake_is_an_ssl_error(garbage: bytes, reason: str | None) -> None:
    """With the reason that the standard library would give, and no blame for a certificate."""
    session = session_of(contexts())
    session.incoming.write(garbage)
    with pytest.raises(ssl.SSLError) as raised:
        session.do_handshake()
    assert not isinstance(raised.value, ssl.SSLWantReadError)
    assert session.failure == ""
    if reason:
        assert raised.value.reason == reason
        assert raised.value.library == "SSL"
        assert reason in str(raised.value)


def test_fuzzed_bytes_raise_ssl_errors_only(tmp_path: Path) -> None:
    """Handshakes and data with bytes changed, left out and put in: an `ssl.SSLError` or nothing, and a bystander never notices."""
    chance = random.Random(20)
    made = [contexts(), contexts("passthrough", Policy("TLSv1"))]
    pairs = [(one, one.context([shown()])) for one in made]
    issued = client_ca().issue("x", client=True)
    bystander = connected(made[1], Client(tmp_path))
    clients = [Client(tmp_path, issued, version=version).context for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
    for number in range(400):
        session = MutualSession(pairs[number % 2][1], _nobody_else)
        client = Client(tmp_path, context=clients[number // 2 % 2])
        at_round = chance.randrange(4)
        for turn in range(4):
            try:
                client.tls.do_handshake()
                client.tls.write(b"data")
            except ssl.SSLError:
                pass
            data = bytearray(client.outgoing.read())
            if turn >= at_round and data:
                place = chance.randrange(len(data))
                data[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(4))
            session.incoming.write(bytes(data))
            for call in (session.do_handshake, lambda session=session: session.read(100), lambda session=session: session.write(b"x")):
                try:
                    call()
                except ssl.SSLError:
                    pass
            client.incoming.write(session.outgoing.read())
        with pytest.raises(ssl.SSLWantReadError):
            bystander.read(1)
        session.client_certificate()


def test_random_bytes_raise_ssl_errors_only() -> None:
    """From the first byte on."""
    chance = random.Random(21)
    context = contexts().context([shown()])
    for _ in range(500):
        session = MutualSession(context, _nobody_else)
        session.incoming.write(
            chance.choice((b"", b"\x16\x03\x01", b"\x16\x03\x01\x00\x40\x01")) + chance.randbytes(chance.randrange(1, 200))
        )
        for call in (session.do_handshake, session.do_handshake, session.unwrap):
            with pytest.raises(ssl.SSLError):
                call()


def _client_with(folder: Path, issued: Issued, old: bytes, new: bytes) -> tuple[Client, str]:
    """A client with a certificate that was changed after it was signed, and that certificate in PEM."""
    der = issued.certificate.public_bytes(Encoding.DER)
    assert old in der
    pem = ssl.DER_cert_to_PEM_cert(der.replace(old, new))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    (folder / "odd.pem").write_text(pem)
    (folder / "odd.key").write_bytes(issued.key_pem)
    context.load_cert_chain(folder / "odd.pem", folder / "odd.key")
    return Client(folder, context=context), pem


def test_certificate_that_only_openssl_can_read_is_handed_on(tmp_path: Path) -> None:
    """A name with letters that its type has not: nothing is told of it, but the chain is there; verified, it is refused, never raised."""
    issued = client_ca().issue("x", client=True, subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "abcdefgh")]))
    change = (b"\x0c\x08abcdefgh", b"\x13\x08abc\xff\xfe\xfdgh")
    client, pem = _client_with(tmp_path, issued, *change)
    certificate = connected(contexts("passthrough"), client).client_certificate()
    assert certificate is not None
    assert (certificate.chain, certificate.subject) == ((pem,), "")
    client, pem = _client_with(tmp_path, issued, *change)
    failure, session = failure_of(contexts(), client)
    assert failure == "ClientCertInvalid"
    certificate = session.client_certificate()
    assert certificate is not None
    assert (certificate.chain, certificate.subject) == ((pem,), "")


def test_certificate_that_cryptography_warns_of_is_read_in_silence(tmp_path: Path) -> None:
    """A negative serial number: warnings about certificates are not for an adversary to cause."""
    issued = client_ca().issue("x", client=True, serial_number=0x3A5B1)
    client, _ = _client_with(tmp_path, issued, b"\x02\x03\x03\xa5\xb1", b"\x02\x03\x83\xa5\xb1")
    certificate = connected(contexts("passthrough"), client).client_certificate()
    assert certificate is not None
    assert (certificate.subject, certificate.serial_number) == ("CN=x", "-7C5A4F")


def test_client_that_negotiates_anew_is_not_followed(tmp_path: Path) -> None:
    """TLS 1.2 once had that; a certificate shown later would be none that we looked at."""
    session = session_of(contexts("passthrough"))
    client = _pyopenssl_client(session)
    assert session.version() == "TLSv1.2"
    client.renegotiate()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    session.incoming.write(client.bio_read(65536))
    with pytest.raises(ssl.SSLError):
        session.read(1)
    client.bio_write(session.outgoing.read())
    with pytest.raises(SSL.Error, match="no renegotiation"):
        client.do_handshake()


def test_pinned_certificate_must_be_of_a_kind_that_alb_knows(tmp_path: Path) -> None:
    """One that stands in the trust store itself needs no CA, but is a client's all the same."""
    for key, code in (("ec256", ""), ("ed25519", "ClientCertTypeUnsupported")):
        issued = self_signed("x", key=key)  # type: ignore[arg-type]
        session = session_of(contexts(trust_store=issued.leaf_pem))
        shake_hands(session, Client(tmp_path, issued))
        assert session.failure == code
        assert session.verify_status == ("" if code else "Success")
        assert session.failure_detail == ("its key is neither RSA nor ECDSA on P-256, P-384 or P-521" if code else "")


def test_list_that_openssl_does_not_find_refuses_the_clients_of_its_ca() -> None:
    """Only a CA of which there is no list at all revokes nothing."""
    made = contexts(revocations=client_ca().crl())
    code = SSL.X509VerificationCodes.ERR_UNABLE_TO_GET_CRL
    ours = X509.from_cryptography(client_ca().issue("x", client=True).certificate)
    other = X509.from_cryptography(Authority("Other").issue("x", client=True).certificate)
    findings = session_of(made)._findings
    assert made._verifier._failure(ours, code, 0, findings) == "ClientCertCrlProcessingError"
    assert made._verifier._failure(other, code, 0, findings) == ""


@pytest.mark.parametrize("ending", ["handshake", "failed", "closed", "never begun"])
def test_session_let_go_is_freed_at_once(tmp_path: Path, ending: str) -> None:
    """Reference counting alone frees it: there is no cycle to wait for."""
    context = contexts().context([shown()])
    gc.collect()
    gc.disable()
    try:
        session = MutualSession(context, _nobody_else)
        issued = self_signed("x") if ending == "failed" else client_ca().issue("x", client=True)
        client = Client(tmp_path, issued)
        if ending != "never begun":
            shake_hands(session, client)
        if ending == "closed":
            with pytest.raises(ssl.SSLWantReadError):
                session.unwrap()
        left = weakref.ref(session._connection)
        findings = session._findings
        del session
        assert left() is None
        assert (findings.choose is None) == (ending != "never begun")
        last = weakref.ref(context)
        del context, findings
        assert last() is None
    finally:
        gc.enable()

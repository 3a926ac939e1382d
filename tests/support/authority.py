"""A small certificate authority: roots, intermediates, certificates of servers and clients, revocation lists.

What it issues passes OpenSSL's X509_STRICT, which `ssl.create_default_context()` asks for since Python 3.13. Keys of RSA take long to
make: of each size there are two in a whole run, one for everybody and a spare one for whoever asks for it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey
KeyKind = Literal["ec256", "ec384", "ec521", "ec256k1", "rsa1024", "rsa2048", "rsa3072", "rsa4096", "ed25519", "dsa2048"]
HashKind = Literal["sha1", "sha256", "sha384", "sha512"]

_CURVES: dict[str, type[ec.EllipticCurve]] = {
    "ec256": ec.SECP256R1,
    "ec384": ec.SECP384R1,
    "ec521": ec.SECP521R1,
    "ec256k1": ec.SECP256K1,
}
_HASHES: dict[str, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_WEAK = {
    "ec": (bytes.fromhex("300a06082a8648ce3d040302"), bytes.fromhex("300906072a8648ce3d0401")),
    "rsa": (bytes.fromhex("300d06092a864886f70d01010b0500"), bytes.fromhex("300d06092a864886f70d0101050500")),
}
"""How a certificate says that it is signed with SHA-256, and with SHA-1: cryptography signs none with SHA-1 any more."""
_OF_A_SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
_OF_A_CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
_DAY = timedelta(days=1)


@cache
def _slow_key(kind: str, spare: bool) -> rsa.RSAPrivateKey | dsa.DSAPrivateKey:
    """Made once: `spare` is not looked at, it only makes two of them."""
    size = int(kind[3:])
    return dsa.generate_private_key(size) if kind.startswith("dsa") else rsa.generate_private_key(65537, size)


def make_key(kind: KeyKind, *, spare: bool = False) -> Key:
    """A key: a new one of the quick kinds, always the same of the slow ones (or the other one, with `spare`)."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind]())
    return _slow_key(kind, spare)


def key_pem_of(key: Key, password: bytes | str | None = None) -> bytes:
    """A key as PKCS8, encrypted where there is a password."""
    words = password.encode() if isinstance(password, str) else password
    encryption = serialization.NoEncryption() if words is None else serialization.BestAvailableEncryption(words)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


class Issued:
    """A certificate with its key, and the intermediates that lead to its root."""

    def __init__(self, certificate: x509.Certificate, key: Key, intermediates: Sequence[x509.Certificate] = ()) -> None:
        self.certificate = certificate
        self.key = key
        self.intermediates = tuple(intermediates)

    @property
    def pem(self) -> bytes:
        """Its own certificate, then the intermediates."""
        return b"".join(map(_pem_of, (self.certificate, *self.intermediates)))

    @property
    def leaf_pem(self) -> bytes:
        """Its own certificate alone."""
        return _pem_of(self.certificate)

    @property
    def key_pem(self) -> bytes:
        return key_pem_of(self.key)

    def key_pem_encrypted(self, password: bytes | str) -> bytes:
        return key_pem_of(self.key, password)

    def write(self, folder: Path, stem: str) -> tuple[str, str]:
        """Write `stem.pem` and `stem.key` there: the paths of chain and key."""
        certificate, key = folder / f"{stem}.pem", folder / f"{stem}.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(self.key_pem)
        return str(certificate), str(key)


class Authority:
    """A root, `Authority("Test CA")`, or what `authority.intermediate(name)` gives."""

    def __init__(
        self,
        name: str,
        *,
        key: KeyKind = "ec256",
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        parent: Authority | None = None,
    ) -> None:
        self.key: Key = make_key(key, spare=True)
        subject = _name(name)
        now = datetime.now(UTC)
        builder = (
            _builder(subject, parent.certificate.subject if parent else subject, self.key, parent.key if parent else self.key)
            .not_valid_before(not_before or min(now, not_after or now) - 3650 * _DAY)
            .not_valid_after(not_after or max(now, not_before or now) + 3650 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
        )
        self.certificate: x509.Certificate = _sign(builder, parent.key if parent else self.key, "sha256")
        self.intermediates: tuple[x509.Certificate, ...] = (self.certificate, *parent.intermediates) if parent else ()
        """Itself and those above it, without the root: nothing for a root."""

    def intermediate(
        self, name: str, *, key: KeyKind = "ec256", not_before: datetime | None = None, not_after: datetime | None = None
    ) -> Authority:
        """An authority that this one has signed."""
        return Authority(name, key=key, not_before=not_before, not_after=not_after, parent=self)

    def pem(self) -> bytes:
        """Its own certificate."""
        return _pem_of(self.certificate)

    def write(self, folder: Path, stem: str) -> str:
        """Write `stem.pem` there: the path."""
        path = folder / f"{stem}.pem"
        path.write_bytes(self.pem())
        return str(path)

    def issue(
        self,
        *names: str,
        key: KeyKind = "ec256",
        hash: HashKind = "sha256",  # noqa: A002
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        common_name: str | None = None,
        client: bool = False,
        purposes: Sequence[x509.ObjectIdentifier] | None = None,
        subject: x509.Name | None = None,
        serial_number: int | None = None,
        spare_key: bool = False,
    ) -> Issued:
        """A certificate for these names, DNS names and IP addresses.

        Args:
            names: What stands in its SAN; without any it has none.
            key: The kind of its key; a key of RSA is always the same, or the other one with `spare_key`.
            hash: What it is signed with.
            not_before: Yesterday by default, or the day before it ends.
            not_after: In 30 days by default, or the day after it begins.
            common_name: The first name by default.
            client: Whether it is that of a client; of a server by default.
            purposes: Instead of what `client` says; an empty list for no extended key usage at all.
            subject: Its whole distinguished name, instead of `common_name`.
            serial_number: Random by default.
            spare_key: Whether it gets the second one of the slow keys.
        """
        own_key = make_key(key, spare=spare_key)
        builder = _builder(subject or _name(common_name or _first(names)), self.certificate.subject, own_key, self.key, serial_number)
        builder = _between(builder, not_before, not_after)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        if purposes is None:
            purposes = _OF_A_CLIENT if client else _OF_A_SERVER
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if names:
            builder = builder.add_extension(_san(names), critical=False)
        return Issued(_sign(builder, self.key, hash), own_key, self.intermediates)

    def crl(self, *revoked: Issued, not_after: datetime | None = None) -> bytes:
        """A revocation list as PEM, good until tomorrow or `not_after`."""
        now = datetime.now(UTC)
        until = not_after or now + _DAY
        since = min(now, until) - _DAY
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(since)
            .next_update(until)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.CRLNumber(1), critical=False)
        )
        for issued in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(issued.certificate.serial_number).revocation_date(since).build()
            builder = builder.add_revoked_certificate(entry)
        plain = None if isinstance(self.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        return builder.sign(self.key, plain).public_bytes(serialization.Encoding.PEM)


def self_signed(
    *names: str,
    key: KeyKind = "ec256",
    hash: HashKind = "sha256",  # noqa: A002
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    authority: bool = False,
) -> Issued:
    """A server's certificate that it has signed itself, with CA:TRUE where `authority` says so, as laboratories have them."""
    own_key = make_key(key)
    subject = _name(_first(names))
    builder = _between(_builder(subject, subject, own_key, own_key), not_before, not_after)
    builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=authority), critical=True)
    if names:
        builder = builder.add_extension(_san(names), critical=False)
    return Issued(_sign(builder, own_key, hash), own_key)


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, issuer_key: Key, serial_number: int | None = None) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number() if serial_number is None else serial_number)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _between(builder: x509.CertificateBuilder, not_before: datetime | None, not_after: datetime | None) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    since = not_before or min(now, not_after or now) - _DAY
    return builder.not_valid_before(since).not_valid_after(not_after or max(now + 30 * _DAY, since + _DAY))


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _san(names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _first(names: Sequence[str]) -> str:
    """A common name has 64 characters at most."""
    return names[0] if names and len(names[0]) <= 64 else "without a name"


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _sign(builder: x509.CertificateBuilder, key: Key, kind: HashKind) -> x509.Certificate:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return builder.sign(key, None)
    if kind == "sha1":
        return _signed_with_sha1(builder.sign(key, hashes.SHA256()), key)
    return builder.sign(key, _HASHES[kind]())


def _signed_with_sha1(certificate: x509.Certificate, key: Key) -> x509.Certificate:
    """The same certificate, with a signature of another kind (RFC 5280, section 4.1)."""
    strong, weak = _WEAK["rsa" if isinstance(key, rsa.RSAPrivateKey) else "ec"]
    body = certificate.tbs_certificate_bytes
    signed = _sequence(body[4:].replace(strong, weak, 1))
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA1())
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        signature = key.sign(signed, ec.ECDSA(hashes.SHA1()))
    else:
        raise TypeError(f"no SHA-1 with {key}")
    return x509.load_der_x509_certificate(_sequence(signed + weak + b"\x03" + _length(len(signature) + 1) + b"\0" + signature))


def _sequence(content: bytes) -> bytes:
    return b"\x30" + _length(len(content)) + content


def _length(size: int) -> bytes:
    if size < 128:
        return bytes([size])
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(digits)]) + digits


def _pem_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)

"""Reads certificates, keys and CA bundles, and explains what is wrong with them and what to do (docs/alb.md 1.10).

Everything here reads files or computes for milliseconds, so call it in a thread. Requires the package cryptography.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import NameOID, PublicKeyAlgorithmOID, SignatureAlgorithmOID

from albkit.model.certificate import Certificate
from albkit.policy.certificate_choice import CertificateFacts

__all__ = ("CertificateError", "LoadedCertificate", "Validity", "load", "read_authorities", "warnings_of")

_LARGEST_FILE = 1 << 20
_SHORTEST_RSA_KEY = 2048
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_SOON = 7 * 86400
_HASH_OF_EDWARDS = 512
"""Bits of the hash inside Ed25519 and Ed448 signatures (RFC 8032)."""
_EDWARDS = (SignatureAlgorithmOID.ED25519, SignatureAlgorithmOID.ED448)
_SUPPORTED_KEYS = f"give one of RSA with {_SHORTEST_RSA_KEY} bits or more, or of ECDSA with P-256, P-384 or P-521"
_OWN_FIRST = "put the server's own certificate first, then that of its issuer, and so on"
# Not `.*?`, which would search to the end of the file for each BEGIN: quadratic time for a file of many.
_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----((?:(?!-----).)*)-----END \1-----", re.DOTALL)
_CERTIFICATE_BLOCKS = (b"CERTIFICATE", b"X509 CERTIFICATE")
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""The exceptions of cryptography for data that it cannot parse."""


class CertificateError(ValueError):
    """A certificate that cannot be used. The text says what is wrong and what to do."""


class Validity(NamedTuple):
    """The validity period of one certificate of a chain."""

    subject: str
    """Its distinguished name, in the form of RFC 4514."""
    not_before: float
    """In seconds since 1970, like `not_after`."""
    not_after: float


class LoadedCertificate:
    """A certificate that matches its key and can be used by a server."""

    __slots__ = ("chain", "facts", "fingerprint", "key", "label", "loaded_at", "source", "validities")

    def __init__(
        self,
        source: Certificate,
        loaded_at: float,
        facts: CertificateFacts,
        chain: bytes,
        key: bytes,
        fingerprint: str,
        validities: tuple[Validity, ...],
    ) -> None:
        self.source = source
        """The configuration that it was read from."""
        self.loaded_at = loaded_at
        """When it was read, in seconds since 1970."""
        self.facts = facts
        """The properties by which it is chosen."""
        self.chain = chain
        """PEM: the server's own certificate first, and nothing but certificates."""
        self.key = key
        """PEM: PKCS #8, not encrypted."""
        self.fingerprint = fingerprint
        """SHA-256 of the server's own certificate, in hexadecimal digits. It does not change with the intermediates."""
        self.label = source.certificate if isinstance(source.certificate, str) else f"sha256:{fingerprint}"
        """Its name in logs: the path of its file, or `sha256:` and its fingerprint."""
        self.validities = validities
        """Those of the whole chain, the server's own first."""

    def __repr__(self) -> str:
        """Does not contain the key."""
        return f"<LoadedCertificate {self.label}>"


def load(certificate: Certificate, now: float) -> LoadedCertificate:
    """Read a certificate with its chain and its key, and check that they belong together.

    Other content of the files (comments, parameters) is ignored. Expiry is not checked: `warnings_of` reports it.

    Args:
        certificate: The certificate to read.
        now: Seconds since 1970, stored as `loaded_at`.

    Raises:
        CertificateError: it cannot be used.
    """
    name = _called(certificate.certificate, "certificate")
    content = _read(certificate.certificate, name)
    key_name, key_content = name, content
    if certificate.key is not None:
        key_name = _called(certificate.key, "key")
        key_content = _read(certificate.key, key_name)
    with _quiet():
        chain = _certificates_in(content, name)
        key_type, key_size = _key_type_of(chain[0], name)
        key = _key_in(key_content, key_name, certificate)
        _check_key_belongs(key, key_name, chain, name)
        try:
            _check_order(chain, name)
            validities = tuple(_validity_of(link) for link in chain)
            names = _names_of(chain[0])
        except CertificateError:
            raise
        except _UNREADABLE as error:
            raise CertificateError(f"a name or an extension of a certificate in {name} cannot be parsed; have it issued again") from error
        _, not_before, not_after = validities[0]
        facts = CertificateFacts(names, key_type, key_size, _hash_strength_of(chain[0]), not_before, not_after)
        return LoadedCertificate(certificate, now, facts, _pem_of_chain(chain), _pem_of_key(key), _fingerprint_of(chain[0]), validities)


def warnings_of(loaded: LoadedCertificate, now: float) -> list[str]:
    """Return a sentence for each certificate of the chain that has expired, expires within 7 days or is not valid yet, the server's own
    first.

    Args:
        loaded: The certificate.
        now: Seconds since 1970.
    """
    remedy = (
        "renew it and replace the file; no restart is needed"
        if isinstance(loaded.source.certificate, str)
        else "renew it and apply a configuration with the new one"
    )
    found = []
    for place, (subject, not_before, not_after) in enumerate(loaded.validities):
        which = f"the certificate in {loaded.label!r}" if place == 0 else f"the certificate of {subject!r} in the chain of {loaded.label!r}"
        if now >= not_after:
            found.append(f"{which} expired at {_formatted(not_after)}; {remedy}")
        elif now < not_before:
            found.append(f"{which} is not valid before {_formatted(not_before)}, and clients reject it until then; check the system clock")
        elif not_after - now <= _SOON:
            found.append(f"{which} expires at {_formatted(not_after)}; {remedy}")
    return found


def read_authorities(source: str | bytes, what: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM bundle, at least one, without duplicates.

    Args:
        source: The path of the file, or PEM as bytes.
        what: What the bundle is, for error messages: `"trust store"`.

    Raises:
        CertificateError: it cannot be read, or contains no certificate.
    """
    name = f"the {what} {source!r}" if isinstance(source, str) else f"the {what}"
    with _quiet():
        return list(dict.fromkeys(_certificates_in(_read(source, name), name)))


def _called(source: str | bytes, what: str) -> str:
    return repr(source) if isinstance(source, str) else f"the data given as {what}"


def _read(source: str | bytes, name: str) -> bytes:
    """Return the content of a file, or the bytes themselves, if it is PEM."""
    content = source if isinstance(source, bytes) else _content_of(source, name)
    # A path may name a device or a log file by mistake; certificates and keys have a few KiB.
    if len(content) > _LARGEST_FILE:
        raise CertificateError(f"{name} is larger than 1 MiB; check that it is a PEM file with certificates or a key")
    if not content.strip():
        raise CertificateError(f"{name} is empty; write PEM to it")
    if b"-----BEGIN" not in content:
        raise CertificateError(
            f"{name} is not PEM: it contains no '-----BEGIN'; convert it with 'openssl x509 -inform der -in FILE' for a certificate, "
            "'openssl pkey -inform der -in FILE' for a key, or 'openssl pkcs12 -nodes -in FILE' for PKCS #12"
        )
    return content


def _content_of(path: str, name: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise CertificateError(f"{name} cannot be read: {error.strerror}; check that the file exists and is readable") from error


def _certificates_in(content: bytes, name: str) -> list[x509.Certificate]:
    blocks = [match[0] for match in _PEM_BLOCK.finditer(content) if match[1] in _CERTIFICATE_BLOCKS]
    if not blocks:
        if b"PRIVATE KEY-----" in content:
            raise CertificateError(f"{name} contains a private key, but no certificate; give the file of the certificate here")
        raise CertificateError(f"{name} contains no certificate; give PEM with '-----BEGIN CERTIFICATE-----' and its END")
    certificates = []
    for place, block in enumerate(blocks, 1):
        try:
            certificates.append(x509.load_pem_x509_certificate(block))
        except _UNREADABLE as error:
            raise CertificateError(f"certificate {place} of {len(blocks)} in {name} is damaged; get it from its issuer again") from error
    return certificates


def _key_type_of(certificate: x509.Certificate, name: str) -> tuple[str, int]:
    """The type and size of a server's key, if it is supported."""
    try:
        key = certificate.public_key()
    except _UNREADABLE as error:
        raise CertificateError(f"the certificate in {name} has a key of an unknown type; {_SUPPORTED_KEYS}") from error
    # A key restricted to RSASSA-PSS can only make signatures that few clients offer to verify (RFC 8446 section 4.2.3, rsa_pss_pss).
    if isinstance(key, rsa.RSAPublicKey) and certificate.public_key_algorithm_oid != PublicKeyAlgorithmOID.RSASSA_PSS:
        if key.key_size < _SHORTEST_RSA_KEY:
            raise CertificateError(f"the certificate in {name} has an RSA key of {key.key_size} bits, too few; {_SUPPORTED_KEYS}")
        return "RSA", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise CertificateError(
                f"the certificate in {name} has a key on the curve {key.curve.name}, which clients reject; {_SUPPORTED_KEYS}"
            )
        return "ECDSA", key.key_size
    kind = certificate.public_key_algorithm_oid
    known = _OTHER_KEYS.get(kind, f"type {kind.dotted_string}")
    raise CertificateError(f"the certificate in {name} has a key of {known}, which is not supported; {_SUPPORTED_KEYS}")


_OTHER_KEYS = {
    PublicKeyAlgorithmOID.ED25519: "Ed25519",
    PublicKeyAlgorithmOID.ED448: "Ed448",
    PublicKeyAlgorithmOID.DSA: "DSA",
    PublicKeyAlgorithmOID.RSASSA_PSS: "RSASSA-PSS",
}


def _key_in(content: bytes, name: str, certificate: Certificate) -> PrivateKeyTypes:
    blocks = [match for match in _PEM_BLOCK.finditer(content) if match[1].endswith(b"PRIVATE KEY")]
    if not blocks:
        where = (
            "give the path of the key file as 'key'"
            if certificate.key is None
            else "give the file that contains '-----BEGIN PRIVATE KEY-----'"
        )
        raise CertificateError(f"{name} contains no private key; {where}")
    if len(blocks) > 1:
        raise CertificateError(f"{name} contains {len(blocks)} private keys; keep only the one that belongs to the certificate")
    (block,) = blocks
    if block[1] == b"ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in block[2]:
        return _decrypted(block[0], name, certificate.password)
    try:
        return serialization.load_pem_private_key(block[0], None)
    except _UNREADABLE as error:
        raise CertificateError(
            f"the private key in {name} is damaged or of an unknown type; check it with 'openssl pkey -in FILE -check'"
        ) from error


def _decrypted(block: bytes, name: str, password: str | bytes | None) -> PrivateKeyTypes:
    if password is None:
        raise CertificateError(f"the private key in {name} is encrypted; give its password, or decrypt it with 'openssl pkey -in FILE'")
    try:
        return serialization.load_pem_private_key(block, password.encode() if isinstance(password, str) else password)
    except _UNREADABLE as error:
        raise CertificateError(
            f"the private key in {name} cannot be decrypted with the password given; correct it, or decrypt the key with "
            "'openssl pkey -in FILE'"
        ) from error


def _check_key_belongs(key: PrivateKeyTypes, key_name: str, chain: list[x509.Certificate], name: str) -> None:
    public = _encoded(key)
    # Compared by their encodings, because key objects of cryptography have no equality in all supported versions.
    if public == _encoded(chain[0]):
        return
    if any(public == _encoded(certificate) for certificate in chain[1:]):
        raise CertificateError(f"the key in {key_name} belongs to a later certificate in {name}, not to the first; {_OWN_FIRST}")
    raise CertificateError(
        f"the key in {key_name} does not belong to the certificate in {name}; give the key with which the certificate was requested"
    )


def _encoded(holder: PrivateKeyTypes | x509.Certificate) -> bytes:
    """A public key in a form that can be compared; empty if it cannot be parsed."""
    try:
        return holder.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    except _UNREADABLE:
        return b""


def _check_order(chain: list[x509.Certificate], name: str) -> None:
    # Only names are compared, as TLS clients do to build a path; they verify the signatures themselves.
    for place, (certificate, issuer) in enumerate(pairwise(chain), 1):
        if _comparable(certificate.issuer) != _comparable(issuer.subject):
            raise CertificateError(
                f"the chain in {name} is out of order: certificate {place} was issued by {certificate.issuer.rfc4514_string()!r}, "
                f"but the next one is that of {issuer.subject.rfc4514_string()!r}; {_OWN_FIRST}"
            )


def _comparable(name: x509.Name) -> str:
    """A name without the differences in case and repeated spaces that do not matter (RFC 5280 section 7.1)."""
    return " ".join(name.rfc4514_string().casefold().split())


def _names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names of a certificate; its common names if it has no subject alternative name extension (RFC 6125 section 6.4.4)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        found = [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return tuple(dict.fromkeys(name.lower().removesuffix(".") for name in found))


def _hash_strength_of(certificate: x509.Certificate) -> int:
    if certificate.signature_algorithm_oid in _EDWARDS:
        return _HASH_OF_EDWARDS
    try:
        algorithm = certificate.signature_hash_algorithm
    except _UNREADABLE:
        return 0
    return algorithm.digest_size * 8 if algorithm is not None else 0


def _validity_of(certificate: x509.Certificate) -> Validity:
    return Validity(
        certificate.subject.rfc4514_string(),
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
    )


def _pem_of_chain(chain: list[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain)


def _pem_of_key(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _fingerprint_of(certificate: x509.Certificate) -> str:
    return sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def _formatted(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_filters = threading.Lock()


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress cryptography's warnings about unusual certificates (a negative serial number, a name that is too long), which work
    nevertheless.

    Warning filters belong to the whole process. So this filter is narrow and short-lived, and one thread at a time sets it.
    """
    with _filters, warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=rf"(cryptography|{re.escape(__name__)})(\.|$)")
        yield

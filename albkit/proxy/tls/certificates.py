"""Reads certificates, keys and authorities, and says in a sentence what is wrong with them and what to do (docs/alb.md 1.10).

Everything here reads files or computes for milliseconds: call it in a thread. Needs the package cryptography.
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
"""Ed25519 and Ed448 sign with hashes of their own (RFC 8032)."""
_EDWARDS = (SignatureAlgorithmOID.ED25519, SignatureAlgorithmOID.ED448)
_KEYS_TAKEN = f"give one of RSA with {_SHORTEST_RSA_KEY} bits or more, or of ECDSA with P-256, P-384 or P-521"
_OWN_FIRST = "put the server's own certificate first, then the one that has issued it, and so on"
# Not `.*?`: that would search to the end of the file for each of many beginnings.
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
"""What cryptography raises where it cannot make sense of something."""


class CertificateError(ValueError):
    """A certificate that cannot be used. Its text is a sentence: what is wrong and what to do."""


class Validity(NamedTuple):
    """From when to when one certificate of a chain is valid."""

    subject: str
    """Its distinguished name, as RFC 4514 writes it."""
    not_before: float
    """In seconds since 1970, as `not_after`."""
    not_after: float


class LoadedCertificate:
    """A certificate that fits its key and can be shown to clients."""

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
        """How it was described."""
        self.loaded_at = loaded_at
        """When it was read, in seconds since 1970."""
        self.facts = facts
        """What it is chosen by."""
        self.chain = chain
        """PEM: its own certificate first, and nothing but certificates."""
        self.key = key
        """PEM: PKCS8, not encrypted."""
        self.fingerprint = fingerprint
        """SHA-256 of its own certificate, in hexadecimal digits: the same after its intermediates were replaced."""
        self.label = source.certificate if isinstance(source.certificate, str) else f"sha256:{fingerprint}"
        """What it is called in logs: the path of its file, or its fingerprint behind `sha256:`."""
        self.validities = validities
        """Those of the whole chain, its own first."""

    def __repr__(self) -> str:
        """Without the key."""
        return f"<LoadedCertificate {self.label}>"


def load(certificate: Certificate, now: float) -> LoadedCertificate:
    """Read a certificate with its chain and its key, and see that they belong together.

    What else stands in the files (comments, parameters) is ignored, and so are the dates: `warnings_of` tells of those.

    Args:
        certificate: What to read.
        now: Seconds since 1970, kept as `loaded_at`.

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
            raise CertificateError(f"a name or an extension of a certificate in {name} cannot be read; have it issued anew") from error
        _, not_before, not_after = validities[0]
        facts = CertificateFacts(names, key_type, key_size, _hash_strength_of(chain[0]), not_before, not_after)
        return LoadedCertificate(certificate, now, facts, _pem_of_chain(chain), _pem_of_key(key), _fingerprint_of(chain[0]), validities)


def warnings_of(loaded: LoadedCertificate, now: float) -> list[str]:
    """A sentence for each certificate of the chain that has expired, expires within 7 days or is not valid yet, the server's own first.

    Args:
        loaded: The certificate.
        now: Seconds since 1970.
    """
    remedy = (
        "renew it, then replace the file: it is taken up without a restart"
        if isinstance(loaded.source.certificate, str)
        else "renew it, then apply a configuration with the new one"
    )
    found = []
    for place, (subject, not_before, not_after) in enumerate(loaded.validities):
        which = f"the certificate in {loaded.label!r}" if place == 0 else f"the certificate of {subject!r} in the chain of {loaded.label!r}"
        if now >= not_after:
            found.append(f"{which} has expired at {_written(not_after)}; {remedy}")
        elif now < not_before:
            found.append(
                f"{which} is not valid before {_written(not_before)}, and clients refuse it until then; see that the clock is right"
            )
        elif not_after - now <= _SOON:
            found.append(f"{which} expires at {_written(not_after)}; {remedy}")
    return found


def read_authorities(source: str | bytes, what: str) -> list[x509.Certificate]:
    """The certificates of a PEM bundle, each once: one or more.

    Args:
        source: The path of the file, or PEM as bytes.
        what: What the bundle is, for the error's text: `"trust store"`.

    Raises:
        CertificateError: it cannot be read, or there is none in it.
    """
    name = f"the {what} {source!r}" if isinstance(source, str) else f"the {what}"
    with _quiet():
        return list(dict.fromkeys(_certificates_in(_read(source, name), name)))


def _called(source: str | bytes, what: str) -> str:
    return repr(source) if isinstance(source, str) else f"the bytes given as {what}"


def _read(source: str | bytes, name: str) -> bytes:
    """The whole of a file, or the bytes themselves, if they are PEM."""
    content = source if isinstance(source, bytes) else _content_of(source, name)
    if len(content) > _LARGEST_FILE:
        raise CertificateError(f"{name} is larger than 1 MiB; see that it is a file with certificates or a key in PEM")
    if not content.strip():
        raise CertificateError(f"{name} is empty; write PEM to it")
    if b"-----BEGIN" not in content:
        raise CertificateError(
            f"{name} is not PEM: there is no '-----BEGIN' in it; convert it with 'openssl x509 -inform der -in FILE' for a certificate, "
            "'openssl pkey -inform der -in FILE' for a key, or 'openssl pkcs12 -nodes -in FILE' for PKCS #12"
        )
    return content


def _content_of(path: str, name: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise CertificateError(f"{name} cannot be read: {error.strerror}; see that the file is there and may be read") from error


def _certificates_in(content: bytes, name: str) -> list[x509.Certificate]:
    blocks = [match[0] for match in _PEM_BLOCK.finditer(content) if match[1] in _CERTIFICATE_BLOCKS]
    if not blocks:
        if b"PRIVATE KEY-----" in content:
            raise CertificateError(f"there is no certificate in {name}, but a private key; give the file of the certificate here")
        raise CertificateError(f"there is no certificate in {name}; give PEM with '-----BEGIN CERTIFICATE-----' and its END")
    certificates = []
    for place, block in enumerate(blocks, 1):
        try:
            certificates.append(x509.load_pem_x509_certificate(block))
        except _UNREADABLE as error:
            raise CertificateError(f"certificate {place} of {len(blocks)} in {name} is damaged; copy it again from its issuer") from error
    return certificates


def _key_type_of(certificate: x509.Certificate, name: str) -> tuple[str, int]:
    """The type and the size of a server's key, if clients can be served with it."""
    try:
        key = certificate.public_key()
    except _UNREADABLE as error:
        raise CertificateError(f"the certificate in {name} has a key of a kind that is not known; {_KEYS_TAKEN}") from error
    # A key that is for RSASSA-PSS only is made for signatures that few clients ask for.
    if isinstance(key, rsa.RSAPublicKey) and certificate.public_key_algorithm_oid != PublicKeyAlgorithmOID.RSASSA_PSS:
        if key.key_size < _SHORTEST_RSA_KEY:
            raise CertificateError(f"the certificate in {name} has an RSA key of {key.key_size} bits, which is too short; {_KEYS_TAKEN}")
        return "RSA", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise CertificateError(
                f"the certificate in {name} has a key on the curve {key.curve.name}, which clients refuse; {_KEYS_TAKEN}"
            )
        return "ECDSA", key.key_size
    kind = certificate.public_key_algorithm_oid
    known = _OTHER_KEYS.get(kind, f"the kind {kind.dotted_string}")
    raise CertificateError(f"the certificate in {name} has a key of {known}, which is not supported; {_KEYS_TAKEN}")


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
            "give the path of the key's file as 'key'"
            if certificate.key is None
            else "give the file in which '-----BEGIN PRIVATE KEY-----' is"
        )
        raise CertificateError(f"there is no private key in {name}; {where}")
    if len(blocks) > 1:
        raise CertificateError(f"there are {len(blocks)} private keys in {name}; leave the one that belongs to the certificate")
    (block,) = blocks
    if block[1] == b"ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in block[2]:
        return _decrypted(block[0], name, certificate.password)
    try:
        return serialization.load_pem_private_key(block[0], None)
    except _UNREADABLE as error:
        raise CertificateError(
            f"the private key in {name} is damaged or of a kind that is not known; see that 'openssl pkey -in FILE -check' reads it"
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
    if public == _encoded(chain[0]):
        return
    if any(public == _encoded(certificate) for certificate in chain[1:]):
        raise CertificateError(f"the first certificate in {name} is not that of the key in {key_name}, but a later one is; {_OWN_FIRST}")
    raise CertificateError(
        f"the key in {key_name} is not that of the certificate in {name}; give the key that the certificate was requested with"
    )


def _encoded(holder: PrivateKeyTypes | x509.Certificate) -> bytes:
    """A public key, to be compared; empty for one that cannot be read."""
    try:
        return holder.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    except _UNREADABLE:
        return b""


def _check_order(chain: list[x509.Certificate], name: str) -> None:
    for place, (certificate, issuer) in enumerate(pairwise(chain), 1):
        if _comparable(certificate.issuer) != _comparable(issuer.subject):
            raise CertificateError(
                f"the chain in {name} is out of order: certificate {place} was issued by {certificate.issuer.rfc4514_string()!r}, "
                f"and the next one is that of {issuer.subject.rfc4514_string()!r}; {_OWN_FIRST}"
            )


def _comparable(name: x509.Name) -> str:
    """Case and repeated blanks make no other name (RFC 5280, section 7.1)."""
    return " ".join(name.rfc4514_string().casefold().split())


def _names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names of a certificate; its common names where it has no SAN at all (RFC 6125, section 6.4.4)."""
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


def _written(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_filters = threading.Lock()


@contextmanager
def _quiet() -> Iterator[None]:
    """cryptography's warnings of odd certificates (a negative serial number, a name that is too long) go nowhere: what they warn of works.

    The filters are those of the whole process. So this one is narrow and stands for moments, and one thread at a time puts it up.
    """
    with _filters, warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=rf"(cryptography|{re.escape(__name__)})(\.|$)")
        yield

"""A certificate for the demo's HTTPS listener, made when the demo starts and never written to a file."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec

__all__ = ("self_signed",)

_VALIDITY = timedelta(days=30)


def self_signed() -> tuple[bytes, bytes] | None:
    """Return a certificate for localhost and 127.0.0.1, and its key, each as PEM; `None` without the package cryptography.

    HTTPS listeners need that package too, so the demo has none without it.
    """
    if find_spec("cryptography") is None:
        return None
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "albkit demo")])
    names = [x509.DNSName("localhost"), x509.DNSName("*.demo.localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _VALIDITY)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM), private

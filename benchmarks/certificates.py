"""The certificates that all proxies of a run use."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from benchmarks.loads.tls import NAME
from benchmarks.measure import MeasurementError
from benchmarks.peers import KeyKind, Shown

__all__ = ("issue",)

_VALID = datetime.timedelta(days=2)


def issue(directory: Path, kind: KeyKind) -> Shown:
    """Create a self-signed certificate for the clients' server name, in files of the directory.

    Raises:
        MeasurementError: cryptography is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, rsa
    except ImportError:
        raise MeasurementError("cryptography is not installed, but required for TLS: pip install -e '.[bench]'") from None
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa" else rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - _VALID, now + _VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    shown = Shown(*(directory / f"{kind}.{suffix}" for suffix in ("crt", "key", "pem")))
    for file, content in zip(shown, (certificate, private, certificate + private), strict=True):
        file.write_bytes(content)
        # Servers that give up their rights before they read it must find it too; it is worth nothing, and gone with the run.
        file.chmod(0o644)
    return shown

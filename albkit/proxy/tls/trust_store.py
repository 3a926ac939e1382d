"""The trust store and the revocation lists for client certificates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from albkit.model.mutual_authentication import MutualAuthentication
from albkit.proxy.tls.certificates import read_authorities

__all__ = ("TrustStore",)

_CRL_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
_LISTS: Final = "give certificate revocation lists in PEM or DER"


class TrustStore:
    """The CAs and revocation lists that client certificates are checked against.

    Args:
        mutual: Names the files, which are read here, so do not create one in an event loop.

    Raises:
        ValueError: a file cannot be read, or has the wrong content. The text says what to do.
    """

    def __init__(self, mutual: MutualAuthentication) -> None:
        authorities = read_authorities(mutual.trust_store, "trust store") if mutual.trust_store is not None else []
        self.authorities = authorities
        self.revocations = tuple(one for source in mutual.revocations for one in _read_revocations(source, authorities))

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each expired revocation list: its CA's clients are rejected until there is a newer one."""
        now = datetime.now(UTC)
        return tuple(
            f"the revocation list of {revocation.issuer.rfc4514_string()!r} expired on {until:%Y-%m-%d}; "
            "clients with a certificate of this CA are rejected; replace the list by a current one"
            for revocation in self.revocations
            if (until := revocation.next_update_utc) is not None and until < now
        )


def _name_of(source: str | bytes, setting: str) -> str:
    return f"{setting} {source!r}" if isinstance(source, str) else f"{setting} (bytes)"


def _read(source: str | bytes, setting: str) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return Path(source).read_bytes()
    except OSError as error:
        name = _name_of(source, setting)
        raise ValueError(f"{name} cannot be read: {error.strerror}; check that the file exists and is readable") from None


def _read_revocations(source: str | bytes, authorities: Sequence[x509.Certificate]) -> list[x509.CertificateRevocationList]:
    name = _name_of(source, "revocations")
    data = _read(source, "revocations")
    if not data.strip():
        raise ValueError(f"{name} is empty; {_LISTS}")
    blocks = _CRL_BLOCK.findall(data)
    try:
        # Without a PEM block, the file is read as DER.
        revocations = [x509.load_pem_x509_crl(block) for block in blocks] or [x509.load_der_x509_crl(data)]
        for revocation in revocations:
            _check_revocation(revocation, name, authorities)
    except _WrongRevocationError:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{name} does not contain revocation lists ({error}); {_LISTS}") from None
    return revocations


class _WrongRevocationError(ValueError):
    """A revocation list that cannot be used."""


def _check_revocation(revocation: x509.CertificateRevocationList, name: str, authorities: Sequence[x509.Certificate]) -> None:
    issuer = revocation.issuer.rfc4514_string()
    if not any(_has_signed(authority, revocation) for authority in authorities):
        raise _WrongRevocationError(
            f"{name} is the list of {issuer!r}, which is not in the trust store; add that CA to trust_store, or leave out the list"
        )
    for extension in revocation.extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            raise _WrongRevocationError(f"{name} lists only recent changes (a delta CRL); give the complete list of {issuer!r}")
        # OpenSSL would silently ignore such a list and accept the certificates that it revokes.
        if isinstance(value, x509.IssuingDistributionPoint) and (
            value.indirect_crl or value.only_some_reasons or value.only_contains_attribute_certs
        ):
            raise _WrongRevocationError(f"{name} lists only some of the revoked certificates of {issuer!r}; give the complete list")


def _has_signed(authority: x509.Certificate, revocation: x509.CertificateRevocationList) -> bool:
    if authority.subject != revocation.issuer:
        return False
    try:
        return revocation.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False

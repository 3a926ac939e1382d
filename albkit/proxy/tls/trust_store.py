"""Whom clients' certificates must lead to, and which of them were revoked: files of CA certificates and of revocation lists."""

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
    """What clients' certificates are judged by.

    Args:
        mutual: Names the files. Reads them: not a thing to do in an event loop.

    Raises:
        ValueError: a file cannot be read, or is not what it should be. The sentence says what to do.
    """

    def __init__(self, mutual: MutualAuthentication) -> None:
        authorities = read_authorities(mutual.trust_store, "trust store") if mutual.trust_store is not None else []
        self.authorities = authorities
        self.revocations = tuple(one for source in mutual.revocations for one in _read_revocations(source, authorities))

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each revocation list that has expired: its CA's clients are refused until a newer one is there."""
        now = datetime.now(UTC)
        return tuple(
            f"the revocation list of {revocation.issuer.rfc4514_string()!r} has expired on {until:%Y-%m-%d}; "
            "clients with a certificate of this CA are refused until there is a newer one"
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
        raise ValueError(f"{name} cannot be read: {error.strerror}; see that the file is there and may be read") from None


def _read_revocations(source: str | bytes, authorities: Sequence[x509.Certificate]) -> list[x509.CertificateRevocationList]:
    name = _name_of(source, "revocations")
    data = _read(source, "revocations")
    if not data.strip():
        raise ValueError(f"{name} is empty; {_LISTS}")
    blocks = _CRL_BLOCK.findall(data)
    try:
        revocations = [x509.load_pem_x509_crl(block) for block in blocks] or [x509.load_der_x509_crl(data)]
        for revocation in revocations:
            _check_revocation(revocation, name, authorities)
    except _WrongRevocationError:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{name} holds something else than revocation lists ({error}); {_LISTS}") from None
    return revocations


class _WrongRevocationError(ValueError):
    """A revocation list, but none that can be used."""


def _check_revocation(revocation: x509.CertificateRevocationList, name: str, authorities: Sequence[x509.Certificate]) -> None:
    issuer = revocation.issuer.rfc4514_string()
    if not any(_has_signed(authority, revocation) for authority in authorities):
        raise _WrongRevocationError(
            f"{name} is a list of {issuer!r}, which is no CA of the trust store; add that CA's certificate to trust_store, or leave it out"
        )
    for extension in revocation.extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            raise _WrongRevocationError(f"{name} lists only what is new (a delta CRL); give the whole list of {issuer!r}")
        # OpenSSL would pass over such a list without a word, and take what it revokes.
        if isinstance(value, x509.IssuingDistributionPoint) and (
            value.indirect_crl or value.only_some_reasons or value.only_contains_attribute_certs
        ):
            raise _WrongRevocationError(f"{name} lists only some of the revoked certificates of {issuer!r}; give the whole list")


def _has_signed(authority: x509.Certificate, revocation: x509.CertificateRevocationList) -> bool:
    if authority.subject != revocation.issuer:
        return False
    try:
        return revocation.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False

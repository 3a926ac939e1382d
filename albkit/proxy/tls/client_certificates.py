"""Reads client certificates, checks their type, and maps OpenSSL's verification errors to ALB's (docs/alb.md 1.11, 7.2)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL, crypto

from albkit.model.tls import ClientCertificate

__all__ = (
    "CODES",
    "CRL_PROCESSING",
    "FAILURES",
    "INVALID",
    "REASONS",
    "TOO_LARGE",
    "UNMAPPED",
    "UNSUPPORTED",
    "client_certificate",
    "der",
    "fault_of_type",
)

_CURVES = frozenset(("secp256r1", "secp384r1", "secp521r1"))
_HASHES = frozenset(("sha256", "sha384", "sha512"))
UNMAPPED: Final = "UnmappedConnectionError"
TOO_LARGE: Final = "ClientCertMaxSizeExceeded"
UNSUPPORTED: Final = "ClientCertTypeUnsupported"
CRL_PROCESSING: Final = "ClientCertCrlProcessingError"
INVALID: Final = "ClientCertInvalid"
CODES = SSL.X509VerificationCodes
FAILURES: dict[int, str] = {
    code: failure
    for failure, codes in {
        "ClientCertMaxChainDepthExceeded": (CODES.ERR_CERT_CHAIN_TOO_LONG,),
        "ClientCertCrlHit": (CODES.ERR_CERT_REVOKED,),
        CRL_PROCESSING: (
            CODES.ERR_UNABLE_TO_GET_CRL,
            CODES.ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE,
            CODES.ERR_CRL_SIGNATURE_FAILURE,
            CODES.ERR_CRL_NOT_YET_VALID,
            CODES.ERR_CRL_HAS_EXPIRED,
            CODES.ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD,
            CODES.ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD,
            CODES.ERR_UNABLE_TO_GET_CRL_ISSUER,
            CODES.ERR_KEYUSAGE_NO_CRL_SIGN,
            CODES.ERR_UNHANDLED_CRITICAL_CRL_EXTENSION,
            CODES.ERR_DIFFERENT_CRL_SCOPE,
            CODES.ERR_CRL_PATH_VALIDATION_ERROR,
        ),
        "ClientCertUntrusted": (
            CODES.ERR_UNABLE_TO_GET_ISSUER_CERT,
            CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
            CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN,
            CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
            CODES.ERR_CERT_UNTRUSTED,
        ),
        "ClientCertNotYetValid": (CODES.ERR_CERT_NOT_YET_VALID,),
        "ClientCertExpired": (CODES.ERR_CERT_HAS_EXPIRED,),
        # EE_KEY_TOO_SMALL, CA_KEY_TOO_SMALL, CA_MD_TOO_WEAK: pyOpenSSL has no names for these.
        UNSUPPORTED: (66, 67, 68),
        INVALID: (
            CODES.ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE,
            CODES.ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY,
            CODES.ERR_CERT_SIGNATURE_FAILURE,
            CODES.ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD,
            CODES.ERR_ERROR_IN_CERT_NOT_AFTER_FIELD,
            CODES.ERR_INVALID_CA,
            CODES.ERR_PATH_LENGTH_EXCEEDED,
            CODES.ERR_SUBJECT_ISSUER_MISMATCH,
            CODES.ERR_AKID_SKID_MISMATCH,
            CODES.ERR_AKID_ISSUER_SERIAL_MISMATCH,
            CODES.ERR_KEYUSAGE_NO_CERTSIGN,
            CODES.ERR_INVALID_NON_CA,
            CODES.ERR_PROXY_PATH_LENGTH_EXCEEDED,
            CODES.ERR_KEYUSAGE_NO_DIGITAL_SIGNATURE,
            CODES.ERR_PROXY_CERTIFICATES_NOT_ALLOWED,
            CODES.ERR_INVALID_EXTENSION,
            CODES.ERR_INVALID_POLICY_EXTENSION,
            CODES.ERR_NO_EXPLICIT_POLICY,
            CODES.ERR_UNNESTED_RESOURCE,
            CODES.ERR_PERMITTED_VIOLATION,
            CODES.ERR_EXCLUDED_VIOLATION,
            CODES.ERR_SUBTREE_MINMAX,
        ),
        "ClientCertPurposeInvalid": (CODES.ERR_INVALID_PURPOSE,),
        "ClientCertRejected": (CODES.ERR_CERT_REJECTED, CODES.ERR_APPLICATION_VERIFICATION),
        "ClientCertIncompatible": (
            CODES.ERR_UNHANDLED_CRITICAL_EXTENSION,
            CODES.ERR_UNSUPPORTED_EXTENSION_FEATURE,
            CODES.ERR_UNSUPPORTED_CONSTRAINT_TYPE,
            CODES.ERR_UNSUPPORTED_CONSTRAINT_SYNTAX,
            CODES.ERR_UNSUPPORTED_NAME_SYNTAX,
        ),
    }.items()
    for code in codes
}
"""ALB's error by OpenSSL's code (docs/alb.md 7.2)."""
REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": UNMAPPED,
    "CERTIFICATE_VERIFY_FAILED": UNMAPPED,
    "CERT_LENGTH_MISMATCH": INVALID,
    "BAD_SIGNATURE": INVALID,
    "UNKNOWN_CERTIFICATE_TYPE": UNSUPPORTED,
    "UNABLE_TO_FIND_PUBLIC_KEY_PARAMETERS": UNSUPPORTED,
    "SIGNATURE_FOR_NON_SIGNING_CERTIFICATE": UNSUPPORTED,
    "WRONG_SIGNATURE_TYPE": "ClientCertIncompatible",
}
"""ALB's error by OpenSSL's reason, for handshakes that fail without a verification error."""


def fault_of_type(certificate: x509.Certificate) -> str:
    """Why ALB does not accept a certificate's key, signature or version (docs/alb.md 1.11); empty if it does."""
    if certificate.version is not x509.Version.v3:
        return "it is X.509 version 1; version 3 is required"
    try:
        key, kind = certificate.public_key(), certificate.signature_hash_algorithm
    except (UnsupportedAlgorithm, ValueError):
        return "its key or signature is of an unknown type; RSA or ECDSA is required"
    if isinstance(key, rsa.RSAPublicKey):
        if not 2048 <= key.key_size <= 8192:
            return f"its RSA key has {key.key_size} bits; 2048 to 8192 are required"
    elif not (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES):
        return "its key is neither RSA nor ECDSA on P-256, P-384 or P-521"
    if kind is None or kind.name not in _HASHES:
        return f"it is signed with {kind.name if kind is not None else 'an unknown hash'}; SHA-256, SHA-384 or SHA-512 is required"
    return ""


def client_certificate(chain: Sequence[crypto.X509]) -> ClientCertificate | None:
    """Return a client's certificate chain in readable form; only the PEM if cryptography cannot parse what OpenSSL has accepted."""
    try:
        pem = tuple(crypto.dump_certificate(crypto.FILETYPE_PEM, certificate).decode("ascii") for certificate in chain)
    except crypto.Error:
        return None
    try:
        # cryptography warns about unusual certificates; clients must not be able to fill the program's log.
        with warnings.catch_warnings(action="ignore"):
            leaf = chain[0].to_cryptography()
            return ClientCertificate(
                leaf.subject.rfc4514_string(),
                leaf.issuer.rfc4514_string(),
                _serial_number(leaf.serial_number),
                _iso(leaf.not_valid_before_utc),
                _iso(leaf.not_valid_after_utc),
                pem,
            )
    except Exception:  # noqa: BLE001 - the client chooses every byte of it
        return ClientCertificate("", "", "", "", "", pem)


def der(certificate: crypto.X509) -> bytes:
    """The certificate as it was sent."""
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _serial_number(number: int) -> str:
    """In whole bytes, as ALB writes it: `03A5B1`."""
    digits = f"{abs(number):X}"
    return ("-" if number < 0 else "") + ("0" if len(digits) % 2 else "") + digits


def _iso(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"

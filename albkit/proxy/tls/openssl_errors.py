"""Translates pyOpenSSL's errors to those of the standard library."""

from __future__ import annotations

import ssl
from typing import Final

from OpenSSL import SSL, crypto

__all__ = ("WANT_READ", "Translation", "forget_errors", "ssl_error", "translation", "words")

Translation = tuple[type[ssl.SSLError], int, str, str]
WANT_READ: Final[Translation] = (ssl.SSLWantReadError, ssl.SSL_ERROR_WANT_READ, "WANT_READ", "SSL")


def translation(error: SSL.Error) -> Translation:
    """The class, number, reason and library of the standard library's counterpart of a pyOpenSSL error."""
    if isinstance(error, SSL.ZeroReturnError):
        return ssl.SSLZeroReturnError, ssl.SSL_ERROR_ZERO_RETURN, "ZERO_RETURN", "SSL"
    if isinstance(error, SSL.SysCallError):
        return ssl.SSLEOFError, ssl.SSL_ERROR_EOF, "UNEXPECTED_EOF_WHILE_READING", "SSL"
    library, reason = _library_and_reason(error)
    kind = ssl.SSLCertVerificationError if reason == "CERTIFICATE_VERIFY_FAILED" else ssl.SSLError
    return kind, ssl.SSL_ERROR_SSL, reason, library


def ssl_error(kind: type[ssl.SSLError], number: int, reason: str, library: str = "SSL") -> ssl.SSLError:
    """Create an error that looks like those of the standard library's `SSLObject`."""
    error = kind(number, f"[{library}: {reason}] {reason.lower().replace('_', ' ')}")
    error.library, error.reason = library, reason
    return error


def _library_and_reason(error: SSL.Error) -> tuple[str, str]:
    """Library and reason in the standard library's form: `SSL` and `WRONG_VERSION_NUMBER`. Of several errors, the last one says why OpenSSL
    gave up.

    Earlier errors are the underlying causes. If one of them is about ASN.1, the library is `ASN1`.
    """
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    if not entries:
        return "SSL", "UNKNOWN_ERROR"
    library, _, reason = entries[-1]
    if any("asn1" in entry[0] for entry in entries):
        library = "ASN1"
    return library.removesuffix(" routines").upper(), reason.upper().replace(" ", "_")


def words(error: SSL.Error | crypto.Error) -> str:
    """The reasons of an error, as text."""
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(reason for _, _, reason in entries) or "no reason given"


def forget_errors() -> None:
    """Clear OpenSSL's error queue.

    The queue belongs to the thread. Errors that remain in it, after a certificate was accepted nevertheless, would be attributed to the
    next connection. pyOpenSSL has no function for this, but a failing call removes all errors.
    """
    try:
        crypto.load_certificate(crypto.FILETYPE_PEM, b"")
    except crypto.Error:
        pass

"""pyOpenSSL's errors, as the standard library has them."""

from __future__ import annotations

import ssl
from typing import Final

from OpenSSL import SSL, crypto

__all__ = ("WANT_READ", "Translation", "forget_errors", "ssl_error", "translation", "words")

Translation = tuple[type[ssl.SSLError], int, str, str]
WANT_READ: Final[Translation] = (ssl.SSLWantReadError, ssl.SSL_ERROR_WANT_READ, "WANT_READ", "SSL")


def translation(error: SSL.Error) -> Translation:
    """What the standard library has for an error of pyOpenSSL's: its kind, number, reason and library."""
    if isinstance(error, SSL.ZeroReturnError):
        return ssl.SSLZeroReturnError, ssl.SSL_ERROR_ZERO_RETURN, "ZERO_RETURN", "SSL"
    if isinstance(error, SSL.SysCallError):
        return ssl.SSLEOFError, ssl.SSL_ERROR_EOF, "UNEXPECTED_EOF_WHILE_READING", "SSL"
    library, reason = _library_and_reason(error)
    kind = ssl.SSLCertVerificationError if reason == "CERTIFICATE_VERIFY_FAILED" else ssl.SSLError
    return kind, ssl.SSL_ERROR_SSL, reason, library


def ssl_error(kind: type[ssl.SSLError], number: int, reason: str, library: str = "SSL") -> ssl.SSLError:
    """An error that looks as those of the standard library's `SSLObject`."""
    error = kind(number, f"[{library}: {reason}] {reason.lower().replace('_', ' ')}")
    error.library, error.reason = library, reason
    return error


def _library_and_reason(error: SSL.Error) -> tuple[str, str]:
    """As the standard library writes them: `SSL` and `WRONG_VERSION_NUMBER`; the last of several errors, where OpenSSL gave up.

    The first is what has gone wrong within; where that is about ASN.1, so is all.
    """
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    if not entries:
        return "SSL", "UNKNOWN_ERROR"
    library, _, reason = entries[-1]
    if any("asn1" in entry[0] for entry in entries):
        library = "ASN1"
    return library.removesuffix(" routines").upper(), reason.upper().replace(" ", "_")


def words(error: SSL.Error | crypto.Error) -> str:
    """What has gone wrong, for a person."""
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(reason for _, _, reason in entries) or "no reason given"


def forget_errors() -> None:
    """Empty OpenSSL's queue of errors.

    What is left in it when a certificate was taken all the same would be taken for the fault of whichever connection comes next. pyOpenSSL
    has no call for that, but one that fails takes all of them along.
    """
    try:
        crypto.load_certificate(crypto.FILETYPE_PEM, b"")
    except crypto.Error:
        pass

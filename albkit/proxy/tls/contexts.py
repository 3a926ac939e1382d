"""TLS contexts of the standard library, for clients that are not asked for a certificate."""

from __future__ import annotations

import os
import ssl
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Protocol

from albkit.model.ssl_policy import SslPolicy

__all__ = ("Shown", "cipher_name", "in_words", "server_context", "show")

_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


class Shown(Protocol):
    """A server's certificate."""

    @property
    def chain(self) -> bytes:
        """In PEM, the server's own certificate first."""

    @property
    def key(self) -> bytes:
        """In PEM, not encrypted."""


def server_context(certificates: Sequence[Shown], policy: SslPolicy, alpn: Sequence[str]) -> ssl.SSLContext:
    """Create a context with these certificates. OpenSSL chooses the first key type that the client supports.

    Raises:
        ssl.SSLError: OpenSSL rejects one of them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        # Python warns about old TLS versions, but the security policy names them explicitly.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[policy.minimum]
        context.maximum_version = _VERSIONS[policy.maximum]
    # TLS 1.0 and 1.1 sign with SHA-1, which OpenSSL 3 allows at security level 0 only (SSL_CTX_set_security_level(3)).
    old = policy.minimum in ("TLSv1", "TLSv1.1")
    if policy.ciphers:
        context.set_ciphers(":".join(policy.ciphers) + (":@SECLEVEL=0" if old else ""))
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if alpn:
        context.set_alpn_protocols(list(alpn))
    for certificate in certificates:
        show(context, certificate)
    return context


def show(context: ssl.SSLContext, certificate: Shown) -> None:
    """Add a certificate to a context.

    Raises:
        ssl.SSLError: OpenSSL rejects it.
    """
    with _file_of(certificate.chain + b"\n" + certificate.key) as path:
        context.load_cert_chain(path)


@contextmanager
def _file_of(content: bytes) -> Iterator[str]:
    """Provide the content as a file, which `load_cert_chain` requires. On Linux it exists in memory only, because it contains a private
    key."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("certificate")
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name


def cipher_name(number: int) -> str:
    """OpenSSL's name of a cipher suite; empty if it has none."""
    return _cipher_names().get(number, "")


@lru_cache(maxsize=1)
def _cipher_names() -> dict[int, str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    # Above the number of the suite, OpenSSL's ids contain a constant (SSL_CIPHER_get_id(3)).
    return {cipher["id"] & 0xFFFF: cipher["name"] for cipher in context.get_ciphers()}


def in_words(error: Exception) -> str:
    """The text of an OpenSSL error, without the source location in it."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return str(error) or type(error).__name__

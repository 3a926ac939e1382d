"""Contexts of the standard library's: what is offered to clients that need not show a certificate of their own."""

from __future__ import annotations

import os
import ssl
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from albkit.model.ssl_policy import SslPolicy

__all__ = ("Shown", "in_words", "server_context", "show")

_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


class Shown(Protocol):
    """A certificate that is shown to clients."""

    @property
    def chain(self) -> bytes:
        """In PEM, its own first."""

    @property
    def key(self) -> bytes:
        """In PEM, not encrypted."""


def server_context(certificates: Sequence[Shown], policy: SslPolicy, alpn: Sequence[str]) -> ssl.SSLContext:
    """A context that shows one of these certificates: the first kind of key that the client can verify.

    Raises:
        ssl.SSLError: OpenSSL does not take one of them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        # It warns of what the policy asks for by its name.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[policy.minimum]
        context.maximum_version = _VERSIONS[policy.maximum]
    # TLS 1.0 and 1.1 sign with SHA-1, which OpenSSL lets nobody do above level 0.
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
    """Let a context show a certificate to peers that want one.

    Raises:
        ssl.SSLError: OpenSSL does not take it.
    """
    with _file_of(certificate.chain + b"\n" + certificate.key) as path:
        context.load_cert_chain(path)


@contextmanager
def _file_of(content: bytes) -> Iterator[str]:
    """OpenSSL reads files: one that is in memory only, where the system has that."""
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


def in_words(error: Exception) -> str:
    """An error of OpenSSL's, without what it says of its own source."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return str(error) or type(error).__name__

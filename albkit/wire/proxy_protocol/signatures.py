"""Detects a PROXY protocol header on a listener that expects none."""

from __future__ import annotations

from albkit.errors import Failure, FailureKind

__all__ = ("PROXY_HEADERS", "unexpected_proxy_header")

PROXY_HEADERS = (b"PROXY TCP", b"PROXY UNKNOWN", b"\0\r\nQUIT")
"""How such a request starts. The signature of version 2 starts with CRLFs, which are skipped before a request (RFC 9112 section 2.2), so
they are missing here."""


def unexpected_proxy_header() -> Failure:
    """The failure of a request that starts with a PROXY protocol header."""
    return Failure(
        FailureKind.PROXY_HEADER_UNEXPECTED, "set proxy_protocol='required' for the listener, or add the peer to its trusted_networks"
    )

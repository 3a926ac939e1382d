"""A PROXY protocol header that came where the listener expects none."""

from __future__ import annotations

from albkit.errors import Failure, FailureKind

__all__ = ("PROXY_HEADERS", "unexpected_proxy_header")

PROXY_HEADERS = (b"PROXY TCP", b"PROXY UNKNOWN", b"\0\r\nQUIT")
"""The first bytes of PROXY protocol headers. Those of version 2 lack the CR LF pairs at their start, which may precede a request."""


def unexpected_proxy_header() -> Failure:
    """The failure of a request that begins with a PROXY protocol header."""
    return Failure(
        FailureKind.PROXY_HEADER_UNEXPECTED, "give the listener proxy_protocol='required', or add the peer to its trusted_networks"
    )

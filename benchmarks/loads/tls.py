"""The TLS settings of our own clients, and the check of what was negotiated.

Every load uses the `openssl.cnf` in this directory: one version, one cipher suite, one group. The negotiated values are checked
nevertheless.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

from benchmarks.measure import MeasurementError

__all__ = ("NAME", "check", "client_context", "client_environment")

_CONFIGURATION: Final = Path(__file__).with_name("openssl.cnf")
NAME: Final = "localhost"
"""The server name that clients send."""
_HTTP2: Final = "h2"
_AGREED: Final = ("TLSv1.3", "TLS_AES_256_GCM_SHA384")


def client_environment() -> dict[str, str]:
    """The environment of programs that put load on a proxy, and of no others."""
    return {**os.environ, "OPENSSL_CONF": str(_CONFIGURATION)}


def client_context(*, http2: bool = False) -> ssl.SSLContext:
    """A context that accepts every certificate, because verifying costs the client and not the proxy. It offers HTTP/2, or no ALPN."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if http2:
        context.set_alpn_protocols([_HTTP2])
    return context


def check(session: ssl.SSLObject | ssl.SSLSocket, *, http2: bool = False) -> None:
    """Check what was negotiated.

    Raises:
        MeasurementError: it differs from what all proxies are compared with.
    """
    cipher = session.cipher()
    agreed = (session.version(), cipher[0] if cipher else None)
    if agreed != _AGREED:
        raise MeasurementError(f"{agreed} was agreed on instead of {_AGREED}")
    if http2 and session.selected_alpn_protocol() != _HTTP2:
        raise MeasurementError(f"{session.selected_alpn_protocol()} was agreed on instead of {_HTTP2}")

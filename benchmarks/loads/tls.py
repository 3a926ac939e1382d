"""What our own clients say in a TLS handshake, and what must have come of it.

`openssl.cnf` beside is in force in every load: one version, one cipher suite, one group. What is agreed on is looked at nevertheless.
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
"""Whom clients ask for."""
_AGREED: Final = ("TLSv1.3", "TLS_AES_256_GCM_SHA384")


def client_environment() -> dict[str, str]:
    """That of programs that put load on a proxy, and of no others."""
    return {**os.environ, "OPENSSL_CONF": str(_CONFIGURATION)}


def client_context() -> ssl.SSLContext:
    """One that believes every certificate: what a client thinks of it is no cost of the proxy's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check(session: ssl.SSLObject | ssl.SSLSocket) -> None:
    """Look at what was agreed on.

    Raises:
        MeasurementError: it is not what all are to be compared with.
    """
    cipher = session.cipher()
    agreed = (session.version(), cipher[0] if cipher else None)
    if agreed != _AGREED:
        raise MeasurementError(f"{agreed} was agreed on instead of {_AGREED}")

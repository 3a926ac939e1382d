"""What our own clients say in a TLS handshake, and what must have come of it.

`openssl.cnf` beside is in force in every load: one version, one cipher suite, one group. What is agreed on is looked at nevertheless.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import ssl
import sys
from pathlib import Path
from typing import Final

from benchmarks.measure import MeasurementError

__all__ = ("CONNECT_TIMEOUT", "NAME", "check", "client_context", "client_environment")

_CONFIGURATION: Final = Path(__file__).with_name("openssl.cnf")
NAME: Final = "localhost"
"""Whom clients ask for."""
CONNECT_TIMEOUT: Final = 10.0
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


def main() -> int:
    """Shake hands once."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loads.tls", description=main.__doc__)
    parser.add_argument("port", type=int, help="of the proxy")
    given = parser.parse_args()
    try:
        with (
            socket.create_connection(("127.0.0.1", given.port), timeout=CONNECT_TIMEOUT) as below,
            client_context().wrap_socket(below, server_hostname=NAME) as session,
        ):
            check(session)
    except (OSError, MeasurementError) as error:
        print(f"no TLS as it must be: {error}", file=sys.stderr)
        return 1
    print(json.dumps({}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

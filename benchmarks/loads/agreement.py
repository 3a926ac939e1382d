"""Makes one TLS handshake with a proxy and checks that it negotiates the same as all others."""

from __future__ import annotations

import argparse
import json
import socket
import sys
from typing import Final

from benchmarks.loads.tls import NAME, check, client_context
from benchmarks.measure import MeasurementError

_TIMEOUT: Final = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loads.agreement", description=__doc__)
    parser.add_argument("port", type=int, help="of the proxy")
    parser.add_argument("--http2", action="store_true", help="offer HTTP/2 by ALPN, and expect it")
    given = parser.parse_args()
    try:
        with (
            socket.create_connection(("127.0.0.1", given.port), timeout=_TIMEOUT) as below,
            client_context(http2=given.http2).wrap_socket(below, server_hostname=NAME) as session,
        ):
            check(session, http2=given.http2)
    except (OSError, MeasurementError) as error:
        print(f"no TLS as it must be: {error}", file=sys.stderr)
        return 1
    print(json.dumps({}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

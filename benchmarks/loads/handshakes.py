"""TLS handshakes from a client in C, because one in Python is slower than the proxies."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from benchmarks.answers import BODY
from benchmarks.loads.tls import NAME, client_environment
from benchmarks.loads.wrk import Load
from benchmarks.measure import MeasurementError, installed, pinned
from benchmarks.peers.compiler import compile_once

__all__ = ("HEADERS", "client", "shake_hands")

_SOURCE: Final = Path(__file__).with_suffix(".c")
HEADERS: Final = (Path("/usr/include/openssl/ssl.h"), Path("/usr/local/include/openssl/ssl.h"))
"""One of these files must exist for the compilation."""
_STUCK: Final = 30


def client() -> str:
    """The program, compiled on first use."""
    compiler = installed("cc")
    if compiler is None or not any(header.exists() for header in HEADERS):
        raise MeasurementError("there is no compiler, or OpenSSL's headers are missing: apt-get install gcc libc6-dev libssl-dev")
    return compile_once(_SOURCE, [compiler, "-O2"], "-lssl", "-lcrypto")


def shake_hands(port: int, *, core: int, connections: int, seconds: float, resumed: bool) -> Load:
    """Open connections with one request each, one after the other per client.

    Args:
        port: On 127.0.0.1.
        core: The only core that the load runs on.
        connections: Number of clients.
        seconds: Duration.
        resumed: Whether all connections but the first resume a session; otherwise none does.

    Raises:
        MeasurementError: the load has detected an error.
    """
    how = "resumed" if resumed else "full"
    command = [client(), str(port), str(connections), str(seconds), how, NAME, BODY.decode()]
    with pinned(core):
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds + _STUCK,
                env=client_environment(),
            )
        except subprocess.TimeoutExpired:
            raise MeasurementError("the load does not end") from None
    if done.returncode:
        raise MeasurementError(done.stderr.strip()[-500:] or f"the load ended with status {done.returncode}")
    count, taken = done.stdout.split()
    return Load(int(count), int(count) / float(taken))

"""Handshakes from a client in C: one in Python is slower than the proxies."""

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
"""One of these says that it can be compiled."""
_STUCK: Final = 30


def client() -> str:
    """The program, compiled if that was not done before."""
    compiler = installed("cc")
    if compiler is None or not any(header.exists() for header in HEADERS):
        raise MeasurementError("there is no compiler, or OpenSSL's headers are missing: apt-get install gcc libc6-dev libssl-dev")
    return compile_once(_SOURCE, [compiler, "-O2"], "-lssl", "-lcrypto")


def shake_hands(port: int, *, core: int, connections: int, seconds: float, resumed: bool) -> Load:
    """Connections with a request each, one after the other on each of so many clients.

    Args:
        port: Of 127.0.0.1.
        core: The only one that the load runs on.
        connections: That are there at any time.
        seconds: How long.
        resumed: Whether all but the first resume a session; else none does.

    Raises:
        MeasurementError: something was not as it must be.
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

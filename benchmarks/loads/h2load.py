"""HTTP/2 load by h2load, with one request of our own before and after it (`http2.ask`)."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.loads.tls import client_environment
from benchmarks.measure import MeasurementError, installed, pinned

__all__ = ("Http2Load", "put_http2_load")

_TIMEOUT: Final = 10
"""Seconds without a byte after which a connection counts as failed."""
_STUCK: Final = 60
_ACCEPTED: Final = ("--tls13-ciphers=TLS_AES_256_GCM_SHA384", "--groups=X25519", "--npn-list=h2")
"""The same as our own clients offer in `openssl.cnf`, which h2load overrides."""
_AGREED: Final = ("TLS Protocol: TLSv1.3", "Cipher: TLS_AES_256_GCM_SHA384", "Server Temp Key: X25519", "Application protocol: h2")


class Http2Load(NamedTuple):
    """The result of h2load."""

    requests: int
    seconds: float
    received: int
    """Bytes of all bodies."""


def put_http2_load(
    port: int,
    paths: Sequence[str],
    fields: Mapping[str, str],
    *,
    core: int,
    connections: int,
    streams: int,
    seconds: float = 0.0,
    count: int = 0,
    body: bytes | int = b"",
    tls: bool = False,
) -> Http2Load:
    """Send requests from one thread, for some time or a number of them.

    Args:
        port: On 127.0.0.1.
        paths: The paths that each connection requests, one after the other, and then from the first again.
        fields: The headers in addition to h2load's own.
        core: The only core that h2load runs on.
        connections: Number of connections.
        streams: Requests outstanding at any time on each connection.
        seconds: Duration; 0 if there is a count.
        count: Number of requests of all connections together.
        body: What to post with each request, or how many zero bytes; empty for a GET.
        tls: Whether to use TLS.

    Raises:
        MeasurementError: a connection failed, or a response was not a 200.
    """
    h2load = installed("h2load")
    if h2load is None:
        raise MeasurementError("h2load is not installed: apt-get install nghttp2-client")
    command = [h2load, "-t1", f"-c{connections}", f"-m{streams}", f"--connection-inactivity-timeout={_TIMEOUT}"]
    command += [f"-n{count}"] if count else [f"-D{ceil(seconds * 1000)}ms"]
    command += [f"-H{name}: {value}" for name, value in fields.items()]
    command += _ACCEPTED if tls else ()
    with tempfile.TemporaryDirectory(prefix="albkit-h2load-") as directory:
        if body:
            command.append(f"--data={_file(Path(directory) / 'body', body)}")
        start = f"http{'s' * tls}://127.0.0.1:{port}"
        if len(paths) == 1:
            command.append(f"{start}{paths[0]}")
        else:
            listed = "".join(f"{start}{path}\n" for path in paths)
            command.append(f"--input-file={_file(Path(directory) / 'paths', listed.encode())}")
        with pinned(core):
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, check=False, timeout=seconds + _STUCK, env=client_environment()
                )
            except subprocess.TimeoutExpired:
                raise MeasurementError("h2load does not end") from None
    if done.returncode:
        raise MeasurementError(f"h2load failed: {done.stderr.strip()[-500:] or done.stdout.strip()[-500:]}")
    return _result(done.stdout, tls=tls)


def _file(file: Path, content: bytes | int) -> Path:
    with file.open("wb") as opened:
        if isinstance(content, int):
            opened.truncate(content)
        else:
            opened.write(content)
    return file


def _result(told: str, *, tls: bool) -> Http2Load:
    """What h2load has printed, as numbers."""
    taken = re.search(r"finished in ([\d.]+)(us|ms|s),", told)
    requests = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", told)
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", told)
    received = re.search(r"\((\d+)\) data", told)
    if taken is None or requests is None or codes is None or received is None:
        raise MeasurementError(f"h2load printed {told[-500:]!r}")
    done, succeeded, *lost = map(int, requests.groups())
    good, *others = map(int, codes.groups())
    # When the time is over, a few responses have begun and are not done.
    if not done or any(lost) or any(others) or succeeded != done or good < done:
        raise MeasurementError(f"h2load saw errors: {told[requests.start() :].partition('traffic:')[0].strip() or 'no response at all'}")
    missing = [line for line in _AGREED if line not in told] if tls else []
    if missing:
        raise MeasurementError(f"h2load did not agree on {', '.join(missing)}")
    return Http2Load(done, float(taken[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[taken[2]], int(received[1]))

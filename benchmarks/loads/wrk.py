"""HTTP load by wrk, with one request of our own before and after it."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import NamedTuple

from benchmarks.loads.tls import client_context, client_environment
from benchmarks.measure import MeasurementError, installed, pinned

__all__ = ("Load", "ask", "put_load")

_POST = Path(__file__).with_name("post.lua")
_VARIED = Path(__file__).with_name("varied.lua")
_TIMEOUT = 10
"""Seconds that wrk waits for a response before it counts an error."""


class Load(NamedTuple):
    """The result of wrk."""

    requests: int
    rate: float
    """Requests per second."""

    @property
    def seconds(self) -> float:
        """The duration."""
        return self.requests / self.rate


def put_load(
    port: int,
    path: str,
    fields: Mapping[str, str],
    *,
    core: int,
    connections: int,
    seconds: float,
    body: int = 0,
    varied: bool = False,
    tls: bool = False,
) -> Load:
    """Send the same request repeatedly, from one thread.

    Args:
        port: On 127.0.0.1.
        path: The request's path.
        fields: Its headers; Host is wrk's own if there is none.
        core: The only core that wrk runs on.
        connections: Number of requests outstanding at any time.
        seconds: Duration.
        body: Bytes to post with each request; 0 for a GET.
        varied: Whether each GET has a header that no GET before it had.
        tls: Whether to use TLS.

    Raises:
        MeasurementError: a connection failed, or a response was an error.
    """
    wrk = installed("wrk")
    if wrk is None:
        raise MeasurementError("wrk is not installed: apt-get install wrk")
    command = [wrk, "-t1", f"-c{connections}", f"-d{ceil(seconds) + _TIMEOUT}s", f"--timeout={_TIMEOUT}s"]
    command += [f"-H{name}: {value}" for name, value in fields.items()]
    command += ["-s", str(_POST)] if body else ["-s", str(_VARIED)] if varied else []
    command += [f"http{'s' * tls}://127.0.0.1:{port}{path}", *(["--", str(body)] if body else [])]
    with pinned(core):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=client_environment()
        )
    try:
        told, complained = _stopped_after(process, seconds)
    finally:
        process.kill()
    requests = re.search(r"(\d+) requests in ", told)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", told)
    errors = re.findall(r"Socket errors:.*|Non-2xx.*", told)
    if process.returncode or requests is None or rate is None or not int(requests[1]):
        raise MeasurementError(f"wrk failed: {told} {complained}".strip())
    if errors:
        raise MeasurementError(f"wrk saw errors: {'; '.join(errors)}")
    return Load(int(requests[1]), float(rate[1]))


def _stopped_after(process: subprocess.Popen[str], seconds: float) -> tuple[str, str]:
    """The output of wrk. It accepts whole seconds only, but ends gracefully when it is interrupted."""
    deadline = time.monotonic() + seconds
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        time.sleep(max(0.0, deadline - time.monotonic()))
        process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=2 * _TIMEOUT)
    except subprocess.TimeoutExpired:
        raise MeasurementError("wrk does not end") from None


def ask(port: int, path: str, fields: Mapping[str, str], answer: bytes, body: int = 0, *, tls: bool = False) -> list[str]:
    """Send one request, and check that the response is a 200 with this body, because wrk counts only 4xx and 5xx as errors.

    Returns:
        The values of its Set-Cookie headers.
    """
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=_TIMEOUT, context=client_context())
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    )
    try:
        connection.putrequest("POST" if body else "GET", path, skip_host="Host" in fields, skip_accept_encoding=True)
        for name, value in fields.items():
            connection.putheader(name, value)
        if body:
            connection.putheader("Content-Length", str(body))
        connection.endheaders(b"x" * body)
        response = connection.getresponse()
        received = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise MeasurementError(f"no answer on port {port}: {error!r}") from error
    finally:
        connection.close()
    if response.status != 200 or received != answer:
        raise MeasurementError(f"port {port} answered {response.status} {received[:100]!r} instead of 200 {answer[:100]!r}")
    return response.headers.get_all("Set-Cookie") or []

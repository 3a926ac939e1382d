"""What every benchmark needs: programs pinned to a core and surely ended, their CPU time and memory, and load on them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = (
    "Cores",
    "Load",
    "MeasurementError",
    "Program",
    "ask",
    "cpu_seconds",
    "descriptors",
    "free_ports",
    "installed",
    "memory_bytes",
    "put_load",
    "put_tunnel_load",
    "running",
    "two_cores",
)

_START_TIMEOUT = 15.0
_END_TIMEOUT = 5.0
_LOAD_TIMEOUT = 10
"""Seconds that wrk waits for one response before it counts an error."""
_SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin"
"""Servers are installed here, and not every user's PATH says so."""


class MeasurementError(Exception):
    """No figure can be had, or none that could be believed."""


class Cores(NamedTuple):
    """Which core does what."""

    proxy: int
    load: int


def two_cores() -> Cores:
    """The first two cores that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise MeasurementError("two cores are needed: one for the proxy alone, one for load and targets")
    return Cores(usable[0], usable[1])


def installed(program: str) -> str | None:
    """Where a program is, `None` where it is not installed."""
    return shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", os.defpath), _SYSTEM_PROGRAMS)))


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def descriptors(wanted: int) -> int:
    """Let this process, and every program that it starts from now on, have so many files open; how many of them it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


# Programs.


class Program(NamedTuple):
    """A program that runs."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def await_port(self, port: int) -> None:
        """Return when it listens on this port of 127.0.0.1."""
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
                return
            if not self.alive or time.monotonic() > deadline:
                raise MeasurementError(f"{self.name} does not listen; it said: {self.last_words()}")
            time.sleep(0.02)

    @property
    def alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self.process.poll() is None

    def last_words(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace").strip()[-2000:] or "nothing"


@contextlib.contextmanager
def running(name: str, command: Sequence[str], *, core: int, directory: Path) -> Iterator[Program]:
    """A program pinned to a core with all its children, ended however the block ends.

    Args:
        name: For messages.
        command: The program and its arguments.
        core: The only one it runs on.
        directory: It runs there, and what it prints is kept there.
    """
    process = None
    log = directory / "log"
    try:
        # In a session of its own, so that Ctrl-C reaches this process alone, which then ends the others in order.
        with log.open("wb") as output, _pinned(core):
            process = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        yield Program(name, process, log)
    finally:
        if process is not None:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    family = _family(process.pid)
    process.terminate()
    try:
        process.wait(_END_TIMEOUT)
    except subprocess.TimeoutExpired:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def _pinned(core: int) -> Iterator[None]:
    """What is started meanwhile inherits the core, and so do its children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# CPU time and memory.


def cpu_seconds(pid: int) -> float:
    """CPU time, user and kernel, that a process and its descendants have used so far.

    From `/proc/PID/task/TID/schedstat`, which counts nanoseconds; `/proc/PID/stat` holds the same sum in hundredths of a second.
    """
    total = 0
    for member in _family(pid):
        for thread in Path(f"/proc/{member}/task").iterdir():
            try:
                total += int((thread / "schedstat").read_text().split()[0])
            except FileNotFoundError:
                raise MeasurementError(f"process {member} ended, or this kernel has no schedstat") from None
    return total / 1e9


def memory_bytes(pid: int) -> int:
    """What a process and its descendants have in memory."""
    return sum(_resident(member) for member in _family(pid))


def _resident(pid: int) -> int:
    # The kernel keeps the figure in statm up to date only roughly, but another user's process may not let us read the exact one.
    with contextlib.suppress(OSError):
        resident = re.search(r"^Rss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        if resident is not None:
            return int(resident[1]) * 1024
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (FileNotFoundError, ProcessLookupError):
        raise MeasurementError(f"process {pid} ended") from None


def _family(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for member in found:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{member}/task").iterdir():
                found.extend(int(child) for child in (thread / "children").read_text().split())
    return found


# Load.


class Load(NamedTuple):
    """What wrk did."""

    requests: int
    rate: float
    """Requests per second."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.requests / self.rate


def put_load(port: int, path: str, fields: Mapping[str, str], *, core: int, connections: int, seconds: int) -> Load:
    """Send the same request again and again over keep-alive connections from one thread.

    Args:
        port: Of 127.0.0.1.
        path: The request's target.
        fields: Its fields; Host is wrk's own where none is given.
        core: The only one that wrk runs on.
        connections: As many requests are outstanding at any time.
        seconds: How long.

    Raises:
        MeasurementError: a connection failed, or an answer was an error.
    """
    wrk = installed("wrk")
    if wrk is None:
        raise MeasurementError("wrk is not installed: apt-get install wrk")
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={_LOAD_TIMEOUT}s"]
    command += [f"-H{name}: {value}" for name, value in fields.items()]
    with _pinned(core):
        done = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=False)
    requests = re.search(r"(\d+) requests in ", done.stdout)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)
    errors = re.findall(r"Socket errors:.*|Non-2xx.*", done.stdout)
    if done.returncode or requests is None or rate is None or not int(requests[1]):
        raise MeasurementError(f"wrk failed: {done.stdout} {done.stderr}".strip())
    if errors:
        raise MeasurementError(f"wrk saw errors: {'; '.join(errors)}")
    return Load(int(requests[1]), float(rate[1]))


def ask(port: int, path: str, fields: Mapping[str, str], body: bytes) -> list[str]:
    """Send one request, and make sure that the answer is a 200 with this body: wrk counts only 4xx and 5xx as errors.

    Returns:
        Its Set-Cookie values.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LOAD_TIMEOUT)
    try:
        connection.putrequest("GET", path, skip_host="Host" in fields, skip_accept_encoding=True)
        for name, value in fields.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        received = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise MeasurementError(f"no answer on port {port}: {error!r}") from error
    finally:
        connection.close()
    if response.status != 200 or received != body:
        raise MeasurementError(f"port {port} answered {response.status} {received[:100]!r} instead of 200 {body!r}")
    return response.headers.get_all("Set-Cookie") or []


def put_tunnel_load(kind: str, peer_port: int, pid: int, *, core: int, timeout: float, **options: float) -> dict[str, float]:
    """What `tunnel_load` measured.

    Args:
        kind: Of load.
        peer_port: Where the proxy listens.
        pid: Of the proxy.
        core: The only one that the load runs on.
        timeout: Seconds after which the load is stuck.
        options: Its options.

    Raises:
        MeasurementError: something was not as it must be.
    """
    command = [sys.executable, "-m", "benchmarks.tunnel_load", kind, str(peer_port), str(pid)]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    with _pinned(core):
        try:
            done = subprocess.run(
                command, cwd=Path(__file__).resolve().parent.parent, capture_output=True, text=True, check=False, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            raise MeasurementError(f"the load did not end within {timeout:.0f} s") from None
    if done.returncode:
        raise MeasurementError(done.stderr.strip()[-500:] or f"the load ended with status {done.returncode}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured

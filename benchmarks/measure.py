"""What every benchmark needs: programs that are pinned to a core and reliably ended, and their CPU time and memory."""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = (
    "Cores",
    "MeasurementError",
    "Program",
    "TooMuchError",
    "cpu_seconds",
    "descriptors",
    "free_ports",
    "installed",
    "keep_off",
    "memory_bytes",
    "pinned",
    "running",
    "said",
    "two_cores",
)

_START_TIMEOUT = 15.0
_END_TIMEOUT = 5.0
_SAID_TIMEOUT = 30.0
_PORTS = range(10_000, 32_000)
_CPUCLOCK_SCHED = 2
_SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin"
"""Directories of servers, which are not in every user's PATH."""


class MeasurementError(Exception):
    """There is no result, or none that can be trusted."""


class TooMuchError(MeasurementError):
    """The proxy works, but not at this scale."""


class Cores(NamedTuple):
    """Which core is used for what."""

    proxy: int
    load: int


def two_cores() -> Cores:
    """The first two cores that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise MeasurementError("two cores are needed: one for the proxy alone, one for load and targets")
    return Cores(usable[0], usable[1])


def keep_off(core: int) -> None:
    """Move this process to other cores."""
    os.sched_setaffinity(0, os.sched_getaffinity(0) - {core})


def installed(program: str) -> str | None:
    """The path of a program; `None` if it is not installed."""
    return shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", os.defpath), _SYSTEM_PROGRAMS)))


def said(program: str, *arguments: str) -> str:
    """The output of an installed program."""
    told = subprocess.run([str(installed(program)), *arguments], capture_output=True, text=True, check=False, timeout=_SAID_TIMEOUT)
    return (told.stdout + told.stderr).strip()


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 on which nothing listens.

    They are below the range of ephemeral ports, so that no outgoing connection gets one before its server has started.
    """
    found: list[int] = []
    first = random.randrange(_PORTS.start, _PORTS.stop)
    for port in (*range(first, _PORTS.stop), *range(_PORTS.start, first)):
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) >= count:
            return found
    raise MeasurementError(f"there are no {count} free ports")


def descriptors(wanted: int) -> int:
    """Raise the limit of open files for this process and the programs that it starts, and return the limit in effect."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


# Programs.


class Program(NamedTuple):
    """A running program."""

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
        """Whether it is still running."""
        return self.process.poll() is None

    def last_words(self) -> str:
        """The end of its output."""
        return self.log.read_text(errors="replace").strip()[-2000:] or "nothing"


@contextlib.contextmanager
def running(name: str, command: Sequence[str], *, core: int, directory: Path) -> Iterator[Program]:
    """A program pinned to a core with all its children. It is ended with the block, in every case.

    Args:
        name: For messages.
        command: The program and its arguments.
        core: The only core that it runs on.
        directory: Its working directory, which also receives its output.
    """
    process = None
    log = directory / "log"
    try:
        # In a session of its own, so that Ctrl-C reaches this process alone, which then ends the others in order.
        with log.open("wb") as output, pinned(core):
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
def pinned(core: int) -> Iterator[None]:
    """Programs started inside the block inherit the core, and so do their children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# CPU time and memory.


def cpu_seconds(pid: int) -> float:
    """The CPU time, user and kernel, that a process and its descendants have used so far.

    It is read from the kernel's clock of each process, which counts nanoseconds and includes threads that have ended; `/proc/PID/stat` has
    the same sum in hundredths of a second.
    """
    try:
        return sum(time.clock_gettime(_cpu_clock(member)) for member in _family(pid))
    except OSError:
        raise MeasurementError(f"process {pid} or a child of it ended") from None


def _cpu_clock(pid: int) -> int:
    """The clock id of a process, as clock_getcpuclockid(3) computes it."""
    return (~pid << 3) | _CPUCLOCK_SCHED


def memory_bytes(pid: int) -> int:
    """The memory of a process and its descendants."""
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

"""Outside programs, each on a free loopback port with a file of its settings, for as long as a test needs them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

PATIENCE = 10.0
"""Seconds for a program to accept connections, or to end."""
_PLACES = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))


def program(name: str, package: str | None = None) -> str:
    """Its path; skips the test where it is missing, and fails it under CI. `package` is Debian's, if it has another name."""
    found = shutil.which(name, path=_PLACES)
    if found is None:
        missing = f"there is no program {name}; on Debian: apt-get install {package or name}"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


async def output_of(*command: str, within: float = PATIENCE, fed: bytes | None = None) -> tuple[int, str, str]:
    """Run a program to its end, with `fed` as its input: its exit status, what it said, and its complaints."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL if fed is None else subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(within):
            said, complaints = await process.communicate(fed)
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise AssertionError(f"{command[0]} did not end within {within} s") from None
    assert process.returncode is not None
    return process.returncode, said.decode(errors="replace"), complaints.decode(errors="replace")


@contextlib.asynccontextmanager
async def serving(command: Sequence[str], ports: Sequence[int]) -> AsyncIterator[None]:
    """A program that stays in the foreground; it accepts connections on these ports, and is ended by its own process id."""
    with tempfile.TemporaryFile() as complaints:
        process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL, stdout=complaints, stderr=complaints)
        try:
            for port in ports:
                if not await _accepts(port, process):
                    complaints.seek(0)
                    raise AssertionError(f"{command[0]} does not serve on port {port}: {complaints.read().decode(errors='replace')}")
            yield
        finally:
            await _end(process)


async def _accepts(port: int, process: asyncio.subprocess.Process) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.01)
                else:
                    writer.close()
                    await writer.wait_closed()
                    return True
    return False


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(PATIENCE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def haproxy(sections: str, *ports: int) -> AsyncIterator[None]:
    """HAProxy with these sections."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "haproxy.cfg"
        file.write_text(
            "global\n    maxconn 100\n    ssl-server-verify none\n"
            "defaults\n    mode http\n    timeout connect 5s\n    timeout client 10s\n    timeout server 10s\n" + sections
        )
        async with serving([program("haproxy"), "-db", "-f", str(file)], ports):
            yield


@contextlib.asynccontextmanager
async def nginx(servers: str, *ports: int) -> AsyncIterator[None]:
    """nginx with these servers of its http section, in one process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "nginx.conf"
        temporary = "".join(f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        file.write_text(
            f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr;\nevents {{ worker_connections 64; }}\n"
            f"http {{\n    access_log off;\n{temporary}{servers}}}\n"
        )
        async with serving([program("nginx"), "-e", "stderr", "-p", folder, "-c", str(file)], ports):
            yield

"""Programs in Node, each a process of its own that tells in lines of JSON what it does.

Their modules are in the folder that ALBKIT_NODE_MODULES names; `HOW` installs them there. A program ends when its standard input does, so
that none outlives a test that was cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

import pytest

HERE = Path(__file__).parent
CHROMIUM = Path("/usr/bin/chromium")
HOW = "with Node 20 or later: cp tests/clients/package*.json DIR && npm ci --prefix DIR && export ALBKIT_NODE_MODULES=DIR/node_modules"
HOW_CHROMIUM = "on Debian: apt-get install chromium"

PATIENCE = 10.0
"""Seconds that a program has for its next line, or to end."""


def _wanting() -> str | None:
    if shutil.which("node") is None:
        return "there is no program node"
    named = os.environ.get("ALBKIT_NODE_MODULES")
    if not named:
        return "ALBKIT_NODE_MODULES is not set"
    for module, version in json.loads((HERE / "package.json").read_text())["dependencies"].items():
        manifest = Path(named) / module / "package.json"
        if not manifest.is_file():
            return f"ALBKIT_NODE_MODULES names {named}, where there is no {module}"
        if (found := json.loads(manifest.read_text())["version"]) != version:
            return f"ALBKIT_NODE_MODULES names {named}, where {module} is {found} and not {version}"
    return None


WANTING = _wanting()


def _give_up(missing: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def need_node() -> None:
    """Skip the test where Node or its modules are missing; fail it under CI."""
    if WANTING is not None:
        _give_up(f"{WANTING}; {HOW}")


def need_chromium() -> None:
    """Skip the test where Node, its modules or Chromium are missing; fail it under CI."""
    need_node()
    if not CHROMIUM.exists():
        _give_up(f"there is no {CHROMIUM}; {HOW_CHROMIUM}")


class Program:
    """A running program."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, errors: IO[bytes]) -> None:
        self._name = name
        self._process = process
        self._errors = errors

    async def told(self, within: float = PATIENCE) -> dict[str, Any]:
        """Its next line."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(within):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise AssertionError(f"{self._name} said nothing for {within} s") from None
        if not line:
            await self._process.wait()
            raise AssertionError(f"{self._name} ended with {self._process.returncode}: {self._complaints()}")
        said: dict[str, Any] = json.loads(line)
        return said

    def go_on(self) -> None:
        """Let it go past the point where it waits for a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    async def end(self) -> None:
        """End its input and wait for its own end, which must be a good one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._process.stdout.read()
                await self._process.wait()
        except TimeoutError:
            raise AssertionError(f"{self._name} did not end within {PATIENCE} s") from None
        assert self._process.returncode == 0, f"{self._name} ended with {self._process.returncode}: {self._complaints()}"

    async def cut(self) -> None:
        """End it without a word."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        # Its pipes are read to their ends, for a transport that is collected while one is open is a warning.
        await self._process.communicate()

    def _complaints(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")


@contextlib.asynccontextmanager
async def node(name: str, *arguments: str, **environment: str) -> AsyncIterator[Program]:
    """A program of this folder while it runs; it must end well, unless the test has failed before."""
    need_node()
    # A file, which takes any amount while nobody reads it.
    with tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(HERE / name),
            *arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            limit=2**22,
            env={**os.environ, "NODE_PATH": os.environ["ALBKIT_NODE_MODULES"], **environment},
        )
        program = Program(name, process, errors)
        try:
            yield program
            await program.end()
        finally:
            await program.cut()

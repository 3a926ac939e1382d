"""Programs of ours that are no scripts, compiled where they are first needed."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.measure import MeasurementError
from benchmarks.peers.peer import CACHE

__all__ = ("compile_once",)

_TIMEOUT: Final = 300.0


def compile_once(source: Path, compiler: Sequence[str], *libraries: str) -> str:
    """The program, compiled if that was not done before.

    Args:
        source: What it is made of.
        compiler: What makes it, with options that stand before the source, but for `-o`.
        libraries: Options that stand behind it.
    """
    program = CACHE / f"{source.stem}-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [*compiler, "-o", str(program), str(source), *libraries]
        built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT, cwd=CACHE)
        if built.returncode:
            raise MeasurementError(f"{source.name} cannot be compiled: {built.stderr.strip()[-500:]}")
    return str(program)

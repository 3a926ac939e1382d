"""Compiles our own programs on first use."""

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
    """The program, compiled on first use.

    Args:
        source: The source file.
        compiler: The compiler, with options that precede the source, except `-o`.
        libraries: Options that follow the source.
    """
    program = CACHE / f"{source.stem}-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [*compiler, "-o", str(program), str(source), *libraries]
        built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT, cwd=CACHE)
        if built.returncode:
            raise MeasurementError(f"{source.name} cannot be compiled: {built.stderr.strip()[-500:]}")
    return str(program)

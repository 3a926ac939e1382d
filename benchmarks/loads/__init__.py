"""Loads: they put work on a proxy and measure its cost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.loads.tls import client_environment
from benchmarks.measure import MeasurementError, pinned

__all__ = ("put_python_load",)

_CHECKOUT = Path(__file__).resolve().parents[2]


def put_python_load(module: str, *arguments: str | int, core: int, timeout: float, **options: float | str | bool) -> dict[str, float]:
    """Run a load of this package in a process of its own, and return its results.

    Args:
        module: The module in this package.
        arguments: Its arguments.
        core: The only core that it runs on.
        timeout: Seconds after which it counts as stuck.
        options: Its options; boolean ones have no value.

    Raises:
        MeasurementError: the load has detected an error.
    """
    command = [sys.executable, "-m", f"benchmarks.loads.{module}", *map(str, arguments)]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        command += [option] * value if isinstance(value, bool) else [f"{option}={value}"]
    with pinned(core):
        try:
            done = subprocess.run(
                command, cwd=_CHECKOUT, capture_output=True, text=True, check=False, timeout=timeout, env=client_environment()
            )
        except subprocess.TimeoutExpired:
            raise MeasurementError(f"the load did not end within {timeout:.0f} s") from None
    if done.returncode:
        raise MeasurementError(done.stderr.strip()[-500:] or f"the load ended with status {done.returncode}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured

"""Describes the machine on which the results were measured."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from benchmarks.measure import MeasurementError
from benchmarks.peers import Peer

__all__ = ("machine",)


def machine(peers: Iterable[Peer]) -> dict[str, str]:
    """Date, processor, memory, kernel, and the versions of everything measured."""
    shape = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": f"{os.cpu_count()}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "python": f"{platform.python_version()}, {_build()}",
        "uvloop": importlib.metadata.version("uvloop"),
        "aiohttp": importlib.metadata.version("aiohttp"),
    }
    return shape | {peer.name: version for peer in peers if (version := _version(peer))}


def _version(peer: Peer) -> str:
    try:
        return peer.version()
    except (OSError, LookupError, MeasurementError, subprocess.SubprocessError, importlib.metadata.PackageNotFoundError):
        return "unknown"


def _build() -> str:
    """How the interpreter was compiled, which affects the proxies in Python only."""
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return "built with optimizations" if "--enable-optimizations" in options else "built without optimizations"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()

"""Go's `httputil.ReverseProxy`, compiled where it is first needed."""

from __future__ import annotations

import hashlib
import subprocess
from typing import Final

from benchmarks.measure import MeasurementError, installed, said
from benchmarks.peers.peer import CACHE, Need, Peer, Place
from benchmarks.peers.programs import SOURCES

__all__ = ("PEER", "compiled")

_SOURCE: Final = SOURCES / "go_reverse_proxy.go"
_BUILD_TIMEOUT = 300.0


def compiled() -> str:
    """The program, compiled if that was not done before."""
    name = f"go_reverse_proxy-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]}"
    program = CACHE / name
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [str(installed("go")), "build", "-o", str(program), str(_SOURCE)]
        built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_BUILD_TIMEOUT, cwd=CACHE)
        if built.returncode:
            raise MeasurementError(f"go does not compile {_SOURCE.name}: {built.stderr.strip()[-500:]}")
    return str(program)


def _proxy(place: Place) -> list[str]:
    return [compiled(), str(place.port), *map(str, place.targets)]


PEER: Final = Peer(
    "go",
    "Go's httputil.ReverseProxy",
    _proxy,
    needs=(Need("apt", "golang-go", lambda: installed("go") is not None),),
    version=lambda: said("go", "version").split()[2].removeprefix("go"),
)

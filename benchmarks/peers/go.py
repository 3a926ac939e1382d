"""Go's `httputil.ReverseProxy`, compiled on first use."""

from __future__ import annotations

from typing import Final

from benchmarks.measure import installed, said
from benchmarks.peers.compiler import compile_once
from benchmarks.peers.peer import Need, Peer, Place
from benchmarks.peers.programs import SOURCES

__all__ = ("PEER", "compiled")

_SOURCE: Final = SOURCES / "go_reverse_proxy.go"


def compiled() -> str:
    """The program, compiled on first use."""
    return compile_once(_SOURCE, [str(installed("go")), "build"])


def _proxy(place: Place) -> list[str]:
    tls = [] if place.shown is None else ["-certificate", str(place.shown.certificate), "-key", str(place.shown.key)]
    return [compiled(), *tls, str(place.port), *map(str, place.targets)]


PEER: Final = Peer(
    "go",
    "Go's httputil.ReverseProxy",
    _proxy,
    needs=(Need("apt", "golang-go", lambda: installed("go") is not None),),
    version=lambda: said("go", "version").split()[2].removeprefix("go"),
)

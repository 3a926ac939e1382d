"""Node's `http-proxy`."""

from __future__ import annotations

import json
from typing import Final

from benchmarks.measure import installed, said
from benchmarks.peers.peer import CACHE, Need, Peer, Place
from benchmarks.peers.programs import SOURCES

__all__ = ("PEER",)

_MODULE: Final = CACHE / "node_modules" / "http-proxy"


def _proxy(place: Place) -> list[str]:
    node = str(installed("node"))
    program = [node, str(SOURCES / "node_http_proxy.js")]
    if place.shown is not None:
        program += ["--certificate", str(place.shown.certificate), "--key", str(place.shown.key)]
    return ["env", f"NODE_PATH={_MODULE.parent}", *program, str(place.port), *map(str, place.targets)]


def _version() -> str:
    module = json.loads((_MODULE / "package.json").read_text())["version"]
    return f"{module} on Node {said('node', '--version').removeprefix('v')}"


PEER: Final = Peer(
    "node",
    "Node, http-proxy",
    _proxy,
    needs=(
        Need("apt", "nodejs", lambda: installed("node") is not None),
        Need("apt", "npm", lambda: installed("npm") is not None or _MODULE.is_dir()),
        Need("npm", "http-proxy@1.18.1", _MODULE.is_dir),
    ),
    version=_version,
)

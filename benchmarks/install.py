"""Finds the proxies on this machine, and installs missing ones."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.loads.handshakes import HEADERS
from benchmarks.measure import installed
from benchmarks.peers import Need, Peer, go

__all__ = ("install", "tell")

_SERVICES: Final = {"nginx": "nginx", "haproxy": "haproxy", "apache2": "apache2", "caddy": "caddy", "nghttp2-proxy": "nghttpx"}
"""The services that Debian starts when a package is installed, by package."""
_TOOLS: Final = (
    Need("apt", "nginx", lambda: installed("nginx") is not None),
    Need("apt", "wrk", lambda: installed("wrk") is not None),
    Need("apt", "nghttp2-client", lambda: installed("h2load") is not None),
    Need("apt", "nghttp2-server", lambda: installed("nghttpd") is not None),
    Need("apt", "gcc", lambda: installed("cc") is not None),
    Need("apt", "libc6-dev", lambda: Path("/usr/include/stdio.h").exists()),
    Need("apt", "libssl-dev", lambda: any(header.exists() for header in HEADERS)),
)
"""What every HTTP scenario needs, the load and the target of HTTP/2, and what the client for TLS handshakes is compiled with."""


def tell(peer: Peer) -> str:
    """A line of text that says whether the proxy is installed."""
    missing = peer.missing()
    if missing:
        return f"{peer.name:12} missing: {' && '.join(need.how for need in missing)}"
    return f"{peer.name:12} {peer.what}{f', {version}' if (version := peer.version()) else ''}"


def install(peers: Sequence[Peer]) -> int:
    """Install what the proxies and the loads need, and return the exit status."""
    wanted = {need.package: need for need in (*_TOOLS, *(need for peer in peers for need in peer.needs)) if not need.is_there()}
    packages = [need.package for need in wanted.values() if need.manager == "apt"]
    status = 0
    if packages:
        as_root = [] if os.getuid() == 0 else ["sudo"]
        status |= _done([*as_root, "apt-get", "install", "-y", "--no-install-recommends", *packages])
        for package in packages:
            if package in _SERVICES and installed("systemctl") is not None:
                # Nothing may serve but what a benchmark has started.
                _done([*as_root, "systemctl", "disable", "--now", _SERVICES[package]])
    for need in wanted.values():
        if need.manager == "npm":
            status |= _done(need.command)
        elif need.manager == "pip":
            status |= _done([sys.executable, "-m", *need.command])
    if go.PEER in peers and not go.PEER.missing():
        print(f"compiled: {go.compiled()}")
    for peer in peers:
        print(tell(peer))
    return 2 if status else 0


def _done(command: Sequence[str]) -> int:
    print(shlex.join(command), flush=True)
    return subprocess.run(command, check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}).returncode

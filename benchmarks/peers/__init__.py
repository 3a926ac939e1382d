"""The proxies to measure, and how they and their targets are started."""

from __future__ import annotations

import sys
from typing import Final

from benchmarks.peers import apache, caddy, envoy, go, haproxy, nghttp2, nginx, node, python
from benchmarks.peers.peer import ANY_RULES, KeyKind, Need, Peer, Place, Setup, Shown, TargetProtocol
from benchmarks.peers.programs import SOURCES
from benchmarks.peers.python import albkit_of

__all__ = ("PEERS", "KeyKind", "Need", "Peer", "Place", "Setup", "Shown", "TargetProtocol", "albkit_of", "target")


def target(place: Place) -> list[str]:
    """The command that starts the target of all proxies."""
    if place.setup.tunnels:
        return [sys.executable, str(SOURCES / "tunnel_target.py"), *map(str, place.targets)]
    if place.setup.target_protocol != "HTTP1":
        return nghttp2.target(place)
    return nginx.target(place)


def _direct(place: Place) -> list[str]:
    return target(place._replace(targets=[place.port]))


_EVERY = (
    Peer(
        "direct",
        "no proxy at all: what it costs the target",
        _direct,
        rules=ANY_RULES,
        access_logs=python.ACCESS_LOGS,
        metrics=python.METRICS,
        tls_tunnels=False,
        algorithms=dict.fromkeys(python.ALGORITHMS, ""),
        sticky=python.STICKINESS,
        http2=True,
        target_protocols=("HTTP1", "HTTP2", "GRPC"),
    ),
    albkit_of(python.CHECKOUT, "albkit", "albkit, every default on"),
    albkit_of(python.CHECKOUT, "albkit-raw", "albkit, frames of tunnels not followed", "--raw", http=False),
    nginx.PEER,
    haproxy.PEER,
    nghttp2.PEER,
    envoy.PEER,
    apache.PEER,
    caddy.PEER,
    go.PEER,
    node.PEER,
    python.AIOHTTP,
    python.PROXY_PY,
)
PEERS: Final = {peer.name: peer for peer in _EVERY}
"""By name, in display order."""

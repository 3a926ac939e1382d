"""The kinds of load that scenarios use, each in a form that the engine can put on a proxy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from benchmarks.answers import BODY
from benchmarks.bench import Bench, RunningPeer
from benchmarks.figures import Sample
from benchmarks.loads import put_python_load
from benchmarks.loads.handshakes import shake_hands
from benchmarks.loads.wrk import ask, put_load
from benchmarks.measure import MeasurementError, TooMuchError, cpu_seconds, descriptors

__all__ = ("BROWSER", "Echoes", "Handshakes", "IdleConnections", "IdleTunnels", "Requests", "SlowReaders", "TlsHandshakes", "room")

BROWSER: Final[Mapping[str, str]] = {
    "Host": "www.example.com",
    "Connection": "keep-alive",
    "Cache-Control": "max-age=0",
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "navigate",
    "Referer": "https://www.example.com/products?category=books&page=2",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
    "Cookie": "session=6f2c9a1e84b04d7f9c35a8d1e2b7406c; theme=dark; consent=necessary",
}
"""The headers of a browser; wrk itself sends only Host."""

_STUCK = 60
"""Seconds that a load may take in addition to its duration."""
_FEW: Final = 8
"""The most connections for messages of 1 MiB, so that data in transit fits into the caches."""
_HANDSHAKES = 1000
"""Per second of echoes."""
_WARM_UP: Final = 300
"""Tunnels or connections that are opened and closed before memory is measured, and as many that are open when the measurement starts."""
_SPARE = 1200
"""Files that a proxy may have open in addition to those of its clients."""
_FEWEST = 200
"""Below this many tunnels, the growth of memory is meaningless."""
_FEW_READERS = 30
"""The same as `_WARM_UP`, for readers of 1 MiB each."""
_READING: Final = 2.0
"""Seconds of slow reading at least, and as many with a fast client."""
_READING_QUICK = 0.5
_QUICK_RATE: Final = 200
"""Small requests per second."""
_MOST_WAITED: Final = 0.05
"""The share of the slow readers' turns in which nothing may have arrived."""


@dataclasses.dataclass(frozen=True)
class Requests:
    """wrk's load: a fixed number of requests outstanding at any time."""

    connections: int = 64
    path: str = "/x"
    fields: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: int = 0
    """Bytes to post; 0 for a GET."""
    answer: bytes = BODY
    cookies: bool = False
    """Whether to send back the cookies that the proxy sets."""
    varied: bool = False
    """Whether each request has a header that no request before it had."""

    def __call__(self, peer: RunningPeer, bench: Bench) -> Sequence[Sample]:
        fields = dict(self.fields)
        set_cookies = ask(peer.port, self.path, fields, self.answer, self.body, tls=peer.tls)
        if self.cookies and set_cookies:
            brought = [cookie.partition(";")[0] for cookie in set_cookies]
            fields["Cookie"] = "; ".join([*([fields["Cookie"]] if "Cookie" in fields else []), *brought])
            ask(peer.port, self.path, fields, self.answer, self.body, tls=peer.tls)
        before = cpu_seconds(peer.pid)
        load = put_load(
            peer.port,
            self.path,
            fields,
            core=bench.cores.load,
            connections=self.connections,
            seconds=bench.seconds,
            body=self.body,
            varied=self.varied,
            tls=peer.tls,
        )
        used = cpu_seconds(peer.pid) - before
        ask(peer.port, self.path, fields, self.answer, self.body, tls=peer.tls)
        return [Sample(used / load.requests * 1e6, load.rate, used / load.seconds)]


@dataclasses.dataclass(frozen=True)
class Echoes:
    """One message to the target and back, one at a time per tunnel."""

    size: int
    connections: int = 50

    def __call__(self, peer: RunningPeer, bench: Bench) -> Sequence[Sample]:
        connections = min(self.connections, _FEW) if self.size >= 1 << 20 else self.connections
        return _tunnels("echoes", peer, bench, size=self.size, connections=connections, seconds=bench.seconds)


@dataclasses.dataclass(frozen=True)
class Handshakes:
    """The whole life of a short tunnel."""

    connections: int = 50

    def __call__(self, peer: RunningPeer, bench: Bench) -> Sequence[Sample]:
        count = max(self.connections, round(_HANDSHAKES * bench.seconds))
        return _tunnels("handshakes", peer, bench, connections=self.connections, count=count)


def _tunnels(kind: str, peer: RunningPeer, bench: Bench, **options: float) -> Sequence[Sample]:
    load = put_python_load(
        "tunnels", kind, peer.port, peer.pid, tls=peer.tls, core=bench.cores.load, timeout=options.get("seconds", 0) + _STUCK, **options
    )
    if not load["count"]:
        raise MeasurementError(f"not one of the {kind} in {bench.seconds:g} s")
    return [Sample(load["cpu"] / load["count"] * 1e6, load["count"] / load["seconds"], load["cpu"] / load["seconds"])]


@dataclasses.dataclass(frozen=True)
class TlsHandshakes:
    """A TLS connection per request."""

    resumed: bool = False
    connections: int = 32

    def __call__(self, peer: RunningPeer, bench: Bench) -> Sequence[Sample]:
        before = cpu_seconds(peer.pid)
        load = shake_hands(peer.port, core=bench.cores.load, connections=self.connections, seconds=bench.seconds, resumed=self.resumed)
        used = cpu_seconds(peer.pid) - before
        return [Sample(used / load.requests * 1e6, load.rate, used / load.seconds)]


@dataclasses.dataclass(frozen=True)
class IdleTunnels:
    """The growth of a proxy's memory per tunnel."""

    count: int

    def __call__(self, peer: RunningPeer, bench: Bench) -> Sequence[Sample]:
        warm_up = min(self.count, _WARM_UP)
        return _memory(
            put_python_load(
                "tunnels",
                *("memory", peer.port, peer.pid),
                core=bench.cores.load,
                timeout=_STUCK,
                count=self.count,
                warm_up=warm_up,
                tls=peer.tls,
            )
        )


@dataclasses.dataclass(frozen=True)
class IdleConnections:
    """The growth of a proxy's memory per keep-alive connection of a client."""

    count: int
    path: str = "/x"
    """What each connection has requested before."""

    def __call__(self, peer: RunningPeer, bench: Bench) -> Sequence[Sample]:
        warm_up = min(self.count, _WARM_UP)
        return _memory(
            put_python_load(
                "idle",
                *(peer.port, peer.pid),
                core=bench.cores.load,
                timeout=_STUCK,
                count=self.count,
                warm_up=warm_up,
                path=self.path,
                tls=peer.tls,
            )
        )


@dataclasses.dataclass(frozen=True)
class SlowReaders:
    """Clients that read a large response slowly: memory per client, CPU time for what they get, and the latency of a fast client
    meanwhile."""

    count: int

    def __call__(self, peer: RunningPeer, bench: Bench) -> Sequence[Sample]:
        seconds = max(_READING_QUICK if bench.quick else _READING, bench.seconds)
        load = put_python_load(
            "slow",
            *(peer.port, peer.pid),
            core=bench.cores.load,
            timeout=2 * seconds + _STUCK,
            count=self.count,
            warm_up=min(self.count, _FEW_READERS),
            seconds=seconds,
            rate=_QUICK_RATE,
        )
        if load["waited"] > _MOST_WAITED:
            raise TooMuchError(f"nothing is there for its slow readers at {load['waited']:.0%} of their turns")
        if load["behind"]:
            raise TooMuchError(f"it does not keep up with {_QUICK_RATE} small requests a second beside slow readers")
        delivered = load["delivered"] / (1 << 20)
        cost = Sample(load["cpu"] / delivered * 1e6, delivered / load["seconds"], load["cpu"] / load["seconds"])
        return [*_memory(load), cost, *(Sample(load[name]) for name in ("p50", "p99", "late"))]


def _memory(load: Mapping[str, float]) -> Sequence[Sample]:
    return [Sample((load["after"] - load["before"]) / load["count"] / 1024)]


def room(wanted: int) -> int:
    """How many clients a proxy supports at the same time, up to the number wanted: each needs two files at most."""
    allowed = descriptors(2 * wanted + _SPARE)
    count: int = min(wanted, (allowed - _SPARE) // 2)
    if count < min(_FEWEST, wanted):
        raise MeasurementError(f"a process may have {allowed} files open, too few to measure memory: raise the limit, or leave memory out")
    if count < wanted:
        print(f"a process may have {allowed:,} files open: memory is measured with {count:,} clients, not {wanted:,}", flush=True)
    return count

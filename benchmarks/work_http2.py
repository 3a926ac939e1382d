"""The kinds of load over HTTP/2."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from benchmarks.answers import BODY, GRPC_MESSAGE, GRPC_METHOD, HUGE
from benchmarks.bench import Bench, RunningPeer
from benchmarks.figures import Sample
from benchmarks.loads import put_python_load
from benchmarks.loads.h2load import put_http2_load
from benchmarks.measure import MeasurementError, cpu_seconds
from benchmarks.work import BROWSER

__all__ = ("HTTP2_BROWSER", "GrpcCalls", "Http2Requests", "IdleHttp2Connections", "Transfers")

HTTP2_BROWSER: Final[Mapping[str, str]] = {
    ":authority": BROWSER["Host"],
    **{name.lower(): value for name, value in BROWSER.items() if name not in {"Host", "Connection"}},
    "priority": "u=0, i",
}
"""A browser's 12 fields over HTTP/2, which has no `Connection`."""
_PATHS_PER_SECOND: Final = 20_000
"""More than one connection requests in a second."""
_GRPC: Final = {"content-type": "application/grpc", "te": "trailers"}
_STUCK: Final = 120
_WARM_UP: Final = 300
_TRANSFERS: Final = 2


@dataclasses.dataclass(frozen=True)
class Http2Requests:
    """h2load's load: a fixed number of requests outstanding at any time on each connection."""

    connections: int = 8
    streams: int = 10
    fields: Mapping[str, str] = dataclasses.field(default_factory=dict)
    new_paths: bool = False
    """Whether each request of a connection has a path that none before it had."""

    def __call__(self, peer: RunningPeer, bench: Bench) -> Sequence[Sample]:
        count = round(_PATHS_PER_SECOND * max(1.0, bench.seconds)) if self.new_paths else 1
        paths = [f"/x/{number}" for number in range(count)] if self.new_paths else ["/x"]
        return _load(peer, bench, self, paths, self.fields, answer=BODY)


@dataclasses.dataclass(frozen=True)
class GrpcCalls:
    """Unary calls with a small message and a small answer."""

    connections: int
    streams: int

    def __call__(self, peer: RunningPeer, bench: Bench) -> Sequence[Sample]:
        return _load(peer, bench, self, [GRPC_METHOD], _GRPC, answer=GRPC_MESSAGE, body=GRPC_MESSAGE, trailers={b"grpc-status": b"0"})


def _load(
    peer: RunningPeer,
    bench: Bench,
    work: Http2Requests | GrpcCalls,
    paths: Sequence[str],
    fields: Mapping[str, str],
    *,
    answer: bytes,
    body: bytes = b"",
    trailers: Mapping[bytes, bytes] | None = None,
) -> Sequence[Sample]:
    from benchmarks.loads.http2 import ask

    ask(peer.port, paths[0], fields, answer, body, trailers=trailers, tls=peer.tls)
    before = cpu_seconds(peer.pid)
    load = put_http2_load(
        peer.port,
        paths,
        fields,
        core=bench.cores.load,
        connections=work.connections,
        streams=work.streams,
        seconds=bench.seconds,
        body=body,
        tls=peer.tls,
    )
    used = cpu_seconds(peer.pid) - before
    ask(peer.port, paths[0], fields, answer, body, trailers=trailers, tls=peer.tls)
    if load.received < load.requests * len(answer):
        raise MeasurementError(f"{load.requests} answers of {len(answer)} bytes had {load.received} bytes")
    if len(paths) > 1 and load.requests > work.connections * len(paths):
        raise MeasurementError(f"{load.requests} requests were more than {work.connections} connections with {len(paths)} paths each")
    return [Sample(used / load.requests * 1e6, load.requests / load.seconds, used / load.seconds)]


@dataclasses.dataclass(frozen=True)
class Transfers:
    """64 MiB down or up, one after the other on one connection."""

    up: bool

    def __call__(self, peer: RunningPeer, bench: Bench) -> Sequence[Sample]:
        count = 1 if bench.quick else _TRANSFERS
        before = cpu_seconds(peer.pid)
        load = put_http2_load(
            peer.port,
            ["/sink" if self.up else "/huge"],
            {},
            core=bench.cores.load,
            connections=1,
            streams=1,
            count=count,
            body=HUGE if self.up else b"",
            tls=peer.tls,
        )
        used = cpu_seconds(peer.pid) - before
        expected = count * (len(BODY) if self.up else HUGE)
        if load.received != expected:
            raise MeasurementError(f"{load.received} bytes were received instead of {expected}")
        moved = count * HUGE / (1 << 20)
        return [Sample(used / moved * 1e6, moved / load.seconds, used / load.seconds)]


@dataclasses.dataclass(frozen=True)
class IdleHttp2Connections:
    """The growth of a proxy's memory per connection that is idle after several streams at once."""

    count: int
    streams: int = 10

    def __call__(self, peer: RunningPeer, bench: Bench) -> Sequence[Sample]:
        load = put_python_load(
            "idle_http2",
            *(peer.port, peer.pid),
            core=bench.cores.load,
            timeout=_STUCK,
            count=self.count,
            warm_up=min(self.count, _WARM_UP),
            streams=self.streams,
            tls=peer.tls,
        )
        return [Sample((load["after"] - load["before"]) / load["count"] / 1024)]

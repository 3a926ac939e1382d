"""HTTP/2 with clients and with targets, and gRPC."""

from __future__ import annotations

from typing import Final

from benchmarks.bench import Bench, Case
from benchmarks.engine import measure
from benchmarks.figures import Budget, Row
from benchmarks.measure import MeasurementError, installed
from benchmarks.peers import Setup
from benchmarks.scenarios.scenario import Scenario
from benchmarks.scenarios.tunnels import idle_setup
from benchmarks.work import Requests, room
from benchmarks.work_http2 import HTTP2_BROWSER, GrpcCalls, Http2Requests, IdleHttp2Connections, Transfers

__all__ = ("SCENARIOS",)

_PLAIN: Final = Setup(http2=True)
_TLS: Final = Setup(http2=True, tls="ecdsa")
_TO_HTTP2: Final = Setup(http2=True, target_protocol="HTTP2")
_TO_GRPC: Final = Setup(http2=True, target_protocol="GRPC")
_IDLE: Final = 1000
_IDLE_QUICK: Final = 200
_GROUPS: Final = (
    [
        Case("m10", "8 connections, 10 streams each", Http2Requests(), _PLAIN),
        Case("m1", "8 connections, 1 stream each", Http2Requests(streams=1), _PLAIN),
        Case("http1", "over HTTP/1.1, 80 connections", Requests(80)),
        Case("browser", "a browser's 12 fields, 10 streams each", Http2Requests(fields=HTTP2_BROWSER), _PLAIN),
        Case("paths", "a browser's 12 fields, a path that is new each time", Http2Requests(fields=HTTP2_BROWSER, new_paths=True), _PLAIN),
        Case("tls", "over TLS 1.3, 10 streams each", Http2Requests(), _TLS),
        Case("tls-m1", "over TLS 1.3, 1 stream each", Http2Requests(streams=1), _TLS),
        Case("download", "64 MiB down", Transfers(up=False), _PLAIN, "us/MiB"),
        Case("upload", "64 MiB up", Transfers(up=True), _PLAIN, "us/MiB"),
    ],
    [
        Case("h2-m10", "to HTTP/2 targets, 10 streams each", Http2Requests(), _TO_HTTP2),
        Case("h2-m1", "to HTTP/2 targets, 1 stream each", Http2Requests(streams=1), _TO_HTTP2),
    ],
)
_CALLS: Final = (
    Case("one", "1 connection, 50 calls at once", GrpcCalls(1, 50), _TO_GRPC, "us/call"),
    Case("many", "50 connections, 1 call at once each", GrpcCalls(50, 1), _TO_GRPC, "us/call"),
    Case("many-m10", "50 connections, 10 calls at once each", GrpcCalls(50, 10), _TO_GRPC, "us/call"),
)


def _require() -> None:
    """Raise an error if what all cases need is missing."""
    for program, package in {"h2load": "nghttp2-client", "nghttpd": "nghttp2-server"}.items():
        if installed(program) is None:
            raise MeasurementError(f"{program} is not installed, but required for HTTP/2: apt-get install {package}")


def _http2(bench: Bench) -> list[Row]:
    _require()
    count = room(_IDLE_QUICK if bench.quick else _IDLE)
    title = f"{count:,} idle connections after 10 streams at once"
    memory = Case("memory", title, IdleHttp2Connections(count), idle_setup(count)._replace(http2=True), "KiB each")
    rows = [row for cases in _GROUPS for row in measure(bench, cases)]
    # Each proxy is freshly started for it.
    return rows + measure(bench, [memory], once=True)


def _grpc(bench: Bench) -> list[Row]:
    _require()
    return measure(bench, _CALLS)


SCENARIOS: Final = (
    Scenario(
        "http2",
        "HTTP/2 with clients: a GET and an answer of 64 bytes, large bodies, memory; to targets over HTTP/1.1, or over HTTP/2",
        _http2,
        [
            Budget("m10", "albkit", "nginx", 1.3),
            Budget("m1", "albkit", "nginx", 1.35),
            Budget("paths", "albkit", "nginx", 1.6),
            Budget("tls", "albkit", "nginx", 1.9),
            Budget("memory", "albkit", None, 8.0),
        ],
    ),
    Scenario("grpc", "unary gRPC calls with a message of 32 bytes and an answer of 32 bytes, without TLS", _grpc),
)

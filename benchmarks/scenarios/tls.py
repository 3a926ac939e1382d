"""TLS with clients: what it adds to a request, a connection, a tunnel, and memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.answers import FILES
from benchmarks.bench import Bench, Case
from benchmarks.engine import measure
from benchmarks.figures import Row, Sample
from benchmarks.peers import Setup
from benchmarks.scenarios.scenario import Scenario, of_cases
from benchmarks.scenarios.tunnels import SIZES, idle_count, idle_setup
from benchmarks.work import Echoes, IdleConnections, Requests, TlsHandshakes

__all__ = ("SCENARIOS",)

_TLS: Final = Setup(tls="ecdsa")
_RSA: Final = Setup(tls="rsa")
_ECHOES: Final = (64, 16384)
_FEWER: Final = 10
"""By how many times fewer connections have a large response, because it takes long to send them."""
_WORKS: Final = (
    ("get", "a small GET", Requests()),
    ("download", "1 MiB with a length", Requests(connections=16, path="/large", answer=FILES["/large"])),
    ("post", "a POST of 64 KiB", Requests(body=64 << 10)),
)


def _requests(bench: Bench) -> list[Row]:
    cases = [
        case
        for name, title, work in _WORKS
        for case in (Case(f"{name}/tls", f"{title}, over TLS", work, _TLS), Case(f"{name}/plain", f"{title}, without TLS", work))
    ]
    return _with_ratios(measure(bench, cases))


def _echoes(bench: Bench) -> list[Row]:
    cases = [
        case
        for size in _ECHOES
        for case in (
            Case(f"{size}/tls", f"echo of {SIZES[size]}, over TLS", Echoes(size), Setup(tunnels=True, tls="ecdsa"), "us"),
            Case(f"{size}/plain", f"echo of {SIZES[size]}, without TLS", Echoes(size), Setup(tunnels=True), "us"),
        )
    ]
    return _with_ratios(measure(bench, cases))


def _with_ratios(rows: Sequence[Row]) -> list[Row]:
    """Pairs of rows, with TLS and without, and their ratio for the same proxy within each round."""
    told = list(rows)
    for tls, plain in zip(rows[::2], rows[1::2], strict=True):
        title = f"{tls.title} / without"
        ratio = Row(tls.name.replace("/tls", "/ratio"), title, "times", compared=False, peers=tls.peers)
        for name in tls.samples.keys() & plain.samples.keys():
            for over, without in zip(tls.samples[name], plain.samples[name], strict=True):
                ratio.add(name, Sample(over.cost / without.cost if without.cost else 0.0))
        told.append(ratio)
    return told


def _idle(bench: Bench) -> list[Row]:
    count = idle_count(bench)
    setup = idle_setup(count)
    few = max(1, count // _FEWER)
    works = (
        ("small", f"{count:,} idle connections", IdleConnections(count), setup),
        # Room for another number of clients makes it another setup, so that each has a fresh proxy.
        ("large", f"{few:,} of them that have had 1 MiB", IdleConnections(few, "/large"), idle_setup(few)),
    )
    cases = [
        case
        for name, title, work, room in works
        for case in (
            Case(f"{name}/tls", f"{title}, over TLS", work, room._replace(tls="ecdsa"), "KiB each"),
            Case(f"{name}/plain", f"{title}, without TLS", work, room, "KiB each"),
        )
    ]
    return measure(bench, cases, once=True)


SCENARIOS: Final = (
    Scenario("tls", "requests over TLS 1.3 with AES-256-GCM, and the same without; connections kept alive", _requests),
    Scenario(
        "tls-handshakes",
        "TLS 1.3: a connection with a handshake and a small GET, closed behind the answer",
        of_cases(
            [
                Case("ecdsa/full", "ECDSA P-256, in full", TlsHandshakes(), _TLS, "us"),
                Case("ecdsa/resumed", "ECDSA P-256, resumed", TlsHandshakes(resumed=True), _TLS, "us"),
                Case("rsa/full", "RSA 2048, in full", TlsHandshakes(), _RSA, "us"),
            ]
        ),
    ),
    Scenario("tls-tunnels", "an echo through WebSocket tunnels over TLS, and without", _echoes),
    Scenario("tls-memory", "memory of a client's connection over TLS that is kept alive and does nothing, and without TLS", _idle),
)

"""The latency of requests at a rate that uses half of the proxy's capacity, and their cost at that rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from benchmarks.bench import Bench, Case, Part, RunningPeer
from benchmarks.engine import rounds
from benchmarks.figures import Row, Sample
from benchmarks.loads import put_python_load
from benchmarks.measure import MeasurementError, TooMuchError
from benchmarks.peers import Setup
from benchmarks.scenarios.scenario import Scenario
from benchmarks.sites import Sites, sites
from benchmarks.work import Requests

__all__ = ("SCENARIOS",)

_SETUP = Setup()
_STUCK = 30
_MOST = 12_000.0
"""Requests per second that the load can send in time, beside the target on its core."""
_HEADROOM = 1.25
"""The lowest allowed ratio between a proxy's peak and the rate; below it, latencies are meaningless."""
_PEAK_SECONDS = 0.5
_PEAK_TRIES = 3
_PARTS = (
    Part("cost", "CPU", "us/request"),
    Part("p50", "p50", "us"),
    Part("p99", "p99", "us"),
    Part("p99.9", "p99.9", "us"),
    Part("late", "p99 of the load's own delay", "us", compared=False),
)


@dataclasses.dataclass(frozen=True)
class _Paced:
    rates: Mapping[str, float]
    """By proxy."""

    def __call__(self, peer: RunningPeer, bench: Bench) -> Sequence[Sample]:
        rate = self.rates[peer.name]
        seconds = bench.seconds if bench.quick else max(2.0, bench.seconds)
        load = put_python_load("paced", peer.port, peer.pid, core=bench.cores.load, timeout=seconds + _STUCK, rate=rate, seconds=seconds)
        if load["behind"]:
            raise TooMuchError(f"it does not keep up with {rate:,.0f}/s")
        cost = Sample(load["cpu"] / load["count"] * 1e6, load["count"] / load["seconds"], load["cpu"] / load["seconds"])
        return [cost, *(Sample(load[name]) for name in ("p50", "p99", "p99.9", "late"))]


def _run(bench: Bench) -> list[Row]:
    with sites(bench, [_SETUP]) as ready:
        peaks = _peaks(bench, ready)
        if not peaks:
            raise MeasurementError("no proxy answers")
        ours = peaks.get("albkit", next(iter(peaks.values())))
        common = min(_MOST, ours / 2)
        cases = [
            Case("common", f"{common:,.0f}/s", _Paced(dict.fromkeys(peaks, common)), _SETUP, parts=_PARTS),
            Case("own", "half of its own peak", _Paced(_halves(peaks)), _SETUP, parts=_PARTS),
        ]
        rows: list[Row] = []
        slow = {name: value for name, value in peaks.items() if value < common * _HEADROOM}
        for case, names in zip(cases, (peaks.keys() - slow.keys(), peaks.keys()), strict=True):
            able = bench._replace(peers=[peer for peer in bench.peers if peer.name in names])
            rows += rounds(able, ready, [case])
        for row in rows:
            row.peers = [peer.name for peer in bench.peers]
            for peer in bench.peers:
                if peer.name in slow and row.name.startswith("common/"):
                    row.leave_out(peer.name, f"its peak is {slow[peer.name]:,.0f}/s")
                elif peer.name not in peaks and (why := peer.lacks(_SETUP)) is not None:
                    row.leave_out(peer.name, why)
                elif peer.name not in peaks and peer.takes_part(_SETUP):
                    site = ready.get((peer.name, _SETUP))
                    row.fail(peer.name, site if isinstance(site, str) else "it does not answer under load")
        return rows


def _peaks(bench: Bench, ready: Sites) -> dict[str, float]:
    """The highest number of requests per second of each proxy; without proxies that fail."""
    shortly = bench._replace(seconds=min(_PEAK_SECONDS, bench.seconds))
    load = Requests()
    peaks: dict[str, float] = {}
    failed = set()
    for _ in range(_PEAK_TRIES):
        for peer in bench.peers:
            site = ready.get((peer.name, _SETUP))
            if isinstance(site, RunningPeer) and peer.name not in failed:
                try:
                    (sample,) = load(site, shortly)
                    peaks[peer.name] = max(peaks.get(peer.name, 0.0), sample.rate or 0.0)
                except MeasurementError:
                    if not bench.keep_going:
                        raise
                    failed.add(peer.name)
    return {name: rate for name, rate in peaks.items() if name not in failed}


def _halves(peaks: Mapping[str, float]) -> dict[str, float]:
    return {name: min(_MOST, value / 2) for name, value in peaks.items()}


SCENARIOS: Final = (
    Scenario("latency", "from when a request was due: at half of albkit's peak, and at half of the proxy's own, at most 12,000/s", _run),
)

"""Clients that read a large response slowly."""

from __future__ import annotations

from typing import Final

from benchmarks.bench import Bench, Case, Part
from benchmarks.engine import measure
from benchmarks.figures import Row
from benchmarks.scenarios.scenario import Scenario
from benchmarks.work import SlowReaders, room

__all__ = ("SCENARIOS",)

_READERS = 500
_READERS_QUICK = 100
_PARTS = (
    Part("memory", "memory", "KiB each"),
    Part("cost", "CPU", "us/MiB"),
    Part("p50", "p50 of a small GET meanwhile", "us"),
    Part("p99", "p99 of a small GET meanwhile", "us"),
    Part("late", "p99 of the load's own delay", "us", compared=False),
)


def _run(bench: Bench) -> list[Row]:
    count = room(_READERS_QUICK if bench.quick else _READERS)
    return measure(bench, [Case("slow", f"{count:,} slow readers", SlowReaders(count), parts=_PARTS)], once=True)


SCENARIOS: Final = (Scenario("slow-readers", "clients that take 1 MiB at 30 KiB/s each, and a quick client beside them", _run),)

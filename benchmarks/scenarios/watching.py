"""What it costs to see what happens: access logs, subscribers and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.bench import Bench, Case
from benchmarks.engine import measure
from benchmarks.figures import Budget, Row, Sample
from benchmarks.peers import Setup
from benchmarks.scenarios.scenario import Scenario
from benchmarks.work import BROWSER, Requests

__all__ = ("SCENARIOS",)

_WORK: Final = Requests(fields=BROWSER)
"""A browser's request: its User-Agent and Referer are in the lines of the log."""


def _with_differences(rows: Sequence[Row]) -> list[Row]:
    """Each row after the first one is followed by its ratio to the first and its difference from it, for the same proxy and round."""
    without, *others = rows
    told = [without]
    for row in others:
        ratio = Row(f"{row.name}/ratio", f"{row.title} / {without.title}", "times", compared=False, peers=row.peers)
        added = Row(f"{row.name}/added", f"{row.title} - {without.title}", "us/request", peers=row.peers)
        for name in row.samples.keys() & without.samples.keys():
            for more, less in zip(row.samples[name], without.samples[name], strict=True):
                ratio.add(name, Sample(more.cost / less.cost if less.cost else 0.0))
                added.add(name, Sample(more.cost - less.cost))
        told += [row, ratio, added]
    return told


def _access_log(bench: Bench) -> list[Row]:
    return _with_differences(
        measure(
            bench,
            [
                Case("off", "no access log", _WORK),
                Case("combined", "access log, combined", _WORK, Setup(access_log="combined")),
                Case("alb", "access log, ALB's format", _WORK, Setup(access_log="alb")),
                Case("json", "access log, JSON", _WORK, Setup(access_log="json")),
            ],
        )
    )


def _metrics(bench: Bench) -> list[Row]:
    return _with_differences(
        measure(
            bench,
            [
                Case("nobody", "nobody looks", _WORK),
                Case("subscriber", "a subscriber to ExchangeFinished", _WORK, Setup(metrics="subscriber")),
                Case("scraped", "metrics made each second", _WORK, Setup(metrics="scraped")),
            ],
        )
    )


SCENARIOS: Final = (
    Scenario(
        "access-log",
        "a line in an access log for each request",
        _access_log,
        [Budget(f"{kind}/ratio", "albkit", None, 1.10) for kind in ("combined", "alb")]
        + [Budget("combined/added", "albkit", "nginx", 1.0)],
    ),
    Scenario("metrics", "an event for each request, and metrics that are read", _metrics),
)

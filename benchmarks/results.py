"""RESULTS.md: all results of a run, and how to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks import tables
from benchmarks.figures import Row, names, tell_budgets
from benchmarks.peers import PEERS
from benchmarks.scenarios import Scenario

__all__ = ("COMPARED", "Outcome", "as_markdown")

COMPARED = ("direct", "nginx", "baseline")
"""The proxy that all others are compared with."""
_QUICK = "This is a quick run, which only shows that everything works. Its figures are worth nothing.\n"
_READING = """\
CPU time of the proxy's processes for each piece of work, on a core of its own; `direct` is the target without a proxy before it. Figures
are medians of the rounds, ratios the medians of the ratios within each round. `README.md` says how it is measured and what it means.
"""


class Outcome(NamedTuple):
    """The results of a scenario."""

    scenario: Scenario
    rows: list[Row]


def as_markdown(
    outcomes: Sequence[Outcome], settings: Mapping[str, object], versions: Mapping[str, str], asked: Sequence[str], picture: str
) -> str:
    """The whole page."""
    measured = [PEERS[name] for name in names(row for outcome in outcomes for row in outcome.rows) if name in PEERS]
    options = "--quick" if settings["quick"] else f"--rounds {settings['rounds']} --seconds {settings['seconds']:g}"
    parts = [
        "# Results\n",
        f"As `python -m benchmarks` wrote them on {versions['date']}. To have your own:\n",
        "    pip install -e '.[bench]'\n    python -m benchmarks install-peers\n"
        f"    python -m benchmarks run {' '.join(asked)} {options} --results FILE\n",
        *([_QUICK] if settings["quick"] else []),
        _READING,
        "| | |\n| --- | --- |",
        *(f"| {name} | {value} |" for name, value in versions.items() if name not in PEERS),
        "\n| proxy | | version |\n| --- | --- | --- |",
        *(f"| {peer.name} | {peer.what} | {versions.get(peer.name, '')} |" for peer in measured),
        "",
        f"![What each proxy costs]({picture})\n",
        *(_section(outcome, judged=not settings["quick"]) for outcome in outcomes),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _section(outcome: Outcome, *, judged: bool) -> str:
    parts = [f"## {outcome.scenario.name}\n", f"{outcome.scenario.title[:1].upper()}{outcome.scenario.title[1:]}.\n"]
    parts += [f"{tables.as_markdown(table)}\n" for table in tables.tables(outcome.rows, COMPARED)]
    told = tables.remarks(outcome.rows)
    if judged:
        told += tell_budgets(outcome.rows, outcome.scenario.budgets)
    parts += [f"- {' '.join(line.split())}" for line in told]
    return "\n".join(parts).rstrip() + "\n"

"""Runs scenarios, and prints and saves their results."""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from typing import TYPE_CHECKING

from benchmarks.bench import Bench
from benchmarks.command import at_hand, figures, require
from benchmarks.figures import Row, broken, tell_budgets
from benchmarks.machine import machine
from benchmarks.measure import MeasurementError, descriptors, keep_off, two_cores
from benchmarks.peers import PEERS
from benchmarks.results import COMPARED, Outcome, as_markdown
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.tables import Table, remarks, tables

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as DrawnTable

__all__ = ("run",)

_ROUNDS, _SECONDS = 3, 1.0
_QUICK_ROUNDS, _QUICK_SECONDS = 1, 0.2
_WIDEST = 400
_PICTURE = "results.png"
_FILES = 20_000
"""Open files per program, if the machine allows it."""


def run(given: argparse.Namespace) -> int:
    """Run the scenarios and return the exit status: 0 if all were measured and every budget holds, 1 if one does not, 2 if something
    failed."""
    _need("rich", "progress and tables")
    if given.plot is not None or given.results is not None:
        _need("matplotlib", "--plot" if given.plot is not None else "--results")
    require(nginx="the target", wrk="the load")
    descriptors(_FILES)

    from rich.console import Console

    from benchmarks.progress import Bar

    console = Console()
    peers = at_hand(PEERS, given.only, given.baseline)
    rounds = given.rounds or (_QUICK_ROUNDS if given.quick else _ROUNDS)
    seconds = given.seconds or (_QUICK_SECONDS if given.quick else _SECONDS)
    chosen = list(SCENARIOS.values()) if "all" in given.names else [SCENARIOS[name] for name in dict.fromkeys(given.names)]
    outcomes = []
    start = time.monotonic()
    with Bar(console) as bar:
        cores = two_cores()
        keep_off(cores.proxy)
        bench = Bench(peers, cores, rounds, seconds, bar, given.quick)
        for number, scenario in enumerate(chosen, 1):
            bar.scenario(scenario.name, number, len(chosen))
            outcomes.append(_outcome(scenario, bench))
    for outcome in outcomes:
        _show(console, outcome, quick=given.quick)
    console.print(f"\n{len(outcomes)} scenarios in {time.monotonic() - start:,.0f} s", highlight=False)
    _write(given, outcomes, {"rounds": rounds, "seconds": seconds, "quick": given.quick}, machine(peers))
    if any(row.failed for outcome in outcomes for row in outcome.rows):
        return 2
    return 1 if not given.quick and any(broken(outcome.rows, outcome.scenario.budgets) for outcome in outcomes) else 0


def _outcome(scenario: Scenario, bench: Bench) -> Outcome:
    """The results of a scenario; if it could not be run, the reason, so that the others are run nevertheless."""
    try:
        return Outcome(scenario, scenario.run(bench))
    except MeasurementError as error:
        return Outcome(scenario, [Row("all", scenario.title, "", failed={"all": str(error)})])


def _need(module: str, what: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise MeasurementError(f"{module} is not installed, and {what} takes it: pip install -e '.[bench]'")


def _show(console: Console, outcome: Outcome, *, quick: bool) -> None:
    console.print(f"\n[bold]{outcome.scenario.name}[/bold]: {outcome.scenario.title}\n", highlight=False, soft_wrap=True)
    for table in tables(outcome.rows, COMPARED):
        _print_whole(console, _drawn(table))
    for line in remarks(outcome.rows):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if not quick:
        for line in tell_budgets(outcome.rows, outcome.scenario.budgets):
            console.print(line, highlight=False, soft_wrap=True)


def _print_whole(console: Console, drawn: DrawnTable) -> None:
    """Print a table without cutting it: the terminal wraps wide lines."""
    from rich.console import Console

    width = max(console.width, console.measure(drawn, options=console.options.update(max_width=_WIDEST)).maximum)
    Console(width=width).print(drawn)


def _drawn(table: Table) -> DrawnTable:
    from rich import box
    from rich.table import Table as Drawn

    drawn = Drawn(table.title, box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in table.columns:
        drawn.add_column(column, justify="right", no_wrap=True)
    for title, cells in table.lines:
        drawn.add_row(title, *cells)
    return drawn


def _write(given: argparse.Namespace, outcomes: list[Outcome], settings: dict[str, object], versions: dict[str, str]) -> None:
    if given.json is not None:
        scenarios = {outcome.scenario.name: figures(outcome.rows, outcome.scenario.budgets) for outcome in outcomes}
        given.json.write_text(json.dumps({"machine": versions, "settings": settings, "scenarios": scenarios}, indent=2) + "\n")
    if given.plot is not None:
        from benchmarks.plots import draw

        draw(outcomes, given.plot, judged=not settings["quick"])
    if given.results is not None:
        from benchmarks.plots import draw, draw_summary

        draw(outcomes, given.results.with_name(_PICTURE), judged=not settings["quick"])
        draw_summary(outcomes, given.results.with_name("summary.png"))
        given.results.write_text(as_markdown(outcomes, settings, versions, given.names, _PICTURE))

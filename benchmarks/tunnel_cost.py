"""The cost of a tunnel: albkit, nginx, HAProxy and an aiohttp bridge in one run. `python -m benchmarks.tunnel_cost`; see README.md."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.bench import Bench, Case
from benchmarks.command import Lines, add_baseline, as_json, at_hand, end_on_signals, positive
from benchmarks.engine import measure
from benchmarks.figures import broken, tell_budgets
from benchmarks.machine import machine
from benchmarks.measure import MeasurementError, keep_off, two_cores
from benchmarks.peers import PEERS
from benchmarks.scenarios.tunnels import BUDGETS, SIZES, echo, handshake, idle_tunnels
from benchmarks.tables import as_text, tables
from benchmarks.work import room

_PEERS = {name: peer for name, peer in PEERS.items() if peer.tunnels and peer.http1}
_BY_DEFAULT = ("albkit", "albkit-raw", "nginx", "haproxy", "aiohttp")
_MEASURES = (*map(str, SIZES), "handshakes", "memory")
_COMPARED = ("nginx", "haproxy", "aiohttp", "baseline")


def timed(measures: list[str], connections: int) -> list[Case]:
    """The kinds of work that take turns."""
    cases: Mapping[str, Case] = {**{f"{size}": echo(size, connections) for size in SIZES}, "handshakes": handshake(connections)}
    return [case for name, case in cases.items() if name in measures]


def main() -> int:
    given = _arguments()
    end_on_signals()
    try:
        tunnels = room(given.tunnels) if "memory" in given.measures else given.tunnels
        peers = at_hand(_PEERS, given.only, given.baseline)
        cores = two_cores()
        keep_off(cores.proxy)
        bench = Bench(peers, cores, given.rounds, given.seconds, Lines(), keep_going=False)
        rows = []
        if cases := timed(given.measures, given.connections):
            rows += measure(bench, cases)
        if "memory" in given.measures:
            # The proxies must not have done other work before: what that has left would be used.
            rows += measure(bench, [idle_tunnels(tunnels)], once=True)
    except MeasurementError as error:
        print(f"tunnel_cost: {error}", file=sys.stderr)
        return 2
    for table in tables(rows, _COMPARED):
        print(f"\n{as_text(table)}")
    print()
    for line in tell_budgets(rows, BUDGETS):
        print(line)
    if given.json is not None:
        settings = {name: getattr(given, name) for name in ("rounds", "seconds", "connections", "tunnels")}
        given.json.write_text(json.dumps(as_json(rows, BUDGETS, settings, machine(peers)), indent=2) + "\n")
    return 1 if broken(rows, BUDGETS) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tunnel_cost", description="Measure what a tunnel costs, compared with other proxies."
    )
    parser.add_argument("--rounds", type=positive(int), default=7, help="7 by default; figures are medians of them")
    parser.add_argument("--seconds", type=positive(float), default=1, help="of echoes per proxy, size and round; 1 by default")
    parser.add_argument(
        "--connections", type=positive(int), default=50, help="number of tunnels, 50 by default; at most 8 for messages of 1 MiB"
    )
    parser.add_argument("--tunnels", type=positive(int), default=5000, help="that do nothing, for memory; 5000 by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to FILE")
    add_baseline(parser)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=tuple(_PEERS),
        default=_BY_DEFAULT,
        metavar="NAME",
        help=f"of {', '.join(_PEERS)}; by default {', '.join(_BY_DEFAULT)}",
    )
    parser.add_argument(
        "--measures",
        nargs="+",
        choices=_MEASURES,
        default=_MEASURES,
        metavar="MEASURE",
        help=f"of {', '.join(_MEASURES)}, where a number is the size of a message; all by default",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

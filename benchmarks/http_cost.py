"""The cost of an HTTP request: albkit, nginx and an aiohttp.web proxy in one run. `python -m benchmarks.http_cost`; see README.md."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.bench import Bench, Case
from benchmarks.command import Lines, add_baseline, as_json, at_hand, end_on_signals, positive, require
from benchmarks.engine import measure
from benchmarks.figures import broken, tell_budgets
from benchmarks.machine import machine
from benchmarks.measure import MeasurementError, keep_off, two_cores
from benchmarks.peers import PEERS, albkit_of
from benchmarks.peers.python import CHECKOUT
from benchmarks.scenarios.requests import browser_budgets, plain_budgets
from benchmarks.tables import as_text, tables
from benchmarks.work import BROWSER, Requests

_STICKY = albkit_of(CHECKOUT, "albkit-sticky", "albkit with LbCookie", "--sticky=lb_cookie", tunnels=False)
_PEERS = {name: peer for name, peer in {**PEERS, "albkit-sticky": _STICKY}.items() if peer.http and peer.http1}
_BY_DEFAULT = ("albkit", "nginx", "aiohttp")
BUDGETS = (*plain_budgets("wrk"), *browser_budgets("browser"))
_COMPARED = ("nginx", "aiohttp", "baseline")


def cases(connections: int) -> list[Case]:
    """Both kinds of request."""
    return [
        Case("wrk", "wrk's request, Host alone", Requests(connections)),
        Case("browser", f"a browser's, {len(BROWSER)} fields", Requests(connections, fields=BROWSER, cookies=True)),
    ]


def main() -> int:
    given = _arguments()
    end_on_signals()
    try:
        require(nginx="the target", wrk="the load")
        peers = at_hand(_PEERS, given.only, given.baseline)
        cores = two_cores()
        keep_off(cores.proxy)
        bench = Bench(peers, cores, given.rounds, given.seconds, Lines(), keep_going=False)
        rows = measure(bench, cases(given.connections))
    except MeasurementError as error:
        print(f"http_cost: {error}", file=sys.stderr)
        return 2
    for table in tables(rows, _COMPARED):
        print(f"\n{as_text(table)}")
    print()
    for line in tell_budgets(rows, [budget for budget in BUDGETS if budget.peer in given.only]):
        print(line)
    if given.json is not None:
        settings = {name: getattr(given, name) for name in ("rounds", "seconds", "connections")}
        given.json.write_text(json.dumps(as_json(rows, BUDGETS, settings, machine(peers)), indent=2) + "\n")
    return 1 if broken(rows, BUDGETS) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.http_cost", description="Measure what an HTTP request costs, compared with other proxies."
    )
    parser.add_argument("--rounds", type=positive(int), default=7, help="7 by default; figures are medians of them")
    parser.add_argument("--seconds", type=positive(float), default=2, help="of load per proxy, kind of request and round; 2 by default")
    parser.add_argument("--connections", type=positive(int), default=64, help="connections of wrk, 64 by default")
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
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

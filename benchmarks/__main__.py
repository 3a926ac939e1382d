"""`python -m benchmarks`: lists the scenarios and runs them. See README.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import add_baseline, end_on_signals, positive
from benchmarks.install import install, tell
from benchmarks.measure import MeasurementError
from benchmarks.peers import PEERS
from benchmarks.run import run
from benchmarks.scenarios import SCENARIOS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status."""
    given = _arguments(arguments)
    end_on_signals()
    try:
        status: int = given.does(given)
    except MeasurementError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return status


def _list(_: argparse.Namespace) -> int:
    for scenario in SCENARIOS.values():
        print(f"{scenario.name:18} {scenario.title}")
    print("\nTo run them: python -m benchmarks run NAME..., or run all. To list the proxies: python -m benchmarks peers")
    return 0


def _peers(_: argparse.Namespace) -> int:
    for peer in PEERS.values():
        print(tell(peer))
    return 0


def _install(given: argparse.Namespace) -> int:
    return install(list(PEERS.values()) if "all" in given.names else [PEERS[name] for name in given.names])


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what albkit costs, compared with other proxies.")
    parser.set_defaults(does=_list)
    commands = parser.add_subparsers(metavar="COMMAND")

    listing = commands.add_parser("list", help="list the scenarios (the default command)")
    listing.set_defaults(does=_list)

    peers = commands.add_parser("peers", help="list the proxies, and how to install missing ones")
    peers.set_defaults(does=_peers)

    installing = commands.add_parser("install-peers", help="install missing proxies with apt-get, npm and pip")
    installing.add_argument("names", nargs="*", choices=(*PEERS, "all"), default="all", metavar="NAME", help="all by default")
    installing.set_defaults(does=_install)

    running = commands.add_parser("run", help="run some scenarios, or all")
    running.set_defaults(does=run)
    running.add_argument("names", nargs="+", choices=("all", *SCENARIOS), metavar="SCENARIO", help=f"all, or of {', '.join(SCENARIOS)}")
    running.add_argument("--rounds", type=positive(int), help="number of rounds, 3 by default; results are medians over the rounds")
    running.add_argument("--seconds", type=positive(float), help="duration of the load per proxy, kind of work and round, 1 by default")
    running.add_argument(
        "--quick", action="store_true", help="one short round, to check that everything works; the results are meaningless"
    )
    names = ", ".join(PEERS)
    running.add_argument("--only", nargs="+", choices=tuple(PEERS), default=tuple(PEERS), metavar="PEER", help=f"of {names}")
    running.add_argument("--json", type=Path, metavar="FILE", help="write all samples, versions and verdicts to FILE")
    running.add_argument("--plot", type=Path, metavar="FILE", help="draw all results (PNG)")
    running.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="write all tables and the machine's description (Markdown), with results.png and summary.png beside it",
    )
    add_baseline(running)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

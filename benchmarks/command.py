"""What the commands share: options, signals, the choice of proxies, and output."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.bench import Quiet
from benchmarks.figures import Budget, Row, judge
from benchmarks.measure import MeasurementError, installed
from benchmarks.peers import Peer, albkit_of

__all__ = ("Lines", "add_baseline", "as_json", "at_hand", "end_on_signals", "figures", "positive", "require")


def end_on_signals() -> None:
    """End the run on Ctrl-C and SIGTERM, together with everything that it has started."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _stop(number: int, _: FrameType | None) -> None:
    """Ignore further signals, which would interrupt the ending of programs."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def positive(kind: type[int] | type[float]) -> Any:
    """An option that is a number above 0."""

    def number(text: str) -> float:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    return number


def add_baseline(parser: argparse.ArgumentParser) -> None:
    """The option that compares with another checkout."""
    parser.add_argument("--baseline", type=Path, metavar="DIR", help="also measure albkit from this checkout")


def at_hand(peers: Mapping[str, Peer], names: Iterable[str], baseline: Path | None) -> list[Peer]:
    """The installed ones of these proxies, and the baseline if there is one. Prints a line for each that is missing."""
    found = []
    wanted = set(names)
    # In the order in which they are shown, whatever the order in which they were named.
    for name in filter(wanted.__contains__, peers):
        missing = peers[name].missing()
        if missing:
            print(f"{name} is skipped, because it is not installed: {'; '.join(need.how for need in missing)}", flush=True)
        else:
            found.append(peers[name])
    if baseline is not None:
        found.append(albkit_of(baseline.resolve(), "baseline", "albkit of another checkout"))
    if not found:
        raise MeasurementError("no proxy is left to measure")
    return found


def require(**programs: str) -> None:
    """Raise an error if a program is missing, with its purpose."""
    for program, what in programs.items():
        if installed(program) is None:
            raise MeasurementError(f"{program} is not installed, but required as {what}: apt-get install {program}")


class Lines(Quiet):
    """Prints one line per kind of work after each round."""

    def round_over(self, number: int, of: int, rows: Sequence[Row]) -> None:
        for row in rows:
            told = [f"{name} {taken[-1].cost:.1f}" for name, taken in row.samples.items()]
            print(f"round {number} of {of}, {row.title}, {row.unit}: {', '.join(told)}", flush=True)


def as_json(rows: Sequence[Row], budgets: Sequence[Budget], settings: Mapping[str, Any], versions: Mapping[str, str]) -> dict[str, Any]:
    """All results."""
    return {"machine": dict(versions), "settings": dict(settings), **figures(rows, budgets)}


def figures(rows: Sequence[Row], budgets: Sequence[Budget]) -> dict[str, Any]:
    """Every sample, by row, and the verdicts."""
    verdicts = [(budget, judge(rows, budget)) for budget in budgets]
    return {
        "rows": {row.name: row.as_json() for row in rows},
        "budgets": [
            {**budget._asdict(), "measured": verdict and verdict[0], "holds": verdict and verdict[1]} for budget, verdict in verdicts
        ],
    }

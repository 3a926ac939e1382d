"""What happens to requests while targets fail: albkit, nginx and HAProxy. `python -m benchmarks.failover`; see README.md."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import platform
import signal
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import uvloop

from benchmarks.failover.events import LENGTH, NAMES, Event, Targets, play, targets_running
from benchmarks.failover.load import PATIENCE, POST_EVERY, Load
from benchmarks.failover.proxies import PROXIES, Proxy
from benchmarks.failover.report import Outcome, Run, as_json, check, draw, outcomes, table
from benchmarks.measure import Cores, MeasurementError, descriptors, free_ports, installed, running, two_cores

_SHORTEST = 30.0
"""Seconds. In a shorter run, the effects of one event would overlap with the next one."""
_FILES = 4096
_WARM_UP = 0.5
_WARM_UPS = 20
"""Attempts until every target has answered without a failure."""
_JUDGED = ("kill", "drain")
"""Events in which albkit must lose no GET."""

Runs = list[tuple[Run, list[Outcome]]]


# Measuring.


def measure(kind: type[Proxy], rate: float, seconds: float, cores: Cores) -> Run:
    """Measure one proxy in front of fresh targets, under load during all events."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="albkit-")))
        targets = stack.enter_context(targets_running(directory, cores.load))
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        runner.run(_start(targets))
        own = directory / kind.name
        own.mkdir()
        proxy = kind(own, free_ports(1)[0], targets.ports)
        told = proxy.version()
        program = stack.enter_context(running(kind.name, proxy.command(), core=cores.proxy, directory=own))
        program.await_port(proxy.port)
        try:
            load, events = runner.run(_play(proxy, targets, rate, seconds))
            if not program.alive:
                raise MeasurementError("it ended")
            run = Run(kind.name, told, seconds, sorted(load.requests), events, load.lag)
            check(run)
        except MeasurementError as error:
            raise MeasurementError(f"{kind.name}: {error}; it said: {program.last_words()}") from error
    return run


async def _start(targets: Targets) -> None:
    for name in NAMES:
        await targets.start(name)


async def _play(proxy: Proxy, targets: Targets, rate: float, seconds: float) -> tuple[Load, list[Event]]:
    await _warm_up(proxy.port, rate)
    load = Load(proxy.port, rate)
    loading = asyncio.ensure_future(load.run(seconds))
    try:
        events = await play(load, proxy, targets, seconds / LENGTH)
        await loading
    finally:
        loading.cancel()
    return load, events


async def _warm_up(port: int, rate: float) -> None:
    """Return when every target gets requests, and none fails."""
    for _ in range(_WARM_UPS):
        load = Load(port, rate)
        await load.run(_WARM_UP)
        if {request.target for request in load.requests} == set(NAMES):
            return
    raise MeasurementError("not every target gets requests")


# Telling.


def verdict(runs: Runs) -> tuple[bool | None, str]:
    """Whether albkit passes, `None` if it was not measured, and a line of text about it."""
    what = f"albkit, GETs failed on {' and '.join(_JUDGED)}: 0"
    for run, taken in runs:
        if run.name == "albkit":
            failed = sum(outcome.failed["GET"] for outcome in taken if outcome.event.kind in _JUDGED)
            return not failed, f"{what}: {'holds' if not failed else f'DOES NOT HOLD, {failed}'}"
    return None, f"{what}: not judged, it was not measured"


def everything(runs: Runs, given: argparse.Namespace) -> dict[str, Any]:
    """All results."""
    return {
        "machine": {"python": platform.python_version(), "uvloop": version("uvloop"), "kernel": platform.release()},
        "settings": {"rate": given.rate, "seconds": given.seconds, "patience": PATIENCE, "post_every": POST_EVERY},
        "proxies": {run.name: as_json(run, taken) for run, taken in runs},
        "holds": verdict(runs)[0],
    }


# The command.


def main() -> int:
    given = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        runs = _run(given)
    except MeasurementError as error:
        print(f"failover: {error}", file=sys.stderr)
        return 2
    posts = given.rate / (POST_EVERY - 1)
    print(f"\n{given.rate:g} GETs and {posts:g} POSTs per second for {given.seconds:g} s")
    for run, taken in runs:
        print(f"\n{table(run, taken)}")
    holds, line = verdict(runs)
    print(f"\n{line}")
    if given.json is not None:
        given.json.write_text(json.dumps(everything(runs, given), indent=2) + "\n")
    if given.plot is not None:
        draw([run for run, _ in runs], given.plot)
    return 1 if holds is False else 0


def _run(given: argparse.Namespace) -> Runs:
    if given.plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise MeasurementError("--plot needs matplotlib: pip install matplotlib")
    cores = two_cores()
    allowed = descriptors(_FILES)
    if allowed < _FILES:
        raise MeasurementError(f"a process may have {allowed} files open, fewer than {_FILES}: raise the limit")
    runs: Runs = []
    for kind in _present(given.only):
        run = measure(kind, given.rate, given.seconds, cores)
        runs.append((run, outcomes(run)))
    return runs


def _present(names: Sequence[str]) -> list[type[Proxy]]:
    """The requested proxies that are installed."""
    present = []
    for kind in (PROXIES[name] for name in names):
        if kind.needs is not None and installed(kind.needs) is None:
            print(f"{kind.name} is skipped: {kind.needs} is not installed (apt-get install {kind.needs})", flush=True)
        else:
            present.append(kind)
    if not present:
        raise MeasurementError("no proxy is left to measure")
    return present


def _stop(number: int, _: FrameType | None) -> None:
    """End gracefully. Further signals are ignored: they would interrupt the ending of programs."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.failover",
        description="Measure what happens to requests while targets are killed, hang, restart and drain.",
    )
    parser.add_argument(
        "--rate", type=_number(1, 1000), default=300, help="GETs per second, 300 by default; a tenth as many POSTs are added"
    )
    parser.add_argument(
        "--seconds", type=_number(_SHORTEST, 3600), default=LENGTH, help=f"per proxy; {LENGTH:g} by default, {_SHORTEST:g} at least"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw each target's share of the responses over time (PNG)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to FILE")
    names = tuple(PROXIES)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=f"of {', '.join(names)}; all by default")
    return parser.parse_args()


def _number(least: float, most: float) -> Any:
    def number(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not from {least:g} to {most:g}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())

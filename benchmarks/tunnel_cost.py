"""What a tunnel costs: albkit, nginx, HAProxy and an aiohttp bridge in one run. `python -m benchmarks.tunnel_cost`; see README.md."""

from __future__ import annotations

import argparse
import json
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from benchmarks.measure import Cores, MeasurementError, descriptors, installed, put_tunnel_load, two_cores
from benchmarks.peers import TUNNEL_TARGET, Peer, RunningPeer, albkit_of, all_running, tunnel_peers

_FEW = 8
"""Connections at most for messages of 1 MiB, so that what is on the way stays in the caches."""
_HANDSHAKES = 1000
"""For each second of echoes."""
_WARM_UP = 300
"""Tunnels that come and go before memory is measured, and as many that are there when it begins."""
_SPARE = 1200
"""Files that a proxy may have open beside those of its tunnels."""
_FEWEST = 200
"""Tunnels below which growth of memory says nothing."""
_STUCK = 60
"""Seconds that a load may take beyond its time."""


class Measure(NamedTuple):
    """One kind of work."""

    title: str
    kind: str
    """Of load, as `tunnel_load` has it."""
    unit: str
    size: int = 64
    """Of a message."""


MEASURES: Mapping[str, Measure] = {
    "64": Measure("echo of 64 B", "echoes", "us", 64),
    "1024": Measure("echo of 1 KiB", "echoes", "us", 1024),
    "16384": Measure("echo of 16 KiB", "echoes", "us", 16384),
    "1048576": Measure("echo of 1 MiB", "echoes", "us", 1048576),
    "handshakes": Measure("handshake", "handshakes", "us"),
    "memory": Measure("idle tunnel", "memory", "KiB"),
}


class Budget(NamedTuple):
    """What albkit may cost at most."""

    measure: str
    name: str
    """albkit with its frames tracked or without."""
    peer: str | None
    """What it is a multiple of; `None` where it is a figure of its own."""
    limit: float
    aim: float | None = None


BUDGETS = (
    Budget("64", "albkit", "nginx", 1.3, 1.1),
    Budget("64", "albkit-raw", "nginx", 1.15, 1.1),
    Budget("16384", "albkit", "nginx", 0.6, 0.5),
    Budget("16384", "albkit", "haproxy", 0.9),
    Budget("memory", "albkit", None, 8.0, 4.0),
)

_RATIOS = (
    ("albkit", "nginx"),
    ("albkit", "haproxy"),
    ("albkit", "aiohttp"),
    ("albkit-raw", "nginx"),
    ("albkit-raw", "haproxy"),
    ("albkit", "baseline"),
)


class Sample(NamedTuple):
    """One proxy under one kind of work for one round."""

    cost: float
    """Microseconds of CPU time, or KiB of memory."""
    rate: float | None = None
    """Echoes or handshakes per second."""
    share: float | None = None
    """Of its core that the proxy used."""


Samples = dict[str, dict[str, list[Sample]]]
"""By measure and proxy, in the order of the rounds. Memory has one round."""


# Measuring.


def measure(peers: Sequence[RunningPeer], measures: Sequence[str], given: argparse.Namespace, cores: Cores) -> Samples:
    """Every proxy under every kind of work in turn, round after round, so that what disturbs the machine disturbs all alike."""
    samples: Samples = {name: {peer.name: [] for peer in peers} for name in measures}
    for number in range(1, given.rounds + 1):
        for name in measures:
            told = []
            for peer in peers:
                sample = _sample(peer, MEASURES[name], given, cores)
                samples[name][peer.name].append(sample)
                told.append(f"{peer.name} {sample.cost:.1f}")
            print(f"round {number} of {given.rounds}, us/{MEASURES[name].title}: {', '.join(told)}", flush=True)
    return samples


def _sample(peer: RunningPeer, work: Measure, given: argparse.Namespace, cores: Cores) -> Sample:
    connections = min(given.connections, _FEW) if work.size >= 1 << 20 else given.connections
    count = round(_HANDSHAKES * given.seconds)
    load = _load(peer, work, cores, size=work.size, connections=connections, seconds=given.seconds, count=count)
    if not load["count"]:
        raise MeasurementError(f"{peer.name}: not one {work.title} in {given.seconds:g} s")
    return Sample(load["cpu"] / load["count"] * 1e6, load["count"] / load["seconds"], load["cpu"] / load["seconds"])


def measure_memory(peers: Sequence[RunningPeer], tunnels: int, cores: Cores) -> Samples:
    """What each proxy's memory grows by, per tunnel. The proxies must not have done other work before: what that has left would be used."""
    taken: dict[str, list[Sample]] = {}
    for peer in peers:
        load = _load(peer, MEASURES["memory"], cores, count=tunnels, warm_up=_WARM_UP)
        sample = Sample((load["after"] - load["before"]) / tunnels / 1024)
        taken[peer.name] = [sample]
        print(f"{tunnels:,} idle tunnels, KiB each: {peer.name} {sample.cost:.1f}", flush=True)
    return {"memory": taken}


def _load(peer: RunningPeer, work: Measure, cores: Cores, **options: float) -> dict[str, float]:
    pid = peer.program.process.pid
    try:
        return put_tunnel_load(work.kind, peer.port, pid, core=cores.load, timeout=options.get("seconds", 0) + _STUCK, **options)
    except MeasurementError as error:
        raise MeasurementError(f"{peer.name}, {work.title}: {error}; it said: {peer.program.last_words()}") from error


def ratio(samples: Mapping[str, Sequence[Sample]], name: str, other: str) -> float | None:
    """How many times as much as the other one costs: the median over the rounds; `None` where one of the two was not measured."""
    if name not in samples or other not in samples:
        return None
    return statistics.median(mine.cost / theirs.cost for mine, theirs in zip(samples[name], samples[other], strict=True))


# Telling.


def report(samples: Samples) -> str:
    """Four tables, each with a line per measure: medians, their ratios, the spread, and what was done per second."""
    names = list(next(iter(samples.values())))
    pairs = [(name, other) for name, other in _RATIOS if name in names and other in names]
    timed = {name: taken for name, taken in samples.items() if MEASURES[name].kind != "memory"}
    parts = [_table("cost", names, {_label(name): [f"{_median(taken[peer]):.1f}" for peer in names] for name, taken in samples.items()})]
    if pairs:
        lines = {_label(name): [f"{ratio(taken, *pair):.2f}" for pair in pairs] for name, taken in samples.items()}
        parts.append(_table("ratio", [f"{name} x {other}" for name, other in pairs], lines))
    if timed:
        spread = {_label(name): [_spread(taken[peer]) for peer in names] for name, taken in timed.items()}
        parts.append(_table("lowest..highest", names, spread))
        rates = {MEASURES[name].title: [_rate(taken[peer]) for peer in names] for name, taken in timed.items()}
        parts.append(_table("per second, of the core", names, rates))
    return "\n\n".join(parts)


def _table(title: str, columns: Sequence[str], lines: Mapping[str, Sequence[str]]) -> str:
    widths = [max(15, *(len(cell) + 2 for cell in cells)) for cells in zip(columns, *lines.values(), strict=True)]

    def line(first: str, cells: Sequence[str]) -> str:
        return f"{first:24}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))

    return "\n".join([line(title, columns), *[line(first, cells) for first, cells in lines.items()]])


def _label(name: str) -> str:
    return f"{MEASURES[name].title}, {MEASURES[name].unit}"


def _median(taken: Sequence[Sample]) -> float:
    return statistics.median(sample.cost for sample in taken)


def _spread(taken: Sequence[Sample]) -> str:
    costs = [sample.cost for sample in taken]
    return f"{min(costs):.1f}..{max(costs):.1f}"


def _rate(taken: Sequence[Sample]) -> str:
    rate = statistics.median(sample.rate or 0 for sample in taken)
    share = statistics.median(sample.share or 0 for sample in taken)
    return f"{rate:,.0f} {share:4.0%}"


def judge(samples: Samples, budget: Budget) -> tuple[float, bool] | None:
    """The figure that the budget bounds, and whether the budget holds; `None` where something that it takes was not measured."""
    taken = samples.get(budget.measure, {})
    if budget.peer is not None:
        figure = ratio(taken, budget.name, budget.peer)
    else:
        figure = _median(taken[budget.name]) if budget.name in taken else None
    return None if figure is None else (figure, figure <= budget.limit)


def tell_budget(samples: Samples, budget: Budget) -> str:
    """One line on one budget."""
    unit = f"x {budget.peer}" if budget.peer is not None else MEASURES[budget.measure].unit
    what = f"{budget.name}, {MEASURES[budget.measure].title}: at most {budget.limit:g} {unit}"
    verdict = judge(samples, budget)
    if verdict is None:
        return f"{what}: not judged, not all that it takes was measured"
    figure, holds = verdict
    aim = "" if budget.aim is None else f" (aim {budget.aim:g}: {'reached' if figure <= budget.aim else 'not reached'})"
    return f"{what}: {'holds' if holds else 'DOES NOT HOLD'}, {figure:.2f}{aim}"


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    versions = {name: __import__(name).__version__ for name in ("aiohttp", "uvloop")}
    for program in ("nginx", "haproxy"):
        path = installed(program)
        if path is not None:
            told = subprocess.run([path, "-v"], capture_output=True, text=True, check=False)
            versions[program] = (told.stdout + told.stderr).strip().partition("\n")[0]
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = models[0].partition(":")[2].strip() if models else platform.machine()
    return {"python": platform.python_version(), **versions, "kernel": platform.release(), "processor": processor}


def as_json(samples: Samples, given: argparse.Namespace, tunnels: int) -> dict[str, Any]:
    """All that was measured."""
    return {
        "machine": machine(),
        "settings": {"rounds": given.rounds, "seconds": given.seconds, "connections": given.connections, "tunnels": tunnels},
        "samples": {
            name: {peer: [sample._asdict() for sample in taken] for peer, taken in by_name.items()} for name, by_name in samples.items()
        },
        "budgets": [
            {**budget._asdict(), "measured": verdict and verdict[0], "holds": verdict and verdict[1]}
            for budget, verdict in ((budget, judge(samples, budget)) for budget in BUDGETS)
        ],
    }


# The command.


def main() -> int:
    given = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        tunnels = _room(given) if "memory" in given.measures else given.tunnels
        samples = _run(_peers(given, tunnels), given, tunnels)
    except MeasurementError as error:
        print(f"tunnel_cost: {error}", file=sys.stderr)
        return 2
    print(f"\n{report(samples)}\n")
    for budget in BUDGETS:
        print(tell_budget(samples, budget))
    if given.json is not None:
        given.json.write_text(json.dumps(as_json(samples, given, tunnels), indent=2) + "\n")
    verdicts = [judge(samples, budget) for budget in BUDGETS]
    return 1 if any(verdict is not None and not verdict[1] for verdict in verdicts) else 0


def _room(given: argparse.Namespace) -> int:
    """How many tunnels a proxy can have at a time, as many as wanted if possible: each takes it two files."""
    allowed = descriptors(2 * given.tunnels + _SPARE)
    tunnels: int = min(given.tunnels, (allowed - _SPARE) // 2)
    if tunnels < min(_FEWEST, given.tunnels):
        raise MeasurementError(f"a process may have {allowed} files open, too few to measure memory: raise the limit, or leave memory out")
    if tunnels < given.tunnels:
        print(f"a process may have {allowed:,} files open: memory is measured with {tunnels:,} tunnels, not {given.tunnels:,}", flush=True)
    return tunnels


def _peers(given: argparse.Namespace, tunnels: int) -> list[Peer]:
    """Those that were asked for and are installed."""
    every = tunnel_peers(max(tunnels, given.connections) + _WARM_UP)
    peers = []
    for name in given.only:
        needed = every[name].needs
        if needed is not None and installed(needed) is None:
            print(f"{name} is left out: {needed} is not installed (apt-get install {needed})", flush=True)
        else:
            peers.append(every[name])
    if given.baseline is not None:
        peers.append(albkit_of(given.baseline.resolve(), "baseline"))
    if not peers:
        raise MeasurementError("nothing is left to measure")
    return peers


def _run(peers: Sequence[Peer], given: argparse.Namespace, tunnels: int) -> Samples:
    cores = two_cores()
    timed = [name for name in MEASURES if name in given.measures and name != "memory"]
    samples: Samples = {}
    if timed:
        with tempfile.TemporaryDirectory(prefix="albkit-") as directory, all_running(peers, cores, Path(directory), TUNNEL_TARGET) as ready:
            samples |= measure(ready, timed, given, cores)
    if "memory" in given.measures:
        with tempfile.TemporaryDirectory(prefix="albkit-") as directory, all_running(peers, cores, Path(directory), TUNNEL_TARGET) as ready:
            samples |= measure_memory(ready, tunnels, cores)
    return samples


def _stop(number: int, _: FrameType | None) -> None:
    """End in good order; a second signal must not keep the programs from being ended."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tunnel_cost", description="What a tunnel costs, beside peers.")
    parser.add_argument("--rounds", type=_positive(int), default=7, help="7 by default; figures are medians of them")
    parser.add_argument("--seconds", type=_positive(float), default=1, help="of echoes per proxy, size and round; 1 by default")
    parser.add_argument("--connections", type=_positive(int), default=50, help=f"50 by default; at most {_FEW} for messages of 1 MiB")
    parser.add_argument("--tunnels", type=_positive(int), default=5000, help="that do nothing, for memory; 5000 by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
    parser.add_argument("--baseline", type=Path, metavar="DIR", help="measure albkit as it is in this checkout, too")
    names = tuple(tunnel_peers(0))
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=f"of {', '.join(names)}; all by default")
    parser.add_argument(
        "--measures",
        nargs="+",
        choices=tuple(MEASURES),
        default=tuple(MEASURES),
        metavar="MEASURE",
        help=f"of {', '.join(MEASURES)}, where a number is the size of a message; all by default",
    )
    return parser.parse_args()


def _positive(kind: type[int] | type[float]) -> Any:
    def number(text: str) -> float:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())

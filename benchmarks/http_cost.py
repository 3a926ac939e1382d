"""What an HTTP request costs: albkit, nginx and an aiohttp.web proxy in one run. `python -m benchmarks.http_cost`; see README.md."""

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

from benchmarks.measure import Cores, MeasurementError, ask, cpu_seconds, installed, put_load, two_cores
from benchmarks.peers import BODY, OPTIONAL, PEERS, Peer, RunningPeer, albkit_of, all_running

_PATH = "/x"
_WARM_UP = 1

_BROWSER = {
    "Host": "www.example.com",
    "Connection": "keep-alive",
    "Cache-Control": "max-age=0",
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "navigate",
    "Referer": "https://www.example.com/products?category=books&page=2",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
    "Cookie": "session=6f2c9a1e84b04d7f9c35a8d1e2b7406c; theme=dark; consent=necessary",
}

REQUESTS: Mapping[str, Mapping[str, str]] = {"wrk": {}, "browser": _BROWSER}
"""The fields of each kind of request; wrk's own has Host alone."""


class Budget(NamedTuple):
    """What albkit may cost at most, as a multiple of a peer."""

    request: str
    peer: str
    factor: float


BUDGETS = (
    Budget("wrk", "nginx", 3.0),
    Budget("browser", "nginx", 3.2),
    Budget("wrk", "aiohttp", 0.25),
)


class Sample(NamedTuple):
    """One proxy under one kind of request for one round."""

    cost: float
    """Microseconds of CPU time per request."""
    rate: float
    """Requests per second."""
    share: float
    """Of its core that the proxy used."""


Samples = dict[str, dict[str, list[Sample]]]
"""By kind of request and proxy, in the order of the rounds."""


# Measuring.


def measure(peers: Sequence[RunningPeer], rounds: int, seconds: int, connections: int, cores: Cores) -> Samples:
    """Every proxy under every kind of request in turn, round after round, so that what disturbs the machine disturbs all alike."""
    samples: Samples = {request: {peer.name: [] for peer in peers} for request in REQUESTS}
    fields = {(peer.name, request): _fields(peer, request) for peer in peers for request in REQUESTS}
    for peer in peers:
        put_load(peer.port, _PATH, fields[peer.name, "wrk"], core=cores.load, connections=connections, seconds=_WARM_UP)
    for number in range(1, rounds + 1):
        told = []
        for request in REQUESTS:
            for peer in peers:
                sample = _sample(peer, fields[peer.name, request], seconds, connections, cores)
                samples[request][peer.name].append(sample)
                told.append(f"{request} {peer.name} {sample.cost:.1f}")
        print(f"round {number} of {rounds}, us/request: {', '.join(told)}", flush=True)
    return samples


def _fields(peer: RunningPeer, request: str) -> dict[str, str]:
    """The fields of a request; a browser also brings back the cookies that the proxy has set."""
    fields = dict(REQUESTS[request])
    set_cookies = ask(peer.port, _PATH, fields, BODY)
    if "Cookie" in fields:
        fields["Cookie"] = "; ".join((fields["Cookie"], *(cookie.partition(";")[0] for cookie in set_cookies)))
    return fields


def _sample(peer: RunningPeer, fields: Mapping[str, str], seconds: int, connections: int, cores: Cores) -> Sample:
    pid = peer.program.process.pid
    try:
        ask(peer.port, _PATH, fields, BODY)
        before = cpu_seconds(pid)
        load = put_load(peer.port, _PATH, fields, core=cores.load, connections=connections, seconds=seconds)
        used = cpu_seconds(pid) - before
        ask(peer.port, _PATH, fields, BODY)
    except MeasurementError as error:
        raise MeasurementError(f"{peer.name}: {error}; it said: {peer.program.last_words()}") from error
    return Sample(used / load.requests * 1e6, load.rate, used / load.seconds)


def ratio(samples: Mapping[str, Sequence[Sample]], name: str, other: str) -> float | None:
    """How many times as much as the other one costs: the median over the rounds; `None` where the other one was not measured."""
    if other not in samples:
        return None
    return statistics.median(mine.cost / theirs.cost for mine, theirs in zip(samples[name], samples[other], strict=True))


# Telling.


def table(samples: Mapping[str, Sequence[Sample]]) -> str:
    """One line per proxy."""
    others = ["nginx", "aiohttp", *(["baseline"] if "baseline" in samples else [])]
    columns = "".join(f"{'x ' + other:>12}" for other in others)
    lines = [f"{'proxy':16} {'us/request':>10} {'lowest..highest':>17} {'requests/s':>10} {'core':>5}{columns}"]
    for name, taken in samples.items():
        costs = [sample.cost for sample in taken]
        spread = f"{min(costs):.1f}..{max(costs):.1f}"
        rate = statistics.median(sample.rate for sample in taken)
        share = statistics.median(sample.share for sample in taken)
        multiples = "".join(f"{_multiple(ratio(samples, name, other)):>12}" for other in others)
        lines.append(f"{name:16} {statistics.median(costs):10.1f} {spread:>17} {rate:10,.0f} {share:5.0%}{multiples}")
    return "\n".join(lines)


def _multiple(value: float | None) -> str:
    return f"{value:.2f}" if value is not None else "-"


def judge(samples: Samples, budget: Budget) -> tuple[float, bool] | None:
    """What albkit costs as a multiple of the budget's peer, and whether the budget holds; `None` where one of the two was not measured."""
    taken = samples[budget.request]
    multiple = ratio(taken, "albkit", budget.peer) if "albkit" in taken else None
    return None if multiple is None else (multiple, multiple <= budget.factor)


def tell_budget(samples: Samples, budget: Budget) -> str:
    """One line on one budget."""
    verdict = judge(samples, budget)
    what = f"albkit, {budget.request}'s request: at most {budget.factor} x {budget.peer}"
    if verdict is None:
        return f"{what}: not judged, one of the two was not measured"
    multiple, holds = verdict
    return f"{what}: {'holds' if holds else 'DOES NOT HOLD'}, {multiple:.2f}"


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    aiohttp, uvloop = (__import__(name).__version__ for name in ("aiohttp", "uvloop"))
    nginx = subprocess.run([str(installed("nginx")), "-v"], capture_output=True, text=True, check=False).stderr.strip()
    return {
        "python": platform.python_version(),
        "aiohttp": aiohttp,
        "uvloop": uvloop,
        "nginx": nginx.rpartition("/")[2],
        "kernel": platform.release(),
        "processor": _processor(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def as_json(samples: Samples, given: argparse.Namespace) -> dict[str, Any]:
    """All that was measured."""
    return {
        "machine": machine(),
        "settings": {"rounds": given.rounds, "seconds": given.seconds, "connections": given.connections},
        "samples": {
            request: {name: [sample._asdict() for sample in taken] for name, taken in by_name.items()}
            for request, by_name in samples.items()
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
    peers = [PEERS[name] for name in given.only]
    if given.baseline is not None:
        peers.append(albkit_of(given.baseline.resolve(), "baseline"))
    try:
        samples = _run(peers, given)
    except MeasurementError as error:
        print(f"http_cost: {error}", file=sys.stderr)
        return 2
    for request, taken in samples.items():
        count = len(REQUESTS[request])
        print(f"\n{request}'s request, {f'{count} fields' if count else 'Host alone'}\n{table(taken)}")
    print()
    for budget in BUDGETS:
        print(tell_budget(samples, budget))
    if given.json is not None:
        given.json.write_text(json.dumps(as_json(samples, given), indent=2) + "\n")
    verdicts = [judge(samples, budget) for budget in BUDGETS]
    return 1 if any(verdict is not None and not verdict[1] for verdict in verdicts) else 0


def _run(peers: Sequence[Peer], given: argparse.Namespace) -> Samples:
    for program in ("nginx", "wrk"):
        if installed(program) is None:
            what = "the target and a peer" if program == "nginx" else "the load"
            raise MeasurementError(f"{program} is not installed, and it is {what}: apt-get install nginx wrk")
    cores = two_cores()
    with tempfile.TemporaryDirectory(prefix="albkit-") as directory, all_running(peers, cores, Path(directory)) as ready:
        return measure(ready, given.rounds, given.seconds, given.connections, cores)


def _stop(number: int, _: FrameType | None) -> None:
    """End in good order; a second signal must not keep the programs from being ended."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http_cost", description="What an HTTP request costs, beside peers.")
    parser.add_argument("--rounds", type=_positive, default=7, help="7 by default; figures are medians of them")
    parser.add_argument("--seconds", type=_positive, default=2, help="of load per proxy, kind of request and round; 2 by default")
    parser.add_argument("--connections", type=_positive, default=64, help="of wrk; 64 by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
    parser.add_argument("--baseline", type=Path, metavar="DIR", help="measure albkit as it is in this checkout, too")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=tuple(PEERS),
        default=[name for name in PEERS if name not in OPTIONAL],
        metavar="NAME",
        help=f"of {', '.join(PEERS)}; by default all but {', '.join(OPTIONAL)}",
    )
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not above 0")
    return number


if __name__ == "__main__":
    sys.exit(main())

"""The cost of `import albkit`, compared with other libraries."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from benchmarks.bench import Bench
from benchmarks.figures import Row, Sample
from benchmarks.measure import MeasurementError, pinned
from benchmarks.peers.python import CHECKOUT
from benchmarks.scenarios.scenario import Scenario

__all__ = ("SCENARIOS",)

_MODULES: Final[Mapping[str, str]] = {"albkit": "albkit", "aiohttp": "aiohttp.web", "proxy.py": "proxy"}
"""By the name of the peer."""
_TIMEOUT = 60
_PROGRAM = """\
import json, pathlib, re, sys, time

def resident():
    return int(re.search(r"Rss:\\s+(\\d+)", pathlib.Path("/proc/self/smaps_rollup").read_text())[1])

memory, modules, start = resident(), len(sys.modules), time.process_time()
__import__(sys.argv[1])
took = time.process_time() - start
print(json.dumps([took * 1000, len(sys.modules) - modules, resident() - memory]))
"""


def _run(bench: Bench) -> list[Row]:
    rows = [Row("time", "CPU time", "ms"), Row("modules", "modules loaded", "number"), Row("memory", "memory taken", "KiB")]
    chosen = {peer.name for peer in bench.peers}
    modules = {name: module for name, module in _MODULES.items() if name in chosen and importlib.util.find_spec(module) is not None}
    bench.teller.begin(len(modules) * bench.rounds)
    for name in modules:
        # Compiled files must be there.
        _imported(bench, modules[name])
    for number in range(1, bench.rounds + 1):
        for name, module in modules.items():
            for row, cost in zip(rows, _imported(bench, module), strict=True):
                row.add(name, Sample(cost))
            bench.teller.sampled(name, rows)
        bench.teller.round_over(number, bench.rounds, rows)
    return rows


def _imported(bench: Bench, module: str) -> list[float]:
    command = [sys.executable, "-c", _PROGRAM, module]
    with pinned(bench.cores.proxy):
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    if done.returncode:
        raise MeasurementError(f"{module} cannot be imported: {done.stderr.strip()[-300:]}")
    costs: list[float] = json.loads(done.stdout)
    return costs


SCENARIOS: Final = (Scenario("import", "importing it, in a fresh interpreter", _run),)

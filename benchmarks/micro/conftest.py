"""Duration and clock of the micro benchmarks."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import pytest

_HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Measure the thread's CPU time, so that other programs on the core do not count, with many calls between two readings of that
    clock."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.benchmark(timer=time.thread_time, min_time=0.002, max_time=0.5, disable_gc=True))

"""How long and by which clock every room is measured."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import pytest

_HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """By the thread's CPU time, so that a neighbour who takes the core away is not counted; many calls between two looks at that clock."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.benchmark(timer=time.thread_time, min_time=0.002, max_time=0.5, disable_gc=True))

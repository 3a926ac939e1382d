"""Finding the rule for a request."""

from __future__ import annotations

import pytest

from benchmarks.micro import Benchmark
from benchmarks.rule_table import KINDS, Kind, table_of

_BY_NAME = {kind.name: kind for kind in KINDS}


@pytest.mark.parametrize("size", [10, 1_000])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.bound], ids=lambda kind: kind.name)
def test_a_request_that_the_last_rule_matches(benchmark: Benchmark, kind: Kind, size: int) -> None:
    """Rules that are indexed by host or path."""
    table = table_of(kind, size)
    assert benchmark(table.match, kind.request(size - 1)).priority == size


def test_a_request_that_the_last_of_ten_rules_in_order_matches(benchmark: Benchmark) -> None:
    """Rules that cannot be indexed are evaluated one by one."""
    kind = _BY_NAME["header (in order)"]
    assert benchmark(table_of(kind, 10).match, kind.request(9)).priority == 10


def test_a_request_that_no_rule_is_there_for(benchmark: Benchmark) -> None:
    """A listener with only a default action."""
    kind = _BY_NAME["exact host"]
    assert benchmark(table_of(kind, 0).match, kind.request(0)).priority == 0

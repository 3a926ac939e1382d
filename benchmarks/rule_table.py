"""The cost of finding the rule for a request, with few rules and with many.

    python -m benchmarks.rule_table

There are no sockets: one thread matches the same request repeatedly, once a request that only the last rule matches and once one that no
rule matches. Exits with 0 if 1,000 rules with exact hosts or path prefixes cost at most 1.1 times as much as 10, otherwise with 1.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy

import albkit as alb
from albkit.model.message import ClientAddress, RequestHead
from albkit.policy.rule_table import RuleTable

SIZES = (10, 100, 1_000, 10_000)
BUDGET = 1.1
"""The highest allowed ratio between the cost of 1,000 rules and that of the fewest."""
BUDGET_SIZE = 1_000
_SAMPLE_SECONDS = 0.02
_ROUNDS = 15


class Kind(NamedTuple):
    """One kind of rule, and requests for it."""

    name: str
    condition: Callable[[int], object]
    """The condition of the rule with this number."""
    request: Callable[[int], RequestHead]
    """A request that the rule with this number matches, and no other."""
    bound: bool
    """Whether the budget applies."""


def request(host: str = "www.example.com", path: str = "/", **fields: str) -> RequestHead:
    """A request as the rule table gets it from a listener."""
    head = RequestHead()
    head.method = "GET"
    head.host = host
    head.path = path
    head.query_string = ""
    head.headers = CIMultiDictProxy(CIMultiDict({"Host": host, **fields}))
    head.client = ClientAddress("192.0.2.1", 40000)
    return head


KINDS = (
    Kind("exact host", lambda n: alb.HostHeader(f"t{n}.example.com"), lambda n: request(f"t{n}.example.com"), True),
    Kind("path prefix", lambda n: alb.PathPattern(f"/svc-{n}/*"), lambda n: request(path=f"/svc-{n}/users/17"), True),
    Kind("host suffix", lambda n: alb.HostHeader(f"*.t{n}.example.com"), lambda n: request(f"a.t{n}.example.com"), False),
    Kind("header (in order)", lambda n: alb.HttpHeader("X-Tenant", f"t{n}"), lambda n: request(**{"X-Tenant": f"t{n}"}), False),
)


def table_of(kind: Kind, size: int) -> RuleTable[None]:
    """A compiled table of this many rules of one kind."""
    action = alb.FixedResponse(200)
    rules = [alb.Rule(number + 1, kind.condition(number), action) for number in range(size)]
    return RuleTable(alb.Listener(0, action, rules=rules), lambda _: None)


class Case(NamedTuple):
    """A table and a request."""

    kind: Kind
    size: int
    wanted: str
    table: RuleTable[None]
    request: RequestHead
    times: int
    """Calls per sample."""


def _case(kind: Kind, size: int, wanted: str, table: RuleTable[None], head: RequestHead) -> Case:
    priority = table.match(head).priority
    if priority != (size if wanted == "last" else 0):
        raise AssertionError(f"{size} x {kind.name}: rule {priority} answered the request that is for {wanted}")
    times = 1
    while (taken := _seconds(table, head, times)) < _SAMPLE_SECONDS / 4:
        times *= 2
    return Case(kind, size, wanted, table, head, max(1, round(times * _SAMPLE_SECONDS / taken)))


def _seconds(table: RuleTable[None], head: RequestHead, times: int) -> float:
    """The thread's CPU time, so that other programs on the core do not count."""
    match = table.match
    asked = range(times)
    start = time.thread_time_ns()
    for _ in asked:
        match(head)
    return (time.thread_time_ns() - start) / 1e9


def cases(sizes: Sequence[int]) -> list[Case]:
    """Every kind in every size, with both requests."""
    made = []
    for kind in KINDS:
        for size in sizes:
            table = table_of(kind, size)
            # The number after the last is a request just like the others, whose rule is missing.
            made += [_case(kind, size, wanted, table, kind.request(number)) for wanted, number in (("last", size - 1), ("none", size))]
    return made


def measure(every: Sequence[Case], rounds: int) -> list[list[float]]:
    """Nanoseconds per match of each case in each round. Cases take turns, so that disturbances affect all of them alike."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        return [[_seconds(case.table, case.request, case.times) / case.times * 1e9 for case in every] for _ in range(rounds)]
    finally:
        gc.enable()
        gc.unfreeze()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the results and the verdicts."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rule_table", description="Measure what it costs to find the rule for a request."
    )
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="how often each case is measured (default: %(default)s)")
    options = parser.parse_args(arguments)
    every = cases(SIZES)
    samples = measure(every, options.rounds)
    fewest = {(case.kind.name, case.wanted): place for place, case in enumerate(every) if case.size == SIZES[0]}
    print(f"{'rules':<18} {'number':>7} {'request for':>12} {'ns/match':>10} {'lowest..highest':>20} {f'x {SIZES[0]} rules':>11}")
    broken = []
    for place, case in enumerate(every):
        first = fewest[case.kind.name, case.wanted]
        times = [sample[place] for sample in samples]
        ratio = median(sample[place] / sample[first] for sample in samples)
        spread = f"{min(times):,.0f}..{max(times):,.0f}"
        print(f"{case.kind.name:<18} {case.size:>7,} {case.wanted:>12} {median(times):>10,.0f} {spread:>20} {ratio:>11.2f}")
        if case.kind.bound and case.size == BUDGET_SIZE and ratio > BUDGET:
            broken.append(f"{case.kind.name}, request for {case.wanted}: {ratio:.2f} x the cost of {SIZES[0]} rules, above {BUDGET}")
    for line in broken:
        print(f"over budget: {line}")
    if not broken:
        print(f"within budget: {BUDGET_SIZE:,} exact hosts or path prefixes cost at most {BUDGET} x {SIZES[0]}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

"""HTTP requests that need decisions: many rules, many targets, sessions, and logging."""

from __future__ import annotations

from typing import Final

from benchmarks.bench import Case
from benchmarks.peers import Setup
from benchmarks.peers.peer import rule_path
from benchmarks.peers.python import ALGORITHMS, STICKINESS
from benchmarks.scenarios.scenario import Scenario, of_cases
from benchmarks.work import Requests

__all__ = ("SCENARIOS",)

_RULES = (10, 100, 1_000, 10_000)
_TARGETS = (3, 100, 1_000)
_MANY = 1_000
"""Targets, to each of which every proxy keeps a connection: too many for all algorithms at the same time."""


def _targets(count: int, algorithm: str) -> Case:
    setup = Setup(targets=count, algorithm=algorithm)
    return Case(f"{count}/{algorithm}", f"{count:,} targets, {algorithm}", Requests(), setup)


def _sticky(kind: str) -> list[Case]:
    setup = Setup(sticky=kind)
    return [
        Case(f"{kind}/new", f"{kind}, a new session each", Requests(), setup),
        Case(f"{kind}/known", f"{kind}, known sessions", Requests(cookies=True), setup),
    ]


SCENARIOS: Final = (
    Scenario(
        "rules",
        "rules of path prefixes, and a request that only the last one matches",
        of_cases([Case(f"{count}", f"{count:,} rules", Requests(path=f"{rule_path(count - 1)}x"), Setup(rules=count)) for count in _RULES]),
    ),
    Scenario(
        "targets",
        "3 to 1,000 targets, with each algorithm",
        of_cases(
            *([_targets(count, algorithm) for algorithm in ALGORITHMS] for count in _TARGETS if count < _MANY),
            *([_targets(count, algorithm)] for count in _TARGETS if count >= _MANY for algorithm in ALGORITHMS),
        ),
    ),
    Scenario(
        "sticky",
        "sessions kept on their target, or on their group, by cookie",
        of_cases([Case("off", "no stickiness", Requests()), *(case for kind in STICKINESS for case in _sticky(kind))]),
    ),
)

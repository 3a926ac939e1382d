"""Which eligible target gets a request that no session binds: one file for each algorithm (docs/alb.md 5.1)."""

from __future__ import annotations

from typing import Any

from albkit.clock import Clock
from albkit.model.consistent_hash import ConsistentHash
from albkit.policy.algorithms.algorithm import BuiltInAlgorithm
from albkit.policy.algorithms.by_traffic import ByTraffic
from albkit.policy.algorithms.consistent_hashing import ConsistentHashing
from albkit.policy.algorithms.ip_hash import IpHash
from albkit.policy.algorithms.least_outstanding_requests import LeastOutstandingRequests
from albkit.policy.algorithms.least_response_time import LeastResponseTime
from albkit.policy.algorithms.round_robin import RoundRobin
from albkit.policy.algorithms.weighted_random import WeightedRandom

__all__ = ("ALGORITHMS", "algorithm_for", "counts_requests")

ALGORITHMS: dict[str, type[BuiltInAlgorithm]] = {
    "by_traffic": ByTraffic,
    "consistent_hash": ConsistentHashing,
    "ip_hash": IpHash,
    "least_outstanding_requests": LeastOutstandingRequests,
    "least_response_time": LeastResponseTime,
    "round_robin": RoundRobin,
    "weighted_random": WeightedRandom,
}
"""The built-in algorithms by the name in `TargetGroup(algorithm=...)`. CONTRIBUTING.md says what a new one needs."""


def algorithm_for(setting: Any, clock: Clock) -> Any:
    """Return the algorithm that a target group's setting describes.

    Args:
        setting: `TargetGroup.algorithm`: a name, `ConsistentHash(...)`, or an object of the program's own, which is returned as it is.
        clock: The source of time and random numbers. Chance decides which target an algorithm begins with, so that load balancers that
            start at the same time do not all begin with the same target.
    """
    if isinstance(setting, ConsistentHash):
        return ConsistentHashing(clock, setting)
    return ALGORITHMS[setting](clock) if isinstance(setting, str) else setting


def counts_requests(algorithm: Any) -> bool:
    """Return whether `started` and `finished` of an algorithm must be called for every request.

    A built-in algorithm that overrides neither of them does not need the calls. Nothing is known of an object of the program's own.
    """
    kind = type(algorithm)
    if not issubclass(kind, BuiltInAlgorithm):
        return True
    return kind.started is not BuiltInAlgorithm.started or kind.finished is not BuiltInAlgorithm.finished

"""Which of the eligible targets gets a request that no session binds (alb-reference 5.1).

Each keeps what it needs ready, so that choosing among a thousand targets is no scan. Weights are the targets' own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from albkit.model.consistent_hash import ConsistentHash
from albkit.policy.algorithms.by_traffic import ByTraffic
from albkit.policy.algorithms.hashing import Hashing, client_address, request_target
from albkit.policy.algorithms.least_outstanding_requests import LeastOutstandingRequests
from albkit.policy.algorithms.least_response_time import LeastResponseTime
from albkit.policy.algorithms.round_robin import RoundRobin
from albkit.policy.algorithms.weighted_random import WeightedRandom

__all__ = ("algorithm_for",)

_NAMED: dict[str, Callable[[], Any]] = {
    "consistent_hash": lambda: algorithm_for(ConsistentHash(), float),
    "ip_hash": lambda: Hashing(client_address),
    "least_outstanding_requests": LeastOutstandingRequests,
    "round_robin": RoundRobin,
    "weighted_random": WeightedRandom,
}


def algorithm_for(setting: Any, now: Callable[[], float]) -> Any:
    """The algorithm that a target group's setting names; an object of the user's own is one already.

    Args:
        setting: `TargetGroup.algorithm`.
        now: The monotonic clock.
    """
    if setting == "least_response_time":
        return LeastResponseTime(now)
    if setting == "by_traffic":
        return ByTraffic(now)
    if isinstance(setting, ConsistentHash):
        return Hashing(setting.key if setting.key is not None else request_target, setting.load_bound)
    return _NAMED[setting]() if isinstance(setting, str) else setting

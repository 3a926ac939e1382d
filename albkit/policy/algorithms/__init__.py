"""Which of the eligible targets gets a request that no session binds (docs/alb.md 5.1).

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
from albkit.policy.weights import Chance

__all__ = ("algorithm_for",)

_NAMED: dict[str, Callable[[Callable[[], float], Chance], Any]] = {
    "by_traffic": ByTraffic,
    "consistent_hash": lambda now, chance: algorithm_for(ConsistentHash(), now, chance),
    "ip_hash": lambda _now, _chance: Hashing(client_address),
    "least_outstanding_requests": lambda _now, chance: LeastOutstandingRequests(chance),
    "least_response_time": lambda now, _chance: LeastResponseTime(now),
    "round_robin": lambda _now, chance: RoundRobin(chance),
    "weighted_random": lambda _now, _chance: WeightedRandom(),
}


def algorithm_for(setting: Any, now: Callable[[], float], chance: Chance = float) -> Any:
    """The algorithm that a target group's setting names; an object of the user's own is one already.

    Args:
        setting: `TargetGroup.algorithm`.
        now: The monotonic clock.
        chance: Where it begins, so that of many load balancers that are started not all begin with the same target; with the first
            one where it is not given.
    """
    if isinstance(setting, ConsistentHash):
        return Hashing(setting.key if setting.key is not None else request_target, setting.load_bound)
    return _NAMED[setting](now, chance) if isinstance(setting, str) else setting

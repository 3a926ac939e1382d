"""The algorithm `consistent_hash`."""

from __future__ import annotations

from math import ceil

from albkit.clock import Clock
from albkit.model.consistent_hash import ConsistentHash
from albkit.model.message import RequestHead
from albkit.policy.algorithms.hashing import Hashing
from albkit.state.target import TargetState

__all__ = ("ConsistentHashing", "request_target")


def request_target(request: RequestHead) -> str:
    """Return what the request asks for: host, path and query."""
    return f"{request.host}{request.path}?{request.query_string}"


class ConsistentHashing(Hashing):
    """Chooses the target that the request's key belongs to, or a later one on the ring while that has more than its share of requests.

    This is consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, https://arxiv.org/abs/1608.01350).

    Args:
        _clock: Not used: all algorithms are made with the same argument.
        setting: The key and the bound; by default those of `ConsistentHash()`.
    """

    def __init__(self, _clock: Clock, setting: ConsistentHash | None = None) -> None:
        setting = setting if setting is not None else ConsistentHash()
        super().__init__(setting.key if setting.key is not None else request_target)
        self._bound = setting.load_bound
        self._outstanding = 0
        """The outstanding requests of all targets that have joined."""
        self._weight = 0
        """The sum of their weights."""

    def started(self, target: TargetState) -> None:
        if target in self._targets:
            self._outstanding += 1

    def finished(self, target: TargetState) -> None:
        if target in self._targets:
            self._outstanding -= 1

    def _settle(self) -> None:
        super()._settle()
        self._outstanding = sum(target.outstanding for target in self._targets)
        self._weight = sum(target.weight for target in self._targets)

    def _accepts(self, target: TargetState) -> bool:
        """Return whether one more request keeps the target within the bound.

        At least one target always does: not all can be above their share of the sum.
        """
        if self._bound is None:
            return True
        share = target.weight / self._weight if self._weight else 1 / len(self._targets)
        return target.outstanding < ceil(self._bound * (self._outstanding + 1) * share)

"""What the algorithms that hash a key of the request share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from albkit.model.message import RequestHead
from albkit.policy.algorithms.algorithm import BuiltInAlgorithm
from albkit.policy.hash_ring import HashRing, place_of
from albkit.policy.weights import Chance
from albkit.state.target import TargetState

__all__ = ("Hashing", "Key")

Key = Callable[[RequestHead], str | None]


class Hashing(BuiltInAlgorithm):
    """Chooses the target that is next to the request's key on a hash ring.

    Args:
        key: Returns the key of a request. A request whose key is `None` goes to any target.
    """

    def __init__(self, key: Key) -> None:
        self._key = key
        self._ring = HashRing()
        self._targets: dict[TargetState, None] = {}
        self._stale = False
        """Whether the ring does not match `_targets` yet. It is updated with the next choice, not with every change."""

    def joined(self, target: TargetState) -> None:
        self._targets[target] = None
        self._stale = True

    def left(self, target: TargetState) -> None:
        self._targets.pop(target, None)
        self._stale = True

    def choose(self, candidates: Sequence[TargetState], chance: Chance) -> TargetState | None:
        """Return a target by chance: `choose_for` is called instead if there is a request."""
        return self._find(self._ring.anywhere(chance()), candidates)

    def choose_for(self, request: RequestHead, candidates: Sequence[TargetState], chance: Chance) -> TargetState | None:
        """Return the target that the request's key belongs to."""
        key = self._key(request)
        return self._find(self._ring.anywhere(chance()) if key is None else place_of(key), candidates)

    def _find(self, place: int, candidates: Sequence[TargetState]) -> TargetState | None:
        if self._stale:
            self._stale = False
            self._settle()
        if len(candidates) == len(self._targets):
            return self._ring.find(place, self._accepts)
        # A retry.
        among = set(candidates)
        found = self._ring.find(place, lambda target: target in among and self._accepts(target))
        found = found if found is not None else self._ring.find(place, among.__contains__)
        # The ring has no points of targets of weight 0.
        return found if found is not None else next(iter(candidates), None)

    def _settle(self) -> None:
        """Update what depends on the targets and their weights."""
        self._ring.settle(self._targets)

    def _accepts(self, _target: TargetState) -> bool:
        """Return whether a target can take one more request; if not, the request goes to the next target on the ring."""
        return True

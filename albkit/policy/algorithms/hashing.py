"""The target that a key of the request belongs to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from albkit.model.message import RequestHead
from albkit.policy.hash_ring import HashRing, place_of
from albkit.policy.weights import Chance
from albkit.state.target import TargetState

__all__ = ("Hashing", "client_address", "request_target")

Key = Callable[[RequestHead], str | None]


def client_address(request: RequestHead) -> str:
    """The client's address, without its port."""
    return request.client.host


def request_target(request: RequestHead) -> str:
    """What is asked for: host, path and query."""
    return f"{request.host}{request.path}?{request.query_string}"


class Hashing:
    """The target next to the request's key on a ring, and the one behind that while it has more than its share to do.

    Args:
        key: Gives the key; a request for which it is `None` goes anywhere.
        load_bound: How many requests a target may have outstanding, in relation to the mean by weight; `None` for as many as come.
    """

    def __init__(self, key: Key, load_bound: float | None = None) -> None:
        self._key = key
        self._bound = load_bound
        self._ring = HashRing()
        self._targets: dict[TargetState, None] = {}
        self._stale = False
        self._outstanding = 0
        self._weight = 0

    def joined(self, target: TargetState) -> None:
        self._targets[target] = None
        self._stale = True

    def left(self, target: TargetState) -> None:
        self._targets.pop(target, None)
        self._stale = True

    def started(self, target: TargetState) -> None:
        if target in self._targets:
            self._outstanding += 1

    def finished(self, target: TargetState) -> None:
        if target in self._targets:
            self._outstanding -= 1

    def choose(self, candidates: Sequence[TargetState], chance: Chance) -> TargetState | None:
        """One by chance: where nothing is known of a request."""
        return self._find(self._ring.anywhere(chance()), candidates)

    def choose_for(self, request: RequestHead, candidates: Sequence[TargetState], chance: Chance) -> TargetState | None:
        """The one that the request's key belongs to."""
        key = self._key(request)
        return self._find(self._ring.anywhere(chance()) if key is None else place_of(key), candidates)

    def _find(self, place: int, candidates: Sequence[TargetState]) -> TargetState | None:
        if self._stale:
            self._settle()
        if len(candidates) != len(self._targets):
            among = set(candidates)
            found = self._ring.find(place, lambda target: target in among and (self._bound is None or self._has_room(target)))
            found = found if found is not None else self._ring.find(place, among.__contains__)
            return found if found is not None else next(iter(candidates), None)
        return self._ring.find(place, _anyone if self._bound is None else self._has_room)

    def _settle(self) -> None:
        self._stale = False
        self._ring.settle(self._targets)
        self._outstanding = sum(target.outstanding for target in self._targets)
        self._weight = sum(target.weight for target in self._targets)

    def _has_room(self, target: TargetState) -> bool:
        """Whether one more keeps the target within the bound; of all targets together at least one always has room."""
        share = target.weight / self._weight if self._weight else 1 / len(self._targets)
        return target.outstanding < ceil((self._bound or 1) * (self._outstanding + 1) * share)


def _anyone(_: TargetState) -> bool:
    return True

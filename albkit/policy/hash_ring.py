"""A consistent hash ring: assigns keys to targets so that few keys move when a target is added or removed.

Every target has points on a circle of 64 bits, as many as its weight says. A key belongs to the target with the next point on the circle.
Points depend on the addresses and weights of the targets only: load balancers with the same targets agree, before and after a restart.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b

from albkit.policy.weights import weights_of
from albkit.state.target import TargetState

__all__ = ("HashRing", "place_of")

_POINTS_PER_WEIGHT = ((8, 100), (64, 12), (999, 1))
"""Pairs: the highest weight in the group, and the points for a weight of 1. The shares of equal targets then differ by about 10 %.

There are only three steps, so that the points of the other targets rarely change when a heavier target is added. If they changed with the
highest weight itself, keys would move between targets that did not change."""
_POINT_BYTES = 8
_POINTS_PER_DIGEST = 8
_CIRCLE = 2**64
_FEW = 16
"""Up to this number, targets are removed one by one. For more it is cheaper to go through all points."""


def place_of(key: str) -> int:
    """Return the place of a key on the circle."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_POINT_BYTES).digest())


def _points_of(address: str, count: int) -> list[int]:
    """Return the first `count` points of a target. With a higher weight, a target keeps these points and gets more."""
    points: list[int] = []
    for number in range(-(-count // _POINTS_PER_DIGEST)):
        digest = blake2b(f"{address}#{number}".encode("utf-8", "surrogatepass"), digest_size=_POINT_BYTES * _POINTS_PER_DIGEST).digest()
        points += (int.from_bytes(digest[start : start + _POINT_BYTES]) for start in range(0, len(digest), _POINT_BYTES))
    return points[:count]


class HashRing:
    """The points of targets on a circle."""

    __slots__ = ("_counts", "_owners", "_points")

    def __init__(self) -> None:
        self._points: list[int] = []
        self._owners: dict[int, TargetState] = {}
        self._counts: dict[TargetState, int] = {}

    def settle(self, members: Iterable[TargetState]) -> None:
        """Set the targets. Only the points of targets that are new, removed or have another weight are computed."""
        members = tuple(members)
        weights = weights_of(members)
        heaviest = max(weights, default=1)
        each = next(points for most, points in _POINTS_PER_WEIGHT if heaviest <= most)
        counts = {member: each * weight for member, weight in zip(members, weights, strict=True) if weight}
        gone = [member for member, count in self._counts.items() if counts.get(member) != count]
        new = [member for member, count in counts.items() if self._counts.get(member) != count]
        self._take_out(gone)
        for member in new:
            for point in _points_of(member.address, counts[member]):
                # If two targets have the same point, which is next to impossible, the first one keeps it.
                if self._owners.setdefault(point, member) is member:
                    self._points.append(point)
        if new:
            self._points.sort()
        self._counts = counts

    def _take_out(self, gone: Sequence[TargetState]) -> None:
        points, owners = self._points, self._owners
        if len(gone) > _FEW:
            out = set(gone)
            self._points = [point for point in points if owners[point] not in out]
            self._owners = {point: owners[point] for point in self._points}
            return
        for member in gone:
            for point in _points_of(member.address, self._counts[member]):
                if owners.get(point) is member:
                    del owners[point]
                    del points[bisect_left(points, point)]

    def find(self, place: int, fits: Callable[[TargetState], bool]) -> TargetState | None:
        """Return the first target from a place on that fits; `None` if none does. Asks `fits` at most once for each target."""
        points = self._points
        owners = self._owners
        start = bisect_left(points, place)
        refused: set[TargetState] = set()
        for index in range(start, start + len(points)):
            member = owners[points[index - len(points)] if index >= len(points) else points[index]]
            if member in refused:
                continue
            if fits(member):
                return member
            refused.add(member)
        return None

    @staticmethod
    def anywhere(chance: float) -> int:
        """Return a place for a random number of [0, 1)."""
        return int(chance * _CIRCLE)

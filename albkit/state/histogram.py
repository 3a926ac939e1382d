"""A histogram of durations that is cheap to add to: how many were how long, without keeping each one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import ceil, sqrt
from typing import Final

__all__ = ("BOUNDS", "COARSE_BOUNDS", "Histogram")


def _bounds() -> tuple[float, ...]:
    # Two neighbors differ by at most 20 %. The middle of a bucket is then at most 9.6 % away from each value in it.
    digits = ("1", "1.2", "1.42", "1.7", "2", "2.25", "2.5", "3", "3.6", "4.3", "5", "6", "7.2", "8.5")
    bounds = [float(f"{digit}e{power}") for power in range(-4, 3) for digit in digits]
    return tuple(bound for bound in bounds if bound <= _LONGEST)


_LONGEST: Final = 300.0
BOUNDS: Final = _bounds()
"""The upper bounds of the buckets in seconds, from 0.1 ms to five minutes. One more bucket holds what takes longer."""
COARSE_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Some of `BOUNDS`, for formats in which each bucket costs a line."""
_COARSE: Final = tuple(BOUNDS.index(bound) for bound in COARSE_BOUNDS)
_EMPTY: Final[list[int]] = []
"""The buckets of every histogram without values. It stays empty."""


class Histogram:
    """How often durations of which length occurred. Durations are seconds.

    An empty one takes a few dozen bytes, for there may be ten thousand targets that are idle.
    """

    __slots__ = ("buckets", "sum")

    def __init__(self) -> None:
        self.buckets = _EMPTY
        """How many durations each bucket holds; an empty list if there are none."""
        self.sum = 0.0
        """The sum of all durations."""

    # On the path of each request.
    def observe(self, seconds: float) -> None:
        """Add one duration."""
        try:
            # An upper bound belongs to its bucket, as in Prometheus.
            self.buckets[bisect_left(BOUNDS, seconds)] += 1
        except IndexError:
            self.buckets = [0] * (len(BOUNDS) + 1)
            self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    @property
    def count(self) -> int:
        """How many durations were added."""
        return sum(self.buckets)

    @property
    def mean(self) -> float | None:
        """The mean duration; `None` if there are none."""
        count = self.count
        return self.sum / count if count else None

    @property
    def p50(self) -> float | None:
        """The median, as `quantile(0.5)`."""
        return self.quantile(0.5)

    @property
    def p90(self) -> float | None:
        """As `quantile(0.9)`."""
        return self.quantile(0.9)

    @property
    def p99(self) -> float | None:
        """As `quantile(0.99)`."""
        return self.quantile(0.99)

    def quantile(self, q: float) -> float | None:
        """Return the duration that a fraction `q` of all durations does not exceed; `None` if there are none.

        It is at most 10 % off for durations between 0.1 ms and five minutes. Shorter ones count as 0.1 ms and longer ones as five minutes.

        Raises:
            ValueError: `q` is not within 0 to 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is within 0 to 1, not {q}")
        cumulative = list(accumulate(self.buckets))
        if not cumulative or not cumulative[-1]:
            return None
        bucket = bisect_left(cumulative, max(1, ceil(q * cumulative[-1])))
        if bucket == 0:
            return BOUNDS[0]
        if bucket == len(BOUNDS):
            return BOUNDS[-1]
        return sqrt(BOUNDS[bucket - 1] * BOUNDS[bucket])

    def cumulative(self) -> list[int]:
        """Return how many durations are within each of `COARSE_BOUNDS`; the last number is how many there are at all."""
        cumulative = list(accumulate(self.buckets)) or [0] * (len(BOUNDS) + 1)
        return [*(cumulative[place] for place in _COARSE), cumulative[-1]]

    def add(self, other: Histogram) -> None:
        """Add all durations of another histogram to this one."""
        if other.buckets:
            own = self.buckets
            self.buckets = [one + more for one, more in zip(own, other.buckets, strict=True)] if own else other.buckets.copy()
            self.sum += other.sum

    def snapshot(self) -> Histogram:
        """Return a copy, which does not change any more."""
        return Histogram.total((self,))

    def minus(self, earlier: Histogram) -> Histogram:
        """Return what was added since an earlier snapshot, as a new histogram.

        If the snapshot has values that this one lacks, it is of another histogram, and does not count.
        """
        if not earlier.buckets or any(one < before for one, before in zip(self.buckets or earlier.buckets, earlier.buckets, strict=True)):
            return self.snapshot()
        new = Histogram()
        if self.buckets:
            new.buckets = [one - before for one, before in zip(self.buckets, earlier.buckets, strict=True)]
            new.sum = max(0.0, self.sum - earlier.sum)
        return new

    @classmethod
    def total(cls, parts: Iterable[Histogram]) -> Histogram:
        """Return the sum of histograms as a new one. Much faster than to `add` each."""
        new = cls()
        used: Sequence[Histogram] = [part for part in parts if part.buckets]
        if used:
            new.buckets = list(map(sum, zip(*(part.buckets for part in used), strict=True)))
            new.sum = sum([part.sum for part in used])
        return new

    def __repr__(self) -> str:
        return f"<Histogram count={self.count} p50={self.p50} p99={self.p99}>"

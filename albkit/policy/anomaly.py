"""Detects targets that fail more often than their peers, and computes their share of requests (docs/alb.md 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, lgamma

__all__ = ("FEWEST_TARGETS", "LOWEST_SHARE", "next_share", "outliers")

FEWEST_TARGETS = 3
"""With fewer healthy targets, there are not enough peers to compare with (docs/alb.md 5.2)."""
LOWEST_SHARE = 0.05
"""The smallest share of an anomalous target. It still gets some requests, so that its recovery can be noticed."""
_FEWEST_TRIES = 5
_SMALLEST_DIFFERENCE = 0.05
_CHANCE = 0.001
"""A difference counts if it would occur by chance less often than this."""
_STEP_UP = 0.1


def outliers(tries: Sequence[tuple[int, int]]) -> list[bool | None]:
    """Decide for each target whether its error rate stands out from that of all others together.

    Args:
        tries: For each target, how many requests it had, and how many of them failed.

    Returns:
        For each target `True` or `False`, or `None` if there were too few requests to decide.
    """
    all_tries = sum(count for count, _ in tries)
    all_errors = sum(errors for _, errors in tries)
    return [_stands_out(count, errors, all_tries - count, all_errors - errors) for count, errors in tries]


def _stands_out(count: int, errors: int, peers_count: int, peers_errors: int) -> bool | None:
    if count < _FEWEST_TRIES or peers_count < _FEWEST_TRIES:
        return None
    if errors / count - peers_errors / peers_count < _SMALLEST_DIFFERENCE:
        return False
    return _by_chance(errors, count, errors + peers_errors, count + peers_count) < _CHANCE


def _by_chance(errors: int, count: int, all_errors: int, all_count: int) -> float:
    """The probability that a target like all others has this many errors or more (Fisher's exact test, one-sided).

    The test is exact because errors are few. An approximation for large numbers would report a quiet target after its second error.
    """
    log = _ways(count, errors) + _ways(all_count - count, all_errors - errors) - _ways(all_count, all_errors)
    term = total = exp(log)
    for more in range(errors, min(count, all_errors)):
        term *= (count - more) * (all_errors - more) / ((more + 1) * (all_count - count - all_errors + more + 1))
        total += term
        # The terms fall faster than geometrically from here on, so the rest is negligible.
        if term < total * 1e-9:
            break
    return total


def _ways(count: int, chosen: int) -> float:
    """The logarithm of a binomial coefficient. The coefficient itself would exceed a float."""
    return lgamma(count + 1) - lgamma(chosen + 1) - lgamma(count - chosen + 1)


def next_share(share: float, *, anomalous: bool) -> float:
    """The share for the next few seconds: halved while the target is anomalous, afterwards increased step by step."""
    return max(LOWEST_SHARE, share / 2) if anomalous else min(1.0, share + _STEP_UP)

"""Which targets fail more often than their peers, and what share of requests they are left (docs/alb.md 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, lgamma

__all__ = ("FEWEST_TARGETS", "LOWEST_SHARE", "next_share", "outliers")

FEWEST_TARGETS = 3
"""Healthy targets without which there are no peers to compare with (docs/alb.md 5.2)."""
LOWEST_SHARE = 0.05
"""What an anomalous target is left of its share, so that it shows when it is well again."""
_FEWEST_TRIES = 5
_SMALLEST_DIFFERENCE = 0.05
_CHANCE = 0.001
"""A difference that chance alone gives less often than this is one."""
_STEP_UP = 0.1


def outliers(tries: Sequence[tuple[int, int]]) -> list[bool | None]:
    """Of each target whether its share of errors stands out from that of all others together.

    Args:
        tries: Of each target how many requests it had, and how many of them it failed.

    Returns:
        For each `True` or `False`; `None` where there were too few requests to tell.
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
    """How likely so many errors or more meet a target that is like all others (Fisher's exact test, one-sided).

    An exact one, because errors are few: what holds for many would take every second error of a quiet target for an anomaly.
    """
    log = _ways(count, errors) + _ways(all_count - count, all_errors - errors) - _ways(all_count, all_errors)
    term = total = exp(log)
    for more in range(errors, min(count, all_errors)):
        term *= (count - more) * (all_errors - more) / ((more + 1) * (all_count - count - all_errors + more + 1))
        total += term
        if term < total * 1e-9:
            break
    return total


def _ways(count: int, chosen: int) -> float:
    """The logarithm of in how many ways so many can be chosen."""
    return lgamma(count + 1) - lgamma(chosen + 1) - lgamma(count - chosen + 1)


def next_share(share: float, *, anomalous: bool) -> float:
    """The share for the next few seconds: half as much while a target is anomalous, then up again in steps."""
    return max(LOWEST_SHARE, share / 2) if anomalous else min(1.0, share + _STEP_UP)

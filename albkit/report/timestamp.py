"""Moments in logs of which most lines are seconds apart. The access log has a faster way, for thousands of lines per second."""

from __future__ import annotations

import time
from functools import lru_cache

__all__ = ("timestamp",)


def timestamp(moment: float) -> str:
    """Format a moment in seconds since 1970 in the form of ISO 8601, with microseconds, in UTC."""
    second = int(moment // 1)
    return f"{_text(second)}{int((moment - second) * 1_000_000):06}Z"


@lru_cache(maxsize=4)
def _text(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))

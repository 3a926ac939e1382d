"""Divides the file descriptors of the process between sockets and everything else."""

from __future__ import annotations

import socket
import sys

try:
    import resource
except ImportError:  # Windows has no such limit.
    resource = None  # type: ignore[assignment]

__all__ = ("Descriptors",)

_SMALLEST_RESERVE = 64
_LARGEST_RESERVE = 512
_RESERVE_DIVISOR = 10


class Descriptors:
    """How many file descriptors may be used for what. Measured once, when the load balancer starts.

    Descriptors that are open at that time belong to the program. Of the limit (`ulimit -n`), a tenth is a reserve, but at least 64 and at
    most 512: for what the program opens later, and for listeners, health checks, DNS queries and TLS files. The rest is for connections
    with clients and targets.
    """

    def __init__(self) -> None:
        limit = _limit()
        with socket.socket() as lowest:
            # POSIX: a new descriptor gets the lowest free number. So at least this many are open.
            taken = lowest.fileno()
        reserve = min(max(_SMALLEST_RESERVE, limit // _RESERVE_DIVISOR), _LARGEST_RESERVE)
        self.limit = limit
        # At least half of what is free: with a tiny limit the reserve must not leave nothing for sockets.
        self.for_sockets = max(limit - taken - reserve, (limit - taken) // 2)
        """For connections with clients and targets together."""
        self.for_checks = reserve // 4
        """Health checks that may run at the same time no matter how many sockets are open."""
        self.highest = limit - min(reserve, limit - taken) // 2
        """A new descriptor with this number or a higher one shows that something, maybe the program, is using up the reserve."""


def _limit() -> int:
    if resource is None:
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft

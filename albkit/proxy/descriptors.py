"""How many file descriptors there are for sockets, and what is left to others."""

from __future__ import annotations

import socket
import sys

try:
    import resource
except ImportError:  # Windows has no such limit.
    resource = None  # type: ignore[assignment]

__all__ = ("Descriptors",)

_LEAST_RESERVE = 64
_MOST_RESERVE = 512
_PART = 10


class Descriptors:
    """What this process may open, divided when the load balancer starts.

    What was open before is the program's own. A tenth of the limit, 64 at least and 512 at most, is a reserve: for what the program opens
    later, and for listeners, health checks, queries to name servers and files for TLS. All the rest is for clients and targets.
    """

    def __init__(self) -> None:
        limit = _limit()
        with socket.socket() as lowest:
            # The kernel gives the lowest number that is free: at least so many are taken.
            taken = lowest.fileno()
        reserve = min(max(_LEAST_RESERVE, limit // _PART), _MOST_RESERVE)
        self.limit = limit
        self.for_sockets = max(limit - taken - reserve, (limit - taken) // 2)
        """For connections of clients and to targets together."""
        self.for_checks = reserve // 4
        """So many health checks may go on at a time however many sockets are open."""
        self.highest = limit - min(reserve, limit - taken) // 2
        """A new descriptor of this number, or above it, says that the reserve is going, whoever takes it."""


def _limit() -> int:
    if resource is None:
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft

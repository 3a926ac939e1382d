"""The connections to one target: those that are open, and those that are idle."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, islice
from typing import Final

from albkit.model.message import ClientAddress
from albkit.proxy.target.http1_connection import Http1TargetConnection
from albkit.proxy.target.http2_connection import Http2TargetConnection
from albkit.proxy.target.pooled_connection import PooledConnection
from albkit.proxy.target.shared_connections import SharedConnections

__all__ = ("LEAST_KEPT", "TargetConnections")

LEAST_KEPT: Final = 1024
"""Idle connections per target that are always kept, unless `Limits.idle_target_connections` sets another number."""
_AT_ONCE: Final = 64
"""Surplus connections that one round of the sweep closes per target, so that the end of a traffic peak does not block the event loop."""


class TargetConnections:
    """The connections to one target. It exists while there is one."""

    __slots__ = ("_most", "_most_before", "idle", "idle_shared", "open", "shared")

    def __init__(self) -> None:
        self.open: set[PooledConnection] = set()
        self.idle: dict[Http1TargetConnection, None] = {}
        """The most recently used one comes last and is lent first. If there is less to do, the others stay unused until they time out."""
        self.idle_shared: dict[Http2TargetConnection, None] = {}
        """Connections without streams, the most recently used one last."""
        self.shared: Mapping[ClientAddress | None, SharedConnections] | None = None
        """Lends streams of HTTP/2 connections, by the client that they were opened for (PROXY protocol) or `None`."""
        self._most = self._most_before = 0
        """The most connections in use at a time, in this minute and in the one before; counted only if there are more than are always
        kept."""

    @property
    def idle_count(self) -> int:
        """How many connections have no exchange."""
        return len(self.idle) + len(self.idle_shared)

    def is_full(self, most: int | None) -> bool:
        """Whether a connection that is about to become idle is one too many to keep.

        Args:
            most: `Limits.idle_target_connections`; `None` for as many as were in use at a time in the last minute.
        """
        idle = self.idle_count
        if most is not None:
            return idle >= most
        self._most = max(self._most, len(self.open) - idle)
        return idle >= self._worth_keeping

    @property
    def _worth_keeping(self) -> int:
        return max(LEAST_KEPT, self._most, self._most_before)

    def turn_minute(self) -> None:
        """Start counting a new minute."""
        self._most, self._most_before = len(self.open) - self.idle_count, self._most

    def oldest_idle(self, count: int) -> list[PooledConnection]:
        """At most so many of the idle connections, the least recently used ones first."""
        return list(islice(chain(self.idle, self.idle_shared), count))

    def surplus(self) -> list[PooledConnection]:
        """Some of the idle connections that are too many by now."""
        return self.oldest_idle(min(_AT_ONCE, max(0, self.idle_count - self._worth_keeping)))

"""Bounds the bytes of all HTTP/2 streams that wait until a peer opens a window."""

from __future__ import annotations

from typing import Protocol

from albkit.wire.http2.frames import ErrorCode, Http2Error

__all__ = ("BufferBudget", "BuffersFull", "Holder")


class BuffersFull(Http2Error):
    """Too many bytes wait in all connections together, and most of them in this one."""


class Holder(Protocol):
    """A connection whose streams hold bytes."""

    def fail(self, error: Http2Error) -> None:
        """Close the connection, and release its bytes."""


class BufferBudget:
    """Adds up the bytes that wait in all connections of a load balancer. Above the limit, it closes the connection that holds most.

    One stream holds little, because the load balancer stops reading from the other side. But a peer can open many streams and
    connections and read nothing.

    Args:
        most: The limit, in bytes (`Limits.http2_buffered_bytes`).
    """

    __slots__ = ("_held", "_most", "total")

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[Holder, int] = {}
        self.total = 0
        """Bytes that wait now."""

    def change(self, holder: Holder, size: int) -> None:
        """Add `size` bytes to those that a connection holds; a negative size takes some away.

        Call this last: it may close the connection, or another one.
        """
        before = self._held.get(holder, 0)
        # A connection that was released holds nothing, whatever its streams still give back.
        held = max(0, before + size)
        self.total += held - before
        if held:
            self._held[holder] = held
        else:
            self._held.pop(holder, None)
        while size > 0 and self.total > self._most and self._held:
            largest = max(self._held, key=self._held.__getitem__)
            self.release(largest)
            largest.fail(BuffersFull(ErrorCode.ENHANCE_YOUR_CALM, f"more than {self._most} bytes wait (Limits.http2_buffered_bytes)"))

    def release(self, holder: Holder) -> None:
        """Forget everything that a connection holds, because it is closed."""
        self.total -= self._held.pop(holder, 0)

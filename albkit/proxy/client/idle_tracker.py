"""How long a connection has been idle."""

from __future__ import annotations

from albkit.proxy.downstream import Upstream

__all__ = ("IdleTracker",)


class IdleTracker:
    """Measures for how long no byte has moved between a client and the load balancer, or between its target and the load balancer.

    Nothing is noted per byte. Each sweep compares the connection with what it was at the last sweep."""

    __slots__ = ("_since", "unsent")

    def __init__(self) -> None:
        self._since = 0.0
        self.unsent = 0
        """Bytes that waited to be sent at the last sweep."""

    def seconds(self, now: float, unsent: int, upstream: Upstream | None, *, received: bool) -> float:
        """Seconds for which nothing has moved. To be called once per sweep.

        Args:
            now: The sweep's time.
            unsent: Bytes that wait to be sent to the client. A change means that the client reads.
            upstream: The target's side of the exchange, if there is one. Its `active` flag is reset.
            received: Whether bytes have arrived from the client since the last sweep.
        """
        # 0.0 is the first sweep: the time before it is unknown, and does not count.
        moved = received or unsent != self.unsent or self._since == 0.0
        self.unsent = unsent
        if upstream is not None and upstream.active:
            upstream.active = False
            moved = True
        if moved:
            self._since = now
        return now - self._since

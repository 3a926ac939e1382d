"""How long nothing has moved."""

from __future__ import annotations

from albkit.proxy.downstream import Upstream

__all__ = ("IdleTracker",)


class IdleTracker:
    """Tells, sweep by sweep, for how long no byte has come or gone on a client's side or its target's."""

    __slots__ = ("_since", "_unsent")

    def __init__(self) -> None:
        self._since = 0.0
        self._unsent = 0

    def seconds(self, now: float, unsent: int, upstream: Upstream | None, *, received: bool) -> float:
        """For how long nothing has moved.

        Args:
            now: The sweep's time.
            unsent: Bytes waiting to be sent to the client: a change means that it takes some.
            upstream: The target's side of the exchange, whose mark is taken down.
            received: Whether bytes have come from the client since the last sweep.
        """
        moved = received or unsent != self._unsent or self._since == 0.0
        self._unsent = unsent
        if upstream is not None and upstream.active:
            upstream.active = False
            moved = True
        if moved:
            self._since = now
        return now - self._since

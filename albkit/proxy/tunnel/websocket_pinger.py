"""Pings one side of a WebSocket when it is silent, and decides whether it is dead (RFC 6455 section 5.5.2)."""

from __future__ import annotations

from typing import Protocol

__all__ = ("PingedSide", "Pinger")

_NONCE = 4
_NUMBER = 4


class PingedSide(Protocol):
    """One side of a tunnel."""

    @property
    def owes_pong(self) -> bool:
        """Whether the other side has pinged this one and waits for its pong."""

    @property
    def has_pending_frame(self) -> bool:
        """Whether a ping waits until the frame that is being sent to this side is complete."""

    @property
    def is_within_frame(self) -> bool:
        """Whether this side is in the middle of a frame: some endpoints would send their pong inside it."""

    def ping(self, payload: bytes) -> None:
        """Send a ping, as soon as no frame is being sent to this side."""


class Pinger:
    """Watches one side.

    The payload of a ping is a random nonce and a number, so that its pong can be told from those that are for the other side.

    Args:
        side: The side to ping.
        interval: Seconds of silence before a ping.
        timeout: Seconds of silence after it.
        nonce: Four random bytes.
        now: Monotonic, in seconds.
    """

    __slots__ = ("_answered", "_interval", "_nonce", "_ping_pending", "_pinged_at", "_sent", "_side", "_silent_since", "_timeout")

    def __init__(self, side: PingedSide, interval: float, timeout: float, nonce: bytes, now: float) -> None:
        self._side = side
        self._interval = interval
        self._timeout = timeout
        self._nonce = nonce
        self._silent_since = now
        self._pinged_at: float | None = None
        self._ping_pending = False
        self._sent = self._answered = 0

    @property
    def expects_pong(self) -> bool:
        """Whether a pong to the load balancer may still come."""
        return self._answered < self._sent

    def take_pong(self, payload: bytes) -> bool:
        """Whether a pong with this payload answers one of these pings that was not answered yet."""
        if len(payload) != _NONCE + _NUMBER or payload[:_NONCE] != self._nonce:
            return False
        number = int.from_bytes(payload[_NONCE:], "big")
        if not self._answered < number <= self._sent:
            return False
        self._answered = number
        return True

    def may_still_answer(self, now: float) -> bool:
        """Whether the side was pinged, and still has time to answer."""
        return self._pinged_at is not None and now - self._pinged_at < self._timeout

    def check(self, now: float, *, alive: bool) -> bool:
        """Ping the side if that is due. Returns whether it is dead: it was pinged and has been silent for too long.

        Args:
            now: Monotonic, in seconds.
            alive: Whether the side has shown a sign of life since the last call, or cannot, because it is not read.
        """
        if self._ping_pending:
            if self._side.has_pending_frame:
                return False
            self._ping_pending = False
            self._pinged_at = now
        if alive:
            self._silent_since = now
            self._pinged_at = None
        elif self._pinged_at is not None:
            return now - self._pinged_at >= self._timeout
        elif now - self._silent_since >= self._interval and not self._side.is_within_frame:
            self._ping(now)
        return False

    def _ping(self, now: float) -> None:
        side = self._side
        # If a pong is due anyway, an endpoint may answer only the latest ping (RFC 6455 section 5.5.3), and the other side gets none.
        if not side.owes_pong:
            self._sent += 1
            side.ping(self._nonce + self._sent.to_bytes(_NUMBER, "big"))
            if side.has_pending_frame:
                self._ping_pending = True
                return
        self._pinged_at = now

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
    def is_put_off(self) -> bool:
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

    __slots__ = ("_answered", "_asked_since", "_interval", "_nonce", "_put_off", "_quiet_since", "_sent", "_side", "_timeout")

    def __init__(self, side: PingedSide, interval: float, timeout: float, nonce: bytes, now: float) -> None:
        self._side = side
        self._interval = interval
        self._timeout = timeout
        self._nonce = nonce
        self._quiet_since = now
        self._asked_since: float | None = None
        self._put_off = False
        self._sent = self._answered = 0

    @property
    def waits(self) -> bool:
        """Whether a pong to the load balancer may still come."""
        return self._answered < self._sent

    def takes(self, payload: bytes) -> bool:
        """Whether a pong with this payload answers one of these pings that was not answered yet."""
        if len(payload) != _NONCE + _NUMBER or payload[:_NONCE] != self._nonce:
            return False
        number = int.from_bytes(payload[_NONCE:], "big")
        if not self._answered < number <= self._sent:
            return False
        self._answered = number
        return True

    def is_awaited(self, now: float) -> bool:
        """Whether the side was pinged, and still has time to answer."""
        return self._asked_since is not None and now - self._asked_since < self._timeout

    def look(self, now: float, *, heard: bool) -> bool:
        """Ping the side if that is due. Returns whether it is dead: it was pinged and has been silent for too long.

        Args:
            now: Monotonic, in seconds.
            heard: Whether anything came from it since the last call.
        """
        if self._put_off:
            if self._side.is_put_off:
                return False
            self._put_off = False
            self._asked_since = now
        if heard:
            self._quiet_since = now
            self._asked_since = None
        elif self._asked_since is not None:
            return now - self._asked_since >= self._timeout
        elif now - self._quiet_since >= self._interval and not self._side.is_within_frame:
            self._ask(now)
        return False

    def _ask(self, now: float) -> None:
        side = self._side
        # If a pong is due anyway, an endpoint may answer only the latest ping (RFC 6455 section 5.5.3), and the other side gets none.
        if not side.owes_pong:
            self._sent += 1
            side.ping(self._nonce + self._sent.to_bytes(_NUMBER, "big"))
            if side.is_put_off:
                self._put_off = True
                return
        self._asked_since = now

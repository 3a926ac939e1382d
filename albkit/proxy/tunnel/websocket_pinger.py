"""Pings one side of a WebSocket that is silent, and tells whether it is dead (RFC 6455 section 5.5.2)."""

from __future__ import annotations

from typing import Protocol

__all__ = ("PingedSide", "Pinger")

_NONCE = 4
_NUMBER = 4


class PingedSide(Protocol):
    """One side of a tunnel."""

    @property
    def owes_pong(self) -> bool:
        """Whether the other side waits for a pong of this one."""

    @property
    def is_put_off(self) -> bool:
        """Whether a ping waits for the end of a frame that is on its way."""

    @property
    def is_within_frame(self) -> bool:
        """Whether it is in the middle of sending a frame: some endpoints would put their pong into it."""

    def ping(self, payload: bytes) -> None:
        """Send a ping, as soon as no frame is on its way."""


class Pinger:
    """Watches one side.

    A ping of ours carries a number behind a few bytes of chance, so that its pong is told from those that are not for us.

    Args:
        side: Whom to ping.
        interval: Seconds of silence before a ping.
        timeout: Seconds of silence after it.
        nonce: Four bytes of chance.
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
        """Whether a pong may come that is for us."""
        return self._answered < self._sent

    def takes(self, payload: bytes) -> bool:
        """Whether a pong with this payload is for us: it answers a ping of ours that was not answered yet."""
        if len(payload) != _NONCE + _NUMBER or payload[:_NONCE] != self._nonce:
            return False
        number = int.from_bytes(payload[_NONCE:], "big")
        if not self._answered < number <= self._sent:
            return False
        self._answered = number
        return True

    def is_awaited(self, now: float) -> bool:
        """Whether the side was asked, and still has time to answer."""
        return self._asked_since is not None and now - self._asked_since < self._timeout

    def look(self, now: float, *, heard: bool) -> bool:
        """Ping the side where that is due. Returns whether it is dead: it has been asked, and silent for too long.

        Args:
            now: Monotonic, in seconds.
            heard: Whether anything has come of it since the last look.
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
        # Where a pong is due anyway, one of ours might be taken for it and the other side go without.
        if not side.owes_pong:
            self._sent += 1
            side.ping(self._nonce + self._sent.to_bytes(_NUMBER, "big"))
            if side.is_put_off:
                self._put_off = True
                return
        self._asked_since = now

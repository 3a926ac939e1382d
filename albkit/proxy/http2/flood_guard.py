"""Bounds what a peer can make the load balancer do without asking for anything useful (floods of frames, CVE-2019-9511 to 9518,
CVE-2023-44487 "rapid reset", CVE-2025-8671 "made you reset")."""

from __future__ import annotations

from typing import Final

from albkit.model.limits import Limits
from albkit.wire.http2.frames import ErrorCode, Http2Error

__all__ = ("LARGE_FRAME", "PER_USEFUL_FRAME", "FloodGuard")

PER_USEFUL_FRAME: Final = 3
"""Control frames that come with a useful frame: a client updates two windows and may send a PING (gRPC does) for each DATA frame."""
LARGE_FRAME: Final = 11
"""Bytes of a DATA frame that was sent, as a shift, that earn one control frame more: clients in Go update both windows for every 4 KiB that
the program reads."""

_USEFUL: Final = 512
"""Bytes in frames that were cut short that earn as much as one useful frame."""
_MOST_OF_A_FRAME: Final = 4096
"""Bytes of one such frame that count."""
_CONTROL_REFILL: Final = 10.0
"""Seconds in which an empty budget of control frames is full again."""
_RESET_REFILL: Final = 30.0
"""The same for resets."""
_MOST_EARNED: Final = 16
"""How much of the budget of control frames a peer can have earned in advance. It updates its windows long after the data was sent."""


class FloodGuard:
    """Two budgets of one connection: for control frames and for resets. Useful frames and time refill them.

    Args:
        limits: Contains both budgets.
    """

    __slots__ = ("_control", "_cut_bytes", "_limits", "_refilled", "_resets", "earned", "is_spent")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._control: float = limits.http2_control_frames
        self._resets: float = limits.http2_resets
        self._refilled = 0.0
        self._cut_bytes = 0
        """Bytes sent in frames that a window cut short, as far as they have earned nothing yet."""
        self.earned = 0
        """Control frames that the peer may send in addition. Add `PER_USEFUL_FRAME` if the peer opens a stream or sends data, or is sent a
        DATA frame whose size its windows did not limit. An attribute instead of a method, because this happens for each request."""
        self.is_spent = False
        """Whether the budget of resets is not full. If it is, `stream_completed` need not be called."""

    def control_frame(self, count: int = 1) -> None:
        """The peer sent a frame that carries nothing: SETTINGS, PING, PRIORITY, empty DATA, CONTINUATION, WINDOW_UPDATE, unknown.

        Args:
            count: More than 1 for a frame that costs more.

        Raises:
            Http2Error: it has sent too many of them.
        """
        self._control -= count
        if self._control >= 0:
            return
        most = self._limits.http2_control_frames
        self._control += count
        self.earned = min(self.earned, _MOST_EARNED * most) - count
        if self.earned < 0:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, f"more than {most} control frames (Limits.http2_control_frames)")

    def cut_frame(self, size: int) -> None:
        """The peer was sent a DATA frame that one of its windows cut short. A peer that opens its windows byte by byte earns little."""
        earned, self._cut_bytes = divmod(self._cut_bytes + min(size, _MOST_OF_A_FRAME), _USEFUL)
        self.earned += earned * PER_USEFUL_FRAME

    def stream_reset(self) -> None:
        """A stream was reset, by the peer or because of what the peer sent.

        Raises:
            Http2Error: the peer has caused too many resets.
        """
        self.is_spent = True
        self._resets -= 1
        if self._resets < 0:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, f"more than {self._limits.http2_resets} reset streams (Limits.http2_resets)")

    def stream_completed(self) -> None:
        """A stream ended in good order. It makes up for one reset."""
        most = self._limits.http2_resets
        self._resets = min(most, self._resets + 1)
        self.is_spent = self._resets < most

    def refill(self, now: float) -> None:
        """Refill both budgets for the time since the last call. `now` is the sweep's time."""
        if self._refilled:
            seconds = now - self._refilled
            limits = self._limits
            self._control = min(limits.http2_control_frames, self._control + seconds * limits.http2_control_frames / _CONTROL_REFILL)
            self._resets = min(limits.http2_resets, self._resets + seconds * limits.http2_resets / _RESET_REFILL)
            self.is_spent = self._resets < limits.http2_resets
        self._refilled = now

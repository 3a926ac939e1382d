"""How long a connection is still read after our FIN."""

from __future__ import annotations

from typing import Final

__all__ = ("MOST", "SILENCE", "LingeringClose")

SILENCE: Final = 5.0
"""Seconds without a byte of the peer, after which it has nothing more to send."""
MOST: Final = 30.0
"""Seconds in all, however much still comes."""


class LingeringClose:
    """Reads, and throws away, what a peer still sends while it may not have seen our last answer.

    Closed at once, the connection would be reset with the next byte that comes: a client that sends its whole body before it reads would
    fail in sending, and may never see why (RFC 9112 section 9.6).
    """

    __slots__ = ("_began", "_heard")

    def __init__(self) -> None:
        self._began = self._heard = 0.0

    def is_over(self, now: float, *, heard: bool) -> bool:
        """Whether the connection is to be closed now. To be asked, sweep by sweep, once all that was written is sent.

        Args:
            now: The sweep's time.
            heard: Whether bytes have come since the last sweep.
        """
        if self._began == 0.0:
            self._began = self._heard = now
        elif heard:
            self._heard = now
        return now - self._heard >= SILENCE or now - self._began >= MOST

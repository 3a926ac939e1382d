"""How long a connection is read after the load balancer sent FIN (nginx: lingering_close)."""

from __future__ import annotations

from typing import Final

__all__ = ("MOST", "SILENCE", "LingeringClose")

SILENCE: Final = 5.0
"""If the peer sends nothing for so many seconds, the connection is closed."""
MOST: Final = 30.0
"""The connection is closed after so many seconds, even if the peer still sends."""


class LingeringClose:
    """Limits the time in which a connection is read, and what arrives is discarded, so that the peer can read the last response.

    If the connection were closed at once, the kernel would answer the next byte with RST. A client that sends its whole body before it
    reads would fail while sending, and might never see the response (RFC 9112 section 9.6).
    """

    __slots__ = ("_began", "_heard")

    def __init__(self) -> None:
        self._began = self._heard = 0.0

    def is_over(self, now: float, *, heard: bool) -> bool:
        """Whether to close the connection now. To be called by each sweep, after everything that was written is sent.

        Args:
            now: The sweep's time.
            heard: Whether bytes have arrived since the last sweep.
        """
        if self._began == 0.0:
            self._began = self._heard = now
        elif heard:
            self._heard = now
        return now - self._heard >= SILENCE or now - self._began >= MOST

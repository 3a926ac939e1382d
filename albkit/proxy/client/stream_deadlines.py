"""The deadlines of one HTTP/2 stream. `deadlines` has those of an HTTP/1.1 connection."""

from __future__ import annotations

from typing import Final, Protocol

from albkit.errors import Failure, FailureKind
from albkit.proxy.client.idle_tracker import IdleTracker
from albkit.proxy.client.min_body_rate import MinBodyRate
from albkit.proxy.downstream import Upstream

__all__ = ("StreamDeadlines",)

_PROGRESS: Final = 1024
"""Bytes that a client must take between two sweeps, or all that waits, to count as a client that reads. A window update of 1 is no sign of
life."""


class _Exchange(Protocol):
    """What is looked at of an exchange (`http2_exchange`)."""

    id: int
    upstream: Upstream | None
    received_bytes: int
    response_started: bool
    is_active: bool
    send_window: int

    @property
    def pending_bytes(self) -> int: ...
    @property
    def awaits_body(self) -> bool: ...
    def fail(self, failure: Failure) -> None: ...


class StreamDeadlines:
    """Finds out, sweep by sweep, what one stream waits for in vain.

    Args:
        rate: `Limits.request_body_rate`; 0 for none.
        idle_timeout: Seconds.
    """

    __slots__ = ("_idle_timeout", "_idle_tracker", "_min_body_rate", "_rate")

    def __init__(self, rate: float, idle_timeout: float) -> None:
        self._rate = rate
        self._idle_timeout = idle_timeout
        self._idle_tracker = IdleTracker()
        self._min_body_rate = MinBodyRate(rate) if rate else None

    def is_stuck(self, exchange: _Exchange, now: float, unsent: int, *, is_full: bool) -> bool:
        """Whether nothing has moved for the idle timeout.

        Args:
            exchange: The exchange on the stream.
            now: The sweep's time.
            unsent: Bytes that wait in the transport of the connection.
            is_full: Whether that transport has as much to send as it may have.
        """
        tracker = self._idle_tracker
        waiting = exchange.pending_bytes
        if waiting and not (is_full and exchange.send_window > 0):
            progress = waiting // _PROGRESS
        elif is_full and exchange.response_started:
            progress = unsent
        else:
            # What other streams of the connection send is no progress of this one.
            progress = tracker.unsent
        idle = tracker.seconds(now, progress, exchange.upstream, received=exchange.is_active)
        exchange.is_active = False
        return idle >= self._idle_timeout

    def check_rate(self, exchange: _Exchange, now: float) -> None:
        """Fail an exchange whose client sends its body too slowly."""
        rate = self._min_body_rate
        if rate is not None and rate.is_too_slow(now, exchange.id, exchange.received_bytes, awaited=exchange.awaits_body):
            exchange.fail(Failure(FailureKind.REQUEST_BODY_TOO_SLOW, f"less than {self._rate:g} bytes a second"))

"""One side of a tunnel, as an asyncio protocol: what one leg receives, the other writes. There is no task and no stream in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from albkit.proxy.transports import read_rest, reset, send_fin, unacknowledged

__all__ = ("Leg", "Owner")


class Owner(Protocol):
    """What a leg needs of its tunnel."""

    @property
    def closing(self) -> bool:
        """Whether the load balancer is closing the tunnel."""

    def side_of(self, leg: Leg) -> str:
        """`client` or `target`, for the log."""

    def masking_key(self) -> bytes:
        """Four random bytes: the masking key of a frame."""

    def call_soon(self, call: Callable[[], None]) -> None:
        """Call this in the next turn of the event loop."""

    def count_pause(self) -> None:
        """Count that reading was paused on one side because the write buffer of the other is full."""

    def count_ping(self) -> None:
        """Count a ping to one side."""

    def end_received(self, leg: Leg) -> None:
        """This side has sent a Close frame or FIN."""

    def message_too_large(self, leg: Leg) -> None:
        """This side began a message that is too large. No byte of the frame that exceeds the limit was passed on."""

    def frames_invalid(self, leg: Leg) -> None:
        """This side sends bytes that are not WebSocket frames."""

    def leg_lost(self, leg: Leg, exc: Exception | None) -> None:
        """The socket of this side is closed."""


class Leg(asyncio.Protocol):
    """One side of a tunnel whose bytes are not interpreted.

    Args:
        owner: The tunnel.
        transport: Of this side, with reading paused.
    """

    __slots__ = (
        "_acknowledged",
        "_discounted",
        "_ended",
        "_owner",
        "_reads_to_reset",
        "_unacknowledged",
        "_written",
        "active",
        "injected_bytes",
        "lost",
        "other",
        "reading_paused",
        "received",
        "received_bytes",
        "received_fin",
        "sent_fin",
        "transport",
        "withheld_bytes",
        "writing_paused",
    )

    other: Leg

    def __init__(self, owner: Owner, transport: asyncio.Transport) -> None:
        self._owner = owner
        self.transport = transport
        self.received_bytes = 0
        """Bytes received."""
        self.withheld_bytes = 0
        """Bytes received that were not passed on."""
        self.injected_bytes = 0
        """Bytes sent to this side that the load balancer made itself, as pings."""
        self.active = False
        """Whether bytes of this side were passed on since the last sweep."""
        self.received = False
        """Whether bytes came since the last sweep that need not have been passed on, as pongs to the load balancer."""
        self.lost = False
        """Whether the socket is closed."""
        self.reading_paused = False
        self.writing_paused = False
        self.received_fin = False
        self.sent_fin = False
        self._ended = False
        """Whether this side has sent a Close frame or FIN."""
        self._reads_to_reset = False
        """Whether reading must not pause any more, because this side has sent RST."""
        # For `made_progress`, as of its last call. Bytes written to this side; those that it has not acknowledged; those that it has; and
        # acknowledged bytes of the load balancer's own frames, which do not count as progress.
        self._written = self._unacknowledged = self._acknowledged = self._discounted = 0

    def __repr__(self) -> str:
        state = [name for name in ("reading_paused", "writing_paused", "received_fin", "sent_fin", "lost") if getattr(self, name)]
        return (
            f"<{type(self).__name__} to the {self._owner.side_of(self)}: {' '.join(state) or 'open'}, {self.received_bytes} bytes received>"
        )

    # What the event loop calls.

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        other = self.other
        if not other.sent_fin:
            self.active = True
            other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass FIN on. The other direction stays open."""
        self.received_fin = self.active = True
        self._mark_ended()
        other = self.other
        other.send_fin()
        if other.received_fin:
            # Both directions have ended: flush what is written, then close both sockets.
            other.transport.close()
            return False
        # TLS has no half-close.
        return self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        # Before anything else: the rest may hold a Close frame, and then this side was not cut.
        self._read_rest(exc)
        was_cut = exc is not None and not self.has_ended and not self._owner.closing
        self.lost = self.sent_fin = self.received_fin = True
        other = self.other
        if not other.lost:
            if was_cut:
                reset(other.transport)
            elif other.received_fin:
                other.sent_fin = True
                other.transport.close()
            else:
                # This side sent its end before, or TLS closed both directions at once. Flush what it sent, then send FIN.
                other.send_fin()
        self._owner.leg_lost(self, exc)

    def _read_rest(self, exc: Exception | None) -> None:
        """Read what is left in the kernel, if a write found the RST first: it may be a Close frame, or the last part of the data."""
        if exc is not None and self.reading_paused:
            self.reading_paused = False
            for data in read_rest(self.transport):
                self.data_received(data)

    def _mark_ended(self) -> None:
        self._ended = True
        self._owner.end_received(self)

    def pause_writing(self) -> None:
        self.writing_paused = True
        self._owner.count_pause()
        self.other.pause_reading(True)

    def resume_writing(self) -> None:
        self.writing_paused = False
        self.other.pause_reading(False)

    # What the tunnel calls.

    def start_reading(self) -> None:
        """Start to read this side, unless reading is paused for a reason."""
        if not self.reading_paused:
            self.transport.resume_reading()

    def pause_reading(self, paused: bool) -> None:
        """Pause or resume reading this side."""
        if self.reading_paused != paused and not self._reads_to_reset:
            self.reading_paused = paused
            if not self.lost:
                if paused:
                    self.transport.pause_reading()
                else:
                    self.transport.resume_reading()

    def handle_reset(self) -> None:
        """Handle a RST that came while this side was not read: read what came before it, and then the RST.

        That is at most what the kernel holds now, so it need not wait until a slow other side has room.
        """
        if self.received_fin:
            # Everything was read. What was written to the other side is still sent.
            self.transport.abort()
        elif not self._reads_to_reset:
            self.pause_reading(False)
            self._reads_to_reset = True

    def send_fin(self) -> None:
        """Send FIN to this side, once."""
        if self.sent_fin:
            return
        self.sent_fin = True
        if self.transport.is_closing():
            return
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        send_fin(self.transport)

    def start_close(self, code: int, reason: str) -> None:
        """Close this side gracefully. Only WebSockets can be told the reason."""
        del code, reason
        self.send_fin()

    def made_progress(self) -> bool:
        """Whether bytes came from this side or were acknowledged by it since the last call. A slow reader is not silent.

        Bytes that wait here or in the kernel do not count; nor do pings of the load balancer, which the kernel of a hung peer also
        acknowledges.
        """
        progress = self.active or self.received
        self.active = self.received = False
        if self.lost:
            return progress
        written = self.other.received_bytes - self.other.withheld_bytes + self.injected_bytes
        if written != self._written or self._unacknowledged:
            self._written = written
            # The kernel's share is read (SIOCOUTQ, tcp(7)) only if something was sent since the last call, or was still on its way then.
            self._unacknowledged = self.transport.get_write_buffer_size() + unacknowledged(self.transport)
            acknowledged = written - self._unacknowledged
            expected = min(acknowledged, self._acknowledged + self.injected_bytes - self._discounted)
            self._discounted += max(0, expected - self._acknowledged)
            progress |= acknowledged > max(expected, self._acknowledged)
            self._acknowledged = max(acknowledged, self._acknowledged)
        return progress

    @property
    def has_ended(self) -> bool:
        """Whether this side has sent its end, a Close frame or FIN, so that a RST after that cuts nothing off."""
        return self._ended

    @property
    def is_flushed(self) -> bool:
        """Whether this side had acknowledged everything at the last call of `made_progress`."""
        return self._unacknowledged == 0

    @property
    def is_unread(self) -> bool:
        """Whether the event loop would not report a reset, because this side is not read."""
        return not self.lost and (self.reading_paused or self.received_fin)

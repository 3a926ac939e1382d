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

    def key(self) -> bytes:
        """Four random bytes: the masking key of a frame."""

    def soon(self, call: Callable[[], None]) -> None:
        """Call this in the next turn of the event loop."""

    def count_pause(self) -> None:
        """Count that reading was paused on one side because the write buffer of the other is full."""

    def count_ping(self) -> None:
        """Count a ping to one side."""

    def note_end(self, leg: Leg) -> None:
        """This side has sent a Close frame or FIN."""

    def refuse_message(self, leg: Leg) -> None:
        """This side began a message that is too large. No byte of the frame that exceeds the limit was passed on."""

    def lose_frames(self, leg: Leg) -> None:
        """This side sends bytes that are not WebSocket frames."""

    def lost(self, leg: Leg, exc: Exception | None) -> None:
        """The socket of this side is closed."""


class Leg(asyncio.Protocol):
    """One side of a tunnel whose bytes are not interpreted.

    Args:
        owner: The tunnel.
        transport: Of this side, with reading paused.
    """

    __slots__ = (
        "_arrived",
        "_excused",
        "_on_its_way",
        "_owner",
        "_queued",
        "_reads_out",
        "_through",
        "active",
        "count",
        "gone",
        "heard",
        "injected",
        "other",
        "reading_paused",
        "received_fin",
        "sent_fin",
        "swallowed",
        "transport",
        "writing_paused",
    )

    other: Leg

    def __init__(self, owner: Owner, transport: asyncio.Transport) -> None:
        self._owner = owner
        self.transport = transport
        self.count = 0
        """Bytes received."""
        self.swallowed = 0
        """Bytes received that were not passed on."""
        self.injected = 0
        """Bytes sent to this side that the load balancer made itself, as pings."""
        self.active = False
        """Whether bytes of this side were passed on since the last sweep."""
        self.heard = False
        """Whether bytes came since the last sweep that are for the load balancer only, as pongs."""
        self.gone = False
        self.reading_paused = False
        self.writing_paused = False
        self.received_fin = False
        self.sent_fin = False
        self._through = self._reads_out = False
        self._queued = self._on_its_way = self._arrived = self._excused = 0

    # What the event loop calls.

    def data_received(self, data: bytes) -> None:
        self.count += len(data)
        other = self.other
        if not other.sent_fin:
            self.active = True
            other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass FIN on. The other direction stays open."""
        self.received_fin = self.active = True
        self._be_through()
        other = self.other
        other.send_fin()
        if other.received_fin:
            # Both directions have ended: flush what is written, then close both sockets.
            other.transport.close()
            return False
        # TLS has no half-close.
        return self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._read_rest(exc)
        broken_off = exc is not None and not self.is_through and not self._owner.closing
        self.gone = self.sent_fin = self.received_fin = True
        other = self.other
        if not other.gone:
            if broken_off:
                reset(other.transport)
            elif other.received_fin:
                other.sent_fin = True
                other.transport.close()
            else:
                # This side sent its end before, or TLS closed both directions at once. Flush what it sent, then send FIN.
                other.send_fin()
        self._owner.lost(self, exc)

    def _read_rest(self, exc: Exception | None) -> None:
        """Read what is left in the kernel, if a write found the RST first: it may be a Close frame, or the last part of the data."""
        if exc is not None and self.reading_paused:
            self.reading_paused = False
            for data in read_rest(self.transport):
                self.data_received(data)

    def _be_through(self) -> None:
        self._through = True
        self._owner.note_end(self)

    def pause_writing(self) -> None:
        self.writing_paused = True
        self._owner.count_pause()
        self.other.pause_reading(True)

    def resume_writing(self) -> None:
        self.writing_paused = False
        self.other.pause_reading(False)

    # What the tunnel calls.

    def begin(self) -> None:
        """Start to read this side, unless reading is paused for a reason."""
        if not self.reading_paused:
            self.transport.resume_reading()

    def pause_reading(self, paused: bool) -> None:
        """Pause or resume reading this side."""
        if self.reading_paused != paused and not self._reads_out:
            self.reading_paused = paused
            if not self.gone:
                if paused:
                    self.transport.pause_reading()
                else:
                    self.transport.resume_reading()

    def meet_reset(self) -> None:
        """Handle a RST that came while this side was not read: read what came before it, and then the RST.

        That is at most what the kernel holds now, so it need not wait until a slow other side has room.
        """
        if self.received_fin:
            # Everything was read. What was written to the other side is still sent.
            self.transport.abort()
        elif not self._reads_out:
            self.pause_reading(False)
            self._reads_out = True

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

    def conclude(self, code: int, reason: str) -> None:
        """Close this side gracefully. Only WebSockets can be told the reason."""
        del code, reason
        self.send_fin()

    def moved(self) -> bool:
        """Whether bytes came from this side or were acknowledged by it since the last call. A slow reader is not silent.

        Bytes that wait here or in the kernel do not count; nor do pings of the load balancer, which the kernel of a hung peer also
        acknowledges.
        """
        moved = self.active or self.heard
        self.active = self.heard = False
        if self.gone:
            return moved
        queued = self.other.count - self.other.swallowed + self.injected
        if queued != self._queued or self._on_its_way:
            self._queued = queued
            self._on_its_way = self.transport.get_write_buffer_size() + unacknowledged(self.transport)
            arrived = queued - self._on_its_way
            expected = min(arrived, self._arrived + self.injected - self._excused)
            self._excused += max(0, expected - self._arrived)
            moved |= arrived > max(expected, self._arrived)
            self._arrived = max(arrived, self._arrived)
        return moved

    @property
    def is_through(self) -> bool:
        """Whether this side has sent its end, a Close frame or FIN, so that a RST after that cuts nothing off."""
        return self._through

    @property
    def is_flushed(self) -> bool:
        """Whether this side had acknowledged everything at the last call of `moved`."""
        return self._on_its_way == 0

    @property
    def is_deaf(self) -> bool:
        """Whether the event loop would not report a reset, because this side is not read."""
        return not self.gone and (self.reading_paused or self.received_fin)

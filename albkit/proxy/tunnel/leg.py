"""One side of a tunnel, as an asyncio protocol: what it receives, the other side writes. No task, no copy through a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from albkit.proxy.transports import read_rest, reset, send_fin, unacknowledged

__all__ = ("Leg", "Owner")


class Owner(Protocol):
    """The tunnel of a leg, which is told of what concerns both sides."""

    @property
    def closing(self) -> bool:
        """Whether the load balancer is ending the tunnel."""

    def key(self) -> bytes:
        """Four bytes of chance, to mask a frame with."""

    def soon(self, call: Callable[[], None]) -> None:
        """Call this in the next round of the loop."""

    def count_pause(self) -> None:
        """A side has as much to send as it may have; the other is not read for a while."""

    def count_ping(self) -> None:
        """A side is pinged."""

    def note_end(self, leg: Leg) -> None:
        """This side has said that it is through: with a Close frame, or with FIN."""

    def refuse_message(self, leg: Leg) -> None:
        """This side began a message that the policy does not allow; no byte of the frame that made it so was passed on."""

    def lose_frames(self, leg: Leg) -> None:
        """What this side sends cannot be followed any more."""

    def lost(self, leg: Leg, exc: Exception | None) -> None:
        """This side's socket is gone."""


class Leg(asyncio.Protocol):
    """One side of a tunnel whose bytes are bytes.

    Args:
        owner: The tunnel.
        transport: This side's, not read yet.
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
        """Those of them that were not passed on."""
        self.injected = 0
        """Bytes of our own that this side was sent."""
        self.active = False
        """Whether bytes were passed on since the last sweep."""
        self.heard = False
        """Whether bytes came since then that were for us alone."""
        self.gone = False
        self.reading_paused = False
        self.writing_paused = False
        self.received_fin = False
        self.sent_fin = False
        self._through = self._reads_out = False
        self._queued = self._on_its_way = self._arrived = self._excused = 0

    # What the loop says.

    def data_received(self, data: bytes) -> None:
        self.count += len(data)
        other = self.other
        if not other.sent_fin:
            self.active = True
            other.transport.write(data)

    def eof_received(self) -> bool:
        """FIN is passed on; the other direction goes on."""
        self.received_fin = self.active = True
        self._be_through()
        other = self.other
        other.send_fin()
        if other.received_fin:
            # Both sides are through: what is written is flushed, then both sockets close.
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
                # A side that is through, or whose TLS has closed as a whole: what it said before is flushed, and FIN goes behind it.
                other.send_fin()
        self._owner.lost(self, exc)

    def _read_rest(self, exc: Exception | None) -> None:
        """Where a write has met its RST before anybody has read what came before that: it may hold its last word."""
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

    # What the tunnel does.

    def begin(self) -> None:
        """Read this side from now on, unless there is a reason not to."""
        if not self.reading_paused:
            self.transport.resume_reading()

    def pause_reading(self, paused: bool) -> None:
        """Read this side no more for now, or again."""
        if self.reading_paused != paused and not self._reads_out:
            self.reading_paused = paused
            if not self.gone:
                if paused:
                    self.transport.pause_reading()
                else:
                    self.transport.resume_reading()

    def meet_reset(self) -> None:
        """It has sent RST while it was not read: read what came before that, which may hold its last word, and then the RST.

        There will be no more than what the kernel has of it now, so that it need not wait for a slow other side.
        """
        if self.received_fin:
            # All has been read. What was written to the other side stays written.
            self.transport.abort()
        elif not self._reads_out:
            self.pause_reading(False)
            self._reads_out = True

    def send_fin(self) -> None:
        """End this side's outgoing direction, once."""
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
        """Say goodbye to this side in good order. Where bytes are bytes there is no word for why."""
        del code, reason
        self.send_fin()

    def moved(self) -> bool:
        """Whether anything has come of this side, or arrived there, since the last look: a slow reader is no silent one.

        What only waits for it, here or in the kernel, has not arrived; and that a ping of ours has arrived says nothing of who should
        answer it.
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
        """Whether this side has said that it sends nothing more, so that a RST behind that takes nothing back."""
        return self._through

    @property
    def is_flushed(self) -> bool:
        """Whether all that was sent to this side had arrived there at the last look."""
        return self._on_its_way == 0

    @property
    def is_deaf(self) -> bool:
        """Whether the loop would not tell of a reset, because this side is not read."""
        return not self.gone and (self.reading_paused or self.received_fin)

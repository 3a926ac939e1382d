"""One side of a WebSocket tunnel: inserts pings and Close frames of the load balancer, and takes the pongs out again."""

from __future__ import annotations

import asyncio

from albkit.proxy.tunnel.leg import Leg, Owner
from albkit.proxy.tunnel.websocket_pinger import Pinger
from albkit.wire.websocket.frames import (
    CLOSE,
    PING,
    PONG,
    TOO_LARGE,
    FrameFollower,
    NotFrames,
    Seen,
    close_payload,
    control_frame,
    payload_of,
)

__all__ = ("WebSocketLeg",)


class WebSocketLeg(Leg):
    """One side of a WebSocket.

    Args:
        owner: The tunnel.
        transport: Of this side, with reading paused.
        follower: Follows the frames that this side sends.
        masks: Whether frames that the load balancer sends to this side must be masked: this side is the server (RFC 6455 section 5.3).
    """

    __slots__ = (
        "_closing",
        "_deferred",
        "_fin_deferred",
        "_masks",
        "_pending",
        "_yielded",
        "close_sent",
        "follower",
        "pinger",
        "splits_frames",
    )

    other: WebSocketLeg

    def __init__(self, owner: Owner, transport: asyncio.Transport, follower: FrameFollower, *, masks: bool) -> None:
        super().__init__(owner, transport)
        self.follower: FrameFollower | None = follower
        """`None` after this side sent bytes that are not frames. From then on bytes are relayed without a look at them."""
        self.pinger: Pinger | None = None
        self.splits_frames = follower.limited
        """Whether the frames of this side are relayed one by one: a pong may be for the load balancer, a frame waits to be inserted, or
        messages have a size limit. Without it, chunks are relayed as they are."""
        self._masks = masks
        self._pending = b""
        """A frame of the load balancer that waits until the frame that is being sent to this side is complete."""
        self._closing = False
        """Whether this side is to get a Close frame, so that it gets no ping any more."""
        self.close_sent = False
        """Whether this side got a Close frame, of either the load balancer or the other side: nothing may follow (RFC 6455, 5.5.1)."""
        self._yielded = False
        """Whether reading stops for one turn of the event loop."""
        self._deferred = b""
        """What came from this side and is processed in the next turn."""
        self._fin_deferred = False
        """Whether FIN came after that."""

    # What the event loop calls.

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        follower = self.follower
        if follower is not None:
            if self.splits_frames:
                self._relay_frames(follower, data)
                return
            seen = follower.follow(data)
            if seen is not None:
                if follower.behind:
                    data = self._defer(data, follower.behind)
                self._handle(seen)
        other = self.other
        if not other.sent_fin:
            self.active = True
            other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass FIN on after what was held back. If the load balancer is closing the tunnel, this side is done."""
        if self._deferred:
            self._fin_deferred = True
            return True
        if self._owner.closing:
            self.received_fin = self.sent_fin = True
            if not self.other.close_sent:
                # This side ended in the middle of a frame, so a Close frame cannot be inserted any more.
                self.other.send_fin()
            return False
        self._release_held()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._owner.closing:
            self._read_rest(exc)
            self._release_held()
            super().connection_lost(exc)
            return
        # The load balancer is closing the tunnel: each side is closed on its own.
        self.lost = self.sent_fin = self.received_fin = True
        if not self.other.close_sent:
            self.other.send_fin()
        self._owner.leg_lost(self, exc)

    def pause_writing(self) -> None:
        self.writing_paused = True
        self._owner.count_pause()
        if not self.close_sent:
            self.other.pause_reading(True)

    # What the tunnel calls.

    def start_close(self, code: int, reason: str) -> None:
        """Send a Close frame as soon as no frame is being sent to this side, and FIN after this side has answered it."""
        other = self.other
        if self.sent_fin:
            return
        if self.follower is None or other.follower is None:
            self.send_fin()
            return
        self.splits_frames = other.splits_frames = self._closing = True
        self._pending = control_frame(CLOSE, close_payload(code, reason), self._masking_key())
        if other.follower.between:
            self._insert_pending()
        elif other.received_fin:
            self.send_fin()

    def stop_following(self) -> None:
        """Relay bytes from now on without a look at them. The load balancer can send this side no frames any more."""
        self._release_held()
        self.follower = self.pinger = None
        self.splits_frames = self._closing = False
        self._pending = b""

    # Pings.

    @property
    def owes_pong(self) -> bool:
        """Whether the other side has pinged this one and waits for its pong."""
        return self.other.follower is not None and self.other.follower.pinged

    @property
    def has_pending_frame(self) -> bool:
        """Whether a frame of the load balancer waits until the frame that is being sent to this side is complete."""
        return bool(self._pending)

    @property
    def is_within_frame(self) -> bool:
        """Whether this side is in the middle of sending a frame."""
        return self.follower is not None and bool(self.follower.held or not self.follower.between)

    @property
    def has_ended(self) -> bool:
        """Whether this side has sent FIN, or a complete Close frame."""
        return self._ended and (self.received_fin or not self.is_within_frame)

    @property
    def may_be_pinged(self) -> bool:
        """Whether a ping can be answered: frames are followed, and neither side has begun to close."""
        mine, others = self.follower, self.other.follower
        if mine is None or others is None:
            return False
        return not (mine.closed or others.closed or self.sent_fin or self.received_fin or self._closing)

    def ping(self, payload: bytes) -> None:
        """Send a ping, as soon as no frame is being sent to this side."""
        other = self.other
        self._owner.count_ping()
        self._pending = control_frame(PING, payload, self._masking_key())
        self.splits_frames = other.splits_frames = True
        if other.follower is not None and other.follower.between:
            self._insert_pending()

    def _masking_key(self) -> bytes:
        return self._owner.masking_key() if self._masks else b""

    # Frames.

    def _handle(self, seen: Seen) -> None:
        if seen is Seen.CLOSE:
            self._mark_ended()
        elif seen is Seen.MANY:
            self._yield()
        else:
            # A Close frame may precede the invalid bytes in the same chunk. Report it first, because the first cause of an end counts.
            if self.follower is not None and self.follower.closed:
                self._mark_ended()
            self._owner.frames_invalid(self)

    def _relay_frames(self, follower: FrameFollower, data: bytes) -> None:
        """Pass on what came, frame by frame: take out pongs to the load balancer, and insert its own frames in between."""
        other = self.other
        self.received = True
        self.withheld_bytes += len(data)
        if self.sent_fin and (other.close_sent or other.sent_fin):
            return  # Both sides are closed: nobody gets these bytes.
        closed = follower.closed
        out: list[bytes] = []
        invalid = False
        try:
            for kind, piece in follower.cut(data):
                if kind == TOO_LARGE:
                    self._relay(out)
                    self._owner.message_too_large(self)
                elif other.close_sent:
                    continue
                elif kind == PONG and self.pinger is not None and self.pinger.take_pong(payload_of(piece)):
                    follower.take_out()
                else:
                    out.append(piece)
                if (other._pending or other._closing) and follower.between and not other.close_sent:  # noqa: SLF001 - sides of one tunnel
                    # First what came before: a frame may only be inserted between two frames (RFC 6455 section 5.4).
                    self._relay(out)
                    other._insert_pending()  # noqa: SLF001
        except NotFrames:
            invalid = True
        self._relay(out)
        if follower.closed and not closed:
            self._mark_ended()
            if self.close_sent:
                self.send_fin()
        if invalid:
            self._owner.frames_invalid(self)
            return
        if follower.behind:
            self.withheld_bytes -= follower.behind
            self._defer(data, follower.behind)
        self.splits_frames = self._must_split(follower)

    def _must_split(self, follower: FrameFollower) -> bool:
        return bool(
            follower.limited
            or follower.held
            or self._owner.closing
            or self.other.has_pending_frame
            or (self.pinger is not None and self.pinger.expects_pong)
        )

    def _relay(self, pieces: list[bytes]) -> None:
        if pieces and not self.other.sent_fin:
            self.active = True
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self.withheld_bytes -= len(data)
            self.other.transport.write(data)
        pieces.clear()

    def _release_held(self) -> None:
        """Pass on what was held back of a frame that will not be completed."""
        if self.follower is not None and self.follower.held and not self.other.close_sent:
            self._relay([self.follower.give_up_held()])

    def _insert_pending(self) -> None:
        """Send the frame that waits, because this side is between two frames. If the other side has sent a Close frame, drop it."""
        pending, self._pending = self._pending, b""
        if self.sent_fin:
            return
        others = self.other.follower
        if self.may_be_pinged or (self._closing and others is not None and not others.closed):
            self.injected_bytes += len(pending)
            self.transport.write(pending)
        if self._closing:
            self._mark_close_sent()

    def _mark_close_sent(self) -> None:
        """Send nothing more to this side. From now on the other one is only read for its Close frame."""
        self.close_sent = True
        self.other.pause_reading(False)
        if self.received_fin:
            # This side has half-closed, so it cannot answer the Close frame.
            self.sent_fin = True
            self.transport.close()
        elif self.follower is not None and self.follower.closed:
            self.send_fin()

    # Peers that send very many small frames.

    def _defer(self, data: bytes, size: int) -> bytes:
        """Keep the last `size` bytes for later, and return those before them."""
        self._deferred = data[-size:]
        self.withheld_bytes += size
        self._yield()
        return data[:-size]

    def _yield(self) -> None:
        """Let everything else have a turn of the event loop before this side is read again."""
        if not (self._yielded or self.lost):
            self._yielded = True
            self.transport.pause_reading()
            self._owner.call_soon(self._resume)

    def _resume(self) -> None:
        self._yielded = False
        if self.reading_paused or self.lost:
            return
        data, self._deferred = self._deferred, b""
        if data:
            # `data_received` counts these bytes again.
            self.received_bytes -= len(data)
            self.withheld_bytes -= len(data)
            self.data_received(data)
        if self._fin_deferred and not self._deferred:
            self._fin_deferred = False
            if not self.eof_received():
                self.transport.close()
        if not (self._yielded or self.reading_paused or self.lost):
            self.transport.resume_reading()

    def start_reading(self) -> None:
        if not self._yielded:
            super().start_reading()

    def pause_reading(self, paused: bool) -> None:
        if not (self._yielded or self._deferred):
            super().pause_reading(paused)
            return
        self.reading_paused = paused
        if not paused:
            self._yield()

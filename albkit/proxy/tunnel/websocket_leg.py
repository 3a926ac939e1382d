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
        masks: Whether frames that the load balancer sends to this side must be masked, because it is the WebSocket server.
    """

    __slots__ = ("_fin_waits", "_last", "_masks", "_pending", "_resting", "_unread", "careful", "follower", "probe", "told")

    other: WebSocketLeg

    def __init__(self, owner: Owner, transport: asyncio.Transport, follower: FrameFollower, *, masks: bool) -> None:
        super().__init__(owner, transport)
        self.follower: FrameFollower | None = follower
        """`None` after this side sent bytes that are not frames. From then on bytes are relayed without a look at them."""
        self.probe: Pinger | None = None
        self.careful = follower.limited
        """Whether frames of this side are looked at one by one: a pong may be for the load balancer, or a frame waits to be inserted."""
        self._masks = masks
        self._pending = b""
        """A frame of the load balancer that waits until the frame that is being sent to this side is complete."""
        self._last = False
        """Whether `_pending` is a Close frame."""
        self.told = False
        """Whether the Close frame was sent to this side: nothing may follow it."""
        self._resting = False
        """Whether reading stops for one turn of the event loop."""
        self._unread = b""
        """What came from this side and is processed in the next turn."""
        self._fin_waits = False
        """Whether FIN came after that."""

    # What the event loop calls.

    def data_received(self, data: bytes) -> None:
        self.count += len(data)
        follower = self.follower
        if follower is not None:
            if self.careful:
                self._take_apart(follower, data)
                return
            seen = follower.follow(data)
            if seen is not None:
                if follower.behind:
                    data = self._put_off(data, follower.behind)
                self._notice(seen)
        other = self.other
        if not other.sent_fin:
            self.active = True
            other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass FIN on after what was held back. If the load balancer is closing the tunnel, this side is done."""
        if self._unread:
            self._fin_waits = True
            return True
        if self._owner.closing:
            self.received_fin = self.sent_fin = True
            if not self.other.told:
                # This side ended in the middle of a frame, so a Close frame cannot be inserted any more.
                self.other.send_fin()
            return False
        self._flush()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._owner.closing:
            self._read_rest(exc)
            self._flush()
            super().connection_lost(exc)
            return
        # The load balancer is closing the tunnel: each side is closed on its own.
        self.gone = self.sent_fin = self.received_fin = True
        if not self.other.told:
            self.other.send_fin()
        self._owner.lost(self, exc)

    def pause_writing(self) -> None:
        self.writing_paused = True
        self._owner.count_pause()
        if not self.told:
            self.other.pause_reading(True)

    # What the tunnel calls.

    def conclude(self, code: int, reason: str) -> None:
        """Send a Close frame as soon as no frame is being sent to this side, and FIN after this side has answered it."""
        other = self.other
        if self.sent_fin:
            return
        if self.follower is None or other.follower is None:
            self.send_fin()
            return
        self.careful = other.careful = self._last = True
        self._pending = control_frame(CLOSE, close_payload(code, reason), self._key())
        if other.follower.between:
            self._put_in()
        elif other.received_fin:
            self.send_fin()

    def stop_following(self) -> None:
        """Relay bytes from now on without a look at them. The load balancer can send this side no frames any more."""
        self._flush()
        self.follower = self.probe = None
        self.careful = self._last = False
        self._pending = b""

    # Pings.

    @property
    def owes_pong(self) -> bool:
        """Whether the other side has pinged this one and waits for its pong."""
        return self.other.follower is not None and self.other.follower.pinged

    @property
    def is_put_off(self) -> bool:
        """Whether a frame of the load balancer waits until the frame that is being sent to this side is complete."""
        return bool(self._pending)

    @property
    def is_within_frame(self) -> bool:
        """Whether this side is in the middle of sending a frame."""
        return self.follower is not None and bool(self.follower.held or not self.follower.between)

    @property
    def is_through(self) -> bool:
        """Whether this side has sent FIN, or a complete Close frame."""
        return self._through and (self.received_fin or not self.is_within_frame)

    @property
    def may_be_pinged(self) -> bool:
        """Whether a ping can be answered: frames are followed, and neither side has begun to close."""
        mine, others = self.follower, self.other.follower
        if mine is None or others is None:
            return False
        return not (mine.closed or others.closed or self.sent_fin or self.received_fin or self._last)

    def ping(self, payload: bytes) -> None:
        """Send a ping, as soon as no frame is being sent to this side."""
        other = self.other
        self._owner.count_ping()
        self._pending = control_frame(PING, payload, self._key())
        self.careful = other.careful = True
        if other.follower is not None and other.follower.between:
            self._put_in()

    def _key(self) -> bytes:
        return self._owner.key() if self._masks else b""

    # Frames.

    def _notice(self, seen: Seen) -> None:
        if seen is Seen.CLOSE:
            self._be_through()
        elif seen is Seen.MANY:
            self._rest()
        else:
            if self.follower is not None and self.follower.closed:
                self._be_through()
            self._owner.lose_frames(self)

    def _take_apart(self, follower: FrameFollower, data: bytes) -> None:
        """Pass on what came, frame by frame: take out pongs to the load balancer, and insert its own frames in between."""
        other = self.other
        self.heard = True
        self.swallowed += len(data)
        if self.sent_fin and (other.told or other.sent_fin):
            return  # Both sides are closed: nobody gets these bytes.
        closed = follower.closed
        out: list[bytes] = []
        lost = False
        try:
            for kind, piece in follower.cut(data):
                if kind == TOO_LARGE:
                    self._pass_on(out)
                    self._owner.refuse_message(self)
                elif other.told:
                    continue
                elif kind == PONG and self.probe is not None and self.probe.takes(payload_of(piece)):
                    follower.take_out()
                else:
                    out.append(piece)
                if (other._pending or other._last) and follower.between and not other.told:  # noqa: SLF001 - the two sides of one tunnel
                    self._pass_on(out)
                    other._put_in()  # noqa: SLF001
        except NotFrames:
            lost = True
        self._pass_on(out)
        if follower.closed and not closed:
            self._be_through()
            if self.told:
                self.send_fin()
        if lost:
            self._owner.lose_frames(self)
            return
        if follower.behind:
            self.swallowed -= follower.behind
            self._put_off(data, follower.behind)
        self.careful = self._must_be_careful(follower)

    def _must_be_careful(self, follower: FrameFollower) -> bool:
        return bool(
            follower.limited
            or follower.held
            or self._owner.closing
            or self.other.is_put_off
            or (self.probe is not None and self.probe.waits)
        )

    def _pass_on(self, pieces: list[bytes]) -> None:
        if pieces and not self.other.sent_fin:
            self.active = True
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self.swallowed -= len(data)
            self.other.transport.write(data)
        pieces.clear()

    def _flush(self) -> None:
        """Pass on what was held back of a frame that will not be completed."""
        if self.follower is not None and self.follower.held and not self.other.told:
            self._pass_on([self.follower.give_up_held()])

    def _put_in(self) -> None:
        """Send the frame that waits, because this side is between two frames. If the other side has sent a Close frame, drop it."""
        pending, self._pending = self._pending, b""
        if self.sent_fin:
            return
        others = self.other.follower
        if self.may_be_pinged or (self._last and others is not None and not others.closed):
            self.injected += len(pending)
            self.transport.write(pending)
        if self._last:
            self._be_told()

    def _be_told(self) -> None:
        """Send nothing more to this side. From now on the other one is only read for its Close frame."""
        self.told = True
        self.other.pause_reading(False)
        if self.received_fin:
            # This side has half-closed, so it cannot answer the Close frame.
            self.sent_fin = True
            self.transport.close()
        elif self.follower is not None and self.follower.closed:
            self.send_fin()

    # Peers that send very many small frames.

    def _put_off(self, data: bytes, size: int) -> bytes:
        """Keep the last `size` bytes for later, and return those before them."""
        self._unread = data[-size:]
        self.swallowed += size
        self._rest()
        return data[:-size]

    def _rest(self) -> None:
        """Let everything else have a turn of the event loop before this side is read again."""
        if not (self._resting or self.gone):
            self._resting = True
            self.transport.pause_reading()
            self._owner.soon(self._rested)

    def _rested(self) -> None:
        self._resting = False
        if self.reading_paused or self.gone:
            return
        data, self._unread = self._unread, b""
        if data:
            # `data_received` counts these bytes again.
            self.count -= len(data)
            self.swallowed -= len(data)
            self.data_received(data)
        if self._fin_waits and not self._unread:
            self._fin_waits = False
            if not self.eof_received():
                self.transport.close()
        if not (self._resting or self.reading_paused or self.gone):
            self.transport.resume_reading()

    def begin(self) -> None:
        if not self._resting:
            super().begin()

    def pause_reading(self, paused: bool) -> None:
        if not (self._resting or self._unread):
            super().pause_reading(paused)
            return
        self.reading_paused = paused
        if not paused:
            self._rest()

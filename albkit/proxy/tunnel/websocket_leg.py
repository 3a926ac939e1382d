"""One side of a WebSocket: the same pipe, with frames of ours put between two frames, and what answers them taken out again."""

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
        transport: This side's, not read yet.
        follower: Of what this side sends.
        masks: Whether frames of ours to this side must be masked, because it is the WebSocket server.
    """

    __slots__ = ("_fin_waits", "_last", "_masks", "_pending", "_resting", "_unread", "careful", "follower", "probe", "told")

    other: WebSocketLeg

    def __init__(self, owner: Owner, transport: asyncio.Transport, follower: FrameFollower, *, masks: bool) -> None:
        super().__init__(owner, transport)
        self.follower: FrameFollower | None = follower
        """`None` when what this side sends turned out to be no frames: from then on bytes are bytes."""
        self.probe: Pinger | None = None
        self.careful = follower.limited
        """Whether what this side sends is taken apart on its way: a pong of it may be for us, or a frame of ours waits to be put in."""
        self._masks = masks
        self._pending = b""
        """A frame of ours for this side, which waits for the end of the one that is on its way to it."""
        self._last = False
        """This side is to be told of the end, behind that frame."""
        self.told = False
        """It has got its Close frame; nothing may be sent to it any more."""
        self._resting = False
        """It is not read until all others have had a turn."""
        self._unread = b""
        """What has come of this side and waits for that."""
        self._fin_waits = False
        """FIN has come behind it."""

    # What the loop says.

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
        """FIN is passed on behind what was kept back; where we are ending the tunnel, this side is through."""
        if self._unread:
            self._fin_waits = True
            return True
        if self._owner.closing:
            self.received_fin = self.sent_fin = True
            if not self.other.told:
                # It has left a frame in the middle, so that there is no place for a Close frame any more.
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
        # Each side says goodbye by itself now.
        self.gone = self.sent_fin = self.received_fin = True
        if not self.other.told:
            self.other.send_fin()
        self._owner.lost(self, exc)

    def pause_writing(self) -> None:
        self.writing_paused = True
        self._owner.count_pause()
        if not self.told:
            self.other.pause_reading(True)

    # What the tunnel does.

    def conclude(self, code: int, reason: str) -> None:
        """Say goodbye with a Close frame as soon as no frame is on its way to this side, then with FIN behind its answer."""
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
        """Bytes are bytes from now on; nothing of ours can be put into what this side gets."""
        self._flush()
        self.follower = self.probe = None
        self.careful = self._last = False
        self._pending = b""

    # Pings.

    @property
    def owes_pong(self) -> bool:
        """Whether the other side waits for a pong of this one."""
        return self.other.follower is not None and self.other.follower.pinged

    @property
    def is_put_off(self) -> bool:
        """Whether a frame of ours waits for the end of the one that is on its way."""
        return bool(self._pending)

    @property
    def is_within_frame(self) -> bool:
        """Whether this side is in the middle of sending a frame."""
        return self.follower is not None and bool(self.follower.held or not self.follower.between)

    @property
    def is_through(self) -> bool:
        """With FIN, or with a whole Close frame."""
        return self._through and (self.received_fin or not self.is_within_frame)

    @property
    def may_be_pinged(self) -> bool:
        """Whether a ping has a meaning: frames are followed, and neither side has begun to say goodbye."""
        mine, others = self.follower, self.other.follower
        if mine is None or others is None:
            return False
        return not (mine.closed or others.closed or self.sent_fin or self.received_fin or self._last)

    def ping(self, payload: bytes) -> None:
        """Send a ping, as soon as no frame is on its way."""
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
        """Pass on what came, without what is for us, and with what we have to say in between."""
        other = self.other
        self.heard = True
        self.swallowed += len(data)
        if self.sent_fin and (other.told or other.sent_fin):
            return  # Nothing that it says goes anywhere, or is waited for.
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
        """Pass on what was kept back; there will be no more of it."""
        if self.follower is not None and self.follower.held and not self.other.told:
            self._pass_on([self.follower.give_up_held()])

    def _put_in(self) -> None:
        """No frame is on its way to this side: send what waits for that. Where the other side says goodbye, that will do."""
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
        """Nothing more goes to this side; what the other one still says is read for its Close frame only."""
        self.told = True
        self.other.pause_reading(False)
        if self.received_fin:
            # It has nothing to answer with any more.
            self.sent_fin = True
            self.transport.close()
        elif self.follower is not None and self.follower.closed:
            self.send_fin()

    # A peer that sends frames without end.

    def _put_off(self, data: bytes, size: int) -> bytes:
        """Keep so many bytes at the end of a chunk for later; those before them."""
        self._unread = data[-size:]
        self.swallowed += size
        self._rest()
        return data[:-size]

    def _rest(self) -> None:
        """Let all others have a turn of the loop before this side is read again."""
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
            # They were counted when they came.
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

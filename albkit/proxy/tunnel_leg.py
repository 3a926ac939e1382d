"""One side of a tunnel, as an asyncio protocol: what it receives, the other side writes. No task, no copy through a stream."""

from __future__ import annotations

import asyncio
from typing import Protocol

from albkit.proxy.probe import Probe
from albkit.proxy.transports import reset
from albkit.wire.frames import CLOSE, PING, PONG, TOO_LARGE, FrameFollower, NotFrames, Seen, close_payload, control_frame, payload_of

__all__ = ("Leg", "Owner")


class Owner(Protocol):
    """The tunnel of a leg, which is told of what concerns both sides."""

    @property
    def closing(self) -> bool:
        """Whether the load balancer is ending the tunnel."""

    def key(self) -> bytes:
        """Four bytes of chance, to mask a frame with."""

    def pings(self) -> None:
        """A side is pinged."""

    def reading_is_paused(self) -> None:
        """A side has as much to send as it may have; the other is not read for a while."""

    def ends(self, leg: Leg) -> None:
        """This side has said that it is through: a Close frame, or FIN."""

    def message_is_too_large(self, leg: Leg) -> None:
        """This side began a message that the policy does not allow; no byte of the frame that made it so was passed on."""

    def are_not_frames(self, leg: Leg) -> None:
        """What this side sends cannot be followed any more."""

    def lost(self, leg: Leg, exc: Exception | None) -> None:
        """This side's socket is gone."""


class Leg(asyncio.Protocol):
    """One side of a tunnel.

    Args:
        owner: The tunnel.
        transport: This side's, not read yet.
        masks: Whether frames of ours to this side must be masked, because it is the WebSocket server.
    """

    __slots__ = (
        "_masks",
        "_owner",
        "_unsent",
        "active",
        "careful",
        "count",
        "follower",
        "gone",
        "heard",
        "last",
        "other",
        "pending",
        "probe",
        "reading_paused",
        "received_fin",
        "sent_fin",
        "told",
        "transport",
        "writing_paused",
    )

    other: Leg

    def __init__(self, owner: Owner, transport: asyncio.Transport, *, masks: bool) -> None:
        self._owner = owner
        self._masks = masks
        self.transport = transport
        self.follower: FrameFollower | None = None
        """Of what this side sends; `None` where that is not followed."""
        self.probe: Probe | None = None
        self.careful = False
        """Whether what this side sends is taken apart on its way: a pong of it may be for us, or a frame of ours waits to be put in."""
        self.count = 0
        """Bytes received."""
        self.active = False
        """Whether bytes were passed on since the last sweep."""
        self.heard = False
        """Whether bytes came since then that were for us alone."""
        self.pending = b""
        """Frames of ours for this side, which wait for the end of the frame that is on its way to it."""
        self.last = False
        """A Close frame is the last of them."""
        self.told = False
        """Whether this side got a Close frame, behind which nothing may be sent to it."""
        self.gone = False
        self.reading_paused = False
        self.writing_paused = False
        self.received_fin = False
        self.sent_fin = False
        self._unsent = 0

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
                self._notice(seen)
        self.active = True
        other = self.other
        if not other.sent_fin:
            other.transport.write(data)

    def eof_received(self) -> bool:
        """FIN is passed on; the other direction goes on."""
        self.received_fin = self.active = True
        other = self.other
        self._owner.ends(self)
        if self._owner.closing:
            # It will say no more, so its Close frame is not waited for. A frame that it has left in the middle cannot be ended either.
            self.sent_fin = True
            if not other.told:
                other.send_fin()
            return False
        if self.follower is not None and self.follower.held and not other.sent_fin:
            other.transport.write(self.follower.held)
        other.send_fin()
        if other.received_fin:
            # Both sides are through: what is written is flushed, then both sockets close.
            other.transport.close()
            return False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = self.sent_fin = True
        other = self.other
        if not other.gone:
            if self._owner.closing:
                if not other.told:
                    other.send_fin()
            elif exc is not None:
                reset(other.transport)
            elif not (self.received_fin and other.received_fin):
                # Cut by us before both sides were through: nothing can come or go any more.
                other.transport.abort()
        self._owner.lost(self, exc)

    def pause_writing(self) -> None:
        self.writing_paused = True
        self._owner.reading_is_paused()
        if not self.told:
            self.other.pause_reading(True)

    def resume_writing(self) -> None:
        self.writing_paused = False
        self.other.pause_reading(False)

    # What the tunnel does.

    def pause_reading(self, paused: bool) -> None:
        """Read this side no more for now, or again."""
        if self.reading_paused != paused:
            self.reading_paused = paused
            if not self.gone:
                if paused:
                    self.transport.pause_reading()
                else:
                    self.transport.resume_reading()

    def send_fin(self) -> None:
        """End this side's outgoing direction, once."""
        if self.sent_fin:
            return
        self.sent_fin = True
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        try:
            self.transport.write_eof()
        except OSError:
            pass  # On plain asyncio, where a reset has come that the loop has not told of yet: it will.

    def conclude(self, code: int, reason: str) -> None:
        """Say goodbye: with a Close frame as soon as no frame is on its way to this side, then FIN behind its answer; else with FIN."""
        other = self.other
        if self.gone or self.sent_fin:
            return
        if self.follower is None or other.follower is None:
            self.send_fin()
            return
        self.careful = other.careful = True
        if other.follower.closed:
            # It has one from the other side already.
            self._is_told()
            return
        self.pending = control_frame(CLOSE, close_payload(code, reason), self._key())
        self.last = True
        if other.follower.between:
            self.put_in()
        elif other.gone or other.received_fin:
            self.send_fin()

    def stop_following(self) -> None:
        """What this side sends are no frames; nothing of ours can be put into what it gets."""
        held = self.follower.held if self.follower is not None else b""
        self.follower = self.probe = None
        self.careful = False
        self.other.pending = b""
        if held and not self.other.sent_fin and not self.other.told:
            self.other.transport.write(held)

    def moved(self) -> bool:
        """Whether anything has come of this side, or gone to it, since the last look: a slow reader is no silent one."""
        unsent = 0 if self.gone else self.transport.get_write_buffer_size()
        moved = self.active or self.heard or unsent != self._unsent
        self._unsent = unsent
        self.active = self.heard = False
        return moved

    @property
    def is_deaf(self) -> bool:
        """Whether the loop would not tell of a reset, because this side is not read."""
        return not self.gone and (self.reading_paused or self.received_fin)

    # Pings.

    @property
    def owes_pong(self) -> bool:
        """Whether the other side waits for a pong of this one."""
        return self.other.follower is not None and self.other.follower.pinged

    @property
    def is_put_off(self) -> bool:
        """Whether a frame of ours waits for the end of the one that is on its way."""
        return bool(self.pending)

    @property
    def is_within_frame(self) -> bool:
        """Whether this side is in the middle of sending a frame."""
        return self.follower is not None and bool(self.follower.held or not self.follower.between)

    @property
    def may_be_pinged(self) -> bool:
        """Whether a ping has a meaning: frames are followed, and neither side has begun to say goodbye."""
        return self._may_get_frames() and not self.received_fin

    def ping(self, payload: bytes) -> None:
        """Send a ping, as soon as no frame is on its way."""
        other = self.other
        self._owner.pings()
        self.pending = control_frame(PING, payload, self._key())
        self.careful = other.careful = True
        if other.follower is not None and other.follower.between:
            self.put_in()

    def _may_get_frames(self) -> bool:
        mine, others = self.follower, self.other.follower
        return mine is not None and others is not None and not (mine.closed or others.closed or self.sent_fin)

    def _key(self) -> bytes:
        return self._owner.key() if self._masks else b""

    # Frames.

    def _notice(self, seen: Seen) -> None:
        if seen is Seen.CLOSE:
            self._owner.ends(self)
        else:
            self._owner.are_not_frames(self)

    def _take_apart(self, follower: FrameFollower, data: bytes) -> None:
        """Pass on what came, without what is for us, and with what we have to say in between."""
        other = self.other
        if other.told and self.sent_fin:
            return  # Nothing it says is waited for any more.
        closed = follower.closed
        out: list[bytes] = []
        self.heard = True
        try:
            for kind, piece in follower.cut(data):
                if kind == TOO_LARGE:
                    self._pass_on(out)
                    self._owner.message_is_too_large(self)
                elif other.told:
                    continue
                elif kind == PONG and self.probe is not None and self.probe.takes(payload_of(piece)):
                    follower.frames -= 1
                else:
                    out.append(piece)
                if other.pending and follower.between:
                    self._pass_on(out)
                    other.put_in()
        except NotFrames:
            self._pass_on(out)
            self._owner.are_not_frames(self)
            return
        self._pass_on(out)
        if follower.closed and not closed:
            self._owner.ends(self)
            if self.told:
                self.send_fin()
        self.careful = self._must_be_careful(follower)

    def _must_be_careful(self, follower: FrameFollower) -> bool:
        return bool(
            follower.limited or follower.held or self._owner.closing or self.other.pending or (self.probe is not None and self.probe.waits)
        )

    def _pass_on(self, pieces: list[bytes]) -> None:
        if pieces:
            self.active = True
            if not self.other.sent_fin:
                self.other.transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            pieces.clear()

    def put_in(self) -> None:
        """No frame is on its way to this side: send what waits for that."""
        pending, self.pending = self.pending, b""
        if self.sent_fin:
            return
        if self.last:
            self.transport.write(pending)
            self._is_told()
        elif self._may_get_frames():
            self.transport.write(pending)

    def _is_told(self) -> None:
        """Nothing more goes to this side; what the other one still says is read for its Close frame only."""
        self.told = True
        self.other.pause_reading(False)
        if self.received_fin:
            # It has nothing to answer with any more.
            self.sent_fin = True
            self.transport.close()
        elif self.follower is not None and self.follower.closed:
            self.send_fin()

"""WebSocket frames (RFC 6455 section 5), followed by their heads alone: where one ends and what kind it is, never what it says.

One `FrameFollower` stands beside each direction of a tunnel. `follow` only keeps count, and is cheap where a chunk holds whole frames.
`cut` takes the same bytes apart where a frame is to be added, taken out or refused. Both may be used in turn, at any byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Final

__all__ = (
    "CLOSE",
    "DATA",
    "MANY_FRAMES",
    "PING",
    "PONG",
    "TOO_LARGE",
    "FrameFollower",
    "NotFrames",
    "Seen",
    "close_payload",
    "control_frame",
    "payload_of",
)

DATA: Final = 0
"""Stands for every frame of a message: continuation, text and binary."""
TOO_LARGE: Final = -1
"""Stands for a message that has become larger than it may be."""
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

MANY_FRAMES: Final = 500
"""Frames that are followed at a time, so that a peer which sends tiny ones does not keep everybody else waiting."""

_FIN = 0x80
_RESERVED = 0x70
_MASK = 0x80
_KEY = 4
_MOST_CONTROL = 125
"""Bytes of payload of a control frame (section 5.5)."""
_EXTENDED = (0,) * 126 + (2, 8)
"""Further bytes of the length, by the seven bits in the second byte."""
_LEAST = {126: 126, 127: 65536}
"""A length must be written in the shortest way (section 5.2)."""


class NotFrames(ValueError):
    """Bytes that cannot be the next of a stream of frames."""


class Seen(Enum):
    """What a chunk showed that the tunnel must know of."""

    CLOSE = "close"
    MANY = "many"
    NOT_FRAMES = "not frames"


class FrameFollower:
    """Follows the frames of one direction.

    Args:
        masked: Whether they must be masked: those of a client are, those of a server are not.
        extended: Whether the handshake agreed on an extension, so that reserved bits may be set.
        most: Bytes that a message may have on the wire, 0 for no limit; only `cut` looks.
    """

    __slots__ = (
        "_extended",
        "_first",
        "_fragmented",
        "_head",
        "_held",
        "_mask",
        "_message",
        "_most",
        "_opcode",
        "_taken_out",
        "behind",
        "closed",
        "frames",
        "left",
        "opposite",
        "pinged",
        "too_large",
    )

    def __init__(self, *, masked: bool, extended: bool, most: int = 0) -> None:
        self._mask = _MASK if masked else 0
        self._extended = extended
        self._first = _FIRST_EXTENDED if extended else _FIRST
        self._most = most
        self._fragmented = False
        self._head = b""
        """The beginning of a head that was passed on already."""
        self._held = b""
        """By `cut`: the beginning of a frame that was not passed on yet."""
        self._message = 0
        self._opcode = DATA
        self.opposite: FrameFollower | None = None
        """Of the other direction."""
        self.left = 0
        """Bytes of the current frame that have not come yet, once its head has."""
        self.frames = 0
        self.behind = 0
        """Bytes at the end of the last chunk that were not looked at, because so many frames lie before them: they are to come again."""
        self._taken_out = False
        self.closed = False
        """Whether a Close frame has begun to pass: no frame may follow it."""
        self.pinged = False
        """Whether a Ping has begun to pass that the opposite direction has not answered."""
        self.too_large = False
        """Whether the current message has more bytes than it may have."""

    @property
    def between(self) -> bool:
        """Whether what was passed on ends with a whole frame, so that another one may be put behind it."""
        return not self.left and not self._head

    @property
    def limited(self) -> bool:
        """Whether messages may only have so many bytes."""
        return self._most > 0

    @property
    def held(self) -> bytes:
        """What `cut` keeps back because it is no whole head or no whole control frame yet, or no frame at all."""
        return self._held

    def give_up_held(self) -> bytes:
        """The same, to be passed on as it is: there will be no more of it."""
        held, self._held = self._held, b""
        return held

    def take_out(self) -> None:
        """The pong that `cut` has just given is not passed on, so that it counts for nothing."""
        self._taken_out = True

    def follow(self, data: bytes) -> Seen | None:
        """Go on behind a chunk that is passed on whole.

        Returns:
            `Seen.NOT_FRAMES` when the bytes are none: following has no meaning any more. `Seen.CLOSE` when a Close frame began.
            `Seen.MANY` when there were so many frames that following them took its time. In each case `behind` tells whether all of the
            chunk was looked at.
        """
        size = len(data)
        left = self.left
        if size <= left:
            self.left = left - size
            return None
        if not left and size > 3 and data[0] in self._first and not self._head:
            # Most chunks are one frame, or its beginning.
            length = data[1] - self._mask
            if 0 <= length < 126:
                left = length + 2
            elif length == 126 and (length := data[2] << 8 | data[3]) > 125:
                left = length + 4
            else:
                return self._follow(data, 0)
            if self._mask:
                left += _KEY
            if size <= left:
                self.frames += 1
                self.left = left - size
                return None
            left = 0
        return self._follow(data, left)

    def _follow(self, data: bytes, position: int) -> Seen | None:
        """The same from a place in the chunk where a frame begins, or goes on that has begun in `_head`."""
        if self._head:
            data = self._head + data
            self._head = b""
        closed = self.closed
        most = self.frames + MANY_FRAMES
        size = len(data)
        self.behind = 0
        try:
            while position < size:
                if self.frames == most:
                    self.behind = size - position
                    break
                end = self._begin(data, position)
                if not end:
                    self._head = data[position:]
                    break
                self._count()
                position = end
            self.left = max(position - size, 0)
        except NotFrames:
            return Seen.NOT_FRAMES
        if self.closed and not closed:
            return Seen.CLOSE
        return Seen.MANY if self.frames == most else None

    def cut(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take a chunk apart.

        Heads and control frames come whole, so the last bytes of a chunk may be kept back for the next one. After each piece `between`
        tells whether its frame is over, and after the last of them `behind` whether all of the chunk was looked at.

        Returns:
            Kind and bytes of each piece: `CLOSE`, `PING`, `PONG` for a whole frame of that kind, `DATA` for a part of a message or of a
            frame whose beginning was passed on before. `TOO_LARGE`, without bytes, stands before a frame that makes its message so.

        Raises:
            NotFrames: following has no meaning any more. What was not returned before is in `held`.
        """
        position = seen = 0
        self.behind = 0
        if self._held:
            data = self._held + data
            self._held = b""
        if self.left:
            position = min(self.left, len(data))
            self.left -= position
            yield DATA, data if position == len(data) else data[:position]
        # A frame whose beginning was passed on cannot be kept back: the rest of it goes as it comes.
        passed = len(self._head)
        if passed:
            data = self._head + data
            self._head = b""
        size = len(data)
        while position < size:
            if seen == MANY_FRAMES:
                self.behind = size - position
                return
            seen += 1
            try:
                end = self._begin(data, position)
            except NotFrames:
                self._held = data[position + passed :]
                raise
            kind = self._opcode
            if passed:
                kind = DATA
                if not end:
                    self._head = data
                    yield DATA, data[passed:]
                    return
            elif not end or (kind != DATA and end > size):
                # A control frame that is not whole is read once more when there is more of it.
                self._held = data[position:]
                return
            if self.too_large and kind == DATA:
                yield TOO_LARGE, b""
            here = min(end, size)
            self.left = end - here
            if kind == PONG:
                yield PONG, data[position:here]
                if self._taken_out:
                    self._taken_out = False
                else:
                    self._count()
            else:
                self._count()
                yield kind, data[position + passed : here]
            passed = 0
            position = here

    def _begin(self, data: bytes, position: int) -> int:
        """Read the head of a frame.

        Returns:
            Where the frame ends; 0 where the head is not whole.

        Raises:
            NotFrames: no WebSocket endpoint would take it.
        """
        size = len(data)
        if size - position < 2:
            return 0
        first = data[position]
        length = data[position + 1] - self._mask
        if not 0 <= length < 128:
            raise NotFrames("masked, or not masked, where it must not be")
        start = position + 2 + _EXTENDED[length]
        if start > size:
            return 0
        if length > 125:
            least = _LEAST[length]
            length = int.from_bytes(data[position + 2 : start], "big")
            if not least <= length < 1 << 63:
                raise NotFrames("a length that is not in its shortest form")
        self._judge(first, length)
        return start + length + (_KEY if self._mask else 0)

    def _judge(self, first: int, length: int) -> None:
        opcode = first & 15
        if first & _RESERVED and not self._extended:
            raise NotFrames("a reserved bit without an extension")
        if opcode < 3:
            if (opcode == 0) != self._fragmented:
                raise NotFrames("a message that begins within another, or goes on without a beginning")
            self._fragmented = not first & _FIN
            self._first = _NONE if self._fragmented else _FIRST_EXTENDED if self._extended else _FIRST
            self._message = length if opcode else self._message + length
            self.too_large = 0 < self._most < self._message
            self._opcode = DATA
        elif CLOSE <= opcode <= PONG:
            if not first & _FIN or length > _MOST_CONTROL:
                raise NotFrames("a control frame in parts, or a long one")
            self._opcode = opcode
        else:
            raise NotFrames("a reserved opcode")

    def _count(self) -> None:
        """A frame begins to pass."""
        self.frames += 1
        opcode = self._opcode
        if opcode:
            if opcode == CLOSE:
                self.closed = True
            elif opcode == PING:
                self.pinged = True
            elif self.opposite is not None:
                # A Pong may answer the latest Ping alone, and stands for all before it (section 5.5.3).
                self.opposite.pinged = False


_NONE: Final = frozenset[int]()
_FIRST: Final = frozenset((0x81, 0x82))
"""First bytes of whole messages."""
_FIRST_EXTENDED: Final = _FIRST | {0xC1, 0xC2}
"""The same where messages may be compressed (RFC 7692 section 7.2.3.1)."""


def control_frame(kind: int, payload: bytes, key: bytes = b"") -> bytes:
    """A whole control frame.

    Args:
        kind: `CLOSE`, `PING` or `PONG`.
        payload: At most 125 bytes.
        key: Four bytes to mask it with, as a client must; empty for a server's.
    """
    head = bytes((_FIN | kind, len(payload) | (_MASK if key else 0)))
    return head + key + _masked(payload, key) if key else head + payload


def close_payload(code: int, reason: str) -> bytes:
    """What a Close frame says: why, for a program and for a person (section 5.5.1)."""
    return code.to_bytes(2, "big") + reason.encode()


def payload_of(frame: bytes) -> bytes:
    """What a whole control frame says."""
    return _masked(frame[6:], frame[2:6]) if frame[1] & _MASK else frame[2:]


def _masked(payload: bytes, key: bytes) -> bytes:
    return bytes(byte ^ key[index & 3] for index, byte in enumerate(payload))

"""Follows the WebSocket frames of a stream by their heads (RFC 6455 section 5): where each frame ends and of which kind it is. Payloads are
not read.

One `FrameFollower` belongs to each direction of a tunnel. `follow` only counts, and is cheap if a chunk consists of whole frames. `cut`
splits the same bytes where a frame must be inserted, removed or rejected. Both can be used in turn, at any byte.
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
"""All frames of a message: continuation, text and binary."""
TOO_LARGE: Final = -1
"""A message that has exceeded its size limit."""
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

MANY_FRAMES: Final = 500
"""Frames to process at a time, so that a peer that sends tiny frames does not block other connections."""

_FIN = 0x80
_RESERVED = 0x70
_MASK = 0x80
_KEY = 4
_MOST_CONTROL = 125
"""The largest payload of a control frame, in bytes (section 5.5)."""
_EXTENDED = (0,) * 126 + (2, 8)
"""Additional bytes of the length, by the seven bits in the second byte."""
_LEAST = {126: 126, 127: 65536}
"""The smallest length for each extended form: a length must use the shortest form (section 5.2)."""


class NotFrames(ValueError):
    """The bytes cannot be the continuation of a stream of frames."""


class Seen(Enum):
    """What `follow` has found in a chunk."""

    CLOSE = "close"
    MANY = "many"
    NOT_FRAMES = "not frames"


class FrameFollower:
    """Follows the frames of one direction.

    Args:
        masked: Whether the frames must be masked: those of a client must be, those of a server must not.
        extended: Whether the handshake negotiated an extension, which may set reserved bits.
        most: The size limit of a message on the wire, in bytes; 0 for none. Only `cut` checks it.
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
        "close_code",
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
        """The beginning of a frame's head that was already passed on."""
        self._held = b""
        """Set by `cut`: the beginning of a frame that was not passed on yet."""
        self._message = 0
        self._opcode = DATA
        self.opposite: FrameFollower | None = None
        """The follower of the other direction."""
        self.left = 0
        """Bytes of the current frame that have not arrived yet."""
        self.frames = 0
        self.behind = 0
        """Bytes at the end of the last chunk that were not processed, because too many frames precede them; they must be passed again."""
        self._taken_out = False
        self.closed = False
        """Whether a Close frame has started; no frame may follow it."""
        self.close_code = 0
        """The code of the Close frame, 1005 if it has none (RFC 6455 section 7.4.1); 0 if it is not known, because the frame came in pieces
        that were passed on."""
        self.pinged = False
        """Whether a Ping has started that the opposite direction has not answered."""
        self.too_large = False
        """Whether the current message exceeds the size limit."""

    @property
    def between(self) -> bool:
        """Whether the last byte that was passed on completes a frame, so that another one can be inserted."""
        return not self.left and not self._head

    @property
    def limited(self) -> bool:
        """Whether messages have a size limit."""
        return self._most > 0

    @property
    def held(self) -> bytes:
        """What `cut` retains: an incomplete head, an incomplete control frame, or bytes that are not frames."""
        return self._held

    def give_up_held(self) -> bytes:
        """Return the retained bytes, to be passed on as they are, because no more will follow."""
        held, self._held = self._held, b""
        return held

    def take_out(self) -> None:
        """Do not count the pong that `cut` has just returned, because it is not passed on."""
        self._taken_out = True

    def follow(self, data: bytes) -> Seen | None:
        """Process a chunk that is passed on as a whole.

        Returns:
            `Seen.NOT_FRAMES` if the bytes are not frames; following is pointless from then on. `Seen.CLOSE` if a Close frame has started.
                `Seen.MANY` if the chunk contained too many frames for one call. In each case, `behind` says how much of the chunk was not
                processed.
        """
        size = len(data)
        left = self.left
        if size <= left:
            self.left = left - size
            return None
        if not left and size > 3 and data[0] in self._first and not self._head:
            # The common case: the chunk is one frame, or its beginning.
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
        """Continue at a position in the chunk where a frame starts, or where a frame continues that started in `_head`."""
        if self._head:
            data = self._head + data
            self._head = b""
        # Compared at the end: only the chunk in which the Close frame starts is reported.
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
        """Split a chunk into pieces.

        Heads and control frames are returned as a whole, so the last bytes of a chunk may be retained until the next one. After each piece,
        `between` says whether its frame is complete; after the last one, `behind` says how much of the chunk was not processed.

        Returns:
            Kind and bytes of each piece: `CLOSE`, `PING` or `PONG` for a whole frame of that kind, `DATA` for a part of a message, or of a
                frame whose beginning was passed on before. `TOO_LARGE`, without bytes, precedes the frame that makes its message too large.

        Raises:
            NotFrames: following is pointless from now on. What was not returned is in `held`.
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
        # The beginning of this frame was passed on, so the rest must be passed on too, as it arrives.
        # 0, or the number of bytes of an incomplete head that was already passed on.
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
                # An incomplete head or control frame is parsed again with the next chunk.
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
        """Parse the head of a frame.

        Returns:
            Where the frame ends; 0 if the head is incomplete.

        Raises:
            NotFrames: no WebSocket endpoint would accept it.
        """
        size = len(data)
        if size - position < 2:
            return 0
        first = data[position]
        length = data[position + 1] - self._mask
        # The subtraction leaves 0 to 127 only if the mask bit is as expected.
        if not 0 <= length < 128:
            raise NotFrames("a frame of a server is masked, or one of a client is not")
        start = position + 2 + _EXTENDED[length]
        if start > size:
            return 0
        if length > 125:
            least = _LEAST[length]
            length = int.from_bytes(data[position + 2 : start], "big")
            if not least <= length < 1 << 63:
                raise NotFrames("a length is not in its shortest form")
        self._judge(first, length)
        end = start + length + (_KEY if self._mask else 0)
        if self._opcode == CLOSE:
            self._read_code(data, start, end, length)
        return end

    def _read_code(self, data: bytes, start: int, end: int, length: int) -> None:
        """Read the code of a Close frame whose head ends at `start`, before any masking key."""
        if length < 2:
            self.close_code = _NO_CODE
        elif len(data) >= end - length + 2:
            code = data[end - length : end - length + 2]
            self.close_code = int.from_bytes(_masked(code, data[start : start + _KEY]) if self._mask else code, "big")

    def _judge(self, first: int, length: int) -> None:
        opcode = first & 15
        if first & _RESERVED and not self._extended:
            raise NotFrames("a reserved bit is set without an extension")
        if opcode < 3:
            if (opcode == 0) != self._fragmented:
                raise NotFrames("a message starts within another one, or continues without a start")
            # A message ends with the frame that has FIN; until then only continuations and control frames may follow (section 5.4).
            self._fragmented = not first & _FIN
            # The fast path in `follow` must not accept the start of a message within another one.
            self._first = _NONE if self._fragmented else _FIRST_EXTENDED if self._extended else _FIRST
            self._message = length if opcode else self._message + length
            self.too_large = 0 < self._most < self._message
            self._opcode = DATA
        elif CLOSE <= opcode <= PONG:
            if not first & _FIN or length > _MOST_CONTROL:
                raise NotFrames("a control frame is fragmented or too long")
            self._opcode = opcode
        else:
            raise NotFrames("an opcode is reserved")

    def _count(self) -> None:
        """Count a frame that starts."""
        self.frames += 1
        opcode = self._opcode
        if opcode:
            if opcode == CLOSE:
                self.closed = True
            elif opcode == PING:
                self.pinged = True
            elif self.opposite is not None:
                # A Pong may answer only the latest Ping, and answers all earlier ones with it (section 5.5.3).
                self.opposite.pinged = False


_NO_CODE: Final = 1005
_NONE: Final = frozenset[int]()
_FIRST: Final = frozenset((0x81, 0x82))
"""The first bytes of messages that consist of one frame."""
_FIRST_EXTENDED: Final = _FIRST | {0xC1, 0xC2}
"""The same if messages may be compressed (RFC 7692 section 7.2.3.1)."""


def control_frame(kind: int, payload: bytes, key: bytes = b"") -> bytes:
    """Create a control frame.

    Args:
        kind: `CLOSE`, `PING` or `PONG`.
        payload: At most 125 bytes.
        key: The four bytes of a client's masking key; empty for a server's frame.
    """
    head = bytes((_FIN | kind, len(payload) | (_MASK if key else 0)))
    return head + key + _masked(payload, key) if key else head + payload


def close_payload(code: int, reason: str) -> bytes:
    """The payload of a Close frame: a code for programs and a reason for people (section 5.5.1)."""
    return code.to_bytes(2, "big") + reason.encode()


def payload_of(frame: bytes) -> bytes:
    """The payload of a control frame."""
    return _masked(frame[6:], frame[2:6]) if frame[1] & _MASK else frame[2:]


def _masked(payload: bytes, key: bytes) -> bytes:
    return bytes(byte ^ key[index & 3] for index, byte in enumerate(payload))

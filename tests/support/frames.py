"""WebSocket frames as bytes, for peers that say exactly what a test wants."""

from __future__ import annotations

from typing import NamedTuple

from tests.support.peers import Peer

__all__ = ("BINARY", "CLOSE", "CONTINUATION", "PING", "PONG", "TEXT", "Frame", "closing", "frame", "masked", "read_frame")

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = b"\x01\x02\x03\x04"


def masked(payload: bytes, key: bytes = KEY) -> bytes:
    """Masked, or unmasked again."""
    if len(payload) > 1000:
        times = len(payload) // 4 + 1
        mixed = int.from_bytes(payload, "big") ^ int.from_bytes((key * times)[: len(payload)], "big")
        return mixed.to_bytes(len(payload), "big")
    return bytes(byte ^ key[index & 3] for index, byte in enumerate(payload))


def frame(opcode: int, payload: bytes = b"", *, mask: bool = True, fin: bool = True, reserved: int = 0) -> bytes:
    """One frame, built without regard to what is allowed."""
    first = (0x80 if fin else 0) | reserved | opcode
    size = len(payload)
    bit = 0x80 if mask else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    return head + KEY + masked(payload) if mask else head + payload


def closing(code: int, reason: str = "", *, mask: bool = True) -> bytes:
    """A Close frame."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode(), mask=mask)


class Frame(NamedTuple):
    """One frame as it was read."""

    opcode: int
    payload: bytes
    mask: bool
    fin: bool

    @property
    def code(self) -> int:
        """Of a Close frame."""
        assert self.opcode == CLOSE
        return int.from_bytes(self.payload[:2], "big")

    @property
    def reason(self) -> str:
        """Of a Close frame."""
        assert self.opcode == CLOSE
        return self.payload[2:].decode()


async def read_frame(peer: Peer) -> Frame:
    """The next frame that a peer gets. At the end of the connection raises asyncio.IncompleteReadError."""
    first, second = await peer.read_exactly(2)
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(await peer.read_exactly(2 if size == 126 else 8), "big")
    key = await peer.read_exactly(4) if second & 0x80 else b""
    payload = await peer.read_exactly(size) if size else b""
    return Frame(first & 15, masked(payload, key) if key else payload, bool(key), bool(first & 0x80))

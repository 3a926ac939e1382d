"""A WebSocket server that echoes every message, as cheaply as Python can, on several ports of 127.0.0.1."""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Final, cast

import uvloop

_KEY: Final = re.compile(rb"\r\nsec-websocket-key:[ \t]*(\S+)", re.IGNORECASE)
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_UNMASKED: Final = bytes(4)
_CLOSE: Final = 0x88
_PING: Final = 0x89
_PONG: Final = 0x8A


class _Handshake(asyncio.Protocol):
    """Until the head of the request is complete."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, behind = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        key = _KEY.search(head)
        if key is None:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self._transport.close()
            return
        accept = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n"
        )
        echo = _Echo(self._transport)
        self._transport.set_protocol(echo)
        if behind:
            echo.data_received(behind)


class _Echo(asyncio.Protocol):
    """Echoes every frame without its mask while it is arriving. Pings are answered; Close is answered and ends the connection."""

    __slots__ = ("_kept", "_key", "_last", "_left", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._kept = b""
        self._key = _UNMASKED
        self._left = 0
        self._last = False

    def data_received(self, data: bytes) -> None:
        if self._kept:
            data = self._kept + data
            self._kept = b""
        answer = []
        at = 0
        while at < len(data):
            if not self._left:
                header = self._begin(data, at)
                if header is None:
                    self._kept = data[at:]
                    break
                answer.append(header)
                # The client's header has the four bytes of the mask in addition.
                at += len(header) + 4
            piece = data[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            answer.append(piece if self._key == _UNMASKED else self._unmask(piece))
            if self._last and not self._left:
                self._transport.write(b"".join(answer))
                self._transport.close()
                return
        self._transport.write(b"".join(answer))

    def _begin(self, data: bytes, at: int) -> bytes | None:
        """The header of the echo of the frame that starts here; `None` if the frame's own header is incomplete."""
        if len(data) - at < 6:
            return None
        first, size = data[at], data[at + 1] & 0x7F
        if not data[at + 1] & 0x80:
            self._transport.abort()
            raise ValueError("a client's frame without a mask")
        mask = at + 2
        if size > 125:
            mask += 2 if size == 126 else 8
            if len(data) < mask + 4:
                return None
            size = int.from_bytes(data[at + 2 : mask], "big")
        self._key = data[mask : mask + 4]
        self._left = size
        self._last = first == _CLOSE
        return bytes((_PONG if first == _PING else first, data[at + 1] & 0x7F)) + data[at + 2 : mask]

    def _unmask(self, piece: bytes) -> bytes:
        size = len(piece)
        key = self._key * (size // 4 + 1)
        # The next piece of this frame goes on where this one ends.
        turn = size % 4
        self._key = self._key[turn:] + self._key[:turn]
        return (int.from_bytes(piece, "big") ^ int.from_bytes(key[:size], "big")).to_bytes(size, "big")


async def _serve(ports: Sequence[int]) -> None:
    loop = asyncio.get_running_loop()
    for port in ports:
        await loop.create_server(_Handshake, "127.0.0.1", port, backlog=4096)
    await loop.create_future()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ports", type=int, nargs="+", help="of 127.0.0.1")
    uvloop.run(_serve(parser.parse_args().ports))


if __name__ == "__main__":
    main()

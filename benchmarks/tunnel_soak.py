"""Opens tunnels and ends them in every possible way, at random. At the end, nothing of them may be left.

    python -m benchmarks.tunnel_soak --seconds 60

Clients, targets and a load balancer share one event loop. Every client says in its request what it is going to do, and the target that gets
it acts accordingly. Meanwhile, targets crash and return, are deregistered and registered again, new configurations are applied, and the
program closes tunnels. Both ends check every byte. Exits with 0 if each tunnel ended for a valid reason, every well-behaved client got a
Close frame, and sockets, tasks and all counts are afterwards what they were before; otherwise with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import gc
import hashlib
import logging
import random
import re
import socket
import struct
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import albkit as alb
from albkit.proxy.runtime import Runtime
from albkit.state.target import TargetState
from benchmarks.measure import descriptors

__all__ = ("WAYS", "Outcome", "soak")

CONTINUATION, BINARY, CLOSE, PING, PONG = 0, 2, 8, 9, 10
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BLOB: Final = random.Random(7).randbytes(1 << 20)
"""The data that everyone sends repeatedly, so that each end knows which byte must come next."""

PLAIN_IDLE = 1.5
PINGED_IDLE = 2.5
PING_INTERVAL = 0.3
PONG_TIMEOUT = 1.0
MAX_AGE = 0.8
MOST_MESSAGE = 100_000
DELAY = 0.6
GRACE = 2.0
"""Seconds that the load balancer gives both sides after its Close frames."""
LAG_ALLOWED = 0.4
"""Seconds for which the loop may be blocked before a deadline that hit the wrong tunnel is not an error."""
_PATIENCE = 15.0
"""Seconds within which every kind of end must be over."""
_SLACK = 1.5

PLACES = ("plain", "pinged", "old", "asked", "big", "blind")
"""The target groups, each with a policy of its own."""
END = alb.TunnelEnd
CODES = {
    END.IDLE: {1001},
    END.MAX_AGE: {1001},
    END.DRAIN: {1001},
    END.STOP: {1001},
    END.RECHECK: {1008},
    END.ERROR: {1011},
    END.MESSAGE_TOO_LARGE: {1009},
    END.PONG_TIMEOUT: {1011},
}
"""The Close code that a well-behaved client gets, by what ended its tunnel; the program chooses its own when it closes one."""


def said(start: int, size: int) -> bytes:
    """The data from this position on, at most 1 MiB."""
    place = start % len(_BLOB)
    piece = _BLOB[place : place + size]
    return piece if len(piece) == size else piece + _BLOB[: size - len(piece)]


def _masked(payload: bytes, key: bytes) -> bytes:
    size = len(payload)
    stream = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


def frame(opcode: int, payload: bytes, *, key: bytes = b"", fin: bool = True) -> bytes:
    """A WebSocket frame (RFC 6455 section 5.2), masked where a key is given."""
    first = (0x80 if fin else 0) | opcode
    bit = 0x80 if key else 0
    size = len(payload)
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    return head + key + _masked(payload, key) if key else head + payload


class CorruptError(Exception):
    """The bytes differ from what was sent."""


class FrameReader:
    """Parses whole frames of a stream; anything that RFC 6455 does not allow is an error."""

    def __init__(self, *, masked: bool) -> None:
        self._masked = masked
        self._buffer = bytearray()
        self._fragmented = False
        self._closed = False

    @property
    def between(self) -> bool:
        """Whether no incomplete frame has arrived."""
        return not self._buffer

    def feed(self, data: bytes) -> Iterator[tuple[int, bool, bytes]]:
        """Opcode, FIN bit and payload of each frame that is complete now."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= 2:
            size = buffer[1] & 0x7F
            start = 2
            if size > 125:
                start = 4 if size == 126 else 10
                if len(buffer) < start:
                    return
                size = int.from_bytes(buffer[2:start], "big")
            self._judge(buffer[0], buffer[1], size)
            if self._masked:
                start += 4
            if len(buffer) < start + size:
                return
            payload = bytes(buffer[start : start + size])
            if self._masked:
                payload = _masked(payload, bytes(buffer[start - 4 : start]))
            first = buffer[0]
            del buffer[: start + size]
            opcode = first & 15
            if opcode < CLOSE:
                self._fragmented = not first & 0x80
            self._closed = opcode == CLOSE
            yield opcode, bool(first & 0x80), payload

    def _judge(self, first: int, second: int, size: int) -> None:
        opcode = first & 15
        if self._closed:
            raise CorruptError("a frame behind a Close frame")
        if first & 0x70 or opcode not in (CONTINUATION, BINARY, CLOSE, PING, PONG) or bool(second & 0x80) != self._masked:
            raise CorruptError(f"no frame begins with {first:#04x} {second:#04x}")
        if opcode >= CLOSE and (size > 125 or not first & 0x80):
            raise CorruptError("a control frame in parts, or a long one")
        if opcode < CLOSE and (opcode == CONTINUATION) != self._fragmented:
            raise CorruptError("a message within a message, or one without a beginning")


def reset(transport: asyncio.Transport) -> None:
    """Close with RST."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError, ValueError):  # uvloop's socket says ValueError when it is gone.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class End(asyncio.Protocol):
    """One end of a tunnel: the client's or the target's."""

    transport: asyncio.Transport
    masks = False

    def __init__(self, soak: Soak) -> None:
        self.soak = soak
        self.reader: FrameReader | None = None
        """`None` if plain bytes are exchanged instead of frames."""
        self.head: bytes | None = b""
        """What has arrived of the HTTP head; `None` after it."""
        self.session: Session | None = None
        self.heard = 0
        """Expected bytes that have arrived and were right."""
        self.dead = False
        """Whether it has stopped answering."""
        self.keeps_open = False
        """Whether it stays open after the other side's FIN."""
        self.close_sent = False
        self.close_code: int | None = None
        self.mid_frame = False
        """Whether it has sent the beginning of a frame and not the rest yet."""
        self.owed: list[bytes] = []
        """Control frames that wait for the end of that frame."""
        self.fin_seen = self.fin_sent = False
        self.killed = False
        self.error: Exception | None = None
        self.over: asyncio.Future[None] = soak.loop.create_future()
        self.writable = asyncio.Event()
        self.writable.set()

    # What the loop says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance.

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc
        self.writable.set()
        if not self.over.done():
            self.over.set_result(None)
        self.news()

    def eof_received(self) -> bool:
        self.fin_seen = True
        self.news()
        return self.keeps_open or self.dead

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        if self.head is not None:
            self.head += data
            head, found, data = self.head.partition(b"\r\n\r\n")
            if not found:
                return
            self.head = None
            self.take_head(head)
        if data and self.head is None:
            try:
                self._take(data)
            except CorruptError as error:
                if not self.may_be_misled:
                    self.soak.fault(f"{self!r}: {error}")
                self.kill()
        self.news()

    @property
    def may_be_misled(self) -> bool:
        """Whether it announced frames, sends none, and so gets a Close frame of the load balancer."""
        session = self.session
        return session is not None and session.echo == "bytes" and session.tunnel is not None and session.tunnel.end in (*CODES, END.CLOSED)

    def _take(self, data: bytes) -> None:
        if self.reader is None:
            self._check(data)
            self.take_data(data, data)
            return
        for opcode, fin, payload in self.reader.feed(data):
            if opcode == CLOSE:
                self._take_close(payload)
            elif opcode == PING:
                if not self.dead:
                    self.control(PONG, payload)
            elif opcode == PONG:
                raise CorruptError("a pong that answers no ping of ours")
            else:
                self._check(payload)
                if not self.close_sent:
                    self.take_data(frame(opcode, payload, fin=fin), payload)

    def _check(self, data: bytes) -> None:
        start = self.heard
        for at in range(0, len(data), len(_BLOB)):
            piece = data[at : at + len(_BLOB)]
            if piece != said(start + at, len(piece)):
                raise CorruptError(f"other bytes than were sent, behind {start + at}")
        self.heard = start + len(data)

    def _take_close(self, payload: bytes) -> None:
        self.close_code = int.from_bytes(payload[:2], "big") if payload else 1005
        if not self.dead:
            self.control(CLOSE, payload)
            self.closes_are_exchanged()

    # What differs.

    def take_head(self, head: bytes) -> None:
        """Handle the head of the request or the response."""

    def take_data(self, whole: bytes, payload: bytes) -> None:
        """Handle data: as a frame, it is echoed."""

    def closes_are_exchanged(self) -> None:
        """Whether the other side's Close was answered, or ours was."""

    def news(self) -> None:
        """Called when something arrives, or at an end."""

    # What it does.

    def key(self) -> bytes:
        """The masking key."""
        return self.soak.chance.randbytes(4) if self.masks else b""

    def control(self, opcode: int, payload: bytes) -> None:
        """Send a control frame, as soon as no frame is being sent; none after a Close frame."""
        if self.close_sent or self.fin_sent or self.transport.is_closing():
            return
        self.close_sent = opcode == CLOSE
        data = frame(opcode, payload, key=self.key())
        if self.mid_frame:
            self.owed.append(data)
        else:
            self.transport.write(data)

    def frame_is_whole(self) -> None:
        """Send what was waiting, because the current frame is complete."""
        self.mid_frame = False
        if self.owed:
            self.transport.write(b"".join(self.owed))
            self.owed.clear()

    def die(self) -> None:
        """Stop reading, writing and answering."""
        self.dead = True
        self.transport.pause_reading()

    def fin(self) -> None:
        """Half-close."""
        self.fin_sent = True
        if not self.transport.is_closing():
            with contextlib.suppress(OSError):  # On plain asyncio, where a reset is still to be told of.
                self.transport.write_eof()

    def kill(self) -> None:
        """Close with RST."""
        self.killed = True
        reset(self.transport)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.session}>"


class Client(End):
    """The client's end of a tunnel."""

    masks = True

    def __init__(self, soak: Soak, session: Session) -> None:
        super().__init__(soak)
        self.session = session
        self.sent = 0
        self.status: asyncio.Future[int] = soak.loop.create_future()
        self._awaited: asyncio.Future[None] | None = None

    def take_head(self, head: bytes) -> None:
        status = int(head.split(b" ", 2)[1])
        if status == 101:
            if self.session is not None and self.session.framed:
                self.reader = FrameReader(masked=False)
        else:
            # Its body is of no interest; the next request finds a fresh head.
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            self.skip = int(length[1]) if length else 0
            self.head = b""
        if not self.status.done():
            self.status.set_result(status)

    skip = 0

    def data_received(self, data: bytes) -> None:
        if self.skip and self.head is not None:
            taken = min(self.skip, len(data))
            self.skip -= taken
            data = data[taken:]
        super().data_received(data)
        if self.head and self.skip:
            taken = min(self.skip, len(self.head))
            self.skip -= taken
            self.head = self.head[taken:]

    def take_data(self, _: bytes, payload: bytes) -> None:
        self.soak.checked += len(payload)
        if self.heard > self.sent:
            raise CorruptError("more came back than was sent")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self.status.done():
            self.status.set_result(0)

    def news(self) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)

    async def echoed(self) -> bool:
        """Wait until everything sent has come back; return whether it has, without an earlier end."""
        while self.heard < self.sent and not self.over.done() and self.close_code is None and not self.fin_seen:
            self._awaited = self.soak.loop.create_future()
            await self._awaited
        return self.heard == self.sent

    @property
    def may_send(self) -> bool:
        """Whether the tunnel is open, as far as this end knows."""
        return not (self.close_sent or self.fin_sent or self.fin_seen or self.transport.is_closing())

    async def say(self, size: int, *, split: float = 0.3) -> None:
        """Send this many bytes, in frames of any size, some of them in two pieces with a pause."""
        chance = self.soak.chance
        end = self.sent + size
        while self.sent < end and self.may_send:
            piece = said(self.sent, min(end - self.sent, chance.choice((1, 60, 125, 126, 900, 20_000, 65_535, 65_536, 200_000))))
            self.sent += len(piece)
            data = self._framed(piece, chance) if self.reader is not None else piece
            if chance.random() < split:
                cut = chance.randrange(len(data))
                self.mid_frame = True
                self.transport.write(data[:cut])
                await asyncio.sleep(chance.choice((0, 0, 0.001, 0.02, 0.1)))
                if self.transport.is_closing():
                    return
                self.transport.write(data[cut:])
                self.frame_is_whole()
            else:
                self.transport.write(data)
            await self.writable.wait()

    def _framed(self, piece: bytes, chance: random.Random) -> bytes:
        if len(piece) < 3 or chance.random() < 0.7:
            return frame(BINARY, piece, key=self.key())
        one, two = sorted(chance.randrange(len(piece)) for _ in range(2))
        return (
            frame(BINARY, piece[:one], key=self.key(), fin=False)
            + frame(CONTINUATION, piece[one:two], key=self.key(), fin=False)
            + frame(CONTINUATION, piece[two:], key=self.key())
        )

    async def flood(self, size: int) -> None:
        """Send this many bytes at full speed."""
        await self.say(size, split=0)


class TargetEnd(End):
    """The target's end: an echo that behaves as the request of its session says."""

    def __init__(self, soak: Soak, target: EchoTarget) -> None:
        super().__init__(soak)
        self.target = target

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.target.ends.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.target.ends.discard(self)

    def take_head(self, head: bytes) -> None:
        number = re.search(rb"[?&]id=(\d+)", head)
        session = self.session = self.soak.sessions.get(int(number[1])) if number else None
        if session is None:
            self.transport.abort()
            return
        session.target = self
        session.answered(self, head)

    def switch(self, head: bytes) -> None:
        """Answer 101."""
        self.transport.write(switched(head))
        if self.session is not None and self.session.framed and self.session.echo == "frames":
            self.reader = FrameReader(masked=True)

    def take_data(self, whole: bytes, _: bytes) -> None:
        if not (self.dead or self.fin_sent):
            self.transport.write(whole)

    def closes_are_exchanged(self) -> None:
        # The server closes first (RFC 6455 section 7.1.1).
        if not self.keeps_open:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.dead and not self.transport.is_closing():
            self.transport.resume_reading()


def switched(head: bytes) -> bytes:
    """The 101 for a request head."""
    key = re.search(rb"(?i)\r\nsec-websocket-key: *(\S+)", head)
    if key is None:
        return b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: soak\r\n\r\n"
    accept = base64.b64encode(hashlib.sha1(key[1] + _GUID, usedforsecurity=False).digest())
    return b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"


class EchoTarget:
    """A target that can crash and return on the same port."""

    def __init__(self, soak: Soak) -> None:
        self.soak = soak
        self.ends: set[TargetEnd] = set()
        self._server: asyncio.Server | None = None
        # Bound and never listening: while the target is down, no client is given its port.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))
        self.port: int = self._place.getsockname()[1]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def open(self) -> None:
        """Listen."""
        for attempt in range(50):
            try:
                self._server = await self.soak.loop.create_server(lambda: TargetEnd(self.soak, self), "127.0.0.1", self.port, backlog=1024)
            except OSError:
                if attempt == 49:
                    raise
                await asyncio.sleep(0.02)
            else:
                return

    def crash(self) -> None:
        """Stop listening, and reset every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for end in tuple(self.ends):
            end.kill()

    def close(self) -> None:
        """Close it permanently."""
        self.crash()
        self._place.close()


Answer = Callable[[TargetEnd, bytes], None]


def _switch(end: TargetEnd, head: bytes) -> None:
    end.switch(head)


class Session:
    """One client's attempt to open a tunnel, and its result."""

    def __init__(self, soak: Soak, number: int, way: Way) -> None:
        self.soak = soak
        self.number = number
        self.way = way
        self.place = soak.chance.choice(way.places)
        self.framed = way.framed if way.framed is not None else soak.chance.random() < 0.7
        self.echo = "frames"
        self.answered: Answer = _switch
        self.client = Client(soak, self)
        self.target: TargetEnd | None = None
        self.tunnel: alb.extensions.Tunnel | None = None
        self.finished: asyncio.Future[alb.TunnelEnd | None] = soak.loop.create_future()
        """Done when both sockets of its tunnel are closed."""
        self.code: int | None = None
        """The code with which the program closes it."""
        self.status = -1
        self.whole = False
        """Whether it ran as planned."""

    @property
    def followed(self) -> bool:
        """Whether the load balancer follows its frames."""
        return self.framed and self.place != "blind" and self.echo == "frames"

    def request(self) -> bytes:
        """The first bytes that its client sends."""
        asks = (
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
            + base64.b64encode(self.soak.chance.randbytes(16)).decode()
            if self.framed
            else "Upgrade: soak"
        )
        return (
            f"GET /{self.place}/{self.way.name.replace(' ', '-')}?id={self.number} HTTP/1.1\r\nHost: soak.example\r\n"
            f"Connection: Upgrade\r\n{asks}\r\n\r\n"
        ).encode()

    async def connect(self, behind: bytes = b"") -> None:
        """Connect and request the tunnel."""
        await self.soak.loop.create_connection(lambda: self.client, "127.0.0.1", self.soak.port)
        self.client.transport.write(self.request() + behind)

    async def open(self, behind: bytes = b"") -> bool:
        """Connect, request the tunnel, and wait for the response; return whether there is a tunnel now."""
        await self.connect(behind)
        self.status = await self.client.status
        return self.status == 101

    async def talk(self, rounds: int = 3) -> None:
        """Send data and wait for its echo, a few times."""
        chance = self.soak.chance
        for _ in range(chance.randint(1, rounds)):
            await self.client.say(chance.choice((1, 100, 3_000, 70_000)))
            if not await self.client.echoed():
                return
            await asyncio.sleep(chance.choice((0, 0, 0.01, 0.1)))

    async def end(self) -> alb.TunnelEnd | None:
        """Wait for the tunnel's end; return what ended it."""
        return await self.finished

    def target_killed(self) -> bool:
        """Whether its target's end was reset, by a crash or by itself."""
        return self.target is not None and self.target.killed

    def __repr__(self) -> str:
        return f"{self.way.name} {self.number} on {self.place}{'' if self.framed else ', raw'}"


# The ways to go.


class Way(NamedTuple):
    """A way in which a client or a target ends a tunnel."""

    name: str
    run: Callable[[Session], Coroutine[Any, Any, None]]
    ends: frozenset[alb.TunnelEnd]
    """What ends the tunnel if nothing else does first; empty if there is no tunnel."""
    places: tuple[str, ...] = ("plain", "pinged", "blind")
    framed: bool | None = None
    """Whether it requires frames, or plain bytes; `None` for either."""
    behaves: bool = False
    """Whether its client answers as it should, so that the load balancer must end it with a Close frame."""
    kept: bool = True
    """Whether the load balancer may end it early because of silence: no byte, no pong, or a recheck."""


WAYS: list[Way] = []


def way(*ends: alb.TunnelEnd, **details: Any) -> Callable[[Callable[[Session], Coroutine[Any, Any, None]]], None]:
    """Register a way."""

    def add(run: Callable[[Session], Coroutine[Any, Any, None]]) -> None:
        WAYS.append(Way(run.__name__.strip("_").replace("_", " "), run, frozenset(ends), **details))

    return add


@way(END.CLIENT, places=("plain", "pinged", "blind", "old", "asked"), framed=True, behaves=True)
async def _close_of_client(session: Session) -> None:
    if await session.open():
        await session.talk(5)
        session.client.control(CLOSE, (1000).to_bytes(2, "big") + b"done")
        await session.client.over
        session.whole = session.client.close_code == 1000


@way(END.TARGET, places=("plain", "pinged", "blind", "old", "asked"), framed=True, behaves=True)
async def _close_of_target(session: Session) -> None:
    if await session.open() and session.target is not None:
        await session.talk(3)
        session.target.control(CLOSE, (3456).to_bytes(2, "big"))
        await session.client.over
        session.whole = session.client.close_code == 3456


@way(END.CLIENT)
async def _fin_of_client(session: Session) -> None:
    if await session.open():
        client = session.client
        await client.say(session.soak.chance.choice((1, 5_000, 300_000)), split=0)
        client.keeps_open = True
        client.fin()
        await client.echoed()
        ended = await session.end()
        # A drain, or a close by chance, may have come in between: the first cause counts, and that was the client's FIN.
        cut = session.target_killed() or getattr(session.tunnel, "closing", False)
        if ended is END.CLIENT and client.heard < client.sent and not cut:
            session.soak.fault(f"{session}: only {client.heard} of {client.sent} bytes came back behind the client's FIN")
        session.whole = client.heard == client.sent


@way(END.CLIENT)
async def _rst_of_client(session: Session) -> None:
    if await session.open():
        await session.talk(2)
        if session.soak.chance.random() < 0.5:
            await session.client.say(200_000, split=0.5)
        session.client.kill()
        session.whole = True


@way(END.TARGET)
async def _fin_of_target(session: Session) -> None:
    if await session.open() and session.target is not None:
        await session.talk(2)
        session.target.transport.close()
        await session.client.over
        session.whole = True


@way(END.TARGET)
async def _rst_of_target(session: Session) -> None:
    if await session.open() and session.target is not None:
        await session.talk(2)
        if session.soak.chance.random() < 0.5:
            await session.client.say(100_000, split=0)
        session.target.kill()
        await session.client.over
        session.whole = True


@way(END.CLIENT, kept=False)
async def _half_close_of_client_then_silence(session: Session) -> None:
    if await session.open() and session.target is not None:
        await session.talk(1)
        session.target.keeps_open = session.client.keeps_open = True
        session.client.fin()
        await session.end()
        session.whole = True


@way(END.TARGET, kept=False)
async def _half_close_of_target_then_silence(session: Session) -> None:
    if await session.open() and session.target is not None:
        await session.talk(1)
        session.target.keeps_open = session.client.keeps_open = True
        session.target.fin()
        await session.end()
        session.whole = True


@way(END.PONG_TIMEOUT, places=("pinged",), framed=True, kept=False)
async def _death_of_pinged_client(session: Session) -> None:
    if await session.open():
        await session.talk(1)
        session.client.die()
        await session.end()
        session.whole = True


@way(END.PONG_TIMEOUT, places=("pinged",), framed=True, kept=False, behaves=True)
async def _death_of_pinged_target(session: Session) -> None:
    if await session.open() and session.target is not None:
        await session.talk(1)
        session.target.die()
        await session.client.over
        await session.end()
        session.whole = True


@way(END.IDLE, places=("plain", "blind"), kept=False)
async def _death_of_client(session: Session) -> None:
    if await session.open():
        await session.talk(1)
        session.client.die()
        await session.end()
        session.whole = True


@way(END.IDLE, places=("plain", "blind"), kept=False, behaves=True)
async def _death_of_target(session: Session) -> None:
    if await session.open() and session.target is not None:
        await session.talk(1)
        session.target.die()
        await session.client.over
        await session.end()
        session.whole = True


@way(END.IDLE, places=("plain",), kept=False, behaves=True)
async def _silence(session: Session) -> None:
    if await session.open():
        await session.talk(1)
        await session.client.over
        session.whole = True


@way(END.CLIENT, places=("pinged",), framed=True, behaves=True)
async def _silence_that_is_kept_alive(session: Session) -> None:
    if await session.open():
        await session.talk(1)
        await asyncio.wait((session.client.over,), timeout=PINGED_IDLE * 1.3)
        await session.talk(1)
        session.client.control(CLOSE, (1000).to_bytes(2, "big"))
        await session.client.over
        session.whole = session.client.close_code == 1000


@way(END.CLOSED, places=("plain", "pinged", "blind", "old", "asked"), behaves=True)
async def _close_of_program(session: Session) -> None:
    if await session.open():
        await session.talk(2)
        chatter = asyncio.ensure_future(session.client.say(200_000, split=0.8))
        await asyncio.sleep(session.soak.chance.choice((0, 0.001, 0.05)))
        if session.tunnel is not None:
            session.code = session.soak.chance.choice((1000, 1012, 3000, 4999))
            await asyncio.gather(*(session.soak.closes(session.tunnel, session.code) for _ in range(2)))
        await chatter
        await session.client.over
        session.whole = True


@way(END.MAX_AGE, places=("old",), behaves=True)
async def _age(session: Session) -> None:
    if await session.open():
        while session.client.may_send:
            await session.talk(1)
            await asyncio.sleep(0.02)
        await session.client.over
        session.whole = True


@way(END.RECHECK, END.ERROR, places=("asked",), kept=False, behaves=True)
async def _recheck(session: Session) -> None:
    if await session.open():
        while session.client.may_send:
            await session.talk(1)
            await asyncio.sleep(0.05)
        await session.client.over
        session.whole = True


@way(END.MESSAGE_TOO_LARGE, places=("big",), framed=True, behaves=True)
async def _message_too_large(session: Session) -> None:
    if await session.open():
        client = session.client
        client.sent = MOST_MESSAGE + 1
        data = frame(BINARY, said(0, client.sent), key=client.key())
        client.mid_frame = True
        client.transport.write(data[:70_000])
        await asyncio.sleep(session.soak.chance.choice((0, 0.01)))
        if not client.transport.is_closing():
            client.transport.write(data[70_000:])
            client.frame_is_whole()
        await client.over
        session.whole = True


@way(END.CLIENT, behaves=True)
async def _slow_reader(session: Session) -> None:
    if await session.open():
        client = session.client
        client.transport.pause_reading()
        flood = asyncio.ensure_future(client.flood(session.soak.chance.randint(1 << 20, 3 << 20)))
        await asyncio.sleep(session.soak.chance.choice((0.05, 0.3)))
        if not client.transport.is_closing():
            client.transport.resume_reading()
        await flood
        session.whole = await client.echoed()
        if client.reader is not None:
            client.control(CLOSE, (1000).to_bytes(2, "big"))
        else:
            client.fin()
        await client.over


@way(END.CLIENT)
async def _rst_of_client_with_megabytes_in_flight(session: Session) -> None:
    if await session.open():
        session.client.transport.pause_reading()
        flood = asyncio.ensure_future(session.client.flood(4 << 20))
        await asyncio.sleep(session.soak.chance.choice((0.02, 0.3)))
        session.client.kill()
        await flood
        session.whole = True


@way(END.TARGET)
async def _rst_of_target_with_megabytes_in_flight(session: Session) -> None:
    if await session.open() and session.target is not None:
        session.target.transport.pause_reading()
        session.target.dead = True
        flood = asyncio.ensure_future(session.client.flood(4 << 20))
        await asyncio.sleep(session.soak.chance.choice((0.02, 0.3)))
        session.target.kill()
        await flood
        await session.client.over
        session.whole = True


# Not among those that are pinged: until it has said something that is no frame, it would be.
@way(END.CLIENT, places=("plain", "blind"), framed=True)
async def _bytes_that_are_no_frames(session: Session) -> None:
    session.echo = "bytes"
    if await session.open():
        session.client.reader = None
        await session.talk(3)
        session.client.fin()
        await session.client.over
        session.whole = session.client.heard == session.client.sent


@way(END.CLIENT, framed=True, behaves=True)
async def _early_frames(session: Session) -> None:
    client = session.client
    session.answered = _late(session, 0.02)
    client.sent = 5_000
    early = frame(BINARY, said(0, 5_000), key=client.key())
    cut = session.soak.chance.randrange(len(early))
    client.mid_frame = True
    await session.connect(early[:cut])
    await asyncio.sleep(0)
    client.transport.write(early[cut:])
    client.frame_is_whole()
    session.status = await client.status
    if session.status == 101:
        session.whole = await client.echoed()
        client.control(CLOSE, (1000).to_bytes(2, "big"))
        await client.over


def _late(session: Session, seconds: float) -> Answer:
    def answer(end: TargetEnd, head: bytes) -> None:
        session.soak.loop.call_later(seconds, lambda: None if end.transport.is_closing() else end.switch(head))

    return answer


def _saying(*pieces: bytes, then: Callable[[TargetEnd], None] | None = None) -> Answer:
    def answer(end: TargetEnd, _: bytes) -> None:
        end.head = b""
        end.transport.write(b"".join(pieces))
        if then is not None:
            then(end)

    return answer


@way(END.CLIENT)
async def _gone_before_the_101(session: Session) -> None:
    chance = session.soak.chance
    session.answered = _late(session, chance.choice((0, 0.001, 0.02, 0.1)))
    await session.connect()
    await asyncio.sleep(chance.choice((0, 0.001, 0.02)))
    chance.choice((session.client.kill, session.client.transport.abort, session.client.fin))()
    await asyncio.wait((session.client.over,), timeout=1)
    session.whole = True


@way()
async def _no_answer(session: Session) -> None:
    session.answered = _saying()
    await session.connect()
    await asyncio.wait((session.client.status,), timeout=session.soak.chance.choice((0.2, 4)))
    session.whole = session.client.status.done() and session.client.status.result() == 504


@way()
async def _half_a_101(session: Session) -> None:
    chance = session.soak.chance
    whole = switched(session.request())
    half = whole[: chance.randrange(1, len(whole) - 1)]
    session.answered = _saying(half, then=chance.choice((None, TargetEnd.kill, lambda end: end.transport.close())))
    await session.connect()
    await asyncio.wait((session.client.status,), timeout=chance.choice((0.2, 4)))
    session.whole = session.client.status.done() and session.client.status.result() in (502, 504)


@way(END.CLIENT, framed=True, behaves=True)
async def _refused_at_first(session: Session) -> None:
    session.answered = _saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    if await session.open() or session.status != 200:
        return
    session.answered = _switch
    client = session.client
    client.status = session.soak.loop.create_future()
    client.transport.write(session.request())
    session.status = await client.status
    if session.status == 101:
        await session.talk(2)
        client.control(CLOSE, (1000).to_bytes(2, "big"))
        await client.over
        session.whole = client.close_code == 1000


@way()
async def _switched_to_something_else(session: Session) -> None:
    session.answered = _saying(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
    await session.open()
    session.whole = session.status == 502


# The soak.


class Outcome(NamedTuple):
    """The result of a run."""

    faults: list[str]
    sessions: Counter[str]
    """By way: how many were started."""
    whole: Counter[str]
    """By way: how many ran as planned."""
    ends: Counter[tuple[str, alb.TunnelEnd | None]]
    """Tunnels by way and by what ended them."""
    statuses: Counter[int]
    tunnels: int
    checked: int
    """Bytes that came back to a client and were right."""
    seconds: float
    lag: float
    """The longest time for which the loop was blocked."""
    events: Counter[str]

    def report(self) -> Iterator[str]:
        """The report, line by line."""
        ends: dict[str, list[str]] = {}
        for (name, end), count in sorted(self.ends.items(), key=str):
            ends.setdefault(name, []).append(f"{end} {count}")
        yield f"{'way':<42} {'begun':>6} {'whole':>6}  tunnels by end"
        for name, count in sorted(self.sessions.items()):
            yield f"{name:<42} {count:>6} {self.whole[name]:>6}  {', '.join(ends.get(name, ['none']))}"
        totals: Counter[str] = Counter()
        for (_, end), count in self.ends.items():
            totals[str(end)] += count
        yield "tunnels by end: " + ", ".join(f"{end} {count}" for end, count in totals.most_common())
        yield "answers: " + ", ".join(f"{status or 'none'} {count}" for status, count in sorted(self.statuses.items()))
        yield "meanwhile: " + ", ".join(f"{name} {count}" for name, count in sorted(self.events.items()))
        yield (
            f"{sum(self.sessions.values())} sessions, {self.tunnels} tunnels, {self.checked / 1e6:.0f} MB echoed and checked"
            f" in {self.seconds:.1f} s: {self.tunnels / self.seconds:.0f} tunnels and {self.checked / 1e6 / self.seconds:.1f} MB a second;"
            f" the loop stood still for {self.lag * 1000:.0f} ms at the most"
        )


class _Errors(logging.Handler):
    """Collects what the load balancer logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not record.getMessage().startswith("the recheck of"):
            self.texts.append(f"{record.getMessage()}: {record.exc_info[1]!r}" if record.exc_info else record.getMessage())


class Soak:
    """A load balancer, its targets, and sessions that are started and ended."""

    def __init__(self, seed: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.chance = random.Random(seed)
        self.sessions: dict[int, Session] = {}
        self.faults: list[str] = []
        self.checked = 0
        self.begun: Counter[str] = Counter()
        self.whole: Counter[str] = Counter()
        self.ends: Counter[tuple[str, alb.TunnelEnd | None]] = Counter()
        self.statuses: Counter[int] = Counter()
        self.events: Counter[str] = Counter()
        self.opened = 0
        self.lag = 0.0
        self.members: set[TargetState] = set()
        self.targets = [EchoTarget(self) for _ in range(4)]
        self.deck: list[Way] = []
        self.ending = False
        self.number = 0
        self.variant = 0
        self.balancer = alb.LoadBalancer(self.description(), idle_timeout=2, stop_timeout=4)
        self.port = 0

    def fault(self, text: str) -> None:
        self.faults.append(text)

    @property
    def gateway(self) -> Runtime:
        gateway = self.balancer._runtime  # noqa: SLF001 - nothing that is public tells what is left
        if gateway is None:
            raise RuntimeError("the load balancer does not run")
        return gateway

    # The description.

    def description(self) -> alb.Listener:
        """The listener, with something that changes each time."""
        addresses = [target.address for target in self.targets]
        spread = 0.2 if self.variant % 2 else 0.4
        policies = {
            "plain": alb.TunnelPolicy(PLAIN_IDLE, drain_spread=spread),
            "pinged": alb.TunnelPolicy(PINGED_IDLE, PING_INTERVAL, PONG_TIMEOUT, drain_spread=spread),
            "old": alb.TunnelPolicy(PINGED_IDLE, max_age=MAX_AGE, drain_spread=spread),
            "asked": alb.TunnelPolicy(PINGED_IDLE, recheck=self.recheck, recheck_every=0.5, drain_spread=spread),
            "big": alb.TunnelPolicy(PINGED_IDLE, max_message_size=MOST_MESSAGE, drain_spread=spread),
            "blind": alb.TunnelPolicy(PLAIN_IDLE, frames=False, drain_spread=spread),
        }
        rules = [
            alb.Rule(
                number,
                alb.PathPattern(f"/{name}/*"),
                alb.Forward(alb.TargetGroup(name, addresses, tunnel=policy, deregistration_delay=DELAY)),
            )
            for number, (name, policy) in enumerate(policies.items(), 1)
        ]
        if self.variant % 2:
            rules.append(alb.Rule(99, alb.PathPattern("/nowhere"), alb.FixedResponse(404)))
        return alb.Listener(0, alb.FixedResponse(500), rules, host="127.0.0.1", name="soak")

    async def recheck(self, _: alb.extensions.Tunnel) -> bool:
        chance = self.chance.random()
        if chance < 0.1:
            await asyncio.sleep(0.3)
        if chance < 0.3:
            raise LookupError("nobody knows")
        return chance < 0.6

    # Tunnels as the load balancer tells of them.

    def _session_of(self, tunnel: alb.extensions.Tunnel) -> Session:
        return self.sessions[int(tunnel.request.query_string.removeprefix("id="))]

    def _tunnel_opened(self, tunnel: alb.extensions.Tunnel) -> None:
        self.opened += 1
        self._session_of(tunnel).tunnel = tunnel

    def _tunnel_closed(self, tunnel: alb.extensions.Tunnel) -> None:
        session = self._session_of(tunnel)
        self.ends[session.way.name, tunnel.end] += 1
        if session.finished.done():
            self.fault(f"{session}: told twice of the end of {tunnel!r}")
        else:
            session.finished.set_result(tunnel.end)
        if tunnel.end is None:
            self.fault(f"{session}: ended for no reason")

    # Sessions.

    async def work(self) -> None:
        """Run session after session."""
        while not self.ending:
            if not self.deck:
                self.deck = WAYS.copy()
                self.chance.shuffle(self.deck)
            await self.run(self.deck.pop())

    async def run(self, how: Way) -> None:
        """Run one session, and check its end."""
        self.number += 1
        session = Session(self, self.number, how)
        self.sessions[session.number] = session
        self.begun[how.name] += 1
        client = session.client
        try:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await how.run(session)
            except TimeoutError:
                self.fault(f"{session}: not over after {_PATIENCE:g} seconds; {session.tunnel!r}, {session.target!r}")
            except OSError as error:
                self.fault(f"{session}: {error!r}")
            if hasattr(client, "transport"):
                if not client.over.done():
                    client.killed = True
                    client.transport.abort()
                await client.over
            if session.tunnel is not None or session.status == 101:
                try:
                    async with asyncio.timeout(_PATIENCE):
                        await session.finished
                except TimeoutError:
                    self.fault(f"{session}: its client is gone, its tunnel is not; {session.tunnel!r}")
                else:
                    self.judge(session)
            self.statuses[session.status if session.status >= 0 else client.status.result() if client.status.done() else 0] += 1
            self.whole[how.name] += session.whole
            if session.target is not None and not session.target.over.done():
                session.target.transport.abort()
        finally:
            del self.sessions[session.number]

    def judge(self, session: Session) -> None:
        """Check that its tunnel ended for a valid reason, and that its client was notified."""
        how, client = session.way, session.client
        end = session.finished.result()
        if end is None:
            return
        allowed = {END.CLOSED, END.DRAIN, END.TARGET} | how.ends
        if client.killed or client.dead or not how.behaves:
            allowed.add(END.CLIENT)
        by_place: dict[str, set[alb.TunnelEnd]] = {"old": {END.MAX_AGE}, "asked": {END.RECHECK, END.ERROR}}
        allowed |= by_place.get(session.place, set())
        if not how.kept:
            allowed.add(END.IDLE)
        if self.lag > LAG_ALLOWED:
            allowed |= {END.IDLE, END.PONG_TIMEOUT}
        if how is WAY_STOPPED:
            allowed = {END.STOP}
        if end not in allowed:
            self.fault(f"{session}: ended by {end}, not by {'/'.join(how.ends)}; {session.tunnel!r}")
        self._judge_close(session, end)

    def _judge_close(self, session: Session, end: alb.TunnelEnd) -> None:
        client = session.client
        if not (session.way.behaves and session.followed) or client.killed or session.target_killed() or self.lag > LAG_ALLOWED:
            return
        codes = CODES.get(end)
        if end is END.CLOSED:
            codes = {session.code} if session.code is not None else {1013}
            codes = codes | {1013}
        if codes is not None and client.close_code not in codes:
            self.fault(f"{session}: ended by {end}, and its client was told {client.close_code}, not {codes}; {client.error!r}")
        if codes is not None and client.error is not None:
            self.fault(f"{session}: ended by {end} with Close {client.close_code}, and was reset then: {client.error!r}")

    async def closes(self, tunnel: alb.extensions.Tunnel, code: int) -> None:
        """Let the program close a tunnel, which must not take longer than the grace period."""
        start = self.loop.time()
        await tunnel.close(code, "soaked")
        took = self.loop.time() - start
        if took > GRACE + _SLACK + self.lag:
            self.fault(f"close() took {took:.1f} s: {tunnel!r}")

    # What goes on around them.

    async def crashes(self) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(0.3, 1.0))
            target = self.chance.choice(self.targets)
            target.crash()
            self.events["crashes"] += 1
            try:
                await asyncio.sleep(self.chance.uniform(0.02, 0.2))
            finally:
                await asyncio.shield(target.open())

    async def deregisters(self, group: str) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(0.05, 0.8))
            address = self.chance.choice(self.targets).address
            await self.balancer.deregister_targets(group, address)
            self.events["deregistrations"] += 1
            start = self.loop.time()
            try:
                if self.chance.random() < 0.5:
                    await self.balancer.drained(group, address, timeout=DELAY + GRACE + _SLACK + LAG_ALLOWED)
                    self.events["drains awaited"] += 1
                else:
                    await asyncio.sleep(self.chance.uniform(0, 0.8))
            except TimeoutError:
                self.fault(f"drained({group}, {address}) had not returned after {self.loop.time() - start:.1f} s")
            finally:
                await self.balancer.register_targets(group, address)

    async def applies(self) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(0.2, 0.6))
            self.variant += 1
            await self.balancer.apply(self.description())
            self.events["descriptions applied"] += 1

    async def closes_some(self) -> None:
        closing: set[asyncio.Task[None]] = set()
        try:
            while True:
                await asyncio.sleep(self.chance.uniform(0.02, 0.2))
                tunnels = self.balancer.tunnels
                if tunnels:
                    task = asyncio.ensure_future(self.closes(self.chance.choice(tunnels), 1013))
                    closing.add(task)
                    task.add_done_callback(closing.discard)
                    self.events["tunnels closed by chance"] += 1
        finally:
            await asyncio.gather(*closing)

    async def watches(self) -> None:
        """Watch for how long the loop is blocked, and which tunnels it knows."""
        before = self.loop.time()
        registry = self.gateway.registry
        while True:
            await asyncio.sleep(0.02)
            now = self.loop.time()
            self.lag = max(self.lag, now - before - 0.02)
            before = now
            for state in registry.groups:
                self.members.update(state.members.values())

    # The whole.

    async def go(self, seconds: float, concurrency: int, progress: Callable[[str], None]) -> float:
        """Open everything, soak, stop everything; return for how many seconds sessions were running."""
        for target in self.targets:
            await target.open()
        unsubscribe = self.balancer.on_tunnel(self._tunnel_opened, self._tunnel_closed)
        await self.balancer.start()
        self.port = self.balancer.listeners[0].port
        start = self.loop.time()
        watch = asyncio.ensure_future(self.watches())
        around = [asyncio.ensure_future(task()) for task in (self.crashes, self.applies, self.closes_some)]
        around += [asyncio.ensure_future(self.deregisters(group)) for group in PLACES]
        workers = [asyncio.ensure_future(self.work()) for _ in range(concurrency)]
        try:
            while (left := start + seconds - self.loop.time()) > 0:
                await asyncio.wait((*around, *workers), timeout=min(left, 1.0), return_when=asyncio.FIRST_COMPLETED)
                progress(self.state(self.loop.time() - start))
                if any(task.done() for task in (*around, *workers)):
                    break
            self.ending = True
            await _ended(around)
            await asyncio.gather(*workers)
            took = self.loop.time() - start
            await self._nothing_is_left()
            await self._stop()
        finally:
            await _ended([*around, *workers, watch])
            await self._stops()
            unsubscribe()
            for target in self.targets:
                target.close()
        return took

    def state(self, seconds: float) -> str:
        """The state in one line."""
        return (
            f"{seconds:5.0f} s: {len(self.balancer.tunnels):4} tunnels open, {self.opened:6} opened,"
            f" {self.checked / 1e6:7.0f} MB checked, {len(self.faults)} faults"
        )

    async def _nothing_is_left(self) -> None:
        gateway = self.gateway
        await _until(lambda: not (gateway.tunnels or gateway.clients), GRACE + _SLACK)
        for tunnel in self.balancer.tunnels:
            self.fault(f"left behind: {tunnel!r}")
        if gateway.clients:
            self.fault(f"left behind: {len(gateway.clients)} client connections")
        for target in self.targets:
            await self._idle_are_closed(target)
        self._counts_are_zero(gateway)

    async def _idle_are_closed(self, target: EchoTarget) -> None:
        for end in tuple(target.ends):
            end.transport.abort()
        await asyncio.gather(*(end.over for end in target.ends))
        await _until(lambda: not self.gateway.connections.count, _SLACK)

    def _counts_are_zero(self, gateway: Runtime) -> None:
        if gateway.connections.count:
            self.fault(f"left behind: {gateway.connections.count} target connections")
        gauges = {name: count for name, count in self.balancer.counters.items() if name.startswith("Active") and count}
        if gauges:
            self.fault(f"gauges behind the end: {gauges}")
        for member in self.members:
            if member.outstanding or member.tunnels:
                self.fault(f"{member!r}, tunnels={member.tunnels} behind the end")
        known = sum(self.balancer.counters[name] for name in self.balancer.counters if name.startswith("TunnelEnd_"))
        if known != self.opened or self.balancer.counters["TunnelCount"] != self.opened:
            self.fault(f"{self.opened} tunnels told of, {self.balancer.counters['TunnelCount']} counted, {known} ends counted")

    async def _stop(self) -> None:
        """Test well-behaved sessions with a load balancer that stops."""
        gateway = self.gateway
        sessions = [asyncio.ensure_future(self.run(WAY_STOPPED)) for _ in range(20)]
        await _until(lambda: len(gateway.tunnels) == len(sessions), _PATIENCE)
        await asyncio.sleep(0.05)
        await self._stops()
        await asyncio.gather(*sessions)
        if gateway.tunnels or gateway.clients:
            self.fault("left behind by stop()")
        self._counts_are_zero(gateway)

    async def _stops(self) -> None:
        """Stop it; a second call does nothing."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.balancer.stop()
        except TimeoutError:
            self.fault(f"stop() has not returned after {_PATIENCE:g} seconds")


async def _until(holds: Callable[[], bool], within: float) -> None:
    """Wait until a condition holds, or this many seconds are over."""
    for _ in range(int(within * 100)):
        if holds():
            return
        await asyncio.sleep(0.01)


async def _stopped(session: Session) -> None:
    if await session.open():
        while session.client.may_send:
            await session.talk(1)
            await asyncio.sleep(0.02)
        await session.client.over
        session.whole = True


WAY_STOPPED = Way("stopped", _stopped, frozenset((END.STOP,)), ("plain", "pinged"), True, True)


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks, and raise what one of them has raised."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result


def open_descriptors() -> list[str]:
    """The open descriptors of this process; nothing if the system does not list them."""
    found: list[str] = []
    place = Path("/proc/self/fd")
    for entry in place.iterdir() if place.exists() else ():
        with contextlib.suppress(OSError):  # The one that this very list is read from.
            found.append(f"{entry.name} {entry.readlink()}")
    return found


async def _first_stream() -> None:
    """Open a stream, because from the first one on libuv keeps a descriptor in reserve, which is not a leak."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    server.close()
    await server.wait_closed()


async def soak(
    seconds: float, *, concurrency: int = 200, seed: int = 1, progress: Callable[[str], None] = lambda _: None, covers: bool = True
) -> Outcome:
    """Open and end tunnels for a while.

    Args:
        seconds: For how long new sessions start; ending all of them takes some seconds more.
        concurrency: How many sessions run at the same time.
        seed: The seed of all random choices. It does not control the order in which sockets become ready.
        progress: Called with the state from time to time.
        covers: Whether it is an error if a way or a kind of end did not occur.
    """
    loop = asyncio.get_running_loop()
    complaints: list[str] = []
    before_handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: complaints.append(str(context)))
    errors = _Errors()
    log = logging.getLogger("albkit")
    propagated = log.propagate
    log.propagate = False
    log.addHandler(errors)
    await _first_stream()
    gc.collect()
    tasks, files = len(asyncio.all_tasks()), len(open_descriptors())
    it = Soak(seed)
    try:
        took = await it.go(seconds, concurrency, progress)
        # A transport closes its socket in a later round of the loop.
        for _ in range(200):
            if len(asyncio.all_tasks()) == tasks and len(open_descriptors()) == files:
                break
            await asyncio.sleep(0.01)
        gc.collect()
        await asyncio.sleep(0)
    finally:
        log.removeHandler(errors)
        log.propagate = propagated
        loop.set_exception_handler(before_handler)
    if len(asyncio.all_tasks()) != tasks:
        it.fault(f"{len(asyncio.all_tasks())} tasks behind the end, {tasks} before: {asyncio.all_tasks()}")
    if len(open_descriptors()) != files:
        it.fault(f"{files} descriptors before, and behind the end {open_descriptors()}")
    if covers:
        for how in (*WAYS, WAY_STOPPED):
            if not it.whole[how.name]:
                it.fault(f"no session went through: {how.name}")
        for end in END:
            if not any(seen is end for _, seen in it.ends):
                it.fault(f"no tunnel ended by {end}")
    it.faults += [f"the loop complains: {text}" for text in complaints]
    it.faults += [f"logged: {text}" for text in errors.texts]
    return Outcome(it.faults, it.begun, it.whole, it.ends, it.statuses, it.opened, it.checked, took, it.lag, it.events)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tunnel_soak", description="Opens and kills tunnels in every way.")
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (60)")
    parser.add_argument("--tunnels", type=int, default=200, help="how many at a time (200)")
    parser.add_argument("--seed", type=int, default=None, help="of all choices; by chance unless given")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="uvloop")
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    concurrency = min(options.tunnels, (descriptors(8 * options.tunnels + 200) - 200) // 8)
    print(f"{options.loop}, seed {seed}, {concurrency} sessions at a time, {options.seconds:g} s", flush=True)

    def show(text: str) -> None:
        print(f"\r{text}", end="", flush=True) if sys.stdout.isatty() else print(text, flush=True)

    async def go() -> Outcome:
        return await soak(options.seconds, concurrency=concurrency, seed=seed, progress=show, covers=options.seconds >= 3)

    run: Callable[[Awaitable[Outcome]], Outcome]
    if options.loop == "uvloop":
        import uvloop

        run = cast("Callable[[Awaitable[Outcome]], Outcome]", uvloop.run)
    else:
        run = cast("Callable[[Awaitable[Outcome]], Outcome]", asyncio.run)
    outcome = run(go())
    print()
    for line in outcome.report():
        print(line)
    for text in outcome.faults[:50]:
        print("FAULT", text)
    print(f"{len(outcome.faults)} faults")
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())

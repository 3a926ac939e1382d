"""An HTTP/2 client that sends what a test says, right or wrong, and keeps every frame that comes.

It stands on a client in raw bytes: `H2Client(await it.client())` in the clear, with prior knowledge, and over TLS
`H2Client(await it.secure(client_context(alpn=("h2",))))`. Nothing runs in the background: frames are read when a test waits for something.
Frames come from `tests.support.h2_frames`; hyperframe and hpack read the answers.

    client = await H2Client(await it.client()).start()
    client.send(get(1), data(1))
    assert await client.reset(1) == STREAM_CLOSED
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support import h2_frames
from tests.support.h2_frames import PREFACE, Field, request_fields
from tests.support.peers import Peer

PATIENCE = 5.0
"""Seconds to wait for anything."""
WINDOW = 65535

AnyFrame = TypeVar("AnyFrame", bound=Frame)


class H2Answer:
    """What has come on one stream."""

    def __init__(self) -> None:
        self.blocks: list[list[Field]] = []
        """The decoded field blocks in order: interim answers, the head, the trailers."""
        self.body = b""
        self.has_ended = False
        """Whether END_STREAM has come."""
        self.reset: int | None = None
        """The code of RST_STREAM."""

    @property
    def heads(self) -> list[list[Field]]:
        """Blocks with a status; the last of them is the final one."""
        return [fields for fields in self.blocks if fields and fields[0][0] == ":status"]

    @property
    def status(self) -> int:
        """Of the last head."""
        return int(self.heads[-1][0][1])

    @property
    def fields(self) -> list[Field]:
        """The fields of the last head without its status."""
        return self.heads[-1][1:]

    @property
    def trailers(self) -> list[Field]:
        return [field for fields in self.blocks if fields and fields[0][0] != ":status" for field in fields]

    def get(self, name: str) -> str | None:
        """The value of a field that may stand once only."""
        values = [value for field, value in self.fields if field == name]
        assert len(values) <= 1, f"{name} stands {len(values)} times"
        return values[0] if values else None

    def __repr__(self) -> str:
        return f"<H2Answer {self.blocks} {self.body[:100]!r} has_ended={self.has_ended} reset={self.reset}>"


class H2Client:
    """A client of one connection.

    Args:
        peer: The connection.
        settings: Identifiers and values of our SETTINGS frame.
        polite: Whether it acknowledges SETTINGS and PING by itself.
        generous: Whether it returns window for the DATA that comes, on the stream and on the connection.
    """

    def __init__(self, peer: Peer, *, settings: tuple[tuple[int, int], ...] = (), polite: bool = True, generous: bool = True) -> None:
        self.peer = peer
        self.settings = settings
        self.polite = polite
        self.generous = generous
        self.frames: list[Frame] = []
        """Every frame that has come, in order."""
        self.answers: dict[int, H2Answer] = {}
        """By stream."""
        self.their_settings: dict[int, int] = {}
        self.has_ended = False
        """Whether the load balancer has closed the connection."""
        self.window = WINDOW
        """Bytes of DATA that we may send on the connection; `windows` those of each stream."""
        self.windows: dict[int, int] = {}
        self.encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self._buffer = bytearray()
        self._block: tuple[int, bytes, bool] | None = None
        self._next_stream = 1

    async def start(self) -> H2Client:
        """Send the preface and SETTINGS, and wait until SETTINGS have been exchanged and acknowledged."""
        self.send(PREFACE, h2_frames.settings(*self.settings))
        await self.wait_for(SettingsFrame, lambda frame: "ACK" not in frame.flags)
        await self.wait_for(SettingsFrame, lambda frame: "ACK" in frame.flags)
        return self

    # Sending.

    def send(self, *pieces: bytes) -> None:
        """Send bytes; several pieces in one write."""
        self.peer.send(b"".join(pieces))

    def request(self, method: str = "GET", path: str = "/", *more: Field, end: bool = True, **names: str) -> int:
        """Send the head of a request on the next stream, compressed as h2 does it: the number of the stream."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        fields = self.encoder.encode(request_fields(method, path, *more, **names))
        self.send(h2_frames.headers(stream, fields, end=end))
        return stream

    async def send_body(self, stream: int, body: bytes, *, end: bool = True) -> None:
        """Send a body in frames of 16 KiB at most as the windows allow; stops early if the stream is reset or answered."""
        place = 0
        initial = self.their_settings.get(h2_frames.INITIAL_WINDOW_SIZE, WINDOW)
        while place < len(body):
            answer = self.answers.get(stream)
            if answer is not None and (answer.has_ended or answer.reset is not None):
                return
            size = min(16384, len(body) - place, self.window, self.windows.setdefault(stream, initial))
            if size <= 0:
                await self.next_frame()
                continue
            self.window -= size
            self.windows[stream] -= size
            self.send(h2_frames.data(stream, body[place : place + size], end=end and place + size == len(body)))
            await self.peer.drain()
            place += size

    # Reading.

    async def next_frame(self) -> Frame | None:
        """The next frame that comes, None at the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            while len(self._buffer) < 9 or len(self._buffer) < 9 + int.from_bytes(self._buffer[:3], "big"):
                try:
                    piece = await self.peer.read()
                except ConnectionError:
                    piece = b""
                if not piece:
                    self.has_ended = True
                    return None
                self._buffer += piece
        frame, size = Frame.parse_frame_header(memoryview(self._buffer[:9]), strict=False)
        frame.parse_body(memoryview(bytes(self._buffer[9 : 9 + size])))
        del self._buffer[: 9 + size]
        self.frames.append(frame)
        self._take(frame)
        return frame

    async def wait_for(self, kind: type[AnyFrame], suits: Callable[[AnyFrame], bool] = lambda _: True) -> AnyFrame:
        """The first frame of a kind that suits, of those that have come and those to come. The same frame is not found twice."""
        for frame in self.frames:
            if isinstance(frame, kind) and not hasattr(frame, "awaited") and suits(frame):
                frame.awaited = True
                return frame
        while (frame := await self.next_frame()) is not None:
            if isinstance(frame, kind) and suits(frame):
                frame.awaited = True
                return frame
        raise AssertionError(f"no {kind.__name__} came; instead {self.frames}")

    async def answer(self, stream: int) -> H2Answer:
        """The whole answer on a stream, or what came of it before a reset or the end of the connection."""
        while not self._is_over(stream) and await self.next_frame() is not None:
            pass
        return self.answers.setdefault(stream, H2Answer())

    async def head(self, stream: int) -> H2Answer:
        """The answer as far as it has come when its head is there."""
        while not (stream in self.answers and (self.answers[stream].blocks or self._is_over(stream))):
            if await self.next_frame() is None:
                break
        return self.answers.setdefault(stream, H2Answer())

    async def get(self, path: str = "/", *more: Field, method: str = "GET") -> H2Answer:
        """Send a request without a body: its whole answer."""
        return await self.answer(self.request(method, path, *more))

    async def reset(self, stream: int) -> int:
        """Wait for RST_STREAM on a stream: its code."""
        frame = await self.wait_for(RstStreamFrame, lambda frame: frame.stream_id == stream)
        code: int = frame.error_code
        return code

    async def goaway(self) -> int:
        """Wait for GOAWAY and for the end of the connection: its code."""
        frame = await self.wait_for(GoAwayFrame)
        await self.end()
        code: int = frame.error_code
        return code

    async def end(self) -> None:
        """Wait for the end of the connection."""
        while not self.has_ended:
            await self.next_frame()

    async def alive(self) -> None:
        """See that the connection is open and that all we have sent is read: a PING is answered."""
        self.send(h2_frames.ping(b"is alive"))
        await self.wait_for(PingFrame, lambda frame: "ACK" in frame.flags and frame.opaque_data == b"is alive")

    async def close(self) -> None:
        await self.peer.close()

    def _is_over(self, stream: int) -> bool:
        answer = self.answers.get(stream)
        return answer is not None and (answer.has_ended or answer.reset is not None)

    def _take(self, frame: Frame) -> None:
        """What follows from a frame."""
        if isinstance(frame, HeadersFrame):
            self._take_block(frame.stream_id, frame.data, "END_STREAM" in frame.flags, "END_HEADERS" in frame.flags)
        elif isinstance(frame, ContinuationFrame):
            assert self._block is not None
            stream, head, is_last = self._block
            assert stream == frame.stream_id
            self._take_block(stream, head + frame.data, is_last, "END_HEADERS" in frame.flags)
        elif isinstance(frame, DataFrame):
            self._take_data(frame)
        elif isinstance(frame, RstStreamFrame):
            self.answers.setdefault(frame.stream_id, H2Answer()).reset = frame.error_code
        elif isinstance(frame, WindowUpdateFrame):
            if frame.stream_id:
                initial = self.their_settings.get(h2_frames.INITIAL_WINDOW_SIZE, WINDOW)
                self.windows[frame.stream_id] = self.windows.get(frame.stream_id, initial) + frame.window_increment
            else:
                self.window += frame.window_increment
        elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.their_settings.update(frame.settings)
            if self.polite:
                self._reply(h2_frames.settings(ack=True))
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags and self.polite:
            self._reply(h2_frames.ping(frame.opaque_data, ack=True))

    def _take_block(self, stream: int, block: bytes, is_last: bool, is_whole: bool) -> None:
        if not is_whole:
            self._block = stream, block, is_last
            return
        self._block = None
        answer = self.answers.setdefault(stream, H2Answer())
        answer.blocks.append([(str(name), str(value)) for name, value in self._decoder.decode(block)])
        answer.has_ended |= is_last

    def _take_data(self, frame: DataFrame) -> None:
        answer = self.answers.setdefault(frame.stream_id, H2Answer())
        answer.body += frame.data
        answer.has_ended |= "END_STREAM" in frame.flags
        if self.generous and frame.flow_controlled_length:
            updates = [h2_frames.window_update(0, frame.flow_controlled_length)]
            if not answer.has_ended:
                updates.append(h2_frames.window_update(frame.stream_id, frame.flow_controlled_length))
            self._reply(*updates)

    def _reply(self, *pieces: bytes) -> None:
        """Send what nobody has asked for. The connection may be gone; what has come is read all the same."""
        with contextlib.suppress(ConnectionError):
            self.send(*pieces)

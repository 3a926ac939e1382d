"""A stream as a transport: what its protocol is told, and which frames the peer gets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from albkit.model.limits import Limits
from albkit.proxy.http2.buffer_budget import BufferBudget
from albkit.proxy.http2.connection import Http2Connection
from albkit.proxy.http2.stream import Http2Stream
from albkit.proxy.http2.stream_transport import StreamTransport
from albkit.wire.http2.frames import ErrorCode, Http2Error
from tests.support import h2_frames
from tests.support.h2_frames import DATA, END_STREAM, RST_STREAM, WINDOW_UPDATE, data, rst_stream, window_update

_STREAM = 1
_WINDOW = 65535
"""What the peer gives for the stream and for the connection."""


class _Socket(asyncio.Transport):
    """The transport of the connection: remembers what was written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1234), "socket": object()})
        self.written = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))


class _Connection(Http2Connection):
    """A connection that knows frames, and nothing of requests."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.budget = BufferBudget(2**30)
        super().__init__(loop, Limits(in_flight=_WINDOW), self.budget, awaits_preface=False)
        self.socket = _Socket()
        self.connection_made(self.socket)
        self.data_received(h2_frames.settings())

    def is_idle_stream(self, stream_id: int) -> bool:
        return stream_id != _STREAM

    def failed(self, error: Http2Error) -> None:
        raise AssertionError(error)


class _Stream(Http2Stream):
    """A stream without an exchange."""

    def __init__(self, connection: Http2Connection) -> None:
        self.connection = connection
        self.open_stream(_STREAM, ended_receiving=False, length=-1)
        connection.streams[_STREAM] = self

    def was_reset(self, code: int, detail: str = "") -> None:
        assert self.tunnel is not None
        self.tunnel.was_reset(code, detail)


class _Side(asyncio.Protocol):
    """The protocol above, which remembers what it is told."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.keeps_open = True
        self.pauses: StreamTransport | None = None
        """Paused at the first data."""

    def data_received(self, data: bytes) -> None:
        self.events.append(data)
        if self.pauses is not None:
            self.pauses.pause_reading()

    def eof_received(self) -> bool:
        self.events.append("eof")
        return self.keeps_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append(("lost", exc if exc is None else type(exc)))

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")


class _Pair:
    """A transport, its protocol, and the peer."""

    def __init__(self, *, reads: bool = True) -> None:
        self.connection = _Connection(asyncio.get_running_loop())
        self.stream = _Stream(self.connection)
        self.transport = StreamTransport(self.stream, asyncio.get_running_loop())
        self.side = _Side()
        self.transport.set_protocol(self.side)
        if reads:
            self.transport.resume_reading()
        self.frames()

    @property
    def events(self) -> list[object]:
        return self.side.events

    def receive(self, *frames: bytes) -> None:
        """The peer sends, and what may be sent then is sent."""
        self.connection.data_received(b"".join(frames))
        self.connection.flush()

    def frames(self) -> list[tuple[int, int, bytes]]:
        """Kind, flags and payload of every frame of the stream that was sent since the last call."""
        self.connection.flush()
        sent = bytes(self.connection.socket.written)
        self.connection.socket.written.clear()
        return [(kind, flags, payload) for kind, flags, stream, payload in _frames(sent) if stream == _STREAM]

    def body(self) -> bytes:
        """The DATA that was sent since the last call."""
        return b"".join(payload for kind, _, payload in self.frames() if kind == DATA)


def _frames(sent: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    while sent:
        end = 9 + int.from_bytes(sent[:3], "big")
        yield sent[3], sent[4], int.from_bytes(sent[5:9], "big"), sent[9:end]
        sent = sent[end:]


def _reset(code: int) -> tuple[int, int, bytes]:
    return RST_STREAM, 0, code.to_bytes(4, "big")


_END = DATA, END_STREAM, b""


async def _turn() -> None:
    """What was put off is done."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_written_bytes_become_data_frames() -> None:
    """Each write leaves as DATA without END_STREAM; empty ones do not leave."""
    it = _Pair()
    it.transport.write(b"one")
    it.transport.write(b"")
    it.transport.writelines([b"two", bytearray(b"three"), memoryview(b"four")])
    assert it.frames() == [(DATA, 0, b"one"), (DATA, 0, b"twothreefour")]


async def test_bytes_beyond_the_window_wait_and_pause_the_protocol() -> None:
    """Above the high mark, the protocol is paused once; at the low mark, it is resumed once. No byte is lost."""
    it = _Pair()
    it.transport.set_write_buffer_limits(high=1000, low=100)
    it.transport.write(b"a" * (_WINDOW + 1000))
    assert it.transport.get_write_buffer_size() == 1000
    assert it.events == []
    it.transport.write(b"b" * 100)
    it.transport.write(b"c")
    assert it.events == ["pause"]
    it.receive(window_update(0, 5000), window_update(_STREAM, 1000))
    assert it.events == ["pause"]
    it.receive(window_update(_STREAM, 1))
    assert it.transport.get_write_buffer_size() == 100
    assert it.events == ["pause", "resume"]
    it.receive(window_update(_STREAM, 1000))
    assert it.events == ["pause", "resume"]
    assert it.body() == b"a" * (_WINDOW + 1000) + b"b" * 100 + b"c"


async def test_limits_of_the_write_buffer_are_those_of_asyncio() -> None:
    """Without a low mark it is a quarter of the high one; without both the high one is `Limits.in_flight`."""
    it = _Pair()
    assert it.transport.get_write_buffer_limits() == (_WINDOW // 4, _WINDOW)
    it.transport.set_write_buffer_limits(high=800)
    assert it.transport.get_write_buffer_limits() == (200, 800)
    it.transport.set_write_buffer_limits(low=50)
    assert it.transport.get_write_buffer_limits() == (50, 200)
    it.transport.set_write_buffer_limits()
    assert it.transport.get_write_buffer_limits() == (_WINDOW // 4, _WINDOW)


async def test_full_connection_pauses_the_protocol() -> None:
    """If the socket takes no more, the protocol is paused, although the window of the stream is open."""
    it = _Pair()
    it.connection.pause_writing()
    it.connection.resume_writing()
    assert it.events == ["pause", "resume"]


async def test_transport_of_a_full_connection_reports_only_that_there_is_room() -> None:
    """The exchange has reported that the client was full before the tunnel; the transport reports the end of that."""
    it = _Pair()
    it.connection.pause_writing()
    transport = StreamTransport(it.stream, asyncio.get_running_loop())
    side = _Side()
    transport.set_protocol(side)
    transport.write(b"x")
    assert side.events == []
    it.connection.resume_writing()
    assert side.events == ["resume"]


async def test_data_that_comes_while_reading_is_paused_is_delivered_first() -> None:
    """It is delivered after resume_reading() has returned, in one piece, and before everything that comes later."""
    it = _Pair(reads=False)
    it.receive(data(_STREAM, b"a"), data(_STREAM, b"b"))
    assert it.events == []
    it.transport.resume_reading()
    assert it.events == []
    it.receive(data(_STREAM, b"c"))
    await _turn()
    it.receive(data(_STREAM, b"d", end=True))
    assert it.events == [b"abc", b"d", "eof"]


async def test_paused_transport_gives_no_window_back() -> None:
    """Only when the protocol has taken the data, the peer may send as much again. So no more than one window is ever kept."""
    it = _Pair(reads=False)
    it.receive(*[data(_STREAM, b"x" * 10000)] * 6)
    assert it.frames() == []
    it.transport.resume_reading()
    assert it.frames() == []
    await _turn()
    assert it.events == [b"x" * 60000]
    assert it.frames() == [(WINDOW_UPDATE, 0, (60000).to_bytes(4, "big"))]


async def test_protocol_that_pauses_gets_its_end_after_it_has_resumed() -> None:
    """END_STREAM in the frame at which the protocol paused, and in an empty one after it, are delivered at last."""
    for frames in ([data(_STREAM, b"last", end=True)], [data(_STREAM, b"last"), data(_STREAM, b"", end=True)]):
        it = _Pair()
        it.side.pauses = it.transport
        it.receive(*frames)
        await _turn()
        assert it.events == [b"last"]
        it.transport.resume_reading()
        await _turn()
        assert it.events == [b"last", "eof"]


async def test_pause_right_after_resume_delivers_nothing() -> None:
    """What was put off by resume_reading() does not happen if reading is paused again."""
    it = _Pair(reads=False)
    it.receive(data(_STREAM, b"kept", end=True))
    it.transport.resume_reading()
    it.transport.pause_reading()
    await _turn()
    assert it.events == []
    it.transport.resume_reading()
    await _turn()
    assert it.events == [b"kept", "eof"]


async def test_peer_that_exceeds_the_window_of_a_paused_stream_is_reset() -> None:
    """The protocol gets what had come within the window, and then the loss."""
    it = _Pair(reads=False)
    it.receive(*[data(_STREAM, b"x" * 16384)] * 4)
    await _turn()
    assert it.frames() == [_reset(ErrorCode.FLOW_CONTROL_ERROR)]
    assert it.events == [b"x" * 3 * 16384, ("lost", ConnectionResetError)]


async def test_half_close_ends_one_direction() -> None:
    """write_eof() sends END_STREAM behind what was written; the peer may still send, and its END_STREAM is the end of the stream."""
    it = _Pair()
    assert it.transport.can_write_eof()
    it.transport.write(b"bye")
    it.transport.write_eof()
    it.transport.write_eof()
    it.transport.write(b"too late")
    assert it.frames() == [(DATA, 0, b"bye"), _END]
    it.receive(data(_STREAM, b"still here"))
    assert it.connection.streams
    it.receive(data(_STREAM, b"", end=True))
    assert it.events == [b"still here", "eof"]
    assert not it.connection.streams
    it.transport.close()
    await _turn()
    assert it.frames() == []
    assert it.events[2:] == [("lost", None)]


async def test_half_close_waits_for_the_window() -> None:
    """END_STREAM leaves with the last byte."""
    it = _Pair()
    it.transport.write(b"a" * (_WINDOW + 1))
    it.transport.write_eof()
    assert not any(flags for _, flags, _ in it.frames())
    it.receive(window_update(0, 1), window_update(_STREAM, 1))
    assert it.frames() == [(DATA, END_STREAM, b"a")]


async def test_protocol_that_does_not_keep_its_side_open_is_closed() -> None:
    """As asyncio's transports, this one closes if eof_received() returns a false value."""
    it = _Pair()
    it.side.keeps_open = False
    it.receive(data(_STREAM, b"", end=True))
    assert it.frames() == [_END]
    await _turn()
    assert it.events == ["eof", ("lost", None)]


async def test_close_ends_both_directions() -> None:
    """A peer that has not ended its side gets RST_STREAM with NO_ERROR behind END_STREAM. What it still sends is discarded."""
    it = _Pair()
    it.transport.close()
    it.transport.close()
    assert it.transport.is_closing()
    assert it.events == []
    assert it.frames() == [_END, _reset(ErrorCode.NO_ERROR)]
    it.receive(data(_STREAM, b"in flight"))
    await _turn()
    assert it.events == [("lost", None)]


async def test_close_after_half_close_resets_what_the_peer_leaves_open() -> None:
    """END_STREAM was sent before; only the reset is left."""
    it = _Pair()
    it.transport.write_eof()
    it.frames()
    it.transport.close()
    assert it.frames() == [_reset(ErrorCode.NO_ERROR)]


@pytest.mark.parametrize("half_closed", [False, True])
async def test_close_sends_what_waits_first(half_closed: bool) -> None:
    """As long as something waits for a window, the stream stays open, and the protocol is not called any more."""
    it = _Pair()
    it.transport.write(b"a" * (_WINDOW + 2))
    if half_closed:
        it.transport.write_eof()
    it.transport.close()
    it.transport.write(b"too late")
    it.frames()
    it.receive(*[data(_STREAM, b"in flight" * 1000)] * 5, window_update(0, 5), window_update(_STREAM, 1))
    await _turn()
    assert (it.events, it.frames()) == ([], [(DATA, 0, b"a")])  # And no window for what is discarded.
    it.receive(window_update(_STREAM, 1))
    await _turn()
    assert it.frames() == [(DATA, END_STREAM, b"a"), _reset(ErrorCode.NO_ERROR)]
    assert it.events == [("lost", None)]


async def test_abort_resets_at_once() -> None:
    """What waits is dropped, and counts nowhere any more; connection_lost() follows in a later turn."""
    it = _Pair()
    it.transport.write(b"a" * (_WINDOW + 2))
    it.frames()
    it.transport.abort()
    it.transport.abort()
    it.transport.close()
    assert it.transport.is_closing()
    assert it.frames() == [_reset(ErrorCode.CANCEL)]
    assert it.events == []
    await _turn()
    assert it.events == [("lost", None)]
    assert it.transport.get_write_buffer_size() == it.connection.budget.total == 0


async def test_abort_during_close_ends_the_wait() -> None:
    """A tunnel waits for a slow peer as long as its deadlines allow."""
    it = _Pair()
    it.transport.write(b"a" * (_WINDOW + 2))
    it.transport.close()
    it.frames()
    it.transport.abort()
    assert it.frames() == [_reset(ErrorCode.CANCEL)]
    await _turn()
    assert it.events == [("lost", None)]


@pytest.mark.parametrize("code", [ErrorCode.NO_ERROR, ErrorCode.CANCEL])
async def test_reset_by_the_peer_is_a_lost_connection(code: ErrorCode) -> None:
    """Without END_STREAM before, any code means that the tunnel was cut."""
    it = _Pair()
    it.receive(rst_stream(_STREAM, code))
    it.transport.write(b"too late")
    await _turn()
    assert it.events == [("lost", ConnectionResetError)]
    assert it.frames() == []
    it.transport.abort()
    await _turn()
    assert it.events == [("lost", ConnectionResetError)]


async def test_reset_without_error_after_the_end_is_no_cut() -> None:
    """The peer has sent everything and wants nothing more."""
    it = _Pair()
    it.receive(data(_STREAM, b"", end=True), rst_stream(_STREAM, ErrorCode.NO_ERROR))
    await _turn()
    assert it.events == ["eof", ("lost", None)]


@pytest.mark.parametrize("ended", [False, True])
async def test_what_came_before_a_reset_is_delivered_before_the_loss(ended: bool) -> None:
    """Data that was kept while reading was paused may end with a Close frame."""
    it = _Pair(reads=False)
    it.receive(data(_STREAM, b"kept", end=ended), rst_stream(_STREAM))
    assert it.events == []
    await _turn()
    assert it.events == [b"kept", *(["eof"] if ended else []), ("lost", ConnectionResetError)]


async def test_lost_connection_cuts_a_stream_that_has_not_ended() -> None:
    """FIN of the connection is no END_STREAM of the stream."""
    for end, exc, expected in (
        (False, None, ConnectionResetError),
        (False, BrokenPipeError(), BrokenPipeError),
        (True, None, None),
    ):
        it = _Pair()
        it.receive(*[data(_STREAM, b"", end=True)] * end)
        it.transport.connection_lost(exc)
        await _turn()
        assert it.events == [*["eof"] * end, ("lost", expected)]


async def test_reset_while_the_protocol_writes_is_reported_later() -> None:
    """A write may find the connection at its end. The protocol is not called within its own call."""
    it = _Pair()

    def hold(size: int) -> None:
        del size
        it.connection.take_streams()
        it.transport.connection_lost(None)

    it.connection.hold = hold  # type: ignore[method-assign]
    it.transport.write(b"a" * (_WINDOW + 1))
    assert "lost" not in str(it.events)
    await _turn()
    assert it.events[-1] == ("lost", ConnectionResetError)


async def test_transport_names_the_peer_and_hides_the_socket() -> None:
    """The socket belongs to the other streams as well."""
    it = _Pair()
    assert it.transport.get_extra_info("peername") == ("192.0.2.1", 1234)
    assert it.transport.get_extra_info("socket") is None
    it.connection.connection_lost(None)
    assert it.transport.get_extra_info("peername", "gone") == "gone"
    assert it.transport.get_protocol() is it.side
    assert it.transport.is_reading()
    assert "stream 1: open" in repr(it.transport)

"""An HTTP/2 client's connection, event by event, without a socket."""

from __future__ import annotations

import asyncio

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, RstStreamFrame

from albkit.errors import FailureKind
from albkit.model.limits import Limits
from albkit.proxy.client.buffered_body import BufferedBody
from tests.proxy.client.connections import response, turns
from tests.proxy.client.http2_connections import Connected, Server
from tests.support.h2_frames import (
    INITIAL_WINDOW_SIZE,
    REFUSED_STREAM,
    data,
    get,
    ping,
    post,
    rst_stream,
    window_update,
)


@pytest.fixture(autouse=True)
async def _guarded(loop_guard: None) -> None:
    """See `loop_guard`."""


async def test_client_that_reads_nothing_is_not_read() -> None:
    """What it asks for would have to be kept. It is read again when its socket has room."""
    server = Server()
    it = Connected(server).begin()
    it.transport.calls.clear()
    it.connection.pause_writing()
    assert it.transport.calls == ["pause_reading"]
    it.connection.resume_writing()
    assert it.transport.calls == ["pause_reading", "resume_reading"]
    await it.end()


async def test_rest_does_not_end_while_the_client_reads_nothing() -> None:
    """Both reasons not to read have to end."""
    it = Connected(Server(), limits=Limits(http2_control_frames=5000)).begin()
    it.transport.calls.clear()
    it.receive(ping() * 251)
    it.connection.pause_writing()
    await turns()
    assert "resume_reading" not in it.transport.calls
    it.connection.resume_writing()
    assert it.transport.calls[-1] == "resume_reading"
    await it.end()


async def test_body_waits_in_its_stream_while_the_socket_is_full() -> None:
    """It counts as waiting for the client, and is sent when the socket has room."""
    it = Connected(Server()).begin()
    it.receive(get(1))
    await turns()
    exchange = it.exchange()
    exchange.start_response(response(-1), b"")
    exchange.write_body([b"one"], False, [])
    it.frames()
    it.connection.pause_writing()
    exchange.write_body([b"two"], True, [])
    assert it.frames() == []
    assert exchange.is_full
    assert it.runtime.http2_buffers.total == 3
    it.connection.resume_writing()
    assert it.body() == b"two"
    assert it.runtime.http2_buffers.total == 0
    assert not it.connection.streams
    exchange.wake()
    await it.end()


async def test_large_body_is_not_written_beyond_what_the_socket_takes() -> None:
    """A client with large windows that reads nothing gets no more than its socket takes at once."""
    it = Connected(Server()).begin((INITIAL_WINDOW_SIZE, 2**31 - 1))
    it.receive(window_update(0, 2**30))
    streams = range(1, 41, 2)
    it.receive(*[get(stream) for stream in streams])
    await turns()
    write = it.transport.write

    def full(data: bytes) -> None:
        write(data)
        it.connection.pause_writing()

    it.transport.write = full  # type: ignore[method-assign]
    for stream in streams:
        exchange = it.exchange(stream)
        exchange.start_response(response(-1), b"")
        exchange.write_body([bytes(256 * 1024)], False, [])
    await turns()
    assert sum(map(len, it.transport.written)) < 600 * 1024
    assert it.runtime.http2_buffers.total > 4 * 2**20
    await it.end()


async def test_frames_of_streams_after_the_last_goaway_are_ignored() -> None:
    """They were on their way: neither HEADERS, DATA, WINDOW_UPDATE nor RST_STREAM harms the streams in progress (RFC 9113 section 6.8)."""
    it = Connected(Server()).begin()
    it.receive(get(1))
    await turns()
    it.connection.stop()
    it.receive(ping(b"shutdown", ack=True))
    it.frames()
    it.receive(post(3), data(3, b"body"), window_update(3, 5), rst_stream(3), data(3, end=True), data(5))
    assert it.connection.streams.keys() == {1}
    assert not it.connection.is_ending
    assert it.frames() == []
    exchange = it.exchange()
    exchange.start_response(response(0), b"")
    exchange.write_body([], True, [])
    exchange.wake()
    await turns()
    assert it.transport.calls[-1] == "write_eof"
    await it.end()


async def test_reset_behind_the_last_byte_of_a_response_fails_no_other_exchange() -> None:
    """The target has sent all, some of it waits for the window, and the client resets before the task has noticed."""
    server = Server()
    it = Connected(server).begin((INITIAL_WINDOW_SIZE, 0))
    it.receive(get(1))
    await turns()
    exchange = it.exchange()
    exchange.start_response(response(4), b"")
    exchange.write_body([b"test"], True, [])
    exchange.wake()
    it.receive(rst_stream(1))
    await turns()
    it.receive(get(3))
    await turns()
    assert server.failures == []
    assert len(server.heads) == 2
    await it.end()


async def test_task_cancelled_before_its_first_step_leaves_nothing() -> None:
    """The program may cancel all tasks at any time."""
    it = Connected(Server()).begin()
    before = asyncio.all_tasks()
    it.receive(get(1))
    (task,) = asyncio.all_tasks() - before
    task.cancel()
    await turns()
    assert not it.connection.exchanges
    assert [frame.error_code for frame in it.frames() if isinstance(frame, RstStreamFrame)] == [2]
    await it.end()


async def test_body_before_the_settings_are_acknowledged_may_fill_the_default_window() -> None:
    """The client does not know of a smaller window yet (RFC 9113 section 6.9.3)."""
    it = Connected(Server(), limits=Limits(in_flight=1024)).begin()
    it.receive(post(1), *[data(1, bytes(16000)) for _ in range(4)])
    await turns()
    assert it.connection.streams.keys() == {1}
    await it.end()


async def test_tiny_pieces_of_a_body_are_kept_in_few_objects() -> None:
    """A frame of one byte must not cost fifty bytes of memory."""
    it = Connected(Server(), limits=Limits(in_flight=2**20)).begin()
    it.receive(post(1))
    await turns()
    for _ in range(45):
        it.receive(*[data(1, b"x") for _ in range(200)])
    exchange = it.exchange()
    pieces = exchange._pieces
    assert pieces is not None
    assert b"".join(pieces) == b"x" * 9000
    assert len(pieces) < 20
    await it.end()


async def test_violation_of_a_stream_is_counted_once() -> None:
    """The exchange fails with it; it is no failure of the connection besides."""
    server = Server()
    it = Connected(server).begin()
    it.receive(post(1, "/", ("content-length", "3")))
    await turns()
    it.receive(data(1, b"four"))
    await turns()
    assert [failure.kind for failure in server.failures] == [FailureKind.REQUEST_BODY_MALFORMED]
    assert it.runtime.counters.failures == {}
    await it.end()


async def test_hung_target_is_noticed_beside_a_download() -> None:
    """What other streams of the connection send is no progress of this one."""
    server = Server()
    it = Connected(server, idle_timeout=4).begin()
    it.receive(get(1))
    await turns()
    for unsent in range(1, 7):
        it.transport.unsent = unsent
        it.sweep()
    await turns()
    assert [failure.kind for failure in server.failures] == [FailureKind.TARGET_TIMEOUT]
    await it.end()


async def test_client_that_reads_slowly_is_given_time() -> None:
    """While the socket is full, what the client takes from it is progress of every response."""
    server = Server()
    it = Connected(server, idle_timeout=4).begin()
    it.receive(get(1))
    await turns()
    exchange = it.exchange()
    exchange.start_response(response(-1), b"")
    exchange.write_body([b"part"], False, [])
    it.connection.pause_writing()
    for unsent in range(20, 1, -1):
        it.transport.unsent = unsent
        it.sweep()
    await turns()
    assert server.failures == []
    for _ in range(6):
        it.sweep()
    await turns()
    assert [failure.kind for failure in server.failures] == [FailureKind.CLIENT_STALLED]
    await it.end()


async def test_streams_beyond_the_limit_are_refused() -> None:
    """As many as the settings allow; one that ends makes room for another."""
    it = Connected(Server(), limits=Limits(http2_streams=2)).begin()
    it.receive(get(1), get(3), get(5))
    assert [(frame.stream_id, frame.error_code) for frame in it.frames() if isinstance(frame, RstStreamFrame)] == [(5, REFUSED_STREAM)]
    await turns()
    exchange = it.exchange(1)
    exchange.start_response(response(0), b"")
    exchange.write_body([], True, [])
    it.receive(get(7))
    assert it.connection.streams.keys() == {3, 7}
    exchange.wake()
    await it.end()


async def test_abandoned_connection_reads_nothing_more() -> None:
    """A rest may end behind it."""
    it = Connected(Server(), limits=Limits(http2_control_frames=5000)).begin()
    it.receive(ping() * 600)
    it.connection.abandon()
    calls = it.transport.calls
    calls.clear()
    await turns()
    assert calls == []
    assert [frame for frame in it.frames() if isinstance(frame, GoAwayFrame)] == []
    await it.end()


async def test_body_that_waits_for_a_target_is_counted_until_it_is_taken_or_dropped() -> None:
    """Clients could make a load balancer keep a window for each of their streams."""
    server = Server()
    it = Connected(server).begin()
    it.receive(post(1), data(1, b"12345"), post(3), data(3, b"123"), rst_stream(3), post(5), data(5, b"12", end=True))
    assert it.runtime.http2_buffers.total == 7
    await turns()
    assert it.exchange(5).whole_body() == ([b"12"], [])
    assert it.runtime.http2_buffers.total == 5
    body = BufferedBody()
    it.exchange(1).pump_body(body)
    assert it.runtime.http2_buffers.total == 0
    it.receive(data(1, b"67"))
    assert body.pieces == [b"12345", b"67"]
    it.exchange(1).park_body()
    it.receive(data(1, b"89"))
    assert it.runtime.http2_buffers.total == 2
    it.exchange(1).cut()
    assert it.runtime.http2_buffers.total == 0
    for exchange in server.exchanges:
        exchange.wake()
    await it.end()


async def test_window_updates_of_one_read_make_one_frame() -> None:
    """Windows that are opened in small parts must not cut the response into small frames, which would be updated one by one again."""
    it = Connected(Server()).begin((INITIAL_WINDOW_SIZE, 0))
    it.receive(get(1))
    await turns()
    exchange = it.exchange()
    exchange.start_response(response(-1), b"")
    exchange.write_body([bytes(5000)], False, [])
    it.frames()
    it.receive(*[window_update(1, 10), window_update(0, 5)] * 100)
    await turns()
    assert [len(frame.data) for frame in it.frames() if isinstance(frame, DataFrame)] == [1000]
    exchange.cut()
    exchange.wake()
    await it.end()

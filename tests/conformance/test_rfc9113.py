"""RFC 9113 from outside: what a client may send, what it may not, and what the load balancer sends.

The tables hold every case of h2spec's sections `generic` and `http2`; those of `hpack` are in `test_rfc7541.py`. A name begins with the
section of RFC 9113, or of RFC 7540 if the later document has dropped the rule.
"""

from __future__ import annotations

import socket

import pytest
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, SettingsFrame

import albkit as alb
from tests.conformance.h2_cases import (
    SIZE_OF_BIG,
    Case,
    answered,
    begun,
    cases,
    ended_well,
    goaway,
    play,
    read,
    refused,
    reset,
    sent,
    served,
    staged,
    turned_down,
    unharmed,
)
from tests.support.h2_client import H2Client
from tests.support.h2_frames import (
    CANCEL,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    block,
    continuation,
    data,
    dependency,
    frame,
    get,
    go_away,
    headers,
    literal,
    ping,
    post,
    priority,
    request_fields,
    rst_stream,
    settings,
    window_update,
)
from tests.support.peers import Conversation, response

pytestmark = [pytest.mark.usefixtures("loop_guard"), pytest.mark.timeout(30)]

UNKNOWN = 0xF0
"""A frame type, a setting and an error code that no document defines."""
MOST = 2**31 - 1
"""The largest window."""
BLOCK = block(request_fields())
SPLIT = headers(1, BLOCK[:9], whole=False), continuation(1, BLOCK[9:20], whole=False), continuation(1, BLOCK[20:])
OPEN_BLOCK = headers(1, BLOCK, whole=False)
"""CONTINUATION must follow."""
HALF_CLOSED = get(1, "/hold")
"""Stream 1 becomes half-closed (remote) and stays so, for the target does not answer."""
STALLED = (settings((INITIAL_WINDOW_SIZE, 0)), get(1), begun(1))
"""Stream 1 is half-closed (remote), with an answer that waits for window."""


@cases(
    ("3.4 preface and SETTINGS", get(), served()),
    # Streams.
    ("5.1 PRIORITY on an idle stream", priority(1), get(), served()),
    ("5.1 WINDOW_UPDATE on a half-closed stream", *STALLED, window_update(1, 2), served()),
    ("5.1 PRIORITY on a half-closed stream", *STALLED, priority(1, weight=256), window_update(1, 2), served()),
    ("5.1 RST_STREAM on a half-closed stream", HALF_CLOSED, rst_stream(1), unharmed),
    ("5.1 PRIORITY on a closed stream", get(), answered(), priority(1, weight=256), unharmed),
    ("5.1 WINDOW_UPDATE on a closed stream", get(), answered(), window_update(1, 1), unharmed),
    ("5.1 RST_STREAM on a closed stream", get(), answered(), rst_stream(1), unharmed),
    ("5.1 a stream behind one that was reset", HALF_CLOSED, rst_stream(1), get(3), served(3)),
    ("5.1.1 a stream number is skipped", get(7), served(7)),
    # Frames.
    ("6.1 DATA", post(1, "/echo"), data(1, end=True), served(body=b"test")),
    ("6.1 several DATA", post(1, "/echo"), data(1), data(1, end=True), served(body=b"testtest")),
    ("6.1 DATA with padding", post(1, "/echo"), data(1, padding=255, end=True), served(body=b"test")),
    ("6.1 DATA with padding of no byte", post(1, "/echo"), data(1, padding=0, end=True), served(body=b"test")),
    ("6.1 DATA of padding alone", post(1, "/echo"), data(1, b"", padding=9), data(1, end=True), served(body=b"test")),
    ("6.1 empty DATA ends a body", post(1, "/echo"), data(1), data(1, b"", end=True), served(body=b"test")),
    ("6.2 HEADERS", get(), served()),
    ("6.2 HEADERS with padding", headers(1, BLOCK, padding=200), served()),
    ("6.2 HEADERS with priority", headers(1, BLOCK, priority=dependency(0, weight=255)), served()),
    ("6.2 HEADERS with padding and priority", frame(HEADERS, 0x2D, 1, b"\x03" + dependency() + BLOCK + bytes(3)), served()),
    ("6.3 PRIORITY with weight 1", priority(1, weight=1), get(), served()),
    ("6.3 PRIORITY with weight 256", priority(1, weight=256), get(), served()),
    ("6.3 PRIORITY with a dependency", priority(1, 3), get(), served()),
    ("6.3 PRIORITY, exclusive", priority(1, 3, exclusive=True), get(), served()),
    ("6.3 PRIORITY for an idle stream opens no lower one", priority(5), get(1), served()),
    ("6.4 RST_STREAM", post(), rst_stream(1), unharmed),
    ("6.5 SETTINGS", settings((MAX_CONCURRENT_STREAMS, 100), (HEADER_TABLE_SIZE, 4096), (MAX_FRAME_SIZE, 16384)), get(), served()),
    ("6.5 empty SETTINGS", settings(), get(), served()),
    ("6.7 PING", ping(), get(), served()),
    (
        "6.8 GOAWAY leaves open streams to their ends",
        post(1, "/echo"),
        go_away(),
        data(1, end=True),
        answered(),
        ended_well,
    ),
    ("6.9 WINDOW_UPDATE of the connection", window_update(0, 1), get(), served()),
    ("6.9 WINDOW_UPDATE of a stream", post(), window_update(1, 1), data(1, end=True), served()),
    ("6.10 CONTINUATION", OPEN_BLOCK, continuation(1, [("x-more", "a")]), served()),
    (
        "6.10 several CONTINUATION",
        headers(1, BLOCK[:9], whole=False),
        continuation(1, BLOCK[9:20], whole=False),
        continuation(1, BLOCK[20:]),
        served(),
    ),
    ("6.10 an empty CONTINUATION", OPEN_BLOCK, continuation(1, b""), served()),
    # Messages.
    ("8.1 GET", get(), served(body=b"ok")),
    ("8.1 HEAD", headers(1, request_fields("HEAD")), served(body=b"")),
    ("8.1 POST", post(1, "/echo"), data(1, end=True), served(body=b"test")),
    ("8.1 POST with trailers", post(1, "/echo"), data(1), headers(1, [("x-sum", "1")]), served(body=b"test")),
    ("8.2.2 te: trailers", get(1, "/", ("te", "trailers")), served()),
    ("8.1.1 content-length that is right", post(1, "/echo", ("content-length", "4")), data(1, end=True), served(body=b"test")),
    # What is not known is left alone.
    ("4.1 a frame of an unknown type", frame(UNKNOWN, 0xFF, 0, b"12345678"), get(), served()),
    ("4.1 undefined flags", frame(PING, 0x16, 0, b"12345678"), get(), served()),
    ("4.1 the reserved bit", frame(PING, 0, 2**31, b"12345678"), get(), served()),
    ("5.5 an extension frame on a stream", HALF_CLOSED, frame(UNKNOWN, 0, 1), unharmed),
    ("6.5.2 an unknown setting", settings((UNKNOWN, 1)), get(), served()),
    ("6.7 PING that answers nothing", ping(ack=True), unharmed),
    ("7 RST_STREAM with an unknown code", post(), rst_stream(1, UNKNOWN), unharmed),
    ("4.2 DATA of 16384 bytes", post(1, "/echo"), data(1, bytes(16384), end=True), served(body=bytes(16384))),
)
async def test_frames_that_are_allowed_are_taken(case: Case) -> None:
    """The request is served, or nothing comes of the frame."""
    async with staged() as it:
        client = await it.client()
        await play(client, case.steps)
        await case.outcome(client)


@cases(
    # Frames and their sizes.
    ("4.2 DATA of 16385 bytes", post(), data(1, bytes(16385), end=True), refused(FRAME_SIZE_ERROR)),
    ("4.2 HEADERS of more than 16384 bytes", headers(1, BLOCK + literal("x", "v" * 16384)), goaway(FRAME_SIZE_ERROR)),
    ("4.3 a block that does not decode", headers(1, BLOCK + b"\xff\xff\xff\xff\xff\xff"), goaway(COMPRESSION_ERROR)),
    ("4.3 PRIORITY inside a block", OPEN_BLOCK, priority(1), continuation(1, b""), goaway(PROTOCOL_ERROR)),
    ("4.3 HEADERS of another stream inside a block", OPEN_BLOCK, get(3), goaway(PROTOCOL_ERROR)),
    ("4.3 DATA inside a block", OPEN_BLOCK, data(1), goaway(PROTOCOL_ERROR)),
    ("4.3 PING inside a block", OPEN_BLOCK, ping(), goaway(PROTOCOL_ERROR)),
    # States of streams. For DATA on an idle stream 5.1 and 6.1 differ.
    ("5.1 idle: DATA", data(1), refused(PROTOCOL_ERROR, STREAM_CLOSED)),
    ("5.1 idle: RST_STREAM", rst_stream(1), goaway(PROTOCOL_ERROR)),
    ("5.1 idle: WINDOW_UPDATE", window_update(1, 100), goaway(PROTOCOL_ERROR)),
    ("5.1 idle: CONTINUATION", continuation(1, BLOCK), goaway(PROTOCOL_ERROR)),
    ("5.1 half-closed: DATA", HALF_CLOSED, data(1, end=True), refused(STREAM_CLOSED)),
    ("5.1 half-closed: HEADERS", HALF_CLOSED, headers(1, [("x-sum", "1")]), refused(STREAM_CLOSED)),
    ("5.1 half-closed: CONTINUATION", HALF_CLOSED, continuation(1, BLOCK), refused(STREAM_CLOSED, PROTOCOL_ERROR)),
    ("5.1 closed by the peer: DATA", post(), rst_stream(1), data(1, end=True), refused(STREAM_CLOSED)),
    ("5.1 closed by the peer: HEADERS", post(), rst_stream(1), headers(1, [("x-sum", "1")]), refused(STREAM_CLOSED)),
    ("5.1 closed by the peer: CONTINUATION", post(), rst_stream(1), continuation(1, BLOCK), refused(STREAM_CLOSED, PROTOCOL_ERROR)),
    ("5.1 closed: DATA", get(), answered(), data(1, end=True), refused(STREAM_CLOSED)),
    ("5.1 closed: HEADERS", get(), answered(), get(), goaway(STREAM_CLOSED)),
    ("5.1 closed: CONTINUATION", get(), answered(), continuation(1, BLOCK), goaway(STREAM_CLOSED, PROTOCOL_ERROR)),
    ("5.1.1 an even number", get(2), goaway(PROTOCOL_ERROR)),
    ("5.1.1 a number lower than the last one", get(5), answered(5), get(3), goaway(PROTOCOL_ERROR)),
    ("5.3.1 of RFC 7540: HEADERS that depend on themselves", headers(1, BLOCK, priority=dependency(1)), refused(PROTOCOL_ERROR)),
    ("5.3.1 of RFC 7540: PRIORITY that depends on itself", HALF_CLOSED, priority(1, 1), refused(PROTOCOL_ERROR)),
    ("5.4.1 PING of 6 bytes", ping(b"123456"), goaway(FRAME_SIZE_ERROR)),
    (
        "5.5 an extension frame inside a block",
        OPEN_BLOCK,
        frame(UNKNOWN, 0, 1),
        continuation(1, b""),
        goaway(PROTOCOL_ERROR),
    ),
    # DATA and HEADERS.
    ("6.1 DATA on stream 0", post(), data(0), goaway(PROTOCOL_ERROR)),
    ("6.1 DATA whose padding is too long", post(), frame(DATA, PADDED | END_STREAM, 1, b"\x05test"), goaway(PROTOCOL_ERROR)),
    ("6.1 DATA without its padding's length", post(), frame(DATA, PADDED | END_STREAM, 1), goaway(PROTOCOL_ERROR, FRAME_SIZE_ERROR)),
    ("6.2 HEADERS on stream 0", headers(0, BLOCK), goaway(PROTOCOL_ERROR)),
    ("6.2 HEADERS whose padding is too long", frame(HEADERS, 0xD, 1, b"\xff" + BLOCK), goaway(PROTOCOL_ERROR)),
    ("6.2 HEADERS too short for a priority", frame(HEADERS, 0x25, 1, b"1234"), goaway(PROTOCOL_ERROR, FRAME_SIZE_ERROR)),
    # The others.
    ("6.3 PRIORITY on stream 0", priority(0), goaway(PROTOCOL_ERROR)),
    ("6.3 PRIORITY of 4 bytes", HALF_CLOSED, frame(PRIORITY, 0, 1, bytes(4)), refused(FRAME_SIZE_ERROR)),
    ("6.4 RST_STREAM on stream 0", rst_stream(0), goaway(PROTOCOL_ERROR)),
    ("6.4 RST_STREAM of 3 bytes", HALF_CLOSED, frame(RST_STREAM, 0, 1, bytes(3)), goaway(FRAME_SIZE_ERROR)),
    ("6.5 SETTINGS with ACK and a payload", frame(SETTINGS, 1, 0, bytes(6)), goaway(FRAME_SIZE_ERROR)),
    ("6.5 SETTINGS on a stream", frame(SETTINGS, 0, 1, b"\0\3\0\0\0\x64"), goaway(PROTOCOL_ERROR)),
    ("6.5 SETTINGS of 3 bytes", frame(SETTINGS, 0, 0, bytes(3)), goaway(FRAME_SIZE_ERROR)),
    ("6.5.2 ENABLE_PUSH of 2", settings((ENABLE_PUSH, 2)), goaway(PROTOCOL_ERROR)),
    ("6.5.2 INITIAL_WINDOW_SIZE too large", settings((INITIAL_WINDOW_SIZE, 2**31)), goaway(FLOW_CONTROL_ERROR)),
    ("6.5.2 MAX_FRAME_SIZE too small", settings((MAX_FRAME_SIZE, 16383)), goaway(PROTOCOL_ERROR)),
    ("6.5.2 MAX_FRAME_SIZE too large", settings((MAX_FRAME_SIZE, 2**24)), goaway(PROTOCOL_ERROR)),
    ("6.6 PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + BLOCK), goaway(PROTOCOL_ERROR)),
    ("6.6 PUSH_PROMISE on an open stream", post(), frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + BLOCK), goaway(PROTOCOL_ERROR)),
    ("6.7 PING on a stream", ping(stream=1), goaway(PROTOCOL_ERROR)),
    ("6.7 PING of 9 bytes", ping(b"123456789"), goaway(FRAME_SIZE_ERROR)),
    ("6.8 GOAWAY on a stream", go_away(stream=1), goaway(PROTOCOL_ERROR)),
    ("6.8 GOAWAY of 7 bytes", frame(GOAWAY, 0, 0, bytes(7)), goaway(FRAME_SIZE_ERROR)),
    ("6.9 an increment of 0 for the connection", window_update(0, 0), goaway(PROTOCOL_ERROR)),
    ("6.9 an increment of 0 for a stream", HALF_CLOSED, window_update(1, 0), refused(PROTOCOL_ERROR)),
    ("6.9 WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 0, bytes(3)), goaway(FRAME_SIZE_ERROR)),
    ("6.9.1 a window of the connection above 2^31-1", window_update(0, MOST), window_update(0, MOST), goaway(FLOW_CONTROL_ERROR)),
    ("6.9.1 a window of a stream above 2^31-1", HALF_CLOSED, window_update(1, MOST), window_update(1, MOST), refused(FLOW_CONTROL_ERROR)),
    (
        "6.9.2 SETTINGS bring a window of a stream above 2^31-1",
        HALF_CLOSED,
        window_update(1, MOST - 65535),
        settings((INITIAL_WINDOW_SIZE, 65536)),
        goaway(FLOW_CONTROL_ERROR),
    ),
    (
        "6.10 PRIORITY inside a block",
        OPEN_BLOCK,
        continuation(1, b"", whole=False),
        priority(1),
        goaway(PROTOCOL_ERROR),
    ),
    ("6.10 CONTINUATION of another stream", OPEN_BLOCK, continuation(3, b""), goaway(PROTOCOL_ERROR)),
    ("6.10 CONTINUATION on stream 0", OPEN_BLOCK, continuation(0, b""), goaway(PROTOCOL_ERROR)),
    ("6.10 CONTINUATION behind HEADERS with END_HEADERS", post(1, "/hold"), continuation(1, b""), goaway(PROTOCOL_ERROR)),
    (
        "6.10 CONTINUATION behind one with END_HEADERS",
        headers(1, BLOCK, whole=False, end=False),
        continuation(1, b""),
        continuation(1, b""),
        goaway(PROTOCOL_ERROR),
    ),
    ("6.10 CONTINUATION behind DATA", post(), data(1), frame(CONTINUATION, END_HEADERS, 1), goaway(PROTOCOL_ERROR)),
)
async def test_frames_that_break_the_protocol_end_stream_or_connection(case: Case) -> None:
    """With the code that the section names."""
    async with staged() as it:
        client = await it.client()
        await play(client, case.steps)
        await case.outcome(client)


# Messages.


def asking(*fields: tuple[str, str]) -> bytes:
    """HEADERS with exactly these fields."""
    return headers(1, fields)


METHOD, SCHEME, PATH, AUTHORITY = request_fields()


@cases(
    ("8.2 an upper-case name", get(1, "/", ("X-Upper", "a")), reset(PROTOCOL_ERROR)),
    ("8.2.1 a blank in a name", get(1, "/", ("x y", "a")), reset(PROTOCOL_ERROR)),
    ("8.2.1 a colon in a name", get(1, "/", ("x:y", "a")), reset(PROTOCOL_ERROR)),
    ("8.2.1 a line feed in a name", get(1, "/", ("x\ny", "a")), reset(PROTOCOL_ERROR)),
    ("8.2.1 a name beyond ASCII", get(1, "/", ("x\xe4", "a")), reset(PROTOCOL_ERROR)),
    ("8.2.1 an empty name", get(1, "/", ("", "a")), reset(PROTOCOL_ERROR)),
    ("8.2.1 NUL in a value", get(1, "/", ("x", "a\0b")), reset(PROTOCOL_ERROR)),
    ("8.2.1 a line feed in a value", get(1, "/", ("x", "a\nb: c")), reset(PROTOCOL_ERROR)),
    ("8.2.1 a carriage return in a value", get(1, "/", ("x", "a\rb")), reset(PROTOCOL_ERROR)),
    ("8.2.1 a blank before a value", get(1, "/", ("x", " a")), reset(PROTOCOL_ERROR)),
    ("8.2.1 a tab behind a value", get(1, "/", ("x", "a\t")), reset(PROTOCOL_ERROR)),
    ("8.2.2 connection", get(1, "/", ("connection", "keep-alive")), reset(PROTOCOL_ERROR)),
    ("8.2.2 keep-alive", get(1, "/", ("keep-alive", "timeout=5")), reset(PROTOCOL_ERROR)),
    ("8.2.2 proxy-connection", get(1, "/", ("proxy-connection", "keep-alive")), reset(PROTOCOL_ERROR)),
    ("8.2.2 transfer-encoding", get(1, "/", ("transfer-encoding", "chunked")), reset(PROTOCOL_ERROR)),
    ("8.2.2 upgrade", get(1, "/", ("upgrade", "websocket")), reset(PROTOCOL_ERROR)),
    ("8.2.2 te other than trailers", get(1, "/", ("te", "trailers, deflate;q=0.5")), reset(PROTOCOL_ERROR)),
    ("8.3 an unknown pseudo-field", asking(METHOD, SCHEME, PATH, AUTHORITY, (":test", "a")), reset(PROTOCOL_ERROR)),
    ("8.3 a pseudo-field of answers", asking(METHOD, SCHEME, PATH, AUTHORITY, (":status", "200")), reset(PROTOCOL_ERROR)),
    ("8.3 a pseudo-field behind a field", asking(METHOD, SCHEME, AUTHORITY, ("x", "a"), PATH), reset(PROTOCOL_ERROR)),
    ("8.3.1 an empty :path", asking(METHOD, SCHEME, (":path", ""), AUTHORITY), reset(PROTOCOL_ERROR)),
    ("8.3.1 no :method", asking(SCHEME, PATH, AUTHORITY), reset(PROTOCOL_ERROR)),
    ("8.3.1 no :scheme", asking(METHOD, PATH, AUTHORITY), reset(PROTOCOL_ERROR)),
    ("8.3.1 no :path", asking(METHOD, SCHEME, AUTHORITY), reset(PROTOCOL_ERROR)),
    ("8.3.1 two :method", asking(METHOD, METHOD, SCHEME, PATH, AUTHORITY), reset(PROTOCOL_ERROR)),
    ("8.3.1 two :scheme", asking(METHOD, SCHEME, SCHEME, PATH, AUTHORITY), reset(PROTOCOL_ERROR)),
    ("8.3.1 two :path", asking(METHOD, SCHEME, PATH, PATH, AUTHORITY), reset(PROTOCOL_ERROR)),
    ("8.3.1 two :authority", asking(METHOD, SCHEME, PATH, AUTHORITY, AUTHORITY), reset(PROTOCOL_ERROR)),
    ("8.5 CONNECT with :path and :scheme", headers(1, request_fields("CONNECT")), reset(PROTOCOL_ERROR)),
    ("8.1.1 content-length without a body", get(1, "/", ("content-length", "4")), reset(PROTOCOL_ERROR)),
    ("8.1.1 two content-length that differ", post(1, "/", ("content-length", "4"), ("content-length", "5")), reset(PROTOCOL_ERROR)),
    ("8.1.1 content-length that is no number", post(1, "/", ("content-length", "+4")), reset(PROTOCOL_ERROR)),
)
async def test_malformed_request_is_reset_before_the_target_sees_it(case: Case) -> None:
    """A stream error (section 8.1.1), and the other streams go on."""
    async with staged() as it:
        client = await it.client()
        await play(client, case.steps)
        await case.outcome(client)
        assert it.heads == []


@cases(
    ("a blank in :path", get(1, "/a b"), turned_down),
    ("a line in :path", get(1, "/ HTTP/1.1\r\nx: y"), turned_down),
    ("a :path that begins with no slash", get(1, "a"), turned_down),
    ("a blank in :method", headers(1, request_fields("GET /x")), turned_down),
    ("a line in :method", headers(1, request_fields("GET / HTTP/1.1\r\nx: y\r\n\r\nGET")), turned_down),
    ("a line in :authority", headers(1, request_fields(authority="a\r\nx: y")), turned_down),
    ("user information in :authority", headers(1, request_fields(authority="user@example.com")), turned_down),
    ("a host that differs from :authority", get(1, "/", ("host", "other.example.com")), turned_down),
    ("two host", asking(METHOD, SCHEME, PATH, ("host", "a"), ("host", "b")), turned_down),
)
async def test_request_that_http1_would_read_otherwise_reaches_no_target(case: Case) -> None:
    """It is reset with PROTOCOL_ERROR or answered with 400 (sections 8.2.1, 8.3.1 and 10.3)."""
    async with staged() as it:
        client = await it.client()
        await play(client, case.steps)
        await case.outcome(client)
        assert it.heads == []


@cases(
    ("8.1 HEADERS without END_STREAM behind the body", post(), data(1), headers(1, [("x-sum", "1")], end=False), reset(PROTOCOL_ERROR)),
    ("8.1 a pseudo-field in trailers", post(), data(1), headers(1, [(":method", "GET")]), reset(PROTOCOL_ERROR)),
    ("8.2 an upper-case name in trailers", post(), data(1), headers(1, [("X-Sum", "1")]), reset(PROTOCOL_ERROR)),
    ("8.2.1 a line feed in trailers", post(), data(1), headers(1, [("x", "a\nb")]), reset(PROTOCOL_ERROR)),
    ("8.2.2 transfer-encoding in trailers", post(), data(1), headers(1, [("transfer-encoding", "chunked")]), reset(PROTOCOL_ERROR)),
    ("8.1.1 a body longer than content-length", post(1, "/", ("content-length", "1")), data(1, end=True), reset(PROTOCOL_ERROR)),
    ("8.1.1 a body shorter than content-length", post(1, "/", ("content-length", "9")), data(1, end=True), reset(PROTOCOL_ERROR)),
    (
        "8.1.1 several DATA longer than content-length",
        post(1, "/", ("content-length", "7")),
        data(1),
        data(1, end=True),
        reset(PROTOCOL_ERROR),
    ),
    (
        "8.1.1 a body shorter than content-length, and trailers",
        post(1, "/", ("content-length", "9")),
        data(1),
        headers(1, [("x-sum", "1")]),
        reset(PROTOCOL_ERROR),
    ),
)
async def test_request_that_turns_out_malformed_is_reset(case: Case) -> None:
    """A stream error (section 8.1.1). The target gets no whole request."""
    async with staged() as it:
        client = await it.client()
        await play(client, case.steps)
        await case.outcome(client)
        for conversation in it.origin.conversations:
            await conversation.over.wait()
            assert not conversation.received.endswith(b"0\r\n\r\n")
            assert not conversation.received.endswith(b"\r\n\r\ntest")


# The connection preface and SETTINGS.


@pytest.mark.parametrize("preface", [b"INVALID CONNECTION PREFACE\r\n\r\n", PREFACE[:-6] + b"XX\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nGET"])
async def test_connection_with_a_wrong_preface_is_closed(preface: bytes) -> None:
    """Section 3.4: a connection error; GOAWAY may be left out. HTTP/1.1 answers what is no preface at all with 400."""
    async with staged() as it:
        peer = await it.gateway.client()
        peer.send(preface + bytes(8))
        received = await peer.read_to_end()
        assert b"200" not in received
        assert it.heads == []


async def test_first_frame_that_is_no_settings_is_a_connection_error() -> None:
    """Section 3.4: the preface ends with SETTINGS."""
    async with staged() as it:
        client = await it.unstarted()
        client.send(PREFACE, get())
        assert await client.goaway() == PROTOCOL_ERROR
        assert it.heads == []


async def test_preface_in_single_bytes_is_taken() -> None:
    """Nothing depends on how the bytes arrive."""
    async with staged() as it:
        client = await it.unstarted()
        for byte in PREFACE + settings() + get():
            client.send(bytes([byte]))
            await client.peer.drain()
        assert (await client.answer(1)).status == 200


async def test_load_balancer_sends_settings_first_and_acknowledges_ours() -> None:
    """Section 3.4: a server's preface is SETTINGS; section 6.5.3: each SETTINGS frame is acknowledged, in order."""
    async with staged() as it:
        client = await it.client()
        client.send(settings((MAX_CONCURRENT_STREAMS, 100)), settings(), settings((INITIAL_WINDOW_SIZE, 1)))
        for _ in range(3):
            await client.wait_for(SettingsFrame, lambda frame: "ACK" in frame.flags)
        await client.alive()
        first = client.frames[0]
        assert isinstance(first, SettingsFrame)
        assert "ACK" not in first.flags
        assert first.settings.get(ENABLE_PUSH, 0) == 0
        assert len([frame for frame in client.frames if isinstance(frame, SettingsFrame) and "ACK" in frame.flags]) == 4


async def test_ping_is_answered_with_its_own_bytes() -> None:
    """Section 6.7."""
    async with staged() as it:
        client = await it.client()
        client.send(ping(b"\x00\x01\xfe\xff1234"), ping(b"87654321"))
        answers = [frame for frame in [await client.next_frame(), await client.next_frame()] if frame is not None]
        assert [(frame.opaque_data, set(frame.flags), frame.stream_id) for frame in answers] == [
            (b"\x00\x01\xfe\xff1234", {"ACK"}, 0),
            (b"87654321", {"ACK"}, 0),
        ]


async def test_streams_beyond_the_limit_are_refused_and_the_others_go_on() -> None:
    """Section 5.1.2: a stream error of REFUSED_STREAM or PROTOCOL_ERROR."""
    async with staged(limits=alb.Limits(http2_streams=2)) as it:
        client = await it.client()
        assert client.their_settings[MAX_CONCURRENT_STREAMS] == 2
        client.send(get(1, "/hold"), post(3, "/echo"), get(5))
        assert await client.reset(5) in (REFUSED_STREAM, PROTOCOL_ERROR)
        client.send(data(3, end=True))
        assert (await client.answer(3)).body == b"test"
        client.send(get(7))
        assert (await client.answer(7)).status == 200
        assert client.answers.get(1) is None


# Flow control of what the load balancer sends.


@cases(
    ("6.9.1 a window of 1", settings((INITIAL_WINDOW_SIZE, 1)), get(), sent(1)),
    ("6.9.2 no window, then 1", settings((INITIAL_WINDOW_SIZE, 0)), get(), begun(), settings((INITIAL_WINDOW_SIZE, 1)), sent(1)),
    ("6.5.3 the last value of a frame counts", settings((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)), get(), sent(1)),
    (
        "6.9.2 a negative window",
        settings((INITIAL_WINDOW_SIZE, 3)),
        get(1, "/big"),
        sent(3),
        settings((INITIAL_WINDOW_SIZE, 2)),
        read,
        window_update(1, 1),
        read,
        window_update(1, 1),
        sent(4),
    ),
    ("6.9 WINDOW_UPDATE opens so much", settings((INITIAL_WINDOW_SIZE, 0)), get(1, "/big"), begun(), window_update(1, 5), sent(5)),
    (
        "6.9 the window of the connection holds up a stream",
        settings((INITIAL_WINDOW_SIZE, 2**20)),
        get(1, "/big"),
        sent(65535),
    ),
)
async def test_data_fits_the_windows(case: Case) -> None:
    """Of a client that returns no window."""
    async with staged() as it:
        client = await it.client(generous=False)
        await play(client, case.steps)
        await case.outcome(client)


async def test_stream_without_window_holds_up_no_other() -> None:
    """Section 5.2: streams have windows of their own, and frames without flow control need none."""
    async with staged() as it:
        client = await it.client(generous=False)
        client.send(settings((INITIAL_WINDOW_SIZE, 10)), get(1, "/big"), get(3, "/big"), get(5))
        assert (await client.answer(5)).body == b"ok"
        client.send(headers(7, request_fields("HEAD", "/big")))
        assert (await client.answer(7)).status == 200
        assert len(client.answers[1].body) == len(client.answers[3].body) == 10


async def test_large_answer_comes_in_frames_of_the_size_that_we_take() -> None:
    """Section 4.2: 16,384 bytes at most until our SETTINGS allow more."""
    async with staged() as it:
        client = await it.client()
        answer = await client.get("/big")
        assert answer.body == bytes(SIZE_OF_BIG)
        assert max(frame.flow_controlled_length for frame in client.frames if isinstance(frame, DataFrame)) <= 16384
        client.send(rst_stream(1, CANCEL))
        await client.alive()


async def test_upload_larger_than_every_window_gets_through() -> None:
    """Sections 5.2.2 and 6.9: window is returned for what the target has taken, padding among it."""
    body = bytes(range(256)) * 8_000
    async with staged() as it:
        client = await it.client()
        stream = client.request("POST", "/echo", end=False)
        await client.send_body(stream, body)
        assert (await client.answer(stream)).body == body


async def test_window_of_padding_is_returned() -> None:
    """Section 6.1: padding counts, so that a client that pads is not starved."""
    async with staged() as it:
        client = await it.client()
        client.request("POST", "/echo", end=False)
        for _ in range(2_000):
            size = 1 + 255 + 1
            while min(client.window, client.windows.setdefault(1, client.their_settings.get(INITIAL_WINDOW_SIZE, 65535))) < size:
                await client.next_frame()
            client.window -= size
            client.windows[1] -= size
            client.send(data(1, b"a", padding=255))
        client.send(data(1, b"", end=True))
        assert (await client.answer(1)).body == b"a" * 2_000


async def test_more_data_than_the_window_allows_is_a_flow_control_error() -> None:
    """Section 6.9.1: an error of the stream or of the connection."""

    async def deaf(conversation: Conversation) -> None:
        conversation.writer.transport.pause_reading()  # type: ignore[attr-defined]
        conversation.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await conversation.over.wait()

    async with staged(deaf) as it:
        client = await it.client(generous=False)
        # More than the sockets on the way to the target can hold.
        client.send(post(), *[data(1, bytes(16384)) for _ in range(1024)])
        await refused(FLOW_CONTROL_ERROR)(client)


# Heads that the load balancer sends.


async def test_answers_have_lower_case_names_and_no_fields_of_the_connection() -> None:
    """Sections 8.2 and 8.2.2: what the target says about its connection stays there."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        of_the_connection = (b"Connection: keep-alive, X-Hop", b"Keep-Alive: timeout=5", b"X-Hop: 1")
        conversation.send(response(200, b"ok", b"X-Upper: Value", *of_the_connection, b"Set-Cookie: a=b", b"Set-Cookie: c=d"))
        await conversation.read_to_end()

    async with staged(script) as it:
        answer = await (await it.client()).get()
        names = [name for name, _ in answer.fields]
        assert all(name == name.lower() for name in names)
        assert not {"connection", "keep-alive", "x-hop", "transfer-encoding"} & set(names)
        assert answer.get("x-upper") == "Value"
        assert [value for name, value in answer.fields if name == "set-cookie"] == ["a=b", "c=d"]


async def test_chunked_answer_with_trailers_ends_with_a_block_of_fields() -> None:
    """Section 8.1: trailers are a HEADERS frame with END_STREAM and without pseudo-fields."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        conversation.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 5\r\n\r\n")
        await conversation.read_to_end()

    async with staged(script) as it:
        client = await it.client()
        answer = await client.get("/", ("te", "trailers"))
        assert (answer.status, answer.body, answer.trailers) == (200, b"ok", [("x-sum", "5")])
        assert "END_STREAM" in client.frames[-1].flags
        assert answer.get("transfer-encoding") is None


async def test_interim_answers_come_before_the_final_one() -> None:
    """Section 8.1: HEADERS without END_STREAM; 101 exists only in HTTP/1.1 (section 8.6)."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" + response())
        await conversation.read_to_end()

    async with staged(script) as it:
        answer = await (await it.client()).get()
        assert [fields[0][1] for fields in answer.heads] == ["103", "200"]
        assert answer.heads[0][1:] == [("link", "</a>; rel=preload")]
        assert answer.has_ended


async def test_large_head_of_an_answer_fits_frames_and_nothing_comes_between() -> None:
    """Sections 4.2 and 6.10: HEADERS and CONTINUATION of 16,384 bytes at most, one behind the other."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        conversation.send(response(200, b"ok", *[b"X-%d: %s" % (number, b"v" * 1000) for number in range(25)]))
        await conversation.read_to_end()

    async with staged(script) as it:
        client = await it.client()
        answer = await client.get()
        assert len([name for name, _ in answer.fields if name.startswith("x-")]) == 25
        place = next(place for place, frame in enumerate(client.frames) if isinstance(frame, HeadersFrame))
        first, second = client.frames[place : place + 2]
        assert isinstance(first, HeadersFrame)
        assert isinstance(second, ContinuationFrame)
        assert (first.body_len, "END_HEADERS" in first.flags, "END_HEADERS" in second.flags) == (16384, False, True)


async def test_cookie_crumbs_are_joined_for_the_target() -> None:
    """Section 8.2.3: with "; " into one field, for HTTP/1.1 has one."""
    async with staged() as it:
        client = await it.client()
        answer = await client.get("/", ("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("cookie", "e=f"))
        assert answer.status == 200
        lines = it.heads[0].lower().split(b"\r\n")
        assert [line for line in lines if line.startswith(b"cookie:")] == [b"cookie: a=b; c=d; e=f"]


async def test_authority_becomes_the_host_of_http1() -> None:
    """Section 8.3.1."""
    async with staged(preserve_host_header=True) as it:
        client = await it.client()
        await client.get()
        client.send(headers(3, [METHOD, SCHEME, PATH, ("host", "by-host.example.com")]))
        await client.answer(3)
        hosts = [line for head in it.heads for line in head.lower().split(b"\r\n") if line.startswith(b"host:")]
        assert hosts == [b"host: example.com", b"host: by-host.example.com"]


async def test_answer_before_the_body_has_come_asks_the_client_to_stop() -> None:
    """Section 8.1: RST_STREAM with NO_ERROR behind a whole answer; the answer is not discarded, and the rest of the body is."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(response(413, b"too much", b"Connection: close"))

    async with staged(script) as it:
        client = await it.client()
        stream = client.request("POST", "/", ("content-length", "1000000"), end=False)
        client.send(data(stream))
        answer = await client.answer(stream)
        assert (answer.status, answer.body) == (413, b"too much")
        assert await client.reset(stream) == NO_ERROR
        client.send(data(stream, bytes(1000)), data(stream, bytes(1000)))
        await unharmed_but(client, stream)


async def unharmed_but(client: H2Client, stream: int) -> None:
    """The connection goes on, and no other stream has been reset."""
    await client.alive()
    others: list[Frame] = [frame for frame in client.frames if isinstance(frame, GoAwayFrame)]
    assert others == []
    assert [number for number, answer in client.answers.items() if answer.reset is not None] == [stream]


async def test_goaway_names_the_last_stream_that_was_taken() -> None:
    """Section 6.8: a client knows from it what it may send again."""
    async with staged() as it:
        client = await it.client()
        await client.get()
        await client.get()
        client.send(ping(b"short"))
        assert await client.goaway() == FRAME_SIZE_ERROR
        (frame,) = [frame for frame in client.frames if isinstance(frame, GoAwayFrame)]
        assert frame.last_stream_id == 3

from __future__ import annotations

import random

import pytest
from hyperframe import frame as hyper

from albkit.wire.http2 import frames
from albkit.wire.http2.frames import ErrorCode, Http2Error, StreamError
from tests.support.effort import cases


def _parsed(data: bytes) -> hyper.Frame:
    """A frame as hyperframe reads it; it must be one whole frame."""
    found, length = hyper.Frame.parse_frame_header(memoryview(data[:9]), strict=True)
    assert len(data) == 9 + length
    found.parse_body(memoryview(data[9:]))
    return found


def _settings(*pairs: tuple[int, int]) -> bytes:
    return b"".join(setting.to_bytes(2, "big") + value.to_bytes(4, "big") for setting, value in pairs)


def test_preface_is_that_of_the_rfc() -> None:
    """RFC 9113 section 3.4 gives the bytes in hexadecimal."""
    assert bytes.fromhex("505249202a20485454502f322e300d0a0d0a534d0d0a0d0a") == frames.PREFACE


def test_kinds_and_flags_are_those_of_hyperframe() -> None:
    """RFC 9113 section 6."""
    names = {
        "DATA": hyper.DataFrame,
        "HEADERS": hyper.HeadersFrame,
        "PRIORITY": hyper.PriorityFrame,
        "RST_STREAM": hyper.RstStreamFrame,
        "SETTINGS": hyper.SettingsFrame,
        "PUSH_PROMISE": hyper.PushPromiseFrame,
        "PING": hyper.PingFrame,
        "GOAWAY": hyper.GoAwayFrame,
        "WINDOW_UPDATE": hyper.WindowUpdateFrame,
        "CONTINUATION": hyper.ContinuationFrame,
    }
    assert {name: getattr(frames, name) for name in names} == {name: known.type for name, known in names.items()}
    flags = {flag.name: flag.bit for known in (hyper.HeadersFrame, hyper.SettingsFrame) for flag in known.defined_flags}
    assert flags == {
        "END_STREAM": frames.END_STREAM,
        "END_HEADERS": frames.END_HEADERS,
        "PADDED": frames.PADDED,
        "PRIORITY": frames.PRIORITY_FLAG,
        "ACK": frames.ACK,
    }


def test_error_codes_are_those_of_the_rfc() -> None:
    """RFC 9113 section 7 numbers them from 0."""
    assert [code.name for code in ErrorCode] == [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ]
    assert [int(code) for code in ErrorCode] == list(range(14))


def test_errors_have_code_and_reason() -> None:
    """Both are for the log as well."""
    for error in (Http2Error(ErrorCode.CANCEL, "why"), StreamError(ErrorCode.CANCEL, "why")):
        assert (error.code, error.reason, str(error)) == (ErrorCode.CANCEL, "why", "CANCEL: why")


def test_head_is_unpacked_with_a_length_of_three_octets() -> None:
    """Length, type, flags and stream identifier (RFC 9113 section 4.1), at any offset."""
    data = b"xx" + frames.frame(frames.DATA, frames.END_STREAM, 2**31 - 1, b"a" * 70_000)
    high, low, kind, flags, stream_id = frames.unpack_head(data, 2)
    assert (high << 8 | low, kind, flags, stream_id) == (70_000, 0, 1, 2**31 - 1)


def test_frames_are_what_hyperframe_reads() -> None:
    """Each kind of frame that is sent."""
    update = _parsed(frames.window_update(5, 2**31 - 1))
    assert isinstance(update, hyper.WindowUpdateFrame)
    assert (update.stream_id, update.window_increment) == (5, 2**31 - 1)

    reset = _parsed(frames.rst_stream(7, ErrorCode.CANCEL))
    assert isinstance(reset, hyper.RstStreamFrame)
    assert (reset.stream_id, reset.error_code) == (7, 8)

    away = _parsed(frames.goaway(9, ErrorCode.ENHANCE_YOUR_CALM, b"calm"))
    assert isinstance(away, hyper.GoAwayFrame)
    assert (away.stream_id, away.last_stream_id, away.error_code, away.additional_data) == (0, 9, 11, b"calm")

    for ack in (False, True):
        ping = _parsed(frames.ping(b"12345678", ack))
        assert isinstance(ping, hyper.PingFrame)
        assert (ping.opaque_data, set(ping.flags)) == (b"12345678", {"ACK"} if ack else set())

    for given in ({3: 100, 4: 2**31 - 1}, [(3, 100), (4, 2**31 - 1)]):
        settings = _parsed(frames.settings_frame(given))
        assert isinstance(settings, hyper.SettingsFrame)
        assert (settings.stream_id, dict(settings.settings), set(settings.flags)) == (0, {3: 100, 4: 2**31 - 1}, set())
    assert set(_parsed(frames.SETTINGS_ACK).flags) == {"ACK"}

    data = _parsed(frames.frame(frames.DATA, frames.END_STREAM, 3, b"body"))
    assert isinstance(data, hyper.DataFrame)
    assert (data.stream_id, data.data, set(data.flags)) == (3, b"body", {"END_STREAM"})


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 19, 20, 21, 30, 31])
@pytest.mark.parametrize("end_stream", [False, True])
def test_field_block_is_split_into_frames_that_fit(size: int, end_stream: bool) -> None:
    """One HEADERS frame, then CONTINUATION frames; only the last has END_HEADERS, and only the first END_STREAM."""
    block = bytes(range(size))
    pieces = [_parsed(piece) for piece in frames.headers_frames(3, block, end_stream=end_stream, max_frame=10)]
    assert b"".join(piece.data for piece in pieces) == block
    assert len(pieces) == max(1, -(-size // 10))
    assert {piece.stream_id for piece in pieces} == {3}
    assert [type(piece) for piece in pieces] == [hyper.HeadersFrame] + [hyper.ContinuationFrame] * (len(pieces) - 1)
    assert ["END_HEADERS" in piece.flags for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert ["END_STREAM" in piece.flags for piece in pieces] == [end_stream] + [False] * (len(pieces) - 1)
    assert all(len(piece.data) <= 10 for piece in pieces)


def test_settings_are_read_in_their_order() -> None:
    """Repeated and unknown ones as well: the last value counts, and the caller ignores what it does not know."""
    pairs = [
        (1, 0),
        (1, 2**32 - 1),
        (2, 0),
        (2, 1),
        (3, 2**32 - 1),
        (4, 0),
        (4, 2**31 - 1),
        (5, 16_384),
        (5, 2**24 - 1),
        (6, 0),
        (8, 0),
        (8, 1),
    ]
    pairs += [(0, 5), (7, 2**32 - 1), (0xFFFF, 9)]
    assert frames.read_settings(_settings(*pairs)) == pairs
    assert frames.read_settings(b"") == []
    assert len(frames.read_settings(_settings(*[(9, 0)] * 32))) == 32


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\0", ErrorCode.FRAME_SIZE_ERROR),
        (_settings((1, 1)) + b"\0" * 5, ErrorCode.FRAME_SIZE_ERROR),
        (_settings((2, 2)), ErrorCode.PROTOCOL_ERROR),
        (_settings((3, 1), (2, 2**32 - 1)), ErrorCode.PROTOCOL_ERROR),
        (_settings((4, 2**31)), ErrorCode.FLOW_CONTROL_ERROR),
        (_settings((5, 16_383)), ErrorCode.PROTOCOL_ERROR),
        (_settings((5, 2**24)), ErrorCode.PROTOCOL_ERROR),
        (_settings((8, 2)), ErrorCode.PROTOCOL_ERROR),
        (_settings(*[(9, 0)] * 33), ErrorCode.ENHANCE_YOUR_CALM),
    ],
    ids=lambda value: value.name if isinstance(value, ErrorCode) else f"{len(value)} bytes",
)
def test_settings_that_are_wrong_end_the_connection(payload: bytes, code: ErrorCode) -> None:
    """RFC 9113 section 6.5.2 and RFC 8441 section 3; a frame with thousands of entries is a flood."""
    with pytest.raises(Http2Error) as caught:
        frames.read_settings(payload)
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("payload", "rest"), [(b"\0", b""), (b"\0data", b"data"), (b"\1data", b"dat"), (b"\4data", b""), (b"\2da\0\0", b"da")]
)
def test_padding_is_stripped(payload: bytes, rest: bytes) -> None:
    """The first octet is the length of the padding (RFC 9113 section 6.1)."""
    data = b"before" + payload + b"behind"
    start, end = frames.strip_padding(data, 6, 6 + len(payload))
    assert data[start:end] == rest


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", ErrorCode.FRAME_SIZE_ERROR),
        (b"\1", ErrorCode.PROTOCOL_ERROR),
        (b"\5data", ErrorCode.PROTOCOL_ERROR),
        (b"\xff", ErrorCode.PROTOCOL_ERROR),
    ],
    ids=repr,
)
def test_padding_larger_than_the_frame_ends_the_connection(payload: bytes, code: ErrorCode) -> None:
    """Also at the end of the received bytes."""
    with pytest.raises(Http2Error) as caught:
        frames.strip_padding(b"before" + payload, 6, 6 + len(payload))
    assert caught.value.code is code


def test_random_payloads_are_read_as_hyperframe_reads_them() -> None:
    """SETTINGS and the padding of DATA, from a fixed seed."""
    rnd = random.Random(91)
    for _ in range(cases(20_000)):
        payload = bytes(rnd.choice((0, 0, 1, 2, 4, 5, rnd.randrange(256))) for _ in range(rnd.randint(0, 24)))
        data = hyper.DataFrame(1, flags=["PADDED"])
        try:
            data.parse_body(memoryview(payload))
            # An empty frame passes hyperframe, although it has no octet for the length.
            expected = bytes(data.data) if payload else None
        except (hyper.InvalidPaddingError, hyper.InvalidFrameError):
            expected = None
        try:
            start, end = frames.strip_padding(payload, 0, len(payload))
            found: bytes | None = payload[start:end]
        except Http2Error:
            found = None
        assert found == expected, payload
        settings = hyper.SettingsFrame(0)
        try:
            settings.parse_body(memoryview(payload))
        except hyper.InvalidFrameError:
            with pytest.raises(Http2Error):
                frames.read_settings(payload)
            continue
        try:
            assert dict(frames.read_settings(payload)) == settings.settings
        except Http2Error:
            # hyperframe leaves the range of most values to h2.
            assert len(payload) > 0

"""Frame boundaries, found wherever a stream is cut into chunks."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albkit.wire.websocket.frames import (
    CLOSE,
    DATA,
    MANY_FRAMES,
    PING,
    PONG,
    TOO_LARGE,
    FrameFollower,
    NotFrames,
    Seen,
    close_payload,
    control_frame,
    payload_of,
)
from tests.support.frames import BINARY, CONTINUATION, KEY, TEXT, frame


class Sample(NamedTuple):
    """A stream of whole frames."""

    frames: list[bytes]
    masked: bool

    @property
    def bytes(self) -> bytes:
        return b"".join(self.frames)

    @property
    def ends(self) -> set[int]:
        """Where a frame is over, the beginning of the stream among them."""
        ends, position = {0}, 0
        for one in self.frames:
            position += len(one)
            ends.add(position)
        return ends


SIZES = (0, 1, 2, 3, 4, 5, 100, 125, 126, 127, 300, 65535, 65536, 70000)


def talk(masked: bool, sizes: tuple[int, ...] = SIZES) -> Sample:
    """Messages of all sizes, whole and in parts, with control frames between and within them."""
    frames = []
    for size in sizes:
        payload = bytes(size)
        frames.append(frame(TEXT, payload, mask=masked))
        frames.append(frame(PING, payload[:125], mask=masked))
        frames.append(frame(BINARY, payload, mask=masked, fin=False))
        frames.append(frame(PONG, b"within", mask=masked))
        frames.append(frame(CONTINUATION, b"", mask=masked, fin=False))
        frames.append(frame(CONTINUATION, payload, mask=masked))
    return Sample(frames, masked)


def follower(masked: bool = True, *, extended: bool = False, most: int = 0) -> FrameFollower:
    return FrameFollower(masked=masked, extended=extended, most=most)


SHORT = (0, 1, 125, 126, 300)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("first", range(1, 24))
def test_stream_in_pieces_is_followed_to_each_boundary(first: int, *, masked: bool) -> None:
    """Chunks of every small size, behind a first one of every size: `between` is true exactly where a frame ends."""
    sample = talk(masked, SHORT)
    data, ends = sample.bytes, sample.ends
    for size in (1, 2, 3, 5, 7, 64, 1000):
        following = follower(masked)
        position = 0
        while position < len(data):
            chunk = data[position : position + (size if position else first)]
            assert following.follow(chunk) is None
            position += len(chunk)
            assert following.between == (position in ends), position
        assert following.frames == len(sample.frames)


@pytest.mark.parametrize("masked", [True, False])
def test_frames_of_every_length_are_followed(*, masked: bool) -> None:
    """All three forms of the length, a frame per chunk, several per chunk, and a chunk of the socket's size."""
    sample = talk(masked)
    for size in (16384, 65536, len(sample.bytes)):
        following = follower(masked)
        for position in range(0, len(sample.bytes), size):
            assert following.follow(sample.bytes[position : position + size]) is None
        assert following.between
        assert following.frames == len(sample.frames)
    following = follower(masked)
    for one in sample.frames:
        assert following.follow(one) is None
        assert following.between
    assert following.frames == len(sample.frames)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 13, 64, 1000, 10**6])
def test_taking_apart_loses_and_adds_nothing(size: int, *, masked: bool) -> None:
    """The pieces are the stream, control frames among them whole, and each boundary is seen behind its frame."""
    sample = talk(masked, SHORT)
    data, ends = sample.bytes, sample.ends
    following = follower(masked)
    out = b""
    seen = {0}
    for position in range(0, len(data), size):
        for kind, piece in following.cut(data[position : position + size]):
            out += piece
            if kind in (PING, PONG):
                assert piece in sample.frames
            if following.between:
                seen.add(len(out))
        assert data.startswith(out + following.held)
    assert out == data
    assert seen == ends
    assert following.frames == len(sample.frames)


@given(st.data())
def test_both_ways_in_turn_find_the_same_boundaries(data: st.DataObject) -> None:
    """A tunnel goes over from one to the other at any byte, back where nothing is held."""
    masked = data.draw(st.booleans())
    chance = random.Random(data.draw(st.integers(0, 10**9)))
    sample = talk(masked, tuple(chance.choice(SHORT) for _ in range(4)))
    stream, ends = sample.bytes, sample.ends
    following = follower(masked)
    out = b""
    position = 0
    careful = False
    while position < len(stream):
        chunk = stream[position : position + chance.choice((1, 2, 3, 4, 9, 50, 400))]
        position += len(chunk)
        if careful:
            for _, piece in following.cut(chunk):
                out += piece
                assert following.between == (len(out) in ends)
        else:
            assert following.follow(chunk) is None
            out += chunk
            assert following.between == (len(out) in ends)
        careful = bool(following.held) or chance.random() < 0.5
    assert out + following.held == stream
    assert following.frames == len(sample.frames)


@pytest.mark.parametrize("split", range(len(frame(PONG, b"12345678"))))
def test_pong_is_taken_out_wherever_it_is_split(split: int) -> None:
    """A whole control frame comes in one piece, so that it can be left out."""
    pong = frame(PONG, b"12345678")
    stream = frame(TEXT, b"before") + pong + frame(TEXT, b"behind")
    start = len(frame(TEXT, b"before")) + split
    following = follower()
    pieces = [*following.cut(stream[:start]), *following.cut(stream[start:])]
    assert (PONG, pong) in pieces
    assert b"".join(piece for kind, piece in pieces if kind != PONG) == frame(TEXT, b"before") + frame(TEXT, b"behind")
    assert payload_of(pong) == b"12345678"


@pytest.mark.parametrize("split", range(1, len(frame(PONG, b"12345678"))))
def test_pong_whose_beginning_has_passed_goes_on(split: int) -> None:
    """What was passed on cannot be taken back: the rest follows, as part of the stream."""
    pong = frame(PONG, b"12345678")
    following = follower()
    assert following.follow(pong[:split]) is None
    assert list(following.cut(pong[split:])) == [(DATA, pong[split:])]
    assert following.between


NOT_FRAMES = [
    pytest.param(frame(TEXT, b"x", mask=False), id="unmasked"),
    pytest.param(frame(3), id="reserved-opcode-3"),
    pytest.param(frame(7), id="reserved-opcode-7"),
    pytest.param(frame(11), id="reserved-opcode-11"),
    pytest.param(frame(15), id="reserved-opcode-15"),
    pytest.param(frame(PING, fin=False), id="ping-in-parts"),
    pytest.param(frame(CLOSE, fin=False), id="close-in-parts"),
    pytest.param(frame(PING, bytes(126)), id="long-ping"),
    pytest.param(frame(CONTINUATION, b"x"), id="continuation-of-nothing"),
    pytest.param(frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"), id="message-within-a-message"),
    pytest.param(frame(TEXT, b"x", reserved=0x40), id="rsv1"),
    pytest.param(frame(TEXT, b"x", reserved=0x20), id="rsv2"),
    pytest.param(frame(TEXT, b"x", reserved=0x10), id="rsv3"),
    pytest.param(b"\x82\xfe\x00\x7d" + KEY + bytes(125), id="long-form-of-a-short-length"),
    pytest.param(b"\x82\xff" + (65535).to_bytes(8, "big") + KEY + bytes(65535), id="longest-form-of-a-length"),
    pytest.param(b"\x82\xff" + (1 << 63).to_bytes(8, "big") + KEY, id="length-with-the-highest-bit"),
    pytest.param(b"raw bytes", id="text"),
    pytest.param(bytes(64), id="zeros"),
]


@pytest.mark.parametrize("wire", NOT_FRAMES)
@pytest.mark.parametrize("before", [b"", frame(BINARY, b"fine")], ids=["first", "behind-a-frame"])
def test_bytes_that_are_no_frames_are_told(wire: bytes, before: bytes) -> None:
    """In one chunk, byte by byte, and taken apart; what was not passed on is held."""
    assert follower().follow(before + wire) is Seen.NOT_FRAMES
    following = follower()
    assert Seen.NOT_FRAMES in [following.follow((before + wire)[index : index + 1]) for index in range(len(before + wire))]
    for size in (1, len(before + wire)):
        following = follower()
        out = b""
        fed = 0
        try:
            for fed in range(size, len(before + wire) + 1, size):
                for _, piece in following.cut((before + wire)[fed - size : fed]):
                    out += piece
        except NotFrames:
            assert out + following.held == (before + wire)[:fed]
        else:
            pytest.fail("taken for frames")


def test_masked_frame_of_a_server_is_none() -> None:
    """RFC 6455 section 5.1."""
    assert follower(masked=False).follow(frame(TEXT, b"x")) is Seen.NOT_FRAMES
    assert follower(masked=False).follow(frame(TEXT, bytes(300))) is Seen.NOT_FRAMES


@pytest.mark.parametrize("reserved", [0x40, 0x20, 0x10, 0x70])
def test_reserved_bits_belong_to_extensions(reserved: int) -> None:
    """Compressed messages carry one; an extension that nobody knows here may use all."""
    following = follower(extended=True)
    assert following.follow(frame(TEXT, b"squeezed", reserved=reserved)) is None
    assert following.follow(frame(TEXT, b"squeezed", reserved=reserved, fin=False)) is None
    assert following.follow(frame(CONTINUATION, b"on")) is None
    assert following.between
    assert following.frames == 3


def test_close_is_seen_once_and_marks_the_direction() -> None:
    """A Close frame of any form, alone or behind others, and its second half is none."""
    wire = frame(CLOSE, close_payload(1000, "bye"))
    following = follower()
    assert following.follow(frame(TEXT, b"x") + wire) is Seen.CLOSE
    assert following.closed
    following = follower()
    assert [following.follow(wire[:1]), following.follow(wire[1:7]), following.follow(wire[7:])] == [None, Seen.CLOSE, None]
    following = follower()
    assert list(following.cut(wire[:7])) == []
    assert not following.closed
    assert following.frames == 0
    assert list(following.cut(wire[7:])) == [(CLOSE, wire)]
    assert following.closed
    assert following.frames == 1


_CLOSINGS = [(b"", 1005), (b"\x03\xe8", 1000), (b"\x0f\xa1bye", 4001), (b"\x00", 1005), (b"\xff\xff", 65535)]


@pytest.mark.parametrize(("payload", "code"), _CLOSINGS, ids=repr)
@pytest.mark.parametrize("masked", [False, True], ids=["from a server", "from a client"])
@pytest.mark.parametrize("splits", [False, True], ids=["followed", "taken apart"])
def test_code_of_a_close_frame_is_read(payload: bytes, code: int, *, masked: bool, splits: bool) -> None:
    """Whether or not it is masked, behind other frames as well; 1005 if there is none."""
    follower = FrameFollower(masked=masked, extended=False)
    wire = frame(TEXT, b"x", mask=masked) + frame(CLOSE, payload, mask=masked)
    assert follower.close_code == 0
    if splits:
        list(follower.cut(wire))
    else:
        follower.follow(wire)
    assert follower.close_code == code


@pytest.mark.parametrize("split", range(1, 8))
@pytest.mark.parametrize("splits", [False, True], ids=["followed", "taken apart"])
def test_code_of_a_close_frame_in_pieces_is_right_or_unknown(split: int, *, splits: bool) -> None:
    """What is passed on at once is not kept for its sake."""
    follower = FrameFollower(masked=True, extended=False)
    wire = frame(CLOSE, b"\x0f\xa1", mask=True)
    for piece in (wire[:split], wire[split:]):
        if splits:
            list(follower.cut(piece))
        else:
            follower.follow(piece)
    assert follower.closed
    assert follower.close_code == (4001 if splits or split < 2 else 0)


def test_ping_is_owed_until_the_other_direction_answers() -> None:
    """Any pong will do: it may stand for several pings (RFC 6455 section 5.5.3)."""
    there, back = follower(), follower(masked=False)
    there.opposite, back.opposite = back, there
    there.follow(frame(PING, b"1") + frame(PING, b"2"))
    assert there.pinged
    back.follow(frame(PONG, b"2", mask=False))
    assert not there.pinged
    assert not back.pinged


def test_message_over_its_size_is_told_before_any_of_the_frame_that_makes_it_so() -> None:
    """Parts add up; a new message begins at nothing; control frames do not count."""
    following = follower(most=10)
    assert following.limited
    fine = frame(TEXT, bytes(10)) + frame(TEXT, bytes(6), fin=False) + frame(PING, bytes(100)) + frame(CONTINUATION, bytes(4))
    assert TOO_LARGE not in [kind for kind, _ in following.cut(fine)]
    parts = frame(TEXT, bytes(6), fin=False) + frame(CONTINUATION, bytes(5))
    pieces = list(following.cut(parts))
    assert pieces == [(DATA, frame(TEXT, bytes(6), fin=False)), (TOO_LARGE, b""), (DATA, frame(CONTINUATION, bytes(5)))]


def test_head_of_a_large_frame_is_enough_to_tell_its_size() -> None:
    """Its payload need not have come, and a boundary is still there to put a Close frame at."""
    following = follower(most=1000)
    pieces = following.cut(frame(BINARY, bytes(70000))[:20])
    assert next(pieces) == (TOO_LARGE, b"")
    assert following.between


@pytest.mark.parametrize("key", [b"", KEY])
@pytest.mark.parametrize("kind", [CLOSE, PING, PONG])
def test_control_frame_of_ours_is_one(kind: int, key: bytes) -> None:
    """Masked towards a server, not towards a client; what it says can be read again."""
    wire = control_frame(kind, b"payload", key)
    assert wire == frame(kind, b"payload", mask=bool(key))
    assert payload_of(wire) == b"payload"
    assert list(follower(bool(key)).cut(wire)) == [(kind, wire)]


def test_close_payload_is_code_and_reason() -> None:
    """Two bytes, then UTF-8."""
    assert close_payload(1001, "über") == b"\x03\xe9\xc3\xbcber"


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("started", [0, 1, 3])
def test_many_frames_are_followed_so_many_at_a_time(started: int, *, masked: bool) -> None:
    """What lies behind them is told of in bytes; given again, it goes on there. A frame begun before makes no difference."""
    wire = frame(PING, b"", mask=masked) * (3 * MANY_FRAMES + 1)
    one = follower(masked)
    assert one.follow(wire[:started]) is None
    rest = wire[started:]
    calls = 0
    while rest:
        before = one.frames
        seen = one.follow(rest)
        assert one.frames - before <= MANY_FRAMES
        assert (seen is Seen.MANY) == (one.frames - before == MANY_FRAMES)
        rest = rest[-one.behind :] if one.behind else b""
        calls += 1
    assert (one.frames, one.between) == (3 * MANY_FRAMES + 1, True)
    assert calls in (3, 4), "one frame may have been begun before"


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("started", [0, 1, 3])
@pytest.mark.parametrize("kind", [PING, PONG, TEXT])
def test_many_frames_are_taken_apart_so_many_at_a_time(kind: int, started: int, *, masked: bool) -> None:
    """Nothing is lost, doubled or given twice, pongs that are taken out among them."""
    wire = frame(kind, b"", mask=masked) * (3 * MANY_FRAMES + 1)
    one = follower(masked)
    out = b"".join(piece for _, piece in one.cut(wire[:started]))
    rest = wire[started:]
    calls = 0
    while rest:
        pieces = []
        for seen, piece in one.cut(rest):
            pieces.append(piece)
            if seen == PONG:
                one.take_out()
        assert len(pieces) <= MANY_FRAMES + 1
        out += b"".join(pieces)
        rest = rest[-one.behind :] if one.behind else b""
        calls += 1
    assert out + one.held == wire
    assert one.between
    assert calls in (3, 4), "one frame may have been begun before"


def test_close_among_many_frames_is_told_and_so_is_what_lies_behind() -> None:
    """Both at once."""
    one = follower()
    wire = frame(CLOSE, b"", mask=True) + frame(PING, b"", mask=True) * MANY_FRAMES
    assert one.follow(wire) is Seen.CLOSE
    assert one.behind == len(frame(PING, b"", mask=True))
    assert one.follow(wire[-one.behind :]) is None
    assert one.behind == 0

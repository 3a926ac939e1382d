from __future__ import annotations

import pytest

from albkit.wire.http1.framing import DROPPED_TRAILERS, REJECTED_TRAILERS, ChunkedBody, FramingError
from albkit.wire.http2.fields import CONNECTION_SPECIFIC, LENGTH, FieldLines, trailer_lines
from albkit.wire.http2.frames import ErrorCode, StreamError

_SPECIAL = frozenset((b"cookie", b"host"))

BAD_FIELDS = [
    (b"", b"x"),
    (b":path", b"/"),
    (b":", b"/"),
    (b"a:b", b"x"),
    (b"a: b", b"x"),
    (b"Name", b"x"),
    (b"namE", b"x"),
    (b"a b", b"x"),
    (b" a", b"x"),
    (b"a ", b"x"),
    (b"a\r\nb", b"x"),
    (b"a\n", b"x"),
    (b"a\0", b"x"),
    (b"a\x7f", b"x"),
    (b"a\xe9", b"x"),
    (b"a(", b"x"),
    (b"a", b"x\r\nb: c"),
    (b"a", b"x\r"),
    (b"a", b"\nx"),
    (b"a", b"x\0"),
    (b"a", b"x\x01"),
    (b"a", b"x\x1fy"),
    (b"a", b"x\x7f"),
    (b"a", b" x"),
    (b"a", b"x "),
    (b"a", b"\tx"),
    (b"a", b"x\t"),
    (b"a", b" "),
    (b"a", b"\t\t"),
    (b"connection", b"close"),
    (b"connection", b""),
    (b"keep-alive", b"timeout=5"),
    (b"proxy-connection", b"keep-alive"),
    (b"transfer-encoding", b"chunked"),
    (b"transfer-encoding", b""),
    (b"upgrade", b"h2c"),
    (b"te", b"gzip"),
    (b"te", b"trailers, deflate"),
    (b"te", b"Trailers"),
    (b"te", b""),
]
"""Each makes the message malformed (RFC 9113 sections 8.2.1 and 8.2.2)."""


@pytest.mark.parametrize("field", BAD_FIELDS, ids=repr)
def test_malformed_field_is_refused(field: tuple[bytes, bytes]) -> None:
    """Each time: errors are not cached."""
    lines = FieldLines(_SPECIAL)
    for _ in range(2):
        with pytest.raises(StreamError) as caught:
            lines[field]
        assert caught.value.code is ErrorCode.PROTOCOL_ERROR
    assert not lines


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ((b"a", b"b"), b"a: b"),
        ((b"a", b""), b"a: "),
        ((b"!#$%&'*+-.^_`|~09az", b"b"), b"!#$%&'*+-.^_`|~09az: b"),
        ((b"a", b"b \tc"), b"a: b \tc"),
        ((b"a", b"\xc3\xa9\xff"), b"a: \xc3\xa9\xff"),
        ((b"a", b"b: c"), b"a: b: c"),
        ((b"te", b"trailers"), b"te: trailers"),
        ((b"host", b"x"), b""),
        ((b"cookie", b"x"), b""),
    ],
    ids=repr,
)
def test_line_of_a_field_is_built_once(field: tuple[bytes, bytes], line: bytes) -> None:
    """The line of a special field is empty: its reader builds it."""
    lines = FieldLines(_SPECIAL)
    for _ in range(2):
        assert lines[field] == line
    assert list(lines) == [field]


def test_special_fields_are_checked_too() -> None:
    """A cookie with a line end is as dangerous as any other field."""
    for value in (b"a\r\nb", b"a\0", b" a", b"a\n"):
        with pytest.raises(StreamError):
            FieldLines(_SPECIAL)[b"cookie", value]


def test_field_with_a_colon_in_its_name_is_not_taken_for_a_known_one() -> None:
    """Both would have the same line."""
    lines = FieldLines(_SPECIAL)
    assert lines[b"a", b"b: c"] == b"a: b: c"
    with pytest.raises(StreamError):
        lines[b"a: b", b"c"]


def test_cache_is_bounded() -> None:
    """In bytes, all caches of the process together; long and seldom repeated fields stay out."""
    lines = FieldLines(_SPECIAL)
    for field in ((b"a", b"b" * 2000), (b"set-cookie", b"a=b"), (b"x-request-id", b"1")):
        assert lines[field] == field[0] + b": " + field[1]
    assert (len(lines), lines.size_bytes) == (0, 0)
    for number in range(20_000):
        assert lines[b"a", b"%d" % number]
    assert 0 < len(lines) < 20_000
    lines.clear()
    assert (len(lines), lines.size_bytes) == (0, 0)


@pytest.mark.parametrize(
    ("value", "good"),
    [(b"0", True), (b"7", True), (b"999999999999999999", True)]
    + [(value, False) for value in (b"", b"00", b"07", b"-1", b"+1", b"1 ", b"1,1", b"0x1", b"1" * 19, b"\xb2", b"1\n")],
    ids=repr,
)
def test_length_is_a_plain_number(value: bytes, good: bool) -> None:
    """Every server reads it alike."""
    assert (LENGTH.fullmatch(value) is not None) is good


# Trailers.


def test_trailers_are_lines_in_their_order() -> None:
    """Those of gRPC, for example."""
    fields = [(b"grpc-status", b"0"), (b"grpc-message", b""), (b"x-checksum", b"1"), (b"x-checksum", b"2")]
    assert trailer_lines(fields) == [b"grpc-status: 0", b"grpc-message: ", b"x-checksum: 1", b"x-checksum: 2"]
    assert trailer_lines([]) == []


@pytest.mark.parametrize("field", BAD_FIELDS, ids=repr)
def test_malformed_trailer_is_refused(field: tuple[bytes, bytes]) -> None:
    """Pseudo-fields among them (RFC 9113 section 8.1)."""
    with pytest.raises(StreamError):
        trailer_lines([(b"grpc-status", b"0"), field])


@pytest.mark.parametrize("name", sorted(REJECTED_TRAILERS | CONNECTION_SPECIFIC))
def test_framing_fields_are_refused_as_trailers(name: bytes) -> None:
    """As they are behind chunks."""
    with pytest.raises(StreamError) as caught:
        trailer_lines([(name, b"trailers")])
    assert caught.value.code is ErrorCode.PROTOCOL_ERROR
    with pytest.raises(FramingError):
        ChunkedBody().feed(b"0\r\n" + name + b": trailers\r\n\r\n")


@pytest.mark.parametrize("prefix", DROPPED_TRAILERS)
def test_fields_of_trust_are_dropped_from_trailers(prefix: bytes) -> None:
    """As they are behind chunks: nothing has checked them."""
    assert trailer_lines([(b"a", b"b"), (prefix + b"x", b"c"), (b"d", b"e")]) == [b"a: b", b"d: e"]
    body = ChunkedBody()
    body.feed(b"0\r\na: b\r\n" + prefix + b"x: c\r\nd: e\r\n\r\n")
    assert body.trailers == [b"a: b", b"d: e"]


def test_trailers_have_a_limit() -> None:
    """16 KiB, with dropped ones."""
    assert len(trailer_lines([(b"a", b"b" * 8000), (b"c", b"d" * 8000)])) == 2
    with pytest.raises(StreamError):
        trailer_lines([(b"a", b"b" * 8000), (b"cookie", b"d" * 8500)])

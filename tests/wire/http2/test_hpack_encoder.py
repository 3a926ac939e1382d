from __future__ import annotations

import random

import hpack
import pytest
from hpack import NeverIndexedHeaderTuple

from albkit.wire.http2.hpack_encoder import ENCODED_LINES, TABLE_SIZE_ZERO, EncodedLines, encode_field, encode_status
from tests.support.effort import cases


def _decoded(block: bytes) -> list[tuple[bytes, bytes]]:
    """The fields as hpack reads them, which must not enter any into its table."""
    decoder = hpack.Decoder()
    fields = decoder.decode(block, raw=True)
    assert not decoder.header_table.dynamic_entries
    return [(bytes(name), bytes(value)) for name, value in fields]


@pytest.mark.parametrize(
    ("name", "value", "encoded"),
    [
        (b":method", b"GET", b"\x82"),
        (b":path", b"/", b"\x84"),
        (b":scheme", b"https", b"\x87"),
        (b":method", b"PUT", b"\x12\x03PUT"),
        (b":path", b"/a", b"\x14\x02/a"),
        (b":authority", b"a", b"\x11\x01a"),
        (b":authority", b"", b"\x11\x00"),
        (b":protocol", b"websocket", b"\x10\x09:protocol\x09websocket"),
        (b"accept-charset", b"x", b"\x1f\x00\x01x"),
        (b"accept-encoding", b"gzip, deflate", b"\x1f\x01\x0dgzip, deflate"),
        (b"www-authenticate", b"x", b"\x1f\x2e\x01x"),
        (b"authorization", b"", b"\x1f\x08\x00"),
        (b"x-a", b"", b"\x10\x03x-a\x00"),
        (b"x-a", b"v" * 126, b"\x10\x03x-a\x7e" + b"v" * 126),
        (b"x-a", b"v" * 127, b"\x10\x03x-a\x7f\x00" + b"v" * 127),
        (b"n" * 128, b"v" * 300, b"\x10\x7f\x01" + b"n" * 128 + b"\x7f\xad\x01" + b"v" * 300),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_field_is_never_indexed_with_a_static_name(name: bytes, value: bytes, encoded: bytes) -> None:
    """Only pseudo-fields are references to whole entries: any other field may have come as never-indexed (RFC 7541 section 7.1.3)."""
    assert encode_field(name, value) == encoded
    assert _decoded(encoded) == [(name, value)]


def test_other_fields_are_marked_for_the_next_hop() -> None:
    """hpack returns such fields as a type of their own."""
    (field,) = hpack.Decoder().decode(encode_field(b"authorization", b"secret"), raw=True)
    assert isinstance(field, NeverIndexedHeaderTuple)


@pytest.mark.parametrize("status", [100, 103, 200, 204, 206, 299, 304, 400, 404, 464, 500, 503, 599])
def test_status_is_encoded(status: int) -> None:
    """In one octet if the static table has it."""
    block = encode_status(status)
    assert _decoded(block) == [(b":status", b"%d" % status)]
    assert len(block) == (1 if status in (200, 204, 206, 304, 400, 404, 500) else 5)


@pytest.mark.parametrize("status", [0, 99, 600, -200])
def test_status_out_of_range_is_refused(status: int) -> None:
    """It has three digits (RFC 9110 section 15)."""
    with pytest.raises(KeyError):
        encode_status(status)


def test_size_update_to_zero_empties_the_table_of_the_peer() -> None:
    """RFC 7541 section 6.3."""
    decoder = hpack.Decoder()
    decoder.decode(b"\x40\x01a\x01b")
    assert decoder.decode(TABLE_SIZE_ZERO + b"\x82", raw=True) == [(b":method", b"GET")]
    assert decoder.header_table_size == 0
    assert not decoder.header_table.dynamic_entries


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"Content-Type: text/html", (b"content-type", b"text/html")),
        (b"X-A:b", (b"x-a", b"b")),
        (b"X-A: \t b c \t", (b"x-a", b"b c")),
        (b"X-A:", (b"x-a", b"")),
        (b"X-A: b: c", (b"x-a", b"b: c")),
        (b"X_a!: \x01\xff", (b"x_a!", b"\x01\xff")),
        (b"TE: Trailers", (b"te", b"trailers")),
    ],
    ids=repr,
)
def test_line_is_encoded_with_its_name_in_lower_case(line: bytes, field: tuple[bytes, bytes]) -> None:
    """And without whitespace around the value (RFC 9113 section 8.2). The second time it comes from the cache."""
    for _ in range(2):
        assert _decoded(ENCODED_LINES[line]) == [field]
    assert line in ENCODED_LINES


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no colon",
        b":path: /",
        b": x",
        b"a b: c",
        b"a : c",
        b" a: c",
        b"a\0: c",
        b"a\xe9: c",
        b"a: b\rc",
        b"a: b\nc",
        b"a: b\0c",
        b"a: b\r",
        b"a: b\n:path: /",
        b"a: b\r\n",
        b"\r\na: b",
        b"a: b\r\n\r\nc: d",
        b"a: b\r\nc",
        b"a: b\r\n:path: /",
        b"a: b\r\n c: d",
    ],
    ids=repr,
)
def test_line_that_cannot_be_sent_is_refused(line: bytes) -> None:
    """Hooks and transforms may have written it. The second time as well."""
    for _ in range(2):
        with pytest.raises(ValueError, match=r"not a field line|contains CR, LF or NUL"):
            ENCODED_LINES[line]


def test_several_lines_in_one_item_are_several_fields() -> None:
    """The load balancer's own fields come like this. All but the last are kept as one."""
    lines = EncodedLines()
    for last in (b"1", b"2"):
        assert _decoded(lines[b"A: 1\r\nb: 2\r\nX-Amzn-Trace-Id: " + last]) == [(b"a", b"1"), (b"b", b"2"), (b"x-amzn-trace-id", last)]
    assert set(lines) == {b"A: 1", b"b: 2", b"A: 1\r\nb: 2"}
    assert _decoded(lines[b"A: 1\r\nC: 3"]) == [(b"a", b"1"), (b"c", b"3")]


def test_many_lines_in_one_item_are_encoded() -> None:
    """Without recursion."""
    item = b"\r\n".join(b"X-%d: v" % number for number in range(5000))
    assert EncodedLines()[item].count(b"\x01v") == 5000


@pytest.mark.parametrize("line", [b"Connection: close", b"connection:", b"TE: gzip", b"te: trailers, deflate"], ids=repr)
def test_fields_to_leave_out_become_nothing(line: bytes) -> None:
    """In any case, and among other lines. Of TE, only `trailers` may be sent (RFC 9113 section 8.2.2)."""
    lines = EncodedLines(frozenset((b"connection",)))
    assert lines[line] == lines[line] == b""
    assert _decoded(lines[b"A: b\r\n" + line + b"\r\nc: d"]) == [(b"a", b"b"), (b"c", b"d")]


def test_long_lines_and_lines_that_are_never_repeated_are_not_cached() -> None:
    """They would only push out others."""
    lines = EncodedLines()
    for line in (b"a: " + b"b" * 2000, b"X-Amzn-Trace-Id: Root=1", b"Set-Cookie: a=b", b"X-Request-Id: 1"):
        assert _decoded(lines[line])
    assert not lines
    assert lines.size_bytes == 0


def test_cache_is_charged_to_the_budget_and_can_be_cleared() -> None:
    """Peers choose the lines."""
    lines = EncodedLines()
    assert lines[b"a: b"]
    assert lines.size_bytes > 256
    lines.clear()
    assert (len(lines), lines.size_bytes) == (0, 0)


def test_cache_does_not_grow_without_limit() -> None:
    """All caches of the process together have 8 MiB, and one of them half of it."""
    lines = EncodedLines()
    for number in range(20_000):
        assert lines[b"x-%d: v" % number]
    assert 0 < len(lines) < 20_000
    lines.clear()


def test_random_fields_are_what_hpack_decodes() -> None:
    """From a fixed seed, with names of the static table and of all lengths."""
    rnd = random.Random(12)
    names = [bytes(name) for name, _ in hpack.table.HeaderTable.STATIC_TABLE] + [b"x", b"n" * 200]
    for _ in range(cases(20_000)):
        fields = [
            (rnd.choice(names), rnd.choice((b"", b"GET", b"/", b"200", rnd.randbytes(rnd.choice((3, 126, 127, 128, 300))))))
            for _ in range(rnd.randint(1, 5))
        ]
        assert _decoded(b"".join(encode_field(*field) for field in fields)) == fields

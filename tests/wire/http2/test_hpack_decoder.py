from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from albkit.wire.http2.frames import ErrorCode, Http2Error
from albkit.wire.http2.hpack_decoder import HeaderListTooLarge, HpackDecoder, HpackError
from albkit.wire.http2.hpack_encoder import encode_field
from albkit.wire.http2.static_table import STATIC_NAMES, STATIC_TABLE

_LIST = 65_536
_FIELD = 8_192

Field = tuple[bytes, bytes]


def _decoder(max_list: int = _LIST, max_field: int = _FIELD, max_table: int = 4096) -> HpackDecoder:
    return HpackDecoder(max_list, max_field, max_table)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


def _literal(name: bytes, value: bytes) -> bytes:
    """With incremental indexing and a new name."""
    assert len(name) < 127
    return b"\x40" + bytes((len(name),)) + name + _string(value)


def _string(value: bytes) -> bytes:
    if len(value) < 127:
        return bytes((len(value),)) + value
    octets = bytearray((127,))
    rest = len(value) - 127
    while rest > 127:
        octets.append(rest & 127 | 128)
        rest >>= 7
    octets.append(rest)
    return bytes(octets) + value


def _refused(block: bytes, decoder: HpackDecoder | None = None) -> str:
    with pytest.raises(HpackError) as caught:
        (decoder or _decoder()).decode(block)
    assert caught.value.code is ErrorCode.COMPRESSION_ERROR
    return caught.value.reason


# RFC 7541 appendix C.

_DATE_1 = b"Mon, 21 Oct 2013 20:13:21 GMT"
_DATE_2 = b"Mon, 21 Oct 2013 20:13:22 GMT"
_COOKIE = b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
_REQUESTS: list[tuple[list[Field], list[Field], int]] = [
    (
        [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
        [(b":authority", b"www.example.com")],
        57,
    ),
    (
        [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":path", b"/"),
            (b":authority", b"www.example.com"),
            (b"cache-control", b"no-cache"),
        ],
        [(b"cache-control", b"no-cache"), (b":authority", b"www.example.com")],
        110,
    ),
    (
        [
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":path", b"/index.html"),
            (b":authority", b"www.example.com"),
            (b"custom-key", b"custom-value"),
        ],
        [(b"custom-key", b"custom-value"), (b"cache-control", b"no-cache"), (b":authority", b"www.example.com")],
        164,
    ),
]
_LOCATION = (b"location", b"https://www.example.com")
_RESPONSES: list[tuple[list[Field], list[Field], int]] = [
    (
        [(b":status", b"302"), (b"cache-control", b"private"), (b"date", _DATE_1), _LOCATION],
        [_LOCATION, (b"date", _DATE_1), (b"cache-control", b"private"), (b":status", b"302")],
        222,
    ),
    (
        [(b":status", b"307"), (b"cache-control", b"private"), (b"date", _DATE_1), _LOCATION],
        [(b":status", b"307"), _LOCATION, (b"date", _DATE_1), (b"cache-control", b"private")],
        222,
    ),
    (
        [
            (b":status", b"200"),
            (b"cache-control", b"private"),
            (b"date", _DATE_2),
            _LOCATION,
            (b"content-encoding", b"gzip"),
            (b"set-cookie", _COOKIE),
        ],
        [(b"set-cookie", _COOKIE), (b"content-encoding", b"gzip"), (b"date", _DATE_2)],
        215,
    ),
]
_PLAIN_REQUESTS = [
    "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
    "8286 84be 5808 6e6f 2d63 6163 6865",
    "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
]
_HUFFMAN_REQUESTS = [
    "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
    "8286 84be 5886 a8eb 1064 9cbf",
    "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
]
_PLAIN_RESPONSES = [
    "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f"
    "2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
    "4803 3330 37c1 c0bf",
    "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b"
    "425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
]
_HUFFMAN_RESPONSES = [
    "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae82ae 43d3",
    "4883 640e ffc1 c0bf",
    "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708"
    "7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
]


@pytest.mark.parametrize(
    ("blocks", "expected", "table"),
    [
        (_PLAIN_REQUESTS, _REQUESTS, 4096),
        (_HUFFMAN_REQUESTS, _REQUESTS, 4096),
        (_PLAIN_RESPONSES, _RESPONSES, 256),
        (_HUFFMAN_RESPONSES, _RESPONSES, 256),
    ],
    ids=["C.3", "C.4", "C.5", "C.6"],
)
def test_examples_of_the_rfc_are_decoded(blocks: list[str], expected: list[tuple[list[Field], list[Field], int]], table: int) -> None:
    """RFC 7541 appendix C: fields, the dynamic table after each block, and its size."""
    decoder = _decoder(max_table=table)
    for block, (fields, entries, size) in zip(blocks, expected, strict=True):
        assert decoder.decode(_bytes(block)) == fields
        assert list(decoder._entries) == entries
        assert decoder._size == size


@pytest.mark.parametrize(
    ("block", "fields", "entries"),
    [
        ("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", [(b"custom-key", b"custom-header")], 1),
        ("040c 2f73 616d 706c 652f 7061 7468", [(b":path", b"/sample/path")], 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", [(b"password", b"secret")], 0),
        ("82", [(b":method", b"GET")], 0),
    ],
    ids=["C.2.1", "C.2.2", "C.2.3", "C.2.4"],
)
def test_each_representation_of_the_rfc_is_decoded(block: str, fields: list[Field], entries: int) -> None:
    """RFC 7541 appendix C.2: with indexing, without, never-indexed, and indexed."""
    decoder = _decoder()
    assert decoder.decode(_bytes(block)) == fields
    assert len(decoder._entries) == entries
    assert decoder.changes == entries


@pytest.mark.parametrize(
    ("block", "size"),
    [(b"\x2a", 10), (b"\x3f\x9a\x0a", 1337), (b"\x3f\x00", 31), (b"\x3f\xe1\x1f", 4096), (b"\x20", 0)],
)
def test_integers_are_decoded(block: bytes, size: int) -> None:
    """RFC 7541 appendix C.1, in a size update."""
    decoder = _decoder()
    assert decoder.decode(block) == []
    assert decoder._capacity == size
    assert decoder.changes == 1


def test_static_table_is_that_of_the_rfc() -> None:
    """Each index alone. The first and last of each group of equal names are well known."""
    decoder = _decoder()
    assert len(STATIC_TABLE) == 62
    for index in range(1, 62):
        assert decoder.decode(bytes((0x80 | index,))) == [STATIC_TABLE[index]]
    assert STATIC_TABLE[1] == (b":authority", b"")
    assert STATIC_TABLE[14] == (b":status", b"500")
    assert STATIC_TABLE[16] == (b"accept-encoding", b"gzip, deflate")
    assert STATIC_TABLE[61] == (b"www-authenticate", b"")
    assert (STATIC_NAMES[b":status"], STATIC_NAMES[b":method"], STATIC_NAMES[b"via"]) == (8, 2, 60)
    assert decoder.changes == 0


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",
        b"\xbe",  # 62, in an empty dynamic table
        b"\xff\x00",
        b"\xff\xff\xff\xff\x0f",
        b"\x7e\x01a",
        b"\x7f\x00\x01a",
        b"\x0f\x2f\x01a",
        b"\x1f\x2f\x01a",
    ],
    ids=bytes.hex,
)
def test_index_that_does_not_exist_is_an_error(block: bytes) -> None:
    """RFC 7541 section 2.3.3: index 0, and those behind the end of the dynamic table."""
    _refused(block)


def test_index_behind_an_evicted_entry_is_an_error() -> None:
    """It was right before."""
    decoder = _decoder()
    decoder.decode(_literal(b"a", b"1") + _literal(b"b", b"2"))
    assert decoder.decode(b"\xbf") == [(b"a", b"1")]
    decoder.decode(b"\x3f\x03")  # 34 bytes: one entry
    assert decoder.decode(b"\xbe") == [(b"b", b"2")]
    _refused(b"\xbf", decoder)


_WHOLE = [
    b"\xff\x80\x01",
    b"\x40\x01a\x01b",
    b"\x41\x01b",
    b"\x7f\x80\x80\x00\x01b",
    b"\x00\x01a\x7f\x01" + b"b" * 128,
    b"\x10\x81\x1f\x81\x1f",
    b"\x3f\x9a\x0a",
    b"\x04\x8c" + bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff"),
]


@pytest.mark.parametrize("block", _WHOLE, ids=bytes.hex)
def test_truncated_block_is_an_error(block: bytes) -> None:
    """Wherever it ends, behind a whole field and alone."""
    for end in range(1, len(block)):
        _refused(block[:end])
        if block[0] & 0xE0 != 0x20:
            _refused(b"\x82" + block[:end])


def test_empty_block_has_no_fields() -> None:
    """It changes nothing either."""
    decoder = _decoder()
    assert decoder.decode(b"") == []
    assert decoder.changes == 0


@pytest.mark.parametrize("start", [b"\xff", b"\x7f", b"\x0f", b"\x1f", b"\x3f", b"\x04\x7f", b"\x00\x7f", b"\x04\xff"], ids=bytes.hex)
def test_integer_without_end_is_an_error(start: bytes) -> None:
    """Five octets behind the prefix are enough for 32 bits; leading zeros could go on for ever."""
    assert "too large" in _refused(start + b"\x80" * 5 + b"\x01")
    assert "too large" in _refused(start + b"\xff" * 100_000)
    _refused(start + b"\xff\xff\xff\xff\x7f")


def test_integer_with_leading_zeros_is_decoded() -> None:
    """Within the five octets they are allowed."""
    assert _decoder().decode(b"\x3f\x80\x80\x80\x80\x00") == []
    assert _decoder().decode(b"\x04\x7f\x80\x00" + b"/" * 127) == [(b":path", b"/" * 127)]


@pytest.mark.parametrize("block", [b"\x82\x20", b"\x82\x3f\x01", b"\x20\x82\x20", b"\x20\x20\x20", b"\x20\x3f\x01\x20\x82"], ids=bytes.hex)
def test_size_update_behind_a_field_or_a_third_one_is_an_error(block: bytes) -> None:
    """RFC 7541 section 4.2: at the start of a block, the smallest size and the final one."""
    assert "size update" in _refused(block)


def test_two_size_updates_are_applied_in_their_order() -> None:
    """The first evicts what the second would have room for."""
    decoder = _decoder()
    decoder.decode(_literal(b"a", b"1"))
    assert decoder.decode(b"\x20\x3f\xe1\x1f\x82") == [(b":method", b"GET")]
    assert not decoder._entries
    assert (decoder._capacity, decoder.changes) == (4096, 2)


@pytest.mark.parametrize("max_table", [0, 100, 4096, 10_000])
def test_size_update_above_the_setting_is_an_error(max_table: int) -> None:
    """RFC 7541 section 6.3. The table starts at 4096 even if more is allowed."""
    decoder = _decoder(max_table=max_table)
    assert decoder._capacity == min(max_table, 4096)
    decoder.decode(b"\x20" if max_table < 31 else b"\x3f" + _rest(max_table - 31))
    assert decoder._capacity == max_table
    assert "above our limit" in _refused(bytes((0x21 + max_table,)) if max_table < 30 else b"\x3f" + _rest(max_table - 30), decoder)


def _rest(value: int) -> bytes:
    octets = bytearray()
    while value > 127:
        octets.append(value & 127 | 128)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def test_entry_larger_than_the_table_empties_it() -> None:
    """RFC 7541 section 4.4: no error, and the entry is not kept."""
    decoder = _decoder()
    decoder.decode(_literal(b"a", b"1"))
    assert decoder.decode(_literal(b"b", b"x" * 4096)) == [(b"b", b"x" * 4096)]
    assert (list(decoder._entries), decoder._size) == ([], 0)
    assert decoder.decode(_literal(b"c", b"x" * (4096 - 33))) == [(b"c", b"x" * (4096 - 33))]
    assert (len(decoder._entries), decoder._size) == (1, 4096)


def test_name_of_an_entry_that_is_evicted_for_it_is_kept() -> None:
    """RFC 7541 section 4.4: a new entry may refer to the name of one that it evicts."""
    decoder = _decoder()
    decoder.decode(_literal(b"name", b"x" * 4000))
    assert decoder.decode(b"\x7e" + _string(b"y" * 3000)) == [(b"name", b"y" * 3000)]
    assert list(decoder._entries) == [(b"name", b"y" * 3000)]


@pytest.mark.parametrize("padding", [b"\x81\x00", b"\x82\x1f\xff", b"\x84\xff\xff\xff\xff"], ids=bytes.hex)
def test_wrong_huffman_code_is_an_error(padding: bytes) -> None:
    """In a value and in a name."""
    assert "Huffman" in _refused(b"\x04" + padding)
    assert "Huffman" in _refused(b"\x00" + padding + b"\x00")


def test_sizes_of_indexed_fields_count() -> None:
    """Otherwise 12,000 octets would become 48 MB: the HPACK bomb."""
    decoder = _decoder()
    decoder.decode(_literal(b"bomb", b"x" * 4000))
    assert len(decoder.decode(b"\xbe" * 16)) == 16
    with pytest.raises(HeaderListTooLarge) as caught:
        decoder.decode(b"\xbe" * 17)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM
    assert isinstance(caught.value, Http2Error)


@pytest.mark.parametrize("block", [b"\x82" * 3, b"\x02\x03GET" * 3, b"\x42\x03GET" * 3, b"\x82\x02\x03GET\x42\x03GET"], ids=bytes.hex)
def test_list_may_be_as_large_as_the_limit(block: bytes) -> None:
    """Each field counts its name, its value and 32 (RFC 9113 section 10.5.1)."""
    assert len(_decoder(max_list=3 * 42).decode(block)) == 3
    with pytest.raises(HeaderListTooLarge):
        _decoder(max_list=3 * 42 - 1).decode(block)


@pytest.mark.parametrize("start", [b"\x04", b"\x44", b"\x14"], ids=bytes.hex)
def test_encoded_field_may_be_as_large_as_the_limit(start: bytes) -> None:
    """The octets of one representation, its prefix and lengths included."""
    block = start + _string(b"/" * 200)
    assert len(_decoder(max_field=len(block)).decode(b"\x82" + block)) == 2
    with pytest.raises(HeaderListTooLarge):
        _decoder(max_field=len(block) - 1).decode(b"\x82" + block)


def test_changes_counts_blocks_that_change_the_table() -> None:
    """An evicted table, an entry that does not fit and a size update are changes; literals without indexing are none."""
    decoder = _decoder()
    for block, changes in (
        (b"\x82\x87", 0),
        (_literal(b"a", b"1") * 3, 1),
        (b"\xbe\xbf", 1),
        (b"\x00\x01a\x01b\x10\x01a\x01b", 1),
        (b"\x3f\xe1\x1f", 2),
        (_literal(b"a", b"x" * 5000), 3),
    ):
        decoder.decode(block)
        assert decoder.changes == changes


# Pseudo-fields at the start.


@pytest.mark.parametrize(
    ("block", "pseudo", "position"),
    [
        (b"", [], 0),
        (b"\x82\x87\x84", [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/")], 3),
        (b"\x82\x04\x02/a\x90", [(b":method", b"GET"), (b":path", b"/a")], 5),
        (b"\x14\x81\x1f\x00\x01a\x01b", [(b":path", b"a")], 3),
        (b"\xbe\x82\xbf\x82", [(b":authority", b"example.com"), (b":method", b"GET")], 2),
        (b"\x82\x0f\x02\x01x", [(b":method", b"GET")], 1),
        (b"\x82\x00\x05:path\x01/", [(b":method", b"GET")], 1),
        (b"\xff\x01", [], 0),
        (b"\x90\x82", [], 0),
        (b"\x80\x82", [], 0),
    ],
    ids=repr,
)
def test_pseudo_fields_are_split_off(block: bytes, pseudo: list[Field], position: int) -> None:
    """Up to the first other field, or the first in an unusual encoding."""
    decoder = _decoder()
    decoder.decode(_literal(b"x", b"y") + b"\x41\x0bexample.com")
    assert decoder.split_pseudo(block) == (pseudo, position)
    assert decoder.changes == 1


@pytest.mark.parametrize(
    "block",
    [
        b"\xc4",
        b"\x82\x41\x01a",
        b"\x20\x82",
        b"\x82\x20",
        b"\x82\x04\x05/",
        b"\x82\x04",
        b"\x04\x81\x00",
        b"\x04" + _string(b"/" * 9000),
    ],
    ids=lambda block: block[:8].hex(),
)
def test_pseudo_fields_that_change_the_table_or_are_wrong_are_not_split(block: bytes) -> None:
    """`decode` decides what becomes of such a block."""
    assert _decoder().split_pseudo(block) is None


# How long an attacker can keep the decoder busy.


def _full_table() -> HpackDecoder:
    decoder = _decoder(max_list=2**30, max_field=2**30)
    decoder.decode(b"".join(_literal(b"", b"") for _ in range(128)))
    return decoder


def _cost(block: bytes) -> float:
    """Seconds of CPU time to decode or refuse a block, the least of several."""
    costs = []
    for _ in range(3):
        decoder = _full_table()
        before = time.process_time()
        try:
            decoder.decode(block)
        except Http2Error:
            pass
        costs.append(time.process_time() - before)
    return min(costs)


@pytest.mark.no_cover
@pytest.mark.parametrize(
    "build",
    [
        lambda size: b"\xbe" * size,
        lambda size: b"\xff\x40" * (size // 2),
        lambda size: b"\x40\x00\x00" * (size // 3),
        lambda size: b"\x7e\x00" * (size // 2),
        lambda size: b"\x00\x00\x00" * (size // 3),
        lambda size: b"\x00\x00\xff\x81\xfe\x03" + b"\xfe" * size,
        lambda size: b"\x00\x00" + bytes((0x7F,)) + _rest(size - 127) + b"x" * size,
        lambda size: b"\x3f\xe1\x1f\x20" + b"\x40\x00\x00" * (size // 3),
        lambda size: (b"\x40\x00\x7f\xe1\x1e" + b"x" * 4064 + b"\x40\x00\x00" * 100) * (size // 4369),
    ],
    ids=["references", "two octets", "entries", "entries of names", "literals", "Huffman", "one string", "no table", "evictions"],
)
def test_cost_of_a_block_grows_with_its_length_only(build: Callable[[int], bytes]) -> None:
    """Sixteen times the octets cost about sixteen times as much: no kind of block is quadratic."""
    small, large = build(8_192), build(16 * 8_192)
    assert _cost(large) < 80 * max(_cost(small), 0.0005)


def test_encoded_fields_are_decoded() -> None:
    """Our encoder and decoder agree; more in the encoder's tests."""
    assert _decoder().decode(encode_field(b"x-a", b"b")) == [(b"x-a", b"b")]

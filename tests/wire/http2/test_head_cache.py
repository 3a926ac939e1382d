from __future__ import annotations

import random
from collections.abc import Iterator

import hpack
import pytest
from hpack import HeaderTuple, NeverIndexedHeaderTuple

from albkit.wire.http2.fields import trailer_lines
from albkit.wire.http2.frames import Http2Error, StreamError
from albkit.wire.http2.head_cache import HeadCache
from albkit.wire.http2.hpack_decoder import HeaderListTooLarge, HpackDecoder
from albkit.wire.http2.hpack_encoder import encode_field
from albkit.wire.http2.request import request_head
from tests.support.effort import cases

Field = tuple[bytes, bytes]

_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


class _CountingDecoder(HpackDecoder):
    """Counts the blocks that were decoded."""

    def __init__(self, max_list: int = 65_536, max_field: int = 8_192) -> None:
        super().__init__(max_list, max_field)
        self.decoded = 0

    def decode(self, block: bytes) -> list[Field]:
        self.decoded += 1
        return super().decode(block)


@pytest.fixture
def decoder() -> _CountingDecoder:
    """Of one connection."""
    return _CountingDecoder()


@pytest.fixture
def cache(decoder: _CountingDecoder) -> HeadCache:
    """Of the same connection."""
    return HeadCache(decoder)


def _pseudo(path: bytes = b"/", method: bytes = b"GET", authority: bytes = b"a.example") -> list[Field]:
    return [(b":method", method), (b":scheme", b"https"), (b":authority", authority), (b":path", path)]


def _block(fields: list[Field]) -> bytes:
    """As literals, so that the table does not change."""
    return b"".join(encode_field(*field) for field in fields)


_FIELDS = [(b"user-agent", b"x"), (b"cookie", b"a=b")]
_BLOCK = _block(_pseudo() + _FIELDS)


def test_repeated_block_is_not_decoded_again(decoder: _CountingDecoder, cache: HeadCache) -> None:
    """The same object is returned."""
    first = cache.head(_BLOCK, True)
    assert first.head == b"GET / HTTP/1.1\r\nhost: a.example\r\nuser-agent: x\r\ncookie: a=b\r\n\r\n"
    assert cache.head(bytes(bytearray(_BLOCK)), True) is first
    assert decoder.decoded == 1


def test_end_of_the_stream_is_part_of_the_key(decoder: _CountingDecoder, cache: HeadCache) -> None:
    """With a body to come, the head is another one: for whole blocks and for tails."""
    for ended in (True, False, True, False):
        for path in (b"/1", b"/2"):
            found = cache.head(_block(_pseudo(path) + _FIELDS), ended)
            assert found.head == request_head(_pseudo(path) + _FIELDS, ended=ended).head
            assert (b"chunked" in found.head) is not ended
    assert decoder.decoded == 2


def test_block_that_differs_in_its_pseudo_fields_is_not_decoded(decoder: _CountingDecoder, cache: HeadCache) -> None:
    """Method, path and host may be new."""
    cache.head(_BLOCK, True)
    for pseudo in (_pseudo(b"/a?b"), _pseudo(method=b"DELETE"), _pseudo(authority=b"b.example"), _pseudo(b"/c")[::-1]):
        assert cache.head(_block(pseudo + _FIELDS), True).head == request_head(pseudo + _FIELDS, ended=True).head
    assert decoder.decoded == 1


def test_declared_length_is_kept_with_the_tail(decoder: _CountingDecoder, cache: HeadCache) -> None:
    """The stream compares it with the body."""
    fields = [(b"content-length", b"5")]
    for path in (b"/1", b"/2", b"/2"):
        found = cache.head(_block(_pseudo(path) + fields), False)
        assert (found.content_length, found.is_connect) == (5, False)
        assert found.head.endswith(b"\r\ncontent-length: 5\r\n\r\n")
    assert decoder.decoded == 1


def test_host_is_compared_with_each_authority(cache: HeadCache) -> None:
    """So the tail of a request with a Host is not used for others."""
    fields = [(b"host", b"a.example")]
    assert cache.head(_block(_pseudo() + fields), True)
    with pytest.raises(StreamError):
        cache.head(_block(_pseudo(authority=b"b.example") + fields), True)


def test_pseudo_fields_in_an_unusual_encoding_are_not_part_of_a_tail(cache: HeadCache) -> None:
    """Behind all four, such a tail would repeat one of them."""
    unusual = b"\x00\x05:path\x01/" + _block(_FIELDS)
    start = _block(_pseudo()[:3])
    assert cache.head(start + unusual, True).head.startswith(b"GET / ")
    with pytest.raises(StreamError):
        cache.head(start + encode_field(b":path", b"/other") + unusual, True)


def test_change_of_the_table_empties_the_cache(decoder: _CountingDecoder, cache: HeadCache) -> None:
    """The same octets mean something else afterwards, even if other blocks such as trailers have changed the table."""
    block = _block(_pseudo()) + b"\xbe"
    decoder.decode(b"\x40\x01a\x011")
    assert cache.head(block, True).head.endswith(b"\r\na: 1\r\n\r\n")
    assert cache.head(block, True).head.endswith(b"\r\na: 1\r\n\r\n")
    decoder.decode(b"\x40\x01a\x012")
    assert cache.head(block, True).head.endswith(b"\r\na: 2\r\n\r\n")
    assert cache.head(_block(_pseudo(b"/other")) + b"\xbe", True).head.endswith(b"\r\na: 2\r\n\r\n")
    assert cache.head(_block(_pseudo()) + b"\x40\x01a\x013", True).head.endswith(b"\r\na: 3\r\n\r\n")
    assert cache.head(_block(_pseudo(b"/other")) + b"\xbe", True).head.endswith(b"\r\na: 3\r\n\r\n")
    assert cache.head(block, True).head.endswith(b"\r\na: 3\r\n\r\n")


def test_block_that_changes_the_table_is_not_cached(decoder: _CountingDecoder, cache: HeadCache) -> None:
    """It has to change it each time."""
    block = _block(_pseudo()) + b"\x40\x01a\x011"
    for count in (1, 2, 3):
        cache.head(block, True)
        assert len(decoder._entries) == count


def test_malformed_request_is_refused_each_time(decoder: _CountingDecoder, cache: HeadCache) -> None:
    """Errors are not cached, and the table follows the block."""
    cache.head(_BLOCK, True)
    for block in (_block([*_pseudo(b"/ x"), *_FIELDS]), _block([*_pseudo(), (b"a\n", b"b")]), _block(_pseudo()[1:] + _FIELDS)):
        for _ in range(2):
            with pytest.raises(StreamError):
                cache.head(block, True)
    for count in (1, 2):
        with pytest.raises(StreamError):
            cache.head(_block(_pseudo()) + b"\x40\x01A\x011", True)
        assert decoder.changes == count


def test_limits_of_the_decoder_hold_with_a_known_tail() -> None:
    """A longer path makes the same list larger, and a field may be too long by itself."""
    # 48, 44, 51, 38 and the field of 40: 221 bytes in all.
    fields = [(b"x", b"1234567")]
    with pytest.raises(HeaderListTooLarge):
        HpackDecoder(213, 8_192).decode(_block(_pseudo(b"/") + fields))
    cache = HeadCache(HpackDecoder(219, 8_192))
    for path in (b"/", b"/1", b"/1234"):
        assert cache.head(_block(_pseudo(path) + fields), True)
    with pytest.raises(HeaderListTooLarge):
        cache.head(_block(_pseudo(b"/12345678") + fields), True)
    cache = HeadCache(HpackDecoder(65_536, 20))
    cache.head(_block(_pseudo() + fields), True)
    with pytest.raises(HeaderListTooLarge):
        cache.head(_block(_pseudo(b"/" + b"a" * 20) + fields), True)


def test_connect_is_never_cached(decoder: _CountingDecoder, cache: HeadCache) -> None:
    """The key of a WebSocket is another one each time."""
    websocket = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *_pseudo()[1:]]
    plain = [(b":method", b"CONNECT"), (b":authority", b"a.example")]
    for key in (b"1", b"2"):
        found = cache.head(_block(websocket), False, key)
        assert found.is_connect
        assert b"sec-websocket-key: " + key in found.head
        assert cache.head(_block(plain), True).head.startswith(b"CONNECT ")
    assert decoder.decoded == 4
    with pytest.raises(StreamError):
        cache.head(_block(websocket), False)


def _size(cache: HeadCache) -> tuple[int, int]:
    """Entries and bytes of their text."""
    heads = [entry for blocks in cache._heads.blocks for entry in blocks.items()]
    tails = [entry for blocks in cache._tails.blocks for entry in blocks.items()]
    size = sum(len(block) + len(head.head) for block, head in heads) + sum(len(block) + len(tail[0]) for block, tail in tails)
    return len(heads) + len(tails), size


def test_cache_stays_small(cache: HeadCache) -> None:
    """2 KiB of each kind at first, at most 32 KiB and 64 entries of each kind in all."""
    for number in range(10):
        cache.head(_block([*_pseudo(b"/%d" % number), *_FIELDS]), True)
    assert _size(cache)[1] < 4096
    for number in range(300):
        block = _block([*_pseudo(b"/%d" % number), (b"user-agent", b"x" * (number % 600)), (b"x", b"%d" % (number % 100))])
        for _ in range(3):
            cache.head(block, bool(number % 2))
        entries, size = _size(cache)
        assert entries <= 128
        assert size <= 32 * 1024
        assert len(cache._heads.blocks[0]) + len(cache._heads.blocks[1]) <= 64


def test_large_head_is_not_cached() -> None:
    """It would take the place of all others."""
    decoder = _CountingDecoder(max_field=65_536)
    cache = HeadCache(decoder)
    block = _block([*_pseudo(), (b"x", b"y" * 30_000)])
    for _ in range(20):
        assert len(cache.head(block, True).head) > 30_000
    assert decoder.decoded == 20
    assert _size(cache) == (0, 0)


def test_client_that_repeats_nothing_stops_filling_the_cache(cache: HeadCache) -> None:
    """Storing would cost more than it saves. Later it is tried again."""
    sizes = []
    for number in range(2000):
        cache.head(_block([*_pseudo(b"/%d" % number), (b"x", b"%d" % number)]), True)
        sizes.append(_size(cache)[0])
    assert max(sizes) > 10
    assert sum(size <= 2 for size in sizes) > 1000


# With and without caches.

_NAMES = (b"x-a", b"x-b", b"cookie", b"user-agent", b"host", b"content-length", b"x-" + b"long" * 20, b"accept", b"te", b"Bad", b":path")
_PATHS = (b"/", b"/index.html", b"/a?b", b"/" + b"long" * 30, b"/a b", b"*", b"")


_SIZES = (0, 64, 300, 4096)


class _Client:
    """Encodes requests in all ways that HPACK has, from a fixed seed."""

    def __init__(self, rnd: random.Random) -> None:
        self._rnd = rnd
        self._encoder = hpack.Encoder()
        pool = [(rnd.choice(_NAMES[:9]), rnd.choice((b"", b"1", b"a.example", b"v" * 30, b"w" * 300))) for _ in range(8)]
        self._indexes = rnd.choice((0, 0, 0.01, 0.5))
        """How often it enters the fields of a request into its table."""
        self._tails = [rnd.sample(pool, rnd.randint(0, 5)) for _ in range(3)]

    def requests(self, count: int) -> Iterator[tuple[bytes, bool, bytes]]:
        """Blocks, each with whether the stream has ended and with the key of a WebSocket."""
        rnd = self._rnd
        for _ in range(count):
            if rnd.random() < 0.01:
                # hpack keeps back an update to the size that the table already has.
                self._encoder.header_table_size = rnd.choice([size for size in _SIZES if size != self._encoder.header_table_size])
            yield self._block(), rnd.random() < 0.7, rnd.choice((b"", _KEY))

    def _block(self) -> bytes:
        rnd = self._rnd
        pseudo = _pseudo(rnd.choice(_PATHS[:4]), rnd.choice((b"GET", b"GET", b"POST")), rnd.choice((b"a.example", b"a.example", b"b")))
        fields = pseudo + rnd.choice(self._tails)
        if rnd.random() < 0.1:
            self._spoil(fields)
        indexes = rnd.random() < self._indexes
        block = self._encoder.encode([], huffman=False)
        for field in fields:
            known = field in self._encoder.header_table.dynamic_entries
            if indexes or known or (field in _STATIC and rnd.random() < 0.9):
                kind = NeverIndexedHeaderTuple if not known and rnd.random() < 0.1 else HeaderTuple
                block += self._encoder.encode([kind(*field)], huffman=rnd.random() < 0.5)
            elif rnd.random() < 0.05:
                block += b"\x00" + bytes((len(field[0]),)) + field[0] + encode_field(b"x", field[1])[3:]
            else:
                block += encode_field(*field)
        return block

    def _spoil(self, fields: list[Field]) -> None:
        rnd = self._rnd
        place = rnd.randrange(len(fields))
        what = rnd.randrange(6)
        if what == 0:
            fields.pop(place)
        elif what == 1:
            fields.insert(place, rnd.choice(fields))
        elif what == 2:
            fields.insert(place, (rnd.choice(_NAMES), rnd.choice((b"1", b"a.example", b"trailers", b"x\r\ny"))))
        elif what == 3:
            fields[place] = (fields[place][0], rnd.choice(_PATHS))
        elif what == 4:
            fields[0] = (b":method", rnd.choice((b"CONNECT", b"OPTIONS")))
        else:
            fields[0:1] = [(b":method", b"CONNECT"), (b":protocol", rnd.choice((b"websocket", b"x")))]


_STATIC = frozenset((bytes(name), bytes(value)) for name, value in hpack.table.HeaderTable.STATIC_TABLE)

_Outcome = tuple[str, bytes, int, bool]


def _outcome(read: HeadCache | HpackDecoder, block: bytes, ended: bool, key: bytes) -> _Outcome:
    try:
        if isinstance(read, HeadCache):
            found = read.head(block, ended, key)
        else:
            found = request_head(read.decode(block), ended=ended, websocket_key=key)
    except (StreamError, Http2Error) as error:
        return repr(error), b"", 0, False
    return "", found.head, found.content_length, found.is_connect


@pytest.mark.parametrize("seed", range(4))
def test_heads_are_the_same_with_and_without_the_cache(seed: int) -> None:
    """And so are errors and tables, for 40,000 blocks of encoders with all means of HPACK, with trailers in between."""
    rnd = random.Random(seed)
    blocks = decoded = errors = 0
    for _ in range(cases(100)):
        cached, plain = _CountingDecoder(4_000, 500), HpackDecoder(4_000, 500)
        cache = HeadCache(cached)
        encoder_of_trailers = rnd.random() < 0.3
        for block, ended, key in _Client(rnd).requests(100):
            expected = _outcome(plain, block, ended, key)
            assert _outcome(cache, block, ended, key) == expected
            assert (cached._entries, cached._size, cached.changes) == (plain._entries, plain._size, plain.changes)
            blocks += 1
            errors += bool(expected[0])
            if "TooLarge" in expected[0]:
                break
            if encoder_of_trailers and rnd.random() < 0.1:
                for decoder in (cached, plain):
                    assert trailer_lines(decoder.decode(b"\x00\x01t\x01v")) == [b"t: v"]
                cached.decoded -= 1
        decoded += cached.decoded
    # Most are answered by the cache or by a known tail, and some are refused: otherwise this would test nothing.
    assert decoded < 0.8 * blocks
    assert errors > 0.02 * blocks

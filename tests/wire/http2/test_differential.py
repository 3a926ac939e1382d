"""The decoder against python-hyper's hpack: 100,000 blocks of an encoder with a dynamic table, and 1,000,000 bytes of garbage."""

from __future__ import annotations

import random

import hpack
import pytest
from hpack import HeaderTuple, NeverIndexedHeaderTuple

from albkit.wire.http2.frames import Http2Error
from albkit.wire.http2.hpack_decoder import HpackDecoder
from albkit.wire.http2.hpack_encoder import encode_field
from tests.support.effort import cases

_SHARES = 10
_BLOCKS = 50
"""Of one connection."""
CONNECTIONS = cases(100_000 // _BLOCKS // _SHARES)
GARBAGE = cases(1_000_000 // _SHARES)
"""Bytes."""

Field = tuple[bytes, bytes]

_NAMES = (b"x-a", b"x-b", b"cookie", b":path", b":status", b"user-agent", b"x-" + b"long" * 20, b"etag", b"accept", b"")
_SIZES = (0, 64, 300, 1000, 4096)
_STRICTER = ("a size update behind a field, or more than two", "an integer is too large")
"""What hpack accepts and the decoder here does not (RFC 7541 sections 4.2 and 5.1)."""


def _pair() -> tuple[HpackDecoder, hpack.Decoder]:
    decoder, oracle = HpackDecoder(65_536, 65_536), hpack.Decoder(max_header_list_size=65_536)
    oracle.max_allowed_table_size = 4096
    return decoder, oracle


def _both(decoder: HpackDecoder, oracle: hpack.Decoder, block: bytes) -> bool:
    """Whether both accept a block; they find the same, or both refuse it."""
    expected: list[Field] | None
    try:
        expected = [(bytes(name), bytes(value)) for name, value in oracle.decode(block, raw=True)]
    except hpack.HPACKError:
        expected = None
    refusal = ""
    try:
        found = decoder.decode(block)
    except Http2Error as error:
        refusal = error.reason
        found = []
    if refusal:
        assert expected is None or refusal in _STRICTER, (block.hex(), expected, refusal)
        return False
    assert found == expected, block.hex()
    assert (decoder._capacity, len(decoder._entries)) == (oracle.header_table_size, len(oracle.header_table.dynamic_entries)), block.hex()
    return True


def _same_tables(decoder: HpackDecoder, oracle: hpack.Decoder) -> bool:
    return [tuple(map(bytes, entry)) for entry in oracle.header_table.dynamic_entries] == list(decoder._entries)


def _random_value(rnd: random.Random) -> bytes:
    return bytes(rnd.choices(b"abcXYZ019-/%=;, \x00\xff", k=rnd.choice((0, 1, 5, 30, 30, 126, 127, 300))))


class _Encoder:
    """hpack's encoder with all means of HPACK."""

    def __init__(self, rnd: random.Random) -> None:
        self._rnd = rnd
        self._encoder = hpack.Encoder()
        self._pool = [(rnd.choice(_NAMES), _random_value(rnd)) for _ in range(rnd.choice((3, 8, 30)))]

    def block(self) -> bytes:
        rnd = self._rnd
        for _ in range(rnd.choice((0,) * 10 + (1, 2))):
            # hpack keeps back an update to the size that the table already has.
            self._encoder.header_table_size = rnd.choice([size for size in _SIZES if size != self._encoder.header_table_size])
        fields = [
            (NeverIndexedHeaderTuple if rnd.random() < 0.1 else HeaderTuple)(*rnd.choice(self._pool)) for _ in range(rnd.randint(1, 6))
        ]
        block = bytes(self._encoder.encode(fields, huffman=rnd.random() < 0.5))
        if rnd.random() < 0.2:
            # Literals that change nothing, with a name from the dynamic table or from ours.
            block += encode_field(b"x-literal", _random_value(rnd)) + encode_field(b":path", b"/" + _random_value(rnd))
        entries = len(self._encoder.header_table.dynamic_entries)
        if entries and rnd.random() < 0.2:
            index = 61 + rnd.randint(1, entries) - 15
            block += b"\x0f" + (bytes((index,)) if index < 128 else bytes((index & 127 | 128, index >> 7))) + b"\x01v"
        return block


@pytest.mark.parametrize("seed", range(_SHARES))
def test_blocks_of_an_encoder_are_decoded_as_hpack_does(seed: int) -> None:
    """Fields and tables stay the same, with size updates, evictions, Huffman codes and never-indexed fields."""
    rnd = random.Random(seed)
    for _ in range(CONNECTIONS):
        decoder, oracle = _pair()
        encoder = _Encoder(rnd)
        for number in range(_BLOCKS):
            assert _both(decoder, oracle, encoder.block())
            assert number % 10 or _same_tables(decoder, oracle)


@pytest.mark.parametrize("seed", range(_SHARES))
def test_garbage_is_refused_as_hpack_does(seed: int) -> None:
    """Random octets, and blocks in which some have changed; with an empty table and with a full one."""
    rnd = random.Random(100 + seed)
    tried = accepted = size = 0
    while size < GARBAGE:
        decoder, oracle = _pair()
        encoder = _Encoder(rnd)
        if rnd.random() < 0.5:
            assert _both(decoder, oracle, encoder.block())
        if rnd.random() < 0.6:
            block = bytearray(encoder.block()[: rnd.choice((10, 40, 10_000))])
            for _ in range(rnd.randint(1, 3)):
                place = rnd.randrange(len(block) + 1)
                block[place : place + rnd.randint(0, 1)] = rnd.randbytes(rnd.randint(0, 2))
        else:
            block = bytearray(rnd.randbytes(rnd.randint(1, 40)))
        tried += 1
        size += len(block)
        if _both(decoder, oracle, bytes(block)):
            accepted += 1
            assert _same_tables(decoder, oracle)
    assert 0.02 * tried < accepted < 0.9 * tried

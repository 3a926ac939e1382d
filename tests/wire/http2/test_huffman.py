from __future__ import annotations

import random

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from albkit.state.bounded_cache import BoundedCache
from albkit.wire.http2 import huffman
from albkit.wire.http2.huffman import decode_huffman
from tests.support.effort import cases

_encode = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode


def _from_bits(bits: str) -> bytes:
    assert len(bits) % 8 == 0
    return int("1" + bits, 2).to_bytes(len(bits) // 8 + 1, "big")[1:]


def _bits(symbol: int) -> str:
    return format(REQUEST_CODES[symbol], f"0{REQUEST_CODES_LENGTH[symbol]}b")


def test_every_byte_is_decoded() -> None:
    """Each alone, behind every other one, and all together."""
    for byte in range(256):
        assert decode_huffman(_encode(bytes((byte,)))) == bytes((byte,))
        for other in range(256):
            assert decode_huffman(_encode(bytes((other, byte)))) == bytes((other, byte))
    assert decode_huffman(_encode(bytes(range(256)))) == bytes(range(256))


def test_empty_string_is_empty() -> None:
    """No octets at all."""
    assert decode_huffman(b"") == b""


@pytest.mark.parametrize("padding", range(8))
def test_padding_of_up_to_seven_ones_is_accepted(padding: int) -> None:
    """RFC 7541 section 5.2. The codes of `0` and `b` have five and six bits, so together they fill octets up to any number of bits."""
    zeros, letters = next((i, j) for i in range(8) for j in range(1, 8) if (5 * i + 6 * j + padding) % 8 == 0)
    assert decode_huffman(_from_bits(_bits(ord("0")) * zeros + _bits(ord("b")) * letters + "1" * padding)) == b"0" * zeros + b"b" * letters


@pytest.mark.parametrize(
    "bits",
    [
        "11111111",  # eight bits of padding and no symbol
        "00000" + "1" * 11,
        "00000" + "110",
        "00000" + "000",
        "00000" + "101",
        "1" * 32,  # EOS
        "1" * 30 + "00",
        "00000" + _bits(256) + "11111",
        _bits(256) + "00000" + "11111",
    ],
    ids=str,
)
def test_wrong_padding_and_eos_are_errors(bits: str) -> None:
    """RFC 7541 section 5.2: longer than seven bits, not all 1, or EOS anywhere."""
    with pytest.raises(ValueError, match="EOS or"):
        decode_huffman(_from_bits(bits))


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> BoundedCache[bytes, bytes]:
    """An empty one, which no other test has filled in vain."""
    fresh: BoundedCache[bytes, bytes] = BoundedCache()
    monkeypatch.setattr(huffman, "_decoded", fresh)
    return fresh


def test_a_known_string_is_decoded_alike(cache: BoundedCache[bytes, bytes]) -> None:
    """The cache repeats the answer; errors are not cached."""
    data = _encode(b"example.com")
    assert [decode_huffman(data) for _ in range(3)] == [b"example.com"] * 3
    assert len(cache) == 1
    for _ in range(2):
        with pytest.raises(ValueError, match="EOS or"):
            decode_huffman(b"\xff\xff\xff\xff")
    assert len(cache) == 1


def test_long_strings_are_not_cached(cache: BoundedCache[bytes, bytes]) -> None:
    """A peer could fill the cache with a few of them."""
    assert decode_huffman(_encode(b"a" * 3000)) == b"a" * 3000
    assert len(cache) == 0


def test_random_strings_are_decoded() -> None:
    """From a fixed seed, with rare bytes whose codes have up to 30 bits."""
    rnd = random.Random(5)
    for _ in range(cases(20_000)):
        text = bytes(rnd.choice((rnd.randrange(256), rnd.randrange(32, 127))) for _ in range(rnd.randint(0, 40)))
        assert decode_huffman(_encode(text)) == text


def test_all_rows_together_stay_small() -> None:
    """An attacker can have every row built, but there are no more than states: 256 nodes and the one after EOS."""
    rnd = random.Random(6)
    for _ in range(300):
        try:
            decode_huffman(rnd.randbytes(300))
        except ValueError:
            pass
    for state in range(-1, 256):
        assert len(huffman._ROWS[state]) == 256
    assert len(huffman._ROWS) == 257

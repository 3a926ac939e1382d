"""CRC-32C, against published values and its definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albkit.wire.proxy_protocol.crc32c import crc32c


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_known_bytes_have_the_published_checksum(data: bytes, expected: int) -> None:
    """The usual check value, and those of RFC 3720 appendix B.4."""
    assert crc32c(data) == expected


def _bit_by_bit(data: bytes) -> int:
    """By long division, the highest bit first, each byte and the result mirrored."""
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder ^= int(f"{byte:08b}"[::-1], 2) << 24
        for _ in range(8):
            remainder = (remainder << 1 ^ (0x1EDC6F41 if remainder >> 31 else 0)) & 0xFFFFFFFF
    return int(f"{remainder:032b}"[::-1], 2) ^ 0xFFFFFFFF


@given(st.binary(max_size=200))
def test_any_bytes_have_the_checksum_of_the_long_division(data: bytes) -> None:
    """The table changes nothing."""
    assert crc32c(data) == _bit_by_bit(data)

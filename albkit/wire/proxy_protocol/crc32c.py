"""CRC-32C (Castagnoli), the checksum of PROXY protocol headers (RFC 9260 appendix A)."""

from __future__ import annotations

__all__ = ("crc32c",)

_POLYNOMIAL = 0x82F63B78
"""0x1EDC6F41 with its bits reversed, because the checksum processes the lowest bit first."""


def _remainder(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(map(_remainder, range(256)))


def crc32c(data: bytes) -> int:
    """The checksum of `data`, 0 to 0xFFFFFFFF. It is computed byte by byte in Python, so limit the size of `data`."""
    table = _TABLE
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder = table[(remainder ^ byte) & 0xFF] ^ remainder >> 8
    return remainder ^ 0xFFFFFFFF

"""Encodes field blocks (RFC 7541) without the dynamic table.

So the bytes of a field are the same for every connection, and are cached once for all. It also leaves nothing to compression attacks, which
matters on connections to targets: they carry requests of many clients (RFC 7541 section 7.1).

All literals are never-indexed. A field that a client protects in this way must stay protected on every further hop (RFC 7541 section
7.1.3), and the lines of a head do not say which fields are.
"""

from __future__ import annotations

import re
from typing import Final

from albkit.state.bounded_cache import SHARED_BUDGET
from albkit.wire.http1.grammar import TOKEN
from albkit.wire.http2.fields import SELDOM_REPEATED
from albkit.wire.http2.static_table import STATIC_NAMES, STATIC_TABLE

__all__ = ("ENCODED_LINES", "TABLE_SIZE_ZERO", "EncodedLines", "encode_field", "encode_status")

TABLE_SIZE_ZERO: Final = b"\x20"
"""A size update to 0: this encoder uses no dynamic table (RFC 7541 section 6.3)."""

_NEVER_INDEXED: Final = 0x10
_NEW_NAME: Final = b"\x10"
"""A never-indexed field whose name follows (RFC 7541 section 6.2.3)."""
_INDEXED: Final = 0x80
_MAX_CACHED_LINE: Final = 1024
"""Bytes. Longer lines are encoded each time."""
_ENTRY_OVERHEAD: Final = 256
"""Bytes that a cached line takes in addition to its text."""
_FORBIDDEN = re.compile(rb"[\r\n\0]")

_INDEXED_PSEUDO: Final = {
    field: bytes((_INDEXED | index,)) for index, field in enumerate(STATIC_TABLE) if field[0].startswith(b":") and field[1]
}
"""Pseudo-fields with a value in the static table. For other fields only their names are taken from there: see the module."""


def _encode_integer(value: int, prefix: int, flags: int) -> bytes:
    """Encode an integer (RFC 7541 section 5.1).

    Args:
        value: The number.
        prefix: The largest value of the bits of the first octet.
        flags: The other bits of the first octet.
    """
    if value < prefix:
        return bytes((flags | value,))
    octets = bytearray((flags | prefix,))
    value -= prefix
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


_STATIC_STARTS: Final = {name: _encode_integer(index, 0x0F, _NEVER_INDEXED) for name, index in STATIC_NAMES.items()}
"""How a field with a name of the static table begins."""
_LENGTHS: Final = tuple(bytes((length,)) for length in range(0x7F))


def encode_field(name: bytes, value: bytes) -> bytes:
    """Encode a field or pseudo-field. The caller has checked that its name is in lower case and that both are allowed."""
    indexed = _INDEXED_PSEUDO.get((name, value))
    if indexed is not None:
        return indexed
    start = _STATIC_STARTS.get(name)
    if start is None:
        start = _NEW_NAME + _encode_integer(len(name), 0x7F, 0) + name
    size = len(value)
    return start + (_LENGTHS[size] if size < 0x7F else _encode_integer(size, 0x7F, 0)) + value


_STATUSES: Final = {status: encode_field(b":status", b"%d" % status) for status in range(100, 600)}


def encode_status(status: int) -> bytes:
    """Encode `:status`.

    Raises:
        KeyError: It is not between 100 and 599.
    """
    return _STATUSES[status]


class EncodedLines(dict[bytes, bytes]):
    """The encoded form of each field line, such as `Name: value`, encoded at its first look-up. Look up any line.

    The name is sent in lower case. Several lines may be joined by CR LF. A look-up raises `ValueError` if a name is not a token or a value
    contains CR, LF or NUL.

    A `dict` with `__missing__`, so that looking up a known line is a single operation of the interpreter, without a call.

    Args:
        left_out: Names, in lower case, of fields that become no bytes at all.
    """

    def __init__(self, left_out: frozenset[bytes] = frozenset()) -> None:
        super().__init__()
        self._left_out = left_out
        self.size_bytes = 0
        SHARED_BUDGET.register(self)

    def __missing__(self, line: bytes) -> bytes:
        if b"\r\n" in line:
            # The last line of such an item is often the trace id, which is always new. The others are the same for a whole connection.
            start, _, last = line.rpartition(b"\r\n")
            encoded = self.get(start)
            if encoded is None:
                encoded = b"".join([self[one] for one in start.split(b"\r\n")])
                if b"\r\n" in start:
                    self._store(start, encoded)
            return encoded + self[last]
        name, colon, value = line.partition(b":")
        name = name.lower()
        value = value.strip(b" \t")
        if not colon or not TOKEN.fullmatch(name):
            raise ValueError(f"not a field line: {line[:100]!r}")
        if _FORBIDDEN.search(value):
            raise ValueError(f"the value of {name.decode('ascii')} contains CR, LF or NUL")
        if name == b"te":
            value = value.lower()
        encoded = b"" if self._is_left_out(name, value) else encode_field(name, value)
        if name not in SELDOM_REPEATED:
            self._store(line, encoded)
        return encoded

    def _store(self, line: bytes, encoded: bytes) -> None:
        if len(line) <= _MAX_CACHED_LINE:
            # Before `charge`, which may clear this cache.
            self[line] = encoded
            SHARED_BUDGET.charge(self, len(line) + len(encoded) + _ENTRY_OVERHEAD)

    def _is_left_out(self, name: bytes, value: bytes) -> bool:
        # RFC 9113 section 8.2.2: of TE, only this value is allowed.
        return name in self._left_out or (name == b"te" and value != b"trailers")

    def clear(self) -> None:
        """Remove every line, and release their bytes."""
        super().clear()
        SHARED_BUDGET.release(self)


ENCODED_LINES: Final = EncodedLines()
"""For lines of which nothing is left out."""

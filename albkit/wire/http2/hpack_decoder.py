"""Decodes field blocks (RFC 7541). One decoder per connection and direction: the dynamic table is part of its state.

Every error ends the connection: afterwards the tables of the two sides may differ (RFC 9113 section 4.3).
"""

from __future__ import annotations

from typing import Final

from albkit.wire.http2.frames import ErrorCode, Http2Error
from albkit.wire.http2.huffman import decode_huffman
from albkit.wire.http2.static_table import STATIC_SIZE, STATIC_TABLE

__all__ = ("HeaderListTooLarge", "HpackDecoder", "HpackError")

_DEFAULT_TABLE: Final = 4096
"""Bytes of the dynamic table until a size update changes them (RFC 9113 section 6.5.2)."""
_FIELD_OVERHEAD: Final = 32
"""Bytes that a field counts in addition to name and value (RFC 7541 section 4.1, RFC 9113 section 10.5.1)."""
_MAX_SIZE_UPDATES: Final = 2
"""In one block: the smallest size since the last one, and the final one (RFC 7541 section 4.2)."""
_MAX_OCTETS: Final = 5
"""Octets of an integer behind its prefix: enough for 32 bits (RFC 7541 section 5.1 asks for a limit)."""
_FIRST_DYNAMIC: Final = STATIC_SIZE + 1

_INDEXED: Final = 0x80
_INCREMENTAL: Final = 0x40
_SIZE_UPDATE: Final = 0x20
_HUFFMAN: Final = 0x80

_COLON: Final = b":"
_LAST_STATIC_PSEUDO: Final = 14
"""In the static table, exactly the entries up to this one are pseudo-fields."""

_TOO_LONG: Final = "a string is longer than the field block"

_Field = tuple[bytes, bytes]


class HpackError(Http2Error):
    """A field block cannot be decoded."""

    def __init__(self, reason: str) -> None:
        super().__init__(ErrorCode.COMPRESSION_ERROR, reason)


class HeaderListTooLarge(Http2Error):
    """A field block is larger than the limits, before or after decoding."""

    def __init__(self, reason: str) -> None:
        super().__init__(ErrorCode.ENHANCE_YOUR_CALM, reason)


def _read_integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    """Return an integer whose prefix is all 1, and the position behind it (RFC 7541 section 5.1).

    Args:
        block: The field block.
        position: Behind the octet of the prefix.
        prefix: The value of the prefix.

    Raises:
        HpackError: It has more than five octets behind the prefix.
        IndexError: The block ends within it.
    """
    value = prefix
    for count in range(_MAX_OCTETS):
        octet = block[position + count]
        value += (octet & 0x7F) << 7 * count
        if octet < 0x80:
            return value, position + count + 1
    raise HpackError("an integer is too large")


def _read_string(block: bytes, position: int) -> tuple[bytes, int]:
    """Return a string, and the position behind it (RFC 7541 section 5.2).

    Raises:
        HpackError: The string is longer than the block, or its Huffman code is wrong.
        IndexError: The block ends before the string.
    """
    octet = block[position]
    position += 1
    length = octet & 0x7F
    if length == 0x7F:
        length, position = _read_integer(block, position, 0x7F)
    end = position + length
    if end > len(block):
        raise HpackError(_TOO_LONG)
    if octet < _HUFFMAN:
        return block[position:end], end
    try:
        return decode_huffman(block[position:end]), end
    except ValueError as error:
        raise HpackError(str(error)) from None


class HpackDecoder:
    """Decodes the field blocks of one peer, in the order in which they arrive.

    Args:
        max_list: Bytes of all fields of a block after decoding. Each field counts name, value and 32, whether it is literal or a reference
            to a table: otherwise a few kilobytes of references to a large entry could become gigabytes.
        max_field: Bytes of one field as it is encoded.
        max_table: Bytes of the dynamic table that the peer may use: our SETTINGS_HEADER_TABLE_SIZE. The peer may use 4096 until it has
            acknowledged a smaller one.
    """

    __slots__ = ("_capacity", "_entries", "_max_field", "_max_table", "_size", "changes", "decoded_bytes", "max_list")

    def __init__(self, max_list: int, max_field: int, max_table: int = _DEFAULT_TABLE) -> None:
        self.max_list = max_list
        self._max_field = max_field
        self._max_table = max_table
        self._capacity = min(max_table, _DEFAULT_TABLE)
        self._size = 0
        # Not a deque: an idle connection should cost little memory, and the table has at most 128 entries.
        self._entries: list[_Field] = []
        """The dynamic table, the newest entry first."""
        self.decoded_bytes = 0
        """Bytes of fields that were decoded, counted as for `max_list`. The caller may set this back."""
        self.changes = 0
        """How many blocks have changed the dynamic table. What was learned from a block may be reused while this number stays the same."""

    def decode(self, block: bytes) -> list[_Field]:
        """Return the names and values of a whole block, in their order.

        Raises:
            HpackError: The block is not well-formed, or refers to an entry that does not exist.
            HeaderListTooLarge: The block is above a limit.
        """
        fields: list[_Field] = []
        append = fields.append
        entries = self._entries
        end = len(block)
        size = position = 0
        max_list = self.max_list
        changed = False
        try:
            if end and block[0] & 0xE0 == _SIZE_UPDATE:
                position = self._take_size_updates(block)
                changed = True
            while position < end:
                octet = block[position]
                if octet >= _INDEXED:
                    index = octet & 0x7F
                    position += 1
                    if index == 0x7F:
                        index, position = _read_integer(block, position, 0x7F)
                    if index > STATIC_SIZE:
                        field = entries[index - _FIRST_DYNAMIC]
                    elif index:
                        field = STATIC_TABLE[index]
                    else:
                        raise HpackError("index 0")
                else:
                    field, position = self._read_literal(block, position, octet)
                    if octet & _INCREMENTAL:
                        self._insert(field)
                        changed = True
                size += len(field[0]) + len(field[1]) + _FIELD_OVERHEAD
                if size > max_list:
                    raise HeaderListTooLarge(f"the fields have more than {max_list} bytes")
                append(field)
        except IndexError:
            raise HpackError("a field block is truncated, or refers to an entry that does not exist") from None
        if changed:
            self.changes += 1
        self.decoded_bytes += size
        return fields

    def split_pseudo(self, block: bytes) -> tuple[list[_Field], int] | None:
        """Return the pseudo-fields at the start of a block, and the position behind them. The dynamic table does not change.

        Only the usual encodings are understood. At any other one the result ends, so more pseudo-fields may follow.

        Returns:
            `None` if the fields change the dynamic table or cannot be decoded.
        """
        pseudo: list[_Field] = []
        entries = self._entries
        end = len(block)
        position = 0
        try:
            while position < end:
                octet = block[position]
                if octet >= _INDEXED:
                    index = octet & 0x7F
                    if index > STATIC_SIZE:
                        if index == 0x7F:
                            break
                        field = entries[index - _FIRST_DYNAMIC]
                    else:
                        field = STATIC_TABLE[index]
                    if field[0][:1] != _COLON:
                        break
                    position += 1
                elif octet & (_INCREMENTAL | _SIZE_UPDATE):
                    return None
                else:
                    index = octet & 0x0F
                    if not 0 < index <= _LAST_STATIC_PSEUDO:
                        break
                    value, after = _read_string(block, position + 1)
                    if after - position > self._max_field:
                        return None
                    field = STATIC_TABLE[index][0], value
                    position = after
                pseudo.append(field)
        except (IndexError, HpackError):
            return None
        return pseudo, position

    def _read_literal(self, block: bytes, position: int, octet: int) -> tuple[_Field, int]:
        """Return a literal field, and the position behind it (RFC 7541 section 6.2)."""
        start = position
        position += 1
        if octet & _INCREMENTAL:
            prefix = 0x3F
        elif octet & _SIZE_UPDATE:
            raise HpackError("a size update behind a field, or more than two")
        else:
            prefix = 0x0F
        index = octet & prefix
        if index == prefix:
            index, position = _read_integer(block, position, prefix)
        if index > STATIC_SIZE:
            name = self._entries[index - _FIRST_DYNAMIC][0]
        elif index:
            name = STATIC_TABLE[index][0]
        else:
            name, position = _read_string(block, position)
        size = block[position]
        if size < 0x7F:
            # A short string without Huffman code: the usual case, without another call.
            end = position + 1 + size
            if end > len(block):
                raise HpackError(_TOO_LONG)
            value = block[position + 1 : end]
            position = end
        else:
            value, position = _read_string(block, position)
        if position - start > self._max_field:
            raise HeaderListTooLarge(f"an encoded field has more than {self._max_field} bytes")
        return (name, value), position

    def _take_size_updates(self, block: bytes) -> int:
        """Apply the size updates at the start of a block, and return the position behind them (RFC 7541 section 6.3)."""
        position = 0
        for _ in range(_MAX_SIZE_UPDATES):
            size = block[position] & 0x1F
            position += 1
            if size == 0x1F:
                size, position = _read_integer(block, position, 0x1F)
            if size > self._max_table:
                raise HpackError(f"a size update to {size} bytes, above our limit of {self._max_table}")
            self._capacity = size
            self._evict(size)
            if position == len(block) or block[position] & 0xE0 != _SIZE_UPDATE:
                break
        return position

    def _insert(self, field: _Field) -> None:
        """Add an entry to the dynamic table. One that is larger than the table empties it (RFC 7541 section 4.4)."""
        size = len(field[0]) + len(field[1]) + _FIELD_OVERHEAD
        room = self._capacity - size
        if self._size > room:
            self._evict(room)
        if room >= 0:
            self._entries.insert(0, field)
            self._size += size

    def _evict(self, most: int) -> None:
        """Remove the oldest entries until the others have at most so many bytes."""
        entries = self._entries
        while self._size > most and entries:
            name, value = entries.pop()
            self._size -= len(name) + len(value) + _FIELD_OVERHEAD

"""Caches the heads of one client connection, so that most of its requests need no decoding.

What a field block means depends on the block and on the dynamic table. So what was found for a block holds while the table stays the same,
if the block itself does not change it. Two kinds of entries follow from this:

- whole blocks, for requests that are repeated;
- blocks without their pseudo-fields, for requests that differ in those only. Pseudo-fields come first (RFC 9113 section 8.3), and while
  they do not change the table, the rest of the block is decoded with the same table as before.

Nothing may be shared between connections, since their tables differ. Each block that changes the table empties the cache.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from albkit.wire.http2.hpack_decoder import HpackDecoder
from albkit.wire.http2.request import Http2Head, head_with_tail, request_head

__all__ = ("HeadCache",)

_MAX_ENTRIES: Final = 64
"""Of one kind."""
_MAX_HEADS: Final = 24 * 1024
"""Bytes of whole blocks."""
_MAX_TAILS: Final = 8 * 1024
"""Bytes of blocks without pseudo-fields."""
_FIRST_LIMIT: Final = 2048
"""Bytes of each kind at first; the limit doubles each time it is reached. A connection that has served a few requests stays small."""
_SKIPPED_AFTER_MISSES: Final = 512
"""How many new blocks are not stored after a cache filled up without hits: the client sends something new every time."""
_ENTRY_OVERHEAD: Final = 320
"""Bytes that an entry takes in addition to its text."""

_FIELD_OVERHEAD: Final = 32
_PSEUDO_OVERHEAD: Final = 144
"""What the decoded size of four pseudo-fields is above the length of the request line and Host line: names and 32 each, and `https`."""

Entry = TypeVar("Entry")


class _Entries(Generic[Entry]):
    """The entries of one kind, for blocks without and with END_STREAM."""

    __slots__ = ("_limit", "_max_bytes", "_size", "_skips_left", "blocks", "hits")

    def __init__(self, max_bytes: int) -> None:
        self.blocks: tuple[dict[bytes, Entry], dict[bytes, Entry]] = ({}, {})
        """By block. The index is whether it came with END_STREAM."""
        self.hits = 0
        """Since the entries were last cleared."""
        self._size = 0
        self._limit = _FIRST_LIMIT
        self._max_bytes = max_bytes
        self._skips_left = 0

    def put(self, block: bytes, ended: bool, entry: Entry, size: int) -> None:
        """Store an entry, unless storing has not paid lately.

        Args:
            block: The block. It must not be among the entries.
            ended: Whether it came with END_STREAM.
            entry: What was found for it.
            size: Bytes of the entry without the block.
        """
        if self._skips_left:
            self._skips_left -= 1
            return
        size += len(block) + _ENTRY_OVERHEAD
        count = len(self.blocks[0]) + len(self.blocks[1])
        if self._size + size > self._limit or count >= _MAX_ENTRIES:
            self._make_room(count)
            if self._size + size > self._limit:
                return
        self.blocks[ended][block] = entry
        self._size += size

    def _make_room(self, count: int) -> None:
        """Grow, if the limit allows it, and remove the entries unless they are used."""
        may_grow = self._limit < self._max_bytes and count < _MAX_ENTRIES
        self._limit = min(2 * self._limit, self._max_bytes)
        if not may_grow and self.hits < count:
            self._skips_left = _SKIPPED_AFTER_MISSES
        if not may_grow or self.hits < count:
            self.clear()

    def clear(self) -> None:
        """Remove every entry."""
        self.blocks[0].clear()
        self.blocks[1].clear()
        self.hits = self._size = 0


class HeadCache:
    """Reads the field blocks of one client's requests.

    Args:
        decoder: The decoder of the connection. Other blocks, such as trailers, may be decoded with it directly.
    """

    __slots__ = ("_changes", "_decoder", "_heads", "_tails")

    def __init__(self, decoder: HpackDecoder) -> None:
        self._decoder = decoder
        self._changes = decoder.changes
        self._heads: _Entries[Http2Head] = _Entries(_MAX_HEADS)
        self._tails: _Entries[tuple[bytes, int, int]] = _Entries(_MAX_TAILS)
        """The end of the head, the Content-Length, and the largest head with which the fields stay within the limit of the decoder."""

    def head(self, block: bytes, ended: bool, websocket_key: bytes = b"") -> Http2Head:
        """Return the head of the request that a field block describes. It may be shared, so nothing in it may change.

        Args:
            block: A complete field block. Call this for each block that opens a stream, in their order, even if the stream is refused:
                the dynamic table depends on all of them.
            ended: Whether the stream ended with it (END_STREAM).
            websocket_key: As for `request_head`.

        Raises:
            StreamError: The request is malformed.
            Http2Error: The block cannot be decoded, or is too large.
        """
        decoder = self._decoder
        if self._changes != decoder.changes:
            self.clear()
        heads = self._heads
        known = heads.blocks[ended].get(block)
        if known is not None:
            heads.hits += 1
            return known
        if self._tails.blocks[ended]:
            known = self._with_known_tail(block, ended)
            if known is not None:
                heads.put(block, ended, known, len(known.head))
                return known
        fields = decoder.decode(block)
        found = request_head(fields, ended=ended, websocket_key=websocket_key)
        if self._changes != decoder.changes:
            self.clear()
        elif not found.head.startswith(b"CONNECT ") and not found.is_connect:
            heads.put(block, ended, found, len(found.head))
            self._put_tail(block, ended, fields, found)
        return found

    def _with_known_tail(self, block: bytes, ended: bool) -> Http2Head | None:
        """Return the head of a request that differs from a known one in its pseudo-fields only."""
        split = self._decoder.split_pseudo(block)
        if split is None:
            return None
        pseudo, position = split
        known = self._tails.blocks[ended].get(block[position:])
        if known is None:
            return None
        tail, length, max_head = known
        head = head_with_tail(pseudo, tail)
        if head is None or len(head) > max_head:
            return None
        self._tails.hits += 1
        return Http2Head(head, length)

    def _put_tail(self, block: bytes, ended: bool, fields: list[tuple[bytes, bytes]], found: Http2Head) -> None:
        """Store what follows the pseudo-fields, if it means the same behind any others."""
        split = self._decoder.split_pseudo(block)
        if split is None:
            return
        count, position = len(split[0]), split[1]
        rest = fields[count:]
        names = [name for name, _ in rest]
        # `split_pseudo` does not find pseudo-fields in an unusual encoding. They would be part of the tail, and be missing in its head.
        if not count or (names and names[0].startswith(b":")) or b"host" in names:
            return
        key = block[position:]
        if key in self._tails.blocks[ended]:
            return
        head = found.head
        tail = head[head.index(b"\r\n", head.index(b"\r\n") + 2) :]
        size = sum(map(len, names)) + sum(len(value) for _, value in rest) + _FIELD_OVERHEAD * len(rest)
        max_head = self._decoder.max_list - size - _PSEUDO_OVERHEAD + len(tail)
        self._tails.put(key, ended, (tail, found.content_length, max_head), len(tail))

    def clear(self) -> None:
        """Forget everything: the dynamic table has changed, or the connection is idle and should cost little memory."""
        self._changes = self._decoder.changes
        self._heads.clear()
        self._tails.clear()

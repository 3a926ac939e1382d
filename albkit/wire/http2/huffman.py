"""The Huffman code of HPACK (RFC 7541 appendix B): decoding only, since our own encoder does not compress.

The decoder reads whole octets. Its state is a node of the code tree, and a row holds for each octet the next node and the decoded bytes. A
row is built at its first use: all 257 rows would take several milliseconds at import.
"""

from __future__ import annotations

from typing import Final

from albkit.state.bounded_cache import BoundedCache

__all__ = ("decode_huffman",)

_CODE_LENGTHS: Final = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b080606060505050606060606060607080f060c0a"
    "0d06070707070707070707070707070707070707070707070807080d130d0e060f05060506050606060507070606060506070605050607070707070f0b0e0d1c"
    "14161414161616171617171717171817181816171817171717151617161717181615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a"
    "1e"
)
"""Bits of the code of each byte, and of EOS. The code is canonical: codes ascend by length, then by symbol, so the lengths determine it."""

_EOS: Final = 256
_ROOT: Final = 0
_FAILED: Final = -1
"""The state after EOS, which must not occur in a string (RFC 7541 section 5.2). It is never left."""
_MAX_PADDING: Final = 7
_MAX_CACHED: Final = 1024
"""Bytes. Longer strings are decoded each time."""

_Row = list[tuple[int, bytes]]
"""Next state and decoded bytes, for each value of some bits."""


def _build_tree() -> list[list[int]]:
    """Return the nodes of the code. Each has two children: the index of a node, or `-2 - symbol`, or `_FAILED` for EOS."""
    tree = [[0, 0]]
    code = length = 0
    for symbol in sorted(range(_EOS + 1), key=_CODE_LENGTHS.__getitem__):
        code <<= _CODE_LENGTHS[symbol] - length
        length = _CODE_LENGTHS[symbol]
        node = _ROOT
        for shift in range(length - 1, 0, -1):
            bit = code >> shift & 1
            if not tree[node][bit]:
                tree[node][bit] = len(tree)
                tree.append([0, 0])
            node = tree[node][bit]
        tree[node][code & 1] = _FAILED if symbol == _EOS else -2 - symbol
        code += 1
    return tree


_TREE: Final = _build_tree()


def _padding_states() -> frozenset[int]:
    """Return the states in which a string may end: after at most seven bits of EOS, which are all 1 (RFC 7541 section 5.2)."""
    states = [_ROOT]
    for _ in range(_MAX_PADDING):
        states.append(_TREE[states[-1]][1])
    return frozenset(states)


_FINAL_STATES: Final = _padding_states()


class _HalfRows(dict[int, _Row]):
    """The rows for four bits, by state."""

    def __missing__(self, state: int) -> _Row:
        row = [(state, b"")]
        for _ in range(4):
            row = [self._step(*cell, bit) for cell in row for bit in (0, 1)]
        self[state] = row
        return row

    @staticmethod
    def _step(state: int, text: bytes, bit: int) -> tuple[int, bytes]:
        if state == _FAILED:
            return _FAILED, text
        child = _TREE[state][bit]
        return (child, text) if child >= _FAILED else (_ROOT, text + bytes((-2 - child,)))


class _Rows(dict[int, _Row]):
    """The rows for an octet, by state. All of them together take about 6 MB; ordinary text needs a few dozen."""

    def __missing__(self, state: int) -> _Row:
        half_rows = _HALF_ROWS
        row = [(end, text + more) for middle, text in half_rows[state] for end, more in half_rows[middle]]
        self[state] = row
        return row


_HALF_ROWS: Final = _HalfRows()
_ROWS: Final = _Rows()

_decoded: BoundedCache[bytes, bytes] = BoundedCache()


def decode_huffman(data: bytes) -> bytes:
    """Decode a string.

    Raises:
        ValueError: It contains EOS, or its padding is longer than seven bits or not all 1.
    """
    known = _decoded.get(data)
    if known is not None:
        _decoded.count_hit()
        return known
    rows = _ROWS
    state = _ROOT
    pieces = []
    for octet in data:
        state, piece = rows[state][octet]
        pieces.append(piece)
    if state not in _FINAL_STATES:
        raise ValueError("a Huffman-coded string contains EOS or ends with wrong padding")
    text = b"".join(pieces)
    if not _decoded.skip_put() and len(data) <= _MAX_CACHED:
        _decoded.put(data, text, len(text))
    return text

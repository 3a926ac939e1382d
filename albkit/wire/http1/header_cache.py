"""Blocks of fields and request lines that have been read before.

A client that keeps its connection sends the same fields again and again, and only its request line differs. What was read and judged of
such a block holds for the next request with the very same bytes, but for how long a POST says that its body is. It is remembered for
requests without anything special alone, so that nothing of it depends on the request line; where something may, it is recalled for a POST,
PUT or PATCH alone. A line that is not plain is left to the reader. Nothing here decides: what is remembered is what the reader has said.
"""

from __future__ import annotations

import re
from typing import Final

from albkit.model.message import RequestHead
from albkit.state.bounded_cache import BoundedCache

__all__ = ("METHODS", "HeaderCache")

METHODS: Final = {method.encode(): method for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")}
_REQUEST_LINE = re.compile(rb"([A-Z]{3,7}) (/[!$-;=@-Z_a-z~]*+)(?:\?([!$-;=?-Z_a-z~]*+))? HTTP/1\.1")
"""A path, and perhaps a query, of characters that no two servers read differently."""
_LENGTH = re.compile(rb"\r\n((?i:content-length)): ([1-9][0-9]{0,17})(?=\r\n)")
"""A length that every server reads alike. What else is in the line stays in the block, so that only the number may differ."""
_P: Final = ord("P")
_BLOCK: Final = 512
_LINE: Final = 128
"""Bytes of memory that a block and each of its lines take beside their text."""
_NO_NAMES: Final[frozenset[bytes]] = frozenset()

_Line = tuple[str, str, str]
"""Method, path, query."""


def _length_of(head: bytes, end: int) -> re.Match[bytes] | None:
    """Where a POST, PUT or PATCH says how long its body is: methods for which a body means nothing special."""
    return _LENGTH.search(head, end) if head[0] == _P else None


class _Block:
    """What is known of one block of fields."""

    __slots__ = ("any_method", "cookie", "host", "keep_alive", "length", "length_line", "lines")

    def __init__(self, request: RequestHead, length: bytes, length_line: int, *, any_method: bool) -> None:
        self.host = request.host
        self.cookie = request.cookie
        self.keep_alive = request.keep_alive
        self.lines = request.lines[1:]
        self.any_method = any_method
        """Whether it means the same behind every method."""
        self.length = length
        """What the first one said of its body; empty for requests without one."""
        self.length_line = length_line
        """Where in the request it is said; 0 for nowhere."""


class HeaderCache:
    """Remembers blocks of fields.

    Args:
        longest_line: Bytes of a request line that is not too long.
    """

    __slots__ = ("_blocks", "_lines", "_longest_line")

    def __init__(self, longest_line: int) -> None:
        self._blocks: BoundedCache[bytes, _Block] = BoundedCache()
        self._lines: BoundedCache[bytes, _Line] = BoundedCache()
        self._longest_line = longest_line

    def recall(self, head: bytes) -> RequestHead | None:
        """The request of a head whose fields are known, as if it had been read; `None` for any other."""
        end = head.find(b"\r\n")
        length = _length_of(head, end)
        block = self._blocks.recall(head[end:] if length is None else head[end : length.start(2)] + head[length.end(2) :])
        # A block with an empty length looks as one whose length was left out.
        if block is None or (length is None) != (not block.length) or not (block.any_method or head[0] == _P):
            return None
        raw = head[:end]
        line = self._lines.recall(raw)
        if line is None:
            line = self._read_line(raw)
            if line is None:
                return None
        self._blocks.count()
        self._lines.count()
        request = RequestHead()
        request.method, request.path, request.query_string = line
        request.head = head
        request.unseen = _NO_NAMES
        request.host = block.host
        request.cookie = block.cookie
        request.lines = [raw, *block.lines]
        request.keep_alive = block.keep_alive
        if length is None:
            request.content_length = 0
        else:
            _take_length(request, block, length)
        request.chunked = request.http_1_0 = request.expects_continue = request.close_after = False
        request.irregular_names = request.dropped_names = False
        request.upgrade = request.trace_id = request.forwarded_for = b""
        request.classification = None
        return request

    def _read_line(self, raw: bytes) -> _Line | None:
        """A plain request line, which is remembered; `None` for any other."""
        match = _REQUEST_LINE.fullmatch(raw)
        if match is None or len(raw) > self._longest_line:
            return None
        method, path, query = match.groups(b"")
        name = METHODS.get(method)
        if name is None:
            return None
        line = name, path.decode("ascii"), query.decode("ascii")
        if not self._lines.rests():
            self._lines.remember(raw, line, len(raw) + _LINE)
        return line

    def remember(self, head: bytes, request: RequestHead, *, any_method: bool) -> None:
        """Keep what was read of a head without anything special: no upgrade, no fields but those that are passed on as they are.

        Args:
            head: The raw head.
            request: What was read of it, before anything was added.
            any_method: Whether its fields mean the same behind every method.
        """
        end = head.find(b"\r\n")
        # Another line may say more than path and query: an absolute-form target names the host.
        if self._blocks.rests() or not _REQUEST_LINE.fullmatch(head, 0, end):
            return
        length = _length_of(head, end)
        size = _BLOCK + len(head) + len(request.cookie) + _LINE * len(request.lines)
        if length is None:
            if not request.has_body:
                self._blocks.remember(head[end:], _Block(request, b"", 0, any_method=any_method), size)
        else:
            key = head[end : length.start(2)] + head[length.end(2) :]
            place = request.lines.index(length[0][2:])
            self._blocks.remember(key, _Block(request, length[2], place, any_method=any_method), size)


def _take_length(request: RequestHead, block: _Block, length: re.Match[bytes]) -> None:
    """Let a recalled request have a body of its own length."""
    name, digits = length.groups()
    request.content_length = int(digits)
    if digits != block.length:
        request.lines[block.length_line] = name + b": " + digits

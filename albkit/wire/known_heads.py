"""Blocks of fields that have been read before.

A client that keeps its connection sends the same fields again and again, and only its request line differs. What was read and judged of
such a block holds for the next request with the very same bytes. It is remembered for requests without anything special alone, so that
nothing of it depends on the request line; a line that is not plain either is left to the parser. Nothing here decides differently: what
is remembered is what the parser and the reader have said.
"""

from __future__ import annotations

import re

from multidict import CIMultiDictProxy

from albkit.model.message import RequestHead
from albkit.wire.memory import Memory

__all__ = ("KnownHeads",)

_METHODS = {method.encode(): method for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")}
_REQUEST_LINE = re.compile(rb"([A-Z]{3,7}) (/[!$-;=@-Z_a-z~]*+)(?:\?([!$-;=?-Z_a-z~]*+))? HTTP/1\.1")
"""A path, and perhaps a query, of characters that no two servers read differently."""


class _Block:
    """What is known of one block of fields."""

    __slots__ = ("cookie", "headers", "host", "keep_alive", "lines")

    def __init__(self, request: RequestHead) -> None:
        self.host = request.host
        self.headers: CIMultiDictProxy[str] = request.headers
        self.cookie = request.cookie
        self.keep_alive = request.keep_alive
        self.lines = request.lines[1:]


class KnownHeads:
    """Remembers blocks of fields.

    Args:
        longest_line: Bytes of a request line that is not too long.
    """

    __slots__ = ("_blocks", "_longest_line")

    def __init__(self, longest_line: int) -> None:
        self._blocks: Memory[_Block] = Memory()
        self._longest_line = longest_line

    def recall(self, head: bytes) -> RequestHead | None:
        """The request of a head whose fields are known, as if it had been parsed and read; `None` for any other."""
        end = head.find(b"\r\n")
        block = self._blocks.recall(head[end:])
        if block is None or end > self._longest_line:
            return None
        line = _REQUEST_LINE.fullmatch(head, 0, end)
        if line is None:
            return None
        method, path, query = line.groups(b"")
        name = _METHODS.get(method)
        if name is None:
            return None
        self._blocks.count()
        request = RequestHead()
        request.method = name
        request.path = path.decode("ascii")
        request.query_string = query.decode("ascii")
        request.host = block.host
        request.headers = block.headers
        request.cookie = block.cookie
        request.lines = [head[:end], *block.lines]
        request.keep_alive = block.keep_alive
        request.content_length = 0
        request.chunked = request.http_1_0 = request.expects_continue = request.close_after = False
        request.irregular_names = request.dropped_names = False
        request.upgrade = request.trace_id = request.forwarded_for = b""
        request.classification = None
        return request

    def remember(self, head: bytes, request: RequestHead) -> None:
        """Keep what was read of a head without anything special: no body, no upgrade, no fields but those that are passed on as they are.

        Args:
            head: The raw head.
            request: What was read of it, before anything was added.
        """
        end = head.find(b"\r\n")
        # Another line may say more than path and query: an absolute-form target names the host.
        if not self._blocks.rests() and _REQUEST_LINE.fullmatch(head, 0, end):
            self._blocks.remember(head[end:], _Block(request))

"""Caches parsed header blocks and request lines, so that most requests of a keep-alive connection need no parsing.

A client sends the same fields with each request, and only the request line differs. So the two are cached separately: the fields by their
exact bytes, and the request line by its own. A Content-Length may differ as well: its number is cut out of the key.

Nothing is decided here. The cache only repeats what the parser in `request.py` has found for the same bytes. Three rules keep that exact:

- Fields are cached only for requests without anything unusual, so that their meaning does not depend on the request line.
- If fields have a Content-Length, their meaning depends on the method. They are then used for POST, PUT and PATCH only.
- A request line in an unusual form, such as an absolute-form target, is never cached and never combined with cached fields.
"""

from __future__ import annotations

import re
from typing import Final

from albkit.model.message import RequestHead
from albkit.state.bounded_cache import BoundedCache

__all__ = ("METHODS", "HeaderCache")

METHODS: Final = {method.encode(): method for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")}
_REQUEST_LINE = re.compile(rb"([A-Z]{3,7}) (/[!$-;=@-Z_a-z~]*+)(?:\?([!$-;=?-Z_a-z~]*+))? HTTP/1\.1")
"""Origin-form with a path and maybe a query, of characters that all servers read in the same way."""
_LENGTH = re.compile(rb"\r\n((?i:content-length)): ([1-9][0-9]{0,17})(?=\r\n)")
"""A Content-Length in its usual form. The rest of the line stays part of the key, so only the number may differ."""
# Of all METHODS, exactly POST, PUT and PATCH begin with it. Other methods, such as PROPFIND, never get a cached result.
_P: Final = ord("P")
_BLOCK_OVERHEAD: Final = 512
_LINE_OVERHEAD: Final = 128
"""Bytes that a cached block and each of its lines take in addition to their text."""
_NO_NAMES: Final[frozenset[bytes]] = frozenset()

_RequestLine = tuple[str, str, str]
"""Method, path, query."""


def _find_length(head: bytes, end: int) -> re.Match[bytes] | None:
    """Find the Content-Length of a POST, PUT or PATCH: for these methods, desync mitigation does not classify bodies."""
    return _LENGTH.search(head, end) if head[0] == _P else None


class _CachedFields:
    """The parsed fields of a request."""

    __slots__ = ("any_method", "cookie", "host", "keep_alive", "length", "length_line", "lines")

    def __init__(self, request: RequestHead, length: bytes, length_line: int, *, any_method: bool) -> None:
        self.host = request.host
        self.cookie = request.cookie
        self.keep_alive = request.keep_alive
        # A copy, because the exchange appends its own lines to those of the request.
        self.lines = request.lines[1:]
        self.any_method = any_method
        """Whether the fields mean the same with every method."""
        self.length = length
        """The digits of the Content-Length when the block was cached; empty without one."""
        self.length_line = length_line
        """The index of the Content-Length in the lines of the request; 0 if there is none."""


class HeaderCache:
    """The cache of one listener's parser: settings decide how fields are read, so listeners cannot share it.

    Args:
        max_line: The limit for a request line, in bytes. The parser rejects longer ones.
    """

    __slots__ = ("_fields", "_max_line", "_request_lines")

    def __init__(self, max_line: int) -> None:
        self._fields: BoundedCache[bytes, _CachedFields] = BoundedCache()
        self._request_lines: BoundedCache[bytes, _RequestLine] = BoundedCache()
        self._max_line = max_line

    def get(self, head: bytes) -> RequestHead | None:
        """Return the request that the parser would return for this head; `None` if it is not cached.

        The request is a new object that the caller may change.
        """
        end = head.find(b"\r\n")
        length = _find_length(head, end)
        block = self._fields.get(head[end:] if length is None else head[end : length.start(2)] + head[length.end(2) :])
        # `Content-Length: ` without digits has the same key as one whose digits were cut out. It is not well-formed, so it must not match.
        if block is None or (length is None) != (not block.length) or not (block.any_method or head[0] == _P):
            return None
        raw = head[:end]
        line = self._request_lines.get(raw)
        if line is None:
            line = self._parse_request_line(raw)
            if line is None:
                return None
        # Only when both are found, because only then the cache has saved any work.
        self._fields.count_hit()
        self._request_lines.count_hit()
        # Every attribute that the parser sets, or rules and hooks could meet an AttributeError. A test compares the two.
        request = RequestHead()
        request.method, request.path, request.query_string = line
        request.head = head
        request.hidden_names = _NO_NAMES
        request.host = block.host
        request.cookie = block.cookie
        request.lines = [raw, *block.lines]
        request.keep_alive = block.keep_alive
        if length is None:
            request.content_length = 0
        else:
            _set_length(request, block, length)
        request.chunked = request.http_1_0 = request.expects_continue = request.close_after = False
        request.irregular_names = request.dropped_names = False
        request.upgrade = request.trace_id = request.forwarded_for = b""
        request.classification = None
        return request

    def _parse_request_line(self, raw: bytes) -> _RequestLine | None:
        """Parse and cache a request line in its usual form; `None` for any other."""
        match = _REQUEST_LINE.fullmatch(raw)
        if match is None or len(raw) > self._max_line:
            return None
        method, path, query = match.groups(b"")
        name = METHODS.get(method)
        if name is None:
            return None
        line = name, path.decode("ascii"), query.decode("ascii")
        if not self._request_lines.skip_put():
            self._request_lines.put(raw, line, len(raw) + _LINE_OVERHEAD)
        return line

    def put(self, head: bytes, request: RequestHead, *, any_method: bool) -> None:
        """Cache the fields of a request. The caller checks that it has no upgrade and no fields of unusual kinds.

        Args:
            head: The raw head.
            request: What the parser returned for it, before the load balancer added any line.
            any_method: Whether the fields mean the same with every method.
        """
        end = head.find(b"\r\n")
        # An absolute-form target also determines the host, so what was parsed would not be true for other request lines.
        if self._fields.skip_put() or not _REQUEST_LINE.fullmatch(head, 0, end):
            return
        length = _find_length(head, end)
        size = _BLOCK_OVERHEAD + len(head) + len(request.cookie) + _LINE_OVERHEAD * len(request.lines)
        if length is None:
            if not request.has_body:
                self._fields.put(head[end:], _CachedFields(request, b"", 0, any_method=any_method), size)
        else:
            key = head[end : length.start(2)] + head[length.end(2) :]
            length_line = request.lines.index(length[0][2:])
            self._fields.put(key, _CachedFields(request, length[2], length_line, any_method=any_method), size)


def _set_length(request: RequestHead, block: _CachedFields, length: re.Match[bytes]) -> None:
    """Give a request the body length of its own head."""
    name, digits = length.groups()
    request.content_length = int(digits)
    # The line keeps the name as the client spells it: the spelling is part of the key.
    if digits != block.length:
        request.lines[block.length_line] = name + b": " + digits

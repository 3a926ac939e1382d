"""The rules for fields that are the same in requests, responses and trailers (RFC 9113 section 8.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from albkit.state.bounded_cache import SHARED_BUDGET
from albkit.wire.http1.framing import DROPPED_TRAILERS, MAX_TRAILERS, REJECTED_TRAILERS
from albkit.wire.http2.frames import ErrorCode, StreamError

__all__ = ("CONNECTION_SPECIFIC", "LENGTH", "SELDOM_REPEATED", "FieldLines", "malformed", "trailer_lines")

CONNECTION_SPECIFIC: Final = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
"""A message with one of these is malformed (RFC 9113 section 8.2.2)."""
SELDOM_REPEATED: Final = frozenset((b"set-cookie", b"x-amzn-trace-id", b"x-request-id"))
"""Fields that differ in each message. In a cache they would only push out others."""

LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,17}")
"""The value of a Content-Length. Some servers read a number with a leading zero as octal."""

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]++")
_VALUE = re.compile(rb"(?![\t ])[\t -~\x80-\xff]*+(?<![\t ])")
"""No control bytes, and no whitespace at either end."""
_MAX_CACHED: Final = 1024
"""Bytes of name and value. Longer fields are checked each time."""
_ENTRY_OVERHEAD: Final = 384
"""Bytes that a cached field takes in addition to its text."""
_SHOWN: Final = 50


def malformed(reason: str) -> StreamError:
    """Return the error for a malformed message (RFC 9113 section 8.1.1)."""
    return StreamError(ErrorCode.PROTOCOL_ERROR, reason)


class FieldLines(dict[tuple[bytes, bytes], bytes]):
    """The line `name: value` of each field, checked and built at its first look-up. A look-up raises `StreamError` for a malformed field.

    A `dict` with `__missing__`, so that looking up a known field is a single operation of the interpreter, without a call. Pseudo-fields
    are malformed here: the caller has read those at the start of the block.

    Args:
        special: Names of the fields that the caller reads itself. They are checked too, but their line is empty.
    """

    def __init__(self, special: frozenset[bytes]) -> None:
        super().__init__()
        self._special = special
        self.size_bytes = 0
        SHARED_BUDGET.register(self)

    def __missing__(self, field: tuple[bytes, bytes]) -> bytes:
        name, value = field
        if not _NAME.fullmatch(name):
            raise malformed(f"the field name {name[:_SHOWN]!r}")
        if not _VALUE.fullmatch(value):
            raise malformed(f"the value of {name[:_SHOWN].decode('ascii')}: {value[:_SHOWN]!r}")
        if name in CONNECTION_SPECIFIC or (name == b"te" and value != b"trailers"):
            raise malformed(f"the connection-specific field {name.decode('ascii')}")
        line = b"" if name in self._special else name + b": " + value
        size = len(name) + len(value)
        if size <= _MAX_CACHED and name not in SELDOM_REPEATED:
            # Before `charge`, which may clear this cache.
            self[field] = line
            SHARED_BUDGET.charge(self, 2 * size + _ENTRY_OVERHEAD)
        return line

    def clear(self) -> None:
        """Remove every field, and release their bytes."""
        super().clear()
        SHARED_BUDGET.release(self)


_TRAILERS: Final = FieldLines(frozenset())


def trailer_lines(fields: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """Return the trailers of a request or response as field lines, without those that a chunked body would lose as well.

    Raises:
        StreamError: A field is malformed, or must not be a trailer (RFC 9110 section 6.5.1), or they have more than 16 KiB.
    """
    lines = []
    size = 0
    for field in fields:
        line = _TRAILERS[field]
        name = field[0]
        if name in REJECTED_TRAILERS:
            raise malformed(f"the field {name.decode('ascii')} must not be a trailer")
        size += len(line) + 2
        if not name.startswith(DROPPED_TRAILERS):
            lines.append(line)
    if size > MAX_TRAILERS:
        raise malformed(f"more than {MAX_TRAILERS} bytes of trailers")
    return lines

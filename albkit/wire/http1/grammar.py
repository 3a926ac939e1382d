"""The grammar rules of RFC 9110 and 9112 that several modules use."""

from __future__ import annotations

import re
from typing import Final

__all__ = ("CONTROLS", "FIELD_LINE", "LONGEST_METHOD", "TOKEN", "TOKEN_BYTES")

_TCHAR = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"

TOKEN = re.compile(rb"[%s]+" % _TCHAR)
"""`token`, RFC 9110 section 5.6.2."""

TOKEN_BYTES: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
"""The bytes of a token. Every request head begins with one of them."""

LONGEST_METHOD: Final = 64
"""Bytes. The longest registered method, UPDATEREDIRECTREF, has 17."""

CONTROLS: Final = bytes((*range(0x09), *range(0x0A, 0x20), 0x7F))
"""All control bytes but the tab. A head contains none of them, except in the CR LF at the end of each line (RFC 9110 section 5.5)."""

# The value may begin and end with whitespace, which the caller strips. An expression that excludes it takes cubic time on a line that
# consists of spaces.
FIELD_LINE = re.compile(rb"([%s]+):([\t -~\x80-\xff]*)" % _TCHAR)
"""One field line without its line end, RFC 9112 section 5: no folding, no space before the colon, no control bytes."""

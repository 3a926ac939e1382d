"""The few productions of RFC 9110 and 9112 that several rooms judge by."""

from __future__ import annotations

import re
from typing import Final

__all__ = ("CONTROLS", "FIELD_LINE", "LONGEST_METHOD", "TOKEN", "TOKEN_BYTES")

_TCHAR = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"

TOKEN = re.compile(rb"[%s]+" % _TCHAR)
"""RFC 9110 section 5.6.2."""

TOKEN_BYTES: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
"""What a token is made of, and so what every request head begins with."""

LONGEST_METHOD: Final = 64
"""Bytes: a longer one is no method that anybody has made up in earnest."""

CONTROLS: Final = bytes((*range(0x09), *range(0x0A, 0x20), 0x7F))
"""Bytes that stand nowhere in a head but as CR LF at the end of a line: all controls but the tab (RFC 9110 section 5.5)."""

FIELD_LINE = re.compile(rb"([%s]+):([\t -~\x80-\xff]*)" % _TCHAR)
"""RFC 9112 section 5, one line without its end: no folding, no blank before the colon, no control byte. The value's blanks are its own:
an expression that leaves them out takes cubic time on a line full of them."""

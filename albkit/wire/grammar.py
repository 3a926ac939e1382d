"""The few productions of RFC 9110 and 9112 that several rooms judge by."""

from __future__ import annotations

import re

__all__ = ("CLEAN_HEAD", "FIELD_LINE", "TOKEN")

_TCHAR = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"

TOKEN = re.compile(rb"[%s]+" % _TCHAR)
"""RFC 9110 section 5.6.2."""

FIELD_LINE = re.compile(rb"([%s]+):([\t -~\x80-\xff]*)" % _TCHAR)
"""RFC 9112 section 5, one line without its end: no folding, no blank before the colon, no control byte. The value's blanks are its own:
an expression that leaves them out takes cubic time on a line full of them."""

CLEAN_HEAD = re.compile(
    rb"[%s]+ [!-~\x80-\xff]+ HTTP/1\.[01]\r\n(?:[%s]+:[\t -~\x80-\xff]*\r\n)*\r\n" % (_TCHAR, _TCHAR),
)
"""A request head that is right but for its method's name and bytes >= 0x80 in its target, which ALB lets pass."""

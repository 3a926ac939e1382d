"""Escapes text for logs. Every text that a client or a target can influence passes through this module before it becomes part of a line."""

from __future__ import annotations

import re
from typing import Final

__all__ = ("escaped", "readable")

_UNSAFE: Final = re.compile(r"[^ !#-\[\]-~]")
"""What must be escaped: quotes, backslashes, and everything outside printable ASCII."""


def escaped(text: str) -> str:
    r"""Write quotes, backslashes, and every byte outside printable ASCII as `\xHH`, as ALB does. The result is one line of ASCII.

    Args:
        text: Bytes decoded as latin-1, or any other text, whose characters above U+00FF are escaped as their bytes in UTF-8.
    """
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 256:
        return f"\\x{code:02X}"
    # "surrogateescape" turns lone surrogates back into the bytes that they stand for; those outside its range become question marks.
    return "".join(f"\\x{byte:02X}" for byte in match[0].encode("utf-8", "surrogateescape" if 0xDC80 <= code <= 0xDCFF else "replace"))


def readable(data: bytes) -> str:
    r"""Decode text for JSON, which escapes it itself: UTF-8, in which bytes that are not UTF-8 become `\xhh`."""
    return data.decode("utf-8", "backslashreplace")

"""The live page, and what a browser may do with it."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

import attrs

__all__ = ("Page", "read_page")

_INLINE = re.compile(rb"<(script|style)\b[^>]*>(.*?)</\1\s*>", re.DOTALL | re.IGNORECASE)


@attrs.frozen
class Page:
    """The page as it is sent."""

    content: bytes
    policy: str
    """Its Content-Security-Policy: the scripts and styles in it may run, by their hashes, and nothing else; nothing external is loaded."""


def read_page() -> Page:
    """Read the page of this package. Reads a file, so call it in a thread."""
    content = files("albkit.admin").joinpath("page.html").read_bytes()
    # Browsers hash the text after they have turned every CR LF into LF (HTML, "preprocessing the input stream").
    content = content.replace(b"\r\n", b"\n")
    scripts, styles = _hashes(content, b"script"), _hashes(content, b"style")
    directives = (
        "default-src 'none'",
        f"script-src {scripts}",
        f"style-src {styles}",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return Page(content, "; ".join(directives))


def _hashes(content: bytes, element: bytes) -> str:
    """The sources of a directive: the hashes of the texts of these elements."""
    texts = [text for name, text in _INLINE.findall(content) if name.lower() == element]
    hashes = [f"'sha256-{b64encode(sha256(text).digest()).decode('ascii')}'" for text in texts]
    return " ".join(dict.fromkeys(hashes)) or "'none'"

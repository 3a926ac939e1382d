"""The responses of the HTTP target."""

from __future__ import annotations

from typing import Final

__all__ = ("BODY", "FILES")

BODY: Final = b"The answer of the target".ljust(63, b".") + b"\n"
"""For every path except those of FILES."""
FILES: Final = {"/large": BODY * ((1 << 20) // len(BODY)), "/chunked": BODY * ((64 << 10) // len(BODY))}
"""By path: 1 MiB with a length, and 64 KiB in chunks."""

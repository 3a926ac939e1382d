"""The responses of the HTTP target."""

from __future__ import annotations

from typing import Final

__all__ = ("BODY", "FILES", "GRPC_MESSAGE", "GRPC_METHOD", "HUGE")

BODY: Final = b"The answer of the target".ljust(63, b".") + b"\n"
"""For every path except those of FILES."""
FILES: Final = {"/large": BODY * ((1 << 20) // len(BODY)), "/chunked": BODY * ((64 << 10) // len(BODY))}
"""By path: 1 MiB with a length, and 64 KiB in chunks."""
HUGE: Final = 64 << 20
"""Bytes of `/huge`, which are all zero."""
GRPC_METHOD: Final = "/benchmarks.Echo/Unary.grpc"
"""The path of the gRPC target's method. Its ending gives nghttpd, which serves files, the content type."""
GRPC_MESSAGE: Final = b"\x00\x00\x00\x00\x20" + b"A message of 32 bytes".ljust(32, b".")
"""A gRPC message of 32 bytes behind its prefix of 5: what clients send, and what the target answers."""

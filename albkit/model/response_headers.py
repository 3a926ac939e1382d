"""Headers that a listener adds to every response (docs/alb.md 1.3)."""

from __future__ import annotations

import re

__all__ = ("fault_of_response_header",)

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[ -~]+")
_LONGEST = 1024
_NOT_YOURS = frozenset(
    ("connection", "content-length", "date", "keep-alive", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Headers of the framing, and headers whose value differs from response to response."""


def fault_of_response_header(name: object, value: object) -> str | None:
    """Say what is wrong with a header; `None` if it is valid."""
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        return f"{name!r} is not a header name"
    if name.lower() in _NOT_YOURS:
        return f"{name} cannot be set for a whole listener"
    if value is None:
        return None if name.lower() == "server" else "None removes a header, which is possible for Server only"
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        return f"{value!r} is not a header value; use visible ASCII characters and spaces"
    return f"has {len(value)} characters; use at most {_LONGEST}" if len(value) > _LONGEST else None

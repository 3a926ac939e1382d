"""Fields that a listener puts on every response (docs/alb.md 1.3)."""

from __future__ import annotations

import re

__all__ = ("fault_of_response_header",)

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[ -~]+")
_LONGEST = 1024
_NOT_YOURS = frozenset(
    ("connection", "content-length", "date", "keep-alive", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Framing, and fields that mean something else on each response."""


def fault_of_response_header(name: object, value: object) -> str | None:
    """What is wrong with one field, or `None`."""
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        return f"{name!r} is not a field name"
    if name.lower() in _NOT_YOURS:
        return f"{name} is not for a listener to set"
    if value is None:
        return None if name.lower() == "server" else "None leaves a field out, which is for Server only"
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        return f"{value!r} is not a field value of visible ASCII and blanks"
    return f"{len(value)} characters are too many; at most {_LONGEST}" if len(value) > _LONGEST else None

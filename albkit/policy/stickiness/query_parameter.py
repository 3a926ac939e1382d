"""Finds a parameter in a query string."""

from __future__ import annotations

import re

__all__ = ("query_parameter",)


def query_parameter(name: str | None) -> re.Pattern[str] | None:
    """Return an expression that finds the non-empty values of a query parameter; `None` for no parameter."""
    return re.compile(f"(?:^|&){re.escape(name)}=([^&]+)") if name is not None else None

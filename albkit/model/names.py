"""The syntax of names (docs/alb.md 1.2, 1.8)."""

from __future__ import annotations

import re

__all__ = ("TOKEN", "fault_of_name")

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""The name of a header or a cookie (RFC 9110 section 5.6.2)."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?")


def fault_of_name(name: object) -> str | None:
    """Say what is wrong with the name of a load balancer, listener or target group; `None` if it is valid."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return None
    return f"{name!r} is not a valid name; use 1 to 32 letters, digits and hyphens, without a hyphen at either end"

"""Where a redirect sends the client (docs/alb.md 4.2)."""

from __future__ import annotations

import re

from albkit.model.actions import Redirect
from albkit.model.message import RequestHead

__all__ = ("LONGEST_LOCATION", "location")

LONGEST_LOCATION = 8 * 1024
"""Bytes; a longer Location is not sent."""

_PLACEHOLDER = re.compile(r"#\{(protocol|host|port|path|query)\}")


def location(redirect: Redirect, request: RequestHead, protocol: str, port: int) -> str:
    """The Location for a request, with its port spelled out as ALB does.

    Args:
        redirect: The action.
        request: Its own parts stand for the placeholders, as they came.
        protocol: `http` or `https`, the listener's.
        port: The listener's.
    """
    parts = {
        "protocol": protocol,
        "host": request.host,
        "port": str(port),
        "path": request.path.removeprefix("/"),
        "query": request.query_string,
    }

    def filled(template: str) -> str:
        return _PLACEHOLDER.sub(lambda match: parts[match[1]], template)

    query = filled(redirect.query)
    scheme = filled(redirect.protocol).lower()
    return f"{scheme}://{filled(redirect.host)}:{filled(redirect.port)}{filled(redirect.path)}" + (f"?{query}" if query else "")

"""Whether a request fits the protocol version of a target group (docs/alb.md 2.8): ALB's table, and what is a gRPC request."""

from __future__ import annotations

import re
from typing import Final

from albkit.model.message import RequestHead

__all__ = ("COMMON_PROTOCOL", "is_grpc_request", "is_grpc_type", "mismatch")

COMMON_PROTOCOL: Final = {"HTTP1": "HTTP/1.1", "HTTP2": "HTTP/2", "GRPC": ""}
"""By protocol version of the group: the client's protocol with which every request fits; empty if that depends on the request."""
_GRPC_TYPE: Final = re.compile(r"application/grpc[ \t]*(?:[+;].*)?", re.IGNORECASE)
_GRPC_LINE: Final = re.compile(rb"\ncontent-type:[ \t]*(?i:application/grpc)[ \t]*[+;\r]")


def is_grpc_type(content_type: str) -> bool:
    """Whether a Content-Type is that of gRPC: `application/grpc`, alone or followed by `+` or `;`.

    That is the rule of "gRPC over HTTP2", the specification of gRPC. `application/grpc-web` is another protocol.
    """
    return _GRPC_TYPE.fullmatch(content_type.strip(" \t")) is not None


def is_grpc_request(request: RequestHead) -> bool:
    """Whether an HTTP/2 request is a gRPC request: a POST with that type.

    Reads the raw head, in which all names of an HTTP/2 request are in lower case: that is faster than to build `RequestHead.headers`.
    """
    return request.method == "POST" and _GRPC_LINE.search(request.head) is not None


def mismatch(protocol: str, method: str, *, grpc: bool, version: str) -> str:
    """Say why a request does not fit a target group, and what to do; empty if it fits.

    Args:
        protocol: Of the client: `HTTP/1.1` (for HTTP/1.0 too) or `HTTP/2`; empty for connections of TCP and TLS listeners, which fit.
        method: Of the request. That of a WebSocket is GET, over HTTP/2 too.
        grpc: Whether the Content-Type is that of gRPC.
        version: The `protocol_version` of the group.
    """
    if protocol == "HTTP/1.1" and version != "HTTP1":
        return f"an HTTP/1.1 request to a group with protocol_version={version!r}; use HTTP/2, or set protocol_version='HTTP1'"
    if protocol == "HTTP/2" and version == "HTTP1" and grpc:
        return "a gRPC request to a group with protocol_version='HTTP1'; set protocol_version='GRPC'"
    if protocol == "HTTP/2" and version == "GRPC" and method != "POST":
        return f"a {method} request to a group with protocol_version='GRPC', which accepts POST only; set protocol_version='HTTP2'"
    return ""

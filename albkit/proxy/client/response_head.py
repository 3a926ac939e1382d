"""The framing of a response for an HTTP/1.x client: the fields that depend on the connection, and heads as bytes."""

from __future__ import annotations

from albkit.model.message import ResponseHead
from albkit.proxy.transports import SMALL
from albkit.wire.http1.response import UPGRADE_OPTION

__all__ = ("add_framing_fields", "head_bytes", "switching_head", "with_head")

_HEAD_END = b"\r\n\r\n"


def add_framing_fields(lines: list[bytes], fields: bytes, *, chunked: bool, keep_alive: bool, http_1_0: bool) -> bytes:
    """The fields to add to a response head, with those that tell the client how the body and the connection end.

    HTTP/1.1 connections persist unless the response says `close`. HTTP/1.0 connections close unless it says `keep-alive` (RFC 9112
    section 9.3).

    Args:
        lines: The lines of the head. If one is `Connection: Upgrade`, it is removed, and the added line has both options.
        fields: Field lines to add before, joined by CR LF; empty for none.
        chunked: Whether the body is sent in chunks.
        keep_alive: Whether another request may follow.
        http_1_0: Whether the client is an HTTP/1.0 client.
    """
    if chunked:
        fields = fields + b"\r\nTransfer-Encoding: chunked" if fields else b"Transfer-Encoding: chunked"
    if keep_alive and not http_1_0:
        return fields
    option = b"Connection: keep-alive" if keep_alive else b"Connection: close"
    if UPGRADE_OPTION in lines:
        lines.remove(UPGRADE_OPTION)
        option = UPGRADE_OPTION + option.replace(b"Connection:", b",")
    return fields + b"\r\n" + option if fields else option


def with_head(lines: list[bytes], pieces: list[bytes]) -> list[bytes]:
    """The head and the first pieces of the body, ready to be written. Uses up the lines."""
    if len(pieces) == 1 and len(pieces[0]) <= SMALL:
        # Copying a small body with the head is cheaper than a second write. The join adds the CR LF that ends the last field.
        lines.append(b"\r\n" + pieces[0])
        return [b"\r\n".join(lines)]
    lines.append(b"\r\n")
    return [b"\r\n".join(lines), *pieces]


def head_bytes(response: ResponseHead) -> bytes:
    """A head without a body."""
    return b"\r\n".join(response.lines) + _HEAD_END


def switching_head(response: ResponseHead, fields: bytes) -> bytes:
    """The head of a 101.

    Args:
        response: The target's, with the protocol that it switches to.
        fields: Field lines to add, joined by CR LF; empty for none.
    """
    lines = [*response.lines, b"Connection: Upgrade\r\nUpgrade: " + response.upgrade]
    if fields:
        lines.append(fields)
    return b"\r\n".join(lines) + _HEAD_END

"""Reads the response of the gRPC health checking protocol (https://grpc.io/docs/guides/health-checking/) without a protobuf library."""

from __future__ import annotations

from typing import Final

__all__ = ("EMPTY_MESSAGE", "HEALTH_PATH", "MalformedMessage", "serving_status")

EMPTY_MESSAGE: Final = bytes(5)
"""A message without content: one byte says that it is not compressed, four have its length, 0. As a `HealthCheckRequest` it contains no
service name, so it asks about the server as a whole."""
HEALTH_PATH: Final = "/grpc.health.v1.Health/Check"

_PREFIX = 5
_STATUS = 1
"""The field number of `HealthCheckResponse.status`."""
_NAMES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
"""Bytes (https://protobuf.dev/programming-guides/encoding/, Base 128 Varints)."""


class MalformedMessage(ValueError):
    """The body is not exactly one uncompressed message, or the message is not valid protobuf. The text of the exception says which."""


def serving_status(body: bytes) -> str:
    """Read the status in the body of a response to `/grpc.health.v1.Health/Check`.

    Args:
        body: The whole body: one message with its prefix of five bytes.

    Returns:
        `"SERVING"`, `"NOT_SERVING"`, `"UNKNOWN"` or `"SERVICE_UNKNOWN"`; any other status as its number.

    Raises:
        MalformedMessage: the body is not such a message.
    """
    if len(body) < _PREFIX:
        raise MalformedMessage("the response contains no message")
    if body[0]:
        raise MalformedMessage("the message is compressed")
    if int.from_bytes(body[1:_PREFIX], "big") != len(body) - _PREFIX:
        raise MalformedMessage("the length of the message does not match its prefix")
    status, at = 0, _PREFIX
    while at < len(body):
        key, at = _varint(body, at)
        value, at = _value(body, at, key & 7)
        if key == _STATUS << 3 | _VARINT:
            status = value
    return _NAMES[status] if status < len(_NAMES) else str(status)


def _value(body: bytes, at: int, kind: int) -> tuple[int, int]:
    """The value of a varint field, 0 for other kinds; and the position after the field."""
    value = 0
    if kind == _VARINT:
        value, at = _varint(body, at)
    elif kind == _BYTES:
        size, at = _varint(body, at)
        at += size
    elif kind == _FIXED64:
        at += 8
    elif kind == _FIXED32:
        at += 4
    else:
        raise MalformedMessage("the message is not valid protobuf")
    if at > len(body):
        raise MalformedMessage("the message is not valid protobuf")
    return value, at


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(body[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise MalformedMessage("the message is not valid protobuf")

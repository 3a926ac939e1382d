"""The response of the gRPC health checking protocol, read byte by byte."""

from __future__ import annotations

import pytest

from albkit.wire.grpc_health import EMPTY_MESSAGE, MalformedMessage, serving_status


def framed(message: bytes) -> bytes:
    """A message with its prefix."""
    return b"\0" + len(message).to_bytes(4, "big") + message


@pytest.mark.parametrize(
    ("message", "status"),
    [
        pytest.param(b"\x08\x01", "SERVING", id="serving"),
        pytest.param(b"\x08\x02", "NOT_SERVING", id="not-serving"),
        pytest.param(b"\x08\x03", "SERVICE_UNKNOWN", id="service-unknown"),
        pytest.param(b"", "UNKNOWN", id="empty-is-the-default"),
        pytest.param(b"\x08\x81\x00", "SERVING", id="longer-than-needed"),
        pytest.param(b"\x08\x01\x08\x02", "NOT_SERVING", id="the-last-one-counts"),
        pytest.param(b"\x08\xac\x02", "300", id="unknown-number"),
        pytest.param(b"\x12\x02\x08\x02\x08\x01\x19" + bytes(8) + b"\x25" + bytes(4), "SERVING", id="unknown-fields-are-skipped"),
        pytest.param(b"\x10\x01", "UNKNOWN", id="another-field"),
    ],
)
def test_status_of_a_message_is_read(message: bytes, status: str) -> None:
    """Field 1 is the status; everything else is skipped."""
    assert serving_status(framed(message)) == status


def test_empty_message_has_the_default_status() -> None:
    """An empty message is valid protobuf."""
    assert serving_status(EMPTY_MESSAGE) == "UNKNOWN"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0\0\0\0", id="half-a-prefix"),
        pytest.param(b"\x01\0\0\0\x02\x08\x01", id="compressed"),
        pytest.param(b"\0\0\0\0\x02\x08", id="shorter-than-its-prefix"),
        pytest.param(framed(b"\x08\x01") * 2, id="two-messages"),
        pytest.param(framed(b"\x08"), id="no-value"),
        pytest.param(framed(b"\x08" + b"\xff" * 11 + b"\x01"), id="endless-varint"),
        pytest.param(framed(b"\x0b"), id="group"),
        pytest.param(framed(b"\x12\x05\x01"), id="bytes-beyond-the-end"),
        pytest.param(framed(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), id="bytes-far-beyond-the-end"),
        pytest.param(framed(b"\x25\0"), id="half-a-fixed32"),
        pytest.param(framed(b"\x19\0"), id="half-a-fixed64"),
    ],
)
def test_anything_else_is_refused(body: bytes) -> None:
    """With an exception, never with a status."""
    with pytest.raises(MalformedMessage):
        serving_status(body)

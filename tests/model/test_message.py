from __future__ import annotations

from typing import Any

import pytest

from albkit.model.message import ClientAddress, RequestHead, ResponseHead


@pytest.mark.parametrize(
    ("host", "port", "printed"),
    [
        pytest.param("192.0.2.1", 2817, "192.0.2.1:2817", id="v4"),
        pytest.param("2001:db8::1", 2817, "[2001:db8::1]:2817", id="v6"),
        pytest.param("", 0, "unix:", id="unix"),
    ],
)
def test_client_address_prints_as_logs_write_it(host: str, port: int, printed: str) -> None:
    """Host and port, IPv6 in brackets (docs/alb.md 2.7)."""
    assert str(ClientAddress(host, port)) == printed


@pytest.mark.parametrize(("length", "has_body"), [(0, False), (1, True), (-1, True)], ids=["none", "sized", "chunked"])
def test_request_head_has_a_body_unless_its_length_is_zero(length: int, has_body: bool) -> None:
    """A chunked body is announced by -1."""
    request = RequestHead()
    request.content_length = length
    assert request.has_body is has_body


@pytest.mark.parametrize("kind", [RequestHead, ResponseHead, ClientAddress])
def test_message_made_per_request_has_no_dictionary(kind: Any) -> None:
    """One is made for each request, so it is slotted."""
    assert kind.__slots__
    assert "__dict__" not in dir(kind)

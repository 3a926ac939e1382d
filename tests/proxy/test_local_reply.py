from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from albkit.errors import Failure, FailureKind
from albkit.model.message import ClientAddress, RequestHead, ResponseHead
from albkit.proxy.local_reply import reply_with_error
from albkit.state.counters import Counters
from albkit.state.record import ExchangeRecord
from albkit.wire.http1.responses import ResponseFields
from tests.support.clock import FakeClock


class _Client:
    """A client's side that keeps what it is given."""

    def __init__(self, protocol: str, *, started: bool = False) -> None:
        self.protocol = protocol
        self.response_started = started
        self.responses: list[ResponseHead] = []
        self.written: list[tuple[list[bytes], bool, list[bytes]]] = []

    def whole_body(self) -> None: ...

    def start_response(self, response: ResponseHead, fields: bytes) -> None:
        assert fields == b""
        self.responses.append(response)

    def write_body(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        self.written.append((pieces, over, trailers))


def _request(method: str, content_type: str) -> RequestHead:
    request = RequestHead()
    request.method = method
    request.head = f"{method} /a.B/C HTTP/1.1\r\nhost: a\r\ncontent-type: {content_type}\r\n\r\n".encode()
    request.irregular_names = False
    request.classification = None
    return request


class _Reply:
    def __init__(
        self,
        kind: FailureKind,
        *,
        protocol: str = "HTTP/2",
        method: str = "POST",
        content_type: str = "application/grpc",
        started: bool = False,
        fields: ResponseFields | None = None,
    ) -> None:
        self.record = ExchangeRecord(ClientAddress("192.0.2.1", 40000), protocol)
        self.client = _Client(protocol, started=started)
        self.record.request = _request(method, content_type)
        listener: Any = SimpleNamespace(runtime=SimpleNamespace(clock=FakeClock()), response_fields=fields)
        client: Any = self.client
        self.sent = reply_with_error(client, self.record.request, Failure(kind), self.record, listener)

    @property
    def lines(self) -> list[bytes]:
        (response,) = self.client.responses
        return response.lines


_CODES = [
    (FailureKind.REQUEST_BODY_MALFORMED, 400, b"13", b"internal"),
    (FailureKind.REQUEST_BODY_TIMEOUT, 408, b"2", b"unknown"),
    (FailureKind.REQUEST_FORWARDED_FOR_TOO_LONG, 463, b"2", b"unknown"),
    (FailureKind.INTERNAL_ERROR, 500, b"2", b"unknown"),
    (FailureKind.TARGET_CONNECTION_REFUSED, 502, b"14", b"unavailable"),
    (FailureKind.NO_TARGETS, 503, b"14", b"unavailable"),
    (FailureKind.TARGET_TIMEOUT, 504, b"14", b"unavailable"),
]


@pytest.mark.parametrize(("kind", "status", "code", "message"), _CODES, ids=[row[0].name for row in _CODES])
def test_failure_is_a_grpc_status_for_a_grpc_client(kind: FailureKind, status: int, code: bytes, message: bytes) -> None:
    """A head alone, with status 200, as gRPC requires. The record keeps the status of the failure, for logs and counters."""
    it = _Reply(kind)
    assert it.sent
    assert it.client.responses[0].status == 200
    assert it.lines == [
        b"HTTP/1.1 200 OK",
        b"Server: awselb/2.0",
        b"Date: Mon, 21 Sep 2026 14:15:23 GMT",
        b"Content-Type: application/grpc",
        b"grpc-status: " + code,
        b"grpc-message: " + message,
    ]
    assert it.client.responses[0].has_date
    assert it.client.written == [([], True, [])]
    assert it.record.elb_status_code == status
    counters = Counters()
    it.record.count(counters)
    assert (counters.elb_4xx, counters.elb_5xx) == (int(status < 500), int(status >= 500))


@pytest.mark.parametrize(
    "settings",
    [
        {"protocol": "HTTP/1.1"},
        {"method": "PUT"},
        {"content_type": "application/grpc-web"},
        {"content_type": "application/json"},
    ],
    ids=str,
)
def test_failure_is_an_error_page_for_any_other_client(settings: dict[str, Any]) -> None:
    """HTTP/1.1 clients cannot use gRPC, whatever they call their bodies."""
    it = _Reply(FailureKind.TARGET_CONNECTION_REFUSED, **settings)
    assert it.sent
    assert it.lines[0] == b"HTTP/1.1 502 Bad Gateway"
    ((pieces, over, trailers),) = it.client.written
    assert b"502 Bad Gateway" in b"".join(pieces)
    assert (over, trailers) == (True, [])
    assert it.record.elb_status_code == 502


def test_grpc_client_of_a_group_without_grpc_gets_464() -> None:
    """Nothing that it reached uses gRPC."""
    it = _Reply(FailureKind.PROTOCOL_VERSION_MISMATCH)
    assert it.sent
    assert it.lines[0] == b"HTTP/1.1 464 Incompatible Protocol Version"
    assert it.record.elb_status_code == 464


def test_fields_of_the_listener_are_on_a_grpc_response() -> None:
    """As on every other response."""
    it = _Reply(FailureKind.NO_TARGETS, fields=ResponseFields((("X-A", "b"), ("Server", None))))
    assert b"X-A: b" in it.lines
    assert b"Server: awselb/2.0" not in it.lines


@pytest.mark.parametrize(
    ("kind", "started"), [(FailureKind.CLIENT_CLOSED, False), (FailureKind.STOPPED, False), (FailureKind.TARGET_RESET, True)]
)
def test_nothing_is_sent_to_a_grpc_client_that_cannot_receive_it(kind: FailureKind, started: bool) -> None:
    """It has left, or its response has begun."""
    it = _Reply(kind, started=started)
    assert not it.sent
    assert it.client.responses == []

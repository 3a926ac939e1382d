from __future__ import annotations

from typing import Any

import pytest

import albkit as alb
from albkit.errors import Failure, FailureKind
from albkit.model.message import ClientAddress, RequestHead
from albkit.report.span_attributes import error_of, request_attributes, response_attributes, route_of
from albkit.state.record import ExchangeRecord


def record_of(
    method: str = "GET", path: str = "/", query: str = "", host: str = "a", client: ClientAddress | None = None
) -> ExchangeRecord:
    record = ExchangeRecord(client or ClientAddress("192.0.2.1", 40000), "HTTP/1.1")
    record.request = request = RequestHead()
    request.method, request.path, request.query_string, request.host, request.http_1_0 = method, path, query, host, False
    request.trace_id = b""
    return record


def described(record: ExchangeRecord, agent: str = "") -> dict[str, Any]:
    return dict(request_attributes(record, record.client, ("https", 443), agent))


def test_unknown_method_is_other() -> None:
    """A client can invent any number of them; attributes that metrics are made of have few values."""
    attributes = described(record_of("BREW"))
    assert (attributes["http.request.method"], attributes["http.request.method_original"]) == ("_OTHER", "BREW")
    assert "http.request.method_original" not in described(record_of("PATCH"))


def test_texts_of_clients_are_bounded_and_can_be_encoded() -> None:
    """A lone surrogate would make the exporter lose a whole batch."""
    attributes = described(record_of(path="/\udcff" + "x" * 5000, query="y" * 5000), "z\udcfe" * 3000)
    assert attributes["url.path"].startswith("/\ufffdxxx")
    for name in ("url.path", "url.query", "user_agent.original"):
        assert len(attributes[name]) <= 1100
        attributes[name].encode()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("a=1&b=2", "a=1&b=2"),
        ("sig=1", "sig=REDACTED"),
        ("a=1&Signature=abc%2F&b=2", "a=1&Signature=REDACTED&b=2"),
        (
            "X-Amz-Credential=AKIA/x&X-Amz-Signature=1&X-Goog-Signature=2",
            "X-Amz-Credential=REDACTED&X-Amz-Signature=REDACTED&X-Goog-Signature=REDACTED",
        ),
        ("assig=1&sigma=2&AWSAccessKeyId=", "assig=1&sigma=2&AWSAccessKeyId=REDACTED"),
        ("x=" + "y" * 1015 + "&sig=secret", "x=" + "y" * 1015 + "&sig=REDACTED"),
    ],
)
def test_signatures_in_queries_are_redacted(query: str, expected: str) -> None:
    """As the conventions ask; also one that the bound cuts."""
    assert described(record_of(query=query))["url.query"] == expected


def test_address_is_a_host_without_brackets() -> None:
    """An IPv6 literal."""
    attributes = described(record_of(host="[2001:db8::1]"))
    assert (attributes["server.address"], attributes["server.port"]) == ("2001:db8::1", 443)


def test_client_of_a_unix_socket_has_no_address() -> None:
    """Nor a port."""
    record = record_of()
    record.client = ClientAddress("", 0)
    attributes = described(record)
    assert not attributes.keys() & {"client.address", "client.port", "network.peer.address", "network.peer.port"}


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (200, None, ""),
        (499, None, ""),
        (500, None, "500"),
        (503, FailureKind.NO_TARGETS, "NoTargets"),
        (400, FailureKind.REQUEST_BODY_MALFORMED, ""),
        (464, FailureKind.PROTOCOL_VERSION_MISMATCH, ""),
        (460, FailureKind.CLIENT_CLOSED, "ClientClosed"),
        (0, FailureKind.STOPPED, "Stopped"),
        (200, FailureKind.RESPONSE_BODY_TRUNCATED, "ResponseBodyTruncated"),
        (200, FailureKind.REQUEST_BODY_MALFORMED, "RequestBodyMalformed"),
    ],
)
def test_error_is_what_the_conventions_call_one(status: int, kind: FailureKind | None, expected: str) -> None:
    """A 4xx is no error of a server, if the client received it."""
    record = record_of()
    record.elb_status_code = status
    record.failure = Failure(kind) if kind is not None else None
    assert error_of(record) == expected
    assert response_attributes(record, "").get("error.type", "") == expected
    assert ("http.response.status_code" in response_attributes(record, "")) == (status not in (0, 460))


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (alb.PathPattern("/api/*"), "/api/*"),
        ([alb.HostHeader("a"), alb.PathPattern("/api/*")], "/api/*"),
        (alb.PathPattern("/a", "/b"), ""),
        (alb.PathPattern(regex="^/a"), ""),
        (alb.HostHeader("a"), ""),
    ],
    ids=["pattern", "with host", "two", "regex", "none"],
)
def test_route_is_the_only_pattern_of_a_rule(conditions: Any, expected: str) -> None:
    """Of two, nobody knows which one held."""
    assert route_of(alb.Rule(1, conditions, alb.FixedResponse(200))) == expected

"""Describes exchanges and tunnels by OpenTelemetry's semantic conventions for HTTP server spans, version 1.4x (stable).

https://opentelemetry.io/docs/specs/semconv/http/http-spans/

What the conventions have no name for is called `albkit.*`. No tracing library is needed here: the results are plain dicts.
"""

from __future__ import annotations

import re
from typing import Final

from albkit.errors import Failure
from albkit.model.conditions.path_pattern import PathPattern
from albkit.model.message import ClientAddress
from albkit.model.rule import Rule
from albkit.state.record import ExchangeRecord, TunnelRecord
from albkit.state.target import TargetState

__all__ = ("Attributes", "attempt_attributes", "error_of", "request_attributes", "response_attributes", "route_of", "tunnel_attributes")

Attributes = dict[str, str | int | float]

_METHODS: Final = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"))
"""All others are `_OTHER`: a client could invent any number of them."""
_LONGEST: Final = 1024
"""Characters of a client's text. An exporter may keep thousands of spans in memory."""
_SECRETS = re.compile(r"(^|&)(AWSAccessKeyId|Signature|sig|X-Goog-Signature|X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token)=[^&]*")
"""The conventions list the first four. The others are those of AWS's present signatures, which grant the same."""
_CLIENT_CLOSED: Final = 460


def _text(text: str) -> str:
    """Bound a client's text, and make sure that it can be encoded: one span that cannot costs an exporter a whole batch."""
    text = text[:_LONGEST]
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def request_attributes(record: ExchangeRecord, peer: ClientAddress, origin: tuple[str, int], user_agent: str) -> Attributes:
    """Describe a request: what a sampler may look at.

    Args:
        record: With the request.
        peer: The client of the connection.
        origin: The scheme and the port in the client's URL.
        user_agent: The client's User-Agent; empty if it sent none.
    """
    request = record.request
    if request is None:
        return {}
    method = request.method
    client = record.client
    attributes: Attributes = {
        "http.request.method": method if method in _METHODS else "_OTHER",
        "url.path": _text(request.path),
        "url.scheme": origin[0],
        "server.address": request.host.strip("[]"),
        "server.port": origin[1],
        "network.protocol.version": "2" if record.protocol == "HTTP/2" else "1.0" if request.http_1_0 else "1.1",
    }
    if method not in _METHODS:
        attributes["http.request.method_original"] = _text(method)
    query = request.query_string
    if query:
        attributes["url.query"] = _SECRETS.sub(r"\1\2=REDACTED", _text(query))
    # A client on a Unix socket has no address.
    if client.host:
        attributes["client.address"] = client.host
        if client.port:
            attributes["client.port"] = client.port
    if peer.host:
        attributes["network.peer.address"] = peer.host
        if peer.port:
            attributes["network.peer.port"] = peer.port
    if user_agent:
        attributes["user_agent.original"] = _text(user_agent)
    return attributes


def response_attributes(record: ExchangeRecord, route: str) -> Attributes:
    """Describe what became of a request.

    Args:
        record: The complete record; for a tunnel, at its 101.
        route: As `route_of` returns it.
    """
    attributes: Attributes = {}
    status = record.elb_status_code
    # 460 is for logs: nothing was sent.
    if status and status != _CLIENT_CLOSED:
        attributes["http.response.status_code"] = status
    if route:
        attributes["http.route"] = route
    if record.matched_rule_priority >= 0:
        attributes["albkit.rule.priority"] = record.matched_rule_priority
    if record.action:
        attributes["albkit.action"] = record.action
    if record.group is not None:
        attributes["albkit.target_group"] = record.group.group.name
    if record.target is not None:
        attributes["albkit.target"] = record.target.address
        attributes["albkit.attempts"] = record.attempts
    if record.target_status_code:
        attributes["albkit.target.status_code"] = record.target_status_code
    if record.answered_at and record.target_status_code:
        attributes["albkit.request_processing_time"] = round(record.sent_at - record.received_at, 6)
        attributes["albkit.target_processing_time"] = round(record.answered_at - record.sent_at, 6)
    if record.request is not None and record.request.trace_id:
        attributes["albkit.amzn_trace_id"] = _text(record.request.trace_id.decode("latin-1"))
    error = error_of(record)
    if error:
        attributes["error.type"] = error
    if record.failure is not None:
        attributes["albkit.error_reason"] = record.failure.kind.reason
    return attributes


def error_of(record: ExchangeRecord) -> str:
    """Return `error.type`; empty if the conventions for servers do not count the exchange as an error.

    Errors are statuses from 500 on, and responses that the client did not receive completely. Other 4xx are the client's business.
    """
    failure = record.failure
    status = record.elb_status_code
    if failure is None:
        return str(status) if status >= 500 else ""
    # A failure with a status below 500 was reported to the client by an error page, which was sent completely.
    if status == failure.kind.status and status < 500 and status != _CLIENT_CLOSED:
        return ""
    return failure.kind.reason


def attempt_attributes(target: TargetState, failure: Failure) -> Attributes:
    """Describe an attempt that failed."""
    attributes: Attributes = {"albkit.target": target.address, "error.type": failure.kind.reason}
    if failure.detail:
        attributes["albkit.detail"] = _text(failure.detail[:200])
    return attributes


def tunnel_attributes(record: ExchangeRecord, tunnel: TunnelRecord) -> Attributes:
    """Describe a tunnel that has ended."""
    attributes: Attributes = {
        "network.protocol.name": _text(tunnel.protocol),
        "albkit.received_bytes": record.received_bytes,
        "albkit.sent_bytes": record.sent_bytes,
    }
    if record.client.host:
        attributes["client.address"] = record.client.host
    if record.group is not None:
        attributes["albkit.target_group"] = record.group.group.name
    if record.target is not None:
        attributes["albkit.target"] = record.target.address
    if tunnel.end is not None:
        attributes["albkit.tunnel.end"] = str(tunnel.end)
    if tunnel.close_code is not None:
        attributes["albkit.tunnel.close_code"] = tunnel.close_code
    if tunnel.frames_in is not None:
        attributes["albkit.tunnel.frames_in"] = tunnel.frames_in
    if tunnel.frames_out is not None:
        attributes["albkit.tunnel.frames_out"] = tunnel.frames_out
    if record.failure is not None:
        attributes["error.type"] = record.failure.kind.reason
    return attributes


def route_of(rule: Rule) -> str:
    """Return the only path pattern of a rule; empty if it has none, or several. A request's path is no route: clients choose it."""
    patterns = [condition for condition in rule.conditions if isinstance(condition, PathPattern)]
    if len(patterns) != 1 or patterns[0].regex or len(patterns[0].values) != 1:
        return ""
    return patterns[0].values[0]

"""One JSON object per line. The names of the fields are those that AWS uses for ALB's log in Athena; what did not happen is null."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from albkit.model.message import ClientAddress
from albkit.report.access_log.context import (
    NUMBERS,
    Connection,
    LogContext,
    classification,
    field_value,
    has_answer,
    http_version,
    is_logged,
    keep,
    path_and_query,
    request_type,
    rule_priority,
    seconds,
)
from albkit.report.escape import readable
from albkit.report.names import certificate_arn, elb_name, group_arn, listener_id
from albkit.state.record import ExchangeRecord

__all__ = ("formatter", "stream_formatter")

_NO_REQUEST: Final = '"request_verb":null,"request_url":null,"request_proto":null,"user_agent":null,"trace_id":null'
_STATUSES: Final = ["null"] * 100 + NUMBERS[100:]
_ACTIONS: Final = {"": "null", "forward": '"forward"'}
_USUAL: Final = (
    '"classification":null,"classification_reason":null,"transformed_host":null,"transformed_uri":null,"request_transform_status":null'
)
"""What `_details` returns for most requests."""


class _Connection(Connection):
    """The fields of a connection, and the user agent of its last request."""

    __slots__ = ("agent", "ends", "starts")

    def __init__(self, context: LogContext, client: ClientAddress) -> None:
        super().__init__(context, client)
        tls = client.tls
        certificate = certificate_arn(tls.certificate) if tls is not None else ""
        self.starts = (
            f'"elb":{quoted(elb_name(context.load_balancer))},"listener":{_text(context.listener.name or "")},'
            f'"client_ip":{_text(client.host)},"client_port":{client.port or "null"}'
        )
        self.ends = (
            f'"ssl_cipher":{_text(tls.cipher if tls is not None else "")},"ssl_protocol":{_text(tls.version if tls is not None else "")},'
            f'"domain_name":{_text(tls.server_name if tls is not None else "")},"chosen_cert_arn":{_text(certificate)},'
            f'"conn_trace_id":{_text(client.conn_trace_id)},"ip_address":{_text(client.local[0] if client.local is not None else "")}'
        )
        self.agent = "null"

    def agent_of(self, block: bytes) -> str:
        """The user agent of a request with these fields. The caller compares them with `block` first."""
        self.block = block
        self.agent = _text(readable(field_value(block, b"user-agent").encode("latin-1")))
        return self.agent


def formatter(context: LogContext) -> Callable[[ExchangeRecord], str | None]:
    """Return the function that makes the line of a record; `None` if it has none."""
    now, moments = context.now, context.moments
    paths: dict[bytes, str] = {}

    def line(record: ExchangeRecord) -> str | None:
        if not is_logged(record):
            return None
        client = record.client
        connection: _Connection = client.logged
        if connection is None or connection.context is not context:
            connection = client.logged = _Connection(context, client)
        at = now()
        took = record.ended_at - record.received_at if record.received_at else 0.0
        ended, begun = moments(at, at - took)
        request, failure = record.request, record.failure
        rule: object = record.matched_rule_priority
        if record.matched_rule_priority < 0:
            rule = "null" if rule_priority(record) is None else -1
        is_usual_type = record.protocol == "HTTP/1.1" and record.target_status_code != 101
        kind = connection.kind if is_usual_type else request_type(record, connection)
        received, sent = record.received_bytes, record.sent_bytes
        action = _ACTIONS.get(record.action) or _text(record.action)
        about = _request(record, connection, paths) if request is not None else _NO_REQUEST
        usual = failure is None and record.transformation is None and request is not None and request.classification is None
        # Two pieces, because CPython joins up to 30 parts of an f-string faster than more (STACK_USE_GUIDELINE of its compiler).
        begins = (
            f'{{"type":"{kind}","time":"{ended}",{connection.starts},{_target(record)},{_times(record)},'
            f'"total_time":{seconds(took)},"elb_status_code":{_STATUSES[record.elb_status_code]},'
            f'"target_status_code":{_STATUSES[record.target_status_code]},'
            f'"received_bytes":{NUMBERS[received] if received < 1000 else received},'
            f'"sent_bytes":{NUMBERS[sent] if sent < 1000 else sent},{about},'
        )
        return (
            f'{begins}"matched_rule_priority":{rule},"request_creation_time":"{begun}","actions_executed":{action},'
            f'"redirect_url":{_text(readable(record.redirect_url)) if record.redirect_url else "null"},'
            f'"error_reason":{_text(failure.kind.reason) if failure is not None else "null"},"attempts":{record.attempts},'
            f"{_USUAL if usual else _details(record)},{connection.ends}}}"
        )

    return line


def _text(value: str) -> str:
    return quoted(value) if value else "null"


def _times(record: ExchangeRecord) -> str:
    if not has_answer(record):
        return '"request_processing_time":null,"target_processing_time":null,"response_processing_time":null'
    sent, answered = record.sent_at, record.answered_at
    return (
        f'"request_processing_time":{seconds(sent - record.received_at)},"target_processing_time":{seconds(answered - sent)},'
        f'"response_processing_time":{seconds((record.responded_at or record.ended_at) - answered)}'
    )


def _target(record: ExchangeRecord) -> str:
    target, group = record.target, record.group
    if target is not None:
        host, port = target.target.host, target.target.port
    else:
        host, port = "", 0
    return _destination(host, port, group.group.name if group is not None else "")


@lru_cache(maxsize=4096)
def _destination(host: str, port: int, group: str) -> str:
    """The fields of a target and its group; each may be missing."""
    address = '"target_ip":null,"target_port":null'
    if host:
        address = f'"target_ip":{quoted(readable(host.encode("utf-8", "surrogateescape")))},"target_port":{port}'
    if not group:
        return f'{address},"target_group_arn":null,"target_group":null'
    return f'{address},"target_group_arn":{quoted(group_arn(group))},"target_group":{quoted(group)}'


def _request(record: ExchangeRecord, connection: _Connection, paths: dict[bytes, str]) -> str:
    request = record.request
    if request is None:
        return _NO_REQUEST
    head = request.head
    end = head.find(b"\r\n")
    block, first = head[end:], head[:end]
    agent = connection.agent if block == connection.block else connection.agent_of(block)
    path = paths.get(first)
    if path is None:
        # Without the quotes, because the host comes before it.
        path = quoted(readable(path_and_query(request, first.decode("latin-1")).encode("latin-1")))[1:]
        keep(paths, first, path)
    host = request.host
    if host != connection.host:
        connection.host = host
        connection.base = quoted(f"{connection.origin}{readable(host.encode('utf-8', 'surrogateescape'))}{connection.port_part}")[:-1]
    trace = quoted(readable(request.trace_id)) if request.trace_id else "null"
    version = "HTTP/1.1" if record.protocol == "HTTP/1.1" and not request.http_1_0 else http_version(record, request)
    return (
        f'"request_verb":"{request.method}","request_url":{connection.base}{path},"request_proto":"{version}",'
        f'"user_agent":{agent},"trace_id":{trace}'
    )


def _details(record: ExchangeRecord) -> str:
    result = record.transformation
    kind, reason = classification(record)
    host, url, status = (result.host, result.url, result.status) if result is not None else ("", "", "")
    return (
        f'"classification":{_text(kind)},"classification_reason":{_text(reason)},"transformed_host":{_text(host)},'
        f'"transformed_uri":{_text(readable(url.encode("utf-8", "surrogateescape")))},"request_transform_status":{_text(status)}'
    )


def stream_formatter(context: LogContext) -> Callable[[ExchangeRecord], str | None]:
    """Return the function that makes the line of a connection of a TCP or TLS listener. The names are those of NLB's log."""
    listener = context.listener
    name = listener.name or ""
    start = (
        f'{{"type":"{listener.protocol.lower()}","version":"2.0","elb":{quoted(elb_name(context.load_balancer, "net"))},'
        f'"listener":{quoted(name or listener_id(str(context.port)))},"listener_port":{context.port}'
    )

    def line(record: ExchangeRecord) -> str:
        at = context.now()
        client, tls, failure = record.client, record.client.tls, record.failure
        took = record.ended_at - record.received_at if record.received_at else 0.0
        handshake = tls.handshake_time if tls is not None else 0.0
        ended, begun = context.moments(at, at - took - handshake)
        session = tuple(
            map(
                _text,
                (tls.cipher, tls.version, tls.server_name, tls.alpn, certificate_arn(tls.certificate)) if tls is not None else ("",) * 5,
            )
        )
        return (
            f'{start},"time":"{ended}","client_ip":{_text(client.host)},"client_port":{client.port or "null"},{_target(record)},'
            f'"connection_time":{seconds(took + handshake)},"tls_handshake_time":{seconds(handshake) if tls is not None else "null"},'
            f'"received_bytes":{record.received_bytes},"sent_bytes":{record.sent_bytes},"tls_cipher":{session[0]},'
            f'"tls_protocol_version":{session[1]},"domain_name":{session[2]},"alpn_fe_protocol":{session[3]},"chosen_cert_arn":{session[4]},'
            f'"tls_connection_creation_time":"{begun}","conn_trace_id":{_text(client.conn_trace_id)},'
            f'"error_reason":{_text(failure.kind.reason if failure is not None else "")},"attempts":{record.attempts}}}'
        )

    return line

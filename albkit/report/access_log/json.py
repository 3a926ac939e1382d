"""One JSON object per line. The names of the fields are those that AWS uses for ALB's log in Athena; what did not happen is null."""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from albkit.report.access_log.context import (
    Connection,
    LogContext,
    classification,
    field_value,
    has_answer,
    is_logged,
    path_and_query,
    request_type,
    rule_priority,
)
from albkit.report.escape import readable
from albkit.report.names import certificate_arn, elb_name, group_arn, listener_id
from albkit.state.record import ExchangeRecord

__all__ = ("formatter", "stream_formatter")


class _Connection(Connection):
    """The fields of a connection."""

    __slots__ = ("ends", "starts")

    def __init__(self, context: LogContext, client: Any) -> None:
        super().__init__(context, client)
        tls = client.tls
        certificate = certificate_arn(tls.certificate) if tls is not None else ""
        self.starts = f'"client_ip":{_text(client.host)},"client_port":{client.port or "null"}'
        self.ends = (
            f'"ssl_cipher":{_text(tls.cipher if tls is not None else "")},"ssl_protocol":{_text(tls.version if tls is not None else "")},'
            f'"domain_name":{_text(tls.server_name if tls is not None else "")},"chosen_cert_arn":{_text(certificate)},'
            f'"conn_trace_id":{_text(client.conn_trace_id)},"ip_address":{_text(client.local[0] if client.local is not None else "")}'
        )


def formatter(context: LogContext) -> Callable[[ExchangeRecord], str | None]:
    """Return the function that makes the line of a record; `None` if it has none."""
    fixed_start = f'"elb":{quoted(elb_name(context.load_balancer))},"listener":{_text(context.listener.name or "")}'

    def line(record: ExchangeRecord) -> str | None:
        if not is_logged(record):
            return None
        client = record.client
        connection: _Connection = client.logged
        if connection is None or connection.context is not context:
            connection = client.logged = _Connection(context, client)
        at = context.now()
        took = record.ended_at - record.received_at if record.received_at else 0.0
        ended, begun = context.moments(at, at - took)
        failure, rule = record.failure, rule_priority(record)
        return (
            f'{{"type":"{request_type(record, connection)}","time":"{ended}",{fixed_start},{connection.starts},'
            f'{_target(record)},{_times(record)},"total_time":{took:.6f},"elb_status_code":{record.elb_status_code or "null"},'
            f'"target_status_code":{record.target_status_code or "null"},"received_bytes":{record.received_bytes},'
            f'"sent_bytes":{record.sent_bytes},{_request(record, connection)},'
            f'"matched_rule_priority":{rule if rule is not None else "null"},"request_creation_time":"{begun}",'
            f'"actions_executed":{_text(record.action)},"redirect_url":{_text(readable(record.redirect_url))},'
            f'"error_reason":{_text(failure.kind.reason if failure is not None else "")},"attempts":{record.attempts},'
            f"{_details(record)},{connection.ends}}}"
        )

    return line


def _text(value: str) -> str:
    return quoted(value) if value else "null"


def _times(record: ExchangeRecord) -> str:
    if not has_answer(record):
        return '"request_processing_time":null,"target_processing_time":null,"response_processing_time":null'
    sent, answered = record.sent_at, record.answered_at
    return (
        f'"request_processing_time":{sent - record.received_at:.6f},"target_processing_time":{answered - sent:.6f},'
        f'"response_processing_time":{(record.responded_at or record.ended_at) - answered:.6f}'
    )


def _target(record: ExchangeRecord) -> str:
    target, group = record.target, record.group
    address = '"target_ip":null,"target_port":null'
    if target is not None:
        address = (
            f'"target_ip":{quoted(readable(target.target.host.encode("utf-8", "surrogateescape")))},"target_port":{target.target.port}'
        )
    if group is None:
        return f'{address},"target_group_arn":null,"target_group":null'
    name = group.group.name
    return f'{address},"target_group_arn":{quoted(group_arn(name))},"target_group":{quoted(name)}'


def _request(record: ExchangeRecord, connection: Connection) -> str:
    request = record.request
    if request is None:
        return '"request_verb":null,"request_url":null,"request_proto":null,"user_agent":null,"trace_id":null'
    head = request.head
    path = path_and_query(request, head[: head.find(b"\r\n")].decode("latin-1")).encode("latin-1")
    host = request.host.encode("utf-8", "surrogateescape")
    url = f"{connection.origin}{readable(host)}{connection.port_part}{readable(path)}"
    version = "HTTP/2.0" if record.protocol == "HTTP/2" else "HTTP/1.0" if request.http_1_0 else "HTTP/1.1"
    agent = field_value(head, b"user-agent").encode("latin-1")
    return (
        f'"request_verb":{quoted(request.method)},"request_url":{quoted(url)},'
        f'"request_proto":"{version}","user_agent":{_text(readable(agent))},"trace_id":{_text(readable(request.trace_id))}'
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
            f'"connection_time":{took + handshake:.6f},"tls_handshake_time":{f"{handshake:.6f}" if tls is not None else "null"},'
            f'"received_bytes":{record.received_bytes},"sent_bytes":{record.sent_bytes},"tls_cipher":{session[0]},'
            f'"tls_protocol_version":{session[1]},"domain_name":{session[2]},"alpn_fe_protocol":{session[3]},"chosen_cert_arn":{session[4]},'
            f'"tls_connection_creation_time":"{begun}","conn_trace_id":{_text(client.conn_trace_id)},'
            f'"error_reason":{_text(failure.kind.reason if failure is not None else "")},"attempts":{record.attempts}}}'
        )

    return line

"""ALB's access log: 34 fields, separated by spaces (docs/alb.md 7.1)."""

from __future__ import annotations

from collections.abc import Callable

from albkit.errors import FailureKind
from albkit.model.message import ClientAddress
from albkit.report.access_log.context import (
    SAFE,
    Connection,
    LogContext,
    Timestamps,
    fixed,
    is_logged,
    milliseconds,
    path_and_query,
    processing_times,
    request_type,
    rule_priority,
)
from albkit.report.escape import escaped
from albkit.report.names import certificate_arn, elb_name, group_arn
from albkit.state.record import ExchangeRecord

__all__ = ("formatter",)


class _Connection(Connection):
    """Adds the fields about TLS."""

    __slots__ = ("certificate", "cipher")

    def __init__(self, context: LogContext, client: ClientAddress) -> None:
        super().__init__(context, client)
        tls = client.tls
        self.cipher = "- -"
        self.certificate = '"-" "-"'
        if tls is not None:
            self.cipher = f"{fixed(tls.cipher)} {fixed(tls.version)}"
            self.certificate = f'"{escaped(tls.server_name) or "-"}" "{escaped(certificate_arn(tls.certificate)) or "-"}"'


def formatter(context: LogContext) -> Callable[[ExchangeRecord], str | None]:
    """Return the function that makes the line of a record; `None` if it has none."""
    elb = elb_name(context.load_balancer)
    # The form in which ALB logs a request that it could not read.
    unread = f"{context.load_balancer}:{context.port}- "
    now = context.now
    end_time, begin_time = Timestamps().text, Timestamps().text
    target_of = context.target

    def line(record: ExchangeRecord) -> str | None:
        if not is_logged(record):
            return None
        client = record.client
        connection: _Connection = client.logged
        if connection is None or connection.context is not context:
            connection = client.logged = _Connection(context, client)
        at = now()
        begun = at - (record.ended_at - record.received_at) if record.received_at else at
        target = target_of(record.target)
        times = processing_times(record)
        seconds = f"{milliseconds(times[0])} {milliseconds(times[1])} {milliseconds(times[2])}" if times is not None else "-1 -1 -1"
        request = record.request
        if request is None:
            text, agent, trace = f"- {connection.origin}{unread}", "-", "-"
        else:
            head = request.head
            end = head.find(b"\r\n")
            first = head[:end]
            raw_trace = request.trace_id
            trace = raw_trace.decode("latin-1") or "-"
            uri = first.decode("latin-1")[len(request.method) + 1 :]
            if uri[:1] != "/" or record.protocol == "HTTP/2":
                uri = _uri(record, first)
            text = f"{request.method} {connection.origin}{request.host}{connection.port_part}{uri}"
            if (first + raw_trace).translate(None, SAFE) or not request.host.isascii():
                text, trace = escaped(text), escaped(trace)
            agent = connection.user_agent_of(head, end)
        group = record.group
        status = record.target_status_code or "-"
        rule = record.matched_rule_priority
        return (
            f"{request_type(record, connection.is_secure)} {end_time(at)} {elb} {connection.address} {target} {seconds} "
            f'{record.elb_status_code or "-"} {status} {record.received_bytes} {record.sent_bytes} "{text}" "{agent}" {connection.cipher} '
            f'{group_arn(group.group.name) if group is not None else "-"} "{trace}" {connection.certificate} '
            f'{rule if rule >= 0 else _priority(record)} {begin_time(begun)} "{record.action or "-"}" '
            f'"{escaped(record.redirect_url.decode("latin-1")) if record.redirect_url else "-"}" "-" "{target}" "{status}" '
            f"{_classification(record)} {connection.trace_id} {_transformation(record)} {connection.local}"
        )

    return line


def _uri(record: ExchangeRecord, first_line: bytes) -> str:
    """The request line behind the authority, for HTTP/2 and for targets in an unusual form."""
    request = record.request
    if request is None:
        return ""
    uri = path_and_query(request, first_line.decode("latin-1"))
    return f"{uri} {'HTTP/2.0' if record.protocol == 'HTTP/2' else 'HTTP/1.0' if request.http_1_0 else 'HTTP/1.1'}"


def _priority(record: ExchangeRecord) -> str:
    priority = rule_priority(record)
    return "-" if priority is None else str(priority)


def _classification(record: ExchangeRecord) -> str:
    """Class and reason of desync mitigation."""
    request, failure = record.request, record.failure
    if request is not None and request.classification is not None:
        kind, reason = request.classification
    elif request is None and failure is not None and failure.kind is FailureKind.REQUEST_AMBIGUOUS:
        kind, _, reason = failure.detail.partition(": ")
    else:
        return '"-" "-"'
    return f'"{escaped(kind)}" "{escaped(reason) or "-"}"'


def _transformation(record: ExchangeRecord) -> str:
    """Host, path and status of the transforms."""
    result = record.transformation
    if result is None:
        return '"-" "-" "-"'
    url = result.url.encode("utf-8", "surrogateescape").decode("latin-1")
    return f'"{escaped(result.host) or "-"}" "{escaped(url) or "-"}" "{result.status}"'

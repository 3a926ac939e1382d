"""ALB's access log: 34 fields, separated by spaces (docs/alb.md 7.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from albkit.model.message import ClientAddress, RequestHead
from albkit.report.access_log.context import (
    NUMBERS,
    STATUSES,
    Connection,
    LogContext,
    classification,
    fixed,
    keep,
    path_and_query,
    processing_times,
    request_type,
    rule_priority,
)
from albkit.report.escape import escaped
from albkit.report.names import certificate_arn, elb_name, group_arn
from albkit.state.record import ExchangeRecord

__all__ = ("formatter",)

_OUR_TRACE_ID: Final = len("Root=1-58337262-36d228ad5d99923122bbe354")


class _Connection(Connection):
    """The parts of a line that come from the connection, joined as far as they stand side by side."""

    __slots__ = ("agent", "cipher", "names", "server", "tail")

    def __init__(self, context: LogContext, client: ClientAddress) -> None:
        super().__init__(context, client)
        tls = client.tls
        self.names = f"{elb_name(context.load_balancer)} {self.address}"
        """The load balancer and the client."""
        self.cipher = "- -"
        self.server = '"-" "-"'
        """The name of the server and its certificate."""
        if tls is not None:
            self.cipher = f"{fixed(tls.cipher)} {fixed(tls.version)}"
            self.server = f'"{escaped(tls.server_name) or "-"}" "{escaped(certificate_arn(tls.certificate)) or "-"}"'
        self.tail = f'"-" "-" {self.trace_id} "-" "-" "-" {self.local}'
        """What follows the status of the target in the lines of most requests."""
        self.agent = f'"-" {self.cipher}'
        """User agent and cipher."""

    def agent_of(self, block: bytes) -> str:
        """The user agent of a request with these fields, and the cipher. The caller compares them with `block` first."""
        self.agent = f'"{self.user_agent_of(block)}" {self.cipher}'
        return self.agent


def formatter(context: LogContext) -> Callable[[ExchangeRecord], str | None]:
    """Return the function that makes the line of a record; `None` if it has none."""
    # The form in which ALB logs a request that it could not read.
    unread = f"{context.load_balancer}:{context.port}- "
    now, moments, destinations = context.now, context.moments, context.destinations
    requests: dict[bytes, str] = {}
    arns: dict[str, str] = {}

    def line(record: ExchangeRecord) -> str | None:
        # A connection that failed before a request is the matter of the connection log.
        if not record.received_at and not record.elb_status_code:
            return None
        client = record.client
        connection: _Connection = client.logged
        if connection is None or connection.context is not context:
            connection = client.logged = _Connection(context, client)
        at = now()
        ended, begun = moments(at, at - record.ended_at + record.received_at if record.received_at else at)
        request = record.request
        if request is None:
            text, agent, trace = f"- {connection.origin}{unread}", f'"-" {connection.cipher}', "-"
        else:
            head = request.head
            end = head.find(b"\r\n")
            block, first = head[end:], head[:end]
            agent = connection.agent if block == connection.block else connection.agent_of(block)
            base = connection.base if request.host == connection.host else connection.base_of(request.host)
            uri = requests.get(first)
            if uri is None or record.protocol == "HTTP/2":
                uri = _uri(request, first, record.protocol, requests)
            text = f"{request.method} {base}{uri}"
            trace_id = request.trace_id
            # An id that was extended is longer, and one that the client sent has not been sent to a target.
            is_ours = len(trace_id) == _OUR_TRACE_ID and record.sent_at and trace_id[:5] == b"Root="
            trace = trace_id.decode() if is_ours else escaped(trace_id.decode("latin-1")) or "-"
        target, group = record.target, record.group
        address = destinations.get(target.address) or context.target(target) if target is not None else "-"
        status = STATUSES[record.target_status_code]
        rule = record.matched_rule_priority
        usual = record.failure is None and record.transformation is None and (request is None or request.classification is None)
        arn = "-"
        if group is not None:
            name = group.group.name
            arn = arns.get(name) or arns.setdefault(name, group_arn(name))
        redirect = f'"{escaped(record.redirect_url.decode("latin-1"))}" "-"' if record.redirect_url else '"-" "-"'
        is_usual_type = record.protocol == "HTTP/1.1" and record.target_status_code != 101
        kind = connection.kind if is_usual_type else request_type(record, connection)
        received, sent = record.received_bytes, record.sent_bytes
        # Two pieces, because CPython joins up to 30 parts of an f-string faster than more (STACK_USE_GUIDELINE of its compiler).
        begins = (
            f"{kind} {ended} {connection.names} {address} {processing_times(record)} {STATUSES[record.elb_status_code]} {status} "
            f'{NUMBERS[received] if received < 1000 else received} {NUMBERS[sent] if sent < 1000 else sent} "{text}" '
        )
        return (
            f'{begins}{agent} {arn} "{trace}" {connection.server} {rule if rule >= 0 else _priority(record)} {begun} '
            f'"{record.action or "-"}" {redirect} "{address}" "{status}" {connection.tail if usual else _tail(record, connection)}'
        )

    return line


def _uri(request: RequestHead, first: bytes, protocol: str, cache: dict[bytes, str]) -> str:
    """What follows the authority in the `request` field."""
    uri = first[len(request.method) + 1 :].decode("latin-1")
    if uri[:1] != "/" or protocol == "HTTP/2":
        version = "HTTP/2.0" if protocol == "HTTP/2" else "HTTP/1.0" if request.http_1_0 else "HTTP/1.1"
        return escaped(f"{path_and_query(request, first.decode('latin-1'))} {version}")
    uri = escaped(uri)
    keep(cache, first, uri)
    return uri


def _priority(record: ExchangeRecord) -> str:
    priority = rule_priority(record)
    return "-" if priority is None else str(priority)


def _tail(record: ExchangeRecord, connection: _Connection) -> str:
    """The fields behind the status of the target."""
    result = record.transformation
    host = url = status = ""
    kind, reason = classification(record)
    if result is not None:
        host, status = result.host, result.status
        url = result.url.encode("utf-8", "surrogateescape").decode("latin-1")
    quoted = [f'"{escaped(value) or "-"}"' for value in (kind, reason, host, url, status)]
    return f"{quoted[0]} {quoted[1]} {connection.trace_id} {quoted[2]} {quoted[3]} {quoted[4]} {connection.local}"

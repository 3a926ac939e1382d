"""The formats of the connection log: ALB's, and JSON (docs/alb.md 7.2)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from albkit.errors import Failure, FailureKind
from albkit.model.listener_settings import ListenerSettings
from albkit.report.access_log.context import fixed
from albkit.report.escape import escaped
from albkit.report.log_throttle import LogThrottle
from albkit.report.names import elb_name
from albkit.report.timestamp import timestamp
from albkit.state.connection_record import ConnectionRecord

__all__ = ("FORMATS", "connection_log_for")

_log = logging.getLogger("albkit")
_throttle = LogThrottle()

_UNMAPPED: Final = frozenset(
    (
        FailureKind.TLS_HANDSHAKE_FAILED,
        FailureKind.TLS_HANDSHAKE_TIMEOUT,
        FailureKind.PLAIN_HTTP_ON_TLS_PORT,
        FailureKind.CLIENT_CLOSED,
        FailureKind.STOPPED,
    )
)
"""Failures of handshakes for which ALB has no code. ALB has no limits of connections and no PROXY protocol, so the failures of these have
codes of our own."""


class _Fields:
    """The values of one line that both formats need. Text that is not known is empty."""

    __slots__ = ("cipher", "latency", "serial", "status", "subject", "validity", "version")

    def __init__(self, record: ConnectionRecord, is_secure: bool) -> None:
        tls, failure = record.tls, record.failure
        certificate = tls.client_certificate if tls is not None else None
        self.version = tls.version if tls is not None else ""
        self.cipher = tls.cipher if tls is not None else ""
        self.latency = tls.handshake_time if tls is not None and is_secure and failure is None else None
        self.subject = certificate.subject if certificate is not None else ""
        self.serial = certificate.serial_number if certificate is not None else ""
        self.validity = ""
        if certificate is not None and (certificate.not_before or certificate.not_after):
            self.validity = f"NotBefore={certificate.not_before};NotAfter={certificate.not_after}"
        self.status = _status(failure) if failure is not None else "Success" if is_secure else ""


def _status(failure: Failure) -> str:
    kind = FailureKind.UNMAPPED_CONNECTION_ERROR if failure.kind in _UNMAPPED else failure.kind
    return f"Failed:{kind.reason}"


Format = Callable[[ConnectionRecord], str]


def _alb(load_balancer: str, listener: ListenerSettings, port: int) -> Format:
    """15 fields, separated by spaces. Only the subject is quoted, also if it is `-`: readers of ALB's log rely on it."""
    elb = elb_name(load_balancer, "net" if listener.is_stream else "app")
    is_secure = listener.is_secure

    def line(record: ConnectionRecord) -> str:
        fields = _Fields(record, is_secure)
        client = record.client
        latency = f"{fields.latency:.3f}" if fields.latency is not None else "-"
        subject = escaped(_as_bytes(fields.subject)) or "-"
        return (
            f"{timestamp(record.at)} {fixed(client.host)} {client.port} {port} {fixed(fields.version)} {fixed(fields.cipher)} {latency} "
            f'"{subject}" {fixed(fields.validity)} {fixed(fields.serial)} {fields.status or "-"} {client.conn_trace_id or "-"} '
            f"{record.key_exchange or '-'} {elb} {fixed(record.local)}"
        )

    return line


def _json(load_balancer: str, listener: ListenerSettings, port: int) -> Format:
    """One object per line, with ALB's names of the fields. What is not known is null."""
    elb = quoted(elb_name(load_balancer, "net" if listener.is_stream else "app"))
    name = _text(listener.name or "")
    is_secure = listener.is_secure

    def line(record: ConnectionRecord) -> str:
        fields = _Fields(record, is_secure)
        client, tls, failure = record.client, record.tls, record.failure
        latency = f"{fields.latency:.6f}" if fields.latency is not None else "null"
        return (
            f'{{"time":"{timestamp(record.at)}","client_ip":{_text(client.host)},"client_port":{client.port or "null"},'
            f'"listener_port":{port},"listener":{name},"tls_protocol":{_text(fields.version)},"tls_cipher":{_text(fields.cipher)},'
            f'"tls_handshake_latency":{latency},"leaf_client_cert_subject":{_text(fields.subject)},'
            f'"leaf_client_cert_validity":{_text(fields.validity)},"leaf_client_cert_serial_number":{_text(fields.serial)},'
            f'"tls_verify_status":{_text(fields.status)},"conn_trace_id":{_text(client.conn_trace_id)},'
            f'"tls_keyexchange":{_text(record.key_exchange)},"domain_name":{_text(tls.server_name if tls is not None else "")},'
            f'"error_reason":{_text(failure.kind.reason if failure is not None else "")},'
            f'"error_detail":{_text(failure.detail if failure is not None else "")},"elb":{elb},"ip_address":{_text(record.local)}}}'
        )

    return line


def _text(value: str) -> str:
    return quoted(value) if value else "null"


def _as_bytes(text: str) -> str:
    """UTF-8 as latin-1, so that `escaped` shows the same bytes for every character, those below U+0100 included."""
    return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("latin-1")


FORMATS: Final[dict[str, Callable[[str, ListenerSettings, int], Format]]] = {"alb": _alb, "json": _json}


def connection_log_for(
    name: str, write: Callable[[str], None], load_balancer: str, listener: ListenerSettings, port: int
) -> Callable[[ConnectionRecord], None]:
    """Return a function that logs the connections of a listener. It never raises.

    Args:
        name: A name of `FORMATS`.
        write: Writes a line.
        load_balancer: The name of the load balancer.
        listener: The listener.
        port: Its open port.
    """
    format_line = FORMATS[name](load_balancer, listener, port)

    def log(record: ConnectionRecord) -> None:
        try:
            write(format_line(record))
        except Exception:  # noqa: BLE001 - whatever is wrong with one line, the connection must go on
            if _throttle.may_say():
                fields = {"albkit_event": "internal_error"}
                _log.exception("a line of the connection log could not be written%s", _throttle.also(), extra=fields)

    return log

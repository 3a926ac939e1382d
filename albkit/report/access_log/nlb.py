"""NLB's access log, for TCP and TLS listeners: 22 fields, separated by spaces (docs/alb.md 7.1)."""

from __future__ import annotations

import time
from collections.abc import Callable

from albkit.report.access_log.context import Connection, LogContext, fixed
from albkit.report.names import certificate_arn, elb_name, listener_id
from albkit.state.record import ExchangeRecord

__all__ = ("formatter",)


def formatter(context: LogContext) -> Callable[[ExchangeRecord], str | None]:
    """Return the function that makes the line of a record."""
    listener = context.listener
    kind = listener.protocol.lower()
    elb = elb_name(context.load_balancer, "net")
    name = listener_id(listener.name or str(context.port))
    target_of = context.target

    def line(record: ExchangeRecord) -> str:
        at = context.now()
        client, tls = record.client, record.client.tls
        lasted = record.ended_at - record.received_at if record.received_at else 0.0
        handshake = "-"
        alpn = domain = certificate = cipher = version = "-"
        if tls is not None:
            lasted += tls.handshake_time
            handshake = str(round(tls.handshake_time * 1000))
            cipher, version = fixed(tls.cipher), fixed(tls.version.lower().replace(".", ""))
            domain, alpn = fixed(tls.server_name), fixed(tls.alpn)
            certificate = fixed(certificate_arn(tls.certificate))
        return (
            f"{kind} 2.0 {_time(at)} {elb} {name} {Connection(context, client).address} {target_of(record.target)} "
            f"{round(lasted * 1000)} {handshake} {record.received_bytes} {record.sent_bytes} - {certificate} - {cipher} {version} - "
            f"{domain} {alpn} - - {_time(at - lasted)}"
        )

    return line


def _time(moment: float) -> str:
    """NLB's times have no fraction, and are UTC without saying so."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))

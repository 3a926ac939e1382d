"""The combined log format of Apache and nginx. The size is that of the whole response, its head included."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from albkit.model.message import ClientAddress
from albkit.report.access_log.context import (
    STATUSES,
    Connection,
    LogContext,
    field_value,
    fixed,
    http_version,
    is_logged,
    keep,
    path_and_query,
)
from albkit.report.escape import escaped
from albkit.state.record import ExchangeRecord

__all__ = ("formatter",)

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class _Connection(Connection):
    """Keeps what the fields of the last request say."""

    __slots__ = ("client", "fields")

    def __init__(self, context: LogContext, client: ClientAddress) -> None:
        super().__init__(context, client)
        self.client = fixed(client.host)
        self.fields = ""
        """Referer and user agent of the last request."""

    def fields_of(self, block: bytes) -> str:
        """Referer and user agent of a request with these fields. The caller compares them with `block` first."""
        self.fields = f'"{escaped(field_value(block, b"referer")) or "-"}" "{self.user_agent_of(block)}"'
        return self.fields


def formatter(context: LogContext) -> Callable[[ExchangeRecord], str | None]:
    """Return the function that makes the line of a record; `None` if it has none."""
    is_stream = context.listener.is_stream
    now = context.now
    requests: dict[bytes, str] = {}
    last_second = -1
    text = ""

    def line(record: ExchangeRecord) -> str | None:
        nonlocal last_second, text
        if not is_stream and not is_logged(record):
            return None
        client = record.client
        connection: _Connection = client.logged
        if connection is None or connection.context is not context:
            connection = client.logged = _Connection(context, client)
        second = int(now())
        if second != last_second:
            last_second, text = second, _time(second)
        request = record.request
        if request is None or not request.method:
            sent, fields = "-", '"-" "-"'
        else:
            head = request.head
            end = head.find(b"\r\n")
            block, first = head[end:], head[:end]
            fields = connection.fields if block == connection.block else connection.fields_of(block)
            known = requests.get(first)
            if known is None or record.protocol == "HTTP/2":
                sent = escaped(f"{request.method} {path_and_query(request, first.decode('latin-1'))} {http_version(record, request)}")
                # The same line means the same in each request of HTTP/1.1.
                if record.protocol != "HTTP/2":
                    keep(requests, first, sent)
            else:
                sent = known
        # nginx writes 000 if it could send no status.
        status = STATUSES[record.elb_status_code] if record.elb_status_code else "000"
        return f'{connection.client} - - [{text}] "{sent}" {status} {record.sent_bytes} {fields}'

    return line


def _time(second: int) -> str:
    """`strftime` would use the program's locale for the month."""
    year, month, day, hour, minute, seconds, *_ = time.gmtime(second)
    return f"{day:02}/{_MONTHS[month - 1]}/{year:04}:{hour:02}:{minute:02}:{seconds:02} +0000"

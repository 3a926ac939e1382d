"""The combined log format of Apache and nginx. The size is that of the whole response, its head included."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from albkit.report.access_log.context import LogContext, field_value, fixed, is_logged, path_and_query
from albkit.report.escape import escaped
from albkit.state.record import ExchangeRecord

__all__ = ("formatter",)

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def formatter(context: LogContext) -> Callable[[ExchangeRecord], str | None]:
    """Return the function that makes the line of a record; `None` if it has none."""
    is_stream = context.listener.is_stream
    last_second = -1
    text = ""

    def line(record: ExchangeRecord) -> str | None:
        nonlocal last_second, text
        if not is_stream and not is_logged(record):
            return None
        second = int(context.now())
        if second != last_second:
            last_second, text = second, _time(second)
        request, sent, referer, agent = record.request, "-", "-", "-"
        if request is not None and request.method:
            head = request.head
            end = head.find(b"\r\n")
            first = head[:end].decode("latin-1")
            version = "HTTP/2.0" if record.protocol == "HTTP/2" else "HTTP/1.0" if request.http_1_0 else "HTTP/1.1"
            sent = escaped(f"{request.method} {path_and_query(request, first)} {version}")
            referer = escaped(field_value(head, b"referer")) or "-"
            agent = escaped(field_value(head, b"user-agent")) or "-"
        # nginx writes 000 if it could send no status.
        return (
            f'{fixed(record.client.host)} - - [{text}] "{sent}" {record.elb_status_code or "000"} {record.sent_bytes} "{referer}" "{agent}"'
        )

    return line


def _time(second: int) -> str:
    """`strftime` would use the program's locale for the month."""
    year, month, day, hour, minute, seconds, *_ = time.gmtime(second)
    return f"{day:02}/{_MONTHS[month - 1]}/{year:04}:{hour:02}:{minute:02}:{seconds:02} +0000"

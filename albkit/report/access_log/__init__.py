"""The formats of the access log, one file each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from albkit.clock import Clock
from albkit.model.listener_settings import ListenerSettings
from albkit.report.access_log import alb, combined, json, nlb
from albkit.report.access_log.context import Format, LogContext
from albkit.report.log_throttle import LogThrottle
from albkit.state.record import ExchangeRecord

__all__ = ("FORMATS", "access_log_for")

_log = logging.getLogger("albkit")
_throttle = LogThrottle()

FORMATS: Final[dict[str, tuple[Format, Format]]] = {
    "alb": (alb.formatter, nlb.formatter),
    "json": (json.formatter, json.stream_formatter),
    "combined": (combined.formatter, combined.formatter),
}
"""By name of the format: for HTTP and HTTPS listeners, and for TCP and TLS listeners."""


def access_log_for(
    name: str, write: Callable[[str], None], load_balancer: str, listener: ListenerSettings, port: int, clock: Clock
) -> Callable[[ExchangeRecord], None]:
    """Return a function that logs what ends on a listener. It never raises.

    Args:
        name: A name of `FORMATS`.
        write: Writes a line.
        load_balancer: The name of the load balancer.
        listener: The listener.
        port: Its open port.
        clock: The source of time.
    """
    format_line = FORMATS[name][listener.is_stream](LogContext(load_balancer, listener, port, clock))

    def log(record: ExchangeRecord) -> None:
        try:
            line = format_line(record)
            if line is not None:
                write(line)
        except Exception:  # noqa: BLE001 - whatever is wrong with one line, the exchange must end
            if _throttle.may_say():
                fields = {"albkit_event": "internal_error"}
                _log.exception("a line of the access log could not be written%s", _throttle.also(), extra=fields)

    return log

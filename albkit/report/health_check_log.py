"""The formats of the health check log: ALB's, and JSON (docs/alb.md 7.3)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from albkit.report.access_log.context import fixed
from albkit.report.log_throttle import LogThrottle
from albkit.report.names import elb_name
from albkit.report.timestamp import timestamp
from albkit.state.health_check_record import HealthCheckRecord

__all__ = ("FORMATS", "health_check_log_for")

_log = logging.getLogger("albkit")
_throttle = LogThrottle()

Format = Callable[[HealthCheckRecord], str]


def _alb(load_balancer: str) -> Format:
    """10 fields, separated by spaces."""
    elb = elb_name(load_balancer)

    def line(record: HealthCheckRecord) -> str:
        result = record.result
        return (
            f"{record.kind} {timestamp(result.at)} {max(result.seconds, 0.0):.9f} {fixed(record.target)} {record.group} "
            f"{'PASS' if result.passed else 'FAIL'} {result.status if result.status is not None else '-'} {record.failure or '-'} "
            f"{elb} {fixed(record.local)}"
        )

    return line


def _json(load_balancer: str) -> Format:
    """One object per line, with ALB's names of the fields. What is not known is null."""
    elb = quoted(elb_name(load_balancer))

    def line(record: HealthCheckRecord) -> str:
        result = record.result
        status = "PASS" if result.passed else "FAIL"
        return (
            f'{{"type":"{record.kind}","time":"{timestamp(result.at)}","latency":{max(result.seconds, 0.0):.9f},'
            f'"target_addr":{quoted(record.target)},"target_group_id":{quoted(record.group)},"status":"{status}",'
            f'"status_code":{result.status if result.status is not None else "null"},"reason_code":{_text(record.failure)},'
            f'"reason":{_text(result.reason)},"elb":{elb},"ip_address":{_text(record.local)}}}'
        )

    return line


def _text(value: str) -> str:
    return quoted(value) if value else "null"


FORMATS: Final[dict[str, Callable[[str], Format]]] = {"alb": _alb, "json": _json}


def health_check_log_for(name: str, write: Callable[[str], None], load_balancer: str) -> Callable[[HealthCheckRecord], None]:
    """Return a function that logs the results of health checks. It never raises.

    Args:
        name: A name of `FORMATS`.
        write: Writes a line.
        load_balancer: The name of the load balancer.
    """
    format_line = FORMATS[name](load_balancer)

    def log(record: HealthCheckRecord) -> None:
        try:
            write(format_line(record))
        except Exception:  # noqa: BLE001 - whatever is wrong with one line, the checks must go on
            if _throttle.may_say():
                fields = {"albkit_event": "internal_error"}
                _log.exception("a line of the health check log could not be written%s", _throttle.also(), extra=fields)

    return log

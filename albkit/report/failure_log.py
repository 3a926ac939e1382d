"""One line per failure, on the logger `albkit`."""

from __future__ import annotations

import logging

from albkit.errors import FailureKind, Side
from albkit.report.log_throttle import LogThrottle
from albkit.state.record import ExchangeRecord

__all__ = ("log_failure", "log_out_of_sockets")

_log = logging.getLogger("albkit")
_LONGEST = 200
_out_of_sockets = LogThrottle()
"""Descriptors are the process's, so all that tells of them shares one line a second."""


def log_failure(record: ExchangeRecord) -> None:
    """Tell of the failure of one exchange: clients' at INFO, all others at WARNING; those for want of sockets once a second."""
    failure = record.failure
    if failure is None:
        return
    kind = failure.kind
    level = logging.INFO if kind.side is Side.CLIENT else logging.WARNING
    if not _log.isEnabledFor(level):
        return
    detail = failure.detail
    if kind is FailureKind.OUT_OF_SOCKETS:
        if not _out_of_sockets.may_say():
            return
        detail += _out_of_sockets.also()
    request = record.request
    _log.log(
        level,
        "%s: %s; phase=%s side=%s status=%s client=%s target=%s group=%s rule=%s attempts=%d request=%s detail=%s",
        kind.reason,
        kind.sentence,
        kind.phase.value,
        kind.side.value,
        record.elb_status_code or "-",
        record.client,
        record.target.address if record.target is not None else "-",
        record.group.group.name if record.group is not None else "-",
        record.matched_rule_priority,
        record.attempts,
        ascii(f"{request.method} {request.path}"[:_LONGEST]) if request is not None and request.method else "-",
        ascii(detail)[1:-1] or "-",
    )


def log_out_of_sockets(words: str, *arguments: object) -> None:
    """Tell that file descriptors run short, in one line a second at most: clients can bring that about as often as they like."""
    if _out_of_sockets.may_say():
        _log.warning("out of file descriptors: " + words + "%s", *arguments, _out_of_sockets.also())

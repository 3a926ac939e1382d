"""One line per failure, on the logger `albkit`."""

from __future__ import annotations

import logging

from albkit.errors import Side
from albkit.model.record import ExchangeRecord

__all__ = ("log_failure",)

_log = logging.getLogger("albkit")
_LONGEST = 200


def log_failure(record: ExchangeRecord) -> None:
    """Tell of the failure of one exchange: clients' at INFO, all others at WARNING."""
    failure = record.failure
    if failure is None:
        return
    kind = failure.kind
    level = logging.INFO if kind.side is Side.CLIENT else logging.WARNING
    if not _log.isEnabledFor(level):
        return
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
        record.target or "-",
        record.group or "-",
        record.matched_rule_priority,
        record.attempts,
        ascii(f"{request.method} {request.path}"[:_LONGEST]) if request is not None and request.method else "-",
        ascii(failure.detail)[1:-1] or "-",
    )

"""Writes one line per failure to the logger `albkit`."""

from __future__ import annotations

import logging

from albkit.errors import FailureKind, Side, escaped
from albkit.report.log_throttle import LogThrottle
from albkit.state.record import ExchangeRecord

__all__ = ("log_failure", "log_out_of_sockets")

_log = logging.getLogger("albkit")
_LONGEST = 200
_out_of_sockets = LogThrottle()
"""File descriptors belong to the whole process, so all messages about them share one line per second."""


def log_failure(record: ExchangeRecord) -> None:
    """Log the failure of an exchange: at INFO if the client caused it, otherwise at WARNING; at most one line per second if sockets ran
    out."""
    failure = record.failure
    if failure is None:
        return
    kind = failure.kind
    # Clients can cause any number of failures, which must not bury the warnings.
    level = logging.INFO if kind.side is Side.CLIENT else logging.WARNING
    if not _log.isEnabledFor(level):
        return
    detail = failure.detail
    if kind is FailureKind.OUT_OF_SOCKETS:
        if not _out_of_sockets.may_say():
            return
        detail += _out_of_sockets.also()
    request = record.request
    # A field is always of the same type, or `None`: systems that index logs reject lines otherwise.
    client, target, group = str(record.client), record.target, record.group
    fields = {
        "albkit_event": "exchange_failed",
        "albkit_reason": kind.reason,
        "albkit_phase": kind.phase.value,
        "albkit_side": kind.side.value,
        "albkit_status": record.elb_status_code or None,
        "albkit_target_status": record.target_status_code or None,
        "albkit_client": client,
        "albkit_listener": str(record.listener.listener.name or record.listener.port) if record.listener is not None else None,
        "albkit_target": target.address if target is not None else None,
        "albkit_group": group.group.name if group is not None else None,
        "albkit_rule": record.matched_rule_priority if record.matched_rule_priority >= 0 else None,
        "albkit_attempts": record.attempts,
        "albkit_method": escaped(request.method) if request is not None else None,
        "albkit_path": escaped(request.path) if request is not None else None,
        "albkit_trace_id": escaped(request.trace_id.decode("latin-1")) if request is not None else None,
        "albkit_detail": escaped(detail),
    }
    _log.log(
        level,
        "%s: %s; phase=%s side=%s status=%s client=%s target=%s group=%s rule=%s attempts=%d request=%s detail=%s",
        kind.reason,
        kind.sentence,
        kind.phase.value,
        kind.side.value,
        record.elb_status_code or "-",
        client,
        target.address if target is not None else "-",
        group.group.name if group is not None else "-",
        record.matched_rule_priority,
        record.attempts,
        # ascii() escapes line breaks and control characters, so that a client cannot forge log lines.
        ascii(f"{request.method} {request.path}"[:_LONGEST]) if request is not None and request.method else "-",
        ascii(detail)[1:-1] or "-",
        extra=fields,
    )


def log_out_of_sockets(words: str, *arguments: object) -> None:
    """Log that file descriptors are running out, at most once per second, because clients can cause this as often as they like."""
    if _out_of_sockets.may_say():
        fields = {"albkit_event": "out_of_file_descriptors"}
        _log.warning("out of file descriptors: " + words + "%s", *arguments, _out_of_sockets.also(), extra=fields)

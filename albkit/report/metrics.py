"""Counts an exchange when it is over (docs/alb.md 8)."""

from __future__ import annotations

from albkit.errors import FailureKind
from albkit.model.record import ExchangeRecord
from albkit.state.counters import Counters

__all__ = ("count_exchange",)


_NON_COMPLIANT = frozenset(
    (
        FailureKind.REQUEST_MALFORMED,
        FailureKind.REQUEST_BARE_LF,
        FailureKind.REQUEST_AMBIGUOUS,
        FailureKind.REQUEST_HOST_INVALID,
        FailureKind.REQUEST_VERSION_UNSUPPORTED,
        FailureKind.REQUEST_TRANSFER_CODING_UNSUPPORTED,
    ),
)
"""Requests that are refused because of what their heads say; they have no classification any more."""


def count_exchange(record: ExchangeRecord, counters: Counters) -> None:
    """Add one finished exchange to the counters."""
    counters.processed_bytes += record.received_bytes + record.sent_bytes
    status = record.target_status_code
    if status:
        if status < 300:
            counters.target_2xx += status >= 200
        elif status < 400:
            counters.target_3xx += 1
        elif status < 500:
            counters.target_4xx += 1
        else:
            counters.target_5xx += 1
    elif 300 <= record.elb_status_code < 400:
        counters.elb_3xx += 1
    request = record.request
    if request is not None:
        if request.classification is not None:
            counters.desync_non_compliant += 1
        if request.irregular_names:
            if request.dropped_names:
                counters.dropped_invalid_headers += 1
            else:
                counters.forwarded_invalid_headers += 1
    if record.failure is not None:
        kind = record.failure.kind
        counters.failures[kind] += 1
        counters.desync_non_compliant += kind in _NON_COMPLIANT
        counters.redirect_url_limit_exceeded += kind is FailureKind.REDIRECT_TOO_LONG
        if not status or record.elb_status_code == kind.status:
            # Else it failed in mid-response, and what the client was told is the target's.
            _count_status(record.elb_status_code, counters)


def _count_status(status: int, counters: Counters) -> None:
    if 400 <= status < 500:
        counters.elb_4xx += 1
    elif status >= 500:
        counters.elb_5xx += 1
        if status == 500:
            counters.elb_500 += 1
        elif status == 502:
            counters.elb_502 += 1
        elif status == 503:
            counters.elb_503 += 1
        elif status == 504:
            counters.elb_504 += 1

"""Reports failures to the callbacks of `LoadBalancer.on_failure`."""

from __future__ import annotations

from collections.abc import Callable

from albkit.clock import Clock
from albkit.errors import escaped
from albkit.model.descriptions import FailureDescription
from albkit.state.record import ExchangeRecord

__all__ = ("reporter",)

_LONGEST = 200


def reporter(callback: Callable[[FailureDescription], object], clock: Clock) -> Callable[[ExchangeRecord], None]:
    """Return an observer that calls `callback` with a description of each failure."""

    def report(record: ExchangeRecord) -> None:
        if record.failure is not None:
            callback(_described(record, clock.time()))

    return report


def _described(record: ExchangeRecord, at: float) -> FailureDescription:
    failure = record.failure
    if failure is None:
        raise TypeError("a record without a failure")
    kind, request, listener = failure.kind, record.request, record.listener
    return FailureDescription(
        at=at,
        reason=kind.reason,
        sentence=kind.sentence,
        phase=kind.phase.value,
        side=kind.side.value,
        status=record.elb_status_code,
        client=str(record.client),
        listener=(listener.listener.name or str(listener.port)) if listener is not None else None,
        group=record.group.group.name if record.group is not None else None,
        target=record.target.address if record.target is not None else None,
        rule=record.matched_rule_priority if record.matched_rule_priority >= 0 else None,
        request=escaped(f"{request.method} {request.path}"[:_LONGEST]) if request is not None and request.method else "",
        detail=escaped(failure.detail[:_LONGEST]),
    )

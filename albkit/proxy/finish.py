"""The common end of everything a client starts: exchanges, tunnels, layer 4 connections and rejected connections.

Put here what must happen for all of them, such as a line in an access log. No other module counts or logs an ending.
"""

from __future__ import annotations

from albkit.proxy.runtime import Runtime
from albkit.report.failure_log import log_failure
from albkit.state.record import ExchangeRecord

__all__ = ("finish",)


def finish(record: ExchangeRecord, runtime: Runtime) -> None:
    """Log and count what has ended, and tell those who want to know. Call this once per record, after its last change."""
    record.ended_at = runtime.clock.monotonic()
    if record.failure is not None:
        log_failure(record)
    record.count(runtime.counters)
    listener = record.listener
    if listener is not None and listener.access_log is not None:
        listener.access_log(record)
    if record.trace is not None:
        record.trace.ended(record)
    if runtime.ended is not None:
        runtime.ended(record)

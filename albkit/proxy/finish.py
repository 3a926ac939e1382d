"""The one end of all that clients begin: exchanges, tunnels, layer 4 connections, and connections that are turned away.

What is to be known of each of them when it is over, be it counted, logged or told to a program, is done here, and nowhere else.
"""

from __future__ import annotations

from albkit.proxy.runtime import Runtime
from albkit.report.failure_log import log_failure
from albkit.state.record import ExchangeRecord

__all__ = ("finish",)


def finish(record: ExchangeRecord, runtime: Runtime) -> None:
    """Count and log what is over. To be called once for each record, when nothing is added to it any more."""
    record.ended_at = runtime.clock.monotonic()
    if record.failure is not None:
        log_failure(record)
    record.count(runtime.counters)

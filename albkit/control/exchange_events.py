"""Turns the records of exchanges, tunnels and connections that have ended into events, if a subscriber wants them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from albkit.clock import Clock
from albkit.control.announcer import Announcer
from albkit.control.observers import Observers
from albkit.model.events import TRAFFIC, ConnectionFailed, ExchangeFinished, FailedAttempt, TunnelClosed
from albkit.state.record import ExchangeRecord

__all__ = ("ExchangeEvents",)

_SHARED = [field.name for field in attrs.fields(ExchangeFinished)]


class ExchangeEvents:
    """Observes what ends, but only while the announcer has subscribers for it.

    Args:
        announcer: Has the subscribers, and reports each change of them.
        observers: Provide the records.
        clock: The source of time.
    """

    def __init__(self, announcer: Announcer, observers: Observers, clock: Clock) -> None:
        self._announcer = announcer
        self._observers = observers
        self._clock = clock
        self._remove: Callable[[], None] | None = None
        announcer.on_change = self._subscribers_changed

    def _subscribers_changed(self) -> None:
        wanted = any(self._announcer.subscribers_of(kind) for kind in TRAFFIC)
        if wanted and self._remove is None:
            self._remove = self._observers.add(self._ended)
        elif not wanted and self._remove is not None:
            self._remove()
            self._remove = None

    def _ended(self, record: ExchangeRecord) -> None:
        build: Callable[[ExchangeRecord, Clock], Any]
        kind: type[Any]
        if record.received_at:
            # Only connections of TCP and TLS listeners have no protocol then.
            build, kind = (_exchange, ExchangeFinished) if record.tunnel is None and record.protocol else (_tunnel, TunnelClosed)
        else:
            build, kind = (_exchange, ExchangeFinished) if record.elb_status_code else (_connection, ConnectionFailed)
        subscribers = self._announcer.subscribers_of(kind)
        if subscribers:
            self._announcer.deliver(build(record, self._clock), subscribers)


def _exchange(record: ExchangeRecord, clock: Clock) -> ExchangeFinished:
    listener, request, failure, group, target = record.listener, record.request, record.failure, record.group, record.target
    received, sent, answered, ended = record.received_at, record.sent_at, record.answered_at, record.ended_at
    # `proxy.finish` has just set `ended_at`, so that moment is now.
    now = clock.time()
    # After a retry, `answered_at` may be the time of an earlier attempt.
    is_answered = 0.0 < sent <= answered
    # By position, in the order of the class: with keywords, the call takes four times as long.
    return ExchangeFinished(
        listener.listener.name if listener is not None else None,
        listener.port if listener is not None else 0,
        record.protocol,
        record.client,
        request.method if request is not None else "",
        request.host if request is not None else "",
        request.path if request is not None else "",
        request.query_string if request is not None else "",
        request.trace_id.decode("latin-1") if request is not None else "",
        record.matched_rule_priority if record.matched_rule_priority >= 0 else None,
        record.action,
        group.group.name if group is not None else None,
        target.target if target is not None else None,
        record.elb_status_code,
        record.target_status_code,
        now - (ended - received) if received else None,
        now,
        ended - received if received else 0.0,
        sent - received if sent else None,
        answered - sent if is_answered else None,
        (record.responded_at or ended) - answered if is_answered else None,
        record.received_bytes,
        record.sent_bytes,
        record.attempts,
        _failed_attempts(record) if record.failed_attempts else (),
        failure.kind.reason if failure is not None else None,
        failure.kind.side.value if failure is not None else None,
        failure.detail if failure is not None else "",
    )


def _failed_attempts(record: ExchangeRecord) -> tuple[FailedAttempt, ...]:
    return tuple(FailedAttempt(member.target, failure.kind.reason, failure.detail) for member, failure in record.failed_attempts or ())


def _tunnel(record: ExchangeRecord, clock: Clock) -> TunnelClosed:
    exchange = _exchange(record, clock)
    # Not `attrs.asdict`, which would also take the target apart.
    shared = {name: getattr(exchange, name) for name in _SHARED}
    tunnel = record.tunnel
    if tunnel is None:
        # A connection of a TCP or TLS listener that got no target.
        protocol = record.listener.listener.protocol.lower() if record.listener is not None else ""
        return TunnelClosed(**shared, id=0, tunnel_protocol=protocol, end=None, close_code=None, frames_in=None, frames_out=None)
    # The response of a tunnel has no end of its own.
    return TunnelClosed(
        **shared | {"duration": tunnel.duration, "response_processing_time": None},
        id=tunnel.id,
        tunnel_protocol=tunnel.protocol,
        end=tunnel.end,
        close_code=tunnel.close_code,
        frames_in=tunnel.frames_in,
        frames_out=tunnel.frames_out,
    )


def _connection(record: ExchangeRecord, clock: Clock) -> ConnectionFailed:
    listener, failure = record.listener, record.failure
    return ConnectionFailed(
        listener=listener.listener.name if listener is not None else None,
        port=listener.port if listener is not None else 0,
        protocol=record.protocol,
        client=record.client,
        ended_at=clock.time(),
        error_reason=failure.kind.reason if failure is not None else "",
        error_side=failure.kind.side.value if failure is not None else "",
        error_detail=failure.detail if failure is not None else "",
    )

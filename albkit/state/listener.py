"""The state of one listener."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from albkit.model.listener_settings import ListenerSettings
from albkit.state.metrics import LISTENER_METRICS

if TYPE_CHECKING:
    from albkit.state.connection_record import ConnectionRecord

__all__ = ("ListenerCounters", "ListenerState")


# Slots and plain integers, as in `TrafficCounters`.
@attrs.define(eq=False, weakref_slot=False)
class ListenerCounters:
    """The metrics of one listener: what its clients send, and what they receive, from a target or from the load balancer itself."""

    exchanges: int = 0
    processed_bytes: int = 0
    responses_2xx: int = 0
    responses_3xx: int = 0
    responses_4xx: int = 0
    responses_5xx: int = 0
    active_connections: int = 0
    new_connections: int = 0
    rejected_connections: int = 0

    def connection_opened(self) -> None:
        """A connection was admitted. Call `connection_closed` when it ends."""
        self.active_connections += 1
        self.new_connections += 1

    def connection_closed(self) -> None:
        """A connection that was admitted was closed."""
        self.active_connections -= 1

    def connection_rejected(self) -> None:
        """A connection was closed right after it was accepted, because of a limit."""
        self.rejected_connections += 1

    def exchange_ended(self, size: int, status: int) -> None:
        """An exchange, a tunnel or a rejected connection ended.

        Args:
            size: The bytes received from the client plus those sent to it.
            status: The status that the client received; 0 if it received none.
        """
        self.exchanges += 1
        self.processed_bytes += size
        if status < 300:
            self.responses_2xx += status >= 200
        elif status < 400:
            self.responses_3xx += 1
        elif status < 500:
            self.responses_4xx += 1
        else:
            self.responses_5xx += 1

    def add(self, other: ListenerCounters) -> None:
        """Add the counts of another object to these."""
        for slot in LISTENER_METRICS:
            setattr(self, slot, getattr(self, slot) + getattr(other, slot))

    def as_mapping(self) -> dict[str, int]:
        """Return every counter by its name."""
        return {metric.name: getattr(self, slot) for slot, metric in LISTENER_METRICS.items()}


class ListenerState:
    """What is true now of one listener. The same object for as long as its port is open.

    Args:
        listener: The configuration.
        port: The open port, also if the configuration asks for a free one.
    """

    __slots__ = ("access_log", "connection_log", "counters", "listener", "port")

    def __init__(self, listener: ListenerSettings, port: int) -> None:
        self.listener = listener
        """The configuration. `apply` replaces it."""
        self.port = port
        self.counters = ListenerCounters()
        """Its metrics. If the listener continues an earlier one, the same object as before."""
        self.access_log: Callable[[Any], None] | None = None
        """Called with the `ExchangeRecord` of everything that has ended; `None` if no access log is kept. Must not raise."""
        self.connection_log: Callable[[ConnectionRecord], None] | None = None
        """Called with the record of each connection that is established or has failed; `None` if no connection log is kept. Must not
        raise."""

    def __repr__(self) -> str:
        return f"<ListenerState {self.listener.name or self.port} exchanges={self.counters.exchanges}>"

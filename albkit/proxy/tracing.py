"""What the proxy needs of a tracing library. `albkit.opentelemetry` implements it; the proxy itself imports no such library."""

from __future__ import annotations

from typing import Protocol

from albkit.clock import Clock
from albkit.model.message import ClientAddress
from albkit.state.record import ExchangeRecord, Trace

__all__ = ("Tracing",)


class Tracing(Protocol):
    """Begins the traces of a load balancer."""

    def begin(self, record: ExchangeRecord, peer: ClientAddress, origin: tuple[str, int], clock: Clock) -> Trace | None:
        """Begin the trace of an exchange, and write its context into the lines that are forwarded to the target. Must not raise.

        Args:
            record: Of the exchange, with its request, whose `lines` may be changed. No rule was looked up yet.
            peer: The client of the connection, which may be a trusted proxy. `record.client` is the client behind it.
            origin: The scheme and the port in the client's URL.
            clock: Of the load balancer.

        Returns:
            `None` if this exchange is not traced. Its request is forwarded unchanged then.
        """

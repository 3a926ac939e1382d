"""A connection to a target for a TCP or TLS listener: it carries no exchange, and becomes a tunnel at once."""

from __future__ import annotations

import asyncio

from albkit.errors import Failure, FailureKind
from albkit.model.limits import Limits
from albkit.proxy.target.connection import Pool, TargetConnection
from albkit.state.counters import Counters
from albkit.state.target import TargetState

__all__ = ("RawConnection",)


class RawConnection(TargetConnection):
    """Keeps what the target sends before the tunnel takes the transport: some servers send first, as SSH and mail servers do."""

    __slots__ = ("_has_ended", "_received")

    def __init__(self, member: TargetState, pool: Pool, counters: Counters, limits: Limits) -> None:
        super().__init__(member, pool, counters, limits)
        self._received: list[bytes] = []
        self._has_ended = False
        """Whether FIN came behind `_received`."""

    def data_received(self, data: bytes) -> None:
        self._received.append(data)
        # The rest may wait in the kernel until the tunnel reads.
        if not self._paused:
            self.pause_reading()

    def eof_received(self) -> bool:
        self._has_ended = True
        return True

    def insert_below(self, protocol: asyncio.Protocol) -> None:
        transport = self.transport
        if transport is None:
            return
        transport.set_protocol(protocol)
        received, self._received = self._received, []
        has_ended, self._has_ended = self._has_ended, False
        if received:
            self.resume_reading()
            protocol.data_received(b"".join(received))
        if has_ended:
            protocol.eof_received()

    def detach(self) -> tuple[asyncio.Transport, bytes, bool]:
        """Hand the connection over to a tunnel.

        Returns:
            The transport, the bytes that have come already, and whether FIN came behind them.

        Raises:
            Failure: the target has closed the connection already.
        """
        transport = self.transport
        if transport is None:
            raise Failure(FailureKind.TARGET_CLOSED)
        self.transport = None
        self._pool.remove(self)
        return transport, b"".join(self._received), self._has_ended

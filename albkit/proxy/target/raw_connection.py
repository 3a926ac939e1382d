"""A connection to a target for a TCP or TLS listener: it carries no exchange, and becomes a tunnel at once."""

from __future__ import annotations

import asyncio
from typing import Any

from albkit.errors import Failure, FailureKind
from albkit.model.limits import Limits
from albkit.proxy.target.connection import Pool, TargetConnection
from albkit.state.counters import Counters
from albkit.state.target import TargetState

__all__ = ("RawConnection",)


class RawConnection(TargetConnection):
    """Keeps what the target sends before the tunnel takes the transport."""

    __slots__ = ("_has_ended",)

    def __init__(self, member: TargetState, pool: Pool[Any], counters: Counters, limits: Limits) -> None:
        super().__init__(member, pool, counters, limits)
        self._has_ended = False
        """Whether FIN came behind the early bytes."""

    def data_received(self, data: bytes) -> None:
        self._keep_early(data)

    def eof_received(self) -> bool:
        self._has_ended = True
        return True

    def insert_below(self, protocol: asyncio.Protocol) -> None:
        # The other protocol reports FIN again if it passes it on.
        has_ended, self._has_ended = self._has_ended, False
        super().insert_below(protocol)
        if has_ended and self.transport is not None:
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
        return transport, b"".join(self._early), self._has_ended

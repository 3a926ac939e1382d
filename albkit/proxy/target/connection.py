"""A connection to a target that serves one exchange at a time, or a tunnel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar, cast

from albkit.model.limits import Limits
from albkit.model.message import ClientAddress
from albkit.proxy.downstream import DownstreamExchange
from albkit.proxy.target.pooled_connection import PooledConnection
from albkit.proxy.target.small_reads import SmallReadProtocol
from albkit.proxy.tls.transport import TlsTransport
from albkit.proxy.transports import bound_buffers
from albkit.state.counters import Counters
from albkit.state.target import TargetState

__all__ = ("Pool", "TargetConnection")


_log = logging.getLogger("albkit")

Kept = TypeVar("Kept", contravariant=True)


class Pool(Protocol[Kept]):
    """What a connection needs of the pool that it belongs to."""

    small_read_buffer: memoryview
    """Shared by all connections that read in small parts: it is empty whenever the event loop runs something else."""

    @property
    def soon(self) -> Callable[..., object]:
        """The event loop's `call_soon`."""

    def keep(self, connection: Kept, timeout: float | None) -> None:
        """Take back a connection that can serve another exchange, or close it.

        Args:
            connection: Has no exchange on it.
            timeout: Seconds for which the target keeps the connection, if it sent `Keep-Alive: timeout=`.
        """

    def remove(self, connection: PooledConnection) -> None:
        """Forget a connection that was closed, or handed over to a tunnel."""


class TargetConnection(PooledConnection):
    """One socket to a target, with or without TLS.

    Args:
        member: The target.
        pool: Is notified when the connection ends.
        counters: Of the load balancer.
        limits: Bound the bytes that wait to be sent.
    """

    __slots__ = (
        "_counters",
        "_early",
        "_limits",
        "_paused",
        "_pool",
        "_reads_small",
        "_traces",
        "active",
        "idle_limit",
        "idle_since",
        "is_full",
        "is_last",
        "member",
        "owner",
        "transport",
    )

    def __init__(self, member: TargetState, pool: Pool[Any], counters: Counters, limits: Limits) -> None:
        self.member = member
        self.owner: ClientAddress | None = None
        self.transport: asyncio.Transport | None = None
        self.is_full = False
        """Whether as much as `Limits.in_flight` allows waits to be sent."""
        self.is_last = False
        self.active = True
        """Whether bytes came since the last sweep."""
        self.idle_limit = 0.0
        """Seconds for which the pool may keep the connection."""
        self.idle_since = 0.0
        """When the sweep first found the connection idle, by the monotonic clock."""
        self._pool = pool
        self._counters = counters
        self._limits = limits
        self._paused = False
        self._reads_small = False
        # Asked once per connection: turning the debug log on later shows the connections that are opened from then on.
        self._traces = _log.isEnabledFor(logging.DEBUG)
        self._early: list[bytes] = []
        """What came before there was an exchange or a tunnel: some servers send first, as SSH and mail servers do."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {self.member.address}>"

    def _trace(self, what: str) -> None:
        """Write a debug line. The caller asks `_traces` first, so that a request pays nothing for lines that are not written."""
        fields = {"albkit_event": "trace", "albkit_target": self.member.address}
        _log.debug("%r, %x: %s", self, id(self), what, extra=fields)

    @property
    def is_idle(self) -> bool:
        """Whether the connection waits in the pool for its next exchange."""
        return False

    @property
    def client(self) -> DownstreamExchange | None:
        """The client whose exchange is on this connection now."""
        return None

    @property
    def clients(self) -> Iterable[DownstreamExchange]:
        client = self.client
        return () if client is None else (client,)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's transport is not a subclass.
        bound_buffers(self.transport, self._limits.in_flight)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.transport = None
        self._pool.remove(self)

    def pause_writing(self) -> None:
        self.is_full = True
        self._counters.reading_was_paused()
        client = self.client
        if client is not None:
            client.pause_body()

    def resume_writing(self) -> None:
        self.is_full = False
        client = self.client
        if client is not None:
            client.resume_body()

    def pause_reading(self) -> None:
        """Read nothing until `resume_reading`."""
        self._paused = True
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._paused = False
        if self.transport is not None:
            self.transport.resume_reading()

    def sweep(self, now: float) -> None:
        if not self.is_idle:
            return
        if self.active:
            self.active = False
            self.idle_since = now
        elif now - self.idle_since >= self.idle_limit:
            self._counters.idle_connection_closed()
            self.abort()

    def retire(self) -> None:
        self.is_last = True

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def insert_below(self, protocol: asyncio.Protocol) -> None:
        transport = self.transport
        if transport is None:
            return
        transport.set_protocol(protocol)
        early, self._early = self._early, []
        if early:
            self.resume_reading()
            protocol.data_received(b"".join(early))

    def _keep_early(self, data: bytes) -> None:
        self._early.append(data)
        # The rest may wait in the kernel.
        if not self._paused:
            self.pause_reading()

    def _read_in_small_parts(self, small: bool) -> None:
        """Switch to reads of at most `SMALL_READ` bytes, or back."""
        self._reads_small = small
        transport = self.transport
        if transport is None:
            return
        reader: asyncio.Protocol = self
        if isinstance(transport, TlsTransport):
            reader, transport = transport, transport.below
        # uvloop reads on in the old way until reading was paused and resumed.
        transport.pause_reading()
        transport.set_protocol(SmallReadProtocol(reader, self._pool.small_read_buffer) if small else reader)
        if not self._is_held_back:
            transport.resume_reading()

    @property
    def _is_held_back(self) -> bool:
        """Whether there is a reason not to read now."""
        return self._paused

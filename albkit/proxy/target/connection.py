"""One socket to a target: what all protocols on it have in common, and what the pool needs of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from albkit.model.limits import Limits
from albkit.model.message import ClientAddress
from albkit.proxy.downstream import DownstreamExchange
from albkit.proxy.target.small_reads import SmallReadProtocol
from albkit.proxy.tls.transport import TlsTransport
from albkit.proxy.transports import bound_buffers
from albkit.state.counters import Counters
from albkit.state.target import TargetState

__all__ = ("Pool", "TargetConnection")


class Pool(Protocol):
    """What a connection needs of the pool that it belongs to."""

    small_read_buffer: memoryview
    """Shared by all connections that read in small parts: it is empty whenever the event loop runs something else."""

    @property
    def soon(self) -> Callable[..., object]:
        """The event loop's `call_soon`."""

    def remove(self, connection: TargetConnection) -> None:
        """Forget a connection that was closed, or handed over to a tunnel."""


class TargetConnection(asyncio.Protocol):
    """One socket to a target, with or without TLS.

    Args:
        member: The target.
        pool: Is notified when the connection ends.
        counters: Of the load balancer.
        limits: Bound the bytes that wait to be sent.
    """

    __slots__ = (
        "_counters",
        "_limits",
        "_paused",
        "_pool",
        "_reads_small",
        "idle_limit",
        "is_full",
        "is_last",
        "member",
        "owner",
        "transport",
    )

    _pool: Pool

    def __init__(self, member: TargetState, pool: Pool, counters: Counters, limits: Limits) -> None:
        self.member = member
        self.owner: ClientAddress | None = None
        """The only client that this connection may serve, because its PROXY protocol header named that client; else `None`."""
        self.transport: asyncio.Transport | None = None
        """`None` before the connection is made, after it is lost, and after a tunnel took it."""
        self.is_full = False
        """Whether as much as `Limits.in_flight` allows waits to be sent."""
        self.is_last = False
        """Whether the pool must not keep the connection after the exchange that it serves now."""
        self.idle_limit = 0.0
        """Seconds for which the pool may keep the connection."""
        self._pool = pool
        self._counters = counters
        self._limits = limits
        self._paused = False
        self._reads_small = False

    @property
    def client(self) -> DownstreamExchange | None:
        """The client whose exchange is on this connection now."""
        return None

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

    def resume_writing(self) -> None:
        self.is_full = False

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
        """Close the connection if a deadline has passed. By default none has: the sweep of the client looks after both sides."""

    def abort(self) -> None:
        """Close the connection now."""
        if self.transport is not None:
            self.transport.abort()

    def insert_below(self, protocol: asyncio.Protocol) -> None:
        """Let another protocol (TLS) read the socket, and give it the bytes that have come already.

        This connection gets a new transport when the other protocol calls `connection_made`.
        """
        raise NotImplementedError

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

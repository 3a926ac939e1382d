"""What the pool needs of a connection to a target, whatever the protocol and however many exchanges use it at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from albkit.model.message import ClientAddress
from albkit.proxy.downstream import DownstreamExchange
from albkit.state.target import TargetState

__all__ = ("PooledConnection",)


class PooledConnection(asyncio.Protocol):
    """A connection to a target."""

    # Empty, so that a subclass can have another base class with slots (`http2.connection`). The subclasses have slots for all of these.
    __slots__ = ()

    member: TargetState
    owner: ClientAddress | None
    """The only client that the connection may serve, because its PROXY protocol header named that client; else `None`."""
    transport: asyncio.Transport | None
    """`None` before the connection is made, after it is lost, and after a tunnel took it."""
    is_last: bool
    """Whether the connection must not serve further exchanges."""

    @property
    def clients(self) -> Iterable[DownstreamExchange]:
        """The clients whose exchanges are on this connection now."""
        raise NotImplementedError

    def insert_below(self, protocol: asyncio.Protocol) -> None:
        """Let another protocol (TLS) read the socket, and give it the bytes that have come already.

        This connection gets a new transport when the other protocol calls `connection_made`.
        """
        raise NotImplementedError

    def sweep(self, now: float) -> None:
        """Close the connection if it was idle for too long. During an exchange, the sweep of the client looks after both sides."""
        raise NotImplementedError

    def retire(self) -> None:
        """Serve no further exchange. Exchanges in progress continue."""
        raise NotImplementedError

    def close_idle(self) -> None:
        """Close a connection that has no exchange."""
        self.abort()

    def abort(self) -> None:
        """Close the connection now."""
        raise NotImplementedError

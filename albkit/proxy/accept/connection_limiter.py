"""Limits the connections of a listener, in total and per client."""

from __future__ import annotations

import ipaddress

from albkit.errors import Failure, FailureKind
from albkit.model.listener import Listener

__all__ = ("ConnectionLimiter",)

_V6_NETWORK = 8
"""The bytes of an IPv6 address that a client cannot choose: providers assign at least a /64 (RFC 6177)."""


class ConnectionLimiter:
    """Counts the open connections of clients, from the first byte to the end of a tunnel."""

    __slots__ = ("_of_client", "count")

    def __init__(self) -> None:
        self.count = 0
        self._of_client: dict[str | bytes, int] = {}

    def acquire(self, listener: Listener, host: str | None, *, limited: bool = True) -> None:
        """Count a new connection.

        Args:
            listener: The listener's configuration, which contains the limits.
            host: The client's address, if it is known already; the connection is then counted for this client too.
            limited: Whether the limit per client applies; a trusted proxy connects for many clients.

        Raises:
            Failure: the limit of the listener or of the client is reached; the connection is not counted.
        """
        if listener.max_connections is not None and self.count >= listener.max_connections:
            raise Failure(FailureKind.TOO_MANY_CONNECTIONS, f"{self.count} are open")
        if host is not None:
            self.attribute(listener, host, limited=limited)
        self.count += 1

    def attribute(self, listener: Listener, host: str, *, limited: bool = True) -> None:
        """Count a connection for its client, as soon as the client is known.

        Args:
            listener: The listener's configuration, which contains the limits.
            host: The client's address; empty on a unix socket, where clients have none and the limit does not apply.
            limited: As in `acquire`.

        Raises:
            Failure: the limit of this client is reached; the connection is not counted for it.
        """
        if not host:
            return
        client = _client(host)
        count = self._of_client.get(client, 0)
        most = listener.max_connections_per_client
        if limited and most is not None and count >= most:
            raise Failure(FailureKind.TOO_MANY_CONNECTIONS_OF_CLIENT, f"{count} of {host} are open")
        self._of_client[client] = count + 1

    def release(self, host: str | None) -> None:
        """Uncount a closed connection, and for its client if `host` is given."""
        self.count -= 1
        if host:
            client = _client(host)
            count = self._of_client[client] - 1
            if count:
                self._of_client[client] = count
            else:
                del self._of_client[client]


def _client(host: str) -> str | bytes:
    return ipaddress.IPv6Address(host.partition("%")[0]).packed[:_V6_NETWORK] if ":" in host else host

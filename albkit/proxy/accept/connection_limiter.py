"""How many connections a listener has, in all and of each client."""

from __future__ import annotations

import ipaddress

from albkit.errors import Failure, FailureKind
from albkit.model.listener import Listener

__all__ = ("ConnectionLimiter",)

_V6_NETWORK = 8
"""Bytes of an IPv6 address that a client cannot choose: a household has a /64."""


class ConnectionLimiter:
    """Counts open connections of clients, from the first byte to the end of a tunnel."""

    __slots__ = ("_of_client", "count")

    def __init__(self) -> None:
        self.count = 0
        self._of_client: dict[str | bytes, int] = {}

    def acquire(self, listener: Listener, host: str | None, *, limited: bool = True) -> None:
        """One more connection.

        Args:
            listener: Where.
            host: The client's address, where that is known already: then it is introduced at once.
            limited: Whether it may only have so many; a trusted proxy comes for many clients.

        Raises:
            Failure: the listener or the client has as many as it may have. It is not counted then.
        """
        if listener.max_connections is not None and self.count >= listener.max_connections:
            raise Failure(FailureKind.TOO_MANY_CONNECTIONS, f"{self.count} are open")
        if host is not None:
            self.attribute(listener, host, limited=limited)
        self.count += 1

    def attribute(self, listener: Listener, host: str, *, limited: bool = True) -> None:
        """Who has come, as soon as that is known.

        Args:
            listener: Where.
            host: The client's address; empty for one on a unix socket, of which there is no other.
            limited: As in `acquire`.

        Raises:
            Failure: this client has as many as it may have. It is not counted for it then.
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
        """A connection is over; of whom, where that was known."""
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

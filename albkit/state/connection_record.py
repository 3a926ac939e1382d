"""The record of one client connection: everything that the connection log needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from albkit.errors import Failure
    from albkit.model.message import ClientAddress
    from albkit.model.tls import TlsSession

__all__ = ("ConnectionRecord",)


class ConnectionRecord:
    """One attempt of a client to connect: established, or failed before its first request.

    Args:
        client: As in `client`.
        local: The IP address that the client connected to; empty for a unix socket.
    """

    __slots__ = ("at", "cipher", "client", "failure", "key_exchange", "local", "tls", "tls_version")

    def __init__(self, client: ClientAddress, local: str) -> None:
        self.local = local
        self.client = client
        """The client, or the proxy in front whose PROXY protocol header has not arrived."""
        self.tls: TlsSession | None = client.tls
        """The TLS session with the client. After a failed handshake, what both sides had agreed on before it failed. `None` without TLS."""
        self.at = 0.0
        """When the connection was established or failed, in seconds since 1970."""
        self.key_exchange = ""
        """The name of the key exchange group (`x25519`); empty without TLS, and if the session uses none."""
        self.cipher = 0
        """The number of the cipher suite that the load balancer has chosen; 0 if the handshake did not come so far."""
        self.tls_version = ""
        """The version that the load balancer has chosen, in OpenSSL's spelling; empty if the handshake did not come so far."""
        self.failure: Failure | None = None
        """Why no connection was established; `None` if it was."""

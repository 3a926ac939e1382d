"""Chooses the protocol of a connection that a listener accepted. A further protocol, such as HTTP/2, is chosen here."""

from __future__ import annotations

import asyncio

from albkit.model.message import ClientAddress
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.client.http1_connection import Http1ClientConnection
from albkit.proxy.exchange import serve
from albkit.proxy.tunnel.layer4 import Layer4Connection

__all__ = ("receive",)


def receive(listener: ListenerRuntime, address: ClientAddress | None) -> asyncio.Protocol:
    """Make the protocol that reads a connection.

    Args:
        listener: The listener that accepted it.
        address: The client's, if a PROXY header or a TLS handshake came first and the client was admitted then.
    """
    if listener.config.is_stream:
        return Layer4Connection(listener, address)
    return Http1ClientConnection(listener, serve, address)

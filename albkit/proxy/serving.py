"""Chooses the protocol of an accepted connection.

A client that uses HTTP/2 without TLS starts like one of HTTP/1.1: `Http1ClientConnection` finds the preface of HTTP/2 instead of a first
request, and hands the connection over.
"""

from __future__ import annotations

import asyncio

from albkit.model.message import ClientAddress
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.client.http1_connection import Http1ClientConnection
from albkit.proxy.client.http2_connection import Http2ClientConnection
from albkit.proxy.exchange import serve
from albkit.proxy.tunnel.layer4 import Layer4Connection

__all__ = ("receive",)


def receive(listener: ListenerRuntime, address: ClientAddress | None) -> asyncio.Protocol:
    """Create the protocol for a connection. The caller connects its transport.

    Args:
        listener: The listener that accepted the connection.
        address: The client's address, if the connection began with a PROXY header or a TLS handshake. Such a connection has been admitted
            already. `None` if there was neither: the protocol then admits the connection itself.
    """
    if listener.config.is_stream:
        return Layer4Connection(listener, address)
    # Over TLS only: the session that a PROXY header describes is one between the client and the proxy in front.
    if listener.config.is_secure and address is not None and address.tls is not None and address.tls.alpn == "h2":
        return Http2ClientConnection(listener, serve, address)
    return Http1ClientConnection(listener, serve, address)

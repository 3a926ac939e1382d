"""Opens connections to targets: the socket, the PROXY protocol header, the TLS handshake."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable
from typing import TypeVar

from albkit.errors import Failure, FailureKind
from albkit.model.limits import Limits
from albkit.model.message import ClientAddress
from albkit.model.target import Target
from albkit.model.target_group import TargetGroup
from albkit.proxy.target.pooled_connection import PooledConnection
from albkit.proxy.tls.contexts import in_words
from albkit.proxy.tls.targets import TargetContexts
from albkit.proxy.tls.transport import TlsTransport
from albkit.wire.proxy_protocol.writer import write_v1, write_v2

__all__ = ("OUT_OF_SOCKETS", "Connector", "proxy_header", "server_name", "uses_http2")

OUT_OF_SOCKETS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))
"""Errors of `connect` that are the fault of this machine, and not of the target."""

_NO_PROTOCOL = "NO_APPLICATION_PROTOCOL"
"""The alert of a server that accepts none of the offered protocols (RFC 7301 section 3.2)."""
_ADVICE = "enable HTTP/2 on it, or set the group's protocol_version to HTTP1"

AnyConnection = TypeVar("AnyConnection", bound=PooledConnection)


class Connector:
    """Opens connections to targets.

    Args:
        loop: The event loop.
        limits: Has the timeouts.
        contexts: The TLS settings of the target groups.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits, contexts: TargetContexts) -> None:
        self._loop = loop
        self._limits = limits
        self._contexts = contexts

    async def connect(
        self, make: Callable[[], AnyConnection], target: Target, group: TargetGroup, owner: ClientAddress | None
    ) -> AnyConnection:
        """Open a connection.

        Args:
            make: Returns the protocol that is to stand on the socket, or on TLS.
            target: Where to connect to.
            group: Says whether to use TLS and the PROXY protocol.
            owner: The client that the PROXY protocol header names; the connection must serve no other. `None` if the group uses none.

        Raises:
            Failure: the target refused, cannot be reached or took too long.
        """
        try:
            async with asyncio.timeout(self._limits.connect_timeout):
                if target.port is None:
                    transport, connection = await self._loop.create_unix_connection(make, target.path)
                else:
                    transport, connection = await self._loop.create_connection(make, target.host, target.port)
        except OSError as error:
            raise _connect_failure(error, target, self._limits.connect_timeout) from None
        # The PROXY protocol header comes before everything else, TLS included.
        connection.owner = owner
        if owner is not None and group.proxy_protocol is not None:
            transport.write(proxy_header(group.proxy_protocol, owner))
        if group.is_secure(target):
            await self._shake_hands(connection, transport, target, group)
        return connection

    async def _shake_hands(self, connection: PooledConnection, transport: asyncio.Transport, target: Target, group: TargetGroup) -> None:
        """Put TLS between the socket and the connection."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        finished: asyncio.Future[Exception | None] = self._loop.create_future()

        def over(error: Exception | None) -> None:
            if error is None:
                secured.begin(connection)
            if not finished.done():
                finished.set_result(error)

        try:
            session = self._contexts.of(group).wrap_bio(incoming, outgoing, server_hostname=server_name(target))
            secured = TlsTransport(transport, session, incoming, outgoing, self._loop, over)
            # The handshake has begun before TLS gets the bytes that have come already.
            secured.begin_handshake()
            connection.insert_below(secured)
            if transport.is_closing():
                # The loss was reported to the connection, before TLS was there to hear of it.
                secured.connection_lost(None)
            async with asyncio.timeout(self._limits.target_handshake_timeout):
                error = await finished
        except TimeoutError:
            transport.abort()
            raise Failure(FailureKind.TARGET_TLS_TIMEOUT, f"{target}: {self._limits.target_handshake_timeout:g} s") from None
        except BaseException:
            transport.abort()
            raise
        if error is None and uses_http2(group):
            agreed = session.selected_alpn_protocol()
            if agreed != "h2":
                transport.abort()
                raise Failure(
                    FailureKind.RESPONSE_NOT_HTTP2, f"{target}: it chose {agreed or 'no protocol'} instead of h2 by ALPN; {_ADVICE}"
                )
        elif error is not None:
            transport.abort()
            if uses_http2(group) and _NO_PROTOCOL in str(error).upper():
                raise Failure(FailureKind.RESPONSE_NOT_HTTP2, f"{target}: it does not accept h2 by ALPN; {_ADVICE}")
            raise Failure(FailureKind.TARGET_TLS_FAILED, f"{target}: {in_words(error)}")


def uses_http2(group: TargetGroup) -> bool:
    """Whether the connections to the targets of a group use HTTP/2."""
    return group.protocol_version != "HTTP1"


def server_name(target: Target) -> str:
    """The name that the certificate of a target must have."""
    return target.server_name or (target.host if target.path is None else "localhost")


def proxy_header(version: str, client: ClientAddress) -> bytes:
    """The PROXY protocol header that names a client."""
    source = (client.host, client.port)
    return write_v1(source, client.local) if version == "v1" else write_v2(source, client.local, client.tls)


def _connect_failure(error: OSError, target: Target, timeout: float) -> Failure:
    if isinstance(error, TimeoutError):
        return Failure(FailureKind.TARGET_CONNECT_TIMEOUT, f"{target}, {timeout:g} s")
    if isinstance(error, ConnectionRefusedError):
        return Failure(FailureKind.TARGET_CONNECTION_REFUSED, str(target))
    if error.errno in OUT_OF_SOCKETS:
        return Failure(FailureKind.OUT_OF_SOCKETS, str(error))
    return Failure(FailureKind.TARGET_UNREACHABLE, str(error))

"""Writes the fields that describe the client to the target: X-Forwarded-* and X-Amzn-Trace-Id (docs/alb.md 2.7)."""

from __future__ import annotations

from functools import lru_cache

from albkit.clock import Clock
from albkit.model.message import ClientAddress, RequestHead

__all__ = ("ForwardedFields", "ForwardedFieldsBehindProxy", "TraceIds")

_MAX_HEAD_FOR_TRACE = 7 * 1024
"""Bytes. In a larger head, an incoming trace id is replaced instead of extended (docs/alb.md 2.7)."""
_POOL_BYTES = 3072
"""Random bytes drawn at a time, enough for 256 ids."""
_MAX_CACHED_EXTRA = 200
_ID_DIGITS = 24


class TraceIds:
    """Generates ids of the form `1-<seconds>-<24 hex digits>`. Random bytes are drawn for many ids at a time, to save system calls."""

    __slots__ = ("_clock", "_offset", "_pool", "_prefix", "_second")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pool = b""
        self._offset = 0
        self._second = -1
        self._prefix = b""

    def new(self, now: float) -> bytes:
        """Generate an id. `now` is the time in seconds since 1970."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._prefix = b"1-%08x-" % second
        offset = self._offset
        if offset >= len(self._pool):
            self._pool = self._clock.entropy(_POOL_BYTES).hex().encode()
            offset = 0
        self._offset = offset + _ID_DIGITS
        return self._prefix + self._pool[offset : offset + _ID_DIGITS]

    def field(self, incoming: bytes, head_size: int, now: float) -> bytes:
        """Return the value of X-Amzn-Trace-Id for the target.

        Args:
            incoming: The value that the client sent; empty if none.
            head_size: Bytes of the client's request head.
            now: The time, in seconds since 1970.
        """
        if not incoming or head_size > _MAX_HEAD_FOR_TRACE:
            return b"Root=" + self.new(now)
        parts = [part.strip(b" \t") for part in incoming.split(b";")]
        others = [part for part in parts if part and not part.lower().startswith(b"self=")]
        if not any(part.lower().startswith(b"root=") for part in others):
            return b"; ".join([b"Root=" + self.new(now), *others]).replace(b"; ", b";")
        return b";".join([b"Self=" + self.new(now), *others])


# Cached, so that the connections of a listener share one object instead of each keeping its own.
@lru_cache(maxsize=64)
def _constant_lines(protocol: str, port: int, extra_lines: bytes) -> bytes:
    """The lines that are the same for all requests of a connection, up to the value of the trace id, which comes last."""
    separator = b"\r\n" if extra_lines else b""
    return b"X-Forwarded-Proto: %s\r\nX-Forwarded-Port: %d\r\n%s%sX-Amzn-Trace-Id: " % (protocol.encode(), port, extra_lines, separator)


class ForwardedFields:
    """Adds the fields to the requests of one client connection. Builds what stays the same once per connection.

    Args:
        client: The peer of the connection; an empty host (Unix socket) is not written.
        protocol: `http` or `https`.
        port: The port that the client connected to.
        mode: `append`, `preserve` or `remove`, for X-Forwarded-For.
        client_port: Whether to write the client's port as well (in append mode only).
        trace_ids: Generates the trace ids.
        extra_lines: More lines for each request of the connection, joined by CR LF, without one at the end.
    """

    __slots__ = ("_client", "_constant", "_extra_lines", "_mode", "_trace_ids", "_with_client")

    def __init__(
        self, client: ClientAddress, protocol: str, port: int, mode: str, client_port: bool, trace_ids: TraceIds, extra_lines: bytes = b""
    ) -> None:
        self._client = (str(client) if client_port and client.host else client.host).encode()
        self._mode = mode
        self._extra_lines = extra_lines
        self._trace_ids = trace_ids
        self._set_origin(protocol, port)

    def _set_origin(self, protocol: str, port: int) -> None:
        # Long lines describe one client's certificate. No other connection could share them, so they are not cached.
        make = _constant_lines if len(self._extra_lines) <= _MAX_CACHED_EXTRA else _constant_lines.__wrapped__
        self._constant = make(protocol, port, self._extra_lines)
        self._with_client = b"X-Forwarded-For: %s\r\n%s" % (self._client, self._constant) if self._client else self._constant

    def add_to(self, request: RequestHead, now: float) -> None:
        """Append the fields to `request.lines`, and set `request.trace_id` to the id that is sent. Call this once per request.

        With an upgrade, this also writes the client's Upgrade and Connection fields, which the parser has removed.

        Args:
            request: The parsed request.
            now: The time, in seconds since 1970.
        """
        if self._mode != "append":
            start = self._constant
        elif request.forwarded_for:
            separator = b", " if self._client else b""
            start = b"X-Forwarded-For: %s%s%s\r\n%s" % (request.forwarded_for, separator, self._client, self._constant)
        else:
            start = self._with_client
        if request.upgrade:
            start = b"Connection: Upgrade\r\nUpgrade: %s\r\n%s" % (request.upgrade, start)
        trace_ids = self._trace_ids
        trace = trace_ids.field(request.trace_id, len(request.head), now) if request.trace_id else b"Root=" + trace_ids.new(now)
        request.trace_id = trace
        request.lines.append(start + trace)


class ForwardedFieldsBehindProxy(ForwardedFields):
    """For the connection of a trusted proxy, which may report another protocol and port of its client with each request.

    Args:
        client: The proxy.
        protocol: `http` or `https`: that of the connection itself, for requests with which the proxy reports none.
        port: The port that the proxy connected to, for the same case.
        mode: As in `ForwardedFields`, like the rest.
    """

    __slots__ = ("_own_origin",)

    def __init__(
        self, client: ClientAddress, protocol: str, port: int, mode: str, client_port: bool, trace_ids: TraceIds, extra_lines: bytes = b""
    ) -> None:
        super().__init__(client, protocol, port, mode, client_port, trace_ids, extra_lines)
        self._own_origin = protocol, port

    def add_to(self, request: RequestHead, now: float) -> None:
        self._set_origin(*(request.client.told or self._own_origin))
        super().add_to(request, now)

"""What the target is told about the client: X-Forwarded-* and the trace id (docs/alb.md 2.7)."""

from __future__ import annotations

from functools import lru_cache

from albkit.clock import Clock
from albkit.model.message import ClientAddress, RequestHead

__all__ = ("ForwardedFields", "ForwardedFieldsBehindProxy", "TraceIds")

_LONG_HEAD = 7 * 1024
"""A head above this size gets a bare new Root, whatever it brought."""
_POOL_BYTES = 3072
_SHORT = 200
_ID_DIGITS = 24


class TraceIds:
    """Makes `1-<seconds>-<24 hex digits>`; chance is drawn for many ids at a time."""

    __slots__ = ("_clock", "_place", "_pool", "_prefix", "_second")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pool = b""
        self._place = 0
        self._second = -1
        self._prefix = b""

    def new(self, now: float) -> bytes:
        """An id not given before, made at `now` (seconds since 1970)."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._prefix = b"1-%08x-" % second
        place = self._place
        if place >= len(self._pool):
            self._pool = self._clock.entropy(_POOL_BYTES).hex().encode()
            place = 0
        self._place = place + _ID_DIGITS
        return self._prefix + self._pool[place : place + _ID_DIGITS]

    def field(self, incoming: bytes, head_size: int, now: float) -> bytes:
        """The X-Amzn-Trace-Id value for a request that brought `incoming` (empty for none)."""
        if not incoming or head_size > _LONG_HEAD:
            return b"Root=" + self.new(now)
        parts = [part.strip(b" \t") for part in incoming.split(b";")]
        others = [part for part in parts if part and not part.lower().startswith(b"self=")]
        if not any(part.lower().startswith(b"root=") for part in others):
            return b"; ".join([b"Root=" + self.new(now), *others]).replace(b"; ", b";")
        return b";".join([b"Self=" + self.new(now), *others])


@lru_cache(maxsize=64)
def _fixed(protocol: str, port: int, further: bytes) -> bytes:
    """What is the same for many clients of a listener is kept once for all."""
    separator = b"\r\n" if further else b""
    return b"X-Forwarded-Proto: %s\r\nX-Forwarded-Port: %d\r\n%s%sX-Amzn-Trace-Id: " % (protocol.encode(), port, further, separator)


class ForwardedFields:
    """Writes the fields for the requests of one client connection; what does not change is made once.

    Args:
        client: Whom the connection comes from.
        protocol: `http` or `https`.
        port: The port that the client connected to.
        mode: `append`, `preserve` or `remove`, for X-Forwarded-For.
        client_port: Whether the client's port is written (in append mode only).
        trace_ids: Where new ids come from.
        further: Field lines that are the same for all requests of the connection, without a line end behind the last.
    """

    __slots__ = ("_client", "_fixed", "_further", "_mode", "_trace_ids", "_with_client")

    def __init__(
        self, client: ClientAddress, protocol: str, port: int, mode: str, client_port: bool, trace_ids: TraceIds, further: bytes = b""
    ) -> None:
        self._client = (str(client) if client_port and client.host else client.host).encode()
        self._mode = mode
        self._further = further
        self._trace_ids = trace_ids
        self._see(protocol, port)

    def _see(self, protocol: str, port: int) -> None:
        # What tells of one client's certificate alone would only fill the memory.
        self._fixed = (_fixed if len(self._further) <= _SHORT else _fixed.__wrapped__)(protocol, port, self._further)
        self._with_client = b"X-Forwarded-For: %s\r\n%s" % (self._client, self._fixed) if self._client else self._fixed

    def complete(self, request: RequestHead, now: float) -> None:
        """Add our own fields to the request's lines."""
        if self._mode != "append":
            start = self._fixed
        elif request.forwarded_for:
            separator = b", " if self._client else b""
            start = b"X-Forwarded-For: %s%s%s\r\n%s" % (request.forwarded_for, separator, self._client, self._fixed)
        else:
            start = self._with_client
        if request.upgrade:
            start = b"Connection: Upgrade\r\nUpgrade: %s\r\n%s" % (request.upgrade, start)
        trace_ids = self._trace_ids
        trace = trace_ids.field(request.trace_id, len(request.head), now) if request.trace_id else b"Root=" + trace_ids.new(now)
        request.trace_id = trace
        request.lines.append(start + trace)


class ForwardedFieldsBehindProxy(ForwardedFields):
    """The same for a connection of a trusted proxy: how its client came is told anew with each request.

    Args:
        client: The proxy.
        protocol: `http` or `https`, of the connection itself, for what is not told.
        port: The port that the proxy connected to, likewise.
        mode: As in `ForwardedFields`, as are all others.
    """

    __slots__ = ("_seen",)

    def __init__(
        self, client: ClientAddress, protocol: str, port: int, mode: str, client_port: bool, trace_ids: TraceIds, further: bytes = b""
    ) -> None:
        super().__init__(client, protocol, port, mode, client_port, trace_ids, further)
        self._seen = protocol, port

    def complete(self, request: RequestHead, now: float) -> None:
        self._see(*(request.client.told or self._seen))
        super().complete(request, now)

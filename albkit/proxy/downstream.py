"""What an exchange needs of its client. `client.http1_exchange` implements it for HTTP/1, `client.http2_exchange` for HTTP/2.

"Downstream" is Envoy's word for the client's side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, Final, Protocol

from albkit.errors import Failure
from albkit.model.message import ClientAddress, RequestHead, ResponseHead
from albkit.wire.http1.forwarded import ForwardedFields

__all__ = ("NO_BODY", "BodySink", "DownstreamExchange", "Upstream", "Waiting", "WholeBody")

WholeBody = tuple[list[bytes], list[bytes]]
"""The pieces of a complete body, and its trailers. Both may be shared: do not change them."""

NO_BODY: Final[WholeBody] = ([], [])


class Upstream(Protocol):
    """The target's side of an exchange, as far as the client's side needs it for flow control."""

    active: bool
    """Whether bytes have arrived from the target since the last sweep."""

    @property
    def is_full(self) -> bool:
        """Whether as much of the request waits to be sent to the target as may wait."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def read_in_small_chunks(self) -> None:
        """Read the rest of the response in small parts, because the client reads slowly."""


class BodySink(Protocol):
    """Takes a request body while it arrives."""

    def feed(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        """Take the next pieces.

        Args:
            pieces: Of the decoded body. May be empty.
            over: Whether the body is complete.
            trailers: Trailer field lines, if `over`.
        """


class Waiting(Protocol):
    """A client that waits for a target connection."""

    address: ClientAddress

    def locate(self) -> ClientAddress:
        """The client's address, with the address that it connected to, if that is known."""

    def wait(self) -> asyncio.Future[object]:
        """As in `DownstreamExchange`."""


class DownstreamExchange(Protocol):
    """The client of an exchange. The same object serves all the exchanges of an HTTP/1 connection, one after the other."""

    protocol: ClassVar[str]
    """`HTTP/1.1` (for HTTP/1.0 too) or `HTTP/2`."""
    address: ClientAddress
    forwarded: ForwardedFields
    is_trusted_proxy: bool
    """Whether the peer is a trusted proxy that names the client in each request."""
    has_left: bool
    """Whether the client closed its connection."""
    interrupt: Callable[[], None] | None
    """Set while a hook runs: called if the client fails meanwhile, so that the exchange does not wait for the hook."""
    upstream: Upstream | None
    """The target connection that serves the exchange, or the place in the waiting line; `None` otherwise."""

    @property
    def gives_up_connection(self) -> bool:
        """Whether a tunnel gets the connection. If not, it gets a stream, and the connection goes on (HTTP/2)."""

    def locate(self) -> ClientAddress:
        """The client's address, with the address that it connected to, if that is known."""

    @property
    def is_full(self) -> bool:
        """Whether as much of the response waits to be sent to the client as may wait."""

    @property
    def received_bytes(self) -> int:
        """Bytes of this exchange's request that have arrived so far, head and body."""

    @property
    def sent_bytes(self) -> int:
        """Bytes of this exchange's response that were written so far, interim responses included."""

    @property
    def response_started(self) -> bool:
        """Whether a part of the final response was written. After that, the status cannot change."""

    async def head(self) -> bytes | None:
        """Wait for the next raw request head; `None` if no further request comes.

        Raises:
            Failure: the head is too large, takes too long, or the bytes cannot become a head.
        """

    def begin(self, request: RequestHead) -> None:
        """Tell the client's side what the head says. The bytes that follow are this request's body."""

    def wait(self) -> asyncio.Future[object]:
        """A future for the one thing that the exchange waits for now. The caller arranges for its result; a failure on either side ends it.

        An exchange waits for one thing at a time: the new future replaces the one before.
        """

    def fail(self, failure: Failure) -> None:
        """Fail the current wait or, if the exchange does not wait now, the next one. The first failure wins."""

    def raise_failure(self) -> None:
        """Raise the failure that came while the exchange did not wait, if there was one."""

    async def read_body(self, limit: int = ...) -> bytes:
        """Wait for the whole request body. It is still forwarded.

        Raises:
            BodyTooLarge: the body has more than `limit` bytes.
            Failure: the body is truncated or malformed, or the client left.
        """

    def whole_body(self) -> WholeBody | None:
        """Take the request body if it is complete: if it is small and has arrived, or a hook has read it. Else `None`."""

    def pump_body(self, sink: BodySink) -> None:
        """Feed the request body to `sink` until `park_body`. What has arrived already is fed before this returns."""

    def park_body(self) -> None:
        """Stop feeding the sink. What arrives is kept, up to `Limits.early_bytes`."""

    def pause_body(self) -> None:
        """Stop reading the body from the client, because the sink is full."""

    def resume_body(self) -> None:
        """Continue to read the body, because the sink has room again."""

    @property
    def body_over(self) -> bool:
        """Whether the whole request body was taken. True if there is none."""

    def send_continue(self) -> None:
        """Send 100 (Continue), unless the whole body was taken already."""

    def send_interim(self, response: ResponseHead) -> None:
        """Pass on a 1xx response, unless the client is an HTTP/1.0 client."""

    def start_response(self, response: ResponseHead, fields: bytes) -> None:
        """Set the head of the final response. The first `write_body` writes it.

        Args:
            response: Its lines are used up. Do not use them afterwards.
            fields: Field lines to add, joined by CR LF; empty for none.
        """

    def write_body(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        """Write the next part of the response body. The first call also writes the head.

        Args:
            pieces: Of the decoded body. May be empty.
            over: Whether the body is complete.
            trailers: Trailer field lines, if `over`.
        """

    def response_over(self) -> bool:
        """Whether another exchange may follow. If not, this ends the connection in good order."""

    def close(self) -> None:
        """Close a connection without a request in progress."""

    def cut(self) -> None:
        """End the connection so that an unfinished response cannot look complete."""

    def open_tunnel(self, response: ResponseHead, fields: bytes) -> tuple[asyncio.Transport, bytes, bytes]:
        """Give the transport to a tunnel. Its reading is paused.

        Args:
            response: The target's 101.
            fields: Field lines to add, as in `start_response`.

        Returns:
            The transport, the head of the 101 to send first, and the bytes that arrived after the request.

        Raises:
            Failure: the client has left.
        """

"""What an exchange needs of its client. HTTP/1.1 fulfils it in `client_connection`; a stream of HTTP/2 can fulfil it as well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from albkit.errors import Failure
from albkit.model.message import ClientAddress, RequestHead, ResponseHead
from albkit.wire.http1.forwarded import ForwardedFields

__all__ = ("NO_BODY", "BodySink", "DownstreamExchange", "Upstream", "Waiting", "WholeBody")

WholeBody = tuple[list[bytes], list[bytes]]
"""The pieces of a complete body, and its trailers. Both may be shared: do not change them."""

NO_BODY: Final[WholeBody] = ([], [])


class Upstream(Protocol):
    """Where a client's response comes from and its request body goes to: slowed down when the client is slow."""

    active: bool
    """Whether bytes have come from the target since the last sweep."""

    @property
    def is_full(self) -> bool:
        """Whether too much of the request waits to be sent."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def read_in_small_chunks(self) -> None:
        """The client is slow: read the rest of its response in small parts."""


class BodySink(Protocol):
    """Takes a request body as it comes."""

    def feed(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        """The next pieces, and whether they are the last."""


class Waiting(Protocol):
    """A client that waits for a connection to a target."""

    address: ClientAddress

    def locate(self) -> ClientAddress:
        """Its address, with what it connected to where that can be known."""

    def wait(self) -> asyncio.Future[object]:
        """The one thing that it waits for now. Whoever brings it about sets the result; a failure on either side ends it."""


class DownstreamExchange(Protocol):
    """One client, for one exchange after the other."""

    address: ClientAddress
    forwarded: ForwardedFields
    is_trusted_proxy: bool
    """Whether it is a trusted proxy, whose requests come from clients that it tells of."""
    has_left: bool
    """Whether the client closed its connection."""
    interrupt: Callable[[], None] | None
    """Set while a hook runs: called when the client fails, so that the hook is not waited for."""
    upstream: Upstream | None
    """Set by the exchange for as long as it is bound to a target connection."""

    def locate(self) -> ClientAddress:
        """Its address, with what it connected to where that can be known."""

    @property
    def is_full(self) -> bool:
        """Whether too much of the response waits to be sent."""

    @property
    def received_bytes(self) -> int:
        """Bytes of this exchange's request so far."""

    @property
    def sent_bytes(self) -> int:
        """Bytes of this exchange's response so far."""

    @property
    def response_started(self) -> bool:
        """Whether a byte of the final response was sent."""

    async def head(self) -> bytes | None:
        """The next raw request head; `None` when there will be none.

        Raises:
            Failure: the head is too large, too slow, or cannot become one.
        """

    def begin(self, request: RequestHead) -> None:
        """The head was read and judged: what follows is this request's body."""

    def wait(self) -> asyncio.Future[object]:
        """The one thing that the exchange waits for now. Whoever brings it about sets the result; a failure on either side ends it."""

    def fail(self, failure: Failure) -> None:
        """End what the exchange waits for, now or as soon as it waits."""

    def raise_failure(self) -> None:
        """Raise the failure that came while the exchange did not wait, if one did."""

    async def read_body(self, limit: int = ...) -> bytes:
        """The whole request body; it is forwarded all the same.

        Raises:
            BodyTooLarge: it has more than `limit` bytes.
            Failure: it ends short, is malformed, or the client left.
        """

    def whole_body(self) -> WholeBody | None:
        """The request body if it is short and has all come already, else `None`."""

    def pump_body(self, sink: BodySink) -> None:
        """Send the request body to `sink`, what has come already first, until `park_body`."""

    def park_body(self) -> None:
        """Keep the rest of the request body back."""

    def pause_body(self) -> None:
        """The sink is full: take nothing more from the client."""

    def resume_body(self) -> None:
        """The sink has room again."""

    @property
    def body_over(self) -> bool:
        """Whether the request body was taken to its end."""

    def send_continue(self) -> None:
        """Tell a client that waits for it to send its body."""

    def send_interim(self, response: ResponseHead) -> None:
        """Pass on a 1xx head, where the client can understand it."""

    def start_response(self, response: ResponseHead, fields: bytes) -> None:
        """Set the head of the final response. It leaves with the first `write_body`.

        Args:
            response: Its lines are used up: nothing may look at them afterwards.
            fields: Field lines to add, joined by CR LF; empty for none.
        """

    def write_body(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        """The next part of the body; with the first the head leaves. May be empty."""

    def response_over(self) -> bool:
        """Whether another exchange may follow; where not, the connection ends in good order."""

    def finish(self) -> None:
        """End the connection in good order."""

    def close(self) -> None:
        """End a connection on which nothing is going on."""

    def cut(self) -> None:
        """End the connection so that an unfinished response cannot look complete."""

    def open_tunnel(self, response: ResponseHead, fields: bytes) -> tuple[asyncio.Transport, bytes, bytes]:
        """Give the connection to a tunnel. Reading is paused.

        Args:
            response: The target's 101.
            fields: Field lines to add to it, as in `start_response`.

        Returns:
            The transport, the response head to send first, and the bytes that the client has sent already.

        Raises:
            Failure: the client has left.
        """

"""The target's side of one exchange, as an interface: the counterpart of `DownstreamExchange`.

An HTTP/1.1 connection (`target.http1_connection`) and an HTTP/2 stream (`target.http2_exchange`) implement it. A target inside this process
can implement it as well, so nothing here assumes a socket.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from albkit.model.message import RequestHead, ResponseHead
from albkit.proxy.downstream import DownstreamExchange, Upstream
from albkit.state.target import TargetState

__all__ = ("UpstreamExchange",)


class UpstreamExchange(Upstream, Protocol):
    """One request to a target and its response.

    The order of calls: `send_head`, `write_body` as often as needed or `flush`, then wait for the future that `send_head` got. After that
    `response` is set. Either call `first_pieces`, `relay_body` if they are not all, and `release`; or, after a 101, `detach`. At any
    point `abort` ends it.
    """

    member: TargetState

    @property
    def gives_up_connection(self) -> bool:
        """As in `DownstreamExchange`."""

    response: ResponseHead
    """The head of the response; set when the future that `send_head` got is done."""

    def send_head(self, request: RequestHead, client: DownstreamExchange, waiter: asyncio.Future[object]) -> None:
        """Begin the exchange. The head leaves with the first `write_body`, or with `flush`.

        Args:
            request: Stays as it is: it may be sent to another target later.
            client: Gets the response. Until `release`, `detach` or `abort`, this is its `upstream`.
            waiter: Gets a result when the head of the response has come, or the failure of the target. `Failure.is_stale` is set if the
                target may have closed the connection before it got the request.
        """

    def write_body(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        """Send the next part of the request body, unframed, in one write with the head if that has not left yet.

        Args:
            pieces: May be empty.
            over: Whether these are the last.
            trailers: Field lines that follow the body; only with `over`.
        """

    def flush(self) -> None:
        """Send the head if it has not left yet: the body will follow later."""

    def first_pieces(self) -> tuple[list[bytes], bool, list[bytes]]:
        """Return what has come of the response body so far: the pieces, whether they are all, and the trailers.

        Raises:
            Failure: the body is malformed.
        """

    def relay_body(self, waiter: asyncio.Future[object]) -> None:
        """Pass the rest of the body to the client as it comes, and set the result of `waiter` after the last piece."""

    def release(self) -> None:
        """End an exchange whose response was taken in full. The implementation decides whether the target can be reused."""

    def abort(self) -> None:
        """End the exchange at once, in any state."""

    def detach(self) -> tuple[asyncio.Transport, bytes, bool]:
        """Hand the connection over to a tunnel, after a 101.

        Returns:
            The transport, the bytes that came after the 101, and whether FIN came after them.

        Raises:
            Failure: the target has closed the connection already.
        """

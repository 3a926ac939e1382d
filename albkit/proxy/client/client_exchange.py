"""What exchanges with clients have in common, whatever the protocol: waiting, failures, and request bodies that hooks read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from albkit.errors import Failure, FailureKind
from albkit.model.extensions import BodyTooLarge
from albkit.model.message import ClientAddress, RequestHead
from albkit.proxy.client.buffered_body import BufferedBody
from albkit.proxy.downstream import BodySink
from albkit.wire.http1.forwarded import ForwardedFields

__all__ = ("ClientExchange",)

_DEFAULT_LIMIT: Final = 1024 * 1024
"""Bytes of a body that a hook gets unless it asks for more."""
_LONGEST_SHOWN: Final = 200
"""Characters of a request in logs."""


# No `__slots__`, so that a subclass can have another base class with slots (`http2.stream`). The subclasses have slots for all of these.
class ClientExchange:
    """Implements a part of `DownstreamExchange`."""

    address: ClientAddress
    forwarded: ForwardedFields
    is_trusted_proxy: bool
    interrupt: Callable[[], None] | None
    response_started: bool
    _loop: asyncio.AbstractEventLoop
    _waiter: asyncio.Future[object] | None
    """What the exchange waits for."""
    _failure: Failure | None
    """A failure that came while the exchange did not wait. The next wait raises it."""
    _request: RequestHead | None
    _buffered_body: BufferedBody | None
    """The request body as far as a hook has read it."""

    @property
    def shown_request(self) -> str:
        """The latest request in short, for logs. Escaped, because a client chose its text."""
        request = self._request
        return ascii(f"{request.method} {request.path}"[:_LONGEST_SHOWN]) if request is not None else "no request"

    # Waiting. An exchange waits for one thing at a time, so there is one future; whoever brings the thing about sets its result.

    def wait(self) -> asyncio.Future[object]:
        waiter = self._waiter = self._loop.create_future()
        if self._failure is not None:
            waiter.set_exception(self._failure)
            self._failure = None
        return waiter

    def wake(self) -> None:
        """Something has changed for an exchange that waits for a request head."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def fail(self, failure: Failure) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._failure = self._failure or failure
            if self.interrupt is not None:
                self.interrupt()
        else:
            waiter.set_exception(failure)

    def client_left(self, detail: str = "") -> None:
        """The client closed its connection, or reset the stream, before the response was complete."""
        self.fail(Failure(FailureKind.CLIENT_CLOSED_IN_RESPONSE if self.response_started else FailureKind.CLIENT_CLOSED, detail))

    def raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    # The body, as hooks read it.

    async def read_body(self, limit: int = _DEFAULT_LIMIT) -> bytes:
        request = self._request
        if request is None or not request.has_body:
            return b""
        if request.expects_continue:
            request.expects_continue = False  # The forward action must not send a second 100.
            self.send_continue()
        buffered = self._buffered_body
        if buffered is None:
            buffered = self._buffered_body = BufferedBody()
        if not buffered.over:
            self.pump_body(buffered)
            while not buffered.over and buffered.size <= limit:
                buffered.arrived = self.wait()
                try:
                    await buffered.arrived
                except Failure as failure:
                    self._failure = failure  # A hook that catches it must not be able to ignore it.
                    raise
            self.park_body()
        if buffered.size > limit:
            raise BodyTooLarge(f"the request body has more than {limit} bytes")
        return b"".join(buffered.pieces)

    # What `read_body` needs of the subclass.

    def send_continue(self) -> None:
        raise NotImplementedError

    def pump_body(self, sink: BodySink) -> None:
        raise NotImplementedError

    def park_body(self) -> None:
        raise NotImplementedError

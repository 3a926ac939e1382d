"""The deadlines of a client connection while it takes requests."""

from __future__ import annotations

import asyncio

from albkit.errors import Failure, FailureKind
from albkit.proxy.client.client_socket import ClientSocket
from albkit.proxy.client.http1_exchange import Http1Exchange
from albkit.proxy.client.http1_states import AWAITING_HEAD, IN_EXCHANGE, READING_BODY
from albkit.proxy.client.min_body_rate import MinBodyRate
from albkit.proxy.transports import peer_has_left

__all__ = ("Deadlines",)


class Deadlines:
    """Finds out, sweep by sweep, what one connection waits for in vain, and fails its exchange with what is to blame.

    Args:
        socket: The connection's.
        expires: Monotonic time after which the next response is the connection's last (`client_keep_alive`).
    """

    __slots__ = ("_expires", "_head_number", "_head_since", "_min_body_rate", "_socket")

    def __init__(self, socket: ClientSocket, expires: float) -> None:
        self._socket = socket
        self._expires = expires
        self._head_number = -1
        self._head_since = 0.0
        """When the first byte was seen of the head that follows this number of requests."""
        rate = socket.limits.request_body_rate
        self._min_body_rate = MinBodyRate(rate) if rate else None

    def check(self, exchange: Http1Exchange, transport: asyncio.Transport, now: float) -> None:
        """Fail what is overdue.

        Args:
            exchange: The connection's.
            transport: The connection's.
            now: The sweep's time.
        """
        socket = self._socket
        # The connection is not closed in the middle of keep-alive: a request may be on its way, and would be lost.
        if now >= self._expires:
            exchange.is_last = True
        if socket.state == AWAITING_HEAD and socket.receive_buffer:
            self._check_head(exchange, now)
        if self._min_body_rate is not None:
            awaited = socket.state == READING_BODY and not socket.is_paused
            if self._min_body_rate.is_too_slow(now, exchange.served, exchange.received_bytes, awaited=awaited):
                rate = f"less than {socket.limits.request_body_rate:g} bytes a second"
                exchange.fail(Failure(FailureKind.REQUEST_BODY_TOO_SLOW, rate))
        unsent = transport.get_write_buffer_size()
        # uvloop reads up to 256,000 bytes at a time, and all of it would wait here for the client. Rather let the target's kernel keep it.
        if exchange.is_full and exchange.upstream is not None:
            exchange.upstream.read_in_small_chunks()
        idle = socket.idle_tracker.seconds(now, unsent, exchange.upstream, received=socket.is_active)
        socket.is_active = False
        if idle >= socket.idle_timeout:
            self._end_idle(exchange, transport, unsent)
        # A transport that is not read does not report that the client has left.
        if socket.is_paused and socket.state in (IN_EXCHANGE, READING_BODY) and peer_has_left(transport):
            exchange.client_left("seen while reading was paused")

    def _check_head(self, exchange: Http1Exchange, now: float) -> None:
        """Part of a request head has arrived: the rest has until `request_head_timeout` after the first byte."""
        # While a client does not read its responses, nobody looks whether its next head is complete.
        if self._head_number != exchange.served or exchange.is_full:
            self._head_number = exchange.served
            self._head_since = now
            return
        timeout = self._socket.limits.request_head_timeout or self._socket.idle_timeout
        if now - self._head_since >= timeout:
            exchange.fail(Failure(FailureKind.REQUEST_HEAD_TIMEOUT, f"the whole head has {timeout:g} s from its first byte"))

    def _end_idle(self, exchange: Http1Exchange, transport: asyncio.Transport, unsent: int) -> None:
        """Nothing has moved for the idle timeout. What the connection was waiting for decides who is to blame."""
        socket = self._socket
        state = socket.state
        if state == AWAITING_HEAD and unsent:
            # The response is complete, and the client does not read it. Its loss ends the wait for the next head.
            transport.abort()
        elif state == AWAITING_HEAD:
            if exchange.served and not socket.receive_buffer:
                exchange.takes_no_more = True
                exchange.wake()
            else:
                exchange.fail(Failure(FailureKind.REQUEST_HEAD_TIMEOUT))
        elif exchange.response_started:
            exchange.fail(Failure(FailureKind.CLIENT_STALLED if unsent else FailureKind.RESPONSE_BODY_TIMEOUT))
            if unsent:
                # Cutting in good order would wait for the client once more.
                socket.abort()
        elif state == READING_BODY and not socket.is_paused:
            exchange.fail(Failure(FailureKind.REQUEST_BODY_TIMEOUT))
        else:
            exchange.fail(Failure(FailureKind.TARGET_TIMEOUT))

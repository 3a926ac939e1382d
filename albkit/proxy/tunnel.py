"""After a 101: two protocols that write to each other's transport. No task, no copy through a stream (design: the tunnel)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from albkit.errors import Failure, FailureKind
from albkit.model.record import ExchangeRecord
from albkit.proxy.gateway import Gateway
from albkit.proxy.transports import peer_has_reset, reset
from albkit.state.target import TargetState

__all__ = ("HALF_CLOSE_SILENCE", "Tunnel")

_CLOSING: Final = 2.0
"""Seconds for both sides to end after our FINs, before they are cut."""

HALF_CLOSE_SILENCE: Final = 30.0
"""Seconds of silence after which a direction ends that was left open when the other had sent FIN."""


class Tunnel:
    """One upgraded connection: a leg towards the client, a leg towards the target.

    Args:
        client: The client's transport, with reading paused.
        target: The target's transport.
        early: What the client sent before the 101 was read; it goes to the target first.
        over: Called once, when both sockets are gone.
    """

    __slots__ = ("_closing_since", "_gateway", "_over", "_silent_since", "active", "client_leg", "member", "record", "target_leg")

    def __init__(
        self,
        client: asyncio.Transport,
        target: asyncio.Transport,
        member: TargetState,
        record: ExchangeRecord,
        gateway: Gateway,
        over: Callable[[Tunnel], None],
    ) -> None:
        self.member = member
        self._gateway = gateway
        self.record = record
        self._over = over
        self._silent_since = self._closing_since = 0.0
        self.active = True
        self.client_leg = _Leg(self, client)
        self.target_leg = _Leg(self, target)
        self.client_leg.other = self.target_leg
        self.target_leg.other = self.client_leg
        gateway.tunnels.add(self)
        gateway.sweep.add(self)

    def open(self, head: bytes, behind: bytes, early: bytes) -> None:
        """Send the 101 with what came behind it to the client, what the client sent early to the target, and let the bytes flow."""
        self.record.sent_bytes += len(head)
        client, target = self.client_leg, self.target_leg
        client.transport.set_protocol(client)
        target.transport.set_protocol(target)
        client.transport.write(head)
        if behind:
            target.data_received(behind)
        if early:
            client.data_received(early)
        if not target.writing_paused:
            client.transport.resume_reading()
        if not client.writing_paused:
            target.transport.resume_reading()

    def count_pause(self) -> None:
        """A leg has as much to send as it may have; the other is not read for a while."""
        self._gateway.counters.reading_paused += 1

    def lost(self, leg: _Leg, exc: Exception | None) -> None:
        """A leg is gone; with the second the tunnel is over."""
        if exc is not None:
            kind = FailureKind.TUNNEL_RESET_BY_CLIENT if leg is self.client_leg else FailureKind.TUNNEL_RESET_BY_TARGET
            self._ended(kind, str(exc))
        if self.client_leg.gone and self.target_leg.gone:
            self._gateway.sweep.discard(self)
            self.record.received_bytes += self.client_leg.count
            self.record.sent_bytes += self.target_leg.count
            self._over(self)
            self._gateway.left(self)

    def stop(self) -> None:
        """End both directions in good order."""
        self.client_leg.send_fin()
        self.target_leg.send_fin()

    def close(self, now: float) -> None:
        """End both directions in good order, and cut them if that takes too long."""
        if not self._closing_since:
            self._closing_since = now
            self.stop()

    def abandon(self) -> None:
        """End both sockets now."""
        self.client_leg.transport.abort()
        self.target_leg.transport.abort()

    def sweep(self, now: float) -> None:
        """End a tunnel that is silent, and notice what paused and half-closed legs do not."""
        legs = (self.client_leg, self.target_leg)
        moved = [self.active, self._silent_since == 0.0, *[leg.drained_some() for leg in legs]]
        if any(moved):
            self.active = False
            self._silent_since = now
        for leg in legs:
            if leg.is_deaf and peer_has_reset(leg.transport):
                self._ended(FailureKind.TUNNEL_RESET_BY_CLIENT if leg is self.client_leg else FailureKind.TUNNEL_RESET_BY_TARGET)
                reset(leg.other.transport)
                leg.transport.abort()
                return
        silent = now - self._silent_since
        if self._closing_since:
            if now - self._closing_since >= _CLOSING:
                self.abandon()
        elif any(leg.received_fin for leg in legs) and silent >= HALF_CLOSE_SILENCE:
            self.abandon()
        elif silent >= self._gateway.settings.idle_timeout:
            self._ended(FailureKind.TUNNEL_IDLE)
            self.close(now)

    def _ended(self, kind: FailureKind, detail: str = "") -> None:
        if self.record.failure is None:
            self.record.failure = Failure(kind, detail)


class _Leg(asyncio.Protocol):
    """One side of a tunnel: what it receives the other side writes."""

    __slots__ = ("_unsent", "count", "gone", "other", "reading_paused", "received_fin", "sent_fin", "transport", "tunnel", "writing_paused")

    other: _Leg

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport) -> None:
        self.tunnel = tunnel
        self.transport = transport
        self.count = 0
        self.gone = False
        self.reading_paused = False
        self.writing_paused = False
        self.received_fin = False
        self.sent_fin = False
        self._unsent = 0

    def data_received(self, data: bytes) -> None:
        self.tunnel.active = True
        self.count += len(data)
        other = self.other
        if not other.gone and not other.sent_fin:
            other.transport.write(data)

    def eof_received(self) -> bool:
        """FIN is passed on; the other direction goes on."""
        self.received_fin = True
        self.tunnel.active = True
        self.other.send_fin()
        if self.other.received_fin:
            # Both sides are through: what is written is flushed, then both sockets close.
            self.other.transport.close()
            return False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        other = self.other
        if not other.gone:
            if exc is not None:
                reset(other.transport)
            elif not (self.received_fin and other.received_fin):
                # Cut by us before both sides were through: nothing can come or go any more.
                other.transport.abort()
        self.tunnel.lost(self, exc)

    def send_fin(self) -> None:
        """End this leg's outgoing direction, once."""
        if self.gone or self.sent_fin:
            return
        self.sent_fin = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        self.writing_paused = True
        self.tunnel.count_pause()
        self._pause_other(True)

    def resume_writing(self) -> None:
        self.writing_paused = False
        self._pause_other(False)

    def _pause_other(self, paused: bool) -> None:
        other = self.other
        other.reading_paused = paused
        if not other.gone:
            if paused:
                other.transport.pause_reading()
            else:
                other.transport.resume_reading()

    @property
    def is_deaf(self) -> bool:
        """Whether the loop would not tell of a reset, because this leg is not read."""
        return not self.gone and (self.reading_paused or self.received_fin)

    def drained_some(self) -> bool:
        """Whether the kernel took bytes since the last look, so that a slow reader does not count as a silent one."""
        unsent = 0 if self.gone else self.transport.get_write_buffer_size()
        changed = unsent != self._unsent
        self._unsent = unsent
        return changed

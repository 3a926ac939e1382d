"""A tunnel: after a 101, two legs that write to each other's transport, and the deadlines that end them (docs/tunnels.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from albkit.errors import Failure, FailureKind
from albkit.model.message import ClientAddress, RequestHead
from albkit.model.target import Target
from albkit.model.tunnel import TunnelEnd, TunnelPolicy, fault_of_close
from albkit.proxy.runtime import CLOSE_TIMEOUT, Runtime
from albkit.proxy.transports import peer_has_reset, reset
from albkit.proxy.tunnel.leg import Leg
from albkit.proxy.tunnel.recheck import Recheck
from albkit.proxy.tunnel.websocket_leg import WebSocketLeg
from albkit.proxy.tunnel.websocket_pinger import Pinger
from albkit.state.record import ExchangeRecord
from albkit.state.target import TargetState
from albkit.wire.websocket.frames import FrameFollower

__all__ = ("HALF_CLOSE_SILENCE", "Tunnel")

HALF_CLOSE_SILENCE: Final = 30.0
"""Seconds of silence after which a half-closed tunnel ends: one side has sent FIN, and the other sends nothing."""

_GOING_AWAY = 1001
_PROTOCOL_ERROR = 1002
_POLICY_VIOLATION = 1008
_TOO_LARGE = 1009
_INTERNAL_ERROR = 1011


class Tunnel:
    """One upgraded connection, with a leg to the client and a leg to the target. Implements `albkit.extensions.Tunnel`.

    Args:
        client: The client's transport, with reading paused.
        target: The target's transport.
        member: The target.
        record: Gets the bytes of both directions, and why the tunnel ended.
        protocol: The protocol that the target switched to.
        policy: Sets the deadlines and limits.
        extensions: The extensions that a WebSocket handshake agreed on, empty for none; `None` if the bytes must not be read as frames.
        runtime: Of the load balancer.
        on_closed: Called once, when both sides are closed.
        connections: How many connections the two transports are. A stream of an HTTP/2 connection is none.
    """

    __slots__ = (
        "_close_code",
        "_closed",
        "_closing_since",
        "_drain_at",
        "_on_closed",
        "_opened",
        "_policy",
        "_recheck",
        "_runtime",
        "_silent_since",
        "_used_since",
        "client_leg",
        "connections",
        "end",
        "id",
        "member",
        "protocol",
        "record",
        "target_leg",
    )

    def __init__(
        self,
        client: asyncio.Transport,
        target: asyncio.Transport,
        member: TargetState,
        record: ExchangeRecord,
        protocol: str,
        policy: TunnelPolicy,
        extensions: bytes | None,
        runtime: Runtime,
        on_closed: Callable[[Tunnel], None],
        connections: int = 2,
    ) -> None:
        self.member = member
        self.connections = connections
        self.record = record
        self.protocol = protocol
        self.end: TunnelEnd | None = None
        self._close_code = 0
        self._policy = policy
        self._runtime = runtime
        self._on_closed = on_closed
        now = runtime.clock.monotonic()
        self._opened = self._silent_since = self._used_since = now
        self._closing_since: float | None = None
        self._drain_at: float | None = None
        self._recheck: Recheck | None = None
        if policy.recheck is not None:
            self._recheck = Recheck(self, policy.recheck, policy.recheck_every, runtime, self._recheck_refused, self._recheck_failed)
        self._closed: asyncio.Future[None] | None = None
        self.client_leg: Leg
        self.target_leg: Leg
        if extensions is None:
            self.client_leg, self.target_leg = Leg(self, client), Leg(self, target)
        else:
            self.client_leg, self.target_leg = self._websocket_legs(client, target, extended=bool(extensions))
        self.client_leg.other, self.target_leg.other = self.target_leg, self.client_leg
        self.id = runtime.add_tunnel(self)

    def _websocket_legs(self, client: asyncio.Transport, target: asyncio.Transport, *, extended: bool) -> tuple[Leg, Leg]:
        policy = self._policy
        most = policy.max_message_size or 0
        from_client = FrameFollower(masked=True, extended=extended, most=most)
        from_target = FrameFollower(masked=False, extended=extended, most=most)
        from_client.opposite, from_target.opposite = from_target, from_client
        legs = WebSocketLeg(self, client, from_client, masks=False), WebSocketLeg(self, target, from_target, masks=True)
        if policy.ping_interval is not None:
            for leg in legs:
                leg.pinger = Pinger(leg, policy.ping_interval, policy.pong_timeout, self.masking_key(), self._opened)
        return legs

    def open(
        self,
        head: bytes,
        early_from_target: bytes,
        early_from_client: bytes,
        *,
        target_sent_fin: bool,
        client_sent_fin: bool = False,
        client_is_full: bool = False,
        target_is_full: bool = False,
    ) -> None:
        """Send the 101 and the bytes that came too early, and relay from then on.

        Args:
            head: The 101; empty at layer 4.
            early_from_target: Bytes that the target has sent already.
            early_from_client: Bytes that the client has sent already.
            target_sent_fin: Whether FIN came after the bytes of the target.
            client_sent_fin: Whether FIN came after the bytes of the client.
            client_is_full: Whether the write buffer of the client is full. Its transport reported that to the exchange, and does not again.
            target_is_full: The same for the target, as after a large request body.
        """
        self.record.sent_bytes += len(head)
        client, target = self.client_leg, self.target_leg
        # In this order: a full leg pauses the other one before anything is written to it, the 101 precedes all bytes of the target, and
        # reading starts last, so that no new bytes overtake the early ones.
        client.transport.set_protocol(client)
        target.transport.set_protocol(target)
        if client_is_full:
            client.pause_writing()
        if target_is_full:
            target.pause_writing()
        if head:
            client.transport.write(head)
        if early_from_target:
            target.data_received(early_from_target)
        if target_sent_fin and not target.eof_received():
            target.transport.close()
        if early_from_client:
            client.data_received(early_from_client)
        if client_sent_fin and not client.eof_received():
            client.transport.close()
        client.start_reading()
        target.start_reading()

    # What a program sees (albkit.extensions.Tunnel).

    @property
    def client(self) -> ClientAddress:
        return self.record.client

    @property
    def target(self) -> Target:
        return self.member.target

    @property
    def group(self) -> str:
        return self.record.group.group.name if self.record.group is not None else ""

    @property
    def request(self) -> RequestHead:
        request = self.record.request
        if request is None:
            raise TypeError("a tunnel without a request")
        return request

    @property
    def age(self) -> float:
        return self._runtime.clock.monotonic() - self._opened

    @property
    def idle(self) -> float:
        if self.client_leg.active or self.target_leg.active:
            return 0.0
        return self._runtime.clock.monotonic() - self._used_since

    @property
    def bytes_in(self) -> int:
        return self.client_leg.received_bytes

    @property
    def bytes_out(self) -> int:
        return self.target_leg.received_bytes

    @property
    def frames_in(self) -> int | None:
        return _frames(self.client_leg)

    @property
    def frames_out(self) -> int | None:
        return _frames(self.target_leg)

    @property
    def close_code(self) -> int | None:
        return self._close_code or None

    async def close(self, code: int = _GOING_AWAY, reason: str = "") -> None:
        wrong = fault_of_close(code, reason)
        if wrong:
            raise ValueError(wrong)
        if self.client_leg.lost and self.target_leg.lost:
            return
        if self._closed is None:
            self._closed = self._runtime.loop.create_future()
        self._start_close(TunnelEnd.CLOSED, code, reason)
        await asyncio.shield(self._closed)

    def begin_close(self, code: int, reason: str) -> None:
        """Begin what `close` does, and do not wait. The code and the reason must be valid."""
        self._start_close(TunnelEnd.CLOSED, code, reason)

    def __repr__(self) -> str:
        return f"<Tunnel {self.id} {self.client} -> {self.group}/{self.target} {self.protocol} {self.end or 'open'}>"

    # What the legs call (documented in `leg.Owner`).

    @property
    def closing(self) -> bool:
        """Whether the load balancer is closing the tunnel."""
        return self._closing_since is not None

    def side_of(self, leg: Leg) -> str:
        return "client" if leg is self.client_leg else "target"

    def masking_key(self) -> bytes:
        """Four random bytes: the masking key of a frame."""
        return self._runtime.clock.entropy(4)

    def call_soon(self, call: Callable[[], None]) -> None:
        self._runtime.loop.call_soon(call)

    def count_ping(self) -> None:
        self._runtime.counters.tunnel_pinged()

    def count_pause(self) -> None:
        """Count that reading was paused on one side because the write buffer of the other is full."""
        self._runtime.counters.reading_was_paused()

    def end_received(self, leg: Leg) -> None:
        """One side has sent a Close frame or FIN."""
        follower = leg.follower if isinstance(leg, WebSocketLeg) else None
        code = follower.close_code if follower is not None else 0
        self._note_end(TunnelEnd.CLIENT if leg is self.client_leg else TunnelEnd.TARGET, code=code)

    def message_too_large(self, leg: Leg) -> None:
        """One side began a message that is larger than the policy allows."""
        ours = leg is self.client_leg
        kind = FailureKind.TUNNEL_MESSAGE_OF_CLIENT_TOO_LARGE if ours else FailureKind.TUNNEL_MESSAGE_OF_TARGET_TOO_LARGE
        self._start_close(TunnelEnd.MESSAGE_TOO_LARGE, _TOO_LARGE, "message too large", Failure(kind))

    def frames_invalid(self, leg: Leg) -> None:
        """One side sends bytes that are not WebSocket frames. Relay them as bytes from now on; or close, if the policy limits messages."""
        if self._policy.max_message_size is not None:
            ours = leg is self.client_leg
            kind = FailureKind.TUNNEL_CLIENT_SENDS_NO_FRAMES if ours else FailureKind.TUNNEL_TARGET_SENDS_NO_FRAMES
            self._start_close(TunnelEnd.ERROR, _PROTOCOL_ERROR, "these are no frames", Failure(kind))
            leg.send_fin()
            return
        for one in (self.client_leg, self.target_leg):
            if isinstance(one, WebSocketLeg):
                one.stop_following()
            if self.closing:
                one.send_fin()

    def leg_lost(self, leg: Leg, exc: Exception | None) -> None:
        """The socket of one side is closed; after the second the tunnel is over."""
        if exc is not None:
            self._note_reset(leg, str(exc))
        else:
            # A TLS connection that closes reports no FIN before.
            self.end_received(leg)
        if self.client_leg.lost and self.target_leg.lost:
            self._finish()
        else:
            # The other side gets its own time to take what was written to it.
            self._silent_since = self._runtime.clock.monotonic()

    def _finish(self) -> None:
        client, target = self.client_leg, self.target_leg
        self._runtime.sweep.discard(self)
        if self._recheck is not None:
            self._recheck.give_up()
        self.record.received_bytes += client.received_bytes
        self.record.sent_bytes += target.received_bytes - target.withheld_bytes + client.injected_bytes
        try:
            self._runtime.remove_tunnel(self)
            self._on_closed(self)
        finally:
            if self._closed is not None and not self._closed.done():
                self._closed.set_result(None)
            self._runtime.check_drained()

    # How it ends.

    def stop(self) -> None:
        """Close the tunnel, because the load balancer stops."""
        self._start_close(TunnelEnd.STOP, _GOING_AWAY, "the load balancer stops")

    def drain(self, at: float) -> None:
        """The target was deregistered: close the tunnel when the monotonic clock has reached `at`."""
        self._drain_at = at
        if at <= self._runtime.clock.monotonic():
            self._start_close(TunnelEnd.DRAIN, self._policy.drain_code, "the target goes away")

    def cancel_drain(self) -> None:
        """The target was registered again: stay open."""
        self._drain_at = None

    @property
    def drain_spread(self) -> float:
        """Seconds over which the tunnels of a deregistered target are closed."""
        return self._policy.drain_spread

    def abandon(self) -> None:
        """Close both sockets now."""
        self.client_leg.transport.abort()
        self.target_leg.transport.abort()

    def _start_close(self, end: TunnelEnd, code: int, reason: str, failure: Failure | None = None) -> None:
        """Close both sides gracefully; the sweep aborts them if that takes longer than `CLOSE_TIMEOUT`."""
        if self.closing:
            return
        self._note_end(end, failure, code if isinstance(self.client_leg, WebSocketLeg) else 0)
        self._closing_since = self._runtime.clock.monotonic()
        self.client_leg.start_close(code, reason)
        self.target_leg.start_close(code, reason)

    def _recheck_refused(self) -> None:
        self._start_close(TunnelEnd.RECHECK, _POLICY_VIOLATION, "not allowed any more", Failure(FailureKind.TUNNEL_NOT_ALLOWED_ANY_MORE))

    def _recheck_failed(self, why: str) -> None:
        self._start_close(TunnelEnd.ERROR, _INTERNAL_ERROR, "", Failure(FailureKind.TUNNEL_RECHECK_FAILED, why))

    def _note_end(self, end: TunnelEnd, failure: Failure | None = None, code: int = 0) -> None:
        """Note why the tunnel ended, and the code of the Close frame, if this is the first cause."""
        if self.end is None:
            self.end = end
            self._close_code = code
            self.record.failure = failure

    def _note_reset(self, leg: Leg, detail: str = "") -> None:
        if leg is self.client_leg:
            self._note_end(TunnelEnd.CLIENT, Failure(FailureKind.TUNNEL_RESET_BY_CLIENT, detail))
        else:
            self._note_end(TunnelEnd.TARGET, Failure(FailureKind.TUNNEL_RESET_BY_TARGET, detail))

    # Deadlines.

    def sweep(self, now: float) -> None:
        """Close the tunnel if a deadline has passed, ping silent sides, and check sides that are not read for a reset."""
        client, target = self.client_leg, self.target_leg
        if client.active or target.active:
            self._used_since = now
        client_progress, target_progress = client.made_progress(), target.made_progress()
        if client_progress or target_progress:
            self._silent_since = now
        silent = now - self._silent_since
        if self._closing_since is not None:
            if now - self._closing_since >= CLOSE_TIMEOUT:
                self.abandon()
            return
        if client.lost or target.lost:
            self._sweep_remaining(target if client.lost else client, silent)
        elif client.is_unread or target.is_unread:
            self._sweep_unread(silent)
        self._sweep_deadlines(now, silent, client_alive=client_progress, target_alive=target_progress)

    def _sweep_deadlines(self, now: float, silent: float, *, client_alive: bool, target_alive: bool) -> None:
        client, target = self.client_leg, self.target_leg
        policy = self._policy
        if self._drain_at is not None and now >= self._drain_at:
            self._start_close(TunnelEnd.DRAIN, policy.drain_code, "the target goes away")
            return
        if policy.max_age is not None and now - self._opened >= policy.max_age:
            self._start_close(TunnelEnd.MAX_AGE, _GOING_AWAY, "too old")
            return
        if policy.ping_interval is not None:
            self._sweep_pings(client, now, alive=client_alive or client.reading_paused)
            self._sweep_pings(target, now, alive=target_alive or target.reading_paused)
        if silent >= (policy.idle_timeout or self._runtime.settings.idle_timeout) and not self._awaits_pong(now):
            self._start_close(TunnelEnd.IDLE, _GOING_AWAY, "idle", Failure(FailureKind.TUNNEL_IDLE))
        elif self._recheck is not None and not self.closing:
            self._recheck.sweep(now)

    def _awaits_pong(self, now: float) -> bool:
        """Whether a side was pinged and still has time to answer. The ping may be late itself, if the event loop was blocked."""
        return any(
            isinstance(leg, WebSocketLeg) and leg.pinger is not None and leg.pinger.may_still_answer(now)
            for leg in (self.client_leg, self.target_leg)
        )

    def _sweep_unread(self, silent: float) -> None:
        """Handle sides that are not read: notice a reset, and close a tunnel that has been half-closed and silent for too long."""
        for leg in (self.client_leg, self.target_leg):
            if leg.is_unread and peer_has_reset(leg.transport):
                leg.handle_reset()
        if silent >= HALF_CLOSE_SILENCE and (self.client_leg.received_fin or self.target_leg.received_fin):
            self.abandon()

    def _sweep_remaining(self, leg: Leg, silent: float) -> None:
        """Close the last side, when it has taken everything that the other one had sent, or takes no more."""
        if silent >= (CLOSE_TIMEOUT if leg.is_flushed else HALF_CLOSE_SILENCE):
            self.abandon()

    def _sweep_pings(self, leg: Leg, now: float, *, alive: bool) -> None:
        """Ping one side if that is due. If it did not answer the last ping in time, reset it, and close the other side with Close 1011."""
        if self.closing or not isinstance(leg, WebSocketLeg) or leg.pinger is None:
            return
        if not (leg.may_be_pinged and leg.other.may_be_pinged and leg.pinger.check(now, alive=alive)):
            return
        ours = leg is self.client_leg
        kind = FailureKind.TUNNEL_CLIENT_DEAD if ours else FailureKind.TUNNEL_TARGET_DEAD
        self._note_end(TunnelEnd.PONG_TIMEOUT, Failure(kind), _INTERNAL_ERROR)
        self._closing_since = now
        leg.other.start_close(_INTERNAL_ERROR, f"the {'client' if ours else 'target'} does not answer pings")
        reset(leg.transport)


def _frames(leg: Leg) -> int | None:
    follower = leg.follower if isinstance(leg, WebSocketLeg) else None
    return follower.frames if follower is not None else None

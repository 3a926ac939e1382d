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
        over: Called once, when both sockets are closed.
    """

    __slots__ = (
        "_closed_at",
        "_drain_at",
        "_gone",
        "_opened",
        "_over",
        "_policy",
        "_recheck",
        "_runtime",
        "_silent_since",
        "_used_since",
        "client_leg",
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
        over: Callable[[Tunnel], None],
    ) -> None:
        self.member = member
        self.record = record
        self.protocol = protocol
        self.end: TunnelEnd | None = None
        self._policy = policy
        self._runtime = runtime
        self._over = over
        now = runtime.clock.monotonic()
        self._opened = self._silent_since = self._used_since = now
        self._closed_at: float | None = None
        self._drain_at: float | None = None
        self._recheck: Recheck | None = None
        if policy.recheck is not None:
            self._recheck = Recheck(self, policy.recheck, policy.recheck_every, runtime, self._refuse_to_stay, self._recheck_failed)
        self._gone: asyncio.Future[None] | None = None
        self.client_leg: Leg
        self.target_leg: Leg
        if extensions is None:
            self.client_leg, self.target_leg = Leg(self, client), Leg(self, target)
        else:
            self.client_leg, self.target_leg = self._legs_of_frames(client, target, extended=bool(extensions))
        self.client_leg.other, self.target_leg.other = self.target_leg, self.client_leg
        self.id = runtime.add_tunnel(self)

    def _legs_of_frames(self, client: asyncio.Transport, target: asyncio.Transport, *, extended: bool) -> tuple[Leg, Leg]:
        policy = self._policy
        most = policy.max_message_size or 0
        from_client = FrameFollower(masked=True, extended=extended, most=most)
        from_target = FrameFollower(masked=False, extended=extended, most=most)
        from_client.opposite, from_target.opposite = from_target, from_client
        legs = WebSocketLeg(self, client, from_client, masks=False), WebSocketLeg(self, target, from_target, masks=True)
        if policy.ping_interval is not None:
            for leg in legs:
                leg.probe = Pinger(leg, policy.ping_interval, policy.pong_timeout, self.key(), self._opened)
        return legs

    def open(
        self,
        head: bytes,
        behind: bytes,
        early: bytes,
        *,
        target_is_through: bool,
        client_is_through: bool = False,
        client_is_full: bool = False,
        target_is_full: bool = False,
    ) -> None:
        """Send the 101 and the bytes that came too early, and relay from then on.

        Args:
            head: The 101; empty at layer 4.
            behind: Bytes that the target has sent already.
            early: Bytes that the client has sent already.
            target_is_through: Whether FIN came behind the bytes of the target.
            client_is_through: Whether FIN came behind the bytes of the client.
            client_is_full: Whether the write buffer of the client is full. Its transport reported that to the exchange, and does not again.
            target_is_full: The same for the target, as after a large request body.
        """
        self.record.sent_bytes += len(head)
        client, target = self.client_leg, self.target_leg
        client.transport.set_protocol(client)
        target.transport.set_protocol(target)
        if client_is_full:
            client.pause_writing()
        if target_is_full:
            target.pause_writing()
        if head:
            client.transport.write(head)
        if behind:
            target.data_received(behind)
        if target_is_through and not target.eof_received():
            target.transport.close()
        if early:
            client.data_received(early)
        if client_is_through and not client.eof_received():
            client.transport.close()
        client.begin()
        target.begin()

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
        return self.client_leg.count

    @property
    def bytes_out(self) -> int:
        return self.target_leg.count

    @property
    def frames_in(self) -> int | None:
        return _frames(self.client_leg)

    @property
    def frames_out(self) -> int | None:
        return _frames(self.target_leg)

    async def close(self, code: int = _GOING_AWAY, reason: str = "") -> None:
        wrong = fault_of_close(code, reason)
        if wrong:
            raise ValueError(wrong)
        if self.client_leg.gone and self.target_leg.gone:
            return
        if self._gone is None:
            self._gone = self._runtime.loop.create_future()
        self._conclude(TunnelEnd.CLOSED, code, reason)
        await asyncio.shield(self._gone)

    def __repr__(self) -> str:
        return f"<Tunnel {self.id} {self.client} -> {self.group}/{self.target} {self.protocol} {self.end or 'open'}>"

    # What the legs report.

    @property
    def closing(self) -> bool:
        """Whether the load balancer is closing the tunnel."""
        return self._closed_at is not None

    def key(self) -> bytes:
        """Four random bytes: the masking key of a frame."""
        return self._runtime.clock.entropy(4)

    def soon(self, call: Callable[[], None]) -> None:
        """Call this in the next turn of the event loop."""
        self._runtime.loop.call_soon(call)

    def count_ping(self) -> None:
        """Count a ping to one side."""
        self._runtime.counters.tunnel_pinged()

    def count_pause(self) -> None:
        """Count that reading was paused on one side because the write buffer of the other is full."""
        self._runtime.counters.reading_was_paused()

    def note_end(self, leg: Leg) -> None:
        """One side has sent a Close frame or FIN."""
        self._ended(TunnelEnd.CLIENT if leg is self.client_leg else TunnelEnd.TARGET)

    def refuse_message(self, leg: Leg) -> None:
        """One side began a message that is larger than the policy allows."""
        ours = leg is self.client_leg
        kind = FailureKind.TUNNEL_MESSAGE_OF_CLIENT_TOO_LARGE if ours else FailureKind.TUNNEL_MESSAGE_OF_TARGET_TOO_LARGE
        self._conclude(TunnelEnd.MESSAGE_TOO_LARGE, _TOO_LARGE, "message too large", Failure(kind))

    def lose_frames(self, leg: Leg) -> None:
        """One side sends bytes that are not WebSocket frames. Relay them as bytes from now on; or close, if the policy limits messages."""
        if self._policy.max_message_size is not None:
            ours = leg is self.client_leg
            kind = FailureKind.TUNNEL_CLIENT_SENDS_NO_FRAMES if ours else FailureKind.TUNNEL_TARGET_SENDS_NO_FRAMES
            self._conclude(TunnelEnd.ERROR, _PROTOCOL_ERROR, "these are no frames", Failure(kind))
            leg.send_fin()
            return
        for one in (self.client_leg, self.target_leg):
            if isinstance(one, WebSocketLeg):
                one.stop_following()
            if self.closing:
                one.send_fin()

    def lost(self, leg: Leg, exc: Exception | None) -> None:
        """The socket of one side is closed; after the second the tunnel is over."""
        if exc is not None:
            self._reset_by(leg, str(exc))
        else:
            # A TLS connection that closes reports no FIN before.
            self.note_end(leg)
        if self.client_leg.gone and self.target_leg.gone:
            self._leave()
        else:
            # The other side gets its own time to take what was written to it.
            self._silent_since = self._runtime.clock.monotonic()

    def _leave(self) -> None:
        client, target = self.client_leg, self.target_leg
        self._runtime.sweep.discard(self)
        if self._recheck is not None:
            self._recheck.give_up()
        self.record.received_bytes += client.count
        self.record.sent_bytes += target.count - target.swallowed + client.injected
        try:
            self._runtime.remove_tunnel(self)
            self._over(self)
        finally:
            if self._gone is not None and not self._gone.done():
                self._gone.set_result(None)
            self._runtime.check_drained()

    # How it ends.

    def stop(self) -> None:
        """Close the tunnel, because the load balancer stops."""
        self._conclude(TunnelEnd.STOP, _GOING_AWAY, "the load balancer stops")

    def drain(self, at: float) -> None:
        """The target was deregistered: close the tunnel when the monotonic clock has reached `at`."""
        self._drain_at = at
        if at <= self._runtime.clock.monotonic():
            self._conclude(TunnelEnd.DRAIN, self._policy.drain_code, "the target goes away")

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

    def _conclude(self, end: TunnelEnd, code: int, reason: str, failure: Failure | None = None) -> None:
        """Close both sides gracefully; the sweep aborts them if that takes longer than `GRACE`."""
        if self.closing:
            return
        self._ended(end, failure)
        self._closed_at = self._runtime.clock.monotonic()
        self.client_leg.conclude(code, reason)
        self.target_leg.conclude(code, reason)

    def _refuse_to_stay(self) -> None:
        self._conclude(TunnelEnd.RECHECK, _POLICY_VIOLATION, "not allowed any more", Failure(FailureKind.TUNNEL_NOT_ALLOWED_ANY_MORE))

    def _recheck_failed(self, why: str) -> None:
        self._conclude(TunnelEnd.ERROR, _INTERNAL_ERROR, "", Failure(FailureKind.TUNNEL_RECHECK_FAILED, why))

    def _ended(self, end: TunnelEnd, failure: Failure | None = None) -> None:
        """Note why the tunnel ended, if this is the first cause."""
        if self.end is None:
            self.end = end
            self.record.failure = failure

    def _reset_by(self, leg: Leg, detail: str = "") -> None:
        if leg is self.client_leg:
            self._ended(TunnelEnd.CLIENT, Failure(FailureKind.TUNNEL_RESET_BY_CLIENT, detail))
        else:
            self._ended(TunnelEnd.TARGET, Failure(FailureKind.TUNNEL_RESET_BY_TARGET, detail))

    # Deadlines.

    def sweep(self, now: float) -> None:
        """Close the tunnel if a deadline has passed, ping silent sides, and check sides that are not read for a reset."""
        client, target = self.client_leg, self.target_leg
        if client.active or target.active:
            self._used_since = now
        client_moved, target_moved = client.moved(), target.moved()
        if client_moved or target_moved:
            self._silent_since = now
        silent = now - self._silent_since
        if self._closed_at is not None:
            if now - self._closed_at >= CLOSE_TIMEOUT:
                self.abandon()
            return
        if client.gone or target.gone:
            self._sweep_last(target if client.gone else client, silent)
        elif client.is_deaf or target.is_deaf:
            self._sweep_deaf(silent)
        self._sweep_deadlines(now, silent, client_heard=client_moved, target_heard=target_moved)

    def _sweep_deadlines(self, now: float, silent: float, *, client_heard: bool, target_heard: bool) -> None:
        client, target = self.client_leg, self.target_leg
        policy = self._policy
        if self._drain_at is not None and now >= self._drain_at:
            self._conclude(TunnelEnd.DRAIN, policy.drain_code, "the target goes away")
            return
        if policy.max_age is not None and now - self._opened >= policy.max_age:
            self._conclude(TunnelEnd.MAX_AGE, _GOING_AWAY, "too old")
            return
        if policy.ping_interval is not None:
            self._sweep_pings(client, now, heard=client_heard or client.reading_paused)
            self._sweep_pings(target, now, heard=target_heard or target.reading_paused)
        if silent >= (policy.idle_timeout or self._runtime.settings.idle_timeout) and not self._awaits_pong(now):
            self._conclude(TunnelEnd.IDLE, _GOING_AWAY, "idle", Failure(FailureKind.TUNNEL_IDLE))
        elif self._recheck is not None and not self.closing:
            self._recheck.sweep(now)

    def _awaits_pong(self, now: float) -> bool:
        """Whether a side was pinged and still has time to answer. The ping may be late itself, if the event loop was blocked."""
        return any(
            isinstance(leg, WebSocketLeg) and leg.probe is not None and leg.probe.is_awaited(now)
            for leg in (self.client_leg, self.target_leg)
        )

    def _sweep_deaf(self, silent: float) -> None:
        """Handle sides that are not read: notice a reset, and close a tunnel that has been half-closed and silent for too long."""
        for leg in (self.client_leg, self.target_leg):
            if leg.is_deaf and peer_has_reset(leg.transport):
                leg.meet_reset()
        if silent >= HALF_CLOSE_SILENCE and (self.client_leg.received_fin or self.target_leg.received_fin):
            self.abandon()

    def _sweep_last(self, leg: Leg, silent: float) -> None:
        """Close the last side, when it has taken everything that the other one had sent, or takes no more."""
        if silent >= (CLOSE_TIMEOUT if leg.is_flushed else HALF_CLOSE_SILENCE):
            self.abandon()

    def _sweep_pings(self, leg: Leg, now: float, *, heard: bool) -> None:
        """Ping one side if that is due. If it did not answer the last ping in time, reset it, and close the other side with Close 1011."""
        if self.closing or not isinstance(leg, WebSocketLeg) or leg.probe is None:
            return
        if not (leg.may_be_pinged and leg.other.may_be_pinged and leg.probe.look(now, heard=heard)):
            return
        ours = leg is self.client_leg
        kind = FailureKind.TUNNEL_CLIENT_DEAD if ours else FailureKind.TUNNEL_TARGET_DEAD
        self._ended(TunnelEnd.PONG_TIMEOUT, Failure(kind))
        self._closed_at = now
        leg.other.conclude(_INTERNAL_ERROR, f"the {'client' if ours else 'target'} does not answer pings")
        reset(leg.transport)


def _frames(leg: Leg) -> int | None:
    follower = leg.follower if isinstance(leg, WebSocketLeg) else None
    return follower.frames if follower is not None else None

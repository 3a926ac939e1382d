"""After a 101: two legs that write to each other's transport, and what ends them (docs/tunnels.md)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from albkit.errors import Failure, FailureKind, told
from albkit.model.message import ClientAddress, RequestHead
from albkit.model.target import Target
from albkit.model.tunnel import TunnelEnd, TunnelPolicy, fault_of_close
from albkit.proxy.runtime import CLOSE_TIMEOUT, Runtime
from albkit.proxy.transports import peer_has_reset, reset
from albkit.proxy.tunnel.leg import Leg
from albkit.proxy.tunnel.websocket_leg import WebSocketLeg
from albkit.proxy.tunnel.websocket_pinger import Pinger
from albkit.state.record import ExchangeRecord
from albkit.state.target import TargetState
from albkit.wire.websocket.frames import FrameFollower

__all__ = ("HALF_CLOSE_SILENCE", "Tunnel")

_log = logging.getLogger("albkit")

HALF_CLOSE_SILENCE: Final = 30.0
"""Seconds of silence after which a direction ends that was left open when the other had sent FIN."""

_GOING_AWAY = 1001
_PROTOCOL_ERROR = 1002
_POLICY_VIOLATION = 1008
_TOO_LARGE = 1009
_INTERNAL_ERROR = 1011


class Tunnel:
    """One upgraded connection: a leg towards the client, a leg towards the target. Fulfils `albkit.extensions.Tunnel`.

    Args:
        client: The client's transport, with reading paused.
        target: The target's transport.
        member: Whom it stays with.
        protocol: What both ends speak now, as the target named it.
        policy: How it lives and ends.
        extensions: What a WebSocket handshake agreed on, empty for nothing; `None` where the bytes are not to be followed as frames.
        over: Called once, when both sockets are gone.
    """

    __slots__ = (
        "_closed_at",
        "_drain_at",
        "_gone",
        "_opened",
        "_over",
        "_policy",
        "_recheck",
        "_recheck_at",
        "_recheck_timer",
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
        self._recheck_at = now + policy.recheck_every * (1 + runtime.clock.random()) / 2 if policy.recheck is not None else 0.0
        self._recheck: asyncio.Task[bool] | None = None
        self._recheck_timer: asyncio.TimerHandle | None = None
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
        """Send the 101 with what came behind it to the client, what the client sent early to the target, and let the bytes flow.

        Args:
            head: The 101; empty where nobody has asked for one.
            behind: What has come of the target.
            early: What has come of the client.
            target_is_through: Whether FIN has come behind the former.
            client_is_through: Whether FIN has come behind the latter.
            client_is_full: Whether as much as may be waits to be sent to the client: its transport will not say so again.
            target_is_full: The same of the target, as behind a large request body.
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

    # What its legs tell.

    @property
    def closing(self) -> bool:
        """Whether the load balancer is ending it."""
        return self._closed_at is not None

    def key(self) -> bytes:
        """Four bytes of chance, to mask a frame with."""
        return self._runtime.clock.entropy(4)

    def soon(self, call: Callable[[], None]) -> None:
        """Call this in the next round of the loop."""
        self._runtime.loop.call_soon(call)

    def count_ping(self) -> None:
        """A side is pinged."""
        self._runtime.counters.tunnel_pinged()

    def count_pause(self) -> None:
        """A side has as much to send as it may have; the other is not read for a while."""
        self._runtime.counters.reading_was_paused()

    def note_end(self, leg: Leg) -> None:
        """One side has said that it is through."""
        self._ended(TunnelEnd.CLIENT if leg is self.client_leg else TunnelEnd.TARGET)

    def refuse_message(self, leg: Leg) -> None:
        """One side began a message that the policy does not allow."""
        ours = leg is self.client_leg
        kind = FailureKind.TUNNEL_MESSAGE_OF_CLIENT_TOO_LARGE if ours else FailureKind.TUNNEL_MESSAGE_OF_TARGET_TOO_LARGE
        self._conclude(TunnelEnd.MESSAGE_TOO_LARGE, _TOO_LARGE, "message too large", Failure(kind))

    def lose_frames(self, leg: Leg) -> None:
        """What one side sends cannot be followed any more: from now on bytes are bytes, and go on, unless messages are limited."""
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
        """A leg is gone; with the second the tunnel is over."""
        if exc is not None:
            self._reset_by(leg, str(exc))
        else:
            # With TLS a side may go without another word.
            self.note_end(leg)
        if self.client_leg.gone and self.target_leg.gone:
            self._leave()
        else:
            # The other side has a time of its own to take what was written to it.
            self._silent_since = self._runtime.clock.monotonic()

    def _leave(self) -> None:
        client, target = self.client_leg, self.target_leg
        self._runtime.sweep.discard(self)
        self._give_up_recheck()
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
        """The load balancer stops."""
        self._conclude(TunnelEnd.STOP, _GOING_AWAY, "the load balancer stops")

    def drain(self, at: float) -> None:
        """Its target was deregistered: end in good order when the clock has come to `at`."""
        self._drain_at = at
        if at <= self._runtime.clock.monotonic():
            self._conclude(TunnelEnd.DRAIN, self._policy.drain_code, "the target goes away")

    def cancel_drain(self) -> None:
        """Its target has come back: stay."""
        self._drain_at = None

    @property
    def drain_spread(self) -> float:
        """Seconds over which the tunnels of a deregistered target are to be closed."""
        return self._policy.drain_spread

    def abandon(self) -> None:
        """End both sockets now."""
        self.client_leg.transport.abort()
        self.target_leg.transport.abort()

    def _conclude(self, end: TunnelEnd, code: int, reason: str, failure: Failure | None = None) -> None:
        """End both directions in good order; the sweep cuts them if that takes too long."""
        if self.closing:
            return
        self._ended(end, failure)
        self._closed_at = self._runtime.clock.monotonic()
        self.client_leg.conclude(code, reason)
        self.target_leg.conclude(code, reason)

    def _ended(self, end: TunnelEnd, failure: Failure | None = None) -> None:
        """Note why, if this is the first cause."""
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
        """End what is overdue, ping who is silent, and notice what paused and half-closed legs do not."""
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
        elif policy.recheck is not None and now >= self._recheck_at and self._recheck is None and not self.closing:
            self._recheck_at = now + policy.recheck_every
            self._ask_again(policy.recheck)

    def _awaits_pong(self, now: float) -> bool:
        """Whether a side was asked for a sign of life and has time left: also where the loop stood still, and so has asked late."""
        return any(
            isinstance(leg, WebSocketLeg) and leg.probe is not None and leg.probe.is_awaited(now)
            for leg in (self.client_leg, self.target_leg)
        )

    def _sweep_deaf(self, silent: float) -> None:
        """End a tunnel of which a side is not read, and has been reset, or has sent FIN for long."""
        for leg in (self.client_leg, self.target_leg):
            if leg.is_deaf and peer_has_reset(leg.transport):
                leg.meet_reset()
        if silent >= HALF_CLOSE_SILENCE and (self.client_leg.received_fin or self.target_leg.received_fin):
            self.abandon()

    def _sweep_last(self, leg: Leg, silent: float) -> None:
        """End what is left of a tunnel, when this side has taken all that the other one, which is gone, had said; or takes no more."""
        if silent >= (CLOSE_TIMEOUT if leg.is_flushed else HALF_CLOSE_SILENCE):
            self.abandon()

    def _sweep_pings(self, leg: Leg, now: float, *, heard: bool) -> None:
        """Ping one side where that is due; one that has not answered is reset, and the other is told."""
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

    def _ask_again(self, recheck: Callable[[Tunnel], Awaitable[object]]) -> None:
        """Ask the policy's `recheck`, in a task of its own: the tunnel waits for no answer that does not come in time."""
        runtime = self._runtime
        self._recheck = task = runtime.hook_tasks.start(_stays(recheck, self), recheck)
        task.add_done_callback(self._asked_again)
        self._recheck_timer = runtime.loop.call_later(runtime.settings.limits.hook_timeout, self._give_up_recheck, "it took too long")

    def _asked_again(self, task: asyncio.Task[bool]) -> None:
        if task is not self._recheck:
            return  # It was given up.
        self._recheck = None
        if self._recheck_timer is not None:
            self._recheck_timer.cancel()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("the recheck of %r failed", self, exc_info=error)
            self._recheck_failed(told(error))
        elif task.cancelled():
            # Not by us: what the hook waited for was cancelled. What cannot be checked is not allowed.
            self._recheck_failed("cancelled")
        elif not task.result():
            kind = FailureKind.TUNNEL_NOT_ALLOWED_ANY_MORE
            self._conclude(TunnelEnd.RECHECK, _POLICY_VIOLATION, "not allowed any more", Failure(kind))

    def _give_up_recheck(self, why: str = "") -> None:
        """Nobody waits for its answer any more: the tunnel is over, or what has taken so long is not allowed."""
        task, self._recheck = self._recheck, None
        if self._recheck_timer is not None:
            self._recheck_timer.cancel()
        if task is not None:
            self._runtime.hook_tasks.cancel(task)
            if why:
                self._recheck_failed(why)

    def _recheck_failed(self, why: str) -> None:
        self._conclude(TunnelEnd.ERROR, _INTERNAL_ERROR, "", Failure(FailureKind.TUNNEL_RECHECK_FAILED, why))


async def _stays(recheck: Callable[[Tunnel], Awaitable[object]], tunnel: Tunnel) -> bool:
    return bool(await recheck(tunnel))


def _frames(leg: Leg) -> int | None:
    follower = leg.follower if isinstance(leg, WebSocketLeg) else None
    return follower.frames if follower is not None else None

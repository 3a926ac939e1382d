"""What is counted and reported when a tunnel opens and when it is over."""

from __future__ import annotations

from albkit.model.tunnel import TunnelPolicy
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.finish import finish
from albkit.proxy.tunnel.tunnel import Tunnel
from albkit.state.record import TunnelRecord

__all__ = ("tunnel_closed", "tunnel_opened")


def tunnel_opened(listener: ListenerRuntime, tunnel: Tunnel, policy: TunnelPolicy) -> None:
    """Count a tunnel whose both sides are connected."""
    runtime = listener.runtime
    member = tunnel.member
    runtime.counters.tunnel_opened(tunnel.connections)
    member.counters.tunnel_opened()
    runtime.tunnel_opened(tunnel)
    if tunnel.record.trace is not None:
        tunnel.record.trace.tunnel_opened(tunnel.record)
    if member.keeps_sessions:
        # A session that stays on a draining target opened it: close it with the other tunnels of the target, within the spread.
        left = member.deadline - runtime.clock.monotonic()
        tunnel.drain(member.deadline - min(policy.drain_spread, left) * runtime.clock.random())
    if runtime.stopping:
        tunnel.stop()


def tunnel_closed(listener: ListenerRuntime, host: str | None, choice: TargetChoice, tunnel: Tunnel) -> None:
    """Give back what a tunnel holds, after both its sides are closed.

    Args:
        listener: The listener that the client connected to.
        host: The address that the connection of the client was counted for; `None` if it outlives the tunnel (HTTP/2).
        choice: Of the target group.
        tunnel: The tunnel.
    """
    runtime = listener.runtime
    if host is not None:
        listener.release(host)
    if choice.hears_traffic:
        choice.transferred(tunnel.member, tunnel.record.received_bytes + tunnel.record.sent_bytes)
    choice.finished(tunnel.member, tunnel=True)
    runtime.counters.tunnel_closed(tunnel.end, tunnel.connections)
    tunnel.record.tunnel = TunnelRecord(
        tunnel.id, tunnel.protocol, tunnel.end, tunnel.close_code, tunnel.age, tunnel.frames_in, tunnel.frames_out
    )
    finish(tunnel.record, runtime)
    runtime.tunnel_closed(tunnel)

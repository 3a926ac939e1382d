"""What is counted and told when a tunnel begins and when it is over."""

from __future__ import annotations

from albkit.model.tunnel import TunnelPolicy
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.tunnel.tunnel import Tunnel
from albkit.report.failure_log import log_failure
from albkit.report.metrics import count_exchange

__all__ = ("tunnel_opened", "tunnel_over")


def tunnel_opened(listener: ListenerRuntime, tunnel: Tunnel, policy: TunnelPolicy) -> None:
    """Both its sides are connected, and bytes flow."""
    runtime = listener.runtime
    counters = runtime.counters
    counters.tunnels += 1
    counters.active_tunnels += 1
    counters.active_connections += 2
    runtime.tunnel_opened(tunnel)
    member = tunnel.member
    if member.keeps_sessions:
        # Opened by a session that stays while its target drains: it ends with the others, within the spread.
        left = member.deadline - runtime.clock.monotonic()
        tunnel.drain(member.deadline - min(policy.drain_spread, left) * runtime.clock.random())
    if runtime.stopping:
        tunnel.stop()


def tunnel_over(listener: ListenerRuntime, guest: str, choice: TargetChoice, tunnel: Tunnel) -> None:
    """Both its sockets are gone.

    Args:
        listener: Where it came in.
        guest: Whom its connection was counted for.
        choice: Of its target group.
        tunnel: The tunnel.
    """
    runtime = listener.runtime
    counters = runtime.counters
    listener.release(guest)
    tunnel.member.tunnels -= 1
    if choice.hears_traffic:
        choice.transferred(tunnel.member, tunnel.record.received_bytes + tunnel.record.sent_bytes)
    choice.finished(tunnel.member)
    counters.active_tunnels -= 1
    counters.active_connections -= 2
    if tunnel.end is not None:
        counters.tunnel_ends[tunnel.end] += 1
    log_failure(tunnel.record)
    count_exchange(tunnel.record, counters)
    runtime.tunnel_closed(tunnel)

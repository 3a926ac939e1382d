"""What is counted and told when a tunnel begins and when it is over."""

from __future__ import annotations

from albkit.model.tunnel import TunnelPolicy
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.finish import finish
from albkit.proxy.tunnel.tunnel import Tunnel

__all__ = ("tunnel_opened", "tunnel_over")


def tunnel_opened(listener: ListenerRuntime, tunnel: Tunnel, policy: TunnelPolicy) -> None:
    """Both its sides are connected, and bytes flow."""
    runtime = listener.runtime
    member = tunnel.member
    runtime.counters.tunnel_opened()
    member.counters.tunnel_opened()
    runtime.tunnel_opened(tunnel)
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
    listener.release(guest)
    if choice.hears_traffic:
        choice.transferred(tunnel.member, tunnel.record.received_bytes + tunnel.record.sent_bytes)
    choice.finished(tunnel.member, tunnel=True)
    runtime.counters.tunnel_closed(tunnel.end)
    finish(tunnel.record, runtime)
    runtime.tunnel_closed(tunnel)

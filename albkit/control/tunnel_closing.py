"""Closes many tunnels, a few in each turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable

from albkit.model.tunnel import fault_of_close
from albkit.proxy.runtime import LiveTunnel

__all__ = ("close_tunnels",)

_IN_A_TURN = 32


async def close_tunnels(
    tunnels: Iterable[LiveTunnel], group: str | None, target: str | None, ids: Collection[int] | None, code: int, reason: str
) -> int:
    """See `LoadBalancer.close_tunnels`."""
    wrong = fault_of_close(code, reason)
    if wrong:
        raise ValueError(wrong)
    wanted = frozenset(ids) if ids is not None else None
    # The address is compared last: it is made anew for each tunnel.
    chosen = [
        tunnel
        for tunnel in tuple(tunnels)
        if (wanted is None or tunnel.id in wanted)
        and (group is None or tunnel.group == group)
        and (target is None or tunnel.member.address == target)
        and tunnel.end is None
    ]
    closed = 0
    for index, tunnel in enumerate(chosen, 1):
        # It may have begun to close in one of the turns between.
        if tunnel.end is None:
            tunnel.begin_close(code, reason)
            closed += 1
        if index % _IN_A_TURN == 0:
            await asyncio.sleep(0)
    return closed

"""Runs a load balancer as a program of its own."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from albkit.load_balancer import LoadBalancer
from albkit.model.listener import Listener

__all__ = ("run", "run_in_own_loop")

_STOP_TIMEOUT = 30


def run(listeners: Listener | Sequence[Listener], *, ready: Callable[[LoadBalancer], object] | None = None, **settings: Any) -> None:
    """Run a load balancer until SIGINT or SIGTERM, in a loop of its own (uvloop where it is installed).

    Exchanges and tunnels then get `stop_timeout` seconds, 30 here by default, to end. A second signal cuts them at once.

    Args:
        listeners: One `Listener` or a list.
        ready: Called with the load balancer when its listeners are open.
        settings: As for `LoadBalancer`.

    Raises:
        ConfigurationError: listing every fault with its path.
        OSError: a port cannot be opened; the text says why and what to do.
    """
    settings.setdefault("stop_timeout", _STOP_TIMEOUT)
    load_balancer = LoadBalancer(listeners, **settings)
    run_in_own_loop(_run(load_balancer, ready))


def run_in_own_loop(main: Coroutine[Any, Any, int | None]) -> int | None:
    """Run a coroutine in uvloop where it is installed, in plain asyncio elsewhere."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if sys.platform != "win32":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


async def _run(load_balancer: LoadBalancer, ready: Callable[[LoadBalancer], object] | None) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with load_balancer:
        # What is built now lives to the end: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        if ready is not None:
            ready(load_balancer)
        await stopping.wait()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

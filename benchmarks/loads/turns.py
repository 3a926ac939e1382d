"""What our own loads share: many clients at the same time, the first error ends all of them, and the result is one JSON object."""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Protocol, TypeVar

import uvloop

from benchmarks.loads.tls import NAME, check
from benchmarks.measure import MeasurementError, memory_bytes

__all__ = ("Closing", "connected", "in_turns", "memory_of", "settled_memory", "told", "unless_failed")

ProtocolT = TypeVar("ProtocolT", bound=asyncio.Protocol)

_SETTLING: Final = 0.5
"""Seconds for a proxy to release memory before it is measured."""


async def connected(make: Callable[[], ProtocolT], port: int, *, tls: ssl.SSLContext | None) -> tuple[asyncio.Transport, ProtocolT]:
    """A connection to a port on 127.0.0.1, over TLS if there is a context; the negotiated values are checked."""
    name = NAME if tls is not None else None
    transport, protocol = await asyncio.get_running_loop().create_connection(make, "127.0.0.1", port, ssl=tls, server_hostname=name)
    if tls is not None:
        check(transport.get_extra_info("ssl_object"))
    return transport, protocol


async def in_turns(times: int, at_once: int, what: Callable[[], Awaitable[None]]) -> None:
    """Run something this many times, with a limit on how many run at the same time."""
    remaining = iter(range(times))

    async def one_after_the_other() -> None:
        for _ in remaining:
            await what()

    await asyncio.gather(*[one_after_the_other() for _ in range(min(times, at_once))])


async def settled_memory(pid: int) -> int:
    """The proxy's memory when it is idle."""
    await asyncio.sleep(_SETTLING)
    return memory_bytes(pid)


class Closing(Protocol):
    """A connection of a load."""

    def close(self) -> asyncio.Future[None]:
        """Close it. The future is done when it is closed."""


async def memory_of(
    open_more: Callable[[int], Awaitable[Sequence[Closing]]], given: argparse.Namespace, idle: float = 0.0
) -> dict[str, float]:
    """By how much `given.count` more connections increase the memory of the proxy `given.pid`.

    Others were opened and closed before, and as many are open already, so that the memory they have left behind is in use again.

    Args:
        open_more: Opens so many connections.
        given: Has `warm_up`, `count` and `pid`.
        idle: Seconds after which the proxy may take a connection for idle.
    """
    await asyncio.gather(*[connection.close() for connection in await open_more(given.warm_up)])
    connections = [*await open_more(given.warm_up)]
    await asyncio.sleep(idle)
    before = await settled_memory(given.pid)
    connections += await open_more(given.count)
    await asyncio.sleep(idle)
    after = await settled_memory(given.pid)
    await asyncio.gather(*[connection.close() for connection in connections])
    return {"count": given.count, "before": before, "after": after}


async def unless_failed(fault: asyncio.Future[None], work: Coroutine[Any, Any, dict[str, float]]) -> dict[str, float]:
    """The result of the work; raises the first error at once."""

    def unexpected(_: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
        if not fault.done():
            fault.set_exception(MeasurementError(f"{what['message']}: {what.get('exception')!r}"))

    asyncio.get_running_loop().set_exception_handler(unexpected)
    task = asyncio.create_task(work)
    await asyncio.wait((task, fault), return_when=asyncio.FIRST_COMPLETED)
    if fault.done():
        task.cancel()
        await fault
    fault.cancel()
    return await task


def told(work: Coroutine[Any, Any, dict[str, float]]) -> int:
    """Do the work, print its result, and return the exit status."""
    try:
        print(json.dumps(uvloop.run(work)))
    except MeasurementError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"the load failed: {error!r}", file=sys.stderr)
        return 1
    return 0

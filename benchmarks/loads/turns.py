"""What our own loads share: many clients at the same time, the first error ends all of them, and the result is one JSON object."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

import uvloop

from benchmarks.loads.tls import NAME, check
from benchmarks.measure import MeasurementError, memory_bytes

__all__ = ("connected", "in_turns", "settled_memory", "told", "unless_failed")

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

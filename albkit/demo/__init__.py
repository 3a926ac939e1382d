"""`albkit demo`: a gateway in front of three targets to play with, and a tour that checks what it shows."""

from __future__ import annotations

import asyncio
import logging
import signal
from functools import partial

from albkit.demo.gateway import Demo
from albkit.demo.tour import Tour
from albkit.demo.welcome import welcome
from albkit.runner import run_in_own_loop

__all__ = ("check", "serve")


def serve(port: int) -> int:
    """Run the demo until SIGINT or SIGTERM. Its last line before that starts with `Ready:` and is flushed.

    Raises:
        OSError: the port cannot be opened; the text says why and what to do.
    """
    return run_in_own_loop(_serve(port)) or 0


def check(port: int) -> int:
    """Run the demo, walk its tour with real clients, and show each step with its outcome: 0 when all held, 1 when one did not.

    Raises:
        OSError: the port cannot be opened; the text says why and what to do.
    """
    return run_in_own_loop(_check(port)) or 0


async def _serve(port: int) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with Demo(port) as demo:
        for line in welcome(demo):
            print(line)
        print(f"Ready: {demo.url}/ (Ctrl-C stops it)", flush=True)
        await stopping.wait()
        # A second signal need not wait for an orderly end.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _check(port: int) -> int:
    tell = partial(print, flush=True)
    log = logging.getLogger("albkit")
    log.addFilter(_is_no_ejection)
    try:
        async with Demo(port) as demo:
            tell(f"albkit demo --check, against {demo.url}")
            outcomes = await Tour(demo.url, demo.targets, lambda: demo.load_balancer.counters).walk(tell)
    finally:
        log.removeFilter(_is_no_ejection)
    failed = sum(not outcome.held for outcome in outcomes)
    tell(f"{failed} of {len(outcomes)} steps FAILED" if failed else f"all {len(outcomes)} steps held")
    return 1 if failed else 0


def _is_no_ejection(record: logging.LogRecord) -> bool:
    """The tour stops a target, and says so itself."""
    return "is ejected" not in record.msg

"""`albkit demo`: a load balancer in front of three targets, to try it out, and a tour that tests what it shows."""

from __future__ import annotations

import logging
from functools import partial

from albkit.demo.gateway import Demo
from albkit.demo.tour import Tour
from albkit.demo.welcome import welcome
from albkit.runner import run_in_own_loop, run_until_signal

__all__ = ("check", "serve")


def serve(port: int, https_port: int, admin_port: int = 0, *, traffic: bool = False) -> int:
    """Run the demo until SIGINT or SIGTERM, and return the exit status. The last line that it prints starts with `Ready:` and is flushed.

    Raises:
        OSError: a port cannot be opened; the text says why and what to do.
    """
    return run_in_own_loop(run_until_signal(Demo(port, https_port, admin_port=admin_port, traffic=traffic), _say_ready))


def check(port: int, https_port: int, admin_port: int = 0) -> int:
    """Run the demo, test it with real clients, and print each step with its result. Returns 0 if all passed, otherwise 1.

    Raises:
        OSError: a port cannot be opened; the text says why and what to do.
    """
    return run_in_own_loop(_check(port, https_port, admin_port))


def _say_ready(demo: Demo) -> None:
    for line in welcome(demo):
        print(line)
    print(f"Ready: {demo.url}/ (Ctrl-C stops it)", flush=True)


async def _check(port: int, https_port: int, admin_port: int) -> int:
    tell = partial(print, flush=True)
    log = logging.getLogger("albkit")
    log.addFilter(_is_no_ejection)
    try:
        async with Demo(port, https_port, admin_port=admin_port) as demo:
            tell(f"albkit demo --check, against {' and '.join(filter(None, (demo.url, demo.https_url)))}")
            counters = lambda: demo.load_balancer.counters  # noqa: E731
            tour = Tour(demo.url, demo.targets, counters, http2_url=demo.https_url, certificate=demo.certificate, admin_url=demo.admin_url)
            outcomes = await tour.walk(tell)
    finally:
        log.removeFilter(_is_no_ejection)
    failed = sum(not outcome.held for outcome in outcomes)
    tell(f"{failed} of {len(outcomes)} steps FAILED" if failed else f"all {len(outcomes)} steps held")
    return 1 if failed else 0


def _is_no_ejection(record: logging.LogRecord) -> bool:
    """Suppress the warning about the target that the tour stops on purpose."""
    return "is ejected" not in record.msg

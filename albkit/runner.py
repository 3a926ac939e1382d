"""Runs a load balancer as a program: an event loop of its own, a graceful shutdown on signals, an exit status."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, TypeVar

from albkit.load_balancer import LoadBalancer
from albkit.model.listener import Listener

__all__ = ("run", "run_in_own_loop", "run_until_signal")

_STOP_TIMEOUT = 30
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_REOPEN: signal.Signals | None = getattr(signal, "SIGUSR1", None)
"""Windows does not have it."""
_KILLED_BY = 128
"""Shells report the death of a process by signal N as status 128 + N; a program that exits by itself uses the same numbers."""

T = TypeVar("T")


def run(listeners: Listener | Sequence[Listener], *, ready: Callable[[LoadBalancer], object] | None = None, **settings: Any) -> None:
    """Run a load balancer until SIGINT (Ctrl-C) or SIGTERM, in an event loop of its own (uvloop, except on Windows).

    When the listeners are open, it prints one line for each, `albkit listens on http://127.0.0.1:8080`; with `ready` it prints nothing.
    After the first signal, exchanges and tunnels have `stop_timeout` seconds (30 here by default) to finish, and `run` returns. A second
    signal cuts them at once, and the program exits with the status that shells use: 130 for Ctrl-C, 143 for SIGTERM. SIGUSR1 reopens the
    files of logs, as `LoadBalancer.reopen_logs` does.

    Args:
        listeners: One `Listener` or a list.
        ready: A function that is called once with the running load balancer, when its listeners are open.
        settings: As for `LoadBalancer`.

    Raises:
        ConfigurationError: lists every fault with its path.
        OSError: a port cannot be opened; the text says why and what to do.
        RuntimeError: this is not the main thread, or an event loop is running in it; use `async with LoadBalancer(...)` there.
        SystemExit: a second signal came.
    """
    _check_thread()
    settings.setdefault("stop_timeout", _STOP_TIMEOUT)
    load_balancer = LoadBalancer(listeners, **settings)

    def started(running: LoadBalancer) -> None:
        # What exists now lives until the end. Frozen objects are skipped by every later full collection, which would stop the loop for
        # as long as it takes to look at each of them.
        gc.collect()
        gc.freeze()
        (ready or _print_urls)(running)

    try:
        status = run_in_own_loop(run_until_signal(load_balancer, started, load_balancer.reopen_logs))
    except KeyboardInterrupt:  # A third Ctrl-C, while the loop waits for tasks that do not end.
        status = _KILLED_BY + signal.SIGINT
    if status:
        raise SystemExit(status)


def _check_thread() -> None:
    instead = "use 'async with LoadBalancer(...)' instead"
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(f"run() handles signals, which only the main thread can do; {instead}, in an event loop of this thread")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(f"run() starts an event loop, and one is running in this thread already; {instead}")


def _print_urls(load_balancer: LoadBalancer) -> None:
    # A reader of our output that has gone is no reason to end a load balancer that works.
    with suppress(OSError):
        for listener in load_balancer.listeners:
            print(f"albkit listens on {listener.url}", flush=True)  # noqa: T201 - a program says where it can be reached


def run_in_own_loop(main: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine in an event loop of uvloop, or of asyncio on Windows, and return its result."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if sys.platform != "win32":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


async def run_until_signal(
    program: AbstractAsyncContextManager[T], ready: Callable[[T], object], reopen_logs: Callable[[], None] | None = None
) -> int:
    """Enter `program`, call `ready` with what it gives, and leave it on SIGINT or SIGTERM. A second signal cancels this, at any point.

    Args:
        program: Runs meanwhile.
        ready: Called once it runs.
        reopen_logs: Called on SIGUSR1; `None` leaves that signal alone.

    Returns:
        The exit status: 0 after one signal, 128 plus the signal's number after a second one.
    """
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    stopping = asyncio.Event()
    cut_by = 0

    def on_signal(number: int) -> None:
        nonlocal cut_by
        if not stopping.is_set():
            stopping.set()
        elif not cut_by and main is not None:
            cut_by = number
            main.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    if _REOPEN is not None and reopen_logs is not None:
        # Before the start: by default, this signal ends the process.
        loop.add_signal_handler(_REOPEN, reopen_logs)
    try:
        async with program as running:
            ready(running)
            await stopping.wait()
    except asyncio.CancelledError:
        if not cut_by:
            raise
    finally:
        # Last, so that a second signal meets `on_signal`: Python's own handler would raise KeyboardInterrupt in the middle of the stop.
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
        if _REOPEN is not None and reopen_logs is not None:
            loop.remove_signal_handler(_REOPEN)
            # Until the process exits, a late signal must not end it.
            signal.signal(_REOPEN, signal.SIG_IGN)
    return _KILLED_BY + cut_by if cut_by else 0

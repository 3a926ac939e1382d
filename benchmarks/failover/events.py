"""The events that happen to the targets, and their times."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.failover.load import Load
from benchmarks.failover.proxies import Proxy
from benchmarks.measure import MeasurementError, Program, running

__all__ = ("LENGTH", "NAMES", "SCRIPT", "Event", "Step", "Targets", "play", "targets_running")

NAMES: Final = ("a", "b", "c")
_HERE: Final = Path(__file__).resolve().parent


class Step(NamedTuple):
    """A planned event."""

    kind: str
    target: str
    at: float
    """Seconds since the load started."""
    gone: float
    """Seconds until the event is reversed."""
    scaled: bool = True
    """Whether `gone` grows with the length of the script."""


SCRIPT: Final = (
    Step("kill", "a", 3, 4),
    Step("hang", "b", 13, 5),
    Step("restart", "c", 25, 2, scaled=False),
    Step("drain", "a", 32, 4),
)
LENGTH: Final = 40.0
"""Seconds. Each step's last responses arrive before the next step: a client waits 3 s at most."""


class Event(NamedTuple):
    """An event that has happened; all times are seconds since the load started."""

    kind: str
    target: str
    began: float
    recovered: float
    """When the target was able to serve again: it listens, continues, or can be returned to service."""


class Targets:
    """Three servers, each in a process of its own, and the events that can happen to them."""

    def __init__(self, stack: contextlib.ExitStack, directory: Path, core: int) -> None:
        self._stack = stack
        self._directory = directory
        self._core = core
        self._programs: dict[str, Program] = {}
        self._starts = 0
        self.ports: Mapping[str, int] = {name: self._hold_port() for name in NAMES}

    def _hold_port(self) -> int:
        """Reserve a port while its target is down, so that no outgoing connection gets it."""
        sock = self._stack.enter_context(socket.socket())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port

    async def start(self, name: str) -> None:
        """Start a target, and return when it listens."""
        self._starts += 1
        own = self._directory / f"{name}{self._starts}"
        own.mkdir()
        command = [sys.executable, str(_HERE / "target.py"), name, str(self.ports[name])]
        program = self._stack.enter_context(running(f"target {name}", command, core=self._core, directory=own))
        # Were it stopped, it could not be ended in good order.
        self._stack.callback(program.process.send_signal, signal.SIGCONT)
        self._programs[name] = program
        await asyncio.to_thread(program.await_port, self.ports[name])

    def signal(self, name: str, number: signal.Signals) -> None:
        self._programs[name].process.send_signal(number)

    def check_ended(self, name: str) -> None:
        """Check that the process has ended."""
        if self._programs[name].alive:
            raise MeasurementError(f"target {name} did not end when it was told to")


@contextlib.contextmanager
def targets_running(directory: Path, core: int) -> Iterator[Targets]:
    """The targets, not started yet. All of them are ended with the block."""
    with contextlib.ExitStack() as stack:
        yield Targets(stack, directory, core)


async def play(load: Load, proxy: Proxy, targets: Targets, scale: float) -> list[Event]:
    """Trigger every event at its time, and return the times at which they happened."""
    events = []
    for step in SCRIPT:
        await _until(load, step.at * scale)
        began = load.now
        _say(proxy, began, f"{step.kind} {step.target}")
        await _break(step, proxy, targets)
        await _until(load, began + (step.gone * scale if step.scaled else step.gone))
        recovered = await _mend(step, load, proxy, targets)
        _say(proxy, recovered, f"{step.target} can serve again")
        events.append(Event(step.kind, step.target, began, recovered))
    return events


async def _break(step: Step, proxy: Proxy, targets: Targets) -> None:
    match step.kind:
        case "kill":
            targets.signal(step.target, signal.SIGKILL)
        case "hang":
            targets.signal(step.target, signal.SIGSTOP)
        case "restart":
            targets.signal(step.target, signal.SIGTERM)
        case _:
            await proxy.drain(step.target)


async def _mend(step: Step, load: Load, proxy: Proxy, targets: Targets) -> float:
    match step.kind:
        case "kill" | "restart":
            targets.check_ended(step.target)
            await targets.start(step.target)
            return load.now
        case "hang":
            recovered = load.now
            targets.signal(step.target, signal.SIGCONT)
            return recovered
        case _:
            recovered = load.now
            await proxy.ready(step.target)
            return recovered


async def _until(load: Load, moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - load.now))


def _say(proxy: Proxy, moment: float, what: str) -> None:
    print(f"{proxy.name:8} {moment:5.1f} s: {what}", flush=True)

"""The types that connect scenarios and engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from benchmarks.figures import Row, Sample
from benchmarks.measure import Cores, Program
from benchmarks.peers import Peer, Setup

__all__ = ("Bench", "Case", "Load", "Part", "Quiet", "RunningPeer", "Teller")


class RunningPeer(NamedTuple):
    """A running proxy."""

    name: str
    port: int
    program: Program
    tls: bool = False
    """Whether clients use TLS."""

    @property
    def pid(self) -> int:
        """The process id."""
        return self.program.process.pid


class Teller(Protocol):
    """Shows the progress."""

    def begin(self, steps: int) -> None:
        """This many samples follow."""

    def starting(self, name: str) -> None:
        """A program is being started."""

    def sampled(self, name: str, rows: Sequence[Row]) -> None:
        """A sample was taken of this proxy."""

    def round_over(self, number: int, of: int, rows: Sequence[Row]) -> None:
        """A round over all proxies is complete."""


class Quiet:
    """Shows nothing."""

    def begin(self, steps: int) -> None: ...

    def starting(self, name: str) -> None: ...

    def sampled(self, name: str, rows: Sequence[Row]) -> None: ...

    def round_over(self, number: int, of: int, rows: Sequence[Row]) -> None: ...


class Bench(NamedTuple):
    """The settings that all scenarios of a run share."""

    peers: Sequence[Peer]
    cores: Cores
    rounds: int
    seconds: float
    """Duration of each load."""
    teller: Teller
    quick: bool = False
    """Whether to check only that everything works."""
    keep_going: bool = True
    """Whether to leave out a proxy that fails, instead of ending the run."""


class Load(Protocol):
    """One kind of work for one proxy: a sample for each part of its case."""

    def __call__(self, peer: RunningPeer, bench: Bench) -> Sequence[Sample]: ...


class Part(NamedTuple):
    """One of several results of a load."""

    name: str
    title: str
    unit: str
    compared: bool = True


class Case(NamedTuple):
    """One kind of work, and how the proxies are set up for it."""

    name: str
    title: str
    load: Load
    setup: Setup = Setup()
    unit: str = "us/request"
    parts: Sequence[Part] = ()
    """The results, if the load has several."""

    def rows(self) -> list[Row]:
        """The rows for its results."""
        if not self.parts:
            return [Row(self.name, self.title, self.unit)]
        return [Row(f"{self.name}/{part.name}", f"{self.title}, {part.title}", part.unit, self.title, part.compared) for part in self.parts]

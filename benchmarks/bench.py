"""The words in which scenarios speak to the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from benchmarks.figures import Row, Sample
from benchmarks.measure import Cores, Program
from benchmarks.peers import Peer, Setup

__all__ = ("Bench", "Case", "Load", "Part", "Quiet", "RunningPeer", "Teller")


class RunningPeer(NamedTuple):
    """A proxy that takes requests."""

    name: str
    port: int
    program: Program
    tls: bool = False
    """Whether with it TLS is to be spoken."""

    @property
    def pid(self) -> int:
        """Of the program."""
        return self.program.process.pid


class Teller(Protocol):
    """Shows how far it has come."""

    def begin(self, steps: int) -> None:
        """So many samples follow."""

    def starting(self, name: str) -> None:
        """A program is being started."""

    def sampled(self, name: str, rows: Sequence[Row]) -> None:
        """A sample was taken of this proxy."""

    def round_over(self, number: int, of: int, rows: Sequence[Row]) -> None:
        """Every proxy had its turn."""


class Quiet:
    """Shows nothing."""

    def begin(self, steps: int) -> None: ...

    def starting(self, name: str) -> None: ...

    def sampled(self, name: str, rows: Sequence[Row]) -> None: ...

    def round_over(self, number: int, of: int, rows: Sequence[Row]) -> None: ...


class Bench(NamedTuple):
    """What all scenarios of a run have in common."""

    peers: Sequence[Peer]
    cores: Cores
    rounds: int
    seconds: float
    """Of load each time."""
    teller: Teller
    quick: bool = False
    """Whether it is only to be seen that everything works."""
    keep_going: bool = True
    """Whether a proxy that fails is left out, instead of ending the run."""


class Load(Protocol):
    """One kind of work for one proxy: a sample for each part of its case."""

    def __call__(self, peer: RunningPeer, bench: Bench) -> Sequence[Sample]: ...


class Part(NamedTuple):
    """One of the figures that a load gives."""

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
    """Where the load gives several figures."""

    def rows(self) -> list[Row]:
        """Where its figures go."""
        if not self.parts:
            return [Row(self.name, self.title, self.unit)]
        return [Row(f"{self.name}/{part.name}", f"{self.title}, {part.title}", part.unit, self.title, part.compared) for part in self.parts]

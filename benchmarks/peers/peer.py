"""What a proxy is to a benchmark: what it needs, what it can do, and what starts it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

__all__ = ("ANY_RULES", "CACHE", "MOST_REQUESTS", "ROUND_ROBIN_ONLY", "KeyKind", "Need", "Peer", "Place", "Setup", "Shown", "rule_path")

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "albkit-benchmarks"
"""Where packages of npm and what is compiled are kept."""
MOST_REQUESTS: Final = 1_000_000_000
"""Of one connection: far above what a run reaches, so that connections are kept on both sides."""
ANY_RULES: Final = 1_000_000
"""More than anybody asks for."""
ROUND_ROBIN_ONLY: Final[Mapping[str, str]] = {"round_robin": ""}


KeyKind = Literal["ecdsa", "rsa"]
"""Of P-256, or with 2048 bits."""


class Setup(NamedTuple):
    """What a proxy is to be configured for."""

    tunnels: bool = False
    targets: int = 3
    rules: int = 0
    """Of path prefixes, all to the same targets; see `rule_path`."""
    algorithm: str = "round_robin"
    """As albkit calls it."""
    sticky: str = ""
    """The kind of stickiness, as albkit's program calls it; empty for none."""
    access_log: bool = False
    connections: int = 1200
    """From clients, that there must be room for."""
    tls: KeyKind | None = None
    """The key that clients are shown; `None` where they speak no TLS."""


def rule_path(number: int) -> str:
    """The prefix that the rule with this number is about."""
    return f"/svc-{number}/"


class Shown(NamedTuple):
    """What clients are shown, in files of PEM."""

    certificate: Path
    key: Path
    both: Path
    """In one file, the certificate first."""


class Place(NamedTuple):
    """Where a proxy is to run, and what it leads to."""

    directory: Path
    """Its own."""
    port: int
    """To listen on."""
    targets: Sequence[int]
    """Their ports."""
    setup: Setup
    shown: Shown | None = None
    """With TLS."""


class Need(NamedTuple):
    """What must be installed."""

    manager: Literal["apt", "npm", "pip"]
    package: str
    is_there: Callable[[], bool]

    @property
    def command(self) -> list[str]:
        """What installs it."""
        start = {
            "apt": ["apt-get", "install", "-y", "--no-install-recommends"],
            "npm": ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(CACHE)],
            "pip": ["pip", "install"],
        }
        return [*start[self.manager], self.package]


@dataclasses.dataclass(frozen=True)
class Peer:
    """A proxy to be measured."""

    name: str
    what: str
    """A few words on it."""
    command: Callable[[Place], list[str]]
    """What starts it."""
    needs: Sequence[Need] = ()
    version: Callable[[], str] = lambda: ""
    http: bool = True
    """Whether it is of interest with requests."""
    tunnels: bool = True
    """Whether it has them."""
    rules: int = 0
    """How many it can have; 0 where it has none."""
    access_log: bool = False
    tls: bool = True
    """Whether it is set up for TLS with clients."""
    tls_tunnels: bool = True
    """Whether it is for WebSockets over TLS."""
    clients: int = 1_000_000
    """Connections from clients that it can have at a time, within reason."""
    algorithms: Mapping[str, str] = dataclasses.field(default_factory=lambda: ROUND_ROBIN_ONLY)
    """What albkit's algorithms are called there."""
    sticky: Sequence[str] = ()
    """The kinds of stickiness that it has."""

    def missing(self) -> list[Need]:
        """What it needs and this machine does not have."""
        return [need for need in self.needs if not need.is_there()]

    def takes_part(self, setup: Setup) -> bool:
        """Whether it is of interest at all: what differs in tunnels only need not be measured with requests."""
        return setup.tunnels or self.http

    def lacks(self, setup: Setup) -> str | None:
        """In a word, why it cannot be set up like this; `None` where it can."""
        if setup.tunnels and not self.tunnels:
            return "no WebSockets"
        if setup.rules > self.rules:
            return f"it does not start within seconds with more than {self.rules:,} rules" if self.rules else "no rules"
        if setup.algorithm not in self.algorithms:
            return f"no {setup.algorithm}"
        if setup.sticky and setup.sticky not in self.sticky:
            return f"no stickiness by {setup.sticky}"
        if setup.access_log and not self.access_log:
            return "no access log"
        if setup.tls and not (self.tls_tunnels if setup.tunnels else self.tls):
            return "no TLS here"
        if setup.connections > self.clients:
            return f"no more than {self.clients:,} clients: it takes a thread for each"
        return None

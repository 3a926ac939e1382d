"""What a benchmark knows about a proxy: what it needs, what it supports, and the command that starts it."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

__all__ = (
    "ANY_RULES",
    "CACHE",
    "MOST_REQUESTS",
    "ROUND_ROBIN_ONLY",
    "KeyKind",
    "Need",
    "Peer",
    "Place",
    "Setup",
    "Shown",
    "TargetProtocol",
    "rule_path",
)

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "albkit-benchmarks"
"""The directory of npm packages and compiled programs."""
MOST_REQUESTS: Final = 1_000_000_000
"""Requests per connection: far more than a run sends, so that connections stay open on both sides."""
ANY_RULES: Final = 1_000_000
"""More rules than any scenario needs."""
ROUND_ROBIN_ONLY: Final[Mapping[str, str]] = {"round_robin": ""}


KeyKind = Literal["ecdsa", "rsa"]
"""P-256, or RSA with 2048 bits."""
TargetProtocol = Literal["HTTP1", "HTTP2", "GRPC"]
"""The protocol of the targets, in albkit's words."""


class Setup(NamedTuple):
    """What a proxy must be configured for."""

    tunnels: bool = False
    targets: int = 3
    rules: int = 0
    """Number of path-prefix rules, all with the same targets; see `rule_path`."""
    algorithm: str = "round_robin"
    """In albkit's words."""
    sticky: str = ""
    """The kind of stickiness, in the words of albkit's program; empty for none."""
    access_log: str = ""
    """The format of the access log, in albkit's words; empty for none."""
    metrics: str = ""
    """Who uses the metrics: `subscriber` or `scraped`; empty for nobody."""
    connections: int = 1200
    """The number of client connections that must be possible."""
    tls: KeyKind | None = None
    """The key type of the certificate; `None` without TLS."""
    http2: bool = False
    """Whether clients use HTTP/2: by ALPN with TLS, by prior knowledge without."""
    target_protocol: TargetProtocol = "HTTP1"


_WORDS: Final[Mapping[TargetProtocol, str]] = {"HTTP1": "HTTP/1.1", "HTTP2": "HTTP/2", "GRPC": "gRPC"}


def rule_path(number: int) -> str:
    """The path prefix of the rule with this number."""
    return f"/svc-{number}/"


class Shown(NamedTuple):
    """A certificate in PEM files."""

    certificate: Path
    key: Path
    both: Path
    """Both in one file, the certificate first."""


class Place(NamedTuple):
    """Where a proxy runs, and its targets."""

    directory: Path
    """Its own directory."""
    port: int
    """The port to listen on."""
    targets: Sequence[int]
    """The targets' ports."""
    setup: Setup
    shown: Shown | None = None
    """The certificate, with TLS."""


class Need(NamedTuple):
    """What must be installed."""

    manager: Literal["apt", "npm", "pip", "manual"]
    package: str
    """Its name; for `manual`, an instruction."""
    is_there: Callable[[], bool]

    @property
    def how(self) -> str:
        """How to install it, for messages."""
        return self.package if self.manager == "manual" else shlex.join(self.command)

    @property
    def command(self) -> list[str]:
        """The command that installs it."""
        start: dict[str, list[str]] = {
            "apt": ["apt-get", "install", "-y", "--no-install-recommends"],
            "npm": ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(CACHE)],
            "pip": ["pip", "install"],
        }
        return [*start[self.manager], self.package]


@dataclasses.dataclass(frozen=True)
class Peer:
    """A proxy to measure."""

    name: str
    what: str
    """A short description."""
    command: Callable[[Place], list[str]]
    """The command that starts it."""
    needs: Sequence[Need] = ()
    version: Callable[[], str] = lambda: ""
    http: bool = True
    """Whether to measure it with requests."""
    http1: bool = True
    """Whether to measure it with HTTP/1.1 and with tunnels."""
    tunnels: bool = True
    """Whether it supports tunnels."""
    http2: bool = False
    """Whether it is configured for HTTP/2 with clients."""
    target_protocols: Sequence[TargetProtocol] = ("HTTP1",)
    """The protocols that it is configured for with targets."""
    rules: int = 0
    """How many rules it supports; 0 for none."""
    access_logs: Sequence[str] = ()
    """The formats of access logs that it supports, in albkit's words."""
    metrics: Sequence[str] = ()
    """The uses of metrics that it is configured for."""
    tls: bool = True
    """Whether it is configured for TLS with clients."""
    tls_tunnels: bool = True
    """Whether to measure it with WebSockets over TLS."""
    clients: int = 1_000_000
    """How many client connections it reasonably supports."""
    algorithms: Mapping[str, str] = dataclasses.field(default_factory=lambda: ROUND_ROBIN_ONLY)
    """Its names for albkit's algorithms."""
    sticky: Sequence[str] = ()
    """The kinds of stickiness that it supports."""

    def missing(self) -> list[Need]:
        """What it needs and this machine does not have."""
        return [need for need in self.needs if not need.is_there()]

    def takes_part(self, setup: Setup) -> bool:
        """Whether to measure it at all: a variant that differs only in tunnels need not be measured with requests."""
        if setup.http2:
            return self.http
        return self.http1 and (setup.tunnels or self.http)

    def lacks(self, setup: Setup) -> str | None:
        """Why it does not support this setup, in a few words; `None` if it does."""
        if setup.tunnels and not self.tunnels:
            return "no WebSockets"
        if setup.rules > self.rules:
            return f"it does not start within seconds with more than {self.rules:,} rules" if self.rules else "no rules"
        if setup.algorithm not in self.algorithms:
            return f"no {setup.algorithm}"
        if setup.sticky and setup.sticky not in self.sticky:
            return f"no stickiness by {setup.sticky}"
        if setup.access_log and setup.access_log not in self.access_logs:
            return f"no access log in the format {setup.access_log}"
        if setup.metrics and setup.metrics not in self.metrics:
            return "no such metrics here"
        if setup.tls and not (self.tls_tunnels if setup.tunnels else self.tls):
            return "no TLS here"
        if setup.connections > self.clients:
            return f"no more than {self.clients:,} clients: it takes a thread for each"
        if setup.http2 and not self.http2:
            return "no HTTP/2 here"
        if setup.target_protocol not in self.target_protocols:
            return "no gRPC" if setup.target_protocol == "GRPC" else f"no {_WORDS[setup.target_protocol]} to targets"
        return None

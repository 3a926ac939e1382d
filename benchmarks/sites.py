"""Starts targets and the proxies in front of them, and stops them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.bench import Bench, RunningPeer
from benchmarks.certificates import issue
from benchmarks.loads import put_python_load
from benchmarks.measure import MeasurementError, Program, free_ports, running
from benchmarks.peers import KeyKind, Place, Setup, Shown, TargetProtocol, target

__all__ = ("Sites", "sites")

_AGREED_TIMEOUT = 30.0

Sites = Mapping[tuple[str, Setup], RunningPeer | str]
"""By name and setup: the running proxies, or why one is not running."""


@contextlib.contextmanager
def sites(bench: Bench, setups: Sequence[Setup]) -> Iterator[Sites]:
    """Every proxy in every setup that it supports, with the targets behind it; all of them are stopped with the block."""
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="albkit-")))
        # Servers that give up their rights must still find what is theirs.
        root.chmod(0o755)
        started = 0

        def start(name: str, command: Callable[[Place], list[str]], place: Place, core: int, *, listens_on: int) -> Program:
            nonlocal started
            started += 1
            bench.teller.starting(name)
            directory = root / f"{started}-{name}"
            directory.mkdir()
            program = stack.enter_context(running(name, command(place._replace(directory=directory)), core=core, directory=directory))
            program.await_port(listens_on)
            return program

        certificates: dict[KeyKind, Shown] = {}
        targets: dict[tuple[bool, int, TargetProtocol], list[int]] = {}
        found: dict[tuple[str, Setup], RunningPeer | str] = {}
        for setup in setups:
            kind = (setup.tunnels, setup.targets, setup.target_protocol)
            if kind not in targets:
                ports = targets[kind] = free_ports(setup.targets)
                # nghttpd, the target of HTTP/2, listens on one port only.
                for those in [ports] if setup.target_protocol == "HTTP1" else [[port] for port in ports]:
                    place = Place(root, 0, those, setup._replace(http2=False))
                    start("target", target, place, bench.cores.load, listens_on=those[-1])
            if setup.tls and setup.tls not in certificates:
                certificates[setup.tls] = issue(root, setup.tls)
            shown = certificates[setup.tls] if setup.tls else None
            for peer in bench.peers:
                if peer.takes_part(setup) and peer.lacks(setup) is None:
                    (port,) = free_ports(1)
                    place = Place(root, port, targets[kind], setup, shown)
                    try:
                        program = start(peer.name, peer.command, place, bench.cores.proxy, listens_on=port)
                        if shown is not None:
                            # Before anything is measured: all have to agree on the same.
                            put_python_load("agreement", port, core=bench.cores.load, timeout=_AGREED_TIMEOUT, http2=setup.http2)
                        found[peer.name, setup] = RunningPeer(peer.name, port, program, tls=shown is not None)
                    except MeasurementError as error:
                        if not bench.keep_going:
                            raise
                        found[peer.name, setup] = str(error)
        yield found

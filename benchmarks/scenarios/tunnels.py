"""WebSocket tunnels."""

from __future__ import annotations

from typing import Final

from benchmarks.bench import Bench, Case
from benchmarks.engine import measure
from benchmarks.figures import Budget, Row
from benchmarks.peers import Setup
from benchmarks.scenarios.scenario import Scenario, of_cases
from benchmarks.work import Echoes, Handshakes, IdleConnections, IdleTunnels, room

__all__ = ("BUDGETS", "SCENARIOS", "SIZES", "echo", "handshake", "idle_count", "idle_setup", "idle_tunnels")

SIZES: Final = {64: "64 B", 1024: "1 KiB", 16384: "16 KiB", 1048576: "1 MiB"}
"""Of a message."""
_SETUP = Setup(tunnels=True)
_IDLE = 5000
_IDLE_QUICK = 300
_SPARE = 600
"""Clients in addition to those that count."""

BUDGETS: Final = (
    Budget("64", "albkit", "nginx", 1.3, 1.1),
    Budget("64", "albkit-raw", "nginx", 1.15, 1.1),
    Budget("16384", "albkit", "nginx", 0.6, 0.5),
    Budget("16384", "albkit", "haproxy", 0.9),
    Budget("memory", "albkit", None, 8.0, 4.0),
)
"""The highest allowed cost of albkit."""


def echo(size: int, connections: int = 50) -> Case:
    """One message to the target and back."""
    return Case(f"{size}", f"echo of {SIZES[size]}", Echoes(size, connections), _SETUP, "us")


def handshake(connections: int = 50) -> Case:
    """The whole life of a tunnel: connect, upgrade, one echo, Close."""
    return Case("handshakes", "handshake", Handshakes(connections), _SETUP, "us")


def idle_tunnels(count: int) -> Case:
    """A tunnel that does nothing."""
    return Case("memory", f"{count:,} idle tunnels", IdleTunnels(count), _SETUP._replace(connections=count + _SPARE), "KiB each")


def idle_count(bench: Bench) -> int:
    """Number of idle tunnels."""
    return room(_IDLE_QUICK if bench.quick else _IDLE)


def idle_setup(count: int) -> Setup:
    """A setup with room for them, and for those that do not count."""
    return Setup(connections=count + _SPARE)


def _idle_tunnels(bench: Bench) -> list[Row]:
    return measure(bench, [idle_tunnels(idle_count(bench))], once=True)


def _idle_connections(bench: Bench) -> list[Row]:
    count = idle_count(bench)
    return measure(bench, [Case("memory", f"{count:,} idle connections", IdleConnections(count), idle_setup(count), "KiB each")], once=True)


SCENARIOS: Final = (
    Scenario(
        "tunnels",
        "an echo of 64 B to 1 MiB through WebSocket tunnels",
        of_cases([echo(size) for size in SIZES]),
        [budget for budget in BUDGETS if budget.row != "memory"],
    ),
    Scenario("handshakes", "a short tunnel's life: connect, upgrade, one echo, Close", of_cases([handshake()])),
    Scenario(
        "idle-tunnels", "memory of a tunnel that does nothing", _idle_tunnels, [budget for budget in BUDGETS if budget.row == "memory"]
    ),
    Scenario(
        "idle-connections",
        "memory of a client's connection that is kept alive and does nothing",
        _idle_connections,
        [Budget("memory", "albkit", None, 8.0, 4.0)],
    ),
)

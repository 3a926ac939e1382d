from __future__ import annotations

import ast
import json
import logging
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from albkit import events
from albkit.report.application_log import ApplicationLog
from tests.support.balancing import balancing, listener, named
from tests.support.log_lines import about

_TARGET = alb.Target("10.0.0.1", 80)
_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""What `extra` must not contain: `logging` raises KeyError."""

LINES: list[tuple[events.Event, str, dict[str, object]]] = [
    (
        events.LoadBalancerStarted("web", 1, 2, 3),
        "load balancer web has started (listeners: 1, target groups: 2, targets: 3)",
        {"albkit_name": "web", "albkit_listeners": 1, "albkit_groups": 2, "albkit_targets": 3},
    ),
    (
        events.LoadBalancerStopping("web", 2.5, 3, 4),
        "load balancer web stops within 2.5 s (open client connections: 3, tunnels: 4)",
        {"albkit_name": "web", "albkit_seconds": 2.5, "albkit_connections": 3, "albkit_tunnels": 4},
    ),
    (events.LoadBalancerStopped("web"), "load balancer web has stopped", {"albkit_name": "web"}),
    (
        events.ListenerOpened("door", 443, url="https://127.0.0.1:443"),
        "listener door is open: https://127.0.0.1:443",
        {"albkit_listener": "door", "albkit_port": 443, "albkit_url": "https://127.0.0.1:443"},
    ),
    (
        events.ListenerOpened(None, 80, url="http://127.0.0.1:80"),
        "a listener is open: http://127.0.0.1:80",
        {"albkit_listener": "80", "albkit_port": 80},
    ),
    (
        events.ListenerClosed("door", 443, url="https://127.0.0.1:443"),
        "listener door is closed: https://127.0.0.1:443",
        {"albkit_port": 443},
    ),
    (events.ListenerClosed(None, 80, url="unix:/run/web"), "a listener is closed: unix:/run/web", {"albkit_url": "unix:/run/web"}),
    (
        events.TargetRegistered("api", _TARGET),
        "target 10.0.0.1:80 has joined group api",
        {"albkit_group": "api", "albkit_target": "10.0.0.1:80"},
    ),
    (
        events.TargetStateChanged("api", _TARGET, alb.TargetHealthState.HEALTHY, None),
        "target 10.0.0.1:80 of group api is healthy",
        {"albkit_state": "healthy", "albkit_reason": None},
    ),
    (
        events.TargetStateChanged("api", _TARGET, alb.TargetHealthState.UNHEALTHY, alb.TargetHealthReason.TIMEOUT),
        "target 10.0.0.1:80 of group api is unhealthy: Target.Timeout",
        {"albkit_state": "unhealthy", "albkit_reason": "Target.Timeout"},
    ),
    (
        events.TargetAnomalyChanged("api", _TARGET, alb.AnomalyResult.ANOMALOUS),
        "target 10.0.0.1:80 of group api: anomaly detection reports anomalous",
        {"albkit_result": "anomalous"},
    ),
    (events.TargetDrained("api", _TARGET), "target 10.0.0.1:80 of group api has drained", {"albkit_target": "10.0.0.1:80"}),
    (
        events.ConfigurationApplied(1, 2),
        "a new configuration is in effect (listeners: 1, target groups: 2)",
        {"albkit_listeners": 1, "albkit_groups": 2, "albkit_groups_added": ""},
    ),
    (
        events.ConfigurationApplied(
            1, 20, listeners_changed=("door",), groups_added=tuple(f"g{i}" for i in range(12)), groups_changed=("a",), groups_removed=("z",)
        ),
        "a new configuration is in effect (listeners: 1, target groups: 20); listeners changed: door; "
        "target groups added: g0, g1, g2, g3, g4, g5, g6, g7, g8, g9 and 2 more; target groups changed: a; target groups removed: z",
        {"albkit_listeners_changed": "door", "albkit_groups_changed": "a", "albkit_groups_removed": "z"},
    ),
    (
        events.CertificatesRead(("/etc/a.pem", "/etc/b\n.pem")),
        "TLS files have changed; new connections use them: /etc/a.pem, /etc/b\\n.pem",
        {"albkit_files": "/etc/a.pem, /etc/b\\n.pem"},
    ),
]
_ELSEWHERE = {events.TargetEjected, events.TargetReadmitted}
"""Logged where they occur."""


@pytest.mark.parametrize(("event", "text", "fields"), LINES, ids=[f"{place} {type(line[0]).__name__}" for place, line in enumerate(LINES)])
def test_event_becomes_one_line_with_fields(
    event: events.Event, text: str, fields: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """For people and, as JSON, for programs."""
    caplog.set_level(logging.INFO, "albkit")
    ApplicationLog().log(event)
    (record,) = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == ("albkit", "INFO", text)
    found = {key: value for key, value in vars(record).items() if key not in _ATTRIBUTES}
    assert found.items() >= fields.items()
    assert all(key.startswith("albkit_") for key in found)
    assert all(value is None or type(value) in (str, int, float) for value in found.values())
    assert json.loads(json.dumps(found)) == found
    assert found["albkit_event"].replace("_", "") == type(event).__name__.lower()


def test_each_class_of_changes_has_its_line() -> None:
    """Those of exchanges are for the access log."""
    assert {type(event) for event, _, _ in LINES} == set(events.CHANGES) - _ELSEWHERE


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR])
def test_logger_that_does_not_want_info_gets_nothing(level: int, caplog: pytest.LogCaptureFixture) -> None:
    """That is Python's default, so a program that configures no logging sees none of these lines."""
    caplog.set_level(level, "albkit")
    for event, _, _ in LINES:
        ApplicationLog().log(event)
    assert caplog.records == []


def test_lines_about_targets_are_bounded_and_the_rest_is_counted(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand targets that join in one turn of the event loop must not hold it."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    caplog.set_level(logging.INFO, "albkit")
    log = ApplicationLog()
    log._targets._now = lambda: now[0]
    for _ in range(10_000):
        log.log(events.TargetRegistered("api", _TARGET))
    assert len(caplog.records) == 200
    log.log(events.LoadBalancerStopped("web"))
    assert len(caplog.records) == 201
    now[0] = 1.0
    log.log(events.TargetRegistered("api", _TARGET))
    log.log(events.TargetRegistered("api", _TARGET))
    first, second = caplog.records[-2:]
    assert first.getMessage().endswith("; 9800 changes of targets before this one were not logged")
    assert vars(first)["albkit_suppressed"] == 9800
    assert "not logged" not in second.getMessage()


def _calls() -> list[tuple[str, ast.Call]]:
    """Every call of `_log` in the package that writes a line."""
    root = Path(alb.__file__).parent
    found = []
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            if isinstance(node, ast.Call) and name.startswith("_log.") and name != "_log.isEnabledFor":
                found.append((f"{path.relative_to(root)}:{node.lineno}", node))
    return found


def test_every_line_of_the_package_has_fields() -> None:
    """Whoever adds a line gives it a stable name, `albkit_event`."""
    calls = _calls()
    assert len(calls) > 30
    assert [place for place, call in calls if "extra" not in [word.arg for word in call.keywords]] == []


def test_every_field_of_the_package_has_the_prefix() -> None:
    """The keys of all dictionaries that contain `albkit_event`, which `logging` would refuse if they were attributes of a record."""
    root = Path(alb.__file__).parent
    keys = set()
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                names = [key.value for key in node.keys if isinstance(key, ast.Constant)]
                if "albkit_event" in names:
                    keys |= set(names)
    assert len(keys) > 15
    assert [key for key in keys if not key.startswith("albkit_")] == []


async def test_run_writes_its_lines_in_order(caplog: pytest.LogCaptureFixture) -> None:
    """From the start to the stop, with registrations and a new configuration in between."""
    caplog.set_level(logging.INFO, "albkit")
    async with named("a", "b") as (a, b):
        before = listener(alb.Forward(alb.TargetGroup("api", a.address)), name="door")
        async with balancing(before) as it:
            balancer = it.load_balancer
            url = balancer.listeners[0].url
            await balancer.register_targets("api", b.address)
            await balancer.deregister_targets("api", a.address)
            await balancer.apply(
                [
                    listener(alb.Forward(alb.TargetGroup("api", a.address, deregistration_delay=1)), name="door"),
                    listener(alb.Forward(alb.TargetGroup("other", b.address)), name="second"),
                ]
            )
            second = balancer.listeners[1].url
        first, other = a.address, b.address
    assert [(record.__dict__["albkit_event"], record.getMessage()) for record in caplog.records] == [
        ("listener_opened", f"listener door is open: {url}"),
        ("load_balancer_started", "load balancer albkit has started (listeners: 1, target groups: 1, targets: 1)"),
        ("target_registered", f"target {other} has joined group api"),
        ("target_state_changed", f"target {first} of group api is draining: Target.DeregistrationInProgress"),
        ("target_drained", f"target {first} of group api has drained"),
        ("listener_opened", f"listener second is open: {second}"),
        (
            "configuration_applied",
            "a new configuration is in effect (listeners: 2, target groups: 2); listeners changed: door; "
            "target groups added: other; target groups changed: api",
        ),
        ("load_balancer_stopping", "load balancer albkit stops within 0.2 s (open client connections: 0, tunnels: 0)"),
        ("listener_closed", f"listener door is closed: {url}"),
        ("listener_closed", f"listener second is closed: {second}"),
        ("load_balancer_stopped", "load balancer albkit has stopped"),
    ]


async def test_failed_exchange_has_fields(caplog: pytest.LogCaptureFixture) -> None:
    """Those that an operator filters by, with what the client sent escaped."""
    caplog.set_level(logging.INFO, "albkit")
    async with balancing(listener(alb.Forward(alb.TargetGroup("api", [])), name="door")) as it:
        client = await it.client()
        assert (await client.get("/a%0A/\u00e9")).status == 503
    (record,) = about(caplog.records, "exchange_failed")
    fields: dict[str, Any] = vars(record)
    assert (fields["albkit_reason"], fields["albkit_side"], fields["albkit_status"]) == ("NoTargets", "load balancer", 503)
    assert (fields["albkit_listener"], fields["albkit_group"], fields["albkit_target"]) == ("door", "api", None)
    assert fields["albkit_client"].startswith("127.0.0.1:")
    assert fields["albkit_path"].isascii()
    assert fields["albkit_path"].isprintable()

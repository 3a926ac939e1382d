"""Writes one line per event to the logger `albkit`, at INFO: starting, stopping, listeners, targets, configurations, certificates.

Ejections are logged in `control.anomaly_watch`, because their level depends on more than the event.

Every line of this logger, here and in other modules, has fields for structured logs (`extra=`). Their names begin with `albkit_`, so that
they collide with no attribute of a `LogRecord`. `albkit_event` says what the line is about. Values are text, numbers or `None`; texts from
outside are escaped.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from albkit.errors import escaped
from albkit.model import events
from albkit.report.log_throttle import LogThrottle

__all__ = ("ApplicationLog",)

_log = logging.getLogger("albkit")

_TARGET_LINES = 200
"""Lines about targets per second. Thousands of targets may change at the same moment, and each line takes time."""
_NAMES = 10
"""Names of groups and listeners that a line lists."""

Line = tuple[str, tuple[object, ...], dict[str, object]]
"""Words for `%`, their arguments, and the fields."""


class ApplicationLog:
    """The lines of one load balancer."""

    def __init__(self) -> None:
        self._targets = LogThrottle(lines=_TARGET_LINES)

    def log(self, event: events.Event) -> None:
        """Write the line of an event. Events without a line here are logged where they occur, or are for the access log."""
        line = _LINES.get(type(event))
        if line is None or not _log.isEnabledFor(logging.INFO):
            return
        suppressed = 0
        if isinstance(event, _OF_TARGETS):
            if not self._targets.may_say():
                return
            suppressed = self._targets.take_suppressed()
        words, arguments, fields = line(event)
        fields["albkit_event"] = _name(type(event))
        if suppressed:
            words += "; %d changes of targets before this one were not logged"
            arguments = (*arguments, suppressed)
            fields["albkit_suppressed"] = suppressed
        _log.info(words, *arguments, extra=fields)


def _name(kind: type[Any]) -> str:
    """The value of `albkit_event`: `target_registered` for `TargetRegistered`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def _started(event: events.LoadBalancerStarted) -> Line:
    fields: dict[str, object] = {
        "albkit_name": event.name,
        "albkit_listeners": event.listeners,
        "albkit_groups": event.groups,
        "albkit_targets": event.targets,
    }
    words = "load balancer %s has started (listeners: %d, target groups: %d, targets: %d)"
    return words, (event.name, event.listeners, event.groups, event.targets), fields


def _stopping(event: events.LoadBalancerStopping) -> Line:
    fields: dict[str, object] = {
        "albkit_name": event.name,
        "albkit_seconds": event.timeout,
        "albkit_connections": event.connections,
        "albkit_tunnels": event.tunnels,
    }
    words = "load balancer %s stops within %g s (open client connections: %d, tunnels: %d)"
    return words, (event.name, event.timeout, event.connections, event.tunnels), fields


def _stopped(event: events.LoadBalancerStopped) -> Line:
    return "load balancer %s has stopped", (event.name,), {"albkit_name": event.name}


def _listener(is_now: str, event: events.ListenerOpened | events.ListenerClosed) -> Line:
    fields: dict[str, object] = {"albkit_listener": event.name or str(event.port), "albkit_port": event.port, "albkit_url": event.url}
    if event.name is None:
        return f"a listener is {is_now}: %s", (event.url,), fields
    return f"listener %s is {is_now}: %s", (event.name, event.url), fields


def _target(event: Any) -> dict[str, object]:
    return {"albkit_group": event.group, "albkit_target": str(event.target)}


def _registered(event: events.TargetRegistered) -> Line:
    return "target %s has joined group %s", (event.target, event.group), _target(event)


def _state_changed(event: events.TargetStateChanged) -> Line:
    reason = event.reason.value if event.reason is not None else None
    fields = {**_target(event), "albkit_state": event.state.value, "albkit_reason": reason}
    if reason is None:
        return "target %s of group %s is %s", (event.target, event.group, event.state.value), fields
    return "target %s of group %s is %s: %s", (event.target, event.group, event.state.value, reason), fields


def _anomaly_changed(event: events.TargetAnomalyChanged) -> Line:
    fields = {**_target(event), "albkit_result": event.result.value}
    return "target %s of group %s: anomaly detection reports %s", (event.target, event.group, event.result.value), fields


def _drained(event: events.TargetDrained) -> Line:
    return "target %s of group %s has drained", (event.target, event.group), _target(event)


def _applied(event: events.ConfigurationApplied) -> Line:
    parts = (
        ("listeners changed", event.listeners_changed),
        ("target groups added", event.groups_added),
        ("target groups changed", event.groups_changed),
        ("target groups removed", event.groups_removed),
    )
    changes = "".join(f"; {words}: {_listed(names)}" for words, names in parts if names)
    fields: dict[str, object] = {"albkit_listeners": event.listeners, "albkit_groups": event.groups}
    for words, names in parts:
        fields["albkit_" + words.removeprefix("target ").replace(" ", "_")] = _listed(names)
    words = "a new configuration is in effect (listeners: %d, target groups: %d)%s"
    return words, (event.listeners, event.groups, changes), fields


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES])
    return f"{shown} and {len(names) - _NAMES} more" if len(names) > _NAMES else shown


def _certificates_read(event: events.CertificatesRead) -> Line:
    # The program names the files, but a path may contain any character.
    files = escaped(_listed(event.files))
    return "TLS files have changed; new connections use them: %s", (files,), {"albkit_files": files}


_LINES: dict[type[Any], Callable[[Any], Line]] = {
    events.LoadBalancerStarted: _started,
    events.LoadBalancerStopping: _stopping,
    events.LoadBalancerStopped: _stopped,
    events.ListenerOpened: partial(_listener, "open"),
    events.ListenerClosed: partial(_listener, "closed"),
    events.TargetRegistered: _registered,
    events.TargetStateChanged: _state_changed,
    events.TargetAnomalyChanged: _anomaly_changed,
    events.TargetDrained: _drained,
    events.ConfigurationApplied: _applied,
    events.CertificatesRead: _certificates_read,
}
_OF_TARGETS = (
    events.TargetRegistered,
    events.TargetStateChanged,
    events.TargetAnomalyChanged,
    events.TargetDrained,
)

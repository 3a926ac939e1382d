"""Turns descriptions into the items of the state."""

from __future__ import annotations

from typing import Any

from albkit.admin.section import Item
from albkit.model.descriptions import (
    CertificateDescription,
    ListenerDescription,
    LoadBalancerDescription,
    RuleDescription,
    TargetDescription,
    TargetGroupDescription,
)
from albkit.model.health import HealthCheckResult
from albkit.model.target import Target
from albkit.version import __version__

__all__ = ("certificate_item", "drained_item", "group_item", "listener_item", "load_balancer_item", "rule_item", "target_item")

_LONGEST = 300


def load_balancer_item(described: LoadBalancerDescription, counters: dict[str, int], latency: Any) -> Item:
    """The item of the load balancer itself."""
    return {
        "name": described.name,
        "version": __version__,
        "started_at": described.started_at,
        "state": "running" if described.is_running else "draining",
        "counters": counters,
        "latency": latency,
    }


def listener_item(listener: ListenerDescription) -> Item:
    """The item of a listener."""
    return {
        "id": listener.id,
        "name": listener.name,
        "protocol": listener.protocol,
        "host": listener.host,
        "port": listener.port,
        "url": listener.url,
        "requests": listener.requests,
        "processed_bytes": listener.processed_bytes,
        "responses": listener.responses,
        "active_connections": listener.active_connections,
        "rules": listener.rules,
    }


def rule_item(rule: RuleDescription) -> Item:
    """The item of a rule."""
    return {
        "id": rule.id,
        "listener": rule.listener,
        "priority": rule.priority,
        "conditions": list(rule.conditions),
        "action": rule.action,
        "hits": rule.hits,
    }


def group_item(group: TargetGroupDescription, latency: Any) -> Item:
    """The item of a target group."""
    return {
        "id": group.name,
        "protocol": group.protocol,
        "protocol_version": group.protocol_version,
        "algorithm": group.algorithm,
        "stickiness": group.stickiness,
        "health_check": group.health_check,
        "deregistration_delay": group.deregistration_delay,
        "requests": group.requests,
        "processed_bytes": group.processed_bytes,
        "responses": group.responses,
        "outstanding": group.outstanding,
        "tunnels": group.tunnels,
        "retries": group.retries,
        "connection_errors": group.connection_errors,
        "healthy": group.healthy,
        "unhealthy": group.unhealthy,
        "targets": group.targets,
        "fails_open": group.fails_open,
        "last_active_at": group.last_active_at,
        "latency": latency,
    }


def target_item(target: TargetDescription, latency: Any) -> Item:
    """The item of a target."""
    address = target.address
    check = target.last_check
    return {
        "id": f"{target.group}/{address}",
        "group": target.group,
        "address": address,
        "weight": target.weight,
        "standby": target.target.standby,
        "max_concurrency": target.target.max_concurrency,
        "state": target.state.value,
        "reason": target.reason.value if target.reason is not None else None,
        "description": target.description,
        "ejected_until": target.ejected_until,
        "eject_reason": target.eject_reason,
        "outstanding": target.outstanding,
        "tunnels": target.tunnels,
        "requests": target.requests,
        "errors": target.errors,
        "processed_bytes": target.processed_bytes,
        "responses": target.responses,
        "connection_errors": target.connection_errors,
        "retries": target.retries,
        "last_active_at": target.last_active_at,
        "last_check": _check(check) if check is not None else None,
        "draining_until": target.draining_until,
        "latency": latency,
    }


def _check(check: HealthCheckResult) -> Item:
    return {
        "at": round(check.at, 3),
        "passed": check.passed,
        "seconds": round(check.seconds, 6),
        "status": check.status,
        "reason": check.reason[:_LONGEST],
    }


def drained_item(identity: str, group: str, target: Target, last: Item | None) -> Item:
    """The item of a target that was drained and can be put back.

    Args:
        identity: The id of the item.
        group: The name of its group.
        target: How it was declared.
        last: Its item before, with its counts.
    """
    counts = last or {
        "requests": 0,
        "errors": 0,
        "processed_bytes": 0,
        "responses": dict.fromkeys(("2xx", "3xx", "4xx", "5xx"), 0),
        "connection_errors": 0,
        "retries": 0,
        "last_active_at": None,
        "last_check": None,
    }
    return counts | {
        "id": identity,
        "group": group,
        "address": str(target),
        "weight": target.weight,
        "standby": target.standby,
        "max_concurrency": target.max_concurrency,
        "state": "drained",
        "reason": None,
        "description": "Target has drained and can be put back",
        "ejected_until": None,
        "eject_reason": "",
        "outstanding": 0,
        "tunnels": 0,
        "draining_until": None,
        "latency": None,
    }


def certificate_item(certificate: CertificateDescription, identity: str) -> Item:
    """The item of a certificate."""
    return {
        "id": identity,
        "listener": certificate.listener,
        "names": list(certificate.names),
        "not_after": certificate.not_after,
        "key_type": certificate.key_type,
    }

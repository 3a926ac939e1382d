"""The schemas of everything that the admin API takes and gives."""

from __future__ import annotations

from typing import Any, Final

from albkit.admin.schema import Schema, array, one_of, record, reference
from albkit.model.attributes import ATTRIBUTES

__all__ = ("COMPONENTS", "MOST_TARGETS")

MOST_TARGETS: Final = 1000
"""Targets that one request may register: their checks take milliseconds of one turn of the event loop."""

_COUNT: Final = {"type": "integer", "minimum": 0}
_SECONDS: Final = {"type": "number", "description": "Seconds."}
_TIME: Final = {"type": "number", "description": "Seconds since 1970."}
_TIME_OR_NULL: Final = {"type": ["number", "null"], "description": "Seconds since 1970."}
_TEXT: Final = {"type": "string"}
_TEXT_OR_NULL: Final = {"type": ["string", "null"]}
_FLAG: Final = {"type": "boolean"}
_CODE: Final = {
    "type": "integer",
    "minimum": 1000,
    "maximum": 4999,
    "format": "close-code",
    "description": "RFC 6455 section 7.4.",
}
_TOKEN: Final = {"type": "string", "maxLength": 256, "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"}
_NAME: Final = {"type": "string", "minLength": 1, "maxLength": 32}
_ADDRESS: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": 300,
    "format": "target",
    "description": "host:port, [v6]:port, http://host:port or unix:/path",
}


def _attribute(name: str, *, nullable: bool = False) -> dict[str, Any]:
    """Make the schema of a setting of `Target` from the table of settings."""
    setting = ATTRIBUTES["Target", name]
    if isinstance(setting.default, bool):
        return {"type": "boolean", "description": setting.meaning}
    number = {"type": ["integer", "null"] if nullable else "integer", "description": setting.meaning}
    return {**number, "minimum": setting.minimum, "maximum": setting.maximum}


_WEIGHT: Final = _attribute("weight")
_STANDBY: Final = _attribute("standby")
_CONCURRENCY: Final = _attribute("max_concurrency", nullable=True)
_RESPONSES: Final = record(**dict.fromkeys(("2xx", "3xx", "4xx", "5xx"), _COUNT))
_LATENCY: Final = one_of(
    {
        **record(count=_COUNT, **{name: {"type": ["number", "null"]} for name in ("p50", "p90", "p99")}),
        "description": "Seconds from sending a request to the head of its response, of the last 10 seconds.",
    },
    {"type": "null"},
)
_COUNTERS: Final = {"type": "object", "additionalProperties": {"type": ["number"]}}

COMPONENTS: Final[dict[str, Schema]] = {
    "LoadBalancer": record(
        name=_TEXT,
        version=_TEXT,
        started_at=_TIME_OR_NULL,
        state={"type": "string", "enum": ["running", "draining"]},
        counters=_COUNTERS,
        latency=_LATENCY,
    ),
    "Listener": record(
        id=_TEXT,
        name=_TEXT_OR_NULL,
        protocol=_TEXT,
        host=_TEXT_OR_NULL,
        port=_COUNT,
        url=_TEXT,
        requests=_COUNT,
        processed_bytes=_COUNT,
        responses=_RESPONSES,
        active_connections=_COUNT,
        rules=_COUNT,
    ),
    "Rule": record(id=_TEXT, listener=_TEXT, priority=_COUNT, conditions=array(_TEXT), action=_TEXT, hits=_COUNT),
    "Group": record(
        id=_TEXT,
        protocol=_TEXT,
        protocol_version=_TEXT,
        algorithm=_TEXT,
        stickiness=_TEXT_OR_NULL,
        health_check=_TEXT_OR_NULL,
        deregistration_delay=_SECONDS,
        requests=_COUNT,
        processed_bytes=_COUNT,
        responses=_RESPONSES,
        outstanding=_COUNT,
        tunnels=_COUNT,
        retries=_COUNT,
        connection_errors=_COUNT,
        healthy=_COUNT,
        unhealthy=_COUNT,
        targets=_COUNT,
        fails_open=_FLAG,
        last_active_at=_TIME_OR_NULL,
        latency=_LATENCY,
    ),
    "Check": record(at=_TIME, passed=_FLAG, seconds=_SECONDS, status={"type": ["integer", "null"]}, reason=_TEXT),
    "Target": record(
        id=_TEXT,
        group=_TEXT,
        address=_TEXT,
        weight=_COUNT,
        standby=_FLAG,
        max_concurrency={"type": ["integer", "null"]},
        state={"type": "string", "enum": ["healthy", "unhealthy", "initial", "unavailable", "draining", "unused", "drained"]},
        reason=_TEXT_OR_NULL,
        description=_TEXT,
        ejected_until=_TIME_OR_NULL,
        eject_reason=_TEXT,
        outstanding=_COUNT,
        tunnels=_COUNT,
        requests=_COUNT,
        errors=_COUNT,
        processed_bytes=_COUNT,
        responses=_RESPONSES,
        connection_errors=_COUNT,
        retries=_COUNT,
        last_active_at=_TIME_OR_NULL,
        last_check=one_of({**reference("Check"), "type": "object"}, {"type": "null"}),
        draining_until=_TIME_OR_NULL,
        latency=_LATENCY,
    ),
    "Tunnel": record(
        id=_TEXT,
        client=_TEXT,
        group=_TEXT,
        target=_TEXT,
        protocol=_TEXT,
        opened_at=_TIME,
        last_active_at=_TIME,
        bytes_in=_COUNT,
        bytes_out=_COUNT,
    ),
    "Certificate": record(id=_TEXT, listener=_TEXT, names=array(_TEXT), not_after=_TIME, key_type=_TEXT),
    "Failure": record(
        id=_COUNT,
        at=_TIME,
        reason=_TEXT,
        sentence=_TEXT,
        phase=_TEXT,
        side=_TEXT,
        status=_COUNT,
        client=_TEXT,
        group=_TEXT_OR_NULL,
        target=_TEXT_OR_NULL,
        rule=_TEXT_OR_NULL,
        request=_TEXT,
        detail=_TEXT,
    ),
    "Event": record(id=_COUNT, at=_TIME, kind=_TEXT, text=_TEXT, group=_TEXT_OR_NULL, target=_TEXT_OR_NULL),
    "Counters": _COUNTERS,
    "State": record(
        time=_TIME,
        load_balancer=reference("LoadBalancer"),
        **{
            section: {"type": "object", "additionalProperties": reference(name)}
            for section, name in (
                ("listeners", "Listener"),
                ("rules", "Rule"),
                ("groups", "Group"),
                ("targets", "Target"),
                ("tunnels", "Tunnel"),
                ("certificates", "Certificate"),
            )
        },
        failures=array(reference("Failure")),
        events=array(reference("Event")),
    ),
    "Error": record(error=_TEXT, faults=array(record(path=_TEXT, message=_TEXT))),
    "Registration": record(
        targets=array(
            one_of(
                _ADDRESS,
                record({"weight": _WEIGHT, "standby": _STANDBY, "max_concurrency": _CONCURRENCY}, target=_ADDRESS),
            ),
            minItems=1,
            maxItems=MOST_TARGETS,
        )
    ),
    "TargetChange": {**record({"weight": _WEIGHT, "standby": _STANDBY}), "minProperties": 1},
    "Nothing": record(),
    "TunnelChoice": one_of(
        record({"target": _ADDRESS, "code": _CODE}, group=_NAME),
        record({"code": _CODE}, all={"type": "boolean", "const": True}),
    ),
    "Question": record(
        {
            "headers": {
                "type": "object",
                "propertyNames": {**_TOKEN, "title": "the name of a header"},
                "additionalProperties": {"type": "string", "maxLength": 8190, "pattern": "^[^\\x00-\\x1f\\x7f]*$"},
                "maxProperties": 100,
            },
            "client": {"type": "string", "minLength": 1, "maxLength": 100, "format": "ip-address"},
            "listener": {"type": ["string", "null"], "maxLength": 100},
            "http2": _FLAG,
        },
        method={**_TOKEN, "title": "a method"},
        url={
            "type": "string",
            "maxLength": 8190,
            "pattern": "^https?://[!-~]+$",
            "format": "url",
            "title": "a URL; give http:// or https://, a host and a path, with other characters percent-encoded",
        },
    ),
    "Explanation": record(rule=_TEXT_OR_NULL, group=_TEXT_OR_NULL, target=_TEXT_OR_NULL, why=array(_TEXT)),
    "Status": record(status=_TEXT),
    "ChangedTarget": record(target=reference("Target")),
    "ChangedTargets": record(targets=array(reference("Target"))),
    "Closed": record(closed=_COUNT),
}

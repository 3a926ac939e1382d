"""The table of routes."""

from __future__ import annotations

from typing import Any, Final

from albkit.admin import actions, reading
from albkit.admin.context import Context
from albkit.admin.openapi import make_document
from albkit.admin.route import Call, Route
from albkit.admin.schema import Schema, array, reference

__all__ = ("ROUTES",)

_TARGET: Final = "/api/groups/{group}/targets/{address}"
_NOTHING: Final = reference("Nothing")
_CHANGED: Final = reference("ChangedTarget")
_STATUS: Final = reference("Status")
_STREAM: Final[Schema] = {"type": "string", "description": "Events named state, delta and bye; the data of each is JSON."}
_TEXT: Final[Schema] = {"type": "string"}


def _section(path: str, name: str, schema: str, summary: str) -> Route:
    return Route("GET", f"/api/{path}", summary, reading.section(name), answer=array(reference(schema)))


async def _document(api: Context, call: Call) -> dict[str, Any]:
    """The OpenAPI document."""
    del api, call
    return make_document(ROUTES)


ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/", "The live page.", reading.page, answer=_TEXT, kind="text/html"),
    Route("GET", "/health", "Whether the process serves.", reading.health, answer=_STATUS),
    Route(
        "GET", "/ready", "Whether the load balancer is running, and not draining.", reading.ready, answer=reference("Status"), errors=(503,)
    ),
    Route("GET", "/metrics", "The metrics as Prometheus text.", reading.metrics, answer=_TEXT, kind="text/plain"),
    Route("GET", "/api/state", "The whole state.", reading.state, answer=reference("State")),
    Route("GET", "/api/load-balancer", "The load balancer.", reading.section("load_balancer"), answer=reference("LoadBalancer")),
    _section("listeners", "listeners", "Listener", "The open listeners."),
    _section("rules", "rules", "Rule", "The rules with their hits; priority 0 is the default action."),
    _section("groups", "groups", "Group", "The target groups."),
    _section("targets", "targets", "Target", "The targets of all groups, and those that were drained through this API."),
    _section("tunnels", "tunnels", "Tunnel", "The open tunnels."),
    _section("certificates", "certificates", "Certificate", "The certificates that clients may get."),
    Route("GET", "/api/failures", "The last 200 failures, newest first.", reading.failures, answer=array(reference("Failure"))),
    Route("GET", "/api/events", "The last 200 events, newest first.", reading.events, answer=array(reference("Event"))),
    Route("GET", "/api/counters", "The counters, by ALB's metric names.", reading.counters, answer=reference("Counters")),
    Route(
        "GET",
        "/api/stream",
        "The state, and what changes in it, every second.",
        reading.stream,
        answer=_STREAM,
        kind="text/event-stream",
        errors=(503,),
    ),
    Route(
        "POST",
        "/api/groups/{group}/targets",
        "Register targets. One that is registered takes its new weight; one that drains returns to service.",
        actions.register,
        body=reference("Registration"),
        answer=reference("ChangedTargets"),
        errors=(404,),
    ),
    Route(
        "PATCH",
        _TARGET,
        "Change the weight of a target, whether it is a standby target, or both.",
        actions.change,
        body=reference("TargetChange"),
        answer=_CHANGED,
        errors=(404, 409),
    ),
    Route("DELETE", _TARGET, "Deregister a target, and forget it.", actions.delete, body=_NOTHING, errors=(404,)),
    Route(
        "POST",
        f"{_TARGET}/drain",
        "Deregister a target: it gets no new requests, and the others may finish. It is remembered, so that it can be put back.",
        actions.drain,
        body=_NOTHING,
        answer=_CHANGED,
        errors=(404,),
    ),
    Route(
        "POST",
        f"{_TARGET}/put-back",
        "Register a target that drains, or was drained, as it was declared.",
        actions.put_back,
        body=_NOTHING,
        answer=_CHANGED,
        errors=(404,),
    ),
    Route(
        "DELETE",
        "/api/tunnels/{id}",
        "Begin to close one tunnel.",
        actions.close_tunnel,
        body=_NOTHING,
        query={"code": {"type": "integer", "minimum": 1000, "maximum": 4999, "default": 1001}},
        errors=(404,),
    ),
    Route(
        "POST",
        "/api/tunnels/close",
        "Begin to close the tunnels to a group, to a target, or all.",
        actions.close_tunnels,
        body=reference("TunnelChoice"),
        answer=reference("Closed"),
        errors=(404,),
    ),
    Route("POST", "/api/logs/reopen", "Open the log files again, after they were moved.", actions.reopen_logs, body=_NOTHING),
    Route(
        "POST",
        "/api/explain",
        "Explain what would happen to a request, without sending it.",
        actions.explain,
        body=reference("Question"),
        answer=reference("Explanation"),
    ),
    Route("GET", "/api/openapi.json", "This document.", _document, answer={"type": "object"}),
)
"""Every route. It serves requests, checks their bodies, and makes the OpenAPI document."""

"""The OpenAPI document, made of the table of routes."""

from __future__ import annotations

import re
from typing import Any, Final

from albkit.admin.route import Route
from albkit.admin.schemas import COMPONENTS
from albkit.version import __version__

__all__ = ("make_document",)

_ERRORS: Final = {
    400: "The body is not JSON.",
    401: "The token is missing or wrong.",
    403: "The request comes from another site, or is for another host.",
    404: "The group, the target or the tunnel is unknown.",
    409: "The target is not in service.",
    413: "The body is larger than 1 MiB.",
    415: "The body is not declared as application/json.",
    422: "The body has faults, each with its path.",
    503: "The load balancer is not running, or too many viewers are connected.",
}
_VARIABLE: Final = re.compile(r"\{([a-z]+)\}")
_MEANINGS: Final = {
    "group": "The name of a target group.",
    "address": "The address of a target, percent-encoded: `10.0.0.5:8000`, `%5B::1%5D:80`, `unix:%2Frun%2Fapp.sock`.",
    "id": "The number of a tunnel.",
}


def make_document(routes: tuple[Route, ...]) -> dict[str, Any]:
    """Make the document (OpenAPI 3.1)."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "albkit admin API",
            "version": __version__,
            "description": "Watch and operate a load balancer. Times are seconds since 1970, durations are seconds.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": dict(COMPONENTS),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "If the admin API was opened with a token."}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    errors = {403, *route.errors, *((400, 413, 415, 422, 503) if route.writes else ())}
    if route.path.startswith(("/api", "/metrics")):
        errors.add(401)
    responses: dict[str, Any] = {str(status): _error(status, route) for status in sorted(errors)}
    if route.answer is None:
        responses["204"] = {"description": "Done."}
    else:
        responses["200"] = {"description": "Success.", "content": {route.kind: {"schema": route.answer}}}
    operation: dict[str, Any] = {"operationId": _name_of(route), "summary": route.summary, "responses": dict(sorted(responses.items()))}
    parameters = [
        {"name": name, "in": "path", "required": True, "description": _MEANINGS[name], "schema": {"type": "string"}}
        for name in _VARIABLE.findall(route.path)
    ]
    parameters += [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in route.query.items()]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": route.body}}}
    return operation


def _error(status: int, route: Route) -> dict[str, Any]:
    schema = "Status" if route.path == "/ready" and status == 503 else "Error"
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": _ERRORS[status], "content": content}


def _name_of(route: Route) -> str:
    words = re.findall(r"[a-z]+", _VARIABLE.sub(lambda found: f"by {found[1]}", route.path.removeprefix("/api")))
    return "_".join((route.method.lower(), *(words or ["page"])))

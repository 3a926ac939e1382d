"""The document says what the routes do."""

from __future__ import annotations

import re
from typing import Any

import pytest

from albkit.admin.openapi import make_document
from albkit.admin.routes import ROUTES
from albkit.admin.schemas import COMPONENTS
from tests.support.admin import operated

DOCUMENT = make_document(ROUTES)
_BODIES: dict[str, Any] = {
    "/api/groups/{group}/targets": {"targets": ["10.0.0.7:80"]},
    "/api/groups/{group}/targets/{address}": {"weight": 2},
    "/api/tunnels/close": {"all": True},
    "/api/explain": {"method": "GET", "url": "http://x/"},
}


def references_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references_in, value.values()))
    return set().union(*map(references_in, value)) if isinstance(value, list | tuple) else set()


def test_every_route_is_in_the_document_once() -> None:
    """By its method and path, with another id each."""
    documented = [(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods]
    assert sorted(documented) == sorted((route.method, route.path) for route in ROUTES)
    ids = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch("[a-z_]+", identity) for identity in ids)


def test_document_has_the_parts_that_openapi_asks_for() -> None:
    """OpenAPI 3.1: responses, path parameters, references that exist, and a schema for each component."""
    assert DOCUMENT["openapi"] == "3.1.0"
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    assert references_in(DOCUMENT) <= {f"#/components/schemas/{name}" for name in COMPONENTS}
    used = references_in(DOCUMENT["paths"])
    for _ in COMPONENTS:
        used |= references_in([COMPONENTS[one.rpartition("/")[2]] for one in used])
    assert used == {f"#/components/schemas/{name}" for name in COMPONENTS}, "schemas that nothing uses"
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"].endswith(".")
            assert any(status.startswith("2") for status in operation["responses"])
            assert all(answer["description"] for answer in operation["responses"].values())
            named = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"]
            assert named == re.findall(r"\{(\w+)\}", path)
            assert ("requestBody" in operation) == (method != "get")


def test_document_is_valid_for_a_validator() -> None:
    """That of openapi-spec-validator, if it is installed."""
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(DOCUMENT)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_documented_route_answers_as_documented(route: Any) -> None:
    """With a status and a content type of the document."""
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    async with operated("10.0.0.1:80") as it:
        path = route.path.replace("{group}", "group").replace("{address}", "10.0.0.1:80").replace("{id}", "1")
        body = None if route.method == "GET" else _BODIES.get(route.path, {}) if route.method != "DELETE" else {}
        async with it.client.request(route.method, f"{it.admin.url}{path}", json=body) as answer:
            documented = operation["responses"].get(str(answer.status))
            assert documented is not None, answer.status
            assert answer.status < 500
            if answer.status != 204:
                assert answer.content_type in documented["content"]


async def test_document_is_served() -> None:
    """For tools that make clients of it."""
    async with operated() as it:
        status, document = await it.ask("GET", "/api/openapi.json")
        assert status == 200
        assert document["paths"].keys() == DOCUMENT["paths"].keys()

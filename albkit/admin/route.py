"""What is known of one route: the same object checks requests and is documented."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
from aiohttp import web

from albkit.admin.context import Context
from albkit.admin.schema import Schema

__all__ = ("Call", "Handler", "Route")


@attrs.frozen
class Call:
    """One request, checked."""

    request: web.Request
    body: Any
    """The JSON, which fits the schema of the route; an empty object for routes that read none."""
    path: Mapping[str, str]
    """The variable parts of the path, decoded."""


Handler = Callable[[Context, Call], Awaitable[web.StreamResponse | Mapping[str, Any] | list[Any] | None]]
"""Answers a call. JSON is answered with 200, and `None` with 204."""


@attrs.frozen
class Route:
    """One method of one path.

    Args:
        method: The method.
        path: The path, with variable parts in braces.
        summary: What it does.
        handler: Answers a call.
        body: The schema of the request's body; `None` if it has none.
        answer: The schema of a successful answer; `None` for 204.
        kind: The content type of the answer.
        query: The schemas of the parameters in the query.
        errors: Statuses that this route can answer beside those that all share.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    body: Schema | None = attrs.field(default=None, kw_only=True)
    answer: Schema | None = attrs.field(default=None, kw_only=True)
    kind: str = attrs.field(default="application/json", kw_only=True)
    query: Mapping[str, Schema] = attrs.field(factory=dict, kw_only=True)
    errors: tuple[int, ...] = attrs.field(default=(), kw_only=True)

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.method != "GET"

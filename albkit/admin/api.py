"""Answers requests: checks them, calls the handler of their route, and puts its result, or its error, into a response."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from aiohttp import web

from albkit.admin.connection import HEADERS, Connection
from albkit.admin.context import Context
from albkit.admin.guard import Guard, peer_of
from albkit.admin.problem import Problem
from albkit.admin.route import Call, Route
from albkit.admin.routes import ROUTES
from albkit.admin.schema import Schema, faults_of
from albkit.admin.schemas import COMPONENTS
from albkit.admin.section import encode
from albkit.admin.settings import AdminSettings
from albkit.errors import escaped

__all__ = ("LARGEST_BODY", "Api")

_log = logging.getLogger("albkit")
LARGEST_BODY = 1 << 20
_BODY_TIMEOUT = 10.0
_CHECKED_IN_A_THREAD = 1 << 14
"""Bytes above which a body is read and checked in a thread: it would take milliseconds of a turn."""

Inner = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """Answers the requests of one admin API.

    Args:
        context: What the handlers use.
        settings: The settings of the admin API.
    """

    def __init__(self, context: Context, settings: AdminSettings) -> None:
        self.requests = 0
        self.guard = Guard(settings)
        self._context = context

    def application(self) -> web.Application:
        """Make the aiohttp application."""

        application = web.Application(middlewares=[self._answer], client_max_size=LARGEST_BODY)
        application.on_response_prepare.append(_add_headers)
        for route in ROUTES:
            application.router.add_route(route.method, route.path, self._handler(route))
            if route.path in ("/", "/health", "/ready"):
                application.router.add_route("HEAD", route.path, self._handler(route))
        return application

    @web.middleware
    async def _answer(self, request: web.Request, handler: Inner) -> web.StreamResponse:
        """Answer one request: what aiohttp or a handler raises becomes JSON."""
        connection = request.protocol
        self.requests += 1
        if isinstance(connection, Connection):
            connection.begin()
        try:
            self.guard.check(request)
            return await handler(request)
        except Exception as error:
            if isinstance(connection, Connection) and connection.has_begun:
                # A part of the answer is sent, so nothing else can be said. The usual cause is a client that does not read.
                _abort(request)
                raise asyncio.CancelledError from error
            return self._error(error, request)
        finally:
            if isinstance(connection, Connection):
                connection.end()

    def _error(self, error: Exception, request: web.Request) -> web.Response:
        """Make the answer for an exception."""
        if isinstance(error, web.HTTPException):
            error = _problem_of(error, request)
        elif isinstance(error, RuntimeError) and not self._context.load_balancer.describe().is_running:
            error = Problem(503, "the load balancer is not running")
        elif not isinstance(error, Problem):
            _log.error(
                "admin API: %s of %s failed",
                request.method,
                peer_of(request),
                exc_info=error,
                extra={"albkit_event": "admin_failed", "albkit_client": peer_of(request), "albkit_method": request.method},
            )
            error = Problem(500, "the admin API failed; its log says why")
        return _response_to(error)

    def _handler(self, route: Route) -> Inner:
        async def handle(request: web.Request) -> web.StreamResponse:
            if not route.writes:
                return _response(await route.handler(self._context, Call(request, {}, request.match_info)))
            return await self._act(route, request)

        return handle

    async def _act(self, route: Route, request: web.Request) -> web.StreamResponse:
        """Do what an operator asks for, and log who asked for what."""
        status, words = 500, "failed"
        try:
            body = await _body(request, route.body)
            result = await route.handler(self._context, Call(request, body, request.match_info))
            response = _response(result)
            status, words = response.status, "done"
            return response
        except Problem as problem:
            status, words = problem.status, "; ".join((problem.error, *(": ".join(filter(None, fault)) for fault in problem.faults[:3])))
            raise
        finally:
            self._context.state.outdate()
            path = request.path[:200]
            _log.info(
                "admin API: %s asked for %s %s: %d, %s",
                peer_of(request),
                request.method,
                escaped(path),
                status,
                escaped(words[:300]),
                extra={
                    "albkit_event": "admin_action",
                    "albkit_client": peer_of(request),
                    "albkit_method": request.method,
                    "albkit_path": escaped(path),
                    "albkit_status": status,
                },
            )


async def _body(request: web.Request, schema: Schema | None) -> Any:
    """Read the body of a request, and check it.

    Raises:
        Problem: 400, 408, 413 or 422.
    """
    try:
        async with asyncio.timeout(_BODY_TIMEOUT):
            content = await request.read()
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {_BODY_TIMEOUT:g} seconds") from None
    if len(content) < _CHECKED_IN_A_THREAD:
        return _checked(content, schema)
    return await asyncio.get_running_loop().run_in_executor(None, _checked, content, schema)


def _checked(content: bytes, schema: Schema | None) -> Any:
    try:
        # Bodies are UTF-8 only: `loads` would also guess UTF-16 and UTF-32.
        body = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant) if content.strip() else {}
    except RecursionError:
        raise Problem(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise Problem(400, f"the body is not JSON: {error}") from None
    faults = faults_of(schema, body, COMPONENTS) if schema is not None else []
    if faults:
        raise Problem.of_faults(faults)
    return body


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _response(result: Any) -> web.StreamResponse:
    if isinstance(result, web.StreamResponse):
        return result
    return web.Response(status=204) if result is None else web.Response(text=encode(result), content_type="application/json")


def _response_to(problem: Problem) -> web.Response:
    response = web.Response(status=problem.status, text=encode(problem.as_json()), content_type="application/json", headers=problem.headers)
    if problem.status in (401, 403, 408, 413, 503):
        # The connection is not kept for a client that may not, or should not, ask again at once.
        response.force_close()
    return response


def _problem_of(error: web.HTTPException, request: web.Request) -> Problem:
    path = ascii(request.path[:200])
    words = {
        404: f"there is no {path}; see /api/openapi.json",
        405: f"{path} has no method {request.method}; see /api/openapi.json",
        413: f"the body is larger than {LARGEST_BODY} bytes",
    }
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return Problem(error.status, words.get(error.status, error.reason), headers=headers)


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    if isinstance(request.protocol, Connection):
        request.protocol.has_begun = True
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    # aiohttp has set its own already.
    response.headers["Server"] = HEADERS["Server"]

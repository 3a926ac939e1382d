"""Asks the actions of a program's own, and lets none of them harm anything but its own exchange."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextvars import Context, copy_context

from albkit.errors import Failure, FailureKind, name_of, told
from albkit.model.actions import Hook
from albkit.model.extensions import Response
from albkit.model.message import RequestHead
from albkit.proxy.downstream import DownstreamExchange
from albkit.proxy.runtime import Runtime
from albkit.wire.http1.responses import as_response

__all__ = ("ask_hooks",)

_log = logging.getLogger("albkit")


async def ask_hooks(client: DownstreamExchange, request: RequestHead, hooks: Sequence[Hook], runtime: Runtime) -> Response | None:
    """The first answer that a hook gives, `None` where all let the request go on. Each has `Limits.hook_timeout` seconds.

    Raises:
        Failure: 500, a hook raised, took too long or returned something else; or the client left, and the hook was cancelled.
    """
    reading = _Reading(client)
    request.body = reading.body
    # What one hook notes in a context variable the next one finds.
    context = copy_context()
    try:
        for hook in hooks:
            answer = await _ask(client, request, hook, runtime, context)
            if answer is not None:
                return _response(hook, answer)
    finally:
        reading.is_over = True
    return None


async def _ask(client: DownstreamExchange, request: RequestHead, hook: Hook, runtime: Runtime, context: Context) -> object:
    """What one hook answers. It runs in a task of its own, so that neither the client nor a stop waits for one that does not end."""
    loop = runtime.loop
    over: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not over.done():
            over.set_result(None)

    task = runtime.hook_tasks.ask(_call(hook, request), hook, context)
    task.add_done_callback(wake)
    timeout = runtime.settings.limits.hook_timeout
    timer = loop.call_later(timeout, wake)
    # A client that leaves must not wait for a hook that does.
    client.interrupt = wake
    try:
        await over
    finally:
        client.interrupt = None
        timer.cancel()
        runtime.hook_tasks.give_up(task)
    client.raise_failure()
    if not task.done():
        raise Failure(FailureKind.HOOK_TIMEOUT, f"{name_of(hook)}, {timeout:g} s")
    if task.cancelled():
        raise Failure(FailureKind.HOOK_FAILED, f"{name_of(hook)}: it was cancelled, and not by the load balancer")
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, Failure):
        raise error
    _log.error("action %s failed", name_of(hook), exc_info=error)
    raise Failure(FailureKind.HOOK_FAILED, f"{name_of(hook)}: {told(error)}")


async def _call(hook: Hook, request: RequestHead) -> object:
    return await hook(request)


def _response(hook: Hook, answer: object) -> Response:
    try:
        response = as_response(answer)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - an object of the program's own may raise anything when it is looked at
        _log.exception("the answer of action %s cannot be read", name_of(hook))
        raise Failure(FailureKind.HOOK_FAILED, f"{name_of(hook)} returned what cannot be read: {told(error)}") from None
    if isinstance(response, str):
        raise Failure(FailureKind.HOOK_FAILED, f"{name_of(hook)} returned {response}")
    return response


class _Reading:
    """The request's body for its hooks, as long as it is theirs to read: behind that it is sent on, or another request's is coming."""

    __slots__ = ("_client", "is_over")

    def __init__(self, client: DownstreamExchange) -> None:
        self._client = client
        self.is_over = False

    async def body(self, limit: int | None = None) -> bytes:
        if self.is_over:
            raise RuntimeError("the actions of this request are over, and its body is not theirs to read any more")
        return await (self._client.read_body() if limit is None else self._client.read_body(limit))

"""Calls the actions of the program (hooks). Whatever a hook does, only its own exchange may suffer."""

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
from albkit.state.record import ExchangeRecord
from albkit.wire.http1.responses import validated_response

__all__ = ("run_hooks",)

_log = logging.getLogger("albkit")


async def run_hooks(
    client: DownstreamExchange, request: RequestHead, hooks: Sequence[Hook], record: ExchangeRecord, runtime: Runtime
) -> Response | None:
    """Call the hooks in order until one returns a response. Each may take `Limits.hook_timeout` seconds.

    Returns:
        The response to send; `None` if no hook returned one, and the rule's routing action is next.

    Raises:
        Failure: 500 if a hook raises, takes too long or returns anything else. If the client disconnects, its failure.
    """
    access = _BodyAccess(client)
    request.body = access.read
    # One context for all hooks of the request: a context variable that one sets is visible to the next.
    context = copy_context() if record.trace is None else record.trace.context
    try:
        for hook in hooks:
            result = await _run(client, request, hook, runtime, context)
            if result is not None:
                return _checked(hook, result)
    finally:
        access.is_over = True
    return None


async def _run(client: DownstreamExchange, request: RequestHead, hook: Hook, runtime: Runtime, context: Context) -> object:
    """Return what one hook returns.

    The hook runs in a task of its own, and this coroutine waits for a future instead of that task. So neither a timeout nor a client that
    disconnects nor a stop has to wait for a hook that ignores its cancellation.
    """
    loop = runtime.loop
    done: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not done.done():
            done.set_result(None)

    task = runtime.hook_tasks.start(_call(hook, request), hook, context)
    task.add_done_callback(wake)
    timeout = runtime.settings.limits.hook_timeout
    timer = loop.call_later(timeout, wake)
    # The client's side calls this if the client disconnects. `raise_failure` below then raises the reason.
    client.interrupt = wake
    try:
        await done
    finally:
        client.interrupt = None
        timer.cancel()
        runtime.hook_tasks.cancel(task)
    client.raise_failure()
    if not task.done():
        raise Failure(FailureKind.HOOK_TIMEOUT, f"{name_of(hook)}, {timeout:g} s")
    if task.cancelled():
        # Not this exchange: that would have raised at `await done`. Something that the hook waited for was cancelled.
        raise Failure(FailureKind.HOOK_FAILED, f"{name_of(hook)}: it was cancelled, but not by the load balancer")
    error = task.exception()
    if error is None:
        return task.result()
    # Reading the body may raise a Failure of the client, such as a body that is cut short. A hook that lets it pass is not to blame.
    if isinstance(error, Failure):
        raise error
    name = name_of(hook)
    _log.error("action %s failed", name, exc_info=error, extra={"albkit_event": "hook_failed", "albkit_hook": name})
    raise Failure(FailureKind.HOOK_FAILED, f"{name_of(hook)}: {told(error)}")


async def _call(hook: Hook, request: RequestHead) -> object:
    # A task needs a coroutine, and a hook may return any other awaitable. It may also raise before it returns one.
    return await hook(request)


def _checked(hook: Hook, result: object) -> Response:
    try:
        response = validated_response(result)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - an object of the program may raise anything when its attributes are read
        name = name_of(hook)
        fields = {"albkit_event": "hook_failed", "albkit_hook": name}
        _log.exception("the response of action %s cannot be read", name, extra=fields)
        raise Failure(FailureKind.HOOK_FAILED, f"{name_of(hook)} returned a response that cannot be read: {told(error)}") from None
    if isinstance(response, str):
        raise Failure(FailureKind.HOOK_FAILED, f"{name_of(hook)} returned {response}")
    return response


class _BodyAccess:
    """Lets hooks read the request body, until the last one has returned.

    After that the body is being forwarded, or the client connection reads its next request. A hook that kept the request must not get hold
    of those bytes.
    """

    __slots__ = ("_client", "is_over")

    def __init__(self, client: DownstreamExchange) -> None:
        self._client = client
        self.is_over = False

    async def read(self, limit: int | None = None) -> bytes:
        """`Request.body` for the hooks."""
        if self.is_over:
            raise RuntimeError("request.body() was called after the actions of this request had ended; call it before your action returns")
        return await (self._client.read_body() if limit is None else self._client.read_body(limit))

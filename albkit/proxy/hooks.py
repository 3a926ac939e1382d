"""Asks the actions of a program's own, and lets none of them harm anything but its own exchange."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from albkit.errors import Failure, FailureKind
from albkit.model.actions import Hook
from albkit.model.extensions import Response
from albkit.model.message import RequestHead
from albkit.proxy.client import Client
from albkit.wire.reply import fault_of_response

__all__ = ("ask_hooks",)

_log = logging.getLogger("albkit")


async def ask_hooks(client: Client, request: RequestHead, hooks: Sequence[Hook], timeout: float) -> Response | None:
    """The first answer that a hook gives, `None` where all let the request go on. Each has `timeout` seconds.

    Raises:
        Failure: 500, a hook raised, took too long or returned something else; or the client left, and the hook was cancelled.
    """
    request.body = client.read_body
    loop = asyncio.get_running_loop()
    for hook in hooks:
        scope = asyncio.timeout(timeout)
        try:
            async with scope:
                # A client that leaves must not wait for a hook that does.
                client.interrupt = lambda scope=scope: scope.reschedule(loop.time())
                answer = await hook(request)
        except Failure:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a hook raises costs its own exchange only
            client.raise_failure()
            if isinstance(error, TimeoutError) and scope.expired():
                raise Failure(FailureKind.HOOK_TIMEOUT, f"{_name(hook)}, {timeout:g} s") from None
            _log.exception("action %s failed", _name(hook))
            raise Failure(FailureKind.HOOK_FAILED, f"{_name(hook)}: {error!r}") from None
        finally:
            client.interrupt = None
        client.raise_failure()
        if answer is None:
            continue
        wrong = fault_of_response(answer)
        if wrong:
            raise Failure(FailureKind.HOOK_FAILED, f"{_name(hook)} returned {wrong}")
        return answer  # type: ignore[no-any-return]
    return None


def _name(hook: Hook) -> str:
    return getattr(hook, "__qualname__", repr(hook))

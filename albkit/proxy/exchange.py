"""One exchange, from the first byte of a request to the last of its response. This file tells the story; every step is a room.

    client ──▶ 1 accept ──▶ 2 read, judge ───▶ 3 route ──▶ 4 pick ──▶ 5 send ──▶ 6 relay or tunnel ──▶ 7 finish
               client         listener           rules     ╰──── forward ────╯    relay, tunnel          report
                                                   │
                                                   ╰──▶ answer it ourselves (reply)

An exchange waits for one thing at a time. Either side may end the wait: the target with its response, and both with a `Failure`, which
says what to tell the client and whom to blame.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from albkit.clock import http_date
from albkit.errors import Failure, FailureKind, told
from albkit.model.message import RequestHead
from albkit.policy.route_plan import RoutePlan
from albkit.policy.rule_table import CompiledRule
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.downstream import DownstreamExchange
from albkit.proxy.finish import finish
from albkit.proxy.forward import Forwarding, forward
from albkit.proxy.hooks import ask_hooks
from albkit.proxy.local_reply import answer_failure, answer_itself, answer_with
from albkit.proxy.runtime import Runtime
from albkit.proxy.tunnel.tunnel import Tunnel
from albkit.proxy.tunnel.tunnel_record import tunnel_opened, tunnel_over
from albkit.state.record import ExchangeRecord
from albkit.wire.http1.upgrade import agreed_extensions

__all__ = ("serve",)

_log = logging.getLogger("albkit")


async def serve(client: DownstreamExchange, listener: ListenerRuntime) -> None:
    """All the exchanges of one client connection, one after the other."""
    while await _exchange(client, listener):
        pass


async def _exchange(client: DownstreamExchange, listener: ListenerRuntime) -> bool:
    """One exchange; whether another may follow."""
    runtime = listener.runtime
    record = ExchangeRecord(client.address)
    try:
        # 1. Accept: the next request head of this client.
        head = await client.head()
        if head is None:
            client.close()
            return False
        record.received_at = runtime.clock.monotonic()

        # 2. Read it, and judge whether every server would read it in the same way.
        request = record.request = listener.read(head, client)
        record.client = request.client
        client.begin(request)

        # 3. Route: the first rule that holds. Its own actions may answer, or it may answer itself.
        rule = _route(request, listener)
        record.matched_rule_priority = rule.priority
        record.rules_evaluated = rule.position
        plan = rule.action
        answer = await ask_hooks(client, request, plan.hooks, runtime) if plan.hooks else None
        if answer is not None:
            answer_with(client, request, answer, record, listener)
            return _over(client, record, runtime)
        if plan.answer is not None:
            answer_itself(client, request, plan.answer, record, listener)
            return _over(client, record, runtime)

        # 4. Pick a target. 5. Send the request, perhaps to another one as well, until one begins to answer.
        record.action = "forward"
        forwarding = await forward(client, request, plan, record, runtime)

        # 6. Tunnel, or relay the response.
        if listener.response_fields is not None:
            listener.response_fields.put_on(forwarding.upstream.response.lines)
        if forwarding.upstream.response.status == 101:
            _open_tunnel(client, request, forwarding, record, listener)
            return False
        if not _begin_response(client, forwarding, record, runtime):
            await _relay_rest(client, forwarding)
        return _over(client, record, runtime)

    except Failure as failure:
        return _failed(client, failure, record, listener)
    except asyncio.CancelledError:
        if _is_cancelled():
            _cancelled(client, record, runtime)
            raise
        _log.exception("what an exchange of client %s waited for was cancelled", record.client)
        return _failed(client, Failure(FailureKind.INTERNAL_ERROR, "cancelled"), record, listener)
    except Exception:  # noqa: BLE001 - whatever it is, it must cost this exchange only
        _log.exception("an exchange of client %s failed inside the load balancer", record.client)
        return _failed(client, Failure(FailureKind.INTERNAL_ERROR), record, listener)


def _is_cancelled() -> bool:
    """Whether this task is to end, and not only something that it waits for."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _route(request: RequestHead, listener: ListenerRuntime) -> CompiledRule[RoutePlan]:
    try:
        return listener.rules.match(request)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a condition of the program's own may raise anything
        _log.exception("a condition failed")
        raise Failure(FailureKind.HOOK_FAILED, f"a condition: {told(error)}") from None


def _begin_response(client: DownstreamExchange, forwarding: Forwarding, record: ExchangeRecord, runtime: Runtime) -> bool:
    """Pass on the head of the response and what has come of its body, in one write. Returns whether that was all."""
    upstream = forwarding.upstream
    response = upstream.response
    try:
        pieces, over, trailers = upstream.first_pieces()
        record.elb_status_code = response.status
        fields = forwarding.set_cookie if response.has_date else _with_date(forwarding.set_cookie, runtime)
        client.start_response(response, fields)
        client.write_body(pieces, over, trailers)
    except BaseException:
        forwarding.end(whole=False)
        raise
    if over:
        forwarding.end(whole=True)
    return over


async def _relay_rest(client: DownstreamExchange, forwarding: Forwarding) -> None:
    """Pass on the rest of the body as it comes."""
    whole = False
    try:
        relayed = client.wait()
        forwarding.upstream.relay_body(relayed)
        await relayed
        whole = True
    finally:
        forwarding.end(whole=whole)


def _with_date(set_cookie: bytes, runtime: Runtime) -> bytes:
    """Our fields for a response without a Date, which gets one (RFC 9110 section 6.6.1)."""
    date = b"Date: " + http_date(int(runtime.clock.time()))
    return set_cookie + b"\r\n" + date if set_cookie else date


def _open_tunnel(
    client: DownstreamExchange, request: RequestHead, forwarding: Forwarding, record: ExchangeRecord, listener: ListenerRuntime
) -> None:
    """Hand both connections to a tunnel, which outlives this task."""
    runtime = listener.runtime
    upstream = forwarding.upstream
    response = upstream.response
    record.elb_status_code = 101
    record.received_bytes = client.received_bytes
    policy = forwarding.policy
    extensions = agreed_extensions(request, response) if policy.frames else None
    try:
        client_transport, head, early = client.open_tunnel(response, forwarding.set_cookie)
        try:
            target_transport, behind, target_is_through = upstream.detach()
        except Failure:
            listener.release(client.address.host)
            client_transport.abort()
            raise
    except Failure:
        forwarding.end(whole=False)
        raise
    over = partial(tunnel_over, listener, client.address.host, forwarding.choice)
    protocol = response.upgrade.decode("latin-1").lower()
    tunnel = Tunnel(client_transport, target_transport, upstream.member, record, protocol, policy, extensions, runtime, over)
    # A tunnel may live for days: it keeps nothing of the exchange but what it needs at its end.
    request.lines.clear()
    tunnel.open(head, behind, early, target_is_through=target_is_through, client_is_full=client.is_full, target_is_full=upstream.is_full)
    tunnel_opened(listener, tunnel, policy)


# 7. Finish: whatever became of it. A tunnel finishes its record itself, when both its connections are closed.


def _over(client: DownstreamExchange, record: ExchangeRecord, runtime: Runtime) -> bool:
    follows = client.response_over()
    _finish(client, record, runtime)
    return follows


def _failed(client: DownstreamExchange, failure: Failure, record: ExchangeRecord, listener: ListenerRuntime) -> bool:
    runtime = listener.runtime
    # Its traceback holds this exchange and the exchange holds it: a flood of failures would keep the garbage collector busy.
    failure.__traceback__ = None
    told = answer_failure(client, record.request, failure, record, listener)
    if told:
        return _over(client, record, runtime)
    client.cut()
    _finish(client, record, runtime)
    return False


def _cancelled(client: DownstreamExchange, record: ExchangeRecord, runtime: Runtime) -> None:
    """The program has cancelled all tasks, this one among them: what was going on ends here, and is told of as all others are."""
    if record.received_at:
        record.failure = Failure(FailureKind.STOPPED_IN_RESPONSE if client.response_started else FailureKind.STOPPED, "cancelled")
        client.cut()
        _finish(client, record, runtime)


def _finish(client: DownstreamExchange, record: ExchangeRecord, runtime: Runtime) -> None:
    record.received_bytes = client.received_bytes
    record.sent_bytes = client.sent_bytes
    finish(record, runtime)

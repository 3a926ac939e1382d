"""One exchange: an HTTP request and its response, from the first byte to the last. Start reading the code here.

Each step of `_exchange` has its own module, named below the step:

    1 accept ───▶ 2 parse ──────────▶ 3 route ───────────▶ 4 pick ──▶ 5 send ───▶ 6 relay or tunnel ──▶ 7 finish
    downstream    listener_runtime    policy/rule_table    ╰─── forward ────╯     here, or tunnel/      finish
                  wire/http1/request         │                                                             ▲
                                             ╰──────▶ or respond without a target: local_reply ────────────╯

Two parties take part: the `client` (downstream) and, from step 4 on, a target's connection (upstream). The exchange is one coroutine, which
waits for one event at a time: a request head, a hook, a free target, a response head, the end of the response body. Bodies do not pass
through the coroutine: the two connections hand the bytes to each other as they arrive.

Whatever goes wrong, on either side, is raised here as a `Failure`. It says which status the client gets, which side caused it, and whether
the request may be retried (see `albkit.errors.FailureKind`). Every exchange, successful or not, ends in step 7.
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
from albkit.proxy.hooks import run_hooks
from albkit.proxy.local_reply import reply_with_action, reply_with_error, reply_with_response
from albkit.proxy.runtime import Runtime
from albkit.proxy.tunnel.lifecycle import tunnel_closed, tunnel_opened
from albkit.proxy.tunnel.tunnel import Tunnel
from albkit.state.record import ExchangeRecord
from albkit.wire.http1.upgrade import negotiated_extensions

__all__ = ("serve",)

_log = logging.getLogger("albkit")


async def serve(client: DownstreamExchange, listener: ListenerRuntime) -> None:
    """Serve the exchanges of one client connection, one after the other, until it closes or becomes a tunnel.

    HTTP/1.1 clients may send further requests before the response (pipelining). These stay in the receive buffer until their turn.

    Args:
        client: The client's side of the connection. This coroutine runs in its task.
        listener: The listener that accepted it.
    """
    while await _exchange(client, listener):
        pass


async def _exchange(client: DownstreamExchange, listener: ListenerRuntime) -> bool:
    """Serve one exchange, and return whether another may follow on the connection."""
    runtime = listener.runtime
    record = ExchangeRecord(client.address, client.protocol, listener.listener_state)
    try:
        # 1. Accept: wait for the next request head. `None` means that the client closed between two requests, which is not a failure.
        head = await client.head()
        if head is None:
            client.close()
            return False
        record.received_at = runtime.clock.monotonic()

        # 2. Parse the head. It is rejected if servers could disagree about what it means: that is how requests are smuggled.
        request = record.request = listener.read(head, client)
        # The same address, unless a trusted proxy in front names its client in X-Forwarded-For.
        record.client = request.client
        client.begin(request)
        if runtime.tracing is not None:
            record.trace = runtime.tracing.begin(record, client.address, listener.public_origin(request.client), runtime.clock)

        # 3. Route: find the first rule that matches. Its hooks come first. A redirect or a fixed response needs no target.
        rule = _route(request, record, listener)
        record.matched_rule_priority = rule.priority
        record.rules_evaluated = rule.position
        plan = rule.action
        response = await run_hooks(client, request, plan.hooks, record, runtime) if plan.hooks else None
        if response is not None:
            reply_with_response(client, request, response, record, listener)
            return _complete(client, record, runtime)
        if plan.answer is not None:
            reply_with_action(client, request, plan.answer, record, listener)
            return _complete(client, record, runtime)

        # 4. Pick a target.  5. Send the request, and wait for the response head. If that fails, retry with another target if allowed.
        record.action = "forward"
        forwarding = await forward(client, request, plan, record, runtime)

        # 6. Relay the response to the client; or, after a 101 (Switching Protocols), connect both sides by a tunnel.
        if listener.response_fields is not None:
            listener.response_fields.apply_to(forwarding.upstream.response.lines)
        if forwarding.upstream.response.status == 101:
            _open_tunnel(client, request, forwarding, record, listener)
            return False
        if not _begin_response(client, forwarding, record, runtime):
            await _relay_rest(client, forwarding)
        return _complete(client, record, runtime)

    except Failure as failure:
        return _fail(client, failure, record, listener)
    except asyncio.CancelledError:
        if _task_is_cancelled():
            _cancel(client, record, runtime)
            raise
        fields = {"albkit_event": "internal_error", "albkit_client": str(record.client)}
        _log.exception("the exchange of client %s failed: something that it waited for was cancelled", record.client, extra=fields)
        return _fail(client, Failure(FailureKind.INTERNAL_ERROR, "cancelled"), record, listener)
    except Exception:  # noqa: BLE001 - an unexpected error must not affect any other exchange
        fields = {"albkit_event": "internal_error", "albkit_client": str(record.client)}
        _log.exception("the exchange of client %s failed because of an error inside the load balancer", record.client, extra=fields)
        return _fail(client, Failure(FailureKind.INTERNAL_ERROR), record, listener)


def _task_is_cancelled() -> bool:
    """Whether this task was cancelled, and not just a future that it waits for. Both raise `CancelledError`."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _route(request: RequestHead, record: ExchangeRecord, listener: ListenerRuntime) -> CompiledRule[RoutePlan]:
    """Return the first rule by priority whose conditions hold, or the default rule. Conditions may be functions of the program."""
    rules = listener.rules
    try:
        trace = record.trace
        rule = rules.match(request) if trace is None or not rules.asks_program else trace.context.run(rules.match, request)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a condition of the program may raise anything
        _log.exception("a condition failed", extra={"albkit_event": "hook_failed", "albkit_hook": "condition"})
        raise Failure(FailureKind.HOOK_FAILED, f"a condition: {told(error)}") from None
    rule.hits += 1
    return rule


def _begin_response(client: DownstreamExchange, forwarding: Forwarding, record: ExchangeRecord, runtime: Runtime) -> bool:
    """Send the head of the response and the part of the body that has been received already, in one write. Return whether that was all.

    A short response, as most are, ends here. It needs neither another coroutine nor a wait.
    """
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
    else:
        record.responded_at = runtime.clock.monotonic()
    return over


async def _relay_rest(client: DownstreamExchange, forwarding: Forwarding) -> None:
    """Send the rest of the body as it arrives, and return after its end."""
    whole = False
    try:
        relayed = client.wait()
        forwarding.upstream.relay_body(relayed)
        await relayed
        whole = True
    finally:
        forwarding.end(whole=whole)


def _with_date(set_cookie: bytes, runtime: Runtime) -> bytes:
    """Add a Date field for a response that has none (RFC 9110 section 6.6.1)."""
    date = b"Date: " + http_date(int(runtime.clock.time()))
    return set_cookie + b"\r\n" + date if set_cookie else date


def _open_tunnel(
    client: DownstreamExchange, request: RequestHead, forwarding: Forwarding, record: ExchangeRecord, listener: ListenerRuntime
) -> None:
    """Give both connections to a tunnel. It outlives this coroutine, and finishes the record itself.

    Raises:
        Failure: one side has disconnected; both connections are closed then.
    """
    runtime = listener.runtime
    upstream = forwarding.upstream
    response = upstream.response
    record.elb_status_code = 101 if client.gives_up_connection else 200  # RFC 8441 section 5.
    record.responded_at = runtime.clock.monotonic()
    policy = forwarding.policy
    extensions = negotiated_extensions(request, response) if policy.frames else None
    # The place in the connection limit of the listener, if the tunnel takes it over.
    host = client.address.host if client.gives_up_connection else None
    try:
        client_transport, head, early = client.open_tunnel(response, forwarding.set_cookie)
        try:
            target_transport, behind, target_sent_fin = upstream.detach()
        except Failure:
            # From here on the client connection no longer has its transport. So this function must close it and release its place in the
            # listener's connection limit.
            if host is not None:
                listener.release(host)
            client_transport.abort()
            raise
    except Failure:
        forwarding.end(whole=False)
        raise
    record.received_bytes, record.sent_bytes = client.received_bytes, client.sent_bytes
    on_closed = partial(tunnel_closed, listener, host, forwarding.choice)
    protocol = response.upgrade.decode("latin-1").lower()
    connections = client.gives_up_connection + upstream.gives_up_connection
    tunnel = Tunnel(
        client_transport, target_transport, upstream.member, record, protocol, policy, extensions, runtime, on_closed, connections
    )
    # The record keeps the request, and the tunnel keeps the record, maybe for days. Free what is no longer needed.
    request.lines.clear()
    tunnel.open(head, behind, early, target_sent_fin=target_sent_fin, client_is_full=client.is_full, target_is_full=upstream.is_full)
    tunnel_opened(listener, tunnel, policy)


# 7. Finish: count and log the exchange, whether it succeeded, failed or was cancelled. (A tunnel does this when it closes.)


def _complete(client: DownstreamExchange, record: ExchangeRecord, runtime: Runtime) -> bool:
    """The client received a complete response. Return whether its connection stays open for another request."""
    stays_open = client.response_over()
    _finish(client, record, runtime)
    return stays_open


def _fail(client: DownstreamExchange, failure: Failure, record: ExchangeRecord, listener: ListenerRuntime) -> bool:
    """Send an error page if no response has been started, else cut the connection. Return whether another exchange may follow."""
    runtime = listener.runtime
    # The traceback refers to the frame of the exchange, and the frame to the failure. Such cycles would need the garbage collector, and a
    # flood of failures would keep it busy.
    failure.__traceback__ = None
    if reply_with_error(client, record.request, failure, record, listener):
        return _complete(client, record, runtime)
    # Not a normal close: the client must be able to tell that the response is incomplete.
    client.cut()
    _finish(client, record, runtime)
    return False


def _cancel(client: DownstreamExchange, record: ExchangeRecord, runtime: Runtime) -> None:
    """The program cancelled this task, for example with all others at its end. An exchange that had a request is recorded as stopped."""
    if record.received_at:
        record.failure = Failure(FailureKind.STOPPED_IN_RESPONSE if client.response_started else FailureKind.STOPPED, "cancelled")
        client.cut()
        _finish(client, record, runtime)


def _finish(client: DownstreamExchange, record: ExchangeRecord, runtime: Runtime) -> None:
    """Complete the record and hand it over."""
    record.received_bytes = client.received_bytes
    record.sent_bytes = client.sent_bytes
    finish(record, runtime)

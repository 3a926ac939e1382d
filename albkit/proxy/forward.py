"""The forward action: pick a target, try it, and perhaps try another."""

from __future__ import annotations

from albkit.errors import Failure, FailureKind, Phase
from albkit.model.message import RequestHead
from albkit.model.record import ExchangeRecord
from albkit.policy.failover import IDEMPOTENT, deposit, may_try_again
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.client import Client
from albkit.proxy.gateway import Gateway
from albkit.proxy.target_connection import TargetConnection
from albkit.proxy.upload import Upload
from albkit.state.target import TargetState
from albkit.wire.upgrade import accepts

__all__ = ("Forwarding", "forward")


class Forwarding:
    """A request that a target has begun to answer."""

    __slots__ = ("connection", "set_cookie")

    def __init__(self, connection: TargetConnection, set_cookie: bytes) -> None:
        self.connection = connection
        self.set_cookie = set_cookie
        """The stickiness cookies for the response, empty for none."""


async def forward(client: Client, request: RequestHead, choice: TargetChoice, record: ExchangeRecord, gateway: Gateway) -> Forwarding:
    """Send the request to a target of the group and await the head of its response.

    On return one outstanding request is counted on the target; `TargetState.outstanding` is the caller's to count down when the exchange
    is over. On failure nothing is left behind.

    Raises:
        Failure: of the last attempt, or 503 where there is no target.
    """
    now = gateway.clock.time()
    record.group = choice.group.group.name
    bound = choice.bound(request.cookie, now) if request.cookie else None
    if bound is None and choice.stickiness is not None:
        gateway.counters.non_sticky_requests += 1
    member = bound if bound is not None else choice.pick()
    if member is None:
        raise Failure(FailureKind.NO_TARGETS, record.group)
    gateway.counters.requests += 1
    deposit(choice.group)

    client.forwarded.complete(request, record.received_bytes, now)
    head = b"\r\n".join(request.lines)
    body = client.whole_body()
    upload = Upload(request) if body is None else None
    if upload is not None and request.expects_continue:
        client.send_continue()

    tried: list[TargetState] = []
    while True:
        try:
            connection = await _attempt(client, request, member, head + body if body else head, upload, gateway, fresh=bool(tried))
        except Failure as failure:
            if failure.kind.phase is Phase.CONNECT:
                gateway.counters.target_connection_errors += 1
                member.connection_errors += 1
            record.attempts += 1
            record.target = member.address
            whole = upload is None or upload.repeatable
            if not may_try_again(choice.group, failure.kind, request.method, record.attempts, body_kept=whole):
                raise
            gateway.counters.retries += 1
            tried.append(member)
            if not (member is bound and tried.count(bound) == 1 and failure.kind.phase is not Phase.CONNECT):
                # A session's target gets a second chance on a fresh connection; any other request goes elsewhere where it can.
                member = choice.pick_other(tried) or member
            continue
        record.attempts += 1
        record.target = member.address
        record.target_status_code = connection.response.status
        set_cookie = choice.stickiness.set_cookie(member, now) if choice.stickiness is not None else b""
        return Forwarding(connection, set_cookie)


async def _attempt(
    client: Client, request: RequestHead, member: TargetState, data: bytes, upload: Upload | None, gateway: Gateway, *, fresh: bool
) -> TargetConnection:
    """One try at one target: connect, send, await the response head.

    Raises:
        Failure: whatever went wrong, on any side; the connection is closed then.
    """
    if client.has_left:
        raise Failure(FailureKind.CLIENT_CLOSED)
    member.outstanding += 1
    connection = None
    try:
        if not fresh:
            connection = gateway.connections.take(member, careful=request.method not in IDEMPOTENT)
        if connection is None:
            connection = await gateway.connections.connect(member, client)
        answered = client.wait()
        if upload is None:
            connection.begin(client, request.method, answered, data)
        else:
            connection.begin(client, request.method, answered, data + upload.begin(connection))
            client.pump_body(upload)
        await answered
        if connection.response.status == 101 and not accepts(request.upgrade, connection.response.upgrade):
            raise Failure(FailureKind.RESPONSE_UPGRADE_UNASKED, repr(connection.response.upgrade[:50]))
    except BaseException:
        member.outstanding -= 1
        if upload is not None:
            client.park_body()
        if connection is not None:
            connection.abort()
        raise
    member.requests += 1
    return connection

"""The forward action: pick a group and a target, try it, and perhaps try another."""

from __future__ import annotations

from albkit.errors import Failure, FailureKind, Phase, Side
from albkit.model.health import TargetHealthState
from albkit.model.message import RequestHead
from albkit.model.stickiness import AppCookie
from albkit.model.tunnel import TunnelPolicy
from albkit.policy.failover import IDEMPOTENT, MOST_ATTEMPTS, deposit, may_try_again
from albkit.policy.route_plan import RoutePlan
from albkit.policy.stickiness import Stickiness
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.downstream import DownstreamExchange
from albkit.proxy.runtime import Runtime
from albkit.proxy.target.http1_connection import Http1TargetConnection
from albkit.proxy.target.request_body_writer import RequestBodyWriter
from albkit.state.record import ExchangeRecord
from albkit.state.target import TargetState
from albkit.wire.http1.upgrade import accepts, protocols_allowed

__all__ = ("Forwarding", "elsewhere", "find_room", "forward", "note_failure", "pick")

_ENDED = (FailureKind.TARGET_CLOSED, FailureKind.TARGET_RESET)
"""How a connection fails that had ended before the request came, and how no other one tells of itself."""


class Forwarding:
    """A request that a target has begun to answer."""

    __slots__ = ("choice", "connection", "set_cookie", "tunnel")

    def __init__(self, connection: Http1TargetConnection, choice: TargetChoice, set_cookie: bytes, tunnel: TunnelPolicy) -> None:
        self.connection = connection
        self.choice = choice
        self.tunnel = tunnel
        """How a tunnel lives, where the response opens one."""
        self.set_cookie = set_cookie
        """The stickiness cookies for the response, empty for none."""

    def bind(self, client: DownstreamExchange, request: RequestHead, stickiness: Stickiness, now: float) -> None:
        """Add what keeps the client's session on its target. On failure nothing is left behind."""
        try:
            fields = stickiness.fields(self.connection.member, request, self.connection.response, now)
        except BaseException:
            self.over(client)
            self.connection.abort()
            raise
        if fields:
            self.set_cookie = self.set_cookie + b"\r\n" + fields if self.set_cookie else fields

    def over(self, client: DownstreamExchange) -> None:
        """The exchange is over: the target has one outstanding request less. To be called once."""
        member = self.connection.member
        if self.connection.response.status == 101:
            member.tunnels -= 1
        if self.choice.hears_traffic:
            self.choice.transferred(member, client.received_bytes + client.sent_bytes)
        self.choice.finished(member)


async def forward(
    client: DownstreamExchange, request: RequestHead, plan: RoutePlan, record: ExchangeRecord, runtime: Runtime
) -> Forwarding:
    """Send the request to a target and await the head of its response.

    On return one outstanding request is counted on the target, until `Forwarding.over`. On failure nothing is left behind.

    Raises:
        Failure: of the last attempt, or 503 where there is no target.
    """
    now = runtime.clock.time()
    choice, member, bound, cookies = pick(request, plan, record, runtime, now)
    if member is None:
        member = await runtime.waiting_line(choice).wait(client, request)
    tunnel = choice.group.group.tunnel
    if request.upgrade:
        tunnel = plan.tunnel if plan.tunnel is not None else tunnel
        if tunnel.protocols is not None:
            request.upgrade = protocols_allowed(request.upgrade, tunnel.protocols)
        member = find_room(request, choice, member, tunnel, bound=bound)
    member.counters.request_routed(fails_open=choice.group.fails_open)
    deposit(choice.group)
    if plan.rewrite is not None:
        plan.rewrite(request)
    client.forwarded.add_to(request, now)
    head = b"\r\n".join(request.lines) + b"\r\n\r\n"
    body = client.whole_body()
    upload = RequestBodyWriter(request) if body is None else None
    if upload is not None and request.expects_continue:
        client.send_continue()

    tried: list[TargetState] = []
    while True:
        record.attempts += 1
        record.target = member
        epoch = member.epoch
        try:
            connection = await _attempt(client, request, choice, member, head, body or upload, record, runtime, fresh=bool(tried))
        except Failure as failure:
            record.attempt_failed(member, failure)
            note_failure(failure, choice, member, epoch)
            whole = upload is None or upload.repeatable
            if not may_try_again(choice.group, failure.kind, request.method, record.attempts, body_kept=whole):
                raise
            tried.append(member)
            if bound and len(tried) == 1 and failure.kind.phase is not Phase.CONNECT and choice.keeps(member):
                # A session's target gets a second chance on a fresh connection.
                following: TargetState | None = member
            else:
                following = elsewhere(request, choice, tried, tunnel, failure)
            if following is None:
                raise
            member = following
            member.counters.retried()
            continue
        record.target_status_code = connection.response.status
        choice.answered(member, connection.response.status, epoch)
        forwarding = Forwarding(connection, choice, cookies, tunnel)
        if choice.stickiness is not None:
            forwarding.bind(client, request, choice.stickiness, now)
        return forwarding


def pick(
    request: RequestHead, plan: RoutePlan, record: ExchangeRecord, runtime: Runtime, now: float
) -> tuple[TargetChoice, TargetState | None, bool, bytes]:
    """Group and target, whether the session is bound to that target, and the cookies that bind the client to the group.

    The target is `None` where all have as many requests as they take.
    """
    groups = plan.groups
    if groups is None:
        raise TypeError("a plan that answers does not forward")
    counters = runtime.counters
    if groups.only is not None:
        choice, cookies = groups.only, b""
    else:
        chosen, cookies = groups.pick(request, now)
        if request.cookie and groups.refuses(request, now):
            counters.cookie_refused()
        if chosen is None:
            raise Failure(FailureKind.NO_TARGETS, "all weights are 0")
        choice = chosen
    record.group = choice.group
    if choice.stickiness is not None:
        bound = choice.bound(request, now)
        if bound is not None:
            return choice, bound, True, cookies
        counters.picked_without_session(of_application=isinstance(choice.group.group.stickiness, AppCookie))
        if choice.stickiness.refuses(request, now):
            counters.cookie_refused()
    member = choice.pick(request)
    if member is None and not choice.is_full:
        raise Failure(FailureKind.NO_TARGETS, choice.group.group.name)
    return choice, member, False, cookies


def find_room(request: RequestHead, choice: TargetChoice, member: TargetState, tunnel: TunnelPolicy, *, bound: bool) -> TargetState:
    """A target with room for one more tunnel: the one that was picked, or another.

    Raises:
        Failure: there is none, or the session's has none.
    """
    if not request.upgrade or tunnel.max_tunnels is None or member.tunnels < tunnel.max_tunnels:
        return member
    other = None if bound else choice.pick_in_use(_full(choice, tunnel), request)
    if other is None:
        raise Failure(FailureKind.NO_ROOM_FOR_TUNNEL, member.address if bound else choice.group.group.name)
    return other


def _full(choice: TargetChoice, tunnel: TunnelPolicy) -> set[TargetState]:
    """The targets that have as many tunnels as they may have."""
    most = tunnel.max_tunnels
    return set() if most is None else {member for member in choice.group.members.values() if member.tunnels >= most}


def elsewhere(
    request: RequestHead, choice: TargetChoice, tried: list[TargetState], tunnel: TunnelPolicy, failure: Failure
) -> TargetState | None:
    """Whom to try next: one that was not tried, an ejected one among them where the last one cannot be connected to; else the latest one
    of those tried that is still in use; `None` where none is."""
    passed = {*tried, *_full(choice, tunnel)} if request.upgrade else set(tried)
    other = choice.pick_other(passed, request, last=len(tried) == MOST_ATTEMPTS - 1)
    if other is None and failure.kind.phase is Phase.CONNECT:
        other = choice.pick_ejected(passed)
    return other or next((member for member in reversed(tried) if choice.keeps(member)), None)


def note_failure(failure: Failure, choice: TargetChoice, member: TargetState, epoch: int) -> None:
    """Count it, and against the target where that is to blame for it now."""
    if failure.kind.side is Side.TARGET and not failure.is_stale:
        choice.failed(member, epoch, failure.kind.sentence if failure.kind.phase is Phase.CONNECT else "")
    if failure.kind.phase is Phase.CONNECT:
        member.counters.connection_failed(in_tls=failure.kind in (FailureKind.TARGET_TLS_FAILED, FailureKind.TARGET_TLS_TIMEOUT))


async def _attempt(
    client: DownstreamExchange,
    request: RequestHead,
    choice: TargetChoice,
    member: TargetState,
    head: bytes,
    body: bytes | RequestBodyWriter | None,
    record: ExchangeRecord,
    runtime: Runtime,
    *,
    fresh: bool,
) -> Http1TargetConnection:
    """One try at one target: connect, send, await the response head.

    Raises:
        Failure: whatever went wrong, on any side; the connection is closed then.
    """
    if client.has_left:
        raise Failure(FailureKind.CLIENT_CLOSED)
    choice.started(member)
    # Counted before it is answered, so that many upgrades at once cannot get past the limit.
    if request.upgrade:
        member.tunnels += 1
    connection = None
    pooled = False
    try:
        if not fresh:
            owner = request.client if choice.group.group.proxy_protocol is not None else None
            connection = runtime.connections.take(member, owner, careful=request.method not in IDEMPOTENT)
            pooled = connection is not None
        if connection is None:
            connection = await runtime.connections.connect(member, choice.group.group, client)
        answered = client.wait()
        connection.begin(client, request.method, answered)
        if not body:
            connection.write(head)
        elif isinstance(body, bytes):
            connection.write_pieces([head, body])
        else:
            body.begin(connection, head)
            client.pump_body(body)
            body.flush()
        sent = record.sent_at = runtime.clock.monotonic()
        await answered
        record.answered_at = runtime.clock.monotonic()
        if choice.hears_answers:
            choice.took(member, record.answered_at - sent)
        if connection.response.status == 101:
            if not accepts(request.upgrade, connection.response.upgrade):
                raise Failure(FailureKind.RESPONSE_UPGRADE_UNASKED, repr(connection.response.upgrade[:50]))
            if not client.body_over:
                # What is still to come of the body would be taken for the tunnel's.
                raise Failure(FailureKind.RESPONSE_UPGRADE_TOO_EARLY, f"{client.received_bytes} bytes of the request had come")
            if member.state is TargetHealthState.DRAINING and not member.keeps_sessions:
                raise Failure(FailureKind.UPGRADE_WHILE_DRAINING, member.address)
    except BaseException as error:
        if pooled and isinstance(error, Failure) and error.kind in _ENDED:
            error.is_stale = True
        if request.upgrade:
            member.tunnels -= 1
        choice.finished(member)
        if isinstance(body, RequestBodyWriter):
            client.park_body()
        if connection is not None:
            connection.abort()
        raise
    if request.upgrade and connection.response.status != 101:
        member.tunnels -= 1
    return connection

"""The forward action: pick a target group and a target, and send the request until a target answers."""

from __future__ import annotations

from albkit.errors import Failure, FailureKind
from albkit.model.health import TargetHealthState
from albkit.model.message import RequestHead
from albkit.model.stickiness.app_cookie import AppCookie
from albkit.model.tunnel import TunnelPolicy
from albkit.policy.failover import IDEMPOTENT
from albkit.policy.protocol_versions import is_grpc_request, mismatch
from albkit.policy.route_plan import RoutePlan
from albkit.policy.stickiness import Stickiness
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.attempts import find_room, first_answer
from albkit.proxy.downstream import DownstreamExchange, WholeBody
from albkit.proxy.runtime import Runtime
from albkit.proxy.target.connector import uses_http2
from albkit.proxy.target.request_body_writer import RequestBodyWriter
from albkit.proxy.upstream import UpstreamExchange
from albkit.state.record import ExchangeRecord, Transformation
from albkit.state.target import TargetState
from albkit.wire.http1.upgrade import accepts, protocols_allowed

__all__ = ("Forwarding", "forward", "pick")


async def forward(
    client: DownstreamExchange, request: RequestHead, plan: RoutePlan, record: ExchangeRecord, runtime: Runtime
) -> Forwarding:
    """Send the request to a target, and wait for the head of its response.

    On return, one outstanding request is counted on the target until `Forwarding.end`. On failure nothing is left behind.

    Raises:
        Failure: of the last attempt; or 503, there is no target, or none with room for one more tunnel.
    """
    now = runtime.clock.time()
    # Pick a target. If all of them have as many requests as they take, wait for one.
    choice, member, bound, cookies = pick(request, plan, record, runtime, now)
    if member is None:
        member = await runtime.waiting_line(choice).wait(client, request)
    policy = choice.group.group.tunnel
    if request.upgrade:
        policy = plan.tunnel or policy
        if policy.protocols is not None:
            request.upgrade = protocols_allowed(request.upgrade, policy.protocols)
        if request.upgrade:
            member = find_room(request, choice, member, policy, bound=bound)
    member.counters.request_routed(choice.group.fails_open)
    if choice.fits_all_of != "HTTP/1.1" and is_grpc_request(request):
        member.counters.grpc_request_routed()

    # Complete the request.
    if plan.rewrite is not None:
        transformation = record.transformation = Transformation()
        plan.rewrite(request, transformation)
    client.forwarded.add_to(request, now)
    body = client.whole_body()
    forwarding = Forwarding(client, request, body, choice, policy, runtime, cookies)
    if body is None and request.expects_continue:
        client.send_continue()

    # Send it, perhaps to several targets, until one begins to answer.
    await first_answer(forwarding, member, record, bound)
    record.target_status_code = forwarding.upstream.response.status
    if choice.stickiness is not None:
        forwarding.bind(choice.stickiness, now)
    return forwarding


class Forwarding:
    """A request on its way to a target, and then the target's answer.

    Args:
        client: Sends the request.
        request: The request.
        body: The body of the request if it is complete; `None` if it is still coming.
        choice: Chooses among the targets of the group.
        policy: Of a tunnel, if the response opens one.
        runtime: Of the load balancer.
        set_cookie: The field lines of cookies that keep the client with the target group; empty for none.
    """

    __slots__ = ("_body", "_client", "_runtime", "_upload", "choice", "policy", "request", "set_cookie", "upstream")

    upstream: UpstreamExchange
    """The target's side of the exchange, after a target has answered."""

    def __init__(
        self,
        client: DownstreamExchange,
        request: RequestHead,
        body: WholeBody | None,
        choice: TargetChoice,
        policy: TunnelPolicy,
        runtime: Runtime,
        set_cookie: bytes,
    ) -> None:
        self._client = client
        self._runtime = runtime
        self._body = body
        self._upload = RequestBodyWriter(request, may_be_refused=uses_http2(choice.group.group)) if body is None else None
        self.request = request
        self.choice = choice
        self.policy = policy
        self.set_cookie = set_cookie
        """Field lines to add to the response: the cookies of stickiness. Empty for none."""

    @property
    def is_repeatable(self) -> bool:
        return self._upload is None or self._upload.repeatable

    async def attempt(self, member: TargetState, record: ExchangeRecord, is_retry: bool) -> int:
        """Connect, send the request, and wait for the head of the response.

        Returns:
            The status of the response.

        Raises:
            Failure: of either side. The connection is closed then.
        """
        client, request, runtime, upload = self._client, self.request, self._runtime, self._upload
        if client.has_left:
            raise Failure(FailureKind.CLIENT_CLOSED)
        upstream = None
        try:
            # A kept connection may have been closed by the target without our knowing. A second attempt does not take that risk.
            if not is_retry:
                owner = request.client if self.choice.group.group.proxy_protocol is not None else None
                upstream = runtime.connections.take(member, owner, careful=request.method not in IDEMPOTENT)
            if upstream is None:
                upstream = await runtime.connections.lease(member, self.choice.group.group, client)
            answered = client.wait()
            upstream.send_head(request, client, answered)
            if self._body is not None:
                pieces, trailers = self._body
                upstream.write_body(pieces, True, trailers)
            elif upload is not None:
                upload.begin(upstream)
                client.pump_body(upload)
                upload.flush()
            sent = record.sent_at = runtime.clock.monotonic()
            await answered
            answered_at = record.answered_at = runtime.clock.monotonic()
            if self.choice.hears_answers:
                self.choice.took(member, answered_at - sent)
            status = upstream.response.status
            if status == 101:
                self._check_upgrade(upstream, member)
            member.counters.response_times.observe(answered_at - sent)
        except BaseException:
            if upload is not None:
                client.park_body()
            if upstream is not None:
                upstream.abort()
            raise
        self.upstream = upstream
        return status

    def _check_upgrade(self, upstream: UpstreamExchange, member: TargetState) -> None:
        """Refuse a 101 that nobody asked for, or that comes at the wrong time."""
        client = self._client
        if not accepts(self.request.upgrade, upstream.response.upgrade):
            raise Failure(FailureKind.RESPONSE_UPGRADE_UNASKED, repr(upstream.response.upgrade[:50]))
        if not client.body_over:
            # The rest of the body would be taken for bytes of the tunnel.
            raise Failure(FailureKind.RESPONSE_UPGRADE_TOO_EARLY, f"{client.received_bytes} bytes of the request had come")
        if member.state is TargetHealthState.DRAINING and not member.keeps_sessions:
            raise Failure(FailureKind.UPGRADE_WHILE_DRAINING, member.address)

    def bind(self, stickiness: Stickiness, now: float) -> None:
        """Add the cookie that keeps the client's session on its target. On failure nothing is left behind."""
        try:
            fields = stickiness.fields(self.upstream.member, self.request, self.upstream.response, now)
        except BaseException:
            self.end(whole=False)
            raise
        if fields:
            self.set_cookie = self.set_cookie + b"\r\n" + fields if self.set_cookie else fields

    def end(self, *, whole: bool) -> None:
        """End the exchange with the target. Call it once, unless a tunnel takes the connection.

        Args:
            whole: Whether the response was passed on in full.
        """
        client, upstream, choice = self._client, self.upstream, self.choice
        body_over = client.body_over
        if not body_over:
            client.park_body()
        if choice.hears_traffic:
            choice.transferred(upstream.member, client.received_bytes + client.sent_bytes)
        choice.finished(upstream.member, upstream.response.status == 101)
        # A target that answered before it had the whole request might take the rest of the body for the next request.
        if whole and body_over and not self.request.close_after:
            upstream.release()
        else:
            upstream.abort()


def pick(
    request: RequestHead, plan: RoutePlan, record: ExchangeRecord, runtime: Runtime, now: float
) -> tuple[TargetChoice, TargetState | None, bool, bytes]:
    """Pick a target group, and a target in it.

    Returns:
        The choice among the targets of the group; the target, or `None` if all have as many requests as they take; whether the client's
        session is bound to that target; and the field lines of the cookies that keep the client with the group.

    Raises:
        Failure: 464, the request does not fit the protocol version of the group; 503, there is no target; or 500, code of the program
            failed.
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
    if record.protocol != choice.fits_all_of:
        _check_protocol(request, record.protocol, choice)
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


def _check_protocol(request: RequestHead, protocol: str, choice: TargetChoice) -> None:
    """Refuse a request that does not fit the protocol version of the group (docs/alb.md 2.8)."""
    group = choice.group.group
    grpc = protocol == "HTTP/2" and is_grpc_request(request)
    wrong = mismatch(protocol, request.method, grpc=grpc, version=group.protocol_version)
    if wrong:
        raise Failure(FailureKind.PROTOCOL_VERSION_MISMATCH, f"{group.name}: {wrong}")
